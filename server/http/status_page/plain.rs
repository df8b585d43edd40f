//! The state of the gateway as tables, for browsers without scripts.

use std::fmt::{Display, Write};

use super::snapshot::{AccountSnapshot, OpenAccount, RulesSnapshot, Snapshot};
use crate::model::UnixMillis;

/// Returns a text that is no markup.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}

/// Appends a table. Cells are escaped here and nowhere else.
fn table(out: &mut String, caption: &str, head: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let rows: Vec<_> = rows.collect();
    let cells = |name: &str, cells: &mut dyn Iterator<Item = &str>| -> String {
        let cells: String = cells.map(|cell| format!("<{name}>{}</{name}>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>")
    };
    let head = cells("th", &mut head.iter().copied());
    // Writing to a String cannot fail.
    let _ = write!(out, "<table><caption>{}</caption><thead>{head}</thead><tbody>", escaped(caption));
    for row in rows {
        out.push_str(&cells("td", &mut row.iter().map(String::as_str)));
    }
    out.push_str("</tbody></table>");
}

fn text(value: impl Display) -> String {
    value.to_string()
}

fn time(time: Option<UnixMillis>) -> String {
    time.map_or_else(|| "none".to_owned(), text)
}

fn name(value: impl serde::Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('_', " ")
}

/// Returns all tables.
pub(super) fn tables(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    let process = &snapshot.process;
    let ready = if snapshot.unready_reasons.is_empty() { "yes".into() } else { snapshot.unready_reasons.join("; ") };
    let restart = if process.restart_required.is_empty() { "no".into() } else { process.restart_required.join(", ") };
    let reload = if process.is_last_reload_good { "" } else { " (a later one failed)" };
    let rows = [
        ("State as of", text(snapshot.time)),
        ("Version", snapshot.version.to_owned()),
        ("Started", text(process.started)),
        ("Ready", ready),
        ("Configuration loaded", format!("{}{reload}", process.last_reload)),
        ("Restart required for", restart),
    ];
    table(&mut out, "Gateway", &["", ""], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    snapshot.accounts.iter().for_each(|account| add_account(&mut out, account));
    let Some(credentials) = &process.credentials else { return out };
    let rows = credentials
        .iter()
        .map(|own| vec![own.kind.replace('_', " "), own.name.clone(), time(own.end), own.problem.to_owned()]);
    table(&mut out, "Certificates and keys", &["Kind", "Name", "End", "Problem"], rows);
    out
}

fn add_account(out: &mut String, account: &AccountSnapshot) {
    let Some(open) = &account.open else {
        let row = vec!["the log cannot be opened; the gateway tries again".to_owned()];
        return table(out, &format!("Account {}", account.name), &["State"], std::iter::once(row));
    };
    let rows = [
        ("Upstream", open.upstream.state.replace('_', " ")),
        ("Last byte", time(open.upstream.last_byte)),
        ("Last error", open.upstream.last_error.clone()),
        ("Oldest record", time(open.journal.oldest)),
        ("Newest record", time(open.journal.newest)),
        ("Bytes of the log", format!("{}, bounded by {}", open.journal.bytes, open.journal.bound)),
        ("Unaccounted messages", text(open.unaccounted)),
        ("Open gaps", text(open.open_gaps)),
        ("Sessions", text(open.sessions.count)),
    ];
    let rows = rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]);
    table(out, &format!("Account {}", account.name), &["", ""], rows);
    add_lists(out, open);
}

fn add_lists(out: &mut String, open: &OpenAccount) {
    let caption = |what: &str, shown: usize, count: usize| match shown {
        shown if shown < count => format!("{what}, {shown} of {count}"),
        _ => what.to_owned(),
    };
    let rows = open.gaps.list.iter().map(|gap| {
        vec![gap.id.clone(), text(gap.start), time(gap.end), name(gap.cause), name(gap.state), text(gap.recovered)]
    });
    let head = ["Gap", "Start", "End", "Cause", "State", "Recovered posts"];
    table(out, &caption("Gaps", open.gaps.list.len(), open.gaps.count), &head, rows);
    let rows = open.jobs.list.iter().map(|job| {
        let state = if job.is_manual { format!("{}, manual", job.state) } else { job.state.to_owned() };
        vec![job.id.clone(), text(job.start), text(job.end), state, time(job.complete_until), job.last_error.clone()]
    });
    let head = ["Job", "Start", "End", "State", "Complete until", "Last error"];
    table(out, &caption("Recovery jobs", open.jobs.list.len(), open.jobs.count), &head, rows);
    let rows = open.tags.list.iter().map(|tag| {
        let is_subscribed = tag.is_subscribed.map_or("not known", |is| if is { "yes" } else { "no" });
        vec![tag.tag.clone(), format!("{:.2}", tag.per_second), text(tag.posts), is_subscribed.to_owned()]
    });
    let head = ["Tag", "Posts per second", "Posts", "Subscribed"];
    table(out, &caption("Tags", open.tags.list.len(), open.tags.count), &head, rows);
    if let Some(rules) = &open.rules {
        add_rules(out, rules, &caption("Rules", rules.list.list.len(), rules.list.count));
    }
    let rows = open.sessions.list.iter().map(|own| {
        let seconds = |millis: u64| format!("{:.1} s", millis as f64 / 1_000.0);
        let rate = format!("{:.1}", own.events_per_second);
        let phase = if own.is_live { "live" } else { "replay" };
        let lag = format!("{} records, {}", own.lag_records, seconds(own.lag));
        let stalled = seconds(own.stalled_for);
        vec![own.principal.clone(), own.consumer.clone(), own.peer.clone(), phase.to_owned(), lag, rate, stalled]
    });
    let head = ["Principal", "Consumer", "Peer", "Phase", "Lag", "Events per second", "Stalled"];
    table(out, &caption("Sessions", open.sessions.list.len(), open.sessions.count), &head, rows);
}

fn add_rules(out: &mut String, rules: &RulesSnapshot, caption: &str) {
    let wait = format!("{} to add, {} to delete", rules.pending_adds, rules.pending_deletes);
    let rows = [
        ("Rules as of", time(rules.as_of)),
        ("Managed", text(if rules.is_managed { "yes" } else { "no" })),
        ("Converged", text(if rules.is_converged { "yes" } else { "no" })),
        ("Waiting", wait),
        ("Requests of 24 hours", format!("{} of {}", rules.budget_used, rules.budget_limit)),
        ("Problem", rules.problem.clone()),
    ];
    table(out, "Rules at X", &["", ""], rows.into_iter().map(|(name, value)| vec![name.to_owned(), value]));
    let rows = rules.list.list.iter().map(|own| {
        let matches = own.matches_24h.map_or_else(|| "not counted".to_owned(), text);
        let state = own.state.replace('_', " ");
        vec![own.set.clone(), own.name.clone(), own.tag.clone(), own.id.clone(), state, matches, time(own.last_seen)]
    });
    table(out, caption, &["Set", "Name", "Tag", "Id", "State", "Matches of 24 h", "Last match"], rows);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_no_markup() {
        let mut out = String::new();
        let row = vec!["<img src=x onerror=\"alert('&')\">".to_owned()];
        table(&mut out, "a<b", &["<i>"], std::iter::once(row));
        assert_eq!(
            out,
            "<table><caption>a&lt;b</caption><thead><tr><th>&lt;i&gt;</th></tr></thead><tbody><tr><td>\
             &lt;img src=x onerror=&quot;alert(&#39;&amp;&#39;)&quot;&gt;</td></tr></tbody></table>"
        );
    }
}
