//! Files of the gateway's own that were damaged, replaced, or put there by another program. What is only state is recreated;
//! what posts depend on is refused, loudly and unchanged; and whatever a symlink names is left as it is.

use std::collections::BTreeMap;
use std::fs::{File, Permissions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use powerstream_gateway::clock::Clock;
use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::command::{Ended, gateway, run};
use super::compare;
use super::stage::Stage;
use crate::harness::process::Gateway;
use crate::harness::{Subscriber, TestEnv, earliest, filters, latest};

/// Posts in the log that is damaged.
const POSTS: usize = 40;
/// What a symlink names.
const PRECIOUS: &[u8] = b"precious, and only of its owner's business\n";
/// The longest time of a start, and until posts come.
const OUTCOME_MAX: Duration = Duration::from_secs(60);

/// A data directory, and a file outside of it.
struct Place {
    data: PathBuf,
    victim: PathBuf,
}

/// What comes of it.
enum Expected {
    Starts,
    /// Exit code 1, with this message.
    Refused(&'static str),
}

use Expected::{Refused, Starts};

type Case = (String, Box<dyn Fn(&Place)>, Expected);

fn case(name: impl Into<String>, damage: impl Fn(&Place) + 'static, expected: Expected) -> Case {
    (name.into(), Box::new(damage), expected)
}

impl Place {
    fn log(&self, name: &str) -> PathBuf {
        self.data.join("accounts").join("main").join(name)
    }

    fn key(&self) -> PathBuf {
        self.data.join("keys").join("token.key")
    }

    /// The segment that is appended to.
    fn segment(&self) -> PathBuf {
        let entries = std::fs::read_dir(self.log("")).expect("there is a log");
        let mut segments: Vec<_> = entries.map(|entry| entry.expect("it is ours").path()).collect();
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "raw"));
        segments.into_iter().max().expect("there is a segment")
    }
}

/// Removes whatever is there.
fn remove(path: &Path) {
    let removed =
        if path.is_dir() && !path.is_symlink() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) };
    drop(removed);
}

fn write(path: &Path, bytes: &[u8]) {
    remove(path);
    std::fs::write(path, bytes).expect("the directory is ours");
}

fn directory(path: &Path) {
    remove(path);
    std::fs::create_dir(path).expect("the directory is ours");
}

fn link(path: &Path, target: &Path) {
    remove(path);
    symlink(target, path).expect("the directory is ours");
}

fn fifo(path: &Path) {
    remove(path);
    mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).expect("the directory is ours");
}

/// State files: whatever is in them, they are recreated.
fn states() -> Vec<Case> {
    let mut cases = Vec::new();
    for name in ["gaps.json", "jobs.json", "times.json"] {
        let mut add = |what: &str, damage: Box<dyn Fn(&Path)>| {
            cases.push(case(format!("{name}: {what}"), move |place: &Place| damage(&place.log(name)), Starts));
        };
        add("empty", Box::new(|path| write(path, b"")));
        add("random bytes", Box::new(|path| write(path, &[0xa5; 4_096])));
        add("an object of nothing", Box::new(|path| write(path, b"{}")));
        add("10 MB of brackets", Box::new(|path| write(path, &[b'['; 10 << 20])));
        add("a version of 2^64", Box::new(|path| write(path, b"{\"version\":18446744073709551616}")));
        add("a directory", Box::new(directory));
        add(
            "unwritable",
            Box::new(|path| {
                write(path, b"{}");
                std::fs::set_permissions(path, Permissions::from_mode(0o400)).expect("it is ours");
            }),
        );
        for suffix in ["", ".tmp"] {
            let path = format!("{name}{suffix}");
            let damage = move |place: &Place| link(&place.log(&path), &place.victim);
            cases.push(case(format!("{name}{suffix}: a symlink"), damage, Starts));
        }
    }
    cases
}

/// The identity and the lock of a log, and the key of tokens.
fn identities() -> Vec<Case> {
    let identity = |what: &str, damage: fn(&Path), message| {
        case(format!("identity: {what}"), move |place: &Place| damage(&place.log("identity")), Refused(message))
    };
    let lock = |what: &str, damage: fn(&Path), expected| {
        case(format!("lock: {what}"), move |place: &Place| damage(&place.log("lock")), expected)
    };
    let key = |what: &str, damage: fn(&Path), expected| {
        case(format!("token.key: {what}"), move |place: &Place| damage(&place.key()), expected)
    };
    vec![
        identity("empty", |path| write(path, b""), "checksum"),
        identity("random bytes", |path| write(path, &[0xa5; 4_096]), "checksum"),
        identity("10 MB", |path| write(path, &[b'x'; 10 << 20]), "checksum"),
        identity("removed", remove, "no identity file"),
        identity("a directory", directory, "not a regular file"),
        identity("/dev/zero", |path| link(path, Path::new("/dev/zero")), "not a regular file"),
        lock("removed", remove, Starts),
        lock("a directory", directory, Refused("lock")),
        lock("a FIFO", fifo, Refused("lock")),
        case("lock: a symlink", |place| link(&place.log("lock"), &place.victim), Refused("lock")),
        key("empty", |path| write(path, b""), Refused("fewer than 32 bytes")),
        key("31 bytes", |path| write(path, &[b'k'; 31]), Refused("fewer than 32 bytes")),
        key("70 KB", |path| write(path, &[b'k'; 70_000]), Refused("more than 65536 bytes")),
        key("a directory", directory, Refused("not a regular file")),
        key("a FIFO", fifo, Refused("not a regular file")),
        key("/dev/zero", |path| link(path, Path::new("/dev/zero")), Refused("not a regular file")),
        key("removed", remove, Starts),
        case(
            "token.key: a symlink in the place of its next version",
            |place| {
                remove(&place.key());
                link(&place.key().with_extension("key.tmp"), &place.victim);
            },
            Starts,
        ),
    ]
}

/// Segments and directories.
fn logs() -> Vec<Case> {
    let segment = |what: &str, damage: fn(&Path)| {
        case(format!("segment: {what}"), move |place: &Place| damage(&place.segment()), Starts)
    };
    vec![
        segment("torn", |path| {
            let file = File::options().write(true).open(path).expect("it is there");
            file.set_len(file.metadata().expect("it is there").len() - 7).expect("it is ours");
        }),
        segment("arbitrary bytes behind it", |path| {
            let mut file = File::options().append(true).open(path).expect("it is there");
            file.write_all(&[0x5a; 5_000]).expect("it is ours");
        }),
        segment("a bit in the middle", |path| {
            let mut file = File::options().read(true).write(true).open(path).expect("it is there");
            let middle = SeekFrom::Start(file.metadata().expect("it is there").len() / 2);
            let mut byte = [0];
            file.seek(middle).and_then(|_| file.read_exact(&mut byte)).expect("it is there");
            file.seek(middle).and_then(|_| file.write_all(&[byte[0] ^ 1])).expect("it is ours");
        }),
        segment("an index of arbitrary bytes", |path| write(&path.with_extension("raw.idx"), b"arbitrary")),
        case("files of no log", |place| write(&place.log("README"), b"x"), Starts),
        case(
            "a symlink that is called like a temporary file",
            |place| link(&place.log("x.tmp"), &place.victim),
            Starts,
        ),
        case("ids that are a file", |place| write(&place.log("ids"), b"x"), Refused("ids")),
        case(
            "an account that is a file",
            |place| write(&place.data.join("accounts").join("main"), b"x"),
            Refused("main"),
        ),
        case("accounts that are a file", |place| write(&place.data.join("accounts"), b"x"), Refused("accounts")),
        case("keys that are a file", |place| write(&place.data.join("keys"), b"x"), Refused("key")),
        case("a data directory that is a file", |place| write(&place.data, b"x"), Refused("data")),
        case("a data directory that is a device", |place| link(&place.data, Path::new("/dev/null")), Refused("data")),
        case(
            "a data directory that is a symlink to nothing",
            |place| link(&place.data, Path::new("/nowhere/x")),
            Refused("data"),
        ),
        case(
            "a data directory that is a symlink",
            |place| {
                let moved = place.data.with_extension("moved");
                remove(&moved);
                std::fs::rename(&place.data, &moved).expect("it is ours");
                link(&place.data, &moved);
            },
            Starts,
        ),
        case(
            "directories with arbitrary names",
            |place| {
                for name in ["\u{1b}[31m", "..\u{202e}", "a\nb", "ready"] {
                    directory(&place.data.join("accounts").join(name));
                }
            },
            Starts,
        ),
    ]
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("the directory is ours");
    for entry in std::fs::read_dir(from).expect("it is there") {
        let path = entry.expect("it is ours").path();
        let target = to.join(path.file_name().expect("it has one"));
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).expect("it is ours");
        }
    }
}

/// All that is below a directory, with what is in it.
fn snapshot(path: &Path, found: &mut BTreeMap<PathBuf, Vec<u8>>) {
    let kind = std::fs::symlink_metadata(path);
    let content = match &kind {
        Ok(own) if own.is_file() => std::fs::read(path).expect("it is ours"),
        Ok(own) => format!("{:?}", own.file_type()).into_bytes(),
        Err(_) => return,
    };
    found.insert(path.to_owned(), content);
    if kind.is_ok_and(|own| own.is_dir()) {
        let entries = std::fs::read_dir(path).expect("it is ours");
        entries.for_each(|entry| snapshot(&entry.expect("it is ours").path(), found));
    }
}

fn below(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    snapshot(path, &mut found);
    found
}

/// The gateway starts, and a subscriber gets what is sent then.
async fn starts(env: &mut TestEnv) -> Result<(), String> {
    let mut gateway = Gateway::try_start(&env.settings, env.dir()).await?;
    let served = async {
        env.connected().await;
        let opened = Subscriber::open(&mut gateway.client().await, latest(&filters::all())).await;
        let mut session = opened.map_err(|status| status.to_string())?;
        let sent = env.post_mix(3);
        session.read_until(|own| own.got.len() >= sent.len()).await;
        let faults = compare(&sent, &session.got);
        if faults.is_empty() { Ok(()) } else { Err(format!("{faults:?} {:?}", session.end)) }
    };
    let served = Clock::system().timeout(OUTCOME_MAX, served).await.unwrap_or(Err("no post came".into()));
    gateway.terminate();
    let code = gateway.exited().await.code();
    env.left().await;
    served?;
    if code == Some(0) { Ok(()) } else { Err(format!("it ended with {code:?}")) }
}

/// The gateway refuses to start, and changes nothing.
async fn refused(env: &TestEnv, message: &str) -> Result<(), String> {
    let before = below(&env.settings.data_dir);
    std::fs::write(env.dir().join("gateway.yaml"), env.settings.render()).expect("the directory is ours");
    let ended: Ended = run(env.dir(), gateway(env.dir(), &["serve", "--config", "gateway.yaml"])).await?;
    ended.verify(1, message, &[crate::harness::env::BEARER])?;
    let (mut changed, after) = (Vec::new(), below(&env.settings.data_dir));
    changed.extend(before.iter().filter(|(path, bytes)| after.get(*path) != Some(bytes)).map(|(path, _)| path));
    if changed.is_empty() { Ok(()) } else { Err(format!("changed: {changed:?}")) }
}

async fn template(env: &mut TestEnv) -> PathBuf {
    let mut gateway = Gateway::start(&env.settings, env.dir()).await;
    env.connected().await;
    let mut session =
        Subscriber::open(&mut gateway.client().await, earliest(&filters::all())).await.expect("it begins");
    env.post_mix(POSTS);
    session.posts(POSTS).await;
    gateway.terminate();
    assert_eq!(gateway.exited().await.code(), Some(0));
    env.left().await;
    let template = env.dir().join("template");
    copy(&env.settings.data_dir, &template);
    template
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_files_are_replaced_or_refused() {
    let mut stage = Stage::open(|_| ()).await;
    let mut env = TestEnv::without_gateway(
        Clock::system(),
        |_| (),
        |settings| {
            // What earlier cases sent is not to come again.
            settings.ingest.recovery.enabled = false;
            (settings.ingest.gaps.backfill_minutes_max, settings.ingest.gaps.initial_backfill_minutes) = (0, 0);
        },
    );
    let template = template(&mut env).await;
    let place = Place { data: env.settings.data_dir.clone(), victim: env.dir().join("victim") };
    for (name, damage, expected) in [states(), identities(), logs()].into_iter().flatten() {
        remove(&place.data);
        copy(&template, &place.data);
        write(&place.victim, PRECIOUS);
        damage(&place);
        let attack = async {
            match expected {
                Starts => starts(&mut env).await?,
                Refused(message) => refused(&env, message).await?,
            }
            let kept = std::fs::read(&place.victim).is_ok_and(|bytes| bytes == PRECIOUS);
            if kept { Ok(()) } else { Err("what the symlink names was changed".into()) }
        };
        stage.play(&name, attack).await;
    }
    stage.end("files", 55).await;
}
