//! `credential new`: creates a bearer token for a principal.

use std::time::Duration;

use rand::RngExt;

use super::exit::Exit;
use super::terminal::{print, print_status};
use crate::access::NewToken;
use crate::clock::Clock;

/// Flags of `credential`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Create a bearer token: the token on stdout, once, and its entry for a token file on stderr.
    New(New),
}

#[derive(Debug, clap::Args)]
struct New {
    /// Principal of the token, as in `principals` of the configuration.
    #[arg(long)]
    principal: String,
    /// Days until the token expires; without it, the token does not expire.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=36_500))]
    days: Option<u32>,
}

/// Creates a token and prints it.
pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let Command::New(new) = &args.command;
    let token = NewToken::new(rand::rng().random(), rand::rng().random());
    let end = new.days.map(|days| Clock::system().system_now().plus(Duration::from_secs(u64::from(days) * 86_400)));
    print(&format!("{}\n", token.token));
    print_status(format_args!("{}", entry(&token, &new.principal, end.map(|end| end.to_string()).as_deref())));
    Ok(Exit::Done)
}

/// Returns the lines for a token file. The text is quoted as JSON, which YAML reads.
fn entry(token: &NewToken, principal: &str, not_after: Option<&str>) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let end = not_after.map(|end| format!(", not_after: {}", quoted(end))).unwrap_or_default();
    format!(
        "# The token is on stdout, and nowhere else: give it to the client as a file. Add this to a file of auth.token_files:\n\
         tokens:\n  - {{ id: {}, sha256: {}, principal: {}{end} }}",
        quoted(&token.id),
        quoted(&token.sha256),
        quoted(principal),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::access::{Access, AccessConfig, AuthConfig, PrincipalConfig};

    fn load(path: &Path) -> Result<Access, Vec<crate::access::AccessFault>> {
        Access::load(&AccessConfig {
            auth: AuthConfig { token_files: vec![path.to_owned()], ..AuthConfig::default() },
            principals: vec![PrincipalConfig { name: "indexer".into(), roles: Vec::new() }],
            ..AccessConfig::default()
        })
    }

    /// What is printed is a token file as it stands.
    #[test]
    fn printed_entry_is_valid_token_file() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("tokens.yaml");
        for byte in 0..32 {
            let token = NewToken::new([byte; 8], [byte; 32]);
            let text = entry(&token, "indexer", Some("2027-02-28T00:00:00Z"));
            assert!(!text.contains(&token.token[13..]), "the secret is not in it");
            std::fs::write(&path, text).expect("the directory is ours");
            load(&path).expect("a good file");
        }
    }
}
