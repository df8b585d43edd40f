use serde_json::json;
use url::Url;

use crate::secret::Secret;

/// What a request does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RuleCommand {
    /// Reads all rules.
    List,
    /// Adds rules: text and tag.
    Add(Vec<(String, String)>),
    /// Deletes rules.
    Delete(Vec<RuleKey>),
}

impl RuleCommand {
    /// Returns the HTTP method as text, for logs.
    pub fn name(&self) -> &'static str {
        match self {
            Self::List => "GET",
            Self::Add(_) => "POST",
            Self::Delete(_) => "DELETE",
        }
    }
}

/// A rule to be deleted, as X has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleKey {
    /// Text.
    pub value: String,
    /// Tag.
    pub tag: Option<String>,
}

/// A request about the rules of an account.
#[derive(Clone, Debug)]
pub struct RuleRequest {
    /// Origin of the API, `https://api.x.com` in production.
    pub base_url: Url,
    /// The account's bearer token.
    pub bearer: Secret,
    /// What it does.
    pub command: RuleCommand,
    /// Maximum bytes of the decoded answer.
    pub response_bytes_max: usize,
}

impl RuleRequest {
    /// Returns the URL (Powerstream introduction).
    pub fn url(&self) -> Url {
        let mut url = self.base_url.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["2", "powerstream", "rules"]);
        }
        url.set_query(None);
        url.set_fragment(None);
        url
    }

    /// Returns the HTTP method.
    pub fn method(&self) -> http::Method {
        match self.command {
            RuleCommand::List => http::Method::GET,
            RuleCommand::Add(_) => http::Method::POST,
            RuleCommand::Delete(_) => http::Method::DELETE,
        }
    }

    /// Returns the JSON body; `None` for a request without one. A deletion has the form that X shows, rules with text and
    /// tag: X recommends ids, but shows no body with them.
    pub fn body(&self) -> Option<String> {
        let rules: Vec<_> = match &self.command {
            RuleCommand::List => return None,
            RuleCommand::Add(rules) => rules.iter().map(|(value, tag)| json!({"value": value, "tag": tag})).collect(),
            RuleCommand::Delete(rules) => rules
                .iter()
                .map(|rule| match &rule.tag {
                    Some(tag) => json!({"value": rule.value, "tag": tag}),
                    None => json!({"value": rule.value}),
                })
                .collect(),
        };
        Some(json!({"rules": rules}).to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_as_x_documents_them() {
        let check = |command: RuleCommand, method: &str, body: Option<&str>| {
            let request = RuleRequest {
                base_url: "http://127.0.0.1:8099/x/?a=b#c".parse().expect("a URL"),
                bearer: Secret::new("bearer-of-test".to_owned()),
                command,
                response_bytes_max: 1,
            };
            assert_eq!(request.url().as_str(), "http://127.0.0.1:8099/x/2/powerstream/rules");
            assert_eq!((request.method().as_str(), request.body().as_deref()), (method, body));
            assert!(!format!("{request:?}").contains("bearer-of-test"));
        };
        check(RuleCommand::List, "GET", None);
        let pair = ("cat \"x\"".to_owned(), "t".to_owned());
        check(RuleCommand::Add(vec![pair]), "POST", Some(r#"{"rules":[{"tag":"t","value":"cat \"x\""}]}"#));
        let key = |tag: Option<&str>| RuleKey { value: "cat".to_owned(), tag: tag.map(str::to_owned) };
        check(
            RuleCommand::Delete(vec![key(Some("t")), key(None)]),
            "DELETE",
            Some(r#"{"rules":[{"tag":"t","value":"cat"},{"value":"cat"}]}"#),
        );
    }
}
