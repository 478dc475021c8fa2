//! kcat at its everyday work, a process for each: it starts at an offset, at the beginning, before the end; asks
//! for the offset of a time; sends what just fits.

use super::client::COMMAND_MAX;
use super::everyday::{BATCH_BYTES_BESIDES, BATCH_BYTES_MAX};
use super::kcat::{Kcat, read_record};
use super::record::{Plan, Record, number_of};
use crate::process;
use crate::tally::Report;

/// The partition that is looked at.
const PARTITION: i32 = 1;
const READ: usize = 5;

/// On a topic that holds a plan's records and nothing else.
pub fn check(bootstrap: &str, topic: &str, plan: Plan, report: &mut Report) {
    let place = Place {
        bootstrap,
        topic,
        plan,
    };
    report.check(
        "everyday: it starts at an offset, the beginning, before the end",
        place.starts(),
    );
    report.check("everyday: offsets for times", place.times());
    report.check(
        "everyday: a batch of max.message.bytes, and one byte more",
        place.sizes(),
    );
}

struct Place<'a> {
    bootstrap: &'a str,
    topic: &'a str,
    plan: Plan,
}

impl Place<'_> {
    /// The end of the partition's log.
    fn end(&self) -> i64 {
        (self.plan.count as i64 - i64::from(PARTITION) + i64::from(self.plan.partitions) - 1)
            / i64::from(self.plan.partitions)
    }

    fn read(&self, from: &str) -> Result<Vec<Record>, String> {
        let mut command = Kcat::command(self.bootstrap);
        command.args(["-C", "-q", "-e", "-t", self.topic, "-o", from]);
        command.args(["-p", &PARTITION.to_string(), "-c", &READ.to_string()]);
        command.args(["-f", super::kcat::FORMAT]);
        let (ok, out, err) = process::output(&mut command, COMMAND_MAX)?;
        if !ok {
            return Err(process::last_lines(&err, 2));
        }
        let mut rest = out.as_bytes();
        let mut all = Vec::new();
        while let Some(record) = read_record(&mut rest)? {
            all.push(record);
        }
        Ok(all)
    }

    fn starts(&self) -> Result<(), String> {
        let (end, middle) = (self.end(), self.end() / 2);
        for (from, first, count) in [
            (middle.to_string(), middle, READ),
            ("beginning".to_owned(), 0, READ),
            ("-3".to_owned(), end - 3, 3),
            ("end".to_owned(), end, 0),
        ] {
            let read = self.read(&from)?;
            let offsets: Vec<i64> = read.iter().map(|record| record.offset).collect();
            let expected: Vec<i64> = (first..first + count as i64).collect();
            if offsets != expected {
                return Err(format!("from {from}: {offsets:?}, expected {expected:?}"));
            }
            for record in &read {
                let number = record.offset as u64 * self.plan.partitions as u64 + PARTITION as u64;
                let sent = self.plan.record(number);
                if (number_of(record), &record.value) != (number_of(&sent), &sent.value) {
                    return Err(format!("from {from}: {record:?} where {sent:?} was sent"));
                }
            }
        }
        Ok(())
    }

    fn times(&self) -> Result<(), String> {
        let middle = self.end() / 2;
        let read = self.read(&middle.to_string())?;
        let time = read.first().ok_or("nothing in the middle")?.timestamp;
        let found = self.offset_for(time)?;
        // The first of those with that time, or the first after it.
        let around = self.read(&(found - 1).max(0).to_string())?;
        let right = around.iter().all(|record| match record.offset {
            offset if offset < found => record.timestamp < time,
            offset if offset == found => record.timestamp >= time,
            _ => true,
        });
        if !right || found > middle {
            return Err(format!("{time}: {found}, and around it {around:?}"));
        }
        let later = time + 3_600_000;
        match (self.offset_for(0)?, self.offset_for(later)?) {
            (0, -1) => Ok(()),
            other => Err(format!("before all and after all: {other:?}")),
        }
    }

    fn offset_for(&self, time: i64) -> Result<i64, String> {
        let mut command = Kcat::command(self.bootstrap);
        let asked = format!("{}:{PARTITION}:{time}", self.topic);
        command.args(["-Q", "-t", &asked]);
        let (_, out, err) = process::output(&mut command, COMMAND_MAX)?;
        let number = out.split("offset ").nth(1).map(str::trim);
        number
            .and_then(|number| number.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| format!("{asked}: not understood: {out}{err}"))
    }

    fn sizes(&self) -> Result<(), String> {
        let fits = BATCH_BYTES_MAX - BATCH_BYTES_BESIDES;
        for (size, code) in [(fits, "0"), (fits + 1, "10"), (10, "0")] {
            let seen = Kcat::attempt(self.bootstrap, self.topic, size)?;
            if seen != code {
                return Err(format!("{size} bytes: {seen}, expected {code}"));
            }
        }
        Ok(())
    }
}
