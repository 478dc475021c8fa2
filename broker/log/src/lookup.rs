//! Finding records by their timestamps (ListOffsets).

use millstream_model::{Offset, WallTime};
use millstream_protocol::records::{BatchHeader, records_of};

use crate::scan::Found;
use crate::segment::{Located, Segment};
use crate::{Log, ReadError};

impl Log {
    /// The first record in offset order, from the log's start, whose timestamp is at least
    /// `timestamp`. `None` if there is none before `upper`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: WallTime,
        upper: Offset,
    ) -> Result<Option<(Offset, WallTime)>, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        let first = self.segments_before_start();
        for segment in &self.segments[first..] {
            let largest = segment.largest_timestamp(&self.place, &self.config)?;
            if largest.is_none_or(|(largest, _)| largest < timestamp) {
                continue;
            }
            let found = self.first_record_from(segment, timestamp)?;
            if let Some((offset, _)) = found {
                return Ok(found.filter(|_| offset < upper));
            }
        }
        Ok(None)
    }

    /// The record with the largest timestamp of the log, the first of them if several have it. It
    /// may be one before the log's start in the segment that holds the start (as in Kafka). `None` if it
    /// is not before `upper`, or no record has a timestamp.
    pub fn max_timestamp_record(
        &self,
        upper: Offset,
    ) -> Result<Option<(Offset, WallTime)>, ReadError> {
        if self.is_offline {
            return Err(ReadError::Offline);
        }
        let mut best: Option<(&Segment, WallTime, Offset)> = None;
        // Segments wholly before the start may have been damaged by half of their removal.
        let first = self.segments_before_start();
        for segment in &self.segments[first..] {
            let largest = segment.largest_timestamp(&self.place, &self.config)?;
            if let Some((timestamp, offset)) = largest
                && best.is_none_or(|(_, best, _)| timestamp > best)
            {
                best = Some((segment, timestamp, offset));
            }
        }
        let Some((segment, timestamp, offset)) = best else {
            return Ok(None);
        };
        let Some(found) = segment.find(&self.place, &self.config, offset)? else {
            return Ok(None);
        };
        let record = self.first_record_in(segment, &found, timestamp, Offset(i64::MIN))?;
        Ok(record.filter(|(offset, _)| *offset < upper))
    }

    /// Walks a segment for the first record from the log's start with at least this timestamp.
    fn first_record_from(
        &self,
        segment: &Segment,
        timestamp: WallTime,
    ) -> Result<Option<(Offset, WallTime)>, ReadError> {
        let floor = segment.floor_of_timestamp(&self.place, &self.config, timestamp)?;
        let floor = floor.max(self.log_start_offset);
        let file = segment
            .file(&self.place)
            .map_err(|error| self.io(segment, error))?;
        // A batch is passed over on the word of its header, which must be whole for that.
        let scan = segment.scan_from_floor(&self.place, &self.config, &*file, floor)?;
        let mut scan = scan.checking();
        loop {
            let position = scan.position();
            let found = scan.next().map_err(|error| self.io(segment, error))?;
            segment.check_blocks(&self.place, position..scan.position())?;
            match found {
                Found::End => return Ok(None),
                Found::Invalid(what) => return Err(self.damaged(segment, position, what)),
                Found::Batch(header) if is_candidate(&header, timestamp, floor) => {
                    let located = Located { position, header };
                    let start = self.log_start_offset;
                    let record = self.first_record_in(segment, &located, timestamp, start)?;
                    if record.is_some() {
                        return Ok(record);
                    }
                }
                Found::Batch(_) => {}
            }
        }
    }

    /// The first record of a batch, from offset `start`, with at least this timestamp.
    fn first_record_in(
        &self,
        segment: &Segment,
        batch: &Located,
        timestamp: WallTime,
        start: Offset,
    ) -> Result<Option<(Offset, WallTime)>, ReadError> {
        let bytes = self.whole_batch(segment, batch)?;
        let damaged = |error: millstream_protocol::records::BatchError| {
            self.damaged(segment, batch.position, error.to_string())
        };
        let records = records_of(&batch.header, &bytes).map_err(damaged)?;
        for record in records.iter() {
            let record = record.map_err(damaged)?;
            if record.timestamp >= timestamp.0 && record.offset >= start.0 {
                return Ok(Some((Offset(record.offset), WallTime(record.timestamp))));
            }
        }
        Ok(None)
    }
}

fn is_candidate(header: &BatchHeader, timestamp: WallTime, floor: Offset) -> bool {
    header.max_timestamp >= timestamp.0 && header.last_offset() >= floor.0
}
