use super::*;
use crate::clock::Clock;
use crate::hub::Config;
use crate::hub::test_util::{hub_over, post_record};
use crate::journal::{self, Backend};
use crate::model::{GapCause, GapEvidence, GapId, TimeInterval};

/// The record that opened a gap is trimmed, the one that closed it is not: the gap is open at the start of the log.
#[test]
fn gap_with_trimmed_start_opens_at_log_start() {
    let settings =
        journal::Config { backend: Backend::Memory, retention_bytes_max: 2_000, ..journal::Config::default() };
    let (hub, mut writer, _side) = hub_over(&settings, &settings, Config::default(), Clock::system());
    let gap = |state, evidence| Gap {
        id: GapId(1),
        window: TimeInterval { from: UnixMillis(0), to: Some(UnixMillis(100)) },
        cause: GapCause::Disconnected,
        state,
        evidence,
        progress: None,
        recovered: 0,
    };
    let mut sequence = 0;
    let mut append = |body: Option<RecordBody>| {
        sequence += 1;
        let post = post_record(sequence, &["a"]);
        let record = Record { body: body.unwrap_or(post.body.clone()), ..post };
        writer.append(&[record]).expect("memory takes it");
        sequence
    };
    let first = append(Some(RecordBody::Gap(gap(GapState::Detected, GapEvidence::None))));
    while hub.reader().extent().earliest <= first {
        append(None);
    }
    let last = append(Some(RecordBody::Gap(gap(GapState::Recovered, GapEvidence::CompletionMessage))));
    restore_gaps(&**hub.reader(), &hub).expect("memory is readable");
    let earliest = hub.reader().extent().earliest;
    let (open, more) = hub.gaps().open_at(earliest, 0, 10);
    assert_eq!(open.iter().map(|gap| (gap.id, gap.state)).collect::<Vec<_>>(), [(GapId(1), GapState::Detected)]);
    assert_eq!((more, hub.gaps().open_at(last + 1, 0, 10).0), (None, Vec::new()));
}
