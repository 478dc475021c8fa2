//! The oracle: compares what a client read with what was written, one property a check.

use super::record::{Plan, Record, number_of};
use crate::tally::Report;

/// The properties, in the order in which they are reported.
const PROPERTIES: [&str; 7] = [
    "order",
    "keys",
    "values",
    "headers",
    "timestamps",
    "offsets",
    "complete",
];

/// Takes the records that one reader brings back.
pub struct Verifier {
    plan: Plan,
    /// For timestamps that the writer's clock gave: between these.
    times: (i64, i64),
    next_offset: Vec<i64>,
    last_number: Vec<Option<u64>>,
    seen: Vec<bool>,
    received: u64,
    wrong: [Option<String>; PROPERTIES.len()],
}

impl Verifier {
    /// `times` is the first and last moment at which the writer may have stamped a record.
    pub fn new(plan: Plan, times: (i64, i64)) -> Verifier {
        let partitions = plan.partitions as usize;
        Verifier {
            plan,
            times,
            next_offset: vec![0; partitions],
            last_number: vec![None; partitions],
            seen: vec![false; plan.count as usize],
            received: 0,
            wrong: Default::default(),
        }
    }

    /// One record, in the order in which the client gave them.
    pub fn accept(&mut self, record: &Record) {
        self.received += 1;
        let place =
            format_args!("partition {} offset {}", record.partition, record.offset).to_string();
        let partition = record.partition as usize;
        let Some(next) = self.next_offset.get_mut(partition) else {
            return self.note("offsets", || format!("{place}: no such partition"));
        };
        let expected_offset = *next;
        *next = record.offset + 1;
        if record.offset != expected_offset {
            self.note("offsets", || {
                format!("{place}: expected offset {expected_offset}")
            });
        }
        // With a chosen partition the place says which record it must be; else the record says it itself.
        let number = if self.plan.shape.chooses_partition {
            Some(record.offset as u64 * self.plan.partitions as u64 + partition as u64)
        } else {
            number_of(record)
        };
        let Some(number) = number.filter(|n| *n < self.plan.count) else {
            return self.note("complete", || {
                format!("{place}: a record that was never sent: {record:?}")
            });
        };
        if self.last_number[partition].is_some_and(|last| last >= number) {
            self.note("order", || {
                format!("{place}: record {number} after a later one")
            });
        }
        self.last_number[partition] = Some(number);
        if std::mem::replace(&mut self.seen[number as usize], true) {
            self.note("complete", || {
                format!("{place}: record {number} came twice")
            });
        }
        self.compare(record, &self.plan.record(number), &place);
    }

    fn compare(&mut self, got: &Record, sent: &Record, place: &str) {
        if number_of(got) != number_of(sent) {
            self.note("order", || {
                format!(
                    "{place}: key {:?} where {:?} was sent",
                    text(&got.key),
                    text(&sent.key)
                )
            });
        }
        if got.key != sent.key {
            self.note("keys", || {
                format!("{place}: {:?}, sent {:?}", text(&got.key), text(&sent.key))
            });
        }
        if got.value != sent.value {
            self.note("values", || {
                format!(
                    "{place}: {:?}, sent {:?}",
                    text(&got.value),
                    text(&sent.value)
                )
            });
        }
        if got.headers != sent.headers {
            self.note("headers", || {
                format!("{place}: {:?}, sent {:?}", got.headers, sent.headers)
            });
        }
        let (earliest, latest) = match self.plan.shape.gives_timestamps {
            true => (sent.timestamp, sent.timestamp),
            false => self.times,
        };
        if got.timestamp < earliest || got.timestamp > latest {
            self.note("timestamps", || {
                format!("{place}: {}, not in {earliest}..={latest}", got.timestamp)
            });
        }
    }

    fn note(&mut self, property: &str, reason: impl FnOnce() -> String) {
        let at = PROPERTIES
            .iter()
            .position(|name| *name == property)
            .expect("a property of the list");
        self.wrong[at].get_or_insert_with(reason);
    }

    /// To be called when nothing more will come.
    fn note_missing(&mut self) {
        let missing = self.seen.iter().position(|seen| !seen);
        if let Some(first) = missing {
            let (received, sent) = (self.received, self.plan.count);
            self.note("complete", || {
                format!("{received} of {sent} records came, the first missing is {first}")
            });
        }
    }

    /// Reports one check for each property.
    pub fn finish(mut self, report: &mut Report, what: &str, ended_well: Result<(), String>) {
        self.note_missing();
        if let Err(reason) = ended_well {
            // What the client said of its end explains more than what is missing.
            let at = PROPERTIES.len() - 1;
            self.wrong[at] = Some(match self.wrong[at].take() {
                Some(earlier) => format!("{reason}; {earlier}"),
                None => reason,
            });
        }
        for (property, wrong) in PROPERTIES.iter().zip(self.wrong) {
            report.check(&format!("{what}: {property}"), wrong.map_or(Ok(()), Err));
        }
    }
}

/// The head of a key or value, to be read by a person.
fn text(bytes: &Option<Vec<u8>>) -> Option<String> {
    bytes.as_ref().map(|b| {
        let head = String::from_utf8_lossy(&b[..b.len().min(40)]).into_owned();
        if b.len() > 40 {
            format!("{head}… ({} bytes)", b.len())
        } else {
            head
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::record::{Headers, Shape};
    use super::*;

    fn plan() -> Plan {
        let shape = Shape {
            chooses_partition: true,
            gives_timestamps: true,
            binary: true,
            empty_values: true,
            headers: Headers::Binary { nulls: true },
        };
        Plan {
            shape,
            count: 1200,
            partitions: 2,
            base_time: 1_700_000_000_000,
        }
    }

    /// What a broker without a fault would give back: one partition after the other.
    fn log() -> Vec<Record> {
        let numbers = (0..1200).step_by(2).chain((1..1200).step_by(2));
        let placed = numbers.map(|n| Record {
            offset: (n / 2) as i64,
            ..plan().record(n)
        });
        placed.collect()
    }

    fn faults(log: &[Record]) -> Vec<&'static str> {
        let mut verifier = Verifier::new(plan(), (0, 0));
        log.iter().for_each(|record| verifier.accept(record));
        verifier.note_missing();
        let wrong = PROPERTIES.iter().zip(&verifier.wrong);
        wrong
            .filter(|(_, wrong)| wrong.is_some())
            .map(|(name, _)| *name)
            .collect()
    }

    #[test]
    fn a_faithful_log_has_no_fault() {
        assert_eq!(faults(&log()), Vec::<&str>::new());
    }

    #[test]
    fn each_kind_of_fault_is_found() {
        let with = |change: fn(&mut Vec<Record>)| {
            let mut log = log();
            change(&mut log);
            faults(&log)
        };
        assert_eq!(with(|log| log[3].key = None), ["keys"]);
        assert_eq!(with(|log| log[3].value = Some(Vec::new())), ["values"]);
        assert_eq!(with(|log| log[4].headers.swap(0, 1)), ["headers"]);
        assert_eq!(with(|log| log[5].timestamp += 1), ["timestamps"]);
        assert_eq!(with(|log| drop(log.pop())), ["complete"]);
        assert_eq!(with(|log| drop(log.remove(7))), ["offsets", "complete"]);
        assert_eq!(
            with(|log| log.insert(8, log[7].clone())),
            ["order", "offsets", "complete"]
        );
        // Two records that changed places, with the offsets where they now stand.
        let swapped = with(|log| {
            log.swap(10, 11);
            log[10].offset = 10;
            log[11].offset = 11;
        });
        assert!(swapped.contains(&"order"), "{swapped:?}");
    }
}
