//! `millstream-starts`: when the broker was started lately after it had not stopped by itself.
//!
//! In the directory of the metadata log, in the envelope of all our formats with magic `MSST` and version 1.
//! Its payload is always 130 bytes:
//!
//! | size | field |
//! | --- | --- |
//! | 1 | 1 from a start until the stop that belongs to it, else 0 |
//! | 1 | number of starts, 16 at most; then 16 times, in the order they happened: |
//! | 8 | the wall clock at the start, in milliseconds since 1970; 0 where there is none |
//!
//! It is written over itself: 146 bytes lie in one sector, and a full disk has room for them once they are
//! there. A file that is not whole is as good as none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use millstream_env::Disk;
use millstream_model::WallTime;

use crate::derived::read_small;
use crate::envelope::{self, Fields};

const MAGIC: [u8; 4] = *b"MSST";
const VERSION: u16 = 1;
const NAME: &str = "millstream-starts";
const STARTS_MAX: usize = 16;

/// Starts that followed a life without an end of its own: a crash, a kill, a power cut.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecentStarts {
    is_running: bool,
    unclean: Vec<WallTime>,
}

impl RecentStarts {
    /// So many can be told apart.
    pub const MAX: usize = STARTS_MAX;

    /// Reads what a directory knows.
    pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<RecentStarts> {
        let read = read_small(disk, &path_in(directory))?;
        let parsed = read.and_then(|bytes| RecentStarts::parse(&bytes));
        Ok(parsed.unwrap_or_default())
    }

    /// The same after a start at `now`, of those within `window` before it. Times after `now` do not
    /// count: the clock was set back.
    #[must_use]
    pub fn started(&self, now: WallTime, window: Duration) -> RecentStarts {
        let window = i64::try_from(window.as_millis()).unwrap_or(i64::MAX);
        let is_recent = |at: &WallTime| (0..window).contains(&now.0.saturating_sub(at.0));
        let mut unclean: Vec<_> = self.unclean.iter().copied().filter(is_recent).collect();
        if self.is_running {
            unclean.push(now);
        }
        let surplus = unclean.len().saturating_sub(STARTS_MAX);
        unclean.drain(..surplus);
        RecentStarts {
            is_running: true,
            unclean,
        }
    }

    /// How many they are.
    #[must_use]
    pub fn unclean(&self) -> usize {
        self.unclean.len()
    }

    /// Replaces what a directory knows, durably.
    pub fn write(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let path = path_in(directory);
        let is_new = disk.length(&path).is_err();
        let file = disk.open(&path, true)?;
        file.write_all_at(&self.to_bytes(), 0)?;
        file.sync_data()?;
        match is_new {
            true => disk.sync_directory(directory),
            false => Ok(()),
        }
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut payload = vec![u8::from(self.is_running), self.unclean.len() as u8];
        for place in 0..STARTS_MAX {
            let at = self.unclean.get(place).map_or(0, |at| at.0);
            payload.extend_from_slice(&at.to_be_bytes());
        }
        envelope::wrap(MAGIC, VERSION, &payload)
    }

    fn parse(bytes: &[u8]) -> Option<RecentStarts> {
        let (version, payload) = envelope::unwrap(MAGIC, bytes)?;
        if version != VERSION {
            return None;
        }
        let mut fields = Fields(payload);
        let is_running = fields.u8()? == 1;
        let count = usize::from(fields.u8()?);
        let mut unclean = Vec::with_capacity(STARTS_MAX);
        for _ in 0..STARTS_MAX {
            unclean.push(WallTime(fields.i64()?));
        }
        unclean.truncate(count);
        fields.0.is_empty().then_some(RecentStarts {
            is_running,
            unclean,
        })
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millstream_env::sim::{SimDisk, SimRandom};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    #[test]
    fn golden_bytes() {
        let starts = RecentStarts {
            is_running: true,
            unclean: vec![WallTime(0x1122), WallTime(0x3344)],
        };
        let bytes = starts.to_bytes();
        let hex: String = bytes[..34]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let golden = concat!(
            "4d535354",
            "0001",
            "0000",
            "00000082",
            "5ce308cf",
            "01",
            "02",
            "0000000000001122",
            "0000000000003344",
        );
        assert_eq!(hex, golden);
        assert_eq!(bytes.len(), 146);
        assert!(bytes[34..].iter().all(|byte| *byte == 0));
        assert_eq!(RecentStarts::parse(&bytes), Some(starts));
    }

    #[test]
    fn starts_after_a_life_without_an_end_count_for_a_while() {
        let mut starts = RecentStarts::default();
        for minute in 0..4 {
            starts = starts.started(WallTime(minute * 60_000), WINDOW);
            assert_eq!(starts.unclean(), minute as usize);
        }
        assert_eq!(starts.started(WallTime(10 * 60_000), WINDOW).unclean(), 4);
        assert_eq!(starts.started(WallTime(12 * 60_000), WINDOW).unclean(), 2);
        assert_eq!(starts.started(WallTime(30_000), WINDOW).unclean(), 1);
        for minute in 4..30 {
            starts = starts.started(WallTime(minute), Duration::MAX);
        }
        assert_eq!(starts.unclean(), RecentStarts::MAX);
    }

    #[test]
    fn a_torn_file_is_none_and_a_whole_one_is_read_back() {
        for seed in 0..100 {
            let (disk, random) = (SimDisk::default(), SimRandom::new(seed));
            let directory = Path::new("/data");
            disk.create_directory(directory).unwrap();
            disk.sync_directory(Path::new("/")).unwrap();
            let first = RecentStarts::default().started(WallTime(1), WINDOW);
            first.write(&disk, directory).unwrap();
            let second = first.started(WallTime(2), WINDOW);
            let file = disk.open(&path_in(directory), false).unwrap();
            file.write_all_at(&second.to_bytes(), 0).unwrap();
            disk.crash(&random);
            let found = RecentStarts::read(&disk, directory).unwrap();
            let expected = [first, second, RecentStarts::default()];
            assert!(expected.contains(&found), "seed {seed}: {found:?}");
        }
    }
}
