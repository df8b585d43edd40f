use std::io;
use std::path::Path;

use crate::simulator::config::AtEnd;

/// The posts of a file, one after the other.
#[derive(Debug)]
pub(in crate::simulator) struct Playback {
    lines: Vec<String>,
    next: usize,
    round: u64,
    at_end: AtEnd,
    /// Lines that are no objects.
    left_out: u64,
}

impl Playback {
    /// Reads JSON lines. Empty lines are ignored; lines that are not JSON objects are skipped and counted.
    pub(in crate::simulator) fn open(path: &Path, at_end: AtEnd) -> io::Result<Self> {
        Ok(Self::new(&std::fs::read_to_string(path)?, at_end))
    }

    fn new(text: &str, at_end: AtEnd) -> Self {
        let (mut lines, mut left_out) = (Vec::new(), 0);
        for line in text.split('\n').map(|line| line.trim_end_matches('\r')).filter(|line| !line.trim().is_empty()) {
            let object = serde_json::from_str(line).is_ok_and(|value: serde_json::Value| value.is_object());
            if object { lines.push(line.to_owned()) } else { left_out += 1 }
        }
        Self { lines, next: 0, round: 0, at_end, left_out }
    }

    pub(in crate::simulator) fn left_out(&self) -> u64 {
        self.left_out
    }

    /// The next line, and whether it has been given before.
    pub(in crate::simulator) fn next(&mut self) -> Option<(String, bool)> {
        if self.next == self.lines.len() && self.at_end == AtEnd::Loop {
            self.next = 0;
            self.round += 1;
        }
        let line = self.lines.get(self.next)?.clone();
        self.next += 1;
        Some((line, self.round > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn playback_runs_once_or_loops() {
        let text = "{\"id\":1}\r\n\nmalformed\n{\"id\": 2}";
        let mut once = Playback::new(text, AtEnd::Stop);
        assert_eq!(once.left_out(), 1);
        let lines: Vec<_> = std::iter::from_fn(|| once.next()).collect();
        assert_eq!(lines, [("{\"id\":1}".to_owned(), false), ("{\"id\": 2}".to_owned(), false)]);
        let mut again = Playback::new(text, AtEnd::Loop);
        let rounds: Vec<_> = (0..4).filter_map(|_| again.next()).map(|(_, again)| again).collect();
        assert_eq!(rounds, [false, false, true, true]);
        assert_eq!(Playback::new("", AtEnd::Loop).next(), None);
    }
}
