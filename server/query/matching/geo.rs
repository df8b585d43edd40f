//! Points and places in areas.

use crate::query::facts::Facts;
use crate::query::tree::{BoundingBox, PointRadius};

/// Mean radius of the earth in kilometres (IUGG).
const EARTH_KM: f64 = 6_371.008_8;

/// True if the point of a post, or without one all corners of its place, are in a box. Borders belong to it.
pub(super) fn is_in_box(facts: &Facts, area: &BoundingBox) -> bool {
    is_inside(facts, |(longitude, latitude)| {
        (area.west..=area.east).contains(&longitude) && (area.south..=area.north).contains(&latitude)
    })
}

/// True if the point of a post, or without one all corners of its place, are in a circle.
pub(super) fn is_in_circle(facts: &Facts, circle: &PointRadius) -> bool {
    let centre = (circle.longitude, circle.latitude);
    is_inside(facts, |point| distance_km(centre, point) <= circle.kilometres())
}

fn is_inside(facts: &Facts, contains: impl Fn((f64, f64)) -> bool) -> bool {
    match (facts.point, &facts.place) {
        (Some(point), _) => contains(point),
        (None, Some(place)) => !place.corners.is_empty() && place.corners.iter().all(|corner| contains(*corner)),
        (None, None) => false,
    }
}

/// Great-circle distance (haversine).
fn distance_km(from: (f64, f64), to: (f64, f64)) -> f64 {
    let (from_latitude, to_latitude) = (from.1.to_radians(), to.1.to_radians());
    let latitude = ((to_latitude - from_latitude) / 2.0).sin();
    let longitude = ((to.0 - from.0).to_radians() / 2.0).sin();
    let square = latitude * latitude + from_latitude.cos() * to_latitude.cos() * longitude * longitude;
    2.0 * EARTH_KM * square.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_are_great_circles() {
        // London to Paris, and the length of a degree at the equator and at 60 degrees north.
        for (from, to, expected) in [
            ((-0.1276, 51.5072), (2.3522, 48.8566), 343.6),
            ((0.0, 0.0), (1.0, 0.0), 111.195),
            ((0.0, 60.0), (1.0, 60.0), 55.596),
            ((179.5, 0.0), (-179.5, 0.0), 111.195),
        ] {
            let distance = distance_km(from, to);
            assert!((distance - expected).abs() < 0.5, "{from:?} {to:?}: {distance}");
        }
    }
}
