use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use crate::exit::Failure;

/// What the flags and the environment say: the table "Flags" of PROTOCOL.md.
#[derive(Debug)]
pub struct Config {
    pub host: String,
    pub port: u16,
    pub tls: bool,
    pub ca_file: Option<PathBuf>,
    /// The client certificate, if there is one.
    pub identity: Option<IdentityFiles>,
    pub token_file: Option<PathBuf>,
    pub account: String,
    pub consumer: String,
    pub any_of: Vec<String>,
    pub cursor_file: Option<PathBuf>,
    pub start: StartFlag,
    pub resume_policy: ResumePolicyFlag,
    pub heartbeat: Duration,
    /// End once so many events were printed.
    pub count: Option<u64>,
}

/// The files of a client certificate and its key.
#[derive(Debug)]
pub struct IdentityFiles {
    pub cert_file: PathBuf,
    pub key_file: PathBuf,
}

/// Start position without a token.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum StartFlag {
    Latest,
    Earliest,
}

/// Behavior if the token is too old.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ResumePolicyFlag {
    Fail,
    Earliest,
    Latest,
}

/// A consumer of the gateway that survives everything. Each flag has a variable: see PROTOCOL.md.
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
    /// File that keeps the resume token
    #[arg(long)]
    cursor_file: Option<String>,
    /// Start position without a token: latest, earliest
    #[arg(long)]
    start: Option<String>,
    /// Behavior if the token is too old: fail, earliest, latest
    #[arg(long)]
    resume_policy: Option<String>,
    /// Seconds between signs of life of the gateway: 1 to 60
    #[arg(long)]
    heartbeat: Option<String>,
    /// End once so many events were printed
    #[arg(long)]
    count: Option<String>,
}

impl Config {
    /// A flag beats its variable; an empty variable is none.
    pub fn read(
        args: impl IntoIterator<Item = String>,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        let flags = Flags::try_parse_from(args).map_err(|error| refuse(&error))?;
        let variable = |name: &str| variable(name).filter(|text| !text.is_empty());
        let given = |flag: Option<String>, name| flag.or_else(|| variable(name));

        let (host, port) = host_and_port(&given(flags.addr, "GATEWAY_ADDR").unwrap_or("127.0.0.1:50051".into()))?;
        let ca_file = given(flags.ca_file, "GATEWAY_CA_FILE").map(PathBuf::from);
        let cert_file = given(flags.cert_file, "GATEWAY_CERT_FILE").map(PathBuf::from);
        let identity = match (cert_file, given(flags.key_file, "GATEWAY_KEY_FILE").map(PathBuf::from)) {
            (None, None) => None,
            (Some(cert_file), Some(key_file)) => Some(IdentityFiles { cert_file, key_file }),
            _ => return Err(Failure::usage("--cert-file and --key-file are given together")),
        };
        let tls = match variable("GATEWAY_TLS").as_deref() {
            None | Some("0") => flags.tls || ca_file.is_some() || identity.is_some(),
            Some("1") => true,
            Some(other) => return Err(Failure::usage(format!("GATEWAY_TLS: 0 or 1 expected, not {other:?}"))),
        };
        let heartbeat = given(flags.heartbeat, "HEARTBEAT").unwrap_or("10".into());
        let config = Self {
            host,
            port,
            tls,
            ca_file,
            identity,
            token_file: given(flags.token_file, "GATEWAY_TOKEN_FILE").map(PathBuf::from),
            account: given(flags.account, "GATEWAY_ACCOUNT").unwrap_or_default(),
            consumer: given(flags.consumer, "GATEWAY_CONSUMER").unwrap_or("example-rust".into()),
            any_of: tags(&given(flags.any_of, "ANY_OF").unwrap_or_default()),
            cursor_file: given(flags.cursor_file, "CURSOR_FILE").map(PathBuf::from),
            start: one_of("--start", given(flags.start, "START"), StartFlag::Latest)?,
            resume_policy: one_of(
                "--resume-policy",
                given(flags.resume_policy, "RESUME_POLICY"),
                ResumePolicyFlag::Fail,
            )?,
            heartbeat: Duration::from_secs(whole_number("--heartbeat", &heartbeat, 1, 60)?),
            count: given(flags.count, "COUNT").map(|text| whole_number("--count", &text, 1, u64::MAX)).transpose()?,
        };
        if config.token_file.is_some() && !config.tls && !is_loopback(&config.host) {
            let words =
                "a credential is sent only over TLS or to a loopback host: add --tls, or leave --token-file out";
            return Err(Failure::usage(words));
        }
        Ok(config)
    }

    /// `HOST:PORT`.
    pub fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
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

fn host_and_port(text: &str) -> Result<(String, u16), Failure> {
    let addr = text.trim_start_matches("dns:///");
    let is_host = |host: &str| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        !bare.is_empty() && !bare.contains(['/', ' ']) && (bare != host || !bare.contains(':'))
    };
    addr.rsplit_once(':')
        .filter(|(host, _)| is_host(host))
        .and_then(|(host, port)| Some((host.to_owned(), u16::from_str(port).ok().filter(|port| *port > 0)?)))
        .ok_or_else(|| Failure::usage(format!("--addr: HOST:PORT expected, not {text:?}")))
}

fn is_loopback(host: &str) -> bool {
    let is_v4 = host.parse::<std::net::Ipv4Addr>().is_ok_and(|address| address.is_loopback());
    host == "localhost" || host == "[::1]" || is_v4
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
    fn a_flag_beats_its_variable_and_an_empty_variable_is_none() {
        let config = read(&["--addr=dns:///g:1", "--any-of", " a, ,b*"], &[("GATEWAY_ADDR", "h:2"), ("ANY_OF", "c")]);
        let config = config.expect("valid");
        assert_eq!((config.authority().as_str(), config.any_of.as_slice()), ("g:1", &["a".into(), "b*".into()][..]));
        let config = read(&[], &[("GATEWAY_ADDR", ""), ("GATEWAY_CA_FILE", "ca")]).expect("valid");
        assert_eq!((config.authority().as_str(), config.tls), ("127.0.0.1:50051", true));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for args in [
            &["--addr", "g"][..],
            &["--heartbeat", "0"],
            &["--start", "x"],
            &["--count", "0"],
            &["--what"],
            &["--cert-file", "c"],
            &["--key-file", "k"],
        ] {
            assert_eq!(read(args, &[]).expect_err("refused").exit, crate::exit::Exit::Usage, "{args:?}");
        }
    }

    #[test]
    fn a_credential_goes_out_in_clear_to_loopback_only() {
        let with = |addr| read(&["--token-file", "t", "--addr", addr], &[]);
        assert!(with("127.0.0.9:1").is_ok() && with("localhost:1").is_ok() && with("[::1]:1").is_ok());
        assert!(with("gateway:1").is_err() && with("127.evil:1").is_err());
        assert!(read(&["--token-file", "t", "--addr", "gateway:1", "--tls"], &[]).is_ok());
    }
}
