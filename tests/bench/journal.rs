//! Figures of the journal: how fast it takes posts, how fast it gives them back, what a post costs on the disk.
//!
//! `cargo bench --bench journal [-- POSTS]` prints a table; nothing is asserted.

mod posts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use posts::{Numbers, T0, json};
use powerstream_gateway::clock::Moment;
use powerstream_gateway::journal::{self, Config, Durability, Journal, WriterIdentity};
use powerstream_gateway::model::{
    Epoch, IndexKey, KeyFilter, Origin, Post, PostId, Record, RecordBody, Rule, Sequence, Term, UnixMillis,
};

/// Posts of 200 rules; every hundredth also of a rule that a narrow filter asks for.
fn posts(count: u64) -> Vec<Record> {
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    let rule = |n: u64| Rule { id: Some(1_600_000_000_000_000_000 + n), tag: Some(format!("topic-{n}").into()) };
    let sets: Vec<Arc<[Rule]>> = (0..200).map(|n| [rule(n)].into()).collect();
    let narrow: Arc<[Rule]> = [rule(7), Rule { id: Some(5), tag: Some("narrow".into()) }].into();
    let record = |n: u64| {
        let id = (n * 37) << 22;
        let json = Bytes::from(json(&mut numbers, id));
        // The narrow rule's posts come in bursts, as they do when something happens.
        let rules = if n % 10_000 < 100 { narrow.clone() } else { sets[numbers.below(200) as usize].clone() };
        let post = Post {
            id: PostId(id),
            rules,
            origin: Origin::Live,
            gap: None,
            counterpart: None,
            counterpart_rules: None,
            previous: None,
            json,
        };
        Record { sequence: n, term: Term(1), received: UnixMillis(T0 + n as i64), body: RecordBody::Post(post) }
    };
    (1..=count).map(record).collect()
}

fn open(dir: &std::path::Path, durability: Durability) -> Journal {
    let config = Config { durability, ..Config::default() };
    let identity = WriterIdentity { epoch: Epoch(1), term: Term(1) };
    journal::open_embedded(&config, dir, identity, UnixMillis(T0)).expect("a fresh directory")
}

fn append(journal: &mut Journal, posts: &[Record], batch: usize) -> Duration {
    let started = Instant::now();
    for batch in posts.chunks(batch) {
        journal.writer.append(batch).expect("there is room");
    }
    started.elapsed()
}

fn replay(journal: &Journal, keys: &KeyFilter) -> (u64, Duration) {
    let started = Instant::now();
    let (mut at, mut given): (Sequence, u64) = (1, 0);
    while at < journal.reader.extent().next {
        let chunk = journal.reader.read(at, keys, 64 << 10).expect("nothing is trimmed");
        given += chunk.items.len() as u64;
        at = chunk.next;
    }
    (given, started.elapsed())
}

fn rate(count: usize, took: Duration) -> String {
    format!("{:>10.0}/s", count as f64 / took.as_secs_f64())
}

/// Recompresses what is worth it; the bytes of the log after it.
fn settle(journal: &mut Journal) -> u64 {
    journal.maintenance.step(Moment::ZERO).expect("a step");
    let later = Moment::ZERO.plus(Duration::from_secs(7_200));
    (0..200).map(|_| journal.maintenance.step(later).expect("a step")).last().map_or(0, |report| report.bytes)
}

#[allow(clippy::print_stdout)]
fn main() {
    let count = std::env::args().skip(1).find_map(|it| it.parse().ok()).unwrap_or(60_000_u64);
    let posts = posts(count);
    let payload: usize = posts.iter().filter_map(|it| it.body.post()).map(|post| post.json.len()).sum();
    println!("{count} posts of {} bytes", payload / posts.len());
    println!("{:<28} {:>12} {:>12} {:>12}", "append, posts per batch", 1, 10, 50);
    for durability in [Durability::Memory, Durability::Os, Durability::Sync] {
        let rates = [1, 10, 50].map(|batch| {
            let dir = tempfile::tempdir().expect("a directory");
            // A disk that syncs a thousand times a second is a fast one.
            let share = if durability == Durability::Sync { posts.len().min(batch * 1_000) } else { posts.len() };
            let took = append(&mut open(dir.path(), durability), &posts[..share], batch);
            rate(share, took)
        });
        println!("{:<28} {} {} {}", format!("  {durability:?}"), rates[0], rates[1], rates[2]);
    }
    let narrow = KeyFilter::AnyOf([IndexKey::Tag("narrow".into())].into());
    for (name, batch) in [("busy (batches of 50)", 50), ("quiet (batches of 1)", 1)] {
        let dir = tempfile::tempdir().expect("a directory");
        let mut journal = open(dir.path(), Durability::Os);
        append(&mut journal, &posts, batch);
        for state in ["as appended", "after maintenance"] {
            let bytes = if state == "after maintenance" { settle(&mut journal) } else { size(dir.path()) };
            let (all, took) = replay(&journal, &KeyFilter::Always);
            assert_eq!(all, count);
            let (given, narrow_took) = replay(&journal, &narrow);
            println!("{name}, {state}:");
            println!(
                "  replay {}  narrow {} passed, {given} given",
                rate(posts.len(), took),
                rate(posts.len(), narrow_took)
            );
            let (per_post, ratio) = (bytes / count, payload as f64 / bytes as f64);
            println!("  {per_post} bytes per post ({ratio:.1} times smaller)");
        }
        drop(journal);
        let started = Instant::now();
        drop(open(dir.path(), Durability::Os));
        println!("  opened in {:?}", started.elapsed());
    }
}

fn size(dir: &std::path::Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("it is there");
    files.map(|file| file.and_then(|file| file.metadata()).map_or(0, |it| it.len())).sum()
}
