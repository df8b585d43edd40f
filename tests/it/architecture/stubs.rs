//! The committed stubs in Go follow `proto/`. CI generates them again and compares; this finds a forgotten
//! `client-examples/go/generate.sh` with cargo alone.

use std::collections::BTreeSet;

use super::files;

/// Name and number of each field and value, and each comment, of an interface in proto.
fn of_proto(text: &str) -> BTreeSet<String> {
    let body = text.split_once("\npackage ").map_or(text, |(_, body)| body);
    body.lines().filter_map(|line| comment(line).or_else(|| member(line))).collect()
}

fn comment(line: &str) -> Option<String> {
    line.trim().strip_prefix("// ").map(|text| format!("comment {text:?}"))
}

/// `string account = 1;`, `repeated Gap gaps = 2 [deprecated = true];` or `KIND_OTHER = 0;`
fn member(line: &str) -> Option<String> {
    let (declared, rest) = line.trim().split_once(" = ")?;
    let number: u32 = rest.split([';', ' ']).next()?.parse().ok()?;
    Some(format!("{} = {number}", declared.rsplit(' ').next()?))
}

/// The same, of stubs: fields by their tags, values by their constants.
fn of_stubs(text: &str) -> BTreeSet<String> {
    text.lines().flat_map(|line| [comment(line), field(line), value(line)]).flatten().collect()
}

/// `Account string `protobuf:"bytes,1,opt,name=account,proto3" ...``
fn field(line: &str) -> Option<String> {
    let tag = line.split_once("protobuf:\"")?.1.split('"').next()?;
    let name = tag.split(',').find_map(|part| part.strip_prefix("name="))?;
    Some(format!("{name} = {}", tag.split(',').nth(1)?))
}

/// `Phase_PHASE_LIVE Phase = 2`
fn value(line: &str) -> Option<String> {
    let (declared, number) = line.trim().split_once(" = ")?;
    let number: u32 = number.parse().ok()?;
    let (enumeration, name) = declared.split(' ').next()?.split_once('_')?;
    (declared.split(' ').nth(1)? == enumeration).then(|| format!("{name} = {number}"))
}

/// Members and comments that are not in the stubs.
fn missing(proto: &str, stubs: &str) -> Vec<String> {
    of_proto(proto).difference(&of_stubs(stubs)).cloned().collect()
}

#[test]
fn go_stubs_follow_proto() {
    let stubs = files(&["client-examples/go/gen/powerstream/gateway/v1"]);
    let all: String = stubs.iter().map(|(_, text)| text.as_str()).collect();
    let mut compared = 0;
    for (path, text) in files(&["proto/powerstream/gateway/v1"]) {
        let name = path.rsplit('/').next().expect("a path has a name").replace(".proto", ".pb.go");
        if !stubs.iter().any(|(path, _)| path.ends_with(&format!("/{name}"))) {
            continue;
        }
        compared += 1;
        let missing = missing(&text, &all);
        assert!(missing.is_empty(), "run client-examples/go/generate.sh: the stubs have not, of {path}: {missing:#?}");
    }
    assert_eq!(compared, 4, "interfaces that have stubs");
}

#[test]
fn stubs_without_member_are_found() {
    let proto = "\npackage a;\n\nmessage M {\n  // About x.\n  string x = 1;\n}\nenum E {\n  E_A = 0;\n}\n";
    let stubs = "// About x.\n\tX string `protobuf:\"bytes,1,opt,name=x,proto3\"`\n\tE_E_A E = 0\n";
    assert!(missing(proto, stubs).is_empty());
    for (changed, expected) in [
        (proto.replace("About x", "About y"), "comment \"About y.\""),
        (proto.replace("x = 1", "x = 2"), "x = 2"),
        (proto.replace("E_A = 0", "E_B = 0"), "E_B = 0"),
    ] {
        assert_eq!(missing(&changed, stubs), [expected]);
    }
}
