//! Languages that `lang:` accepts.

/// Codes of X's page, and `he`, `id`, `zh` in addition, of which payloads contain `iw`, `in` and `zh`.
const CODES: &[&str] = &[
    "am", "ar", "bg", "bn", "bo", "bs", "ca", "ckb", "cs", "cy", "da", "de", "dv", "el", "en", "es", "et", "eu", "fa",
    "fi", "fr", "gu", "he", "hi", "hi-latn", "hr", "ht", "hu", "hy", "id", "in", "is", "it", "iw", "ja", "ka", "km",
    "kn", "ko", "lo", "lt", "lv", "ml", "mr", "my", "ne", "nl", "no", "or", "pa", "pl", "ps", "pt", "ro", "ru", "sd",
    "si", "sk", "sl", "sr", "sv", "ta", "te", "th", "tl", "tr", "ug", "uk", "ur", "vi", "zh", "zh-cn", "zh-tw",
];

/// Codes that payloads of 2022 and later contain for posts without a language (media, hashtags, mentions only …).
const PSEUDO_CODES: &[&str] = &["und", "qam", "qct", "qht", "qme", "qst", "zxx", "art"];

/// Codes that people write, and the codes of X.
const OTHERS: &[(&str, &str)] = &[
    ("jp", "ja"),
    ("jpn", "ja"),
    ("cn", "zh"),
    ("chi", "zh"),
    ("zho", "zh"),
    ("zh-hans", "zh-cn"),
    ("zh-hant", "zh-tw"),
    ("kr", "ko"),
    ("kor", "ko"),
    ("gr", "el"),
    ("cz", "cs"),
    ("dk", "da"),
    ("se", "sv"),
    ("swe", "sv"),
    ("ua", "uk"),
    ("eng", "en"),
    ("en-us", "en"),
    ("en-gb", "en"),
    ("us", "en"),
    ("gb", "en"),
    ("deu", "de"),
    ("ger", "de"),
    ("de-de", "de"),
    ("spa", "es"),
    ("esp", "es"),
    ("fra", "fr"),
    ("fre", "fr"),
    ("fr-fr", "fr"),
    ("ita", "it"),
    ("por", "pt"),
    ("pt-br", "pt"),
    ("br", "pt"),
    ("rus", "ru"),
    ("ara", "ar"),
    ("nld", "nl"),
    ("pol", "pl"),
    ("tur", "tr"),
    ("ukr", "uk"),
    ("vn", "vi"),
    ("ir", "fa"),
    ("il", "iw"),
    ("heb", "iw"),
    ("ind", "in"),
    ("nb", "no"),
    ("nn", "no"),
    ("fil", "tl"),
    ("msa", "in"),
    ("gre", "el"),
    ("ell", "el"),
    ("hin", "hi"),
    ("tha", "th"),
    ("fin", "fi"),
    ("dan", "da"),
    ("ces", "cs"),
    ("english", "en"),
    ("german", "de"),
    ("spanish", "es"),
    ("french", "fr"),
    ("japanese", "ja"),
    ("italian", "it"),
    ("portuguese", "pt"),
    ("russian", "ru"),
    ("arabic", "ar"),
    ("korean", "ko"),
    ("chinese", "zh"),
    ("hebrew", "iw"),
    ("hindi", "hi"),
    ("turkish", "tr"),
    ("polish", "pl"),
    ("dutch", "nl"),
];

/// True if `lang:` accepts a code in lower case.
pub fn is_known(code: &str) -> bool {
    CODES.contains(&code) || PSEUDO_CODES.contains(&code)
}

/// Returns the code that X uses for a language that was written in another way.
pub fn instead_of(code: &str) -> Option<&'static str> {
    OTHERS.iter().find(|(wrong, _)| *wrong == code).map(|(_, right)| *right)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_codes_lead_to_known_ones() {
        for (wrong, right) in OTHERS {
            assert!(is_known(right) && !is_known(wrong), "{wrong} -> {right}");
        }
    }
}
