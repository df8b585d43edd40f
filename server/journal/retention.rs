//! Decides which segments retention trims. Pure.

/// A sealed segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrimCandidate {
    /// Bytes freed by trimming it.
    pub(super) bytes: u64,
    /// True if all of its records are older than the retention, by machine time.
    pub(super) expired: bool,
}

/// Limits of retention.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetentionLimits {
    /// Maximum bytes of the log; 0 = no limit.
    pub(super) bytes_max: u64,
}

/// Number of segments to trim, by reason. Trims for the headroom of the disk are decided by [`super::headroom`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct TrimDecision {
    /// Number of segments older than the retention.
    pub(super) by_age: usize,
    /// Number of further segments above the byte limit.
    pub(super) by_bytes: usize,
}

/// Returns how many sealed segments to trim, oldest first, so that the log takes at most `bytes_max`. `kept_bytes` is
/// the size of the active segment, which is never trimmed.
pub(super) fn too_many(sealed: &[TrimCandidate], kept_bytes: u64, bytes_max: u64) -> usize {
    if bytes_max == 0 {
        return 0;
    }
    let mut bytes = kept_bytes + sealed.iter().map(|it| it.bytes).sum::<u64>();
    let is_over = |segment: &&TrimCandidate| {
        let over = bytes > bytes_max;
        bytes -= segment.bytes;
        over
    };
    sealed.iter().take_while(is_over).count()
}

/// Decides by age and by the size of the log how many sealed segments, oldest first, are trimmed. `tail_bytes` is the
/// size of the active segment, which is never trimmed.
pub(super) fn select_for_trim(sealed: &[TrimCandidate], tail_bytes: u64, bounds: &RetentionLimits) -> TrimDecision {
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
            let sealed: Vec<TrimCandidate> =
                (0..3).map(|at| TrimCandidate { bytes: 10, expired: at < expired }).collect();
            let decision = select_for_trim(&sealed, 5, &RetentionLimits { bytes_max });
            assert_eq!((decision.by_age, decision.by_bytes), expected, "expired {expired} bytes {bytes_max}");
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
