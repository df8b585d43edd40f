//! Which segments have to go: pure.

/// What is known of a segment that may go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    /// Bytes that are free once it is gone.
    pub(super) bytes: u64,
    /// True if all of its records are older than the retention, by machine time.
    pub(super) expired: bool,
}

/// What is to be kept.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetentionLimits {
    /// What the log may take; 0 = no bound.
    pub(super) bytes_max: u64,
}

/// Why how many of the oldest segments go. The counts are cumulative reasons in this order; what the headroom of the disk
/// takes in addition is decided by [`super::headroom`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrimDecision {
    /// Number of segments that are too old.
    pub(super) by_age: usize,
    /// Number of segments behind them that are too many.
    pub(super) by_bytes: usize,
}

/// Returns how many of the sealed segments have to go so that the log takes at most `bytes_max`, oldest first.
/// `kept_bytes` is what it takes besides them and never goes: the active segment.
pub(super) fn too_many(sealed: &[Candidate], kept_bytes: u64, bytes_max: u64) -> usize {
    if bytes_max == 0 {
        return 0;
    }
    let mut bytes = kept_bytes + sealed.iter().map(|it| it.bytes).sum::<u64>();
    let is_over = |segment: &&Candidate| {
        let over = bytes > bytes_max;
        bytes -= segment.bytes;
        over
    };
    sealed.iter().take_while(is_over).count()
}

/// Judges the sealed segments, oldest first, by age and by the size of the log. `tail_bytes` is what the active segment
/// takes; it never goes.
pub(super) fn select_for_trim(sealed: &[Candidate], tail_bytes: u64, bounds: &RetentionLimits) -> TrimDecision {
    let by_age = sealed.iter().take_while(|it| it.expired).count();
    let by_bytes = too_many(&sealed[by_age..], tail_bytes, bounds.bytes_max);
    TrimDecision { by_age, by_bytes }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oldest_segments_are_trimmed_minimally() {
        let check = |expired: usize, bytes_max: u64, expected: (usize, usize)| {
            let sealed: Vec<Candidate> = (0..3).map(|at| Candidate { bytes: 10, expired: at < expired }).collect();
            let verdict = select_for_trim(&sealed, 5, &RetentionLimits { bytes_max });
            assert_eq!((verdict.by_age, verdict.by_bytes), expected, "expired {expired} bytes {bytes_max}");
        };
        check(0, 0, (0, 0));
        check(1, 0, (1, 0));
        check(3, 0, (3, 0));
        check(0, 35, (0, 0));
        check(0, 34, (0, 1));
        check(0, 1, (0, 3));
        check(1, 25, (1, 0));
        check(1, 24, (1, 1));
    }
}
