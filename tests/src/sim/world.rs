//! The simulated machine with the broker on it: its disk, its clock and the threads of the shell.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use millstream_api::{Completion, Effect, GateLimits, Proposal, RecordsToDelete};
use millstream_env::Clock;
use millstream_env::sim::{SimClock, SimCounts, SimDisk, SimFaults, SimRandom};
use millstream_log::{HealthLimits, ScrubOutcome};
use millstream_metadata::ControllerSettings;
use millstream_model::{Instant, RequestToken, WallTime};
use millstream_node::{
    CompactionConfig, FlushRound, MoveStep, NextRound, Node, NodeConfig, QueueRest,
};

use super::connections::Connection;
use super::damage::Damage;
use super::{Violation, violation};

/// A defect planted on purpose, which the checkers must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// None.
    Nothing,
    /// Syncs succeed and do nothing.
    NoFsync,
    /// Acknowledgements do not wait for the flush.
    AcknowledgeEarly,
}

/// Flush rounds at the same time.
const ROUNDS_MAX: usize = 3;
const WALL_START: WallTime = WallTime(1_750_000_000_000);
/// Bytes of a segment of committed offsets: a few commits, so that there is something to compact.
const OFFSETS_SEGMENT: &str = "1000";
const GROUP_SHARDS: i32 = 2;
/// Memory for the keys of a pass of compaction.
const COMPACTION_MAP_BYTES: usize = 64 << 10;
/// Bytes that a disk which is nearly full still takes, at most.
const ROOM_MAX: u64 = 8_000;

/// The longest that a write or a sync of a slow disk takes. Some are not slow enough to be noticed.
const SLOW_MS_MAX: u64 = 300;
/// One of at most so many reads finds nothing in the page cache of a slow disk.
const COLD_EVERY_MAX: u64 = 20;
/// Bytes that may be unflushed, and queued for a slow disk: a few batches.
const UNFLUSHED_BYTES_MAX: u64 = 8_000;
const QUEUED_BYTES_MAX: usize = 4_000;
/// Bytes that a step of a move copies.
const MOVE_BYTES_MAX: u64 = 2_000;

/// A piece of work of one of the shell's threads or connections.
#[derive(Clone, Copy)]
enum Work {
    TakeFlush(usize),
    BeginFlush,
    EndFlush,
    RunQueue(usize),
    Propose,
    DeleteRecords,
    LoadGroups(usize),
    GroupTimer(usize),
    TimeOut(u64),
    Deliver,
    Move(usize),
}

/// The machine.
pub(crate) struct World {
    pub random: SimRandom,
    pub trace: u64,
    pub crashes: u32,
    /// How often of 100 a flush that could begin does, for each log directory.
    pub flush_percents: Vec<u64>,
    pub compactions: u32,
    /// Flushes that a slow disk put off.
    pub put_off: u64,
    pub damage: Damage,
    /// Steps that were queued for a slow disk.
    pub queued_steps: u32,
    /// Batches that the queue had no room for.
    pub queue_refusals: u32,
    /// Partitions that went to another log directory.
    pub moves: u32,
    /// Whether the thread of the moves has something to do.
    moving: BTreeSet<usize>,
    /// Whether partitions were to be moved since the start: what failed may be where they were.
    pub has_moved: bool,
    pub(crate) clock: Arc<SimClock>,
    pub(super) disk: SimDisk,
    pub(super) log_directories: Vec<PathBuf>,
    planted: Planted,
    node: Option<Node>,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) connections_made: u64,
    /// Flush rounds that let batches gather before they begin.
    gathering: VecDeque<NextRound>,
    /// Flush rounds that have begun, by their directory, and what their syncs gave where these are over.
    rounds: Vec<(usize, FlushRound, Option<io::Result<()>>)>,
    /// Directories whose threads have something to do, and from when on.
    queues: BTreeMap<usize, Instant>,
    proposals: VecDeque<Proposal>,
    deletions: VecDeque<(RequestToken, Vec<RecordsToDelete>)>,
    loads: BTreeSet<usize>,
    timers: BTreeMap<usize, Instant>,
    news: VecDeque<Completion>,
}

/// How the broker is set up.
pub(crate) fn config() -> NodeConfig {
    let mut controller = ControllerSettings::default();
    controller.offsets_topic.partitions = GROUP_SHARDS;
    for (name, value) in &mut controller.offsets_topic.configs {
        if *name == "segment.bytes" {
            (*name, *value) = ("internal.segment.bytes", OFFSETS_SEGMENT.to_owned());
        }
    }
    NodeConfig {
        log_directories: vec!["/data".into()],
        auto_create_topics: false,
        controller,
        fetch_bytes_max: 1 << 20,
        fetch_wait_max: Duration::from_secs(1),
        group_shards: GROUP_SHARDS as usize,
        compaction: CompactionConfig {
            map_bytes: COMPACTION_MAP_BYTES,
            ..CompactionConfig::default()
        },
        move_bytes_max: MOVE_BYTES_MAX,
        gates: GateLimits {
            health: HealthLimits {
                unflushed_bytes_max: UNFLUSHED_BYTES_MAX,
                ..HealthLimits::default()
            },
            queued_bytes_max: QUEUED_BYTES_MAX,
            ..GateLimits::default()
        },
        ..NodeConfig::default()
    }
}

impl World {
    /// A machine with a broker on so many log directories.
    pub(crate) fn new(seed: u64, planted: Planted, directories: usize) -> Result<World, Violation> {
        let more = (1..directories).map(|number| PathBuf::from(format!("/data{number}")));
        let mut world = World {
            random: SimRandom::new(seed),
            trace: seed,
            crashes: 0,
            flush_percents: vec![100; directories],
            compactions: 0,
            put_off: 0,
            damage: Damage::default(),
            queued_steps: 0,
            queue_refusals: 0,
            moves: 0,
            moving: BTreeSet::new(),
            has_moved: false,
            clock: Arc::new(SimClock::new(WALL_START)),
            disk: SimDisk::default(),
            log_directories: config().log_directories.into_iter().chain(more).collect(),
            planted,
            node: None,
            connections: BTreeMap::new(),
            connections_made: 0,
            gathering: VecDeque::new(),
            rounds: Vec::new(),
            queues: BTreeMap::new(),
            proposals: VecDeque::new(),
            deletions: VecDeque::new(),
            loads: BTreeSet::new(),
            timers: BTreeMap::new(),
            news: VecDeque::new(),
        };
        world.disk.set_clock(Arc::clone(&world.clock));
        world.heal();
        world.open()?;
        Ok(world)
    }

    /// Starts the broker. A sync that was made to fail may fail the start; the next one holds.
    fn open(&mut self) -> Result<(), Violation> {
        self.settle_damage()?;
        let fails_a_sync = self.disk.faults().fail_next_sync;
        match self.try_open() {
            Err(_) if fails_a_sync && !self.disk.faults().fail_next_sync => {
                self.disk.end_process();
                self.try_open()
            }
            outcome => outcome,
        }
    }

    pub(super) fn try_open(&mut self) -> Result<(), Violation> {
        let mut config = config();
        config.log_directories.clone_from(&self.log_directories);
        if self.planted == Planted::AcknowledgeEarly {
            let early = ("millstream.durability".into(), "replicated".into());
            config.controller.file_configs = [early].into_iter().collect();
        }
        let bits = SimRandom::new(self.random.below(u64::MAX));
        let (disk, clock) = (Arc::new(self.disk.clone()), Arc::clone(&self.clock));
        match Node::open(disk, clock, Arc::new(bits), config) {
            Ok(node) => {
                let effects = node.group_shards_to_load();
                let moves = node.broker.moves.all();
                self.moving = moves.iter().map(|wish| wish.directory).collect();
                self.has_moved = self.is_moving();
                self.node = Some(node);
                self.carry_out(effects);
                Ok(())
            }
            Err(error) => violation(format!("the broker does not start: {error}")),
        }
    }

    pub(crate) fn node(&self) -> &Node {
        self.node.as_ref().expect("open but for a moment")
    }

    pub(crate) fn note(&mut self, what: u64) {
        self.trace = (self.trace ^ what)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }

    pub(crate) fn now_ms(&self) -> i64 {
        self.clock.wall_time().0
    }

    /// Time passes in which nobody does anything.
    pub(crate) fn pause(&self, ms_max: u64) {
        let pause = Duration::from_millis(self.random.below(ms_max));
        self.clock.advance(pause);
    }

    /// The machine stops: what was not synced is kept, lost or torn. Then the broker starts again.
    pub(crate) fn crash(&mut self) -> Result<(), Violation> {
        self.note(1);
        self.crashes += 1;
        self.forget_process();
        let stray = self.take_stray_write();
        self.disk.crash(&self.random);
        self.rot_at_rest(stray);
        self.open()
    }

    /// The broker is told to stop, and starts again.
    pub(crate) fn stop_cleanly(&mut self) -> Result<(), Violation> {
        self.note(2);
        // A close that fails is the broker's to report; what counts is the next start.
        let _closed = self.node().close();
        self.end_process()
    }

    /// The broker is killed, and starts again on the page cache that it left (`kill -9`).
    pub(crate) fn kill(&mut self) -> Result<(), Violation> {
        self.note(4);
        self.end_process()
    }

    fn end_process(&mut self) -> Result<(), Violation> {
        self.forget_process();
        self.disk.end_process();
        // A broker needs room to start: the operator makes some first.
        self.heal();
        self.rot_at_rest(None);
        self.open()
    }

    /// The broker is told to stop, and the disk taken out.
    pub(crate) fn power_off(mut self) -> Result<SimDisk, Violation> {
        let closed = self.node().close();
        closed.map_err(|error| Violation {
            what: format!("the broker does not stop: {error}"),
        })?;
        self.forget_process();
        self.disk.end_process();
        Ok(self.disk)
    }

    pub(super) fn forget_process(&mut self) {
        self.node = None;
        self.connections.clear();
        self.gathering.clear();
        self.rounds.clear();
        self.queues.clear();
        self.proposals.clear();
        self.deletions.clear();
        self.loads.clear();
        self.timers.clear();
        self.news.clear();
    }

    pub(crate) fn fail_a_sync(&mut self) {
        self.note(3);
        let faults = self.disk.faults();
        self.disk.set_faults(SimFaults {
            fail_next_sync: true,
            ..faults
        });
    }

    /// A log directory fails for good: until the next start no sync succeeds there.
    pub(crate) fn break_a_directory(&mut self) {
        self.note(11);
        let broken = self.random.below(self.log_directories.len() as u64) as usize;
        self.disk.break_below(Some(&self.log_directories[broken]));
    }

    /// Whether a failure since the start explains that a partition is not served. `false` for one that
    /// does not exist.
    pub(crate) fn may_be_offline(&self, topic: &str, partition: i32) -> bool {
        self.directory_of(topic, partition).is_some_and(|place| {
            let directories = self.log_directories.iter().enumerate();
            let mut may_hold = directories.filter(|(index, _)| self.has_moved || *index == place);
            may_hold.any(|(_, path)| self.disk.has_failed_below(path))
        })
    }

    /// The log directory that a partition is in.
    pub(crate) fn directory_of(&self, topic: &str, partition: i32) -> Option<usize> {
        let view = self.node().broker.view();
        let hosted = view.topic(topic)?.partition(partition)?;
        Some(hosted.directory())
    }

    /// An administrator asks for a partition, any, to be in a log directory, any.
    pub(crate) fn ask_for_a_move(&mut self) {
        let view = self.node().broker.view();
        let all: Vec<_> = view.topics().flat_map(|topic| &topic.partitions).collect();
        if all.is_empty() {
            return;
        }
        let hosted = all[self.random.below(all.len() as u64) as usize];
        let directory = self.random.below(self.log_directories.len() as u64) as usize;
        if !hosted.is_offline() && self.node().broker.moves.ask(hosted, directory) {
            self.moving.insert(directory);
            self.has_moved = true;
        }
    }

    /// Whether partitions are on their way.
    pub(crate) fn is_moving(&self) -> bool {
        !self.moving.is_empty()
    }

    fn work_on_a_move(&mut self, directory: usize) {
        let places = |world: &World| -> Vec<usize> {
            let view = world.node().broker.view();
            let all = view.topics().flat_map(|topic| &topic.partitions);
            all.map(|hosted| hosted.directory()).collect()
        };
        let before = places(self);
        let mut effects = Vec::new();
        if self.node().move_step(directory, &mut effects) == MoveStep::Idle {
            self.moving.remove(&directory);
        }
        self.moves += u32::from(places(self) != before);
        self.carry_out(effects);
    }

    /// How often the disk's faults struck.
    pub(crate) fn counts(&self) -> SimCounts {
        self.disk.counts()
    }

    /// Faults that are still to come do not; those that lasted do.
    pub(crate) fn call_off_faults(&mut self) {
        self.heal();
    }

    /// The disk fills up; or, when it is filling up, it has room again.
    pub(crate) fn change_disk_room(&mut self) {
        self.note(6);
        let faults = self.disk.faults();
        let room = match faults.room {
            None => Some(self.random.below(ROOM_MAX)),
            Some(_) => None,
        };
        self.disk.set_faults(SimFaults { room, ..faults });
    }

    /// The disk becomes slow, and its page cache forgets; or, when it is slow, it is fast again.
    pub(crate) fn change_disk_speed(&mut self) {
        self.note(9);
        let faults = self.disk.faults();
        let (slow, cold_every) = match faults.slow {
            None => {
                let slow = Duration::from_millis(self.random.below(SLOW_MS_MAX));
                (Some(slow), 1 + self.random.below(COLD_EVERY_MAX))
            }
            Some(_) => (None, 0),
        };
        self.disk.set_faults(SimFaults {
            slow,
            cold_every,
            ..faults
        });
    }

    pub(crate) fn cut_a_write_short(&mut self) {
        self.note(7);
        let faults = self.disk.faults();
        self.disk.set_faults(SimFaults {
            short_next_write: true,
            ..faults
        });
    }

    /// No more faults but the planted one.
    pub(crate) fn heal(&mut self) {
        self.disk.set_faults(SimFaults {
            syncs_do_nothing: self.planted == Planted::NoFsync,
            ..SimFaults::default()
        });
    }

    pub(crate) fn checkpoint(&mut self) {
        let effects = self.node().checkpoint();
        self.carry_out(effects);
    }

    /// Looks for expired offsets, far more often than the shell does.
    pub(crate) fn expire_groups(&mut self) {
        for shard in 0..self.node().broker.group_shards().len() {
            let mut from = None;
            loop {
                let (effects, next) = self.node().expire_groups(shard, from.as_deref());
                self.carry_out(effects);
                from = next;
                if from.is_none() {
                    break;
                }
            }
        }
    }

    /// Retention runs.
    pub(crate) fn retain(&mut self) {
        self.note(12);
        let effects = self.node().enforce_retention();
        self.carry_out(effects);
        while self.node().remove_step() {}
    }

    /// Compacts a log, or a part of it. Answers whether there was one to compact.
    pub(crate) fn compact(&mut self) -> bool {
        let steps = match self.random.chance(50) {
            true => u64::MAX,
            false => self.random.below(12),
        };
        let mut step = 0;
        let mut goes_on = |_| {
            step += 1;
            step <= steps
        };
        self.scrub();
        let mut effects = Vec::new();
        let has_begun = self.node().compact_once(&mut goes_on, &mut effects);
        self.note(8 + u64::from(has_begun));
        self.compactions += u32::from(has_begun);
        self.carry_out(effects);
        has_begun
    }

    /// Scrubs some segments: damage is found only where some was done.
    fn scrub(&mut self) {
        while let Some(outcome) = self.node().scrub_once(&mut |_| true) {
            if let ScrubOutcome::Damaged(ranges) = &outcome {
                let mut ranges = ranges.iter();
                assert!(
                    ranges.all(|range| self.damage.explains(range)),
                    "{outcome:?}"
                );
            }
            if self.random.chance(30) {
                return;
            }
        }
    }

    /// One of the threads that have something to do does a piece of it.
    pub(crate) fn work(&mut self) -> Result<(), Violation> {
        self.pause(3);
        let ready = self.ready();
        if ready.is_empty() {
            return Ok(());
        }
        let chosen = self.random.below(ready.len() as u64) as usize;
        match ready[chosen] {
            Work::TakeFlush(directory) => self.take_flush(directory)?,
            Work::BeginFlush => self.begin_flush()?,
            Work::EndFlush => self.end_flush()?,
            Work::DeleteRecords => {
                if let Some((token, records)) = self.deletions.pop_front() {
                    let effects = self.node().delete_records(token, records);
                    self.carry_out(effects);
                }
            }
            Work::RunQueue(directory) => self.run_queue(directory),
            Work::Propose => {
                if let Some(proposal) = self.proposals.pop_front() {
                    let effects = self.node().propose(proposal);
                    self.carry_out(effects);
                }
            }
            Work::LoadGroups(shard) => {
                self.loads.remove(&shard);
                let effects = self.node().load_groups(shard);
                self.carry_out(effects);
            }
            Work::GroupTimer(shard) => {
                self.timers.remove(&shard);
                let effects = self.node().group_timeout(shard);
                self.carry_out(effects);
            }
            Work::TimeOut(connection) => self.time_out(connection)?,
            Work::Move(directory) => self.work_on_a_move(directory),
            Work::Deliver => {
                if let Some(news) = self.news.pop_front() {
                    self.deliver(news)?;
                }
            }
        }
        Ok(())
    }

    /// Takes what is in the next flush round. It begins at once, or lets batches gather.
    fn take_flush(&mut self, directory: usize) -> Result<(), Violation> {
        if self.is_put_off(directory) {
            return Ok(());
        }
        let next = self.node().next_flush(directory);
        self.gathering.extend(next);
        match self.random.chance(50) {
            true => self.begin_flush(),
            false => Ok(()),
        }
    }

    /// Begins a flush round. Its sync may be over at once, or not before it ends: what is written
    /// between the two is durable, or is not.
    fn begin_flush(&mut self) -> Result<(), Violation> {
        let Some(next) = self.gathering.pop_front() else {
            return Ok(());
        };
        let directory = next.directory();
        let mut effects = Vec::new();
        if let Some(round) = self.node().begin_flush(next, &mut effects) {
            let synced = match self.random.chance(50) {
                true => Some(self.sync(directory, &round)?),
                false => None,
            };
            self.rounds.push((directory, round, synced));
        }
        self.carry_out(effects);
        Ok(())
    }

    /// The sync of a round. One that fails takes all partitions of the directory with it, so nothing but a
    /// fault of the disk may fail it.
    fn sync(&self, directory: usize, round: &FlushRound) -> Result<io::Result<()>, Violation> {
        let synced = self.node().sync(round);
        let path = &self.log_directories[directory];
        match &synced {
            Err(error) if !self.disk.has_failed_below(path) => {
                violation(format!("a flush round failed on a whole disk: {error}"))
            }
            _ => Ok(synced),
        }
    }

    fn end_flush(&mut self) -> Result<(), Violation> {
        let chosen = self.random.below(self.rounds.len() as u64) as usize;
        if self.is_put_off(self.rounds[chosen].0) {
            return Ok(());
        }
        let mut effects = Vec::new();
        let (directory, round, synced) = self.rounds.swap_remove(chosen);
        let synced = match synced {
            Some(synced) => synced,
            None => self.sync(directory, &round)?,
        };
        self.node().end_flush(round, synced, &mut effects);
        self.carry_out(effects);
        Ok(())
    }

    fn is_put_off(&mut self, directory: usize) -> bool {
        let is_put_off = !self.random.chance(self.flush_percents[directory]);
        self.put_off += u64::from(is_put_off);
        is_put_off
    }

    /// The thread of a slow directory carries out a step.
    fn run_queue(&mut self, directory: usize) {
        self.queues.remove(&directory);
        let mut effects = Vec::new();
        match self.node().run_queue(directory, &mut effects) {
            QueueRest::None => {
                self.queued_steps += 1;
                self.queues.insert(directory, Instant(0));
            }
            QueueRest::Until(at) => {
                self.queues.insert(directory, at);
            }
            QueueRest::UntilCalled => {}
        }
        self.carry_out(effects);
    }

    /// What each thread would do next.
    fn ready(&self) -> Vec<Work> {
        let now = self.clock.now();
        let is_busy = |directory: usize| {
            let rounds = self.rounds.iter().map(|round| round.0);
            let gathering = self.gathering.iter().map(NextRound::directory);
            let all = rounds.chain(gathering).filter(|one| *one == directory);
            all.count() == ROUNDS_MAX
        };
        let begins =
            |directory: &usize| !is_busy(*directory) && self.node().awaits_flush(*directory);
        let begin = (0..self.log_directories.len()).filter(begins);
        let queue = self.queues.iter().find(|(_, at)| **at <= now);
        let timer = self.timers.iter().find(|(_, at)| **at <= now);
        let ready = [
            (!self.gathering.is_empty()).then_some(Work::BeginFlush),
            (!self.rounds.is_empty()).then_some(Work::EndFlush),
            queue.map(|(directory, _)| Work::RunQueue(*directory)),
            (!self.proposals.is_empty()).then_some(Work::Propose),
            (!self.deletions.is_empty()).then_some(Work::DeleteRecords),
            self.loads.first().map(|shard| Work::LoadGroups(*shard)),
            timer.map(|(shard, _)| Work::GroupTimer(*shard)),
            self.waited_enough().map(Work::TimeOut),
            (!self.news.is_empty()).then_some(Work::Deliver),
        ];
        let begin = begin.map(Work::TakeFlush);
        let moves = self.moving.iter().map(|directory| Work::Move(*directory));
        let ready = ready.into_iter().flatten().chain(moves);
        begin.chain(ready).collect()
    }

    pub(super) fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Flush(partition) => {
                    self.node().queue_flush(partition);
                }
                Effect::DeleteRecords { token, records } => {
                    self.deletions.push_back((token, records));
                }
                Effect::DescribeLogDirs { token, wanted } => {
                    let effects = self.node().describe_log_dirs(token, wanted.as_ref());
                    self.carry_out(effects);
                }
                Effect::RunQueue(directory) => {
                    self.queues.insert(directory, Instant(0));
                }
                Effect::MovePartitions => self.moving.extend(0..self.log_directories.len()),
                Effect::Propose(proposal) => self.proposals.push_back(proposal),
                Effect::Complete(news) => self.news.push_back(news),
                Effect::ReloadGroups { shard } => {
                    self.loads.insert(shard);
                }
                Effect::GroupTimer { shard, at } => {
                    self.timers.insert(shard, at);
                }
            }
        }
    }
}
