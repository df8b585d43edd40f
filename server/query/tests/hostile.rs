//! Long and deeply nested rules.

use crate::query::check::{FINDINGS_MAX, TEXT_UNITS_MAX};
use crate::query::{Code, Dialect, Facts, QuerySettings, RULE_UNITS_MAX, check};

fn codes(text: &str) -> Vec<&'static str> {
    let report = check(text, &QuerySettings::default());
    assert!(report.findings.len() <= FINDINGS_MAX);
    let mut codes: Vec<_> = report.findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.dedup();
    codes
}

#[test]
fn repeated_signs_end_in_findings() {
    for (sign, expected) in [
        ("(", &["UNBALANCED_PAREN"][..]),
        (")", &["UNBALANCED_PAREN"]),
        ("\"", &["EMPTY_PHRASE"]),
        ("-", &["BARE_MINUS"]),
        ("- ", &["BARE_MINUS"]),
        ("()", &["EMPTY_GROUP"]),
        ("OR ", &["DANGLING_OR"]),
        (":", &["STRAY_PUNCTUATION"]),
        ("'a ", &["QUOTE_CHARACTER"]),
        ("\u{201c}", &["QUOTE_CHARACTER"]),
        ("\0", &["CONTROL_CHARACTER"]),
    ] {
        let text = sign.repeat(RULE_UNITS_MAX / sign.encode_utf16().count());
        let mut found = codes(&text);
        found.sort();
        found.dedup();
        for code in expected {
            assert!(found.contains(code), "{sign:?}: {found:?}");
        }
        // Far beyond the limit, too.
        assert!(
            codes(&sign.repeat(3 * RULE_UNITS_MAX / sign.encode_utf16().count())).contains(&"TOO_LONG"),
            "{sign:?}"
        );
        assert_eq!(codes(&sign.repeat(TEXT_UNITS_MAX + 1)), ["TOO_LONG"], "{sign:?}");
    }
}

/// As deep as the length allows, in all uses of the tree.
#[test]
fn deepest_rules_are_read_printed_and_matched() {
    let facts = Facts::read(br#"{"text": "a"}"#, QuerySettings::default().cjk_tokens).expect("a post");
    let settings = QuerySettings::of(Dialect::Gateway);
    for (open, inner, close) in
        [("(", "a", ")"), ("-(", "a", ")"), ("(a ", "a", ")"), ("(a OR -", "(b)", ")"), ("-(a OR ", "a", ")")]
    {
        let levels = (RULE_UNITS_MAX - inner.len()) / (open.len() + close.len());
        let text = format!("{}{inner}{}", open.repeat(levels), close.repeat(levels));
        let report = check(&text, &settings);
        let query = report.query.unwrap_or_else(|| panic!("{open}: {:?}", report.findings));
        let again = check(&query.print(), &settings).query.expect("valid");
        assert_eq!(again.tree(), query.tree(), "{open}");
        assert_eq!(query.matcher().matches(&facts), again.matcher().matches(&facts), "{open}");
        let canonical = query.canonical();
        assert_eq!(check(&canonical, &settings).query.map(|query| query.canonical()), Some(canonical), "{open}");
    }
}

#[test]
fn rules_beyond_limit_report_both_lengths() {
    for (text, words) in [
        ("a".repeat(2_049), "2049 characters, 1 too many"),
        ("🐈".repeat(1_025), "2050 UTF-16 units (1025 characters), 2 too many"),
    ] {
        let report = check(&text, &QuerySettings::default());
        let finding = report.findings.iter().find(|finding| finding.code == Code::TooLong).expect("too long");
        assert!(finding.message.contains(words), "{}", finding.message);
        assert_eq!((finding.position, finding.byte_end), (2_049, text.len()));
    }
    let long = vec!["word"; 400].join(" OR ");
    let report = check(&long, &QuerySettings::default());
    let finding = report.findings.iter().find(|finding| finding.code == Code::TooLong).expect("too long");
    assert!(finding.advice.contains("split at the OR before position 1601"), "{}", finding.advice);
}
