//! Posts of our own, small and each a little different.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

/// What is in front of a post's number: characters that an encoder might hurt.
const TEXTS: &[&str] = &["plain", "quote \" and \\ slash", "猫 and 🐈‍⬛", "line\nbreak", "\u{7f}\u{2028}", "ümläut"];

/// The id of the rule with this tag.
pub fn rule_id(tag: &str) -> u64 {
    tag.bytes().fold(17, |id, byte| (id * 31 + u64::from(byte)) % 1_000_000_007)
}

/// A post that matched a rule for each of these tags; the simulator gives it an id.
pub fn post(number: usize, tags: &[&str]) -> String {
    let rules: Vec<_> = tags.iter().map(|tag| json!({"tag": tag, "id": rule_id(tag)})).collect();
    let text = format!("{} {number}", TEXTS[number % TEXTS.len()]);
    json!({"text": text, "matching_rules": rules}).to_string()
}

/// The tags of the post with this number, in a mix in which every filter of the tests finds something.
pub fn tags(number: usize) -> Vec<&'static str> {
    let mut tags = Vec::new();
    for (every, tag) in [(2, "cats"), (3, "dogs"), (5, "news/jp"), (7, "news/uk"), (97, "rare")] {
        if number.is_multiple_of(every) {
            tags.push(tag);
        }
    }
    tags
}

/// A post with a text of so many bytes that do not compress well.
pub fn large_post(number: usize, bytes: usize) -> String {
    let mut rng = StdRng::seed_from_u64(number as u64);
    let text: String = (0..bytes).map(|_| char::from(rng.random_range(b'A'..=b'z'))).collect();
    let rules = json!([{"tag": "large", "id": rule_id("large")}]);
    json!({"text": text, "matching_rules": rules}).to_string()
}
