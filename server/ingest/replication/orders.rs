//! Orders about recovery jobs and private gaps, which any replica accepts and the leader carries out.
//!
//! The leader answers once a checkpoint with the effect of the order is in the shared log, so that its successor has it as
//! well, and a replica accepts the answer once it has read that checkpoint. A leader that was replaced cannot append one, and does not answer. Without an answer the outcome is unknown;
//! to repeat the order is safe, because an interval that a job has to deliver gets no second job.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::log_end::EndQuestions;
use super::place::{PlaceCell, TermPlace};
use crate::clock::Clock;
use crate::hub::Hub;
use crate::hub::status::replica_link::PrivateWants;
use crate::ingest::recovery::{CreateError, JobId, JobStatus, RecoveryJobs};
use crate::model::{BudgetExceeded, BudgetScope, Caller, TimeRange, UnixMillis};
use crate::quorum::{Bus, BusMessage, LogPlace};

/// Subject of the orders.
const SUBJECT: &str = "orders";
/// Orders that are answered together.
const ORDERS_MAX: usize = 64;
/// How long an order waits for its answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Interval in which private gaps of sessions are requested again.
const WANTS_INTERVAL: Duration = Duration::from_secs(5);
/// Interval of looks at the own place.
const POLL_INTERVAL: Duration = Duration::from_millis(10);
/// Wait after a failed subscription.
const RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// An order was not answered: no replica leads, or its outcome is unknown.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("no replica that leads has answered")]
pub struct OrderUnanswered;

#[derive(Serialize, Deserialize)]
enum JobOrder {
    Create {
        span: TimeRange,
        caller: Caller,
    },
    Cancel {
        job: JobId,
    },
    /// Private gaps of sessions; see [`PrivateWants`].
    Want {
        spans: Vec<TimeRange>,
        from_beginning: bool,
        caller: Option<Caller>,
    },
}

/// An answer, and the place of the checkpoint with its effect, with the leader's term.
#[derive(Serialize, Deserialize)]
struct OrderReply {
    term: u64,
    place: LogPlace,
    answer: OrderAnswer,
}

#[derive(Serialize, Deserialize)]
enum OrderAnswer {
    Job(Box<JobStatus>),
    /// No job has this id.
    Unknown,
    /// Private gaps are requested.
    Wanted,
    Refused(OrderRefusal),
}

/// [`CreateError`] between replicas, whose settings are the same.
#[derive(Serialize, Deserialize)]
enum OrderRefusal {
    Disabled,
    Empty,
    TooOld { oldest: UnixMillis, missing: Duration },
    InFuture { now: UnixMillis },
    Budget { is_of_account: bool, retry_after: Duration },
}

/// Passes orders to the leader.
pub struct LeaderOrders {
    bus: Arc<dyn Bus>,
    clock: Clock,
    hub: Arc<Hub>,
    jobs: Arc<RecoveryJobs>,
    cell: PlaceCell,
}

impl LeaderOrders {
    /// Creates the orders of a replica, whose place is in `cell`.
    pub fn new(bus: Arc<dyn Bus>, hub: Arc<Hub>, jobs: Arc<RecoveryJobs>, cell: PlaceCell) -> Self {
        Self { bus, clock: hub.clock().clone(), hub, jobs, cell }
    }

    /// Has private gaps requested.
    pub async fn want(&self, wants: PrivateWants) -> Result<Result<(), BudgetExceeded>, OrderUnanswered> {
        let PrivateWants { spans, from_beginning, caller } = wants;
        match self.order(&JobOrder::Want { spans, from_beginning, caller }).await? {
            OrderAnswer::Wanted => Ok(Ok(())),
            OrderAnswer::Refused(OrderRefusal::Budget { retry_after, .. }) => {
                Ok(Err(self.hub.side().budget_exceeded(retry_after)))
            }
            _ => Err(OrderUnanswered),
        }
    }

    /// Has the gaps of open sessions requested again and again, as long as this replica follows: a leader may not have been
    /// there, or may have ended with a request that no other replica had. Runs as long as the replica.
    pub async fn repeat_wants(&self) {
        let mut requests = self.hub.side().requests();
        loop {
            // The hub owns the sender.
            let changed = async { requests.changed().await.is_ok() };
            self.clock.timeout(WANTS_INTERVAL, changed).await.ok();
            let missing = self.hub.side().missing();
            if self.hub.upstream().is_following() && !missing.is_empty() {
                let wants = PrivateWants { spans: missing.iter().collect(), from_beginning: false, caller: None };
                // Without an answer it is repeated.
                self.want(wants).await.ok();
            }
        }
    }

    /// Has a manual job created; see [`RecoveryJobs::create`].
    pub async fn create(
        &self,
        span: TimeRange,
        caller: Caller,
    ) -> Result<Result<JobStatus, CreateError>, OrderUnanswered> {
        match self.order(&JobOrder::Create { span, caller }).await? {
            OrderAnswer::Job(job) => Ok(Ok(*job)),
            OrderAnswer::Refused(refusal) => Ok(Err(self.refused(refusal))),
            OrderAnswer::Unknown | OrderAnswer::Wanted => Err(OrderUnanswered),
        }
    }

    /// Has a job cancelled; see [`RecoveryJobs::cancel`].
    pub async fn cancel(&self, job: JobId) -> Result<Option<JobStatus>, OrderUnanswered> {
        match self.order(&JobOrder::Cancel { job }).await? {
            OrderAnswer::Job(job) => Ok(Some(*job)),
            OrderAnswer::Unknown => Ok(None),
            OrderAnswer::Refused(_) | OrderAnswer::Wanted => Err(OrderUnanswered),
        }
    }

    async fn order(&self, order: &JobOrder) -> Result<OrderAnswer, OrderUnanswered> {
        let payload = serde_json::to_vec(order).expect("its fields are numbers and texts");
        let ordered = async {
            let reply = self.bus.request(SUBJECT, payload.into(), ANSWER_TIMEOUT).await.ok()?;
            let OrderReply { term, place, answer } = serde_json::from_slice(&reply).ok()?;
            while !self.cell.has(TermPlace { term, last: place }) {
                self.clock.sleep(POLL_INTERVAL).await;
            }
            Some(answer)
        };
        self.clock.timeout(ANSWER_TIMEOUT, ordered).await.ok().flatten().ok_or(OrderUnanswered)
    }

    fn refused(&self, refusal: OrderRefusal) -> CreateError {
        match refusal {
            OrderRefusal::Disabled => CreateError::Disabled,
            OrderRefusal::Empty => CreateError::Empty,
            OrderRefusal::TooOld { oldest, missing } => CreateError::TooOld { oldest, missing },
            OrderRefusal::InFuture { now } => CreateError::InFuture { now },
            OrderRefusal::Budget { is_of_account, retry_after } => {
                let scope = if is_of_account { BudgetScope::Account } else { BudgetScope::Caller };
                CreateError::Budget(self.jobs.budget_exceeded(scope, retry_after))
            }
        }
    }
}

impl From<CreateError> for OrderRefusal {
    fn from(error: CreateError) -> Self {
        match error {
            CreateError::Disabled => Self::Disabled,
            CreateError::Empty => Self::Empty,
            CreateError::TooOld { oldest, missing } => Self::TooOld { oldest, missing },
            CreateError::InFuture { now } => Self::InFuture { now },
            CreateError::Budget(exceeded) => Self::Budget {
                is_of_account: exceeded.scope == BudgetScope::Account,
                retry_after: exceeded.retry_after,
            },
        }
    }
}

/// Carries out the orders of all replicas. Runs while this replica leads; `checkpoints` are the questions that its next
/// checkpoint answers.
pub async fn carry_out_orders(bus: Arc<dyn Bus>, hub: Arc<Hub>, jobs: Arc<RecoveryJobs>, checkpoints: EndQuestions) {
    loop {
        let Ok(messages) = bus.subscribe(SUBJECT).await else {
            hub.clock().sleep(RETRY_INTERVAL).await;
            continue;
        };
        let mut messages = messages.ready_chunks(ORDERS_MAX);
        while let Some(ready) = messages.next().await {
            let answers: Vec<_> = ready.iter().map(|message| carry_out(&hub, &jobs, message)).collect();
            let TermPlace { term, last: place } = checkpoints.ask().await;
            for (message, answer) in ready.iter().zip(answers) {
                if let (Some(reply_to), Some(answer)) = (&message.reply_to, answer) {
                    let reply = serde_json::to_vec(&OrderReply { term, place, answer });
                    // A lost one is an order without an answer.
                    bus.respond(reply_to, reply.expect("its fields are numbers and texts").into()).await.ok();
                }
            }
        }
    }
}

fn carry_out(hub: &Hub, jobs: &RecoveryJobs, message: &BusMessage) -> Option<OrderAnswer> {
    // One of a newer program is not answered.
    Some(match serde_json::from_slice(&message.payload).ok()? {
        JobOrder::Create { span, caller } => match jobs.create(span, caller) {
            Ok(job) => OrderAnswer::Job(Box::new(job)),
            Err(error) => OrderAnswer::Refused(error.into()),
        },
        JobOrder::Cancel { job } => {
            jobs.cancel(job).map_or(OrderAnswer::Unknown, |job| OrderAnswer::Job(Box::new(job)))
        }
        JobOrder::Want { spans, from_beginning, caller } => {
            let wants = PrivateWants { spans, from_beginning, caller };
            hub.side().request_wants(&wants).map_or_else(
                |exceeded| OrderAnswer::Refused(CreateError::Budget(exceeded).into()),
                |()| OrderAnswer::Wanted,
            )
        }
    })
}
