//! The page: one document with its style and its script, and the policy that allows these two and nothing else.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderValue, header};
use sha2::{Digest, Sha256};

use super::plain;
use super::snapshot::Snapshot;

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Where style, script and the table for browsers without scripts are inserted.
const MARKS: [&str; 3] = ["{{style}}", "{{script}}", "{{table}}"];

/// The page without its table.
pub(super) struct Document {
    before_table: String,
    after_table: String,
    headers: HeaderMap,
}

fn digest(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text)))
}

impl Document {
    /// Assembles the page. The policy has the digests of what is embedded: there is nothing to keep in step.
    pub(super) fn new() -> Self {
        let [style, script, table] = MARKS;
        let html = HTML.replace(style, STYLE).replace(script, SCRIPT);
        let (before, after) = html.split_once(table).expect("the page has a place for its table");
        let policy = format!(
            "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; img-src data:; \
             frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
            digest(SCRIPT),
            digest(STYLE)
        );
        let mut headers = HeaderMap::new();
        let policy = HeaderValue::try_from(policy).expect("digests are Base64");
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        Self { before_table: before.to_owned(), after_table: after.to_owned(), headers }
    }

    /// Returns the page with a table for browsers without scripts.
    pub(super) fn with(&self, snapshot: &Snapshot) -> String {
        format!("{}{}{}", self.before_table, plain::tables(snapshot), self.after_table)
    }

    /// Returns the headers of every answer of the page and its data.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.headers
    }
}
