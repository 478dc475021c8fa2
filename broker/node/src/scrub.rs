//! Scrubbing: one sealed segment after the other, those without a digest first.
//!
//! ```text
//!   a new segment of any log, else the next one of the pass over all ─► begin (lock)
//!      ─► steps (no lock), a pause after each ─► complete (lock)
//! ```
//!
//! A pass goes through all logs in the order of their topics' ids, and begins at a random place when the
//! broker starts: how far the last process came is not kept, and a broker that is started often should not
//! read the same logs each time. How long a pause is says whoever runs it: the budget is the shell's.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use millstream_log::{DamagedRange, Scrub, ScrubOutcome, ScrubStep};
use millstream_model::{Instant, Offset, TopicId};
use millstream_replica::HostedPartition;

use crate::Node;
use crate::compaction::Pause;

/// How sealed segments are scrubbed (`millstream.scrub.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScrubConfig {
    /// Bytes that are read in a second, at most (`millstream.scrub.bytes.per.second`); 0: none are.
    pub bytes_per_second_max: u64,
    /// From the beginning of a pass over all logs to that of the next (`millstream.scrub.interval.ms`).
    pub interval: Duration,
}

impl Default for ScrubConfig {
    fn default() -> ScrubConfig {
        ScrubConfig {
            bytes_per_second_max: 10 << 20,
            interval: Duration::from_secs(7 * 24 * 3600),
        }
    }
}

/// How long a log is left alone after its disk did not read.
const FAILURE_PAUSE: Duration = Duration::from_secs(600);

type Key = (TopicId, i32);

/// How far scrubbing is.
pub(crate) struct ScrubPass {
    /// The segment that was scrubbed last in the pass that goes on; `None` between two.
    last: Option<(Key, Option<Offset>)>,
    /// When the next pass may begin.
    next: Instant,
    /// Logs that could not be read, and until when they are left alone.
    failed: BTreeMap<Key, Instant>,
}

impl ScrubPass {
    /// A pass that begins at a random place; the one after it is due when this one is over.
    pub(crate) fn begun_at(place: TopicId, now: Instant) -> ScrubPass {
        ScrubPass {
            last: Some(((place, -1), None)),
            next: now,
            failed: BTreeMap::new(),
        }
    }
}

impl Node {
    /// How scrubbing is to be run.
    #[must_use]
    pub fn scrub_config(&self) -> ScrubConfig {
        self.config.scrub
    }

    /// Scrubs one segment, if one is due. Answers what came of it. To be called by one thread at a time.
    pub fn scrub_once(&self, pause: Pause<'_>) -> Option<ScrubOutcome> {
        if !self.may_tidy() {
            return None;
        }
        let (partition, scrub) = self.new_segment().or_else(|| self.next_segment())?;
        Some(self.scrub(&partition, scrub, pause))
    }

    /// A segment that has no digest yet.
    fn new_segment(&self) -> Option<(Arc<HostedPartition>, Scrub)> {
        self.find_segment(|_, partition| partition.lock().ok()?.log().begin_scrub(None, true))
    }

    /// The next segment of the pass over all logs, which begins anew when it is time.
    fn next_segment(&self) -> Option<(Arc<HostedPartition>, Scrub)> {
        let mut pass = self.scrubbed();
        let now = self.now();
        if pass.last.is_none() {
            if now < pass.next {
                return None;
            }
            pass.next = now.after(self.config.scrub.interval);
            pass.last = Some(((TopicId([0; 16]), -1), None));
        }
        let last = pass.last;
        drop(pass);
        let found = self.find_segment(|key, partition| {
            let after = match last {
                Some((last, _)) if key < last => return None,
                Some((last, base)) if key == last => base,
                _ => None,
            };
            partition.lock().ok()?.log().begin_scrub(after, false)
        });
        let key = |partition: &HostedPartition| (partition.topic_id, partition.name.partition);
        self.scrubbed().last = found
            .as_ref()
            .map(|(partition, scrub)| (key(partition), Some(scrub.base())));
        found
    }

    /// The first log, in order, of which there is something to scrub.
    fn find_segment(
        &self,
        begin: impl Fn(Key, &HostedPartition) -> Option<Scrub>,
    ) -> Option<(Arc<HostedPartition>, Scrub)> {
        let now = self.now();
        let failed = {
            let mut pass = self.scrubbed();
            pass.failed.retain(|_, until| now < *until);
            pass.failed.clone()
        };
        let view = self.broker.view();
        for topic in view.topics() {
            for partition in &topic.partitions {
                let key = (topic.id, partition.name.partition);
                if failed.contains_key(&key) || partition.is_deleted() {
                    continue;
                }
                if let Some(scrub) = begin(key, partition) {
                    return Some((Arc::clone(partition), scrub));
                }
            }
        }
        None
    }

    fn scrub(
        &self,
        partition: &HostedPartition,
        mut scrub: Scrub,
        pause: Pause<'_>,
    ) -> ScrubOutcome {
        let given_up = |scrub: Scrub| {
            scrub.abandon();
            ScrubOutcome::Gone
        };
        loop {
            match scrub.step() {
                Ok(ScrubStep::Worked { bytes }) if pause(bytes) && !partition.is_deleted() => {}
                // The broker stops, or the topic is gone.
                Ok(ScrubStep::Worked { .. }) => return given_up(scrub),
                Ok(ScrubStep::Finished) => break,
                Err(error) => {
                    self.handle_failed_scrub(partition, &error);
                    return given_up(scrub);
                }
            }
        }
        let base = scrub.base();
        let Ok(mut locked) = partition.lock() else {
            return given_up(scrub);
        };
        let outcome = locked.log_mut().complete_scrub(scrub);
        drop(locked);
        match &outcome {
            ScrubOutcome::Damaged(ranges) => {
                ranges.iter().for_each(|range| report(partition, range));
            }
            ScrubOutcome::Whole { is_digest_new } => {
                tracing::debug!(partition = %partition.name, segment = base.0, is_digest_new, "segment is whole");
            }
            ScrubOutcome::Gone => {}
        }
        outcome
    }

    fn handle_failed_scrub(&self, partition: &HostedPartition, error: &io::Error) {
        // Retention or compaction took the segment out.
        if error.kind() == io::ErrorKind::NotFound {
            return;
        }
        tracing::error!(partition = %partition.name, %error, "segment could not be scrubbed");
        let until = self.now().after(FAILURE_PAUSE);
        let key = (partition.topic_id, partition.name.partition);
        self.scrubbed().failed.insert(key, until);
    }

    fn scrubbed(&self) -> std::sync::MutexGuard<'_, ScrubPass> {
        self.scrubbed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn report(partition: &HostedPartition, range: &DamagedRange) {
    tracing::error!(
        partition = %partition.name,
        path = %range.path.display(),
        position = range.bytes.start,
        end = range.bytes.end,
        offset = range.offsets.start.0,
        next_offset = range.offsets.end.0,
        why = %range.what,
        "segment is damaged: these offsets are refused"
    );
}
