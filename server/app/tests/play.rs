//! Plays a plan against a gateway, on a paused runtime of its own, and records what happened.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use ::oracle::{From, Gap};
use tokio::task::LocalSet;

use super::plan::{LogOutcome, Plan, Start, Step};
use super::reader::Reader;
use super::record::{Loss, Record};
use super::stage::{Gateway, Stage, TestDisk, seed_random};
use super::truth::{self, MINUTE, Ms, SECOND, Want};
use super::x::X;
use crate::task;

/// A minute that no two histories have in common begins anywhere.
const BEGINNING: Ms = 1_800_000_000_000;
/// Time before the start for which X has posts.
const PAST: Ms = 15 * MINUTE;
/// Longest time until all is closed once X behaves: the longest wait for a refused request, and what follows it.
const SETTLED_WITHIN: Ms = 120 * MINUTE;

struct Play {
    plan: Plan,
    stage: Stage,
    gateway: Option<Gateway>,
    readers: Vec<Reader>,
    host_ahead: Ms,
    /// When the snapshot was taken.
    snapshot: Option<Ms>,
    losses: Vec<Loss>,
    pauses: Vec<(Ms, Ms)>,
    faults: Vec<String>,
}

/// Plays it to its end.
pub(super) fn play(plan: &Plan) -> Record {
    task::inline::turn_on();
    seed_random(plan.seed ^ 0x5eed);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O asks nothing of the system");
    LocalSet::new().block_on(&runtime, async {
        let mut play = Play::new(plan);
        let from = play.stage.x.now();
        play.start();
        for step in plan.steps.clone() {
            play.take(step).await;
        }
        play.settle().await;
        let to = play.stage.x.now();
        play.end(from, to).await
    })
}

fn length(step: &Step) -> Ms {
    match step {
        Step::Pass(time) | Step::Freeze(time, _) | Step::Unreadable(time) | Step::Full(time) => *time,
        Step::Kill { down, .. } => *down,
        _ => 0,
    }
}

async fn pass(time: Ms) {
    tokio::time::sleep(Duration::from_millis(time.unsigned_abs())).await;
}

impl Play {
    fn new(plan: &Plan) -> Self {
        let now = BEGINNING + (plan.seed % 9_973) as Ms * 37;
        let length: Ms = plan.steps.iter().map(length).sum();
        let posts = truth::posts(&plan.setup.traffic, now - PAST, now + length + 10 * MINUTE);
        let x = Arc::new(X::new(now, posts, &plan.lives, &plan.jobs));
        let base = if Path::new("/dev/shm").is_dir() { Path::new("/dev/shm").to_owned() } else { std::env::temp_dir() };
        let dir = tempfile::tempdir_in(base).expect("a directory").keep();
        let stage = Stage { setup: plan.setup.clone(), x, dir, disk: Arc::new(TestDisk::default()) };
        Self {
            plan: plan.clone(),
            stage,
            gateway: None,
            readers: Vec::new(),
            host_ahead: plan.setup.host_ahead,
            snapshot: None,
            losses: Vec::new(),
            pauses: Vec::new(),
            faults: Vec::new(),
        }
    }

    fn start(&mut self) {
        self.gateway = Some(self.stage.start(self.host_ahead));
    }

    fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("it runs")
    }

    fn log_dir(&self) -> std::path::PathBuf {
        self.stage.dir.join("data/accounts/main")
    }

    async fn take(&mut self, step: Step) {
        self.reconnect().await;
        let now = self.stage.x.now();
        match step {
            Step::Pass(time) => pass(time).await,
            Step::Cut(end) => {
                self.stage.x.end_live(now, end);
                pass(20).await;
            }
            Step::Freeze(time, end) => {
                if let Some(end) = end {
                    self.stage.x.end_live(now + time / 2, end);
                }
                tokio::time::advance(Duration::from_millis(time.unsigned_abs())).await;
                self.pauses.push((now, self.stage.x.now()));
                pass(20).await;
            }
            Step::Kill { down, log, host_ahead } => self.kill(down, log, host_ahead).await,
            Step::Renew => self.renew().await,
            Step::Subscribe(want, start) => {
                self.subscribe(want, start);
                pass(20).await;
            }
            Step::Leave(reader) => {
                let count = self.readers.len().max(1);
                if let Some(reader) = self.readers.get_mut(reader % count) {
                    self.faults.extend(reader.leave().await.err());
                    reader.is_gone = true;
                }
            }
            Step::Resume(reader, back) => {
                let (count, hub) = (self.readers.len().max(1), self.gateway().hub.clone());
                if let Some(reader) = self.readers.get_mut(reader % count) {
                    self.faults.extend(reader.leave().await.err());
                    reader.resume(&hub, back);
                    reader.is_gone = false;
                }
                pass(20).await;
            }
            Step::Snapshot => self.snapshot(now),
            Step::Full(time) => {
                self.stage.disk.is_full.store(true, Ordering::Relaxed);
                pass(time).await;
                self.stage.disk.is_full.store(false, Ordering::Relaxed);
                self.pauses.push((now, self.stage.x.now()));
                pass(5 * SECOND).await;
            }
            Step::Unreadable(time) => {
                self.stage.disk.is_unreadable.store(true, Ordering::Relaxed);
                pass(time).await;
                self.stage.disk.is_unreadable.store(false, Ordering::Relaxed);
            }
        }
    }

    /// Subscribers whose sessions ended reconnect.
    async fn reconnect(&mut self) {
        let hub = self.gateway().hub.clone();
        for reader in self.readers.iter_mut().filter(|reader| reader.is_cut_off()) {
            self.faults.extend(reader.leave().await.err());
            reader.resume(&hub, 0);
        }
    }

    fn subscribe(&mut self, want: Want, start: Start) {
        let hub = self.gateway().hub.clone();
        let mut reader = Reader::new(self.readers.len(), want, self.stage.x.clone());
        let from = match start {
            Start::Latest => From::Latest,
            Start::Earliest => From::Earliest,
            Start::Back(time) => From::Time(self.stage.x.now() - time),
        };
        reader.begin(&hub, from);
        self.readers.push(reader);
    }

    fn snapshot(&mut self, now: Ms) {
        if self.plan.setup.files {
            let to = self.stage.dir.join("snapshot");
            let _ = std::fs::remove_dir_all(&to);
            copy_log(&self.log_dir(), &to);
            self.snapshot = Some(now);
        }
    }

    async fn kill(&mut self, down: Ms, log: LogOutcome, host_ahead: Option<Ms>) {
        for reader in &mut self.readers {
            self.faults.extend(reader.leave().await.err());
        }
        self.stop().await;
        let now = self.stage.x.now();
        match (log, self.plan.setup.files, self.snapshot) {
            // What was read at this very moment was not written yet.
            (LogOutcome::Kept, true, _) | (LogOutcome::LoseTail, true, None) => {
                self.losses.push(Loss { at: now, kept_to: now - 1 })
            }
            (LogOutcome::LoseTail, true, Some(kept_to)) => {
                remove_log(&self.log_dir());
                copy_log(&self.stage.dir.join("snapshot"), &self.log_dir());
                self.losses.push(Loss { at: now, kept_to: kept_to - 1 });
            }
            (LogOutcome::Lost, true, _) => {
                std::fs::remove_dir_all(self.log_dir()).expect("it was there");
                self.snapshot = None;
                self.losses.push(Loss { at: now, kept_to: Ms::MIN });
            }
            (_, false, _) => self.losses.push(Loss { at: now, kept_to: Ms::MIN }),
        }
        self.host_ahead = host_ahead.unwrap_or(self.host_ahead);
        pass(down.max(1)).await;
        self.pauses.push((now, self.stage.x.now()));
        self.start();
        self.reconnect().await;
        pass(20).await;
    }

    async fn renew(&mut self) {
        let now = self.stage.x.now();
        let Some(gateway) = self.gateway.take() else { return };
        let terms = gateway.hub.reader().terms();
        match gateway.renew().await {
            Ok(renewed) => {
                pass(20).await;
                // It logs the gap that it begins with, if the log has begun.
                let found = renewed.hub.reader().terms();
                if !found.starts_with(&terms) || found.len() > terms.len() + 1 {
                    self.faults.push(format!("terms: {terms:?} became {found:?} at {now}"));
                }
                self.gateway = Some(renewed);
            }
            Err(fault) => self.faults.push(fault),
        }
    }

    /// Ends the gateway, and looks whether all that came in is accounted for.
    async fn stop(&mut self) {
        let Some(gateway) = self.gateway.take() else { return };
        let kinds = ["posts_appended", "side_appended", "duplicates", "deltas", "control", "unknown"];
        let more = ["foreign_messages", "malformed", "oversized", "partial", "dropped_at_shutdown"];
        let counters = gateway.counters();
        let counted: u64 = kinds.iter().chain(&more).map(|kind| counters.of(kind)).sum();
        let came = counters.of("ingest_messages");
        if came != counted {
            self.faults.push(format!("accounting: {came} messages came in, {counted} are accounted for"));
        }
        let outcomes = ["events_delivered", "records_filtered", "notices_delivered"];
        let (passed, counted) = (counters.of("records_scanned"), outcomes.map(|kind| counters.of(kind)));
        if passed != counted.iter().sum::<u64>() {
            self.faults.push(format!("accounting: {passed} records were passed, {counted:?} are accounted for"));
        }
        let late = counters.of("records_found_by_timer");
        if late > 0 {
            self.faults.push(format!("wakes: {late} records were found by a timer, no wake came for them"));
        }
        if let Err(fault) = gateway.kill().await {
            self.faults.push(fault);
        }
    }

    /// X behaves from now on, all reconnect, and time passes until nothing is left to do.
    async fn settle(&mut self) {
        self.stage.x.behave();
        self.subscribe(Want::default(), Start::Earliest);
        self.readers.iter_mut().for_each(|reader| reader.is_gone = false);
        let began = self.stage.x.now();
        let mut quiet = 0;
        while quiet < 2 && self.stage.x.now() < began + SETTLED_WITHIN {
            self.reconnect().await;
            pass(45 * SECOND + 123).await;
            // Whose session ended in this time did not receive the rest of it.
            let is_received = !self.readers.iter().any(Reader::is_cut_off);
            let is_done = is_received && self.open_gaps().is_empty() && self.stage.x.is_live();
            quiet = if is_done { quiet + 1 } else { 0 };
        }
        let open = self.open_gaps();
        if !open.is_empty() {
            self.faults.push(format!("I12: liveness: these gaps stay open: {open:?}"));
        }
    }

    fn open_gaps(&self) -> Vec<(usize, Gap)> {
        let of = |reader: &Reader| reader.look(|seen| (seen.number, seen.last_gaps()));
        let served = self.readers.iter().filter(|reader| !reader.is_refused());
        let all = served.map(of).flat_map(|(number, gaps)| gaps.into_iter().map(move |gap| (number, gap)));
        all.filter(|(_, gap)| !gap.state.is_final()).collect()
    }

    async fn end(mut self, from: Ms, to: Ms) -> Record {
        for reader in &mut self.readers {
            self.faults.extend(reader.leave().await.err());
        }
        let complete = self.gateway().complete(from, to);
        self.stop().await;
        let _ = std::fs::remove_dir_all(&self.stage.dir);
        let (posts, arrivals, connections) =
            self.stage.x.look(|state| (state.posts.clone(), state.arrivals.clone(), state.connections.clone()));
        Record {
            plan: self.plan,
            posts,
            arrivals,
            connections,
            subscriptions: self.readers.into_iter().map(Reader::into_seen).collect(),
            losses: self.losses,
            from,
            to,
            pauses: self.pauses,
            complete,
            faults: self.faults,
        }
    }
}

/// The files of the log itself: what is a file in its directory, but for what the gateway keeps of it.
fn log_files(dir: &Path) -> Vec<std::path::PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let own = |path: &std::path::PathBuf| path.is_file() && path.extension().is_none_or(|it| it != "json");
    entries.flatten().map(|entry| entry.path()).filter(own).collect()
}

fn copy_log(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory is ours");
    for path in log_files(from) {
        std::fs::copy(&path, to.join(path.file_name().expect("a file"))).expect("it is readable");
    }
}

fn remove_log(dir: &Path) {
    log_files(dir).iter().for_each(|path| std::fs::remove_file(path).expect("it is ours"));
}
