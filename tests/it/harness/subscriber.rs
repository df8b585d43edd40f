//! A consumer: reads a session, and checks in every frame what holds for all sessions.

use powerstream_gateway::grpc::{REASON_TRAILER, TOKEN_TRAILER};
use powerstream_gateway::proto::subscribe_request::Start;
use powerstream_gateway::proto::subscribe_response::Frame;
use powerstream_gateway::proto::{
    Earliest, Event, EventBatch, Heartbeat, Latest, Phase, SessionStart, SubscribeRequest, SubscribeResponse, TagFilter,
};
use powerstream_gateway::simulator::SimulatorHandle;
use tonic::{Status, Streaming};

use super::env::Client;
use super::{filters, in_time, record};

/// Longest token without private gaps, and with them (contract, 1).
const TOKEN_CHARS_MAX: usize = 200;
const TOKEN_WITH_GAPS_CHARS_MAX: usize = 1_024;

/// One session of a consumer.
pub struct Subscriber {
    /// How it began.
    pub start: SessionStart,
    /// All posts, in the order they came.
    pub got: Vec<Event>,
    /// The terms of all posts.
    pub terms: Vec<String>,
    /// Which posts came in batches that are marked as possible repeats.
    pub doubtful: Vec<usize>,
    /// The token of each frame, and how many posts had come with it.
    pub tokens: Vec<(usize, String)>,
    /// Heartbeats.
    pub heartbeats: Vec<Heartbeat>,
    /// All other frames but the first, with how many posts had come before.
    pub notices: Vec<(usize, Frame)>,
    /// How it ended, if it did.
    pub end: Option<Status>,
    /// The same in the words of the oracle, by the clock of its upstream, if it was given one.
    pub record: oracle::Session,
    filter: TagFilter,
    x: Option<SimulatorHandle>,
    stream: Streaming<SubscribeResponse>,
    sequence: u64,
    caught_up: bool,
}

/// From the tip on.
pub fn latest(filter: &TagFilter) -> SubscribeRequest {
    asking(filter, Start::Latest(Latest {}))
}

/// From the beginning of the log.
pub fn earliest(filter: &TagFilter) -> SubscribeRequest {
    asking(filter, Start::Earliest(Earliest {}))
}

/// From where another session was.
pub fn after(token: &str, filter: &TagFilter) -> SubscribeRequest {
    asking(filter, Start::ResumeToken(token.into()))
}

/// A request with the shortest heartbeat there is.
pub fn asking(filter: &TagFilter, start: Start) -> SubscribeRequest {
    SubscribeRequest {
        filter: Some(filter.clone()),
        start: Some(start),
        heartbeat_interval: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..SubscribeRequest::default()
    }
}

impl Subscriber {
    /// Begins a session; it must begin with `SessionStart`.
    pub async fn open(client: &mut Client, request: SubscribeRequest) -> Result<Self, Status> {
        Self::watching(None, client, request).await
    }

    /// The same, with the times of what it gets by the clock of this upstream.
    pub async fn watching(
        x: Option<&SimulatorHandle>,
        client: &mut Client,
        request: SubscribeRequest,
    ) -> Result<Self, Status> {
        let x = x.cloned();
        let now = || x.as_ref().map_or(0, |x| x.now().0);
        let asked = record::asked(request.start.as_ref(), now());
        let filter = request.filter.clone().unwrap_or_default();
        let mut stream = in_time("an answer", client.subscribe(request)).await?.into_inner();
        let first = in_time("the first frame", stream.message()).await?.expect("a stream has a first frame");
        let Some(Frame::SessionStart(start)) = first.frame else { panic!("the first frame is {first:?}") };
        let mut opened = Self {
            sequence: start.position.as_ref().expect("a start has a position").sequence,
            record: record::session(now(), asked, &start),
            start,
            got: Vec::new(),
            terms: Vec::new(),
            doubtful: Vec::new(),
            tokens: Vec::new(),
            heartbeats: Vec::new(),
            notices: Vec::new(),
            end: None,
            filter,
            x,
            stream,
            caught_up: false,
        };
        opened.keep(first.resume_token);
        Ok(opened)
    }

    /// Returns its last token.
    pub fn token(&self) -> &str {
        &self.tokens.last().expect("the first frame has one").1
    }

    /// Takes the next frame; false if there is none.
    pub async fn read(&mut self) -> bool {
        match in_time("the next frame", self.stream.message()).await {
            Ok(Some(response)) => self.take(response),
            Ok(None) => panic!("a session never ends without a status"),
            Err(status) => {
                self.record.end = Some(record::end(&status));
                self.end = Some(status);
            }
        }
        self.end.is_none()
    }

    /// Reads until this holds.
    pub async fn until(&mut self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let reading = async {
            while !holds(self) {
                assert!(self.read().await, "{what}: it ended before, with {:?}", self.end);
            }
        };
        in_time(what, reading).await;
    }

    /// Reads until this holds, or the session ends.
    pub async fn read_until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        while !holds(self) && self.read().await {}
    }

    /// What it asks for.
    pub fn filter(&self) -> &TagFilter {
        &self.filter
    }

    /// Reads until so many posts have come.
    pub async fn posts(&mut self, count: usize) {
        self.until("so many posts come", |own| own.got.len() >= count).await;
    }

    /// Reads until the tip is reached.
    pub async fn caught_up(&mut self) {
        self.until("the tip is reached", |own| own.caught_up).await;
    }

    /// Reads until the session ends.
    pub async fn ended(&mut self) -> Status {
        while self.read().await {}
        self.end.clone().expect("it has ended")
    }

    fn take(&mut self, response: SubscribeResponse) {
        let SubscribeResponse { resume_token, frame } = response;
        let frame = frame.expect("a response has a frame");
        match &frame {
            Frame::StreamNotice(_) => {}
            _ => assert!(!resume_token.is_empty(), "a token is due: {frame:?}"),
        }
        let before = self.got.len();
        let now = self.x.as_ref().map_or(0, |x| x.now().0);
        self.record.frames.push(record::frame(now, &frame, &self.start.epoch));
        match frame {
            Frame::SessionStart(_) => panic!("a second first frame"),
            Frame::EventBatch(batch) => self.take_batch(batch),
            Frame::Heartbeat(heartbeat) => {
                assert_eq!(heartbeat.delivered_total, self.got.len() as u64);
                self.heartbeats.push(heartbeat);
            }
            other => {
                match &other {
                    Frame::CaughtUp(_) => assert!(!std::mem::replace(&mut self.caught_up, true), "caught up twice"),
                    Frame::FellBehind(_) => assert!(std::mem::take(&mut self.caught_up), "it was behind already"),
                    Frame::Skipped(skipped) if skipped.sequence > 0 => self.advance(skipped.sequence),
                    _ => {}
                }
                self.notices.push((before, other));
            }
        }
        if !resume_token.is_empty() {
            self.keep(resume_token);
        }
    }

    fn take_batch(&mut self, batch: EventBatch) {
        assert!(!batch.events.is_empty(), "an empty batch");
        let private = batch.phase() == Phase::Recovery;
        if !private {
            let phase = if self.caught_up { Phase::Live } else { Phase::Replay };
            assert_eq!(batch.phase(), phase, "at {}", batch.events[0].sequence);
        }
        if batch.possible_duplicate {
            self.doubtful.extend(self.got.len()..self.got.len() + batch.events.len());
        }
        for event in batch.events {
            if private {
                assert_eq!(event.sequence, 0, "it is not in the log");
            } else {
                self.advance(event.sequence);
            }
            let rules: Vec<_> = event.rules.iter().map(rule).collect();
            assert!(filters::takes(&self.filter, &rules), "not for this filter: {:?} {:?}", event.tags, self.filter);
            self.got.push(event);
            self.terms.push(batch.term.clone());
        }
        assert_eq!(batch.delivered_total, self.got.len() as u64, "the count is dense");
    }

    fn advance(&mut self, sequence: u64) {
        assert!(sequence > self.sequence, "{sequence} comes after {}", self.sequence);
        self.sequence = sequence;
    }

    fn keep(&mut self, token: String) {
        // Only a session with a private gap may have a long token.
        let most = if !self.start.missing.is_empty() { TOKEN_WITH_GAPS_CHARS_MAX } else { TOKEN_CHARS_MAX };
        assert!((1..=most).contains(&token.len()), "a token of {} characters", token.len());
        self.tokens.push((self.got.len(), token));
    }
}

/// Returns the rule of a delivered post.
pub fn rule(reported: &powerstream_gateway::proto::MatchedRule) -> powerstream_gateway::model::Rule {
    let id = (reported.id != 0).then_some(reported.id);
    powerstream_gateway::model::Rule { id, tag: reported.tag.as_deref().map(Into::into) }
}

/// Returns the reason of a status, from its trailer.
pub fn reason(status: &Status) -> &str {
    trailer(status, REASON_TRAILER)
}

/// Returns the frames of a stream until its end, and the end.
pub async fn end_of(stream: &mut Streaming<SubscribeResponse>) -> (Vec<Frame>, Status) {
    let mut frames = Vec::new();
    loop {
        match in_time("a frame or the end", stream.message()).await {
            Ok(next) => frames.extend(next.expect("an end has a status").frame),
            Err(end) => return (frames, end),
        }
    }
}

/// Returns the token of a status, from its trailer.
pub fn last_token(status: &Status) -> &str {
    trailer(status, TOKEN_TRAILER)
}

fn trailer<'s>(status: &'s Status, name: &str) -> &'s str {
    let value = status.metadata().get(name).unwrap_or_else(|| panic!("no {name}: {status:?}"));
    value.to_str().expect("it is ASCII")
}
