//! Search of places for secrets, in each form in which a log or a file could show one.

use std::io::Read;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// Bytes around a find that are shown.
const EXCERPT: usize = 200;
/// Begin of a zstd frame.
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A secret, or a part of one.
pub struct Canary {
    /// Name, for messages.
    pub name: &'static str,
    bytes: Vec<u8>,
}

/// Everything that was found in a place.
pub struct Place {
    /// Name, for messages.
    pub name: &'static str,
    bytes: Vec<u8>,
}

impl Canary {
    /// A canary with this content.
    pub fn new(name: &'static str, bytes: impl AsRef<[u8]>) -> Self {
        let bytes = bytes.as_ref().to_vec();
        assert!(bytes.len() >= 12, "{name}: too short to be found by chance only");
        Self { name, bytes }
    }

    /// The canary as it is, escaped, in hexadecimal, in Base64, and as Rust prints bytes.
    pub fn forms(&self) -> Vec<Vec<u8>> {
        let hex: String = self.bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let list = format!("{:?}", self.bytes);
        vec![
            self.bytes.clone(),
            self.bytes.escape_ascii().to_string().into_bytes(),
            hex.to_uppercase().into_bytes(),
            hex.into_bytes(),
            STANDARD.encode(&self.bytes).into_bytes(),
            URL_SAFE_NO_PAD.encode(&self.bytes).into_bytes(),
            list.trim_matches(['[', ']']).as_bytes().to_vec(),
        ]
    }
}

impl Place {
    /// A place with this content.
    pub fn new(name: &'static str, content: impl AsRef<[u8]>) -> Self {
        Self { name, bytes: content.as_ref().to_vec() }
    }

    /// All files below a directory: their names, their bytes, and what is compressed in them.
    pub fn of_files(name: &'static str, dir: &Path) -> Self {
        let mut own = Self { name, bytes: Vec::new() };
        own.add_files(dir);
        own
    }

    fn add_files(&mut self, dir: &Path) {
        for entry in std::fs::read_dir(dir).expect("it is there") {
            let path = entry.expect("it is readable").path();
            self.bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
            if path.is_dir() {
                self.add_files(&path);
                continue;
            }
            let bytes = std::fs::read(&path).expect("it is readable");
            for at in memmem::find_iter(&bytes, &ZSTD) {
                let decoder = zstd::stream::read::Decoder::new(&bytes[at..]).map(|decoder| decoder.single_frame());
                // What only looks like a frame adds what can be read of it.
                let _ = decoder.and_then(|mut decoder| decoder.read_to_end(&mut self.bytes));
            }
            self.bytes.extend(bytes);
        }
    }

    /// Returns where the canary is shown, in any form.
    pub fn find(&self, canary: &Canary) -> Option<String> {
        let at = canary.forms().iter().find_map(|form| memmem::find(&self.bytes, form))?;
        let around = &self.bytes[at.saturating_sub(EXCERPT)..self.bytes.len().min(at + EXCERPT)];
        Some(format!("{} in {}: {}", canary.name, self.name, String::from_utf8_lossy(around)))
    }
}

/// A canary that is shown is found, whatever its form is.
#[test]
fn every_form_is_found() {
    let canary = Canary::new("key", [7, 0, 255, b'"', b'a', 11, 12, 13, 14, 15, 16, 17, 18]);
    for form in canary.forms() {
        let content = [b"before ", form.as_slice(), b" after"].concat();
        assert!(Place::new("log", &content).find(&canary).is_some(), "{}", form.escape_ascii());
        assert!(Place::new("log", &content[..content.len() - 9]).find(&canary).is_none(), "{}", form.escape_ascii());
    }
    let dir = tempfile::tempdir().expect("a directory");
    let compressed = zstd::bulk::compress(&"a secret that is compressed ".repeat(20).into_bytes(), 3).expect("memory");
    std::fs::create_dir(dir.path().join("below")).expect("ours");
    std::fs::write(dir.path().join("below/file"), [b"header".to_vec(), compressed].concat()).expect("ours");
    let place = Place::of_files("files", dir.path());
    assert!(place.find(&Canary::new("text", "secret that is compressed a")).is_some());
    assert!(place.find(&Canary::new("text", "secret that is not there")).is_none());
}
