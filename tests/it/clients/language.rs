//! The languages, and how an example is built.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

/// What `client-examples/build` ends with where the toolchain is not installed.
const ABSENT: i32 = 77;

/// A language that there is an example in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    Go,
    Java,
    Node,
    Python,
    Rust,
}

/// The directory of the examples.
pub fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("client-examples")
}

impl Language {
    /// Its directory, and what `client-examples/run` calls it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::Java => "java",
            Self::Node => "node",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }

    /// Builds the example, once; `None` if it is to be skipped, which is reported.
    pub async fn built(self) -> Option<Self> {
        static BUILDS: [OnceLock<bool>; 5] = [const { OnceLock::new() }; 5];
        let building = move || *BUILDS[self as usize].get_or_init(|| self.build());
        let built = tokio::task::spawn_blocking(building).await;
        built
            .unwrap_or_else(|_| panic!("the example in {} is not built: see the first failure", self.name()))
            .then_some(self)
    }

    fn build(self) -> bool {
        let wanted = std::env::var("CLIENTS").unwrap_or_default();
        if wanted == "skip" {
            self.skip("CLIENTS=skip");
            return false;
        }
        let output = Command::new(examples().join("build")).arg(self.name()).stdin(Stdio::null()).output();
        let Output { status, stdout, stderr } = output.expect("bash is there");
        let [stdout, stderr] = [stdout, stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
        if status.code() == Some(ABSENT) && wanted != "required" {
            self.skip(stderr.trim());
            return false;
        }
        assert!(status.success(), "client-examples/build {} ended with {status}:\n{stdout}{stderr}", self.name());
        true
    }

    /// Not through the captured output of the test: it must be visible.
    pub fn skip(self, why: &str) {
        writeln!(std::io::stderr(), "SKIPPED: the example in {} is not tested: {why}", self.name()).ok();
    }
}

/// A library is released with the gateway of its version.
#[test]
fn library_versions_equal_gateway() {
    let version = env!("CARGO_PKG_VERSION");
    let check = |file: &str, line: &str| {
        let text = std::fs::read_to_string(examples().join(file)).expect("the library is there");
        assert!(text.lines().any(|found| found == line), "{file}: no line {line:?}");
    };
    check("go/doc.go", &format!("const Version = \"{version}\""));
    for pom in ["java/pom.xml", "java/proto/pom.xml", "java/consumer/pom.xml", "java/examples/pom.xml"] {
        // With this indentation: the version of the module itself, or of its parent.
        let indentation = if pom == "java/pom.xml" { "  " } else { "    " };
        check(pom, &format!("{indentation}<version>{version}</version>"));
    }
    check("java/README.md", &format!("  <version>{version}</version>"));
    check("node/package.json", &format!("  \"version\": \"{version}\","));
    check("node/package-lock.json", &format!("  \"version\": \"{version}\","));
    check("python/pyproject.toml", &format!("version = \"{version}\""));
    check("rust/Cargo.toml", &format!("version = \"{version}\""));
    let requirement = format!("powerstream-consumer = {{ path = \"..\", version = \"{version}\" }}");
    check("rust/examples/Cargo.toml", &requirement);
}

/// Code that a service has to write, without imports, comments and empty lines.
#[test]
fn print_examples_have_thirty_lines() {
    const LINES_MAX: usize = 30;
    let check = |file: &str| {
        let text = std::fs::read_to_string(examples().join(file)).expect("the example is there");
        let lines = code(&text);
        assert!((10..=LINES_MAX).contains(&lines.len()), "{file}: {} lines:\n{}", lines.len(), lines.join("\n"));
    };
    check("go/examples/print/main.go");
    check("java/examples/src/main/java/io/powerstream/gateway/example/Print.java");
    check("node/examples/print.ts");
    check("python/examples/print.py");
    check("rust/examples/print.rs");
}

fn code(text: &str) -> Vec<&str> {
    const NO_CODE: [&str; 7] = ["//", "# ", "\"\"\"", "import ", "from ", "use ", "package "];
    let mut lines = Vec::new();
    // What ends the comment or the list of imports that the line is in.
    let mut inside: Option<&str> = None;
    for line in text.lines() {
        let word = line.trim();
        if let Some(end) = inside {
            inside = Some(end).filter(|end| !word.ends_with(end));
        } else if word == "import (" {
            inside = Some(")");
        } else if word.starts_with("/*") {
            inside = Some("*/").filter(|end| !word.ends_with(end));
        } else if !word.is_empty() && !NO_CODE.iter().any(|head| word.starts_with(head)) {
            lines.push(line);
        }
    }
    lines
}

#[test]
fn code_is_without_imports_and_comments() {
    assert_eq!(code("// a\nimport (\n\t\"b\"\n)\n\nfunc main() {\n}\n"), ["func main() {", "}"]);
    assert_eq!(code("/** a\n * b */\n/* c */\nimport x;\nlet y;\n"), ["let y;"]);
    assert_eq!(code("\"\"\"a\"\"\"\nfrom b import c\n# d\ne()\n"), ["e()"]);
}
