//! Logs of earlier versions, and what makes a log unreadable for them.

use super::*;

/// A log that the first version wrote: posts with a delta, gaps, skipped messages, two terms.
fn log_of_version_1(dir: &Path) {
    let sample = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/journal_v1");
    for file in std::fs::read_dir(sample).expect("it is there") {
        let path = file.expect("an entry").path();
        std::fs::copy(&path, dir.join(path.file_name().expect("a file"))).expect("copied");
    }
}

/// Version in the identity file.
fn version(dir: &Path) -> u8 {
    std::fs::read(dir.join("identity")).expect("it is there")[8]
}

fn kind(body: &RecordBody) -> &'static str {
    match body {
        RecordBody::Post(_) => "post",
        RecordBody::Delta { .. } => "delta",
        RecordBody::Gap(_) => "gap",
        RecordBody::Skip(_) => "skip",
        RecordBody::Term => "term",
        RecordBody::Rules(_) => "rules",
    }
}

#[test]
fn log_of_version_1_opens_and_continues() {
    let dir = tempfile::tempdir().expect("a directory");
    log_of_version_1(dir.path());
    let mut journal = embedded(dir.path(), &small_segments(), 7);
    assert_eq!((journal.torn_bytes, version(dir.path())), (0, 1));
    let before = records(read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20));
    let kinds: Vec<_> = before.iter().map(|record| kind(&record.body)).collect();
    let count = |wanted| kinds.iter().filter(|kind| **kind == wanted).count();
    assert_eq!(["post", "delta", "gap", "skip", "term", "rules"].map(count), [3, 1, 5, 1, 2, 0], "{kinds:?}");
    let cats = before.iter().find_map(|record| record.body.post()).expect("a post");
    assert_eq!(
        (cats.id, cats.tags().map(|tag| &**tag).collect::<Vec<_>>()),
        (PostId(1_068_540_203_504_144_386), vec!["cats"])
    );

    let next = journal.reader.extent().next;
    let late = |record: Record| Record { received: UnixMillis(before[before.len() - 1].received.0 + 1), ..record };
    let added: Vec<_> =
        with_term(7, vec![late(post(next, "a")), late(rules_change(next + 1)), late(post(next + 2, "a"))]);
    journal.writer.append(&added[..1]).expect("there is room");
    assert_eq!(version(dir.path()), 1, "an earlier program reads it");
    journal.writer.append(&added[1..]).expect("there is room");
    assert_eq!(version(dir.path()), 2, "an earlier program refuses it");
    drop(journal);
    let journal = embedded(dir.path(), &small_segments(), 8);
    assert_eq!(records(read_all(&*journal.reader, 1, &KeyFilter::Always, 1 << 20)), [before, added].concat());
    drop(journal);
    let found = verify(dir.path()).expect("a log");
    assert!(found.is_clean(), "{found}");
    assert!(found.to_string().contains("1 rule changes"), "{found}");
}

/// A change of rules is announced to every reader, also by a block without any post that it wants, and after recompression
/// and trimming.
#[test]
fn filtered_reader_gets_rule_changes() {
    let config = Config { segment_bytes_max: 600, ..small_segments() };
    each(&config, |journal| {
        let all: Vec<_> = (1..=120).map(|n| if n % 40 == 0 { rules_change(n) } else { post(n, "cats") }).collect();
        for batch in all.chunks(3) {
            journal.writer.append(batch).expect("there is room");
        }
        for round in 0..3 {
            for keys in [vec![], vec![IndexKey::Tag("t1".into())], vec![IndexKey::Rule(2)]] {
                let keys = KeyFilter::AnyOf(keys.into());
                let found = records(read_all(&*journal.reader, 1, &keys, 1 << 10));
                let changes: Vec<_> = found.iter().filter(|record| kind(&record.body) == "rules").collect();
                let sequences: Vec<_> = changes.iter().map(|record| record.sequence).collect();
                assert_eq!(sequences, [40, 80, 120], "round {round}, {keys:?}");
                assert_eq!(changes[1].body, rules_change(80).body);
            }
            let notices = journal.reader.read_notices(30..100, false, 1 << 20).expect("readable");
            assert_eq!(notices.items.iter().map(ReadItem::first).collect::<Vec<_>>(), [40, 80]);
            for _ in 0..4 {
                journal.maintenance.step(START).expect("a step");
            }
        }
    });
}
