//! What compaction leaves of one batch.
//!
//! A record stays if it lies behind what the map knows; else it goes if it has no key, if the map has a
//! later offset of its key, or if it is a tombstone whose time is over. A tombstone's time begins with
//! the first pass that keeps it: the batch gets a delete horizon then (KIP-534), so that whoever reads
//! the log from its start has `delete.retention.ms` to come by. By then that pass has taken out what the
//! tombstone is about, for segments are compacted from the oldest on.

use millstream_model::{Offset, WallTime};
use millstream_protocol::records::{
    BatchError, BatchHeader, Record, records_of, retain_records, without_records,
};

use super::offset_map::OffsetMap;

/// What is known when a batch is looked at.
pub(crate) struct BatchCleaner<'a> {
    pub map: &'a OffsetMap,
    /// Records from here on are not in the map.
    pub map_end: Offset,
    pub now: WallTime,
    /// `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// What is left of it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum CleanedBatch {
    /// All of it, byte for byte.
    Unchanged,
    /// This.
    Changed(Vec<u8>),
    /// Nothing.
    Gone,
}

impl BatchCleaner<'_> {
    /// Looks at a whole batch whose checksum is right. One that `must_stay` is left without records
    /// rather than taken out.
    pub(crate) fn clean(
        &self,
        header: &BatchHeader,
        batch: &[u8],
        must_stay: bool,
    ) -> Result<CleanedBatch, BatchError> {
        // Markers of transactions have keys that are not for the map.
        if header.is_control() || header.base_offset >= self.map_end.0 {
            return Ok(CleanedBatch::Unchanged);
        }
        if header.record_count == 0 {
            return Ok(match must_stay {
                true => CleanedBatch::Unchanged,
                false => CleanedBatch::Gone,
            });
        }
        let records = records_of(header, batch)?;
        let tombstones_go = header.has_delete_horizon() && self.now.0 >= header.base_timestamp;
        let mut keeps = Vec::new();
        let mut count = 0;
        let mut has_tombstone = false;
        for record in &records {
            let record = record?;
            let is_kept = self.keeps(&record, tombstones_go);
            keeps.push(is_kept);
            count += usize::from(is_kept);
            let is_tombstone = record.value.is_none() && record.offset < self.map_end.0;
            has_tombstone |= is_kept && is_tombstone;
        }
        let needs_horizon = has_tombstone && !header.has_delete_horizon();
        if count == keeps.len() && !needs_horizon {
            return Ok(CleanedBatch::Unchanged);
        }
        if count == 0 {
            return Ok(match must_stay {
                true => CleanedBatch::Changed(without_records(header)),
                false => CleanedBatch::Gone,
            });
        }
        let horizon = self.now.0.saturating_add(self.delete_retention_ms);
        let batch = retain_records(&records, &keeps, needs_horizon.then_some(horizon))?;
        Ok(CleanedBatch::Changed(batch))
    }

    fn keeps(&self, record: &Record<'_>, tombstones_go: bool) -> bool {
        if record.offset >= self.map_end.0 {
            return true;
        }
        let Some(key) = record.key else {
            return false;
        };
        let is_last = self.map.get(key).is_none_or(|last| last.0 <= record.offset);
        is_last && (record.value.is_some() || !tombstones_go)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millstream_protocol::records::{BatchBuilder, Codec};

    use super::*;

    type Plain = Option<&'static [u8]>;

    const RECORDS: [(Plain, Plain); 5] = [
        (Some(b"a"), Some(b"1")),
        (Some(b"a"), Some(b"2")),
        (None, Some(b"3")),
        (Some(b"b"), None),
        (Some(b"c"), Some(b"4")),
    ];

    fn offsets(batch: &[u8]) -> Vec<i64> {
        let header = BatchHeader::read(batch).unwrap();
        let records = records_of(&header, batch).unwrap();
        records
            .iter()
            .map(|record| record.unwrap().offset)
            .collect()
    }

    /// The offsets that a pass at `now` leaves, with the map's end at `map_end`.
    fn pass(batch: &[u8], map_end: i64, now: i64) -> (Vec<u8>, Vec<i64>) {
        let mut map = OffsetMap::new(4096, [3, 4]);
        for (offset, (key, _)) in RECORDS.iter().enumerate() {
            if let Some(key) = key
                && (offset as i64) < map_end
            {
                assert!(map.put(key, Offset(offset as i64)));
            }
        }
        let cleaner = BatchCleaner {
            map: &map,
            map_end: Offset(map_end),
            now: WallTime(now),
            delete_retention_ms: 100,
        };
        let header = BatchHeader::read(batch).unwrap();
        let left = match cleaner.clean(&header, batch, false).unwrap() {
            CleanedBatch::Unchanged => batch.to_vec(),
            CleanedBatch::Changed(left) => left,
            CleanedBatch::Gone => return (Vec::new(), Vec::new()),
        };
        let offsets = offsets(&left);
        (left, offsets)
    }

    #[test]
    fn the_last_of_each_key_stays_and_tombstones_for_their_time() {
        let mut builder = BatchBuilder::new(Codec::None);
        for (key, value) in RECORDS {
            builder.push(1000, key, value, []);
        }
        let batch = builder.build(0, 0);
        let (once, left) = pass(&batch, 5, 5000);
        assert_eq!(left, [1, 3, 4]);
        let header = BatchHeader::read(&once).unwrap();
        assert!(header.has_delete_horizon());
        assert_eq!(header.base_timestamp, 5100);
        assert_eq!(pass(&once, 5, 5099).0, once, "byte for byte");
        assert_eq!(pass(&once, 5, 5100).1, [1, 4]);
        // What is not in the map stays, a tombstone and a record without a key too.
        assert_eq!(pass(&batch, 0, 5000).0, batch);
        assert_eq!(pass(&batch, 1, 5000).0, batch);
        assert_eq!(pass(&batch, 2, 5000).1, [1, 2, 3, 4]);
    }

    #[test]
    fn an_empty_batch_stays_only_if_it_must() {
        let map = OffsetMap::new(4096, [3, 4]);
        let cleaner = BatchCleaner {
            map: &map,
            map_end: Offset(10),
            now: WallTime(0),
            delete_retention_ms: 0,
        };
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(1000, None, Some(b"no key"), []);
        let batch = builder.build(0, 0);
        let header = BatchHeader::read(&batch).unwrap();
        assert_eq!(
            cleaner.clean(&header, &batch, false),
            Ok(CleanedBatch::Gone)
        );
        let CleanedBatch::Changed(empty) = cleaner.clean(&header, &batch, true).unwrap() else {
            panic!("it must stay");
        };
        let header = BatchHeader::read(&empty).unwrap();
        assert_eq!(
            cleaner.clean(&header, &empty, true),
            Ok(CleanedBatch::Unchanged)
        );
        assert_eq!(
            cleaner.clean(&header, &empty, false),
            Ok(CleanedBatch::Gone)
        );
    }
}
