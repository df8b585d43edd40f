//! Properties of the language. `PROPTEST_CASES` sets the number of cases.

use proptest::prelude::*;

use super::generate::{post, text, tree};
use crate::query::check::FINDINGS_MAX;
use crate::query::print::print;
use crate::query::{CjkTokens, Dialect, Facts, Finding, PhraseReading, QuerySettings, Severity, check};

fn settings() -> impl Strategy<Value = QuerySettings> {
    let phrases = prop_oneof![Just(PhraseReading::Literal), Just(PhraseReading::Tokens)];
    let cjk_tokens = prop_oneof![Just(CjkTokens::Single), Just(CjkTokens::Run)];
    let dialect = prop_oneof![Just(Dialect::Powerstream), Just(Dialect::Gateway)];
    (dialect, phrases, cjk_tokens, any::<bool>()).prop_map(|(dialect, phrases, cjk_tokens, unlisted_operators)| {
        QuerySettings { dialect, phrases, cjk_tokens, unlisted_operators }
    })
}

/// Checks the places of a finding against the text.
fn check_place(text: &str, finding: &Finding) {
    let span = finding.byte_start..finding.byte_end;
    let before: usize = text[..span.start].encode_utf16().count();
    assert_eq!(finding.position, before + 1, "{finding:?}");
    assert_eq!(finding.end, before + 1 + text[span].encode_utf16().count(), "{finding:?}");
    assert!(!finding.message.is_empty() && !finding.advice.is_empty(), "{finding:?}");
}

proptest! {
    /// Any text gives findings with exact places, and a corrected rule has no errors.
    #[test]
    fn any_text_is_checked(text in text(), settings in settings()) {
        let report = check(&text, &settings);
        prop_assert!(report.findings.len() <= FINDINGS_MAX);
        prop_assert_eq!(report.query.is_some(), !report.has_errors());
        for finding in &report.findings {
            check_place(&text, finding);
            let Some(suggestion) = &finding.suggestion else { continue };
            let corrected = check(suggestion, &settings);
            prop_assert!(!corrected.has_errors(), "{text:?} -> {suggestion:?}: {:?}", corrected.findings);
            prop_assert!(*suggestion != text, "{:?}", text);
            if finding.severity == Severity::Warning {
                let same = |report: &crate::query::Report| {
                    report.findings.iter().filter(|other| other.code == finding.code).count()
                };
                prop_assert!(same(&corrected) < same(&report), "{text:?} -> {suggestion:?} keeps {}", finding.code);
            }
        }
    }

    /// A valid rule is equal to what is printed of it.
    #[test]
    fn valid_text_survives_printing(text in text(), settings in settings(), post in post()) {
        let Some(query) = check(&text, &settings).query else { return Ok(()) };
        let facts = Facts::read(post.as_bytes(), settings.cjk_tokens).expect("a post");
        let printed = check(&query.print(), &settings).query.expect("a printed rule is valid");
        prop_assert_eq!(printed.tree(), query.tree(), "{}", query.print());
        prop_assert_eq!(printed.matcher().matches(&facts), query.matcher().matches(&facts));
    }

    #[test]
    fn printed_tree_is_read_as_itself(tree in tree()) {
        let text = print(&tree);
        let report = check(&text, &QuerySettings::of(Dialect::Gateway));
        let Some(query) = report.query else { return Err(TestCaseError::fail(format!("{text}: {:?}", report.findings))) };
        prop_assert_eq!(query.tree(), &tree, "{}", text);
    }

    #[test]
    fn canonical_form_is_stable_and_alike(tree in tree(), settings in settings(), posts in prop::collection::vec(post(), 4)) {
        let settings = QuerySettings { dialect: Dialect::Gateway, ..settings };
        let query = check(&print(&tree), &settings).query.expect("a printed tree is valid");
        let canonical = query.canonical();
        let again = check(&canonical, &settings).query.expect("a canonical rule is valid");
        prop_assert_eq!(again.canonical(), &canonical[..]);
        for post in posts {
            let facts = Facts::read(post.as_bytes(), settings.cjk_tokens).expect("a post");
            let (left, right) = (query.matcher().matches(&facts), again.matcher().matches(&facts));
            prop_assert_eq!(left, right, "{} and {} on {}", query.print(), canonical, post);
        }
    }

    /// Order, brackets, case and repetition do not change the canonical form.
    #[test]
    fn equal_rules_have_one_canonical_form(left in tree(), right in tree()) {
        let settings = QuerySettings::of(Dialect::Gateway);
        let canonical = |text: String| check(&text, &settings).query.map(|query| query.canonical());
        let (left, right) = (print(&left), print(&right));
        let expected = canonical(format!("({left}) ({right})"));
        for other in [format!("({right}) ({left})"), format!("(({right})) ({left}) ({right})"), format!(" (({left}) ({right})) ")] {
            prop_assert_eq!(&canonical(other.clone()), &expected, "{}", other);
        }
    }

    #[test]
    fn any_bytes_are_read_as_post_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), post in post(), at in any::<prop::sample::Index>(), byte: u8) {
        Facts::read(&bytes, CjkTokens::Single).ok();
        let mut post = post.into_bytes();
        let at = at.index(post.len());
        post[at] = byte;
        Facts::read(&post, CjkTokens::Run).ok();
    }
}
