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
pub(super) struct Bounds {
    /// What the log may take; 0 = no bound.
    pub(super) bytes_max: u64,
    /// What is to stay free on the disk.
    pub(super) headroom_bytes_min: u64,
}

/// What has to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// So many go, the oldest.
    pub(super) trim: usize,
    /// True if less than the headroom is free even then.
    pub(super) full: bool,
}

/// Judges the sealed segments, oldest first. `tail_bytes` is what the segment being written takes; it never goes.
/// `free_bytes` is `None` if the disk would not say.
pub(super) fn judge(sealed: &[Candidate], tail_bytes: u64, free_bytes: Option<u64>, bounds: &Bounds) -> Verdict {
    let mut bytes = tail_bytes + sealed.iter().map(|it| it.bytes).sum::<u64>();
    let mut free = free_bytes.unwrap_or(u64::MAX);
    let mut trim = 0;
    for (at, segment) in sealed.iter().enumerate() {
        let too_many = bounds.bytes_max > 0 && bytes > bounds.bytes_max;
        if !segment.expired && !too_many && free >= bounds.headroom_bytes_min {
            break;
        }
        bytes -= segment.bytes;
        free = free.saturating_add(segment.bytes);
        trim = at + 1;
    }
    Verdict { trim, full: free < bounds.headroom_bytes_min }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_segments_go_and_no_more_than_must() {
        let check = |expired: usize, bytes_max: u64, free: u64, expected: (usize, bool)| {
            let sealed: Vec<Candidate> = (0..3).map(|at| Candidate { bytes: 10, expired: at < expired }).collect();
            let bounds = Bounds { bytes_max, headroom_bytes_min: 100 };
            let verdict = judge(&sealed, 5, Some(free), &bounds);
            assert_eq!((verdict.trim, verdict.full), expected, "expired {expired} bytes {bytes_max} free {free}");
        };
        check(0, 0, 1_000, (0, false));
        check(1, 0, 1_000, (1, false));
        check(3, 0, 1_000, (3, false));
        check(0, 35, 1_000, (0, false));
        check(0, 34, 1_000, (1, false));
        check(0, 1, 1_000, (3, false));
        check(0, 0, 99, (1, false));
        check(0, 0, 81, (2, false));
        check(0, 0, 60, (3, true));
    }
}
