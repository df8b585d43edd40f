use std::os::unix::fs::PermissionsExt;

use super::*;

fn load(text: &str) -> (TokenTable, Vec<String>) {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("tokens.yaml");
    std::fs::write(&path, text).expect("the directory is ours");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).expect("the file is ours");
    let (mut table, mut faults) = (TokenTable::default(), Vec::new());
    table.add_file(&path, &mut faults);
    (table, faults.into_iter().map(|fault| fault.text).collect())
}

fn entry(token: &NewToken, more: &str) -> String {
    format!("  - {{ id: {}, sha256: {}, principal: indexer{more} }}\n", token.id, token.sha256)
}

#[test]
fn token_is_found_by_its_whole_text_only() {
    let (one, other) = (NewToken::new([1; 8], [7; 32]), NewToken::new([2; 8], [8; 32]));
    let (table, faults) = load(&format!("tokens:\n{}", entry(&one, ", not_after: \"2027-02-28T00:00:00Z\"")));
    assert_eq!(faults, [""; 0]);
    let (id, found) = table.find(&one.token).expect("it is in the file");
    assert_eq!((&*id, &*found.principal), (one.id.as_str(), "indexer"));
    assert_eq!(found.not_after, Some(UnixMillis(1_803_772_800_000)));
    assert!(table.find(&other.token).is_none());
    let mut wrong = one.token.clone();
    wrong.pop();
    for text in [wrong.as_str(), "", "psg_", &one.token[4..], &format!("{}x", one.token), &one.sha256, "psg_ééé"] {
        assert!(table.find(text).is_none(), "{text}");
    }
    let swapped = format!("psg_{}{}", one.id, &other.token[12..]);
    assert!(table.find(&swapped).is_none(), "the secret of another token");
}

#[test]
fn token_file_faults_show_no_value() {
    let token = NewToken::new([1; 8], [7; 32]);
    let good = entry(&token, "");
    let secret = &token.token;
    for (text, expected) in [
        ("nothing", "is not valid YAML"),
        ("other: []", "has no list `tokens`"),
        ("tokens: 5", "has no list `tokens`"),
        ("tokens: [", "is not valid YAML"),
        (&format!("tokens:\n  - {secret}\n"), "tokens[0]: must be a map with id, sha256 and principal"),
        (&format!("tokens:\n{good}{good}"), "tokens[1].id: is used twice"),
        (
            &format!("tokens:\n  - {{ id: {secret}, sha256: aa, principal: p }}\n"),
            "tokens[0].id: must be the 8 characters after `psg_` of the token, in quotes",
        ),
        (
            &format!("tokens:\n  - {{ id: {}, sha256: {secret}, principal: p }}\n", token.id),
            "tokens[0].sha256: must be the SHA-256 of the whole token as 64 hexadecimal digits",
        ),
        (&format!("tokens:\n{}", entry(&token, ", until: x")), "tokens[0].until: unknown key"),
        (
            &format!("tokens:\n{}", entry(&token, ", not_after: tomorrow")),
            "tokens[0].not_after: must be a time such as 2027-02-28T00:00:00Z",
        ),
    ] {
        let (_, faults) = load(text);
        assert_eq!(faults, [expected], "{text}");
        assert!(!faults[0].contains(&secret[12..]), "{faults:?}");
    }
}

#[test]
fn new_tokens_have_form_and_differ() {
    for byte in 0..=u8::MAX {
        let id = NewToken::new([byte; 8], [0; 32]).id;
        assert!(id.starts_with(|first: char| first.is_ascii_lowercase()), "no number in YAML: {id}");
    }
    let (one, other) = (NewToken::new([0; 8], [0; 32]), NewToken::new([0; 8], [1; 32]));
    assert_eq!((one.id.as_str(), one.token.len()), ("aaaaaaaa", 4 + 8 + 1 + 43));
    assert_ne!(one.sha256, other.sha256);
    assert_eq!(id(&one.token), Some("aaaaaaaa"));
}
