//! `rules budget`: requests to X that are left.

use serde_json::{Value, json};

use super::gateway::{Failure, GatewayArgs};
use super::shown::{OutputFormat, Shown};
use crate::cli::table::Table;
use crate::cli::wire::{seconds, span};
use crate::proto::{GetRuleBudgetRequest, RuleBudget};

/// Flags of `rules budget`.
#[derive(Debug, clap::Args)]
pub struct BudgetArgs {
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = OutputFormat::Text)]
    format: OutputFormat,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Shows the budget.
pub(super) async fn run(args: &BudgetArgs) -> Result<Shown, Failure> {
    let mut client = args.gateway.connect().await?;
    let budget = client.get_rule_budget(GetRuleBudgetRequest::default()).await?.budget.unwrap_or_default();
    Ok(Shown::new(args.format, &json(&budget), || text(&budget)))
}

/// Returns a budget as JSON.
pub(super) fn json(own: &RuleBudget) -> Value {
    json!({
        "limit": own.limit, "used": own.used, "reserve": own.reserve, "available": own.available,
        "x_remaining": own.x_remaining,
        "resets": own.resets.iter().map(|reset| seconds(Some(reset))).collect::<Vec<_>>(),
        "next_possible_after": own.next_possible_after.as_ref().map(|after| seconds(Some(after))),
    })
}

/// Returns a budget as lines of a name and a value.
pub(super) fn text(own: &RuleBudget) -> String {
    let mut table = Table::default();
    let mut line = |name: &str, value: String| table.add([name.to_owned(), value]);
    line("requests in 24 hours", format!("{} of {}", own.used, own.limit));
    line("available now", format!("{}, and {} in reserve", own.available, own.reserve));
    line("remaining by X's count", own.x_remaining.map_or("not reported".to_owned(), |left| left.to_string()));
    let next = own.next_possible_after.as_ref().map_or("now".to_owned(), |after| format!("in {}", span(Some(after))));
    line("next request possible", next);
    if let Some(reset) = own.resets.first() {
        line("oldest request expires", format!("in {}", span(Some(reset))));
    }
    table.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn budget_is_lines_and_object() {
        let duration = |seconds| prost_types::Duration { seconds, nanos: 0 };
        let own = RuleBudget {
            limit: 50,
            used: 40,
            reserve: 10,
            available: 0,
            x_remaining: None,
            resets: vec![duration(3_600)],
            next_possible_after: Some(duration(3_600)),
        };
        let text = text(&own);
        for words in ["40 of 50", "0, and 10 in reserve", "not reported", "in 1h"] {
            assert!(text.contains(words), "{text}");
        }
        assert_eq!(
            (json(&own)["next_possible_after"].as_f64(), json(&own)["used"].as_i64()),
            (Some(3_600.0), Some(40))
        );
    }
}
