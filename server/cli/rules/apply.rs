//! `rules apply`: replaces the rules of a set, and waits for the operation.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::diff::checked;
use super::gateway::{CALL_WAIT_MAX, Failure, GatewayArgs, RuleClient};
use super::plan;
use super::shown::{OutputFormat, Shown};
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::cli::wire::{name, seconds, span, time};
use crate::clock::Clock;
use crate::escape;
use crate::proto::{ApplyRulesRequest, RuleChangeOptions, RuleOperation, RuleOperationState};

/// Flags of `rules apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// Rule files: all rules of the set. Rules of the set that are not in them are deleted.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Set that is replaced. `config` belongs to the configured files of the gateway: applying it needs --force.
    #[arg(long)]
    set: String,
    /// Wait until X has the rules.
    #[arg(long)]
    wait: bool,
    /// Time until --wait ends; the operation continues.
    #[arg(long, default_value = "30m", value_parser = humantime::parse_duration, requires = "wait")]
    timeout: Duration,
    /// Remove more rules than `rules.removals_max`, or all rules of the set.
    #[arg(long)]
    force: bool,
    /// Use the reserve of the budget, for emergencies.
    #[arg(long)]
    use_reserve: bool,
    /// Fail unless the rules have this revision, which `rules diff` and `rules list` print.
    #[arg(long, value_name = "N")]
    expected_revision: Option<u64>,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    /// Accept operators of PowerTrack that X does not list for Powerstream.
    #[arg(long)]
    unlisted_operators: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Applies files.
pub(super) async fn run(args: &ApplyArgs) -> Result<Shown, Failure> {
    let checked = checked(&args.files, args.unlisted_operators)?;
    let mut client = args.gateway.connect().await?;
    let request = ApplyRulesRequest {
        set: args.set.clone(),
        rules: checked.wanted,
        options: Some(RuleChangeOptions {
            expected_revision: args.expected_revision,
            force: args.force,
            use_reserve: args.use_reserve,
            ..RuleChangeOptions::default()
        }),
        ..ApplyRulesRequest::default()
    };
    let response = client.apply_rules(request).await.map_err(|error| Failure::of_files(error, &checked.files))?;
    let plan = response.plan.unwrap_or_default();
    let mut operation = response.operation;
    let mut exit = Exit::Done;
    if let (true, Some(waited)) = (args.wait, &mut operation) {
        exit = wait(&mut client, waited, args.timeout).await?;
    }
    let json = json!({
        "set": args.set, "revision": response.revision, "plan": plan::json(&plan),
        "operation": operation.as_ref().map(operation_json),
    });
    let text = || {
        let mut text = plan::text(&plan);
        text += &format!("revision {}\n", response.revision);
        if let Some(operation) = &operation {
            text += &format!("{}\n", escape::line(&operation_line(operation)));
        }
        text
    };
    Ok(Shown::new(args.format, &json, text).with_exit(exit))
}

/// Waits for the end of an operation, and reports its progress.
async fn wait(client: &mut RuleClient, operation: &mut RuleOperation, timeout: Duration) -> Result<Exit, Failure> {
    let clock = Clock::system();
    let deadline = clock.moment().plus(timeout);
    let mut shown = String::new();
    loop {
        let line = operation_line(operation);
        if line != shown {
            print_status(format_args!("{}", escape::line(&line)));
            shown = line;
        }
        match operation.state() {
            RuleOperationState::Succeeded if operation.rejected == 0 => return Ok(Exit::Done),
            RuleOperationState::Succeeded => {
                print_status(format_args!(
                    "error: X rejected {} rules; `rules list --state rejected` has its words",
                    operation.rejected
                ));
                return Ok(Exit::Failed);
            }
            RuleOperationState::Failed | RuleOperationState::Cancelled => return Ok(Exit::Failed),
            _ => {}
        }
        let left = deadline.since(clock.moment());
        if left.is_zero() {
            let after = humantime::format_duration(timeout);
            print_status(format_args!("error: not done after {after}; the operation continues: see `rules list`"));
            return Ok(Exit::Failed);
        }
        *operation = client.operation(&operation.operation_id, left.min(CALL_WAIT_MAX)).await?;
    }
}

/// Returns an operation in one line.
pub(super) fn operation_line(own: &RuleOperation) -> String {
    let mut line = format!("operation {} {}: {} requests made", own.operation_id, state(own), own.requests);
    if own.remaining_requests > 0 {
        line += &format!(", {} planned", own.remaining_requests);
    }
    if own.pending_adds + own.pending_deletes > 0 {
        line += &format!(", {} additions and {} deletions wait for the budget", own.pending_adds, own.pending_deletes);
    }
    if let Some(after) = &own.next_request_after {
        line += &format!(", next request in {}", span(Some(after)));
    }
    if own.rejected > 0 {
        line += &format!(", {} rules rejected by X", own.rejected);
    }
    if !own.error.is_empty() {
        line += &format!("; last error: {}", own.error);
    }
    line
}

fn state(own: &RuleOperation) -> String {
    name(own.state().as_str_name(), "RULE_OPERATION_STATE_")
}

/// Returns an operation as JSON.
pub(super) fn operation_json(own: &RuleOperation) -> Value {
    json!({
        "operation_id": own.operation_id, "state": state(own), "cause": own.cause,
        "create_time": time(own.create_time.as_ref()), "update_time": time(own.update_time.as_ref()),
        "requests": own.requests, "remaining_requests": own.remaining_requests,
        "pending_adds": own.pending_adds, "pending_deletes": own.pending_deletes,
        "next_request_after": own.next_request_after.as_ref().map(|after| seconds(Some(after))),
        "rejected": own.rejected, "error": own.error,
    })
}
