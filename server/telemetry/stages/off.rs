//! The probe that is not compiled in.

use super::stage::Stage;
use crate::telemetry::metrics::Registry;

/// Stands for a point of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct NoTime;

#[inline]
pub(super) fn now() -> NoTime {
    NoTime
}

#[inline]
pub(super) fn record(_begin: NoTime, _end: NoTime, _stage: Stage) {}

#[inline]
pub(super) fn store(_cell: &NoTime) {}

#[inline]
pub(super) fn load(cell: &NoTime) -> NoTime {
    *cell
}

/// Registers the histograms, of which there are none.
pub fn register(_registry: &Registry) {}
