//! What a client program prints on its standard output: `ready`, how many events its slowest subscriber has, or what is
//! wrong.

use super::{Fault, Wire};

/// Lines of a client program.
#[derive(Default)]
pub struct Lines {
    line: Vec<u8>,
    ready: bool,
    events: u64,
}

impl Wire for Lines {
    fn take(&mut self, bytes: &[u8], _reply: &mut Vec<u8>) -> Result<u64, Fault> {
        let before = self.events;
        for byte in bytes {
            if *byte != b'\n' {
                self.line.push(*byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            self.line.clear();
            match line.trim() {
                "ready" => self.ready = true,
                count => match count.parse() {
                    Ok(events) => self.events = events,
                    Err(_) => return Err(format!("the client printed: {line}")),
                },
            }
        }
        Ok(self.events - before)
    }

    fn ready(&self) -> bool {
        self.ready
    }
}
