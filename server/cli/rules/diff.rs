//! `rules diff`: what files would change, by a plan of the gateway that spends nothing.

use std::path::PathBuf;

use serde_json::json;

use super::files::RuleFiles;
use super::gateway::{Failure, GatewayArgs, RuleClient};
use super::output::{self, Located, ReportFormat};
use super::plan;
use super::shown::Shown;
use crate::cli::exit::Exit;
use crate::cli::terminal::print_status;
use crate::escape;
use crate::proto::{ApplyRulesRequest, ApplyRulesResponse, RuleChangeOptions, WantedRule};
use crate::query::Severity;

/// Flags of `rules diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// Rule files: all rules of the set.
    #[arg(required = true, value_name = "FILES")]
    files: Vec<PathBuf>,
    /// Set that the files are compared with; `config` has the configured files of the gateway.
    #[arg(long, default_value = "config")]
    set: String,
    /// Format of the output.
    #[arg(long, value_enum, default_value_t = DiffFormat::Text)]
    format: DiffFormat,
    /// Accept operators of PowerTrack that X does not list for Powerstream.
    #[arg(long)]
    unlisted_operators: bool,
    #[command(flatten)]
    gateway: GatewayArgs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum DiffFormat {
    /// Lines with +, - and ~.
    Text,
    /// One JSON object.
    Json,
    /// A table for a comment on a pull request.
    Markdown,
}

/// Rules of files without errors.
pub(super) struct Checked {
    pub(super) files: RuleFiles,
    pub(super) wanted: Vec<WantedRule>,
    /// Warnings.
    pub(super) found: Vec<Located>,
}

/// Reads and checks files. Prints findings if one is an error, so that an invalid rule reaches no gateway.
pub(super) fn checked(paths: &[PathBuf], unlisted_operators: bool) -> Result<Checked, Failure> {
    let files = RuleFiles::read(paths);
    if !files.is_readable {
        return Err(Failure::Other(
            Exit::Usage,
            "a rule file cannot be read; nothing was compared or changed".to_owned(),
        ));
    }
    let found = files.findings(unlisted_operators);
    if found.iter().any(|found| found.severity == Severity::Error) {
        print_status(format_args!("{}", output::render(ReportFormat::Text, &found).unwrap_or_default().trim_end()));
        let text = format!("{}; correct the errors first", files.summary(&found));
        return Err(Failure::Other(Exit::Failed, text));
    }
    let wanted = files.wanted().map_err(|text| Failure::Other(Exit::Usage, text))?;
    Ok(Checked { files, wanted, found })
}

/// Compares files with the rules of the gateway.
pub(super) async fn run(args: &DiffArgs) -> Result<Shown, Failure> {
    let checked = checked(&args.files, args.unlisted_operators)?;
    let mut client = args.gateway.connect().await?;
    let (response, notes) = planned(&mut client, args, &checked).await?;
    let plan = response.plan.clone().unwrap_or_default();
    let text = match args.format {
        DiffFormat::Text => {
            let mut text = plan::text(&plan);
            text.extend(notes.iter().map(|note| format!("{}\n", escape::line(note))));
            text += &format!("revision {}\n", response.revision);
            text
        }
        DiffFormat::Markdown => plan::markdown(&plan, &args.set, &checked.found, &notes),
        DiffFormat::Json => {
            let json = json!({
                "set": args.set, "revision": response.revision, "plan": plan::json(&plan), "notes": notes,
                "findings": checked.found,
            });
            format!("{json:#}\n")
        }
    };
    Ok(Shown { text, exit: Exit::Done })
}

/// Returns the plan, and what it needs. A removal that the guard refuses is planned all the same.
async fn planned(
    client: &mut RuleClient,
    args: &DiffArgs,
    checked: &Checked,
) -> Result<(ApplyRulesResponse, Vec<String>), Failure> {
    let request = |force| ApplyRulesRequest {
        set: args.set.clone(),
        rules: checked.wanted.clone(),
        options: Some(RuleChangeOptions { validate_only: true, force, ..RuleChangeOptions::default() }),
        ..ApplyRulesRequest::default()
    };
    match client.apply_rules(request(false)).await {
        Ok(response) => Ok((response, Vec::new())),
        Err(error) if error.reason() == Some("DELETE_GUARD") => {
            let response = client.apply_rules(request(true)).await;
            let response = response.map_err(|error| Failure::of_files(error, &checked.files))?;
            let note =
                format!("{error}; the gateway refuses this change unless it is applied with `rules apply --force`");
            Ok((response, vec![note]))
        }
        Err(error) => Err(Failure::of_files(error, &checked.files)),
    }
}
