//! The posts that are played: a few hundred invented ones, again and again under ids of their own.

use powerstream_gateway::clock::Clock;
use powerstream_gateway::model::PostId;

use crate::invented::{Numbers, json};

/// Different posts; enough that compression finds in a batch what it finds in the real stream, and no more.
const TEMPLATES: usize = 512;
/// An id of these years: it is replaced by others of as many digits.
const PLACEHOLDER: u64 = 1_999_999_999_999_999_999;
/// Bits of an id below its milliseconds.
const COUNTER_BITS: u32 = 22;

struct Template {
    bytes: Vec<u8>,
    /// Where the id stands.
    ids: Vec<usize>,
}

/// An endless supply of posts.
pub struct Posts {
    templates: Vec<Template>,
    next: u64,
    clock: Clock,
}

impl Posts {
    /// The same posts at every run, but for their ids, which contain the time.
    pub fn new() -> Self {
        let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
        let templates = (0..TEMPLATES).map(|n| template(&mut numbers, n)).collect();
        Self { templates, next: 0, clock: Clock::system() }
    }

    /// The next post, in the form of the upstream.
    pub fn draw(&mut self) -> &[u8] {
        let since_lowest = PostId::lowest_at(self.clock.now()).0;
        let id = since_lowest | self.next & ((1 << COUNTER_BITS) - 1);
        let template = &mut self.templates[self.next as usize % TEMPLATES];
        self.next += 1;
        let digits = id.to_string();
        for at in &template.ids {
            template.bytes[*at..*at + digits.len()].copy_from_slice(digits.as_bytes());
        }
        &template.bytes
    }
}

fn template(numbers: &mut Numbers, n: usize) -> Template {
    let mut text = json(numbers, PLACEHOLDER);
    let rule = 1_900_000_000_000_000_000 + n as u64 % 40;
    text.truncate(text.len() - 1);
    text.push_str(&format!(
        r#","matching_rules":[{{"tag":"customer-{:02}","id":{rule},"id_str":"{rule}"}}]}}"#,
        n % 40
    ));
    let placeholder = PLACEHOLDER.to_string();
    let ids = text.match_indices(&placeholder).map(|(at, _)| at).collect();
    Template { bytes: text.into_bytes(), ids }
}
