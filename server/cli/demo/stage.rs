//! What every demo needs: consumers that print what they receive, waits with a deadline, and the summary.

use std::time::Duration;

use anyhow::{Context, bail};
use powerstream_consumer::proto::subscribe_response::Frame;
use powerstream_consumer::{Consumer, Content, Delivery, ResumeToken};

use super::delivery_log::{DeliveryLog, has};
use crate::cli::exit::Exit;
use crate::cli::tail::EventFormat;
use crate::cli::terminal::{print, print_status};
use crate::clock::{Clock, Moment};
use crate::simulator::SimulatorHandle;

/// Tags of the consumers.
pub(super) const TAGS: [&str; 2] = ["cats", "dogs"];
/// Timeout of each step: far longer than the takeover by another replica, which waits for a lease and perhaps an election of
/// NATS.
const WAIT_TIMEOUT: Duration = Duration::from_secs(60);
/// Poll interval of conditions.
const POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The simulator, and the clock of all waits.
pub(super) struct DemoStage {
    pub(super) clock: Clock,
    pub(super) truth: SimulatorHandle,
}

/// A consumer with its deliveries.
pub(super) struct DemoConsumer {
    pub(super) tag: &'static str,
    pub(super) consumer: Consumer,
    pub(super) tracker: DeliveryLog,
}

impl DemoStage {
    /// Compares what both received with what the simulator sent.
    pub(super) async fn summary(
        &self,
        mut cats: DemoConsumer,
        mut dogs: DemoConsumer,
        mut sound: bool,
    ) -> anyhow::Result<Exit> {
        self.truth.pause();
        let due = TAGS.map(|tag| self.due(tag));
        if self.pump_until([&mut cats, &mut dogs], |viewers| has_all(viewers, due)).await.is_err() {
            sound = false;
        }
        let truth = self.truth.sent_posts();
        print_status(format_args!("\nSummary:"));
        for viewer in [&cats, &dogs] {
            let comparison = viewer.tracker.compare(&truth, viewer.tag);
            sound &= comparison.is_sound();
            print_status(format_args!(
                "  {}: sent {}, received {}, repeated {}, not requested {}",
                viewer.tag, comparison.due, comparison.got, comparison.repeated, comparison.foreign
            ));
        }
        Ok(if sound { Exit::Done } else { Exit::ContractViolated })
    }

    /// Returns the number of posts with this tag that the simulator has sent.
    pub(super) fn due(&self, tag: &str) -> usize {
        self.truth.sent_posts().iter().filter(|post| has(post, tag)).count()
    }

    pub(super) async fn wait_until(&self, what: &str, mut condition: impl AsyncFnMut() -> bool) -> anyhow::Result<()> {
        let deadline = self.clock.moment().plus(WAIT_TIMEOUT);
        while !condition().await {
            if self.clock.moment() >= deadline {
                bail!("waited {:?} until {what}", WAIT_TIMEOUT);
            }
            self.clock.sleep(POLL_INTERVAL).await;
        }
        Ok(())
    }

    /// Polls these consumers until the condition is true.
    pub(super) async fn pump_until<const N: usize>(
        &self,
        mut viewers: [&mut DemoConsumer; N],
        done: impl Fn(&[&mut DemoConsumer]) -> bool,
    ) -> anyhow::Result<()> {
        let deadline = self.clock.moment().plus(WAIT_TIMEOUT);
        while !done(&viewers) {
            if self.clock.moment() >= deadline {
                bail!("waited {:?} for posts", WAIT_TIMEOUT);
            }
            self.look(&mut viewers).await?;
        }
        Ok(())
    }

    pub(super) async fn attend_until(&self, end: Moment, mut viewers: [&mut DemoConsumer; 2]) -> anyhow::Result<()> {
        while self.clock.moment() < end {
            self.look(&mut viewers).await?;
        }
        Ok(())
    }

    /// Processes the frames that are available.
    async fn look(&self, viewers: &mut [&mut DemoConsumer]) -> anyhow::Result<()> {
        for viewer in viewers {
            while let Ok(step) = self.clock.timeout(POLL_INTERVAL, viewer.consumer.next()).await {
                viewer.take(&step?);
            }
        }
        Ok(())
    }
}

/// True if each consumer has so many posts.
pub(super) fn has_all(viewers: &[&mut DemoConsumer], due: [usize; 2]) -> bool {
    viewers.iter().zip(due).all(|(viewer, due)| viewer.tracker.len() >= due)
}

/// True if each consumer has a token: its session began.
pub(super) fn have_begun(viewers: &[&mut DemoConsumer]) -> bool {
    viewers.iter().all(|viewer| viewer.consumer.token().is_some())
}

impl DemoConsumer {
    pub(super) fn new(tag: &'static str, address: &str, token: Option<ResumeToken>) -> Self {
        let mut builder = Consumer::builder(address).consumer(format!("demo-{tag}")).any_of([tag]).violations_max(1);
        if let Some(token) = token {
            builder = builder.resume_from(token);
        }
        let consumer = builder.build().expect("the address is the gateway's own");
        Self { tag, consumer, tracker: DeliveryLog::default() }
    }

    /// Continues at this address with the last token, which is returned. The drop closes its stream, as a kill would; the new
    /// consumer connects when it is polled.
    pub(super) fn resume_at(&mut self, address: &str) -> anyhow::Result<ResumeToken> {
        let token = self.consumer.token().context("it has one since its first frame")?.clone();
        let tracker = std::mem::take(&mut self.tracker);
        *self = Self { tracker, ..Self::new(self.tag, address, Some(token.clone())) };
        Ok(token)
    }

    fn take(&mut self, delivery: &Delivery) {
        match &delivery.content {
            Content::Events(batch) => {
                for event in &batch.events {
                    self.tracker.note(event.post_id);
                    let mut line = Vec::new();
                    EventFormat::Human { width: 110 }.event(event, &mut line);
                    print(&format!("{:>5} │ {}", self.tag, String::from_utf8_lossy(&line)));
                }
            }
            Content::Gap(_) | Content::Missing(_) | Content::Skipped(_) | Content::Notice(Frame::StreamNotice(_)) => {
                delivery.describe().iter().for_each(|line| print(&format!("{:>5} ┃ {line}\n", self.tag)));
            }
            Content::Disconnected(_) => {
                delivery.describe().iter().for_each(|line| print_status(format_args!("{}: {line}", self.tag)));
            }
            Content::Notice(_) | Content::Unknown => {}
        }
    }
}
