//! Plans of changes, for people, programs and pull requests.

use serde_json::{Value, json};

use super::output::{self, Located, ReportFormat};
use crate::cli::wire::{name, seconds, span};
use crate::escape;
use crate::proto::{RuleChange, RuleChangeKind, RulePlan};

/// Largest text of a comment. GitHub accepts 65,536 characters.
const COMMENT_BYTES_MAX: usize = 60_000;

/// Returns a plan as JSON.
pub(super) fn json(plan: &RulePlan) -> Value {
    let change = |own: &RuleChange| {
        json!({
            "kind": kind(own), "set": own.set, "name": own.name, "value": own.value, "tag": own.tag,
            "previous_value": own.previous_value, "previous_tag": own.previous_tag,
        })
    };
    json!({
        "adds": plan.adds, "deletes": plan.deletes, "retags": plan.retags, "kept": plan.kept,
        "unmanaged": plan.unmanaged, "rejected": plan.rejected, "coverage_breaks": plan.coverage_breaks,
        "requests": plan.requests, "available_requests": plan.available_requests,
        "available_requests_after": plan.available_requests_after,
        "pending_adds": plan.pending_adds, "pending_deletes": plan.pending_deletes,
        "next_possible_after": plan.next_possible_after.as_ref().map(|after| seconds(Some(after))),
        "changes": plan.changes.iter().map(change).collect::<Vec<_>>(),
        "omitted_changes": plan.omitted_changes,
    })
}

fn kind(change: &RuleChange) -> String {
    name(change.kind().as_str_name(), "RULE_CHANGE_KIND_")
}

/// Returns a plan as lines: one or two for each change, then the numbers.
pub(super) fn text(plan: &RulePlan) -> String {
    let mut lines = Vec::new();
    for change in &plan.changes {
        let RuleChange { value, tag, previous_value, previous_tag, .. } = change;
        let title = title(change);
        match change.kind() {
            RuleChangeKind::Delete => lines.push(format!("- {title}: {value} (tag {})", or_none(tag))),
            RuleChangeKind::Replace => {
                lines.push(format!("- {title}: {previous_value} (tag {})", or_none(previous_tag)));
                lines.push(format!("+ {title}: {value} (tag {})", or_none(tag)));
            }
            RuleChangeKind::Retag => {
                lines.push(format!("~ {title}: {previous_value} (tag {} -> {})", or_none(previous_tag), or_none(tag)));
            }
            RuleChangeKind::Add | RuleChangeKind::Unspecified => {
                lines.push(format!("+ {title}: {value} (tag {})", or_none(tag)));
            }
        }
    }
    if plan.omitted_changes > 0 {
        lines.push(format!("{} more changes are left out", plan.omitted_changes));
    }
    lines.push(summary(plan));
    lines.extend(warnings(plan));
    lines.iter().map(|line| format!("{}\n", escape::line(line))).collect()
}

fn title(change: &RuleChange) -> String {
    match (change.set.as_str(), change.name.as_str()) {
        ("", "") => "in no set".to_owned(),
        ("", name) => name.to_owned(),
        (set, name) => format!("{set}/{name}"),
    }
}

fn or_none(tag: &str) -> &str {
    if tag.is_empty() { "none" } else { tag }
}

/// True if the plan changes nothing at X.
pub(super) fn is_empty(plan: &RulePlan) -> bool {
    plan.adds == 0 && plan.deletes == 0
}

/// Returns the numbers of a plan in one line.
pub(super) fn summary(plan: &RulePlan) -> String {
    let RulePlan { adds, deletes, retags, kept, unmanaged, requests, .. } = plan;
    if is_empty(plan) {
        return format!("nothing to change: {kept} rules are kept, {unmanaged} are in no set");
    }
    let retagged = if *retags > 0 { format!(" ({retags} of them for another tag only)") } else { String::new() };
    format!(
        "{adds} to add{retagged}, {deletes} to delete, {kept} kept, {unmanaged} in no set: {requests} requests to X, \
         {} of {} remain",
        plan.available_requests_after, plan.available_requests
    )
}

fn warnings(plan: &RulePlan) -> Vec<String> {
    let mut all = Vec::new();
    if plan.coverage_breaks > 0 {
        all.push(format!(
            "warning: {} rules are deleted before their replacement is added: posts between the two requests are missed",
            plan.coverage_breaks
        ));
    }
    if plan.rejected > 0 {
        all.push(format!(
            "warning: X has rejected {} of these rules; they are not sent again until their text changes (rules list \
             --state rejected)",
            plan.rejected
        ));
    }
    if plan.pending_adds + plan.pending_deletes > 0 {
        let after = plan
            .next_possible_after
            .as_ref()
            .map_or_else(String::new, |after| format!("; the next request is possible in {}", span(Some(after))));
        all.push(format!(
            "warning: the budget does not cover all of it: {} additions and {} deletions wait{after}",
            plan.pending_adds, plan.pending_deletes
        ));
    }
    all
}

/// Returns a plan and findings in Markdown, for a comment on a pull request.
pub(super) fn markdown(plan: &RulePlan, set: &str, found: &[Located], notes: &[String]) -> String {
    let mut out = format!("### Rules of set {}\n\n{}\n", code(set), summary(plan));
    for line in warnings(plan).iter().chain(notes) {
        out += &format!("\n**{}**\n", escape::line(line));
    }
    if !plan.changes.is_empty() {
        out += "\n| change | rule | text | tag |\n|---|---|---|---|\n";
    }
    let mut left_out = usize::try_from(plan.omitted_changes).unwrap_or(0);
    for change in &plan.changes {
        let row = row(change);
        if out.len() + row.len() > COMMENT_BYTES_MAX {
            left_out += 1;
        } else {
            out += &row;
        }
    }
    if left_out > 0 {
        out += &format!("\n{left_out} more changes are left out.\n");
    }
    let text = output::render(ReportFormat::Text, found).unwrap_or_default();
    if !text.is_empty() && out.len() + text.len() <= COMMENT_BYTES_MAX {
        let fence = fence(&text, 3);
        out += &format!("\nFindings:\n\n{fence}text\n{text}{fence}\n");
    }
    out
}

fn row(change: &RuleChange) -> String {
    let RuleChange { value, tag, previous_value, previous_tag, .. } = change;
    let both = |before: &str, after: &str| {
        if before == after || before.is_empty() { code(after) } else { format!("{} → {}", code(before), code(after)) }
    };
    // The parentheses of a retag change nothing.
    let text = if change.kind() == RuleChangeKind::Retag { code(previous_value) } else { both(previous_value, value) };
    format!("| {} | {} | {text} | {} |\n", kind(change), code(&title(change)), both(previous_tag, tag))
}

/// Returns a text as a code span of a table. Nothing in it is read as Markdown.
fn code(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let text = escape::line(text).replace('|', "\\|");
    let fence = fence(&text, 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Returns a row of backticks that is longer than any in a text.
fn fence(text: &str, least: usize) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(least.max(longest + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(kind: RuleChangeKind, name: &str, before: (&str, &str), after: (&str, &str)) -> RuleChange {
        RuleChange {
            kind: kind.into(),
            set: "config".to_owned(),
            name: name.to_owned(),
            value: after.0.to_owned(),
            tag: after.1.to_owned(),
            previous_value: before.0.to_owned(),
            previous_tag: before.1.to_owned(),
        }
    }

    fn plan() -> RulePlan {
        RulePlan {
            adds: 3,
            deletes: 3,
            retags: 1,
            kept: 7,
            requests: 2,
            available_requests: 40,
            available_requests_after: 38,
            changes: vec![
                change(RuleChangeKind::Add, "cats", ("", ""), ("cat | \u{1b}x", "pets")),
                change(RuleChangeKind::Delete, "dogs", ("", ""), ("dog `x`", "")),
                change(RuleChangeKind::Replace, "fish", ("fish", "a"), ("fish lang:en", "a")),
                change(RuleChangeKind::Retag, "cow", ("cow", "a"), ("(cow)", "b")),
            ],
            ..RulePlan::default()
        }
    }

    #[test]
    fn changes_are_lines_for_people() {
        assert_eq!(
            text(&plan()),
            "+ config/cats: cat | \\u{1b}x (tag pets)\n- config/dogs: dog `x` (tag none)\n- config/fish: fish (tag a)\n\
             + config/fish: fish lang:en (tag a)\n~ config/cow: cow (tag a -> b)\n\
             3 to add (1 of them for another tag only), 3 to delete, 7 kept, 0 in no set: 2 requests to X, 38 of 40 remain\n"
        );
        let empty = RulePlan { kept: 5, unmanaged: 1, ..RulePlan::default() };
        assert_eq!(text(&empty), "nothing to change: 5 rules are kept, 1 are in no set\n");
    }

    #[test]
    fn what_needs_attention_is_named() {
        let short = RulePlan { coverage_breaks: 2, rejected: 1, pending_adds: 4, ..plan() };
        let lines = text(&short);
        for words in ["2 rules are deleted before", "X has rejected 1", "4 additions and 0 deletions wait"] {
            assert!(lines.contains(words), "{lines}");
        }
    }

    #[test]
    fn comment_is_table_without_markup_of_rules() {
        let comment = markdown(&plan(), "config", &[], &["removal needs force".to_owned()]);
        assert!(comment.contains("| add | `config/cats` | `cat \\| \\u{1b}x` | `pets` |"), "{comment}");
        assert!(comment.contains("| delete | `config/dogs` | `` dog `x` `` |  |"), "{comment}");
        assert!(comment.contains("| replace | `config/fish` | `fish` → `fish lang:en` | `a` |"), "{comment}");
        assert!(comment.contains("| retag | `config/cow` | `cow` | `a` → `b` |"), "{comment}");
        assert!(comment.contains("**removal needs force**"), "{comment}");
    }

    #[test]
    fn comment_stays_below_limit_of_github() {
        let long = "x".repeat(2_000);
        let changes =
            (0..1_000).map(|at| change(RuleChangeKind::Add, &at.to_string(), ("", ""), (&long, "t"))).collect();
        let comment = markdown(&RulePlan { changes, ..plan() }, "config", &[], &[]);
        assert!(comment.len() < 65_536 && comment.contains("more changes are left out"), "{}", comment.len());
    }
}
