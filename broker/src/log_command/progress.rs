//! How far a long command is: one line on standard error that is written over, where that is a terminal.

use std::io::{self, IsTerminal, Write};
use std::time::{Duration, Instant};

/// Time between two lines.
const INTERVAL: Duration = Duration::from_millis(500);

/// What is told on the way.
pub(super) struct Progress {
    is_shown: bool,
    last: Instant,
    width: usize,
    bytes: u64,
}

impl Progress {
    pub(super) fn new() -> Progress {
        Progress {
            is_shown: io::stderr().is_terminal(),
            last: Instant::now(),
            width: 0,
            bytes: 0,
        }
    }

    /// So many more bytes of a partition are read.
    pub(super) fn add(&mut self, name: &str, number: usize, count: usize, bytes: u64) {
        self.bytes += bytes;
        if !self.is_shown || self.last.elapsed() < INTERVAL {
            return;
        }
        self.last = Instant::now();
        let read = self.bytes >> 20;
        self.line(&format!(
            "{name}: partition {number} of {count}, {read} MiB read"
        ));
    }

    /// What follows begins on an empty line.
    pub(super) fn clear(&mut self) {
        if self.width > 0 {
            self.line("");
            let _ = write!(io::stderr(), "\r");
        }
        self.width = 0;
    }

    fn line(&mut self, text: &str) {
        let width = self.width;
        let _ = write!(io::stderr(), "\r{text:width$}");
        self.width = text.len();
    }
}
