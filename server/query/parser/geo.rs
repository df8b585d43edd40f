//! Reads boxes and circles.

use crate::query::finding::{Code, Draft, Span};
use crate::query::tree::{BoundingBox, MILE_KM, PointRadius, Unit};

/// The value of a geographical operator as written.
pub(super) struct List<'a> {
    /// The whole rule.
    pub(super) text: &'a str,
    /// Place with the brackets.
    pub(super) span: Span,
    /// True if both brackets are there.
    pub(super) is_closed: bool,
}

/// Miles that PowerTrack documents for a radius and the sides of a box.
const MILES_MAX: f64 = 25.0;
/// Kilometres of a degree of latitude.
const DEGREE_KM: f64 = 111.195;

const BOX_FORM: &str = "write [west south east north] in degrees, with spaces: [-0.2 51.4 0.1 51.6]";
const RADIUS_FORM: &str = "write [longitude latitude radius], with spaces: [-0.12 51.5 10km]";

impl List<'_> {
    fn written(&self) -> &str {
        &self.text[self.span.clone()]
    }

    fn inner(&self) -> &str {
        let text = self.written();
        let text = text.strip_prefix('[').unwrap_or(text);
        text.strip_suffix(']').unwrap_or(text)
    }

    fn bad(&self, message: impl Into<String>, advice: &str) -> Draft {
        Draft::new(Code::BadGeo, self.span.clone(), message, advice)
    }

    /// Returns the arguments, or what is wrong with the form of the list. `corrected` is the list in the right form.
    fn arguments(&self, form: &str) -> Result<Vec<&str>, Draft> {
        let inner = self.inner();
        let words: Vec<_> =
            inner.split(|c: char| c.is_whitespace() || c == ',').filter(|word| !word.is_empty()).collect();
        let corrected = format!("[{}]", words.join(" ").replace(" km", "km").replace(" mi", "mi"));
        if inner.contains(',') {
            let draft = self.bad("numbers are separated by spaces", "leave the commas out");
            return Err(draft.replace(self.span.clone(), corrected));
        }
        if !self.is_closed {
            let draft = self.bad("the numbers are not in brackets", form);
            return Err(draft.replace(self.span.clone(), corrected));
        }
        Ok(words)
    }
}

/// Reads a box.
pub(super) fn bounding_box(list: &List<'_>, found: &mut Vec<Draft>) -> Option<BoundingBox> {
    match read_box(list) {
        Ok(area) => {
            let height = (area.north - area.south) * DEGREE_KM;
            // A box is widest where it is nearest to the equator.
            let is_across = area.south <= 0.0 && area.north >= 0.0;
            let latitude = if is_across { 0.0 } else { area.south.abs().min(area.north.abs()) };
            let width = (area.east - area.west) * DEGREE_KM * latitude.to_radians().cos();
            warn_large(list, height.max(width), "a side", found);
            Some(area)
        }
        Err(draft) => {
            found.push(draft);
            None
        }
    }
}

fn read_box(list: &List<'_>) -> Result<BoundingBox, Draft> {
    let words = list.arguments(BOX_FORM)?;
    let numbers: Option<Vec<f64>> = words.iter().map(|word| number(word)).collect();
    let Some(&[west, south, east, north]) = numbers.as_deref() else {
        return Err(list.bad("a box has four numbers", BOX_FORM));
    };
    if west.abs() > 180.0 || east.abs() > 180.0 || south.abs() > 90.0 || north.abs() > 90.0 {
        return Err(list.bad("there is no such place", "longitudes are from -180 to 180, latitudes from -90 to 90"));
    }
    if west >= east && south < north {
        let message = "the box has no width: west is not less than east";
        let advice = "the order is west south east north; a box over the date line needs two, joined with OR";
        return Err(list.bad(message, advice));
    }
    if west >= east || south >= north {
        return Err(
            list.bad("the box has no height: south is not less than north", "the order is west south east north")
        );
    }
    Ok(BoundingBox { west, south, east, north })
}

/// Reads a circle.
pub(super) fn point_radius(list: &List<'_>, found: &mut Vec<Draft>) -> Option<PointRadius> {
    match read_circle(list) {
        Ok(circle) => {
            warn_large(list, circle.kilometres(), "the radius", found);
            Some(circle)
        }
        Err(draft) => {
            found.push(draft);
            None
        }
    }
}

fn read_circle(list: &List<'_>) -> Result<PointRadius, Draft> {
    let words = list.arguments(RADIUS_FORM)?;
    if let [longitude, latitude, radius, unit @ ("km" | "mi")] = words[..] {
        let draft = list.bad("the unit is part of the radius", "write no space before km or mi");
        return Err(draft.replace(list.span.clone(), format!("[{longitude} {latitude} {radius}{unit}]")));
    }
    let &[longitude, latitude, radius] = &words[..] else {
        return Err(list.bad("a circle has two numbers and a radius", RADIUS_FORM));
    };
    let lower = radius.to_ascii_lowercase();
    let units = [Unit::Kilometres, Unit::Miles];
    let with_unit = units.into_iter().find_map(|unit| lower.strip_suffix(unit.as_str()).map(|radius| (radius, unit)));
    let Some((radius, unit)) = with_unit else {
        return Err(list.bad(format!("{radius} has no unit that X knows"), "write km or mi directly after the radius"));
    };
    let (Some(longitude), Some(latitude), Some(radius)) = (number(longitude), number(latitude), number(radius)) else {
        return Err(list.bad("a circle has two numbers and a radius", RADIUS_FORM));
    };
    if longitude.abs() > 180.0 || latitude.abs() > 90.0 {
        let advice = "longitude is first, from -180 to 180; latitude is second, from -90 to 90";
        return Err(list.bad("there is no such place", advice));
    }
    if radius <= 0.0 {
        return Err(list.bad("the radius is not positive", RADIUS_FORM));
    }
    Ok(PointRadius { longitude, latitude, radius, unit })
}

fn warn_large(list: &List<'_>, kilometres: f64, part: &str, found: &mut Vec<Draft>) {
    let miles = kilometres / MILE_KM;
    // A margin for rounding: 25 mi itself is allowed.
    if miles > MILES_MAX + 1e-6 {
        let message = format!("{part} has {miles:.1} mi; PowerTrack allows {MILES_MAX} mi");
        let advice = "X may refuse it; several smaller areas joined with OR are safe";
        found.push(Draft::new(Code::GeoLarge, list.span.clone(), message, advice));
    }
}

/// Reads a plain decimal number.
fn number(word: &str) -> Option<f64> {
    let digits = word.strip_prefix(['-', '+']).unwrap_or(word);
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && digits.bytes().any(|byte| byte.is_ascii_digit());
    word.parse().ok().filter(|number: &f64| is_plain && number.is_finite())
}
