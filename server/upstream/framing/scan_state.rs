//! State of the framer between two bytes.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanState {
    Between,
    InValue,
    /// In a value, at the beginning of a line: in the white space after a line break.
    AtLine,
    InString,
    /// In a string, after a backslash.
    Escaped,
    /// In a line that is not JSON.
    InText,
}
