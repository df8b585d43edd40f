use super::super::status::gap_index::GapIndex;
use crate::model::{Gap, Sequence};

/// Gaps in a `SessionStart`: at about 100 bytes each, far below the 2 MiB of a message.
pub const START_GAPS_MAX: usize = 1_000;
/// Gaps of a frame that follows `SessionStart`.
const PAGE_GAPS: usize = 100;

/// The gaps that are open at the start and do not fit into `SessionStart`. They follow it in pages, before any record,
/// so that neither messages nor memory grow with their number.
#[derive(Debug)]
pub(super) struct OpenGaps {
    /// Start of the session.
    cursor: Sequence,
    /// Gaps opened by this record or before have been sent; `None` if there are no more.
    after: Option<Sequence>,
}

impl OpenGaps {
    /// Returns the gaps for the `SessionStart` of a session at this cursor, and the rest.
    pub(super) fn begin(gaps: &GapIndex, cursor: Sequence) -> (Vec<Gap>, Option<Box<Self>>) {
        let (first, after) = gaps.open_at(cursor, 0, START_GAPS_MAX);
        let rest = after.map(|after| Box::new(Self { cursor, after: Some(after) }));
        (first, rest)
    }

    /// Returns the next page; `None` if all gaps were sent.
    pub(super) fn next(&mut self, gaps: &GapIndex) -> Option<Vec<Gap>> {
        let (page, after) = gaps.open_at(self.cursor, self.after?, PAGE_GAPS);
        self.after = after;
        Some(page).filter(|page| !page.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{GapCause, GapEvidence, GapId, GapState, TimeInterval, UnixMillis};

    fn gap(id: u64, state: GapState) -> Gap {
        let window = TimeInterval { from: UnixMillis(0), to: Some(UnixMillis(1)) };
        let (cause, evidence) = (GapCause::Stale, GapEvidence::None);
        Gap { id: GapId(id), window, cause, state, evidence, progress: None, recovered: 0 }
    }

    #[test]
    fn each_open_gap_is_sent_once() {
        for open in [0, 1, 999, 1_000, 1_001, 1_100, 1_101, 5_432] {
            let gaps = GapIndex::new(100_000);
            for id in 1..=open {
                gaps.record(2 * id, &gap(id, GapState::Detected));
                gaps.record(2 * id + 1, &gap(1_000_000 + id, GapState::Recovered));
            }
            let (first, rest) = OpenGaps::begin(&gaps, 2 * open + 2);
            assert!(first.len() <= START_GAPS_MAX && rest.is_some() == (open > 1_000), "{open}");
            // A gap that closes meanwhile is announced by its own record.
            if open > 0 {
                gaps.record(2 * open + 2, &gap(open, GapState::Recovered));
            }
            let mut sent: Vec<_> = first.iter().map(|gap| gap.id.0).collect();
            if let Some(mut rest) = rest {
                while let Some(page) = rest.next(&gaps) {
                    assert!(page.len() <= PAGE_GAPS && page.iter().all(|gap| gap.state == GapState::Detected));
                    sent.extend(page.iter().map(|gap| gap.id.0));
                }
                assert!(rest.next(&gaps).is_none());
            }
            assert_eq!(sent, (1..=open).collect::<Vec<_>>());
        }
    }
}
