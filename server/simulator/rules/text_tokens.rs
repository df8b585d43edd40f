/// The tokens of a text, in lower case: words, single characters of scripts without spaces, single emoji.
pub(super) fn tokens(text: &str) -> Vec<String> {
    let mut tokens = Vec::new();
    let mut word = String::new();
    for c in text.chars() {
        if (c.is_alphanumeric() || c == '_' || is_mark(c)) && !stands_alone(c) {
            word.extend(c.to_lowercase());
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if stands_alone(c) {
            tokens.push(c.to_string());
        }
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// Ideographs and kana, which are written without spaces, and emoji.
fn stands_alone(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}')
        || matches!(c, '\u{2600}'..='\u{27bf}' | '\u{1f300}'..='\u{1faff}')
}

/// Combining marks, which belong to the letter in front.
fn is_mark(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}' | '\u{64b}'..='\u{65f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text), expected, "{text}");
    }

    #[test]
    fn words_are_split_at_what_is_no_letter() {
        check("My CAT's #Cat_1, really?!", &["my", "cat", "s", "cat_1", "really"]);
        check("猫カフェ🐈🐈 ok", &["猫", "カ", "フ", "ェ", "🐈", "🐈", "ok"]);
        check("القط café 고양이", &["القط", "café", "고양이"]);
        check(" \n", &[]);
    }
}
