use std::fmt::{Display, Write};

/// Writes JSON text member by member, in the order they are given, with X's escapes.
pub(super) struct JsonWriter {
    out: String,
    /// Everything beyond ASCII as `\uXXXX`, `<` and `>` too: how most posts come.
    ascii: bool,
}

impl JsonWriter {
    pub(super) fn new(ascii: bool) -> Self {
        Self { out: String::with_capacity(6 << 10), ascii }
    }

    pub(super) fn finish(self) -> String {
        self.out
    }

    pub(super) fn string(&mut self, key: &str, value: &str) {
        self.key(key);
        self.quote(value);
    }

    /// Null if there is none.
    pub(super) fn maybe(&mut self, key: &str, value: Option<&str>) {
        match value {
            Some(value) => self.string(key, value),
            None => self.raw(key, "null"),
        }
    }

    /// A number, `true`, `false` or `null`.
    pub(super) fn raw(&mut self, key: &str, value: impl Display) {
        self.key(key);
        self.append(value);
    }

    pub(super) fn object(&mut self, key: &str, members: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braces('{', '}', members);
    }

    pub(super) fn array(&mut self, key: &str, items: impl FnOnce(&mut Self)) {
        self.key(key);
        self.braces('[', ']', items);
    }

    /// An object that stands for itself: the root, or an item of an array.
    pub(super) fn item(&mut self, members: impl FnOnce(&mut Self)) {
        self.comma();
        self.braces('{', '}', members);
    }

    /// An array within an array.
    pub(super) fn row(&mut self, items: impl FnOnce(&mut Self)) {
        self.comma();
        self.braces('[', ']', items);
    }

    /// A number within an array.
    pub(super) fn number(&mut self, value: impl Display) {
        self.comma();
        self.append(value);
    }

    fn key(&mut self, key: &str) {
        self.comma();
        self.out.push('"');
        self.out.push_str(key);
        self.out.push_str("\":");
    }

    /// Nothing stands in front of the first member, and no value ends like an opening.
    fn comma(&mut self) {
        if !matches!(self.out.as_bytes().last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(',');
        }
    }

    fn braces(&mut self, open: char, close: char, inside: impl FnOnce(&mut Self)) {
        self.out.push(open);
        inside(self);
        self.out.push(close);
    }

    fn append(&mut self, value: impl Display) {
        // Writing to a String cannot fail.
        let _ = write!(self.out, "{value}");
    }

    fn quote(&mut self, value: &str) {
        self.out.push('"');
        for c in value.chars() {
            match c {
                '"' => self.out.push_str("\\\""),
                '\\' => self.out.push_str("\\\\"),
                '/' => self.out.push_str("\\/"),
                '\n' => self.out.push_str("\\n"),
                '\r' => self.out.push_str("\\r"),
                c if c < ' ' || (self.ascii && matches!(c, '<' | '>')) => self.escape(c),
                c if self.ascii && !c.is_ascii() => self.escape(c),
                c => self.out.push(c),
            }
        }
        self.out.push('"');
    }

    fn escape(&mut self, c: char) {
        for unit in c.encode_utf16(&mut [0; 2]) {
            self.append(format_args!("\\u{unit:04x}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ascii: bool, value: &str, expected: &str) {
        let mut writer = JsonWriter::new(ascii);
        writer.item(|w| {
            w.string("a", value);
            w.array("b", |w| {
                w.number(1);
                w.row(|w| w.number(2.5));
                w.item(|w| w.maybe("c", None));
            });
            w.object("d", |_| {});
        });
        let json = writer.finish();
        assert_eq!(json, format!(r#"{{"a":"{expected}","b":[1,[2.5],{{"c":null}}],"d":{{}}}}"#));
        let parsed: serde_json::Value = serde_json::from_str(&json).expect("valid JSON");
        assert_eq!(parsed["a"], value);
    }

    #[test]
    fn strings_are_escaped_as_x_does() {
        check(true, "a/b <i> \"q\" \\ \r\n", r#"a\/b \u003ci\u003e \"q\" \\ \r\n"#);
        check(true, "猫🐈", r"\u732b\ud83d\udc08");
        check(false, "猫🐈 <", "猫🐈 <");
    }
}
