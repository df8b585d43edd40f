//! The packages of the libraries: installed in an empty project, whose program then prints what X sends.

use std::collections::HashSet;
use std::fs::File;
use std::process::{Child, Command, Output, Stdio};

use super::env::TAGS;
use super::language::{Language, examples};
use crate::harness::{TestEnv, eventually};

/// Posts that the program prints before it is compared with what X has sent.
const POSTS: usize = 50;

/// The program; killed when dropped.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub async fn installed_package_prints_posts(language: Language) {
    if !examples().join(language.name()).join("install.sh").is_file() {
        return language.skip("it has no package of its own");
    }
    let env = TestEnv::tuned(|x| x.rate = 100.0, super::env::tune).await;
    let project = env.dir().join("project");
    let mut install = Command::new(examples().join("install"));
    install.arg(language.name()).arg(&project).stdin(Stdio::null());
    let output = tokio::task::spawn_blocking(move || install.output()).await.expect("it does not panic");
    let Output { status, stderr, .. } = output.expect("bash is there");
    assert!(status.success(), "{}: {status}: {}", language.name(), String::from_utf8_lossy(&stderr));

    let printed = env.dir().join("printed");
    let mut program = Command::new(project.join("run"));
    program.env("GATEWAY", format!("http://{}", env.app().grpc_address())).env("CONSUMER", "installed");
    program.env("FILTER_TAGS", TAGS.join(",")).env("no_proxy", "127.0.0.1").current_dir(env.dir());
    for name in ["BEARER_FILE", "ACCOUNT"] {
        program.env_remove(name);
    }
    program.stdin(Stdio::null()).stdout(File::create(&printed).expect("the directory is ours"));
    let running = Program(program.spawn().expect("it is installed"));
    let lines = || {
        let text = std::fs::read_to_string(&printed).expect("it was created");
        text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned).collect::<Vec<_>>()
    };
    eventually(&format!("{}: posts are printed", language.name()), async || lines().len() >= POSTS).await;
    drop(running);

    // A program prints the payload, or the id and the tags.
    let sent: HashSet<String> = env
        .x
        .sent_posts()
        .into_iter()
        .flat_map(|post| [post.post_id.0.to_string(), String::from_utf8_lossy(&post.json).into_owned()])
        .collect();
    for line in lines() {
        let id = line.split(' ').next().unwrap_or_default();
        assert!(sent.contains(&line) || sent.contains(id), "{}: no post of X: {line}", language.name());
    }
}
