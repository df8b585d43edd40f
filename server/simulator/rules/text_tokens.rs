use super::characters::{emoji_length, is_ideograph_or_kana, is_mark, is_word};

/// The tokens of a text in normal form: words, single characters of scripts without spaces, single emoji.
pub(super) fn tokens(text: &str) -> Vec<String> {
    if text.is_ascii() {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric());
        return words.filter(|word| !word.is_empty()).map(str::to_owned).collect();
    }
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut word, mut at) = (Vec::new(), String::new(), 0);
    while let Some(&c) = chars.get(at) {
        let emoji = emoji_length(&chars[at..]);
        let alone = if emoji > 0 { emoji } else { ideograph_length(&chars[at..]) };
        if alone == 0 && is_word(c) {
            word.push(c);
            at += 1;
            continue;
        }
        if !word.is_empty() {
            tokens.push(std::mem::take(&mut word));
        }
        if alone > 0 {
            tokens.push(chars[at..at + alone].iter().collect());
        }
        at += alone.max(1);
    }
    if !word.is_empty() {
        tokens.push(word);
    }
    tokens
}

/// Characters of the ideograph or kana at the start, with its marks; 0 if there is none.
fn ideograph_length(text: &[char]) -> usize {
    if !text.first().copied().is_some_and(is_ideograph_or_kana) {
        return 0;
    }
    1 + text[1..].iter().take_while(|c| is_mark(**c)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        assert_eq!(tokens(text), expected, "{text}");
    }

    #[test]
    fn text_splits_at_punctuation_and_symbols() {
        check("my cat's #cat_1, really?!", &["my", "cat", "s", "cat", "1", "really"]);
        check("猫カフェー🐈🐈 ok", &["猫", "カ", "フ", "ェ", "ー", "🐈", "🐈", "ok"]);
        check("a👍🏽b ☀\u{fe0f} 👍", &["a", "👍🏽", "b", "☀\u{fe0f}", "👍"]);
        check("القط café 고양이", &["القط", "café", "고양이"]);
        check("नमस्ते می\u{200c}خواهم", &["नमस्ते", "می\u{200c}خواهم"]);
        check("5€ «a»…b\u{a0}c", &["5", "a", "b", "c"]);
        check(" \n", &[]);
    }
}
