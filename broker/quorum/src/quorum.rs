//! The quorum of one: its log, its snapshots, its terms.
//!
//! ```text
//! Quorum::open ──► reads and checks everything, changes nothing ──► Loaded
//!      │
//!      └─ lead() ──► cuts the torn tail, removes leftovers, writes the new term ──► propose(), snapshot()
//! ```
//!
//! Opening and leading are two steps so that whoever reads the entries can refuse them (a record of a
//! newer release, another cluster) before a byte on the disk is touched.
//!
//! A proposal is answered when it is synced. After a failed sync nobody knows what the disk holds:
//! the quorum closes for good, and the process must read the log again. A write that fails before its
//! sync (a full disk) is cut away and may be tried again.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_env::{Disk, File};

use crate::error::{OpenError, ProposeError, SnapshotError};
use crate::files::{self, LOG_HEADER_SIZE, Listing, SNAPSHOT_MAX, WriteWholeError};
use crate::frame::{self, FRAME_BODY_MAX};
use crate::reader::LogReader;
use crate::{Entry, Index, Term};

/// The entry that begins a term. It is the quorum's own; callers neither propose nor see it.
pub const TERM_ENTRY_TYPE: u16 = 0;

/// A log shorter than this is not worth a snapshot.
const SNAPSHOT_LOG_BYTES_MIN: u64 = 4 << 20;

/// What a log held when it was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Whether there was no log at all.
    pub is_new: bool,
    /// The last snapshot's payload.
    pub snapshot: Option<Bytes>,
    /// The entries after it.
    pub entries: Vec<Entry>,
    /// Bytes of an unfinished, unanswered write at the end, which [`Quorum::lead`] will cut away.
    pub torn_bytes: u64,
}

/// The metadata log of a quorum.
pub struct Quorum {
    disk: Arc<dyn Disk>,
    directory: PathBuf,
    state: State,
    log: Option<LogFile>,
    /// The index that the next entry gets.
    next_index: u64,
    /// The last term; the current one while leading.
    term: u64,
    /// The last index in the snapshot, 0 without one.
    snapshot_index: u64,
    snapshot_bytes: u64,
}

enum State {
    Opened,
    Leading,
    Failed { path: PathBuf, reason: String },
}

struct LogFile {
    file: Arc<dyn File>,
    path: PathBuf,
    first_index: u64,
    /// The term of the entry before the first.
    first_term: u64,
    /// Where the next frame goes.
    end: u64,
}

impl Quorum {
    /// Reads the log in `directory` (made of the metadata directory and
    /// [`crate::DIRECTORY_NAME`]) and checks all of it. Changes nothing on the disk.
    pub fn open(disk: Arc<dyn Disk>, directory: PathBuf) -> Result<(Quorum, Loaded), OpenError> {
        let io = |source| OpenError::io(&directory, source);
        let listing = files::list(&*disk, &directory).map_err(io)?;
        let snapshot = match listing.snapshots.last() {
            Some(&last_index) => Some(files::read_snapshot(&*disk, &directory, last_index)?),
            None => None,
        };
        let snapshot_index = snapshot.as_ref().map_or(0, |snapshot| snapshot.last_index);
        let mut quorum = Quorum {
            disk,
            directory,
            state: State::Opened,
            log: None,
            next_index: 1,
            term: 0,
            snapshot_index,
            snapshot_bytes: snapshot.as_ref().map_or(0, |s| s.payload.len() as u64),
        };
        let mut loaded = Loaded::default();
        match listing.logs.last() {
            Some(&first_index) => quorum.read_log(first_index, &mut loaded)?,
            None if snapshot.is_none() => loaded.is_new = true,
            None => {
                let path = files::log_path(&quorum.directory, snapshot_index + 1);
                let reason = "it is missing, but there is a snapshot";
                return Err(OpenError::damaged(&path, 0, reason));
            }
        }
        if let Some(snapshot) = snapshot {
            quorum.term = quorum.term.max(snapshot.term);
            loaded.snapshot = Some(snapshot.payload);
        }
        Ok((quorum, loaded))
    }

    fn read_log(&mut self, first_index: u64, loaded: &mut Loaded) -> Result<(), OpenError> {
        let path = files::log_path(&self.directory, first_index);
        if first_index == 0 || first_index > self.snapshot_index + 1 {
            let due = self.snapshot_index + 1;
            let reason = format!(
                "it begins at index {first_index}, but {due} is the first not in a snapshot"
            );
            return Err(OpenError::damaged(&path, 12, reason));
        }
        let io = |source| OpenError::io(&path, source);
        let file = self.disk.open(&path, false).map_err(io)?;
        // What a failed sync left in the page cache was never answered, and the disk does not have it.
        file.forget_cached(0).map_err(io)?;
        let first_term = files::read_log_header(&*file, &path, first_index)?;
        let mut reader = LogReader::new(&*file, &path, first_index, first_term)?;
        while let Some(entries) = reader.next()? {
            let new = entries.into_iter().filter(|entry| {
                entry.index.0 > self.snapshot_index && entry.type_ != TERM_ENTRY_TYPE
            });
            loaded.entries.extend(new);
        }
        let (end, next_index, term) = (reader.position, reader.next_index, reader.term);
        if next_index <= self.snapshot_index {
            let last = self.snapshot_index;
            let reason =
                format!("it ends before index {next_index}, but the snapshot contains {last}");
            return Err(OpenError::damaged(&path, end, reason));
        }
        loaded.torn_bytes = file.length().map_err(io)? - end;
        self.next_index = next_index;
        self.term = term;
        self.log = Some(LogFile {
            file,
            path,
            first_index,
            first_term,
            end,
        });
        Ok(())
    }

    /// Begins a new term, higher than every earlier one: from now on this node proposes. Creates the log
    /// where there is none.
    pub fn lead(&mut self) -> Result<Term, ProposeError> {
        self.check_not_failed()?;
        self.remove_leftovers()?;
        let mut log = match self.log.take() {
            Some(log) => log,
            None => self.create_log()?,
        };
        let cut = log.file.truncate(log.end);
        if let Err(source) = cut.and_then(|()| log.file.sync_data()) {
            return Err(self.fail(&log.path, source));
        }
        let records = [(TERM_ENTRY_TYPE, Bytes::new())];
        let frame = frame::encode(Index(self.next_index), Term(self.term + 1), &records);
        let appended = self.append(&mut log, &frame);
        self.log = Some(log);
        appended?;
        self.term += 1;
        self.next_index += 1;
        self.state = State::Leading;
        Ok(Term(self.term))
    }

    /// Appends records as one proposal: after a crash all are there, or none. Answers the index of the
    /// last one when all are on stable storage. *Bounds*: not empty; [`FRAME_BODY_MAX`] with six bytes
    /// for each record; no record of [`TERM_ENTRY_TYPE`].
    pub fn propose(&mut self, records: &[(u16, Bytes)]) -> Result<Index, ProposeError> {
        assert!(!records.is_empty(), "a proposal has records");
        assert!(records.iter().all(|(type_, _)| *type_ != TERM_ENTRY_TYPE));
        self.check_leading()?;
        let bytes = frame::body_length(records);
        if bytes > FRAME_BODY_MAX {
            let limit = FRAME_BODY_MAX;
            return Err(ProposeError::TooLarge { bytes, limit });
        }
        let frame = frame::encode(Index(self.next_index), Term(self.term), records);
        let mut log = self.log.take().expect("a leader has a log");
        let appended = self.append(&mut log, &frame);
        self.log = Some(log);
        appended?;
        self.next_index += records.len() as u64;
        Ok(self.last_index())
    }

    /// Stores the state after `last_index` and drops the log up to it. `last_index` is one that
    /// [`Quorum::propose`] answered, or [`Quorum::last_index`].
    pub fn snapshot(&mut self, payload: &[u8], last_index: Index) -> Result<(), SnapshotError> {
        self.check_leading()?;
        if payload.len() > SNAPSHOT_MAX {
            return Err(SnapshotError::TooLarge {
                bytes: payload.len(),
                limit: SNAPSHOT_MAX,
            });
        }
        let (term, rest) = self.read_rest(last_index)?;
        let old_snapshot = self.snapshot_index;
        let path = files::snapshot_path(&self.directory, last_index.0);
        let header = files::snapshot_header(last_index.0, term, payload);
        files::write_whole(&*self.disk, &path, &[&header, payload])
            .map_err(|error| refused(&path, error))?;
        // From here on the snapshot stands, whatever becomes of the log: both together are the state.
        self.snapshot_index = last_index.0;
        self.snapshot_bytes = payload.len() as u64;
        let old = self.replace_log(last_index.0 + 1, term, &rest)?;
        self.remove(&old.path);
        if old_snapshot != 0 && old_snapshot != last_index.0 {
            self.remove(&files::snapshot_path(&self.directory, old_snapshot));
        }
        Ok(())
    }

    /// Whether the log has outgrown the last snapshot so far that a new one is worth its cost.
    #[must_use]
    pub fn wants_snapshot(&self) -> bool {
        self.log_bytes() > SNAPSHOT_LOG_BYTES_MIN.max(2 * self.snapshot_bytes)
    }

    /// Bytes of the log after the last snapshot.
    #[must_use]
    pub fn log_bytes(&self) -> u64 {
        self.log
            .as_ref()
            .map_or(0, |log| log.end - LOG_HEADER_SIZE as u64)
    }

    /// The index of the last committed entry; 0 before the first.
    #[must_use]
    pub fn last_index(&self) -> Index {
        Index(self.next_index - 1)
    }

    /// The last term begun; 0 before the first.
    #[must_use]
    pub fn term(&self) -> Term {
        Term(self.term)
    }

    fn append(&mut self, log: &mut LogFile, frame: &Bytes) -> Result<(), ProposeError> {
        if let Err(source) = log.file.write_all_at(frame, log.end) {
            // What was written is whole or not, but nobody was told of it: take it back.
            return match log.file.truncate(log.end) {
                Ok(()) => Err(ProposeError::Refused {
                    path: log.path.clone(),
                    source,
                }),
                Err(error) => Err(self.fail(&log.path, error)),
            };
        }
        if let Err(source) = log.file.sync_data() {
            return Err(self.fail(&log.path, source));
        }
        log.end += frame.len() as u64;
        Ok(())
    }

    fn create_log(&mut self) -> Result<LogFile, ProposeError> {
        let directory = self.directory.clone();
        let refused = |source| ProposeError::Refused {
            path: directory.clone(),
            source,
        };
        self.disk.create_directory(&directory).map_err(refused)?;
        if let Some(parent) = directory.parent() {
            self.disk.sync_directory(parent).map_err(refused)?;
        }
        self.put_log(self.next_index, self.term, &[])
    }

    /// Puts a log in place that begins with `rest`, and opens it.
    fn put_log(&mut self, first: u64, term: u64, rest: &[u8]) -> Result<LogFile, ProposeError> {
        let path = files::log_path(&self.directory, first);
        let header = files::log_header(first, term);
        if let Err(error) = files::write_whole(&*self.disk, &path, &[&header, rest]) {
            // Where two logs may be in place, appending to the older one would be lost at the next start.
            return match error.is_in_place {
                true => Err(self.fail(&path, error.source)),
                false => Err(refused(&path, error)),
            };
        }
        let file = match self.disk.open(&path, false) {
            Ok(file) => file,
            Err(source) => return Err(self.fail(&path, source)),
        };
        Ok(LogFile {
            file,
            path,
            first_index: first,
            first_term: term,
            end: (LOG_HEADER_SIZE + rest.len()) as u64,
        })
    }

    /// Replaces the log by one that begins at `first`; answers the old one.
    fn replace_log(&mut self, first: u64, term: u64, rest: &[u8]) -> Result<LogFile, ProposeError> {
        let new = self.put_log(first, term, rest)?;
        Ok(self.log.replace(new).expect("a leader has a log"))
    }

    /// The term of the entry at `last_index`, and the frames after it as they stand in the log.
    fn read_rest(&self, last_index: Index) -> Result<(u64, Vec<u8>), SnapshotError> {
        let log = self.log.as_ref().expect("a leader has a log");
        let (file, path) = (&*log.file, &log.path);
        let not_a_boundary = SnapshotError::NotABoundary { index: last_index };
        if last_index.0 < log.first_index || last_index.0 >= self.next_index {
            return Err(not_a_boundary);
        }
        let mut reader = LogReader::new(file, path, log.first_index, log.first_term)?;
        while reader.next_index <= last_index.0 {
            if reader.next()?.is_none() {
                let reason = "what was synced does not check any more";
                return Err(OpenError::damaged(path, reader.position, reason).into());
            }
        }
        if reader.next_index != last_index.0 + 1 {
            return Err(not_a_boundary);
        }
        let mut rest = vec![0; (log.end - reader.position) as usize];
        file.read_exact_at(&mut rest, reader.position)
            .map_err(|source| OpenError::io(path, source))?;
        Ok((reader.term, rest))
    }

    /// Removes what a crash in the middle of a snapshot left behind. All of it is in newer files.
    fn remove_leftovers(&mut self) -> Result<(), ProposeError> {
        let listed = files::list(&*self.disk, &self.directory);
        let Listing {
            mut logs,
            mut snapshots,
            unfinished,
        } = listed.map_err(|source| ProposeError::Refused {
            path: self.directory.clone(),
            source,
        })?;
        logs.pop();
        snapshots.pop();
        for path in unfinished {
            self.remove(&path);
        }
        for first_index in logs {
            self.remove(&files::log_path(&self.directory, first_index));
        }
        for last_index in snapshots {
            self.remove(&files::snapshot_path(&self.directory, last_index));
        }
        Ok(())
    }

    /// Removes a file that nothing needs. Its staying harms nobody.
    fn remove(&self, path: &Path) {
        if let Err(error) = self.disk.remove_file(path) {
            tracing::warn!(path = %path.display(), %error, "old metadata file stays");
        }
    }

    fn check_not_failed(&self) -> Result<(), ProposeError> {
        match &self.state {
            State::Failed { path, reason } => Err(ProposeError::Failed {
                path: path.clone(),
                reason: reason.clone(),
            }),
            State::Opened | State::Leading => Ok(()),
        }
    }

    fn check_leading(&self) -> Result<(), ProposeError> {
        self.check_not_failed()?;
        match self.state {
            State::Leading => Ok(()),
            State::Opened | State::Failed { .. } => Err(ProposeError::NotLeader),
        }
    }

    fn fail(&mut self, path: &Path, source: std::io::Error) -> ProposeError {
        let (path, reason) = (path.to_path_buf(), source.to_string());
        tracing::error!(path = %path.display(), %reason, "metadata log failed");
        self.state = State::Failed {
            path: path.clone(),
            reason: reason.clone(),
        };
        ProposeError::Failed { path, reason }
    }
}

fn refused(path: &Path, error: WriteWholeError) -> ProposeError {
    ProposeError::Refused {
        path: path.to_path_buf(),
        source: error.source,
    }
}
