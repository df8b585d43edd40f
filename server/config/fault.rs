use std::fmt;

/// How alike two names must be to be taken for each other (Jaro-Winkler, 0 to 1): what clap takes for its own hints is
/// 0.7, which calls too much alike among short keys.
const ALIKE_MIN: f64 = 0.8;

/// Something in the configuration that must be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where: a path such as `accounts[0].bearer.file`, or the name of the file.
    pub path: String,
    /// What is wrong and what to do.
    pub text: String,
    /// The layer it comes from, if that is not the file.
    pub origin: Option<String>,
}

impl Fault {
    pub(super) fn new(path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { path: path.into(), text: text.into(), origin: None }
    }

    /// Whether `other` may be no more than a consequence of this.
    pub(super) fn covers(&self, other: &Fault) -> bool {
        below(&other.path, &self.path) || below(&self.path, &other.path)
    }

    /// Whether this is about that path.
    pub(super) fn touches(&self, path: &str) -> bool {
        below(&self.path, path) || below(path, &self.path)
    }
}

/// Whether `path` is `parent` or lies below it.
fn below(path: &str, parent: &str) -> bool {
    path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.text)?;
        match &self.origin {
            Some(origin) => write!(f, " (set by {origin})"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with a configuration: at least one fault, in order of their paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Faults(Vec<Fault>);

impl Faults {
    /// The faults, in order of their paths.
    pub fn all(&self) -> &[Fault] {
        &self.0
    }

    pub(super) fn one(fault: Fault) -> Self {
        Self(vec![fault])
    }

    pub(super) fn none_or(mut faults: Vec<Fault>) -> Result<(), Self> {
        if faults.is_empty() {
            return Ok(());
        }
        faults.sort_by(|a, b| (&a.path, &a.text).cmp(&(&b.path, &b.text)));
        Err(Self(faults))
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, fault) in self.0.iter().enumerate() {
            let line_end = if n == 0 { "" } else { "\n" };
            write!(f, "{line_end}{fault}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Faults {}

/// The name that was probably meant by `name`.
pub(super) fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> Option<&'n str> {
    known
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(alike, _)| *alike >= ALIKE_MIN)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_covers_what_lies_below_and_above_it() {
        let fault = Fault::new("accounts[1].bearer", "bad");
        for (path, expected) in [
            ("accounts[1].bearer", true),
            ("accounts[1].bearer.file", true),
            ("accounts[1]", true),
            ("accounts[1].bearers", false),
            ("accounts[10]", false),
        ] {
            assert_eq!(fault.covers(&Fault::new(path, "")), expected, "{path}");
        }
    }

    #[test]
    fn a_slip_of_the_key_is_understood() {
        let known = ["journal", "listen", "data_dir", "drain_deadline"];
        for (slip, meant) in [("jornal", Some("journal")), ("datadir", Some("data_dir")), ("kafka", None)] {
            assert_eq!(nearest(slip, known.into_iter()), meant, "{slip}");
        }
    }
}
