//! `rules check` as a process: files, exit codes, formats, and the examples of the documentation.

use std::path::Path;
use std::process::{Command, Output};

const BIN: &str = env!("CARGO_BIN_EXE_powerstream-gateway");

fn check(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(BIN);
    command.args(["rules", "check"]).args(args).current_dir(dir).env_clear();
    command.output().expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn dir_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("created");
        std::fs::write(path, text).expect("written");
    }
    dir
}

#[test]
fn exit_code_is_that_of_findings() {
    let dir = dir_with(&[
        ("good.yaml", "- {name: a, value: cat lang:en}\n"),
        ("x.json", "{\"rules\": [{\"value\": \"dog -is:retweet\", \"tag\": \"dogs\"}]}"),
        ("broad.yaml", "- {name: b, value: 'has:images lang:en'}\n"),
        ("wrong.yaml", "- {name: c, value: cat or dog}\n"),
        ("twice.yaml", "- {name: d, value: lang:EN cat}\n"),
        ("broken.yaml", "- value: from: ada\n"),
    ]);
    for (args, expected, words) in [
        (&["good.yaml", "x.json"][..], 0, "2 rules in 2 files: 0 errors, 0 warnings"),
        (&["broad.yaml"], 1, "1 rule in 1 file: 0 errors, 1 warning"),
        (&["--severity", "error", "broad.yaml"], 0, "0 errors, 0 warnings"),
        (&["wrong.yaml"], 1, "1 error"),
        (&["good.yaml", "twice.yaml"], 1, "1 warning"),
        (&["good.yaml", "broken.yaml"], 2, "error: broken.yaml: line 1: "),
        (&["missing.yaml"], 2, "error: missing.yaml: failed to read"),
        (&[], 2, "Usage"),
        (&["--format", "xml", "good.yaml"], 2, "possible values"),
    ] {
        let output = check(dir.path(), args);
        let status = text(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{args:?}: {status}");
        assert!(status.contains(words), "{args:?}: {status}");
    }
}

#[test]
fn each_format_has_all_findings() {
    let dir =
        dir_with(&[("rules/pets.yaml", "- name: pet-monitor\n  value: fish AND bird\n- {name: x, value: '#cat'}\n")]);
    let run = |format: &str| text(&check(dir.path(), &["--format", format, "rules/pets.yaml"]).stdout);
    let expected = "rules/pets.yaml:2 pet-monitor: error AND_KEYWORD at 6: AND is a word here; a space already means AND\n    \
                    fish AND bird\n         ^^^\n    use: fish bird\n";
    assert!(run("text").starts_with(expected), "{}", run("text"));
    let json: serde_json::Value = serde_json::from_str(&run("json")).expect("JSON");
    let codes: Vec<_> =
        json["findings"].as_array().expect("a list").iter().map(|found| found["code"].clone()).collect();
    assert_eq!(codes, ["AND_KEYWORD", "OPERATOR_UNAVAILABLE"]);
    assert_eq!(json["findings"][0]["column"], 15);
    let github = run("github");
    assert_eq!(github.lines().count(), 2);
    assert!(github.starts_with("::error file=rules/pets.yaml,line=2,col=15,endColumn=17,"), "{github}");
    let sarif: serde_json::Value = serde_json::from_str(&run("sarif")).expect("JSON");
    assert_eq!(sarif["runs"][0]["results"].as_array().map(Vec::len), Some(2));
}

/// The blocks of the page and of the README do what they show.
#[test]
fn examples_of_documentation_are_true() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/rule-language.md")).expect("readable");
    let (_, block) = page.split_once("```yaml\n").expect("a block");
    let (file, _) = block.split_once("```").expect("its end");
    let dir = dir_with(&[("rules/a.yaml", file)]);
    let output = check(dir.path(), &["rules/a.yaml"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stdout));

    let readme = std::fs::read_to_string(root.join("README.md")).expect("readable");
    let (_, block) = readme.split_once("$ powerstream-gateway rules check rules/*.yaml\n").expect("an example");
    let (shown, _) = block.split_once("```").expect("its end");
    let dir = dir_with(&[("rules/pets.yaml", "- name: pet-monitor\n  value: fish AND bird\n")]);
    let output = check(dir.path(), &["rules/pets.yaml"]);
    assert_eq!(text(&output.stdout) + &text(&output.stderr), shown);
}

/// A commit that changes no rules is not checked; one that breaks a rule is refused.
#[test]
fn hook_refuses_broken_rules() {
    let hook = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/pre-commit/hook");
    let dir = dir_with(&[("rules/pets.yaml", "- {name: a, value: cat}\n")]);
    let bin = Path::new(BIN).parent().expect("a directory").display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap_or_default());
    let run = |program: &str, args: &[&str]| {
        let mut command = Command::new(program);
        command.args(args).current_dir(dir.path()).env("PATH", &path);
        command.output().map(|output| output.status.code())
    };
    let Ok(Some(0)) = run("git", &["init", "-q"]) else { return eprintln!("skipped: no git") };
    let hook = hook.display().to_string();
    let result = |value: &str| {
        let rule = format!("- {{name: a, value: {value}}}\n");
        std::fs::write(dir.path().join("rules/pets.yaml"), rule).expect("written");
        run("git", &["add", "rules"]).expect("git runs");
        run(&hook, &[]).expect("the hook runs")
    };
    assert_eq!(result("cat AND dog"), Some(1));
    assert_eq!(result("cat dog"), Some(0));
    run("git", &["rm", "-q", "-r", "--cached", "rules"]).expect("git runs");
    std::fs::write(dir.path().join("rules/pets.yaml"), "- {name: a, value: cat or dog}\n").expect("written");
    assert_eq!(run(&hook, &[]).expect("the hook runs"), Some(0), "nothing of it is committed");
}
