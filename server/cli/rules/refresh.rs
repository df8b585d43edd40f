//! `rules refresh` and `rules repair`: one request that reads the rules from X.

use serde_json::json;

use super::budget;
use super::gateway::{CALL_WAIT_MAX, Failure, GatewayArgs};
use super::shown::{OutputFormat, Shown};
use crate::cli::terminal::print_status;
use crate::cli::wire::{duration, time};
use crate::proto::RefreshRulesRequest;

/// Flags of `rules refresh` and `rules repair`.
#[derive(Debug, clap::Args)]
pub struct RefreshArgs {
    /// Use the reserve of the budget, for emergencies.
    #[arg(long)]
    use_reserve: bool,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Has the rules read from X.
pub(super) async fn run(args: &RefreshArgs, repair: bool) -> Result<Shown, Failure> {
    let mut client = args.gateway.connect().await?;
    print_status(format_args!("the gateway makes one request to X, which counts against the budget"));
    let request = RefreshRulesRequest {
        repair,
        use_reserve: args.use_reserve,
        wait: Some(duration(CALL_WAIT_MAX)),
        ..RefreshRulesRequest::default()
    };
    let response = client.refresh_rules(request).await?;
    let as_of = time(response.as_of_time.as_ref());
    let budget = response.budget.unwrap_or_default();
    let json = json!({ "refreshed": response.refreshed, "as_of_time": as_of, "budget": budget::json(&budget) });
    let text = || {
        let first = match (&as_of, response.refreshed) {
            (Some(at), true) => format!("rules read from X, as of {at}"),
            _ => "X has not answered yet: `rules list` shows when the rules were read".to_owned(),
        };
        format!("{first}\n{}", budget::text(&budget))
    };
    Ok(Shown::new(args.format, &json, text))
}
