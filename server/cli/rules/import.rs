//! `rules import`: the rules that X has, as a rule file.

mod remote;

use std::path::PathBuf;

use self::remote::RemoteArgs;
use super::files::number;
use super::gateway::{Failure, GatewayArgs, ListedRules};
use super::output::{self, ReportFormat};
use super::shown::Shown;
use super::writer;
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::cli::wire::time;
use crate::proto::{ListRulesRequest, Rule, RuleState};
use crate::query::Severity;
use crate::rules::FileRule;

/// Flags of `rules import`.
#[derive(Debug, clap::Args)]
pub struct ImportArgs {
    /// File to write, which must not exist; without it, the rules are printed.
    #[arg(long, short, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Only rules of this set; without it, all rules that X has.
    #[arg(long, default_value = "")]
    set: String,
    /// Accept operators of PowerTrack that X does not list for Powerstream.
    #[arg(long)]
    unlisted_operators: bool,
    #[command(flatten)]
    remote: RemoteArgs,
    #[command(flatten)]
    gateway: GatewayArgs,
}

/// Rules that X has, and the heading of their file.
pub(super) struct Imported {
    rules: Vec<FileRule>,
    heading: Vec<String>,
}

/// Imports rules.
pub(super) async fn run(args: &ImportArgs) -> Result<Shown, Failure> {
    let imported = match args.remote.remote {
        true => Imported { rules: remote::read(&args.remote).await?, heading: vec!["Rules at X.".to_owned()] },
        false => from_gateway(args).await?,
    };
    let untagged = imported.rules.iter().filter(|rule| rule.tag.is_none()).count();
    let files = writer::prepared(imported.rules, args.unlisted_operators);
    let text = writer::yaml(&files, &imported.heading);
    if untagged > 0 {
        let rules = number(untagged, "rule");
        print_status(format_args!(
            "warning: {rules} without a tag at X: applied from this file, the name becomes the tag"
        ));
    }
    let mut found = files.findings(args.unlisted_operators);
    found.retain(|found| found.severity == Severity::Error);
    if !found.is_empty() {
        print_status(format_args!("{}", output::render(ReportFormat::Text, &found).unwrap_or_default().trim_end()));
        print_status(format_args!("error: X has rules that `rules check` refuses; correct them in the file"));
    }
    let exit = if found.is_empty() { Exit::Done } else { Exit::Failed };
    let Some(path) = &args.output else { return Ok(Shown { text, exit }) };
    let failed = |error: std::io::Error| {
        Failure::Other(
            Exit::Failed,
            format!("failed to write {}: {error}; an existing file is not replaced", path.display()),
        )
    };
    write_new(path, &text).map_err(failed)?;
    print_status(format_args!("{} written to {}", number(files.entries.len(), "rule"), path.display()));
    Ok(Shown::nothing(exit))
}

fn write_new(path: &PathBuf, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    std::fs::File::create_new(path)?.write_all(text.as_bytes())
}

async fn from_gateway(args: &ImportArgs) -> Result<Imported, Failure> {
    let mut client = args.gateway.connect().await?;
    let request = ListRulesRequest { set: args.set.clone(), ..ListRulesRequest::default() };
    let ListedRules { rules, head } = client.list(&request).await?;
    let Some(as_of) = time(head.as_of_time.as_ref()) else {
        let text = "the gateway has not read the rules from X yet; run `rules refresh`, which makes one request";
        return Err(Failure::Other(Exit::Failed, text.to_owned()));
    };
    let rules = rules.into_iter().filter(is_at_x).map(file_rule).collect();
    Ok(Imported { rules, heading: vec![format!("Rules at X as of {as_of}, as the gateway knows them.")] })
}

/// True for rules that X has and that stay.
fn is_at_x(rule: &Rule) -> bool {
    !rule.rule_id.is_empty() && rule.state() != RuleState::PendingDelete
}

fn file_rule(rule: Rule) -> FileRule {
    let some = |text: String| (!text.is_empty()).then_some(text);
    FileRule {
        name: some(rule.name),
        value: rule.value,
        tag: some(rule.tag),
        note: some(rule.note),
        ..FileRule::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_at_x_are_imported() {
        let rule = |id: &str, state: RuleState| Rule {
            rule_id: id.to_owned(),
            value: "cat".to_owned(),
            state: state.into(),
            ..Rule::default()
        };
        for (id, state, expected) in [
            ("7", RuleState::Active, true),
            ("7", RuleState::Unmanaged, true),
            ("7", RuleState::PendingDelete, false),
            ("", RuleState::PendingAdd, false),
            ("", RuleState::Rejected, false),
        ] {
            assert_eq!(is_at_x(&rule(id, state)), expected, "{state:?}");
        }
        let imported = file_rule(rule("7", RuleState::Unmanaged));
        assert_eq!((imported.name, imported.tag, imported.value.as_str()), (None, None, "cat"));
    }

    #[test]
    fn existing_file_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("rules.yaml");
        write_new(&path, "a").expect("a new file");
        assert!(write_new(&path, "b").is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("ours"), "a");
    }
}
