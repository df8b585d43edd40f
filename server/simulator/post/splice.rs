use std::ops::Range;

/// Where the value of this member of the root object stands; the text must be valid JSON.
pub(in crate::simulator) fn root_value(json: &str, key: &str) -> Option<Range<usize>> {
    let bytes = json.as_bytes();
    let mut at = skip_space(bytes, 0);
    if bytes.get(at) != Some(&b'{') {
        return None;
    }
    at = skip_space(bytes, at + 1);
    while bytes.get(at) == Some(&b'"') {
        let key_end = value_end(bytes, at);
        let start = skip_space(bytes, skip_space(bytes, key_end) + 1);
        let end = value_end(bytes, start);
        if json.get(at + 1..key_end.checked_sub(1)?)? == key {
            return Some(start..end);
        }
        at = skip_space(bytes, end);
        if bytes.get(at) == Some(&b',') {
            at = skip_space(bytes, at + 1);
        }
    }
    None
}

/// The same object with this member's value, which is added at the end if it was not there.
pub(in crate::simulator) fn with_member(json: &str, key: &str, value: &str) -> String {
    if let Some(span) = root_value(json, key) {
        return [&json[..span.start], value, &json[span.end..]].concat();
    }
    let Some(close) = json.rfind('}') else { return json.to_owned() };
    let empty = json[..close].trim_end().ends_with('{');
    let comma = if empty { "" } else { "," };
    [json[..close].trim_end(), comma, "\"", key, "\":", value, &json[close..]].concat()
}

/// The same value over several lines, as pretty-printers do it; LF only.
pub(in crate::simulator) fn indented(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let (mut depth, mut string, mut escaped) = (0_usize, false, false);
    let line = |out: &mut String, depth: usize| {
        out.push('\n');
        out.extend(std::iter::repeat_n("  ", depth));
    };
    for c in json.chars() {
        if string {
            out.push(c);
            string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn skip_space(bytes: &[u8], from: usize) -> usize {
    let space = bytes.get(from..).unwrap_or_default().iter().take_while(|b| b.is_ascii_whitespace()).count();
    from + space
}

/// The end of the value that starts here: after its string, its braces, or its word.
fn value_end(bytes: &[u8], start: usize) -> usize {
    let (mut depth, mut string, mut escaped) = (0_usize, false, false);
    for (at, &b) in bytes.iter().enumerate().skip(start) {
        if string {
            string = escaped || b != b'"';
            escaped = !escaped && b == b'\\';
            if !string && depth == 0 {
                return at + 1;
            }
            continue;
        }
        match b {
            b'"' => string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                if depth == 0 {
                    return at + 1;
                }
            }
            b',' if depth == 0 => return at,
            b if depth == 0 && b.is_ascii_whitespace() => return at,
            _ => {}
        }
    }
    bytes.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const POST: &str = r#"{"a":{"id":1,"x":"}\"{"}, "id": 7 ,"text":"a,b","tags":[{"id":3},[]]}"#;

    fn check(key: &str, value: &str, expected: &str) {
        let changed = with_member(POST, key, value);
        assert_eq!(changed, expected);
        let parsed: serde_json::Value = serde_json::from_str(&changed).expect("valid JSON");
        assert_eq!(parsed[key].to_string(), value);
    }

    #[test]
    fn other_bytes_stay_as_they_were() {
        check("id", "8", r#"{"a":{"id":1,"x":"}\"{"}, "id": 8 ,"text":"a,b","tags":[{"id":3},[]]}"#);
        check("tags", "[]", r#"{"a":{"id":1,"x":"}\"{"}, "id": 7 ,"text":"a,b","tags":[]}"#);
        check("new", "1", r#"{"a":{"id":1,"x":"}\"{"}, "id": 7 ,"text":"a,b","tags":[{"id":3},[]],"new":1}"#);
        assert_eq!(with_member("{ }", "a", "1"), r#"{"a":1}"#);
        assert_eq!(root_value("[1]", "a"), None);
        assert_eq!(root_value(POST, "x"), None);
    }

    #[test]
    fn indenting_changes_no_value() {
        let lines = indented(POST);
        assert!(lines.lines().count() > 8 && !lines.contains('\r'));
        let values = [POST, &lines].map(|json| serde_json::from_str::<serde_json::Value>(json).expect("valid JSON"));
        assert_eq!(values[0], values[1]);
    }
}
