//! A Rust file as the house rules see it: what is code, what is text, what is test. A scanner of brackets, strings and
//! comments, not a parser: enough for rules that are about words and lines.

use std::ops::Range;

/// A file of the tree.
pub struct Source {
    /// Path from the root of the repository.
    pub path: String,
    /// As it is.
    pub raw: String,
    /// Comments and strings blanked; offsets and lines as in `raw`, here and below.
    pub code: String,
    /// Comments and tests blanked.
    pub live_text: String,
    /// Comments, strings and tests blanked.
    pub live_code: String,
}

/// A function's name, its first line and how many lines it has.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    pub name: String,
    pub line: usize,
    pub lines: usize,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let (comments, strings) = scan(raw.as_bytes());
        let text = blank(raw, &comments);
        let code = blank(&text, &strings);
        let tests = tests(path, &code);
        let (live_text, live_code) = (blank(&text, &tests), blank(&code, &tests));
        Self { path: path.into(), raw: raw.into(), code, live_text, live_code }
    }

    /// The line that an offset is in, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        self.raw[..offset].matches('\n').count() + 1
    }

    /// Everything named directly after `crate::`, nested lists included, with its offset.
    pub fn crate_paths(&self) -> Vec<(usize, String)> {
        let mut found = Vec::new();
        for at in words(&self.code, "crate::") {
            let rest = at + "crate::".len();
            if !self.code[rest..].starts_with('{') {
                found.push((at, ident(&self.code[rest..])));
                continue;
            }
            let list = rest + 1..closing(self.code.as_bytes(), rest);
            let mut depth = 0;
            let mut expected = true;
            for (offset, c) in self.code[list.clone()].char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => expected = true,
                    c if expected && !c.is_whitespace() => {
                        found.push((at, ident(&self.code[list.start + offset..])));
                        expected = false;
                    }
                    _ => {}
                }
            }
        }
        found.retain(|(_, name)| !name.is_empty() && name != "self");
        found
    }

    /// All functions with a body.
    pub fn functions(&self) -> Vec<Function> {
        let bytes = self.code.as_bytes();
        let mut found = Vec::new();
        for at in words(&self.code, "fn ") {
            let name = ident(&self.code[at + 3..]);
            let Some(open) = body(bytes, at).filter(|_| !name.is_empty()) else { continue };
            let line = self.line(at);
            found.push(Function { name, line, lines: self.line(closing(bytes, open)) - line + 1 });
        }
        found
    }
}

/// Offsets where `word` stands in `text` and is not the rest (or, if it ends in a letter, the start) of a longer one.
pub fn words(text: &str, word: &str) -> Vec<usize> {
    let part = |c: char| c.is_alphanumeric() || c == '_';
    let open_end = word.ends_with(|c| !part(c));
    text.match_indices(word)
        .map(|(at, _)| at)
        .filter(|&at| !text[..at].ends_with(part) && (open_end || !text[at + word.len()..].starts_with(part)))
        .collect()
}

fn ident(text: &str) -> String {
    text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
}

/// The `{` of the item that begins at `from`; `None` if it ends with `;` and has no body.
fn body(code: &[u8], from: usize) -> Option<usize> {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b';' if depth == 0 => return None,
            b'{' if depth == 0 => return Some(at),
            _ => {}
        }
    }
    None
}

/// The `}` that closes the `{` at `open`.
fn closing(code: &[u8], open: usize) -> usize {
    let mut depth = 0;
    for (at, byte) in code.iter().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => return at,
            b'}' => depth -= 1,
            _ => {}
        }
    }
    code.len().saturating_sub(1)
}

/// Where tests are: whole files by their name, and every item behind `#[cfg(test)]`.
fn tests(path: &str, code: &str) -> Vec<Range<usize>> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let whole = ["tests.rs", "conformance.rs"].contains(&name)
        || path.starts_with("tests/")
        || ["/tests/", "/conformance/"].iter().any(|folder| path.contains(folder));
    if whole {
        return std::iter::once(0..code.len()).collect();
    }
    let mark = "#[cfg(test)]";
    let item = |(at, _)| {
        let start = at + mark.len();
        let end = match body(code.as_bytes(), start) {
            Some(open) => closing(code.as_bytes(), open) + 1,
            None => code[start..].find(';').map_or(code.len(), |end| start + end + 1),
        };
        at..end
    };
    code.match_indices(mark).map(item).collect()
}

/// `text` with these ranges as blanks; lines stay.
fn blank(text: &str, ranges: &[Range<usize>]) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for byte in ranges.iter().flat_map(|range| range.clone()) {
        if bytes[byte] != b'\n' {
            bytes[byte] = b' ';
        }
    }
    String::from_utf8(bytes).expect("comments, strings and items begin and end between characters")
}

/// Where comments are, and where the insides of strings and character literals are.
fn scan(bytes: &[u8]) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut comments, mut strings) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..];
        let before = at.checked_sub(1).map_or(b' ', |before| bytes[before]);
        let end = if rest.starts_with(b"//") {
            let end = at + rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
            comments.push(at..end);
            end
        } else if rest.starts_with(b"/*") {
            let end = at + block_comment(rest);
            comments.push(at..end);
            end
        } else if let Some((open, end)) = raw_string(rest).filter(|_| !before.is_ascii_alphanumeric() && before != b'_')
        {
            strings.push(at + open..at + end - (open - 1));
            at + end
        } else if rest[0] == b'"' {
            let end = at + 1 + quoted(&rest[1..], b'"');
            strings.push(at + 1..end.min(bytes.len()));
            end + 1
        } else if rest[0] == b'\'' && is_char(rest) {
            let end = at + 1 + quoted(&rest[1..], b'\'');
            strings.push(at + 1..end.min(bytes.len()));
            end + 1
        } else {
            at + 1
        };
        at = end;
    }
    (comments, strings)
}

/// Length of the block comment that `rest` begins with; they nest.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        if rest[at..].starts_with(b"/*") {
            (depth, at) = (depth + 1, at + 2);
        } else if rest[at..].starts_with(b"*/") {
            (depth, at) = (depth - 1, at + 2);
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    rest.len()
}

/// Lengths of the opening and of all of the raw string that `rest` begins with. A `b` or `c` in front changes nothing.
fn raw_string(rest: &[u8]) -> Option<(usize, usize)> {
    let hashes = rest.strip_prefix(b"r")?.iter().take_while(|&&b| b == b'#').count();
    let open = 1 + hashes + 1;
    if rest.get(open - 1) != Some(&b'"') {
        return None;
    }
    let close = [b"\"".as_slice(), &vec![b'#'; hashes]].concat();
    let inside = rest[open..].windows(close.len()).position(|window| window == close)?;
    // The closing is as long as the opening less its `r`.
    Some((open, open + inside + open - 1))
}

/// Bytes up to the quote that ends a string; escapes are stepped over.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() && rest[at] != quote {
        at += if rest[at] == b'\\' { 2 } else { 1 };
    }
    at
}

/// A character literal, and not a lifetime.
fn is_char(rest: &[u8]) -> bool {
    let text = String::from_utf8_lossy(&rest[1..rest.len().min(8)]);
    let mut chars = text.chars();
    chars.next() == Some('\\') || chars.next() == Some('\'')
}
