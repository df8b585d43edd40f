//! Rule files: a YAML list, or X's own JSON.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::rule_file::{FILE_BYTES_MAX, FileRule, RuleFileError};
use super::{json, yaml};

/// Format of a rule file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum RuleFileFormat {
    Yaml,
    Json,
}

/// Reads a rule file. A file whose name ends in `.json` is JSON, every other one YAML.
pub fn read(path: &Path) -> Result<Vec<FileRule>, RuleFileError> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(RuleFileError::TooLarge);
    }
    let text = String::from_utf8(bytes).map_err(|error| RuleFileError::Format {
        line: 1 + error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count(),
        message: "not UTF-8; store the file as UTF-8".to_owned(),
    })?;
    let is_json = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    parse(&text, if is_json { RuleFileFormat::Json } else { RuleFileFormat::Yaml })
}

fn parse(text: &str, format: RuleFileFormat) -> Result<Vec<FileRule>, RuleFileError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match format {
        RuleFileFormat::Yaml => yaml::parse(text),
        RuleFileFormat::Json => json::parse(text),
    }
}
