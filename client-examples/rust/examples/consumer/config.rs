use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use powerstream_consumer::proto::ResumePolicy;
use powerstream_consumer::{Consumer, ConsumerBuilder, CredentialFiles, Start};

use crate::exit::Failure;

/// Flags and environment: the table "Flags" of PROTOCOL.md.
#[derive(Debug)]
pub struct Config {
    /// URL of the gateway.
    address: String,
    pub credentials: CredentialFiles,
    account: String,
    consumer: String,
    any_of: Vec<String>,
    pub cursor_file: Option<PathBuf>,
    start: Start,
    resume_policy: ResumePolicyFlag,
    heartbeat: Duration,
    /// Exit after this many printed events.
    pub count: Option<u64>,
}

/// Behavior if the token is too old.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ResumePolicyFlag {
    Fail,
    Earliest,
    Latest,
}

/// Consumer of the gateway that reconnects and resumes. Each flag has a variable: see PROTOCOL.md.
#[derive(Debug, Parser)]
struct Flags {
    /// The gateway: HOST:PORT
    #[arg(long)]
    addr: Option<String>,
    /// TLS to the gateway
    #[arg(long)]
    tls: bool,
    /// PEM with the authorities to trust; switches --tls on
    #[arg(long)]
    ca_file: Option<String>,
    /// PEM with the client certificate; switches --tls on
    #[arg(long)]
    cert_file: Option<String>,
    /// Unencrypted PEM with the key of --cert-file
    #[arg(long)]
    key_file: Option<String>,
    /// File whose first line is the credential
    #[arg(long)]
    token_file: Option<String>,
    /// Account to read
    #[arg(long)]
    account: Option<String>,
    /// Name in the gateway's logs and metrics
    #[arg(long)]
    consumer: Option<String>,
    /// Only events with at least one of these tags: A,B*
    #[arg(long)]
    any_of: Option<String>,
    /// File that stores the resume token
    #[arg(long)]
    cursor_file: Option<String>,
    /// Start position without a token: latest, earliest, an RFC 3339 time
    #[arg(long)]
    start: Option<String>,
    /// Behavior if the token is too old: fail, earliest, latest
    #[arg(long)]
    resume_policy: Option<String>,
    /// Seconds between heartbeats of the gateway: 1 to 60
    #[arg(long)]
    heartbeat: Option<String>,
    /// Exit after this many printed events
    #[arg(long)]
    count: Option<String>,
}

impl Config {
    /// Reads them. A flag overrides its variable; an empty variable counts as unset.
    pub fn read(
        args: impl IntoIterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let flags = Flags::try_parse_from(args).map_err(|error| refuse(&error))?;
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        let given = |flag: Option<String>, name| flag.or_else(|| variable(name));

        let authority = authority(&given(flags.addr, "GATEWAY_ADDR").unwrap_or("127.0.0.1:50051".into()))?;
        let ca_file = given(flags.ca_file, "GATEWAY_CA_FILE").map(PathBuf::from);
        let cert_file = given(flags.cert_file, "GATEWAY_CERT_FILE").map(PathBuf::from);
        let certificate = match (cert_file, given(flags.key_file, "GATEWAY_KEY_FILE").map(PathBuf::from)) {
            (None, None) => None,
            (Some(cert_file), Some(key_file)) => Some((cert_file, key_file)),
            _ => return Err(Failure::usage("--cert-file and --key-file are given together")),
        };
        let tls = match variable("GATEWAY_TLS").as_deref() {
            None | Some("0") => flags.tls || ca_file.is_some() || certificate.is_some(),
            Some("1") => true,
            Some(other) => return Err(Failure::usage(format!("GATEWAY_TLS: 0 or 1 expected, not {other:?}"))),
        };
        let heartbeat = given(flags.heartbeat, "HEARTBEAT").unwrap_or("10".into());
        let scheme = if tls { "https" } else { "http" };
        let bearer = given(flags.token_file, "GATEWAY_TOKEN_FILE").map(PathBuf::from);
        Ok(Self {
            address: format!("{scheme}://{authority}"),
            credentials: CredentialFiles { bearer, ca: ca_file, certificate },
            account: given(flags.account, "GATEWAY_ACCOUNT").unwrap_or_default(),
            consumer: given(flags.consumer, "GATEWAY_CONSUMER").unwrap_or("example-rust".into()),
            any_of: tags(&given(flags.any_of, "ANY_OF").unwrap_or_default()),
            cursor_file: given(flags.cursor_file, "CURSOR_FILE").map(PathBuf::from),
            start: start_of(&given(flags.start, "START").unwrap_or("latest".into()))?,
            resume_policy: one_of(
                "--resume-policy",
                given(flags.resume_policy, "RESUME_POLICY"),
                ResumePolicyFlag::Fail,
            )?,
            heartbeat: Duration::from_secs(whole_number("--heartbeat", &heartbeat, 1, 60)?),
            count: given(flags.count, "COUNT").map(|text| whole_number("--count", &text, 1, u64::MAX)).transpose()?,
        })
    }

    /// Returns the options of the consumer, without its cursor file.
    pub fn builder(&self) -> ConsumerBuilder {
        let resume_policy = match self.resume_policy {
            ResumePolicyFlag::Fail => ResumePolicy::Fail,
            ResumePolicyFlag::Earliest => ResumePolicy::Earliest,
            ResumePolicyFlag::Latest => ResumePolicy::Latest,
        };
        Consumer::builder(&self.address)
            .credentials(self.credentials.clone())
            .account(&self.account)
            .consumer(&self.consumer)
            .any_of(self.any_of.iter().cloned())
            .start(self.start.clone())
            .resume_policy(resume_policy)
            .heartbeat(self.heartbeat)
    }
}

fn start_of(text: &str) -> Result<Start, Failure> {
    // The parser accepts a time without a zone too.
    let is_zoned = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|time| time.contains(['+', '-']));
    match text {
        "latest" => Ok(Start::Latest),
        "earliest" => Ok(Start::Earliest),
        _ => text.parse().ok().filter(|_| is_zoned).map(Start::Time).ok_or_else(|| {
            Failure::usage(format!("--start: latest, earliest or an RFC 3339 time expected, not {text:?}"))
        }),
    }
}

fn refuse(error: &clap::Error) -> Failure {
    if !error.use_stderr() {
        // --help
        error.exit();
    }
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default();
    Failure::usage(line.trim_start_matches("error: "))
}

/// Returns HOST:PORT.
fn authority(text: &str) -> Result<String, Failure> {
    let addr = text.trim_start_matches("dns:///");
    let is_host = |host: &str| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        !bare.is_empty() && !bare.contains(['/', ' ']) && (bare != host || !bare.contains(':'))
    };
    addr.rsplit_once(':')
        .filter(|(host, _)| is_host(host))
        .filter(|(_, port)| u16::from_str(port).is_ok_and(|port| port > 0))
        .map(|_| addr.to_owned())
        .ok_or_else(|| Failure::usage(format!("--addr: HOST:PORT expected, not {text:?}")))
}

fn tags(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(String::from).collect()
}

fn one_of<T: ValueEnum>(flag: &str, text: Option<String>, default: T) -> Result<T, Failure> {
    text.map_or(Ok(default), |text| T::from_str(&text, false).map_err(|_| Failure::usage(format!("{flag}: {text:?}?"))))
}

fn whole_number(flag: &str, text: &str, min: u64, max: u64) -> Result<u64, Failure> {
    let number = u64::from_str(text).ok().filter(|number| (min..=max).contains(number));
    number.ok_or_else(|| Failure::usage(format!("{flag}: a whole number from {min} to {max} expected, not {text:?}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(args: &[&str], variables: &[(&str, &str)]) -> Result<Config, Failure> {
        let args = std::iter::once("consumer").chain(args.iter().copied()).map(String::from);
        let variable = |name: &str| variables.iter().find(|(it, _)| *it == name).map(|(_, text)| (*text).to_owned());
        Config::read(args, variable)
    }

    #[test]
    fn flag_overrides_variable_unless_variable_empty() {
        let config = read(&["--addr=dns:///g:1", "--any-of", " a, ,b*"], &[("GATEWAY_ADDR", "h:2"), ("ANY_OF", "c")]);
        let config = config.expect("valid");
        assert_eq!((config.address.as_str(), config.any_of.as_slice()), ("http://g:1", &["a".into(), "b*".into()][..]));
        let config = read(&[], &[("GATEWAY_ADDR", ""), ("GATEWAY_CA_FILE", "ca")]).expect("valid");
        assert_eq!(config.address, "https://127.0.0.1:50051");
    }

    #[test]
    fn invalid_flags_are_rejected() {
        for args in [
            &["--addr", "g"][..],
            &["--addr", "g:0"],
            &["--heartbeat", "0"],
            &["--start", "x"],
            &["--start", "2026-11-30T08:00:00"],
            &["--count", "0"],
            &["--what"],
            &["--cert-file", "c"],
            &["--key-file", "k"],
        ] {
            assert_eq!(read(args, &[]).expect_err("rejected").exit, crate::exit::Exit::Usage, "{args:?}");
        }
    }

    #[test]
    fn bearer_without_tls_goes_to_loopback_only() {
        let build = |args: &[&str]| read(args, &[]).expect("valid").builder().build();
        assert!(build(&["--token-file", "t", "--addr", "localhost:1"]).is_ok());
        assert!(build(&["--token-file", "t", "--addr", "gateway:1"]).is_err());
        assert!(build(&["--token-file", "t", "--addr", "gateway:1", "--tls"]).is_ok());
    }
}
