use serde_json::Value;

const MILE_KM: f64 = 1.609_344;
/// Mean radius of the earth.
const EARTH_KM: f64 = 6_371.008_8;

/// A place on the earth: longitude and latitude in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    longitude: f64,
    latitude: f64,
}

/// Where a post was made: its point, or the corners of its place.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Location(Vec<Point>);

/// What `bounding_box:` and `point_radius:` describe.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Area {
    Box { south_west: Point, north_east: Point },
    Circle { centre: Point, kilometres: f64 },
}

impl Point {
    fn new(longitude: f64, latitude: f64) -> Option<Self> {
        (longitude.abs() <= 180.0 && latitude.abs() <= 90.0).then_some(Self { longitude, latitude })
    }

    fn of(json: &Value) -> Option<Self> {
        Some(Self { longitude: json.get(0)?.as_f64()?, latitude: json.get(1)?.as_f64()? })
    }

    /// Great-circle distance.
    fn distance_km(self, other: Self) -> f64 {
        let half_sine = |degrees: f64| (degrees.to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let chord = half_sine(self.latitude - other.latitude) + cosines * half_sine(self.longitude - other.longitude);
        2.0 * EARTH_KM * chord.sqrt().min(1.0).asin()
    }
}

impl Location {
    /// From the point of a post, else from the polygon of its place.
    pub(super) fn of(post: &Value) -> Self {
        let point = post.pointer("/coordinates/coordinates").and_then(Point::of);
        let polygon = post.pointer("/place/bounding_box/coordinates/0").and_then(Value::as_array);
        match (point, polygon) {
            (Some(point), _) => Self(vec![point]),
            // A corner that cannot be read makes the polygon unusable.
            (None, Some(corners)) => Self(corners.iter().map(Point::of).collect::<Option<_>>().unwrap_or_default()),
            (None, None) => Self::default(),
        }
    }
}

impl Area {
    /// `[west south east north]`.
    pub(super) fn bounding_box(text: &str) -> Option<Self> {
        let [west, south, east, north] = list(text)?.try_into().ok()?;
        let south_west = Point::new(number(west)?, number(south)?)?;
        let north_east = Point::new(number(east)?, number(north)?)?;
        let is_box = south_west.longitude < north_east.longitude && south_west.latitude < north_east.latitude;
        is_box.then_some(Self::Box { south_west, north_east })
    }

    /// `[longitude latitude radius]`, the radius with `mi` or `km`.
    pub(super) fn point_radius(text: &str) -> Option<Self> {
        let [longitude, latitude, radius] = list(text)?.try_into().ok()?;
        let radius = radius.to_ascii_lowercase();
        let kilometres = match (radius.strip_suffix("km"), radius.strip_suffix("mi")) {
            (Some(kilometres), _) => number(kilometres)?,
            (_, Some(miles)) => number(miles)? * MILE_KM,
            _ => return None,
        };
        let centre = Point::new(number(longitude)?, number(latitude)?)?;
        (kilometres > 0.0).then_some(Self::Circle { centre, kilometres })
    }

    /// True if the location is inside as a whole; the border is inside.
    pub(super) fn contains(&self, location: &Location) -> bool {
        let inside = |point: &Point| match self {
            Self::Box { south_west, north_east } => {
                (south_west.longitude..=north_east.longitude).contains(&point.longitude)
                    && (south_west.latitude..=north_east.latitude).contains(&point.latitude)
            }
            Self::Circle { centre, kilometres } => centre.distance_km(*point) <= *kilometres,
        };
        !location.0.is_empty() && location.0.iter().all(inside)
    }
}

/// The arguments between brackets.
fn list(text: &str) -> Option<Vec<&str>> {
    Some(text.strip_prefix('[')?.strip_suffix(']')?.split_whitespace().collect())
}

/// A decimal number without exponent.
fn number(text: &str) -> Option<f64> {
    let is_decimal = text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | '+' | '.'));
    text.parse().ok().filter(|_| is_decimal)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn areas_contain_points_and_whole_polygons() {
        let point = Location::of(&json!({"coordinates": {"coordinates": [4.9, 52.37]}, "place": {"bounding_box":
            {"coordinates": [[[0.0, 0.0]]]}}}));
        let corners = [[4.8, 52.3], [5.0, 52.3], [5.0, 52.4], [4.8, 52.4]];
        let polygon =
            Location::of(&json!({"coordinates": null, "place": {"bounding_box": {"coordinates": [corners]}}}));
        for (area, has_point, has_polygon) in [
            (Area::bounding_box("[4.8 52.3 5.0 52.4]"), true, true),
            (Area::bounding_box("[4.9 52.37 6 53]"), true, false),
            (Area::bounding_box("[4.91 52.3 6 53]"), false, false),
            (Area::point_radius("[4.9 52.36 1.2km]"), true, false),
            (Area::point_radius("[4.9 52.36 1km]"), false, false),
            (Area::point_radius("[4.9 52.36 1MI]"), true, false),
            (Area::point_radius("[4.9 52.35 9km]"), true, true),
        ] {
            let area = area.expect("well formed");
            assert_eq!((area.contains(&point), area.contains(&polygon)), (has_point, has_polygon), "{area:?}");
            assert!(!area.contains(&Location::default()), "{area:?}");
        }
    }

    #[test]
    fn places_that_are_none_are_refused() {
        for text in
            ["[1 2 3]", "[3 2 1 4]", "[1 4 3 2]", "[1,2,3,4]", "[1 2 3 91]", "1 2 3 4", "[1 2 3 4", "[nan 2 3 4]"]
        {
            assert_eq!(Area::bounding_box(text), None, "{text}");
        }
        for text in ["[1 2 3]", "[1 2 3 km]", "[1 2 0km]", "[1 2 -1km]", "[181 2 3km]", "[1 2 infkm]", "[1 2 3m]", "[]"]
        {
            assert_eq!(Area::point_radius(text), None, "{text}");
        }
    }
}
