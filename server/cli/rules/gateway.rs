//! Calls of RuleService, and the texts of their failures.

use std::time::Duration;

use powerstream_consumer::CredentialFiles;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::Channel;
use tonic::{Response, Status};

use super::files::RuleFiles;
use crate::cli::call::{self, CallError, Service, Violation};
use crate::cli::connection::CredentialArgs;
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::cli::wire;
use crate::escape;
use crate::proto::rule_service_client::RuleServiceClient;
use crate::proto::{
    ApplyRulesRequest, ApplyRulesResponse, GetRuleBudgetRequest, GetRuleBudgetResponse, GetRuleOperationRequest,
    GetRuleOperationResponse, ListRulesRequest, ListRulesResponse, RefreshRulesRequest, RefreshRulesResponse, Rule,
    RuleOperation, TestRuleRequest, TestRuleResponse,
};

const SERVICE: Service = Service { name: "RuleService", port: "gRPC port", setting: "grpc.address" };
/// Entries of a page.
const PAGE_SIZE: i32 = 1_000;
/// Longest wait that a gateway grants to a call.
pub(super) const CALL_WAIT_MAX: Duration = Duration::from_secs(30);

/// Flags about the gateway.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct GatewayArgs {
    /// Address of the gateway; with https:// it is reached over TLS.
    #[arg(long, default_value = "http://127.0.0.1:50051")]
    pub(super) addr: String,
    /// Account. Optional if the gateway has one account, or a default account.
    #[arg(long, default_value = "")]
    pub(super) account: String,
    #[command(flatten)]
    credentials: CredentialArgs,
}

impl GatewayArgs {
    /// Returns the files of credentials.
    pub(super) fn files(&self) -> CredentialFiles {
        self.credentials.files()
    }

    /// Connects.
    pub(super) async fn connect(&self) -> Result<RuleClient, CallError> {
        let (channel, authorization) = call::connect(&self.addr, &self.files(), &SERVICE).await?;
        Ok(RuleClient { inner: RuleServiceClient::new(channel), authorization, account: self.account.clone() })
    }
}

/// A client of RuleService for one account.
pub(super) struct RuleClient {
    inner: RuleServiceClient<Channel>,
    authorization: Option<AsciiMetadataValue>,
    account: String,
}

/// All pages of a list of rules.
pub(super) struct ListedRules {
    pub(super) rules: Vec<Rule>,
    /// The first page.
    pub(super) head: ListRulesResponse,
}

macro_rules! calls {
    ($($method:ident: $request:ident => $response:ty,)*) => {
        impl RuleClient {
            $(
                /// Calls the method for the account.
                pub(super) async fn $method(&mut self, mut message: $request) -> Result<$response, CallError> {
                    message.account.clone_from(&self.account);
                    let request = call::request(message, self.authorization.as_ref());
                    answer(self.inner.$method(request).await)
                }
            )*
        }
    };
}

calls! {
    list_rules: ListRulesRequest => ListRulesResponse,
    apply_rules: ApplyRulesRequest => ApplyRulesResponse,
    get_rule_operation: GetRuleOperationRequest => GetRuleOperationResponse,
    get_rule_budget: GetRuleBudgetRequest => GetRuleBudgetResponse,
    refresh_rules: RefreshRulesRequest => RefreshRulesResponse,
    test_rule: TestRuleRequest => TestRuleResponse,
}

impl RuleClient {
    /// Reads all pages of a list.
    pub(super) async fn list(&mut self, request: &ListRulesRequest) -> Result<ListedRules, CallError> {
        let mut request = ListRulesRequest { page_size: PAGE_SIZE, ..request.clone() };
        let mut head = self.list_rules(request.clone()).await?;
        let mut rules = std::mem::take(&mut head.rules);
        request.page_token.clone_from(&head.next_page_token);
        while !request.page_token.is_empty() {
            let page = self.list_rules(request.clone()).await?;
            rules.extend(page.rules);
            request.page_token = page.next_page_token;
        }
        Ok(ListedRules { rules, head })
    }

    /// Returns an operation, at once or when it has ended.
    pub(super) async fn operation(&mut self, id: &str, wait: Duration) -> Result<RuleOperation, CallError> {
        let wait = Some(wire::duration(wait.min(CALL_WAIT_MAX)));
        let request =
            GetRuleOperationRequest { operation_id: id.to_owned(), wait, ..GetRuleOperationRequest::default() };
        Ok(self.get_rule_operation(request).await?.operation.unwrap_or_default())
    }
}

fn answer<T>(answer: Result<Response<T>, Status>) -> Result<T, CallError> {
    call::answer(answer, &SERVICE)
}

/// A command that failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// A call. The places are those of the rules of the request.
    Call(Box<CallError>, Vec<String>),
    /// Another cause.
    Other(Exit, String),
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        Self::Call(Box::new(error), Vec::new())
    }
}

impl Failure {
    /// Creates the failure of a call with the rules of files.
    pub(super) fn of_files(error: CallError, files: &RuleFiles) -> Self {
        let place = |entry: &super::files::LocatedRule| format!("{}:{} {}", entry.file, entry.rule.line, entry.label);
        Self::Call(Box::new(error), files.entries.iter().map(place).collect())
    }

    /// Prints the failure on stderr, and returns the exit.
    pub(super) fn print(&self) -> Exit {
        let (exit, lines) = match self {
            Self::Other(exit, text) => (*exit, vec![format!("error: {text}")]),
            Self::Call(error, places) => (exit(error), lines(error, places)),
        };
        for line in lines {
            print_status(format_args!("{}", escape::line(&line)));
        }
        exit
    }
}

/// Rules with errors are findings, as in `rules check`.
fn exit(error: &CallError) -> Exit {
    match error.reason() {
        Some("RULE_INVALID" | "RULE_CONFLICT") => Exit::Failed,
        _ => error.exit(),
    }
}

fn lines(error: &CallError, places: &[String]) -> Vec<String> {
    let mut lines = vec![format!("error: {error}")];
    if let CallError::Refused { violations, .. } = error {
        lines.extend(violations.iter().map(|violation| violated(violation, places)));
    }
    lines.extend(error.reason().and_then(remedy).map(|remedy| format!("hint: {remedy}")));
    lines
}

/// Names the place of a rule in its file instead of the one in the request.
fn violated(violation: &Violation, places: &[String]) -> String {
    let index = violation.field.strip_prefix("rules[").and_then(|rest| rest.split_once(']'));
    let place = index.and_then(|(index, _)| places.get(index.parse::<usize>().ok()?));
    format!("{}: {}", place.unwrap_or(&violation.field), violation.description)
}

/// Flags and commands that answer a refusal.
fn remedy(reason: &str) -> Option<&'static str> {
    Some(match reason {
        "ACCOUNT_REQUIRED" => "name the account with --account",
        "ACCESS_DENIED" => "rules.read is needed to list and compare rules, rules.write to change them; both need read",
        "DELETE_GUARD" => "compare with `rules diff`; if the removal is meant, repeat the command with --force",
        "MODE_OBSERVE" => "set accounts[].rules.mode: manage in the gateway's configuration",
        "SET_OWNED" => "change the files of accounts[].rules.files, or name another set with --set",
        "REVISION_MISMATCH" => "run `rules diff` again, and pass its revision with --expected-revision",
        "RULES_UNUSABLE" => "run `rules repair`: it spends one request to X",
        "BUDGET_EXHAUSTED" => {
            "`rules budget` shows when the next request is possible; --use-reserve is for emergencies"
        }
        "TOO_MANY_RULES" => {
            "join rules of one tag with OR, or remove some: `rules list --by-matches` shows which match least"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn refused(code: Code, reason: &str, fields: &[(&str, &str)]) -> CallError {
        let violation = |(field, description): &(&str, &str)| Violation {
            field: (*field).to_owned(),
            description: (*description).to_owned(),
        };
        CallError::Refused {
            code,
            reason: reason.to_owned(),
            message: "refused".to_owned(),
            advice: String::new(),
            violations: fields.iter().map(violation).collect(),
        }
    }

    #[test]
    fn violations_name_places_in_files() {
        let fields = [("rules[1].value", "AND_KEYWORD at 6"), ("rules[9].value", "x"), ("set", "y")];
        let error = refused(Code::InvalidArgument, "RULE_INVALID", &fields);
        let places = ["a.yaml:1 cats".to_owned(), "a.yaml:3 dogs".to_owned()];
        assert_eq!(
            lines(&error, &places),
            ["error: RULE_INVALID: refused", "a.yaml:3 dogs: AND_KEYWORD at 6", "rules[9].value: x", "set: y"]
        );
        assert_eq!(exit(&error), Exit::Failed);
    }

    #[test]
    fn refusals_have_remedy_and_exit() {
        for (code, reason, words, expected) in [
            (Code::FailedPrecondition, "DELETE_GUARD", "--force", Exit::Failed),
            (Code::FailedPrecondition, "MODE_OBSERVE", "manage", Exit::Failed),
            (Code::Aborted, "REVISION_MISMATCH", "rules diff", Exit::Failed),
            (Code::PermissionDenied, "ACCESS_DENIED", "rules.read", Exit::Refused),
            (Code::InvalidArgument, "ACCOUNT_REQUIRED", "--account", Exit::Usage),
        ] {
            let error = refused(code, reason, &[]);
            let lines = lines(&error, &[]);
            assert!(lines[1].starts_with("hint: ") && lines[1].contains(words), "{lines:?}");
            assert_eq!(exit(&error), expected, "{reason}");
        }
    }
}
