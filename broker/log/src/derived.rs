//! What a log derives from its batches and keeps in files of their own: leader epochs, producers.
//!
//! What the files say is taken as far as it fits the batches; the rest is gathered from them.

use std::io;
use std::path::Path;
use std::sync::Arc;

use millstream_env::{Disk, File, Rename};
use millstream_model::{LeaderEpoch, Offset};
use millstream_protocol::records::BatchHeader;

use crate::leader_epochs::LeaderEpochs;
use crate::listing::{Listing, remove_if_there};
use crate::opening_epochs::GatheredEpochs;
use crate::producer_state::ProducerState;
use crate::recovery::{Opening, Unsynced};
use crate::scan::Found;
use crate::{LogPlace, Noted, OpenError, names, producer_file};

impl Opening<'_> {
    /// Reads the epochs' file as far as it is about batches below `point`.
    pub(crate) fn load_epochs(&mut self, noted: Noted, point: Offset) {
        let path = self.place.directory.join(names::LEADER_EPOCHS);
        let read = read_small(&*self.place.disk, &path);
        let text = read
            .ok()
            .flatten()
            .and_then(|bytes| String::from_utf8(bytes).ok());
        let file = text.and_then(|text| LeaderEpochs::parse(&text));
        self.epochs.load(file.unwrap_or_default(), noted, point);
    }

    /// Checks that the epochs fit the batches before the recovery point and before the end, which is
    /// what an old or lost file does not, and do not begin after the log's start, which is what the
    /// file of a later start that was not noted does. Otherwise gathers them from all batches.
    pub(crate) fn check_epochs(&mut self, point: Offset, start: Offset) -> Result<(), OpenError> {
        if self.epochs.are_vouched_for {
            return Ok(());
        }
        let first = self.segments[0].base;
        let end = self.segments.last().expect("one was walked").end;
        let begins = self.epochs.known.start();
        let mut fits = begins.is_none_or(|begins| begins <= start.max(first));
        fits &= !self.epochs.is_contradicted;
        for end in [point, end] {
            fits &= end == first || self.is_epoch_right(end.plus(-1))?;
        }
        if fits {
            return Ok(());
        }
        self.recovery.epochs_rebuilt = true;
        let mut gathered = GatheredEpochs::from(first, self.epochs.leads_in);
        self.each_header_from(first, |header| {
            let epoch = LeaderEpoch(header.partition_leader_epoch);
            gathered.add(epoch, Offset(header.base_offset));
        })?;
        self.epochs.known = gathered.finish();
        self.unsynced = Unsynced::Names;
        Ok(())
    }

    fn is_epoch_right(&self, offset: Offset) -> Result<bool, OpenError> {
        let count = self
            .segments
            .partition_point(|segment| segment.base <= offset);
        let segment = &self.segments[count - 1];
        let found = segment.find(self.place, &self.config, offset)?;
        let epoch = found.map(|found| LeaderEpoch(found.header.partition_leader_epoch));
        Ok(epoch.is_some() && epoch == self.epochs.known.of(offset))
    }

    /// Walks the headers of all batches from an offset on.
    fn each_header_from(
        &self,
        from: Offset,
        mut visit: impl FnMut(&BatchHeader),
    ) -> Result<(), OpenError> {
        for segment in &self.segments {
            if segment.end <= from || segment.size == 0 {
                continue;
            }
            let file = segment.file(self.place).map_err(|error| self.io(error))?;
            let mut scan = segment.scan_from_floor(self.place, &self.config, &*file, from)?;
            loop {
                let position = scan.position();
                match scan.next().map_err(|error| self.io(error))? {
                    Found::Batch(header) if header.base_offset >= from.0 => visit(&header),
                    Found::Batch(_) => {}
                    Found::End => break,
                    Found::Invalid(what) => {
                        return Err(self.damaged(segment.log_path(self.place), position, what));
                    }
                }
            }
        }
        Ok(())
    }

    /// Loads the newest checkpoint of the producers that is about this log, and adds the batches
    /// after it. Those about a longer log than there is are removed, and snapshots for Kafka's tools that
    /// were written at `point` or later and are torn: the flush that moved it there may not have had them.
    pub(crate) fn load_producers(
        &mut self,
        listing: &Listing,
        point: Offset,
        end: Offset,
    ) -> Result<(ProducerState, Vec<Offset>), OpenError> {
        let mut kept = Vec::new();
        let mut loaded = None;
        for offset in &listing.producers {
            let path = names::offset_file(&self.place.directory, *offset, names::PRODUCERS);
            let read = read_small(&*self.place.disk, &path).map_err(|error| self.io(error))?;
            let parsed = read.and_then(|bytes| producer_file::parse(&bytes));
            match parsed {
                Some((state, counted)) if counted == *offset && counted <= end => {
                    kept.push(*offset);
                    loaded = Some((state, counted));
                }
                _ => {
                    self.unsynced = Unsynced::Names;
                    self.place
                        .disk
                        .remove_file(&path)
                        .map_err(|error| self.io(error))?;
                }
            }
        }
        for offset in listing.snapshots.iter().filter(|offset| **offset >= point) {
            let path = names::offset_file(&self.place.directory, *offset, names::SNAPSHOT);
            let read = read_small(&*self.place.disk, &path).map_err(|error| self.io(error))?;
            let is_whole = read.is_some_and(|bytes| producer_file::is_whole_snapshot(&bytes));
            if *offset > end || !is_whole {
                // If its name came back, nobody would look at it again.
                self.unsynced = Unsynced::Names;
                remove_if_there(self.place, &path).map_err(|error| self.io(error))?;
            }
        }
        let first = self.segments.first().expect("one was made or found").base;
        self.recovery.producers_rebuilt = loaded.is_none() && first < end;
        let (mut state, counted) = loaded.unwrap_or((ProducerState::default(), first));
        if counted < end {
            self.each_header_from(counted, |header| state.apply(header, self.now))?;
        }
        state.expire(self.now, self.config.producer_expiration);
        Ok((state, kept))
    }
}

/// Writes the epochs' file anew, under another name, and answers how to replace the old one once its bytes
/// are synced. That may be when the log is deleted and another has its place, so the name is this log's.
pub(crate) fn write_epochs(
    place: &LogPlace,
    epochs: &LeaderEpochs,
) -> io::Result<(Arc<dyn File>, Rename)> {
    let to = place.directory.join(names::LEADER_EPOCHS);
    let from = to.with_extension(format!("{}.{}", place.topic_id, names::TEMPORARY));
    let file = place.disk.open(&from, true)?;
    file.truncate(0)?;
    file.write_all_at(epochs.to_text().as_bytes(), 0)?;
    Ok((file, Rename { from, to }))
}

/// Reads a whole small file. `None` when there is none, or it is far too large to be one.
pub(crate) fn read_small(disk: &dyn Disk, path: &Path) -> io::Result<Option<Vec<u8>>> {
    const BYTES_MAX: u64 = 64 << 20;
    let file = match disk.open(path, false) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.length()?;
    if length > BYTES_MAX {
        return Ok(None);
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Some(bytes))
}
