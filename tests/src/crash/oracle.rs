//! The judge. It knows what producers were told and what readers saw, and nothing of the broker.

use std::collections::BTreeMap;

use super::payload::RecordId;
use super::producer::Acked;
use super::{Options, Summary};

/// A record as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ReadRecord<'a> {
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) timestamp: i64,
    pub(crate) key: Option<&'a [u8]>,
    pub(crate) value: Option<&'a [u8]>,
}

/// By partition: the offsets a reader saw while brokers came and went, each with its record.
pub(crate) type Seen = BTreeMap<i32, BTreeMap<i64, RecordId>>;

/// Judges one reading of everything.
pub(crate) struct Oracle {
    seed: u64,
    base_timestamp: i64,
    /// By producer and partition: first number of each acknowledged batch.
    acked: BTreeMap<(u32, i32), BTreeMap<u64, Acked>>,
    seen: Seen,
    /// By producer and partition: by number, the offsets where the record was found.
    found: BTreeMap<(u32, i32), BTreeMap<u64, i64>>,
    /// By producer and partition: the greatest number so far.
    last: BTreeMap<(u32, i32), u64>,
    next_offset: BTreeMap<i32, i64>,
    summary: Summary,
}

/// Findings that are told in words.
const FINDINGS_MAX: usize = 20;

impl Oracle {
    pub(crate) fn new(options: &Options, acked: Vec<Acked>, seen: Seen) -> Oracle {
        Oracle::of(options.seed, options.base_timestamp, acked, seen)
    }

    fn of(seed: u64, base_timestamp: i64, acked: Vec<Acked>, seen: Seen) -> Oracle {
        let mut oracle = Oracle {
            seed,
            base_timestamp,
            acked: BTreeMap::new(),
            seen,
            found: BTreeMap::new(),
            last: BTreeMap::new(),
            next_offset: BTreeMap::new(),
            summary: Summary::default(),
        };
        for batch in acked {
            let first = batch.first;
            let of_producer = oracle.acked.entry((first.producer, first.partition));
            of_producer.or_default().insert(first.number, batch);
        }
        oracle
    }

    /// Takes the next record of a partition.
    pub(crate) fn take(&mut self, record: ReadRecord<'_>) {
        let next = self.next_offset.entry(record.partition).or_default();
        let is_next = record.offset == *next;
        *next = record.offset + 1;
        if !is_next {
            self.foreign(&record, "its offset is not the next one");
        }
        let Some(id) = record.key.and_then(RecordId::of_key) else {
            return self.foreign(&record, "no record of this run has its key");
        };
        if id.partition != record.partition {
            return self.foreign(&record, "it was sent to another partition");
        }
        let is_as_sent = record.value == Some(&id.value(self.seed)[..])
            && record.timestamp == id.timestamp(self.base_timestamp);
        if !is_as_sent {
            return self.foreign(&record, "its bytes are not those that were sent");
        }
        let seen = self.seen.get_mut(&record.partition);
        if seen
            .and_then(|seen| seen.remove(&record.offset))
            .is_some_and(|seen| seen != id)
        {
            self.foreign(&record, "a reader saw another record at its offset before");
        }
        self.place(id, record.offset);
    }

    fn place(&mut self, id: RecordId, offset: i64) {
        let of = (id.producer, id.partition);
        if let Some(&earlier) = self.found.get(&of).and_then(|found| found.get(&id.number)) {
            self.summary.duplicated += 1;
            return self.finding(format!("{id:?} is at offset {earlier} and at {offset}"));
        }
        self.found.entry(of).or_default().insert(id.number, offset);
        let last = self.last.entry(of).or_insert(id.number);
        let before = *last;
        *last = before.max(id.number);
        if id.number < before {
            self.summary.reordered += 1;
            self.finding(format!(
                "{id:?} at offset {offset} comes after number {before}"
            ));
        }
    }

    /// Compares what was read with what was promised.
    pub(crate) fn verdict(mut self) -> Summary {
        for (of, batches) in std::mem::take(&mut self.acked) {
            let found = self.found.remove(&of).unwrap_or_default();
            for batch in batches.values() {
                self.check_batch(batch, &found);
            }
        }
        // Producers know of no batch but acknowledged ones: all others are inventions.
        let unknown: Vec<_> = std::mem::take(&mut self.found).into_keys().collect();
        for (producer, partition) in unknown {
            self.summary.foreign += 1;
            self.finding(format!(
                "producer {producer} sent nothing to partition {partition}"
            ));
        }
        let vanished: Vec<_> = std::mem::take(&mut self.seen)
            .into_iter()
            .flat_map(|(partition, seen)| seen.into_keys().map(move |offset| (partition, offset)))
            .collect();
        for (partition, offset) in vanished {
            self.summary.foreign += 1;
            self.finding(format!(
                "a reader saw offset {offset} of partition {partition}, now gone"
            ));
        }
        self.summary
    }

    fn check_batch(&mut self, batch: &Acked, found: &BTreeMap<u64, i64>) {
        self.summary.acked += 1;
        for delta in 0..u64::from(batch.count) {
            self.summary.records += 1;
            let id = RecordId {
                number: batch.first.number + delta,
                ..batch.first
            };
            let due = batch.base_offset.map(|base| base + delta as i64);
            let problem = match (found.get(&id.number), due) {
                (None, _) => "is not there".to_string(),
                (Some(&at), Some(due)) if at != due => format!("is at {at}"),
                (Some(_), _) => continue,
            };
            self.summary.lost += 1;
            self.finding(format!("{id:?}, acknowledged at offset {due:?}, {problem}"));
        }
    }

    fn foreign(&mut self, record: &ReadRecord<'_>, problem: &str) {
        self.summary.foreign += 1;
        let (partition, offset) = (record.partition, record.offset);
        self.finding(format!(
            "offset {offset} of partition {partition}: {problem}"
        ));
    }

    fn finding(&mut self, finding: String) {
        if self.summary.findings.len() < FINDINGS_MAX {
            self.summary.findings.push(finding);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: i64 = 1_700_000_000_000;

    fn id(number: u64) -> RecordId {
        RecordId {
            producer: 1,
            partition: 0,
            number,
        }
    }

    fn acked(number: u64, count: u32, base_offset: i64) -> Acked {
        Acked {
            first: id(number),
            count,
            base_offset: Some(base_offset),
        }
    }

    /// Judges a log that holds these numbers of producer 1, from offset 0 on.
    fn judge(acks: Vec<Acked>, seen: Seen, numbers: &[u64]) -> Summary {
        let mut oracle = Oracle::of(9, BASE, acks, seen);
        for (offset, &number) in (0..).zip(numbers) {
            oracle.take(ReadRecord {
                partition: 0,
                offset,
                timestamp: id(number).timestamp(BASE),
                key: Some(&id(number).key()),
                value: Some(&id(number).value(9)),
            });
        }
        oracle.verdict()
    }

    fn counts(summary: &Summary) -> (u64, u64, u64, u64) {
        (
            summary.lost,
            summary.duplicated,
            summary.reordered,
            summary.foreign,
        )
    }

    #[test]
    fn what_was_promised_is_clean() {
        let summary = judge(
            vec![acked(0, 2, 0), acked(2, 1, 2)],
            Seen::new(),
            &[0, 1, 2],
        );
        assert!(summary.is_clean());
        assert_eq!((summary.acked, summary.records), (2, 3));
        assert_eq!(
            summary.to_string(),
            ", 2 acked batches, 0 lost, 0 duplicated, 0 reordered"
        );
    }

    #[test]
    fn missing_and_moved_records_are_lost() {
        let acks = || vec![acked(0, 1, 0), acked(1, 2, 1)];
        assert_eq!(counts(&judge(acks(), Seen::new(), &[0, 1])), (1, 0, 0, 0));
        assert_eq!(counts(&judge(acks(), Seen::new(), &[])), (3, 0, 0, 0));
        let moved = vec![acked(0, 1, 5)];
        assert_eq!(counts(&judge(moved, Seen::new(), &[0])), (1, 0, 0, 0));
    }

    #[test]
    fn doubles_and_changed_order_are_seen() {
        let acks = || vec![acked(0, 1, 0), acked(1, 1, 1)];
        assert_eq!(
            counts(&judge(acks(), Seen::new(), &[0, 1, 0])),
            (0, 1, 0, 0)
        );
        assert_eq!(counts(&judge(acks(), Seen::new(), &[1, 0])), (2, 0, 1, 0));
    }

    #[test]
    fn changed_bytes_are_seen_and_what_was_seen_must_stay() {
        let mut oracle = Oracle::of(9, BASE, vec![acked(0, 1, 0)], Seen::new());
        oracle.take(ReadRecord {
            partition: 0,
            offset: 0,
            timestamp: id(0).timestamp(BASE),
            key: Some(&id(0).key()),
            value: Some(b"other bytes"),
        });
        assert_eq!(counts(&oracle.verdict()), (1, 0, 0, 1));
        let seen = |offset, number| Seen::from([(0, BTreeMap::from([(offset, id(number))]))]);
        let acks = || vec![acked(0, 2, 0)];
        assert_eq!(counts(&judge(acks(), seen(1, 1), &[0, 1])), (0, 0, 0, 0));
        assert_eq!(counts(&judge(acks(), seen(1, 7), &[0, 1])), (0, 0, 0, 1));
        assert_eq!(counts(&judge(acks(), seen(2, 2), &[0, 1])), (0, 0, 0, 1));
    }

    #[test]
    fn records_nobody_sent_and_gaps_are_foreign() {
        let nobody = judge(Vec::new(), Seen::new(), &[0]);
        assert_eq!(counts(&nobody), (0, 0, 0, 1));
        let mut oracle = Oracle::of(9, BASE, Vec::new(), Seen::new());
        oracle.take(ReadRecord {
            partition: 0,
            offset: 4,
            timestamp: 0,
            key: None,
            value: None,
        });
        assert_eq!(counts(&oracle.verdict()), (0, 0, 0, 2));
    }
}
