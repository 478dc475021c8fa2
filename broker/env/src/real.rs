//! The machine itself.

use std::fs::{self, File as StdFile, OpenOptions, TryLockError};
use std::io::{self, IoSlice, IoSliceMut};
use std::num::NonZeroU64;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Instant as StdInstant, SystemTime, UNIX_EPOCH};

use millstream_model::{Instant, WallTime};

use crate::volume::RealVolume;
use crate::waits;
use crate::{Clock, ColdRead, DirectoryEntry, Disk, File, Random, Space, Volume};

/// As large as the largest piece that the page cache keeps a file in (a huge page), or a multiple of it.
const CACHED_PIECE: u64 = 2 << 20;

/// The operating system's clocks.
pub struct RealClock {
    start: StdInstant,
}

impl Default for RealClock {
    fn default() -> Self {
        RealClock {
            start: StdInstant::now(),
        }
    }
}

impl Clock for RealClock {
    fn now(&self) -> Instant {
        let nanos = self.start.elapsed().as_nanos();
        Instant(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn wall_time(&self) -> WallTime {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        WallTime(since.map_or(0, |since| {
            i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
        }))
    }
}

/// The operating system's random numbers.
#[derive(Default)]
pub struct RealRandom;

impl Random for RealRandom {
    fn next_u64(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher, RandomState};
        // A new state is keyed from the operating system's randomness, then varied per call: two
        // rounds of keyed SipHash over nothing. Enough for ids; not for secrets.
        RandomState::new().build_hasher().finish()
    }
}

/// The machine's file systems.
#[derive(Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_directory(&self, path: &Path) -> io::Result<()> {
        fs::create_dir_all(path)
    }

    fn open(&self, path: &Path, create: bool) -> io::Result<Arc<dyn File>> {
        let mut options = OpenOptions::new();
        let file = options
            .read(true)
            .write(true)
            .create(create)
            .truncate(false)
            .open(path)?;
        Ok(crate::real::file(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn link(&self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            entries.push(DirectoryEntry {
                path: entry.path(),
                is_directory: entry.file_type()?.is_dir(),
            });
        }
        // By names: all else of these paths is the same.
        entries.sort_unstable_by(|a, b| a.path.as_os_str().cmp(b.path.as_os_str()));
        Ok(entries)
    }

    fn length(&self, path: &Path) -> io::Result<u64> {
        Ok(fs::metadata(path)?.len())
    }

    fn sync_directory(&self, path: &Path) -> io::Result<()> {
        StdFile::open(path)?.sync_all()
    }

    fn volume(&self, directory: &Path) -> io::Result<Arc<dyn Volume>> {
        Ok(Arc::new(RealVolume::open(directory)?))
    }

    fn space(&self, directory: &Path) -> io::Result<Space> {
        let found = rustix::fs::statvfs(directory)?;
        Ok(Space {
            free: found.f_bavail.saturating_mul(found.f_frsize),
            total: found.f_blocks.saturating_mul(found.f_frsize),
        })
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Send + Sync>> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Box::new(file)),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::WouldBlock.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// An opened file, which takes what it was opened for.
pub(crate) fn file(file: StdFile) -> Arc<dyn File> {
    let file = Arc::new(file);
    Arc::new(RealFile { file })
}

struct RealFile {
    file: Arc<StdFile>,
}

impl RealFile {
    /// Reads what the page cache holds. *Errors*: it does not hold all of it.
    fn read_cached_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let (rest, at) = (&mut buffer[filled..], position + filled as u64);
            let length = rest.len();
            let mut parts = [IoSliceMut::new(rest)];
            let nowait = rustix::io::ReadWriteFlags::NOWAIT;
            match rustix::io::preadv2(&self.file, &mut parts, at, nowait) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    let file = Arc::clone(&self.file);
                    return Err(waits::refuse(ColdRead::new(Some(file), at, length)));
                }
                // Not every file system knows the flag. There is no telling, so it waits.
                Err(rustix::io::Errno::OPNOTSUPP) => return self.read_from(buffer, position),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(filled)
    }

    fn read_from(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self
                .file
                .read_at(&mut buffer[filled..], position + filled as u64)
            {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

impl File for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        match waits::may_wait() {
            true => self.read_from(buffer, position),
            false => self.read_cached_at(buffer, position),
        }
    }

    fn read_once_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        // Without readahead, which would bring in what is not asked for.
        rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::Random)?;
        let mut parts = [IoSliceMut::new(buffer)];
        let cached = rustix::io::preadv2(
            &self.file,
            &mut parts,
            position,
            rustix::io::ReadWriteFlags::NOWAIT,
        );
        match cached {
            Ok(count) if count == buffer.len() => return Ok(count),
            // Not every file system knows the flag: it keeps what it reads.
            Err(rustix::io::Errno::OPNOTSUPP) => return self.read_at(buffer, position),
            _ => {}
        }
        let count = self.read_at(buffer, position)?;
        let read = NonZeroU64::new(count as u64);
        if read.is_some() {
            rustix::fs::fadvise(&self.file, position, read, rustix::fs::Advice::DontNeed)?;
        }
        Ok(count)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        loop {
            match rustix::io::pwritev(&self.file, parts, position) {
                Err(rustix::io::Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        self.file.set_len(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.file.sync_data()?;
        // The kernel keeps a piece that is only partly in the range.
        let start = position / CACHED_PIECE * CACHED_PIECE;
        rustix::fs::fadvise(&self.file, start, None, rustix::fs::Advice::DontNeed)?;
        Ok(())
    }
}
