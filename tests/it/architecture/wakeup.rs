//! What `tests/wakeup-model` mirrors of the tree, since it cannot include the source itself.

use super::files;

/// The body of the function with this name, from its signature on.
fn function<'a>(text: &'a str, name: &str) -> &'a str {
    let start = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("fn {name} is there"));
    let indent = text[..start].rsplit('\n').next().map_or(0, |line| line.len() - line.trim_start().len());
    let end = format!("\n{}}}\n", " ".repeat(indent));
    &text[start..start + text[start..].find(&end).expect("the function ends")]
}

/// True if these calls are in the text, each once and in this order.
fn has_steps(text: &str, steps: &[&str]) -> bool {
    let places: Vec<_> = steps.iter().map(|step| text.find(step)).collect();
    places.is_sorted() && places.iter().all(Option::is_some) && steps.iter().all(|step| text.matches(step).count() == 1)
}

fn read(path: &str) -> String {
    files(&[path]).pop().expect("the file is there").1
}

#[test]
fn wakeup_model_mirrors_order_of_hub() {
    let check = |path: &str, name: &str, steps: &[&str]| {
        let text = read(path);
        let mirrors = has_steps(function(&text, name), steps);
        assert!(
            mirrors,
            "{path}: {name} has no longer the steps {steps:?}: change src/hub.rs of tests/wakeup-model too"
        );
    };
    check(
        "server/hub/core.rs",
        "publish_live",
        &["self.ring.push(", "self.next.store(next, Ordering::Release)", ".notify("],
    );
    check("tests/wakeup-model/src/hub.rs", "publish", &["self.next.store(", ".notify("]);
    let waits = [".park(", "self.wait(None)", ".unpark(", "self.advance_unmatched("];
    check("server/hub/session/waiting.rs", "wait_for_records", &waits);
    check("tests/wakeup-model/src/hub.rs", "wait", &[".park(", "*cursor, || hub.next()", ".unpark(", "*cursor = to"]);
    check("server/hub/core.rs", "next", &["self.next.load(Ordering::Acquire)"]);
}

#[test]
fn wakeup_model_has_same_tags_function() {
    let (original, model) = (read("server/model/post.rs"), read("tests/wakeup-model/src/model/post.rs"));
    let original = &original[original.find("\npub fn tags(").expect("it is there")..];
    assert_eq!(function(original, "tags"), function(&model, "tags"));
}

#[test]
fn steps_out_of_order_are_found() {
    let text = "impl A {\n    fn f(&self) {\n        self.b();\n        self.a();\n    }\n\n    fn g(&self) {\n        self.c();\n    }\n}\n";
    assert!(has_steps(function(text, "f"), &["self.b()", "self.a()"]));
    assert!(!has_steps(function(text, "f"), &["self.a()", "self.b()"]));
    assert!(!has_steps(function(text, "f"), &["self.a()", "self.c()"]));
}
