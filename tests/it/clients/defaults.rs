//! Examples without the variables that configure them.

use super::example::Example;
use super::language::Language;
use crate::harness::eventually;

/// The gateway that an example looks for, in its message that there is none.
const GATEWAY: &str = "127.0.0.1:50051";

pub async fn unset_variables_have_defaults(language: Language) {
    let dir = tempfile::tempdir().expect("a directory");
    for name in ["print", "sqlite"] {
        let mut example = Example::named(language, dir.path(), name);
        if name == "sqlite" {
            // Empty is unset.
            for variable in ["GATEWAY", "BEARER_FILE", "ACCOUNT", "CONSUMER", "FILTER_TAGS", "DATABASE", "FAIL_ON"] {
                example = example.with_variable(variable, "");
            }
        }
        example.start();
        // A gateway may run on this machine.
        let finds = |text: String| text.contains(GATEWAY) || text.contains("session");
        example.until(&format!("{name} looks for a gateway at {GATEWAY}"), |life| finds(life.stderr())).await;
        example.kill().await;
    }
    let database = dir.path().join("posts.db");
    eventually(&format!("{}: its database has a default name", language.name()), async || database.is_file()).await;
}
