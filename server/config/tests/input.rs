//! Input that cannot be read as a configuration.

use super::*;

#[test]
fn unreadable_file_is_reported() {
    let missing = load(Some(Path::new("/nowhere/config.yaml")), &[], std::iter::empty());
    check(missing, &[("/nowhere/config.yaml", "cannot be read: No such file")]);
    check(load(Some(Path::new("config.ini")), &[], std::iter::empty()), &[("config.ini", "must end in .yaml")]);
    check(load(None, &[], std::iter::empty()), &[("accounts", "name it with --config")]);
    for (extension, text, word) in [
        ("yaml", "a: [1, 2", "line"),
        ("yaml", "journal: {}\njournal: {}", "duplicated key"),
        ("yaml", "- a\n- b", "map"),
        ("yaml", "a: 1\n---\nb: 2", "2 YAML documents"),
        ("toml", "a = ", "line 1"),
        ("toml", "clock.rate = nan", "clock.rate: this must be a number, not a text"),
        ("toml", "[journal]\n[journal]\n", "duplicate"),
    ] {
        let faults = load_text(extension, text, &[], &[]).expect_err("refused").to_string();
        assert!(faults.contains(word), "{word} in {faults}");
    }
    let long = format!("{MINIMAL}{}", "#\n".repeat(1 << 19));
    assert!(yaml(&long).expect_err("refused").to_string().contains("longer than"));
}

#[test]
fn many_faults_are_found_in_time() {
    let accounts: String = (0..999).map(|n| format!("  - {{ name: a{n}, bearer: {{ env: X{n} }} }}\n")).collect();
    assert_eq!(yaml(&format!("accounts:\n{accounts}")).expect("good").accounts.len(), 999);
    let unknown: String = (0..20_000).map(|n| format!("k{n}: x\n")).collect();
    let files = format!("token_key_files: [{}]\n", "a, ".repeat(40_000));
    let empty = format!("accounts: [{}]\n", "{}, ".repeat(20_000));
    for text in [unknown, files, empty] {
        let faults = yaml(&text).expect_err("refused");
        assert!(faults.all().len() <= error::FAULTS_MAX + 1, "{}", faults.all().len());
    }
}
