use super::*;
use crate::query::Severity;

fn found() -> Vec<Located> {
    let base = Located {
        file: "rules/pets.yaml".into(),
        line: 12,
        column: Some(15),
        end_column: Some(18),
        rule: "pet-monitor".into(),
        severity: Severity::Error,
        code: "AND_KEYWORD".into(),
        message: "AND is a word here".into(),
        advice: "a space already means AND".into(),
        place: Some(RulePlace { position: 6, end: 9, byte_start: 5, byte_end: 8 }),
        suggestion: Some("fish bird".into()),
        value: "fish AND bird".into(),
    };
    let of_set = Located {
        file: "rules/odd, name.yaml".into(),
        column: None,
        end_column: None,
        severity: Severity::Warning,
        code: "EQUIVALENT_RULES".into(),
        message: "100% the same".into(),
        place: None,
        suggestion: None,
        ..base.clone()
    };
    vec![base, of_set]
}

#[test]
fn text_form_is_fixed() {
    let text = render(ReportFormat::Text, &found()).expect("text");
    assert_eq!(
        text,
        "rules/pets.yaml:12 pet-monitor: error AND_KEYWORD at 6: AND is a word here; a space already means AND\n    \
         fish AND bird\n         ^^^\n    use: fish bird\n\
         rules/odd, name.yaml:12 pet-monitor: warning EQUIVALENT_RULES: 100% the same; a space already means AND\n"
    );
}

#[test]
fn github_commands_are_escaped() {
    let text = render(ReportFormat::Github, &found()).expect("text");
    assert_eq!(
        text,
        "::error file=rules/pets.yaml,line=12,col=15,endColumn=17,title=pet-monitor AND_KEYWORD::AND is a word here; a space \
         already means AND%0Ause: fish bird\n\
         ::warning file=rules/odd%2C name.yaml,line=12,title=pet-monitor EQUIVALENT_RULES::100%25 the same; a space already \
         means AND\n"
    );
}

#[test]
fn json_and_sarif_have_places() {
    let json: serde_json::Value =
        serde_json::from_str(&render(ReportFormat::Json, &found()).expect("text")).expect("JSON");
    let first = &json["findings"][0];
    assert_eq!((first["position"].as_u64(), first["byte_end"].as_u64()), (Some(6), Some(8)));
    assert_eq!(json["findings"][1].get("position"), None);
    let sarif: serde_json::Value =
        serde_json::from_str(&render(ReportFormat::Sarif, &found()).expect("text")).expect("JSON");
    let results = &sarif["runs"][0]["results"];
    let region = &results[0]["locations"][0]["physicalLocation"]["region"];
    assert_eq!((region["startColumn"].as_u64(), region["endColumn"].as_u64()), (Some(15), Some(18)));
    let uri = &results[1]["locations"][0]["physicalLocation"]["artifactLocation"]["uri"];
    assert_eq!(uri, "rules/odd%2C%20name.yaml");
    assert_eq!(sarif["runs"][0]["tool"]["driver"]["rules"].as_array().map(Vec::len), Some(2));
}
