//! The world around the shard: clock, log, network, faults.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use millstream_coordinator::{
    After, CoordinatorRecord, GroupAnswer, GroupConfig, LoggedRecord, Outcome, Shard,
};
use millstream_model::{Instant, Offset, RequestToken, WallTime};
use millstream_protocol::ErrorCode;

use crate::calls::Call;
use crate::checker::Checker;
use crate::client::{Client, Next, PARTITIONS, Phase};

const GROUPS: usize = 2;
const CLIENTS_PER_GROUP: usize = 5;
pub const SESSION: Duration = Duration::from_secs(6);
const HEARTBEAT: Duration = Duration::from_secs(2);
/// What the promise adds to the session timeout.
const SETTLE: Duration = Duration::from_secs(3);

/// What happens at a moment.
enum Event {
    /// A client does what it must do next, if it still lives this life.
    Act { client: usize, life: u64 },
    /// An answer arrives.
    Deliver { request: u64, answer: GroupAnswer },
    /// Everything up to this offset is committed.
    Committed(usize),
    /// The shard has read its log.
    Loaded,
    /// Something goes wrong.
    Fault,
}

pub struct World {
    random: u64,
    pub now: Duration,
    events: BTreeMap<(Duration, u64), Event>,
    event_count: u64,
    pub shard: Shard,
    log: Vec<CoordinatorRecord>,
    high_watermark: usize,
    /// Answers that wait for the high watermark to reach an offset.
    parked: Vec<(usize, u64, GroupAnswer)>,
    pub calls: BTreeMap<u64, Call>,
    pub call_count: u64,
    pub clients: Vec<Client>,
    pub checker: Checker,
    faults: bool,
    /// When the groups last had a reason to change.
    pub last_change: Duration,
    trace: DefaultHasher,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut shard = Shard::loading(GroupConfig::default());
        shard.finish_loading(Instant(0));
        let clients = (0..GROUPS * CLIENTS_PER_GROUP)
            .map(|number| Client::new(number % GROUPS, number / GROUPS));
        World {
            random: seed,
            now: Duration::ZERO,
            events: BTreeMap::new(),
            event_count: 0,
            shard,
            log: Vec::new(),
            high_watermark: 0,
            parked: Vec::new(),
            calls: BTreeMap::new(),
            call_count: 0,
            clients: clients.collect(),
            checker: Checker::default(),
            faults: true,
            last_change: Duration::ZERO,
            trace: DefaultHasher::new(),
        }
    }

    /// Phase one: anything may happen.
    pub fn run_with_faults(&mut self, length: Duration) {
        self.plan(Duration::ZERO, Event::Fault);
        self.run_until(length);
    }

    /// Phase two: nothing more goes wrong; the groups must settle.
    pub fn heal_and_settle(&mut self) {
        self.faults = false;
        for number in 0..self.clients.len() {
            if self.clients[number].phase == Phase::Dead && self.below(2) == 0 {
                self.start_client(number);
            }
        }
        let settled = self.last_change + SESSION + SETTLE;
        self.run_until(settled.max(self.now));
        self.check_settled();
        self.run_until(self.now + SESSION);
        self.check_settled();
        self.check_replay();
    }

    /// Phase three: all leave, and nothing is left to wait for.
    pub fn everybody_leaves(&mut self) {
        for number in 0..self.clients.len() {
            self.leave(number);
        }
        self.run_until(self.now + SESSION + SETTLE);
        assert_eq!(self.shard.next_timeout(), None, "a timer is left");
        assert!(self.parked.is_empty());
        self.check_replay();
    }

    /// A number that tells runs apart.
    pub fn trace(&self) -> u64 {
        self.trace.finish()
    }

    /// A number under `bound`: the SplitMix64 sequence.
    pub fn below(&mut self, bound: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn millis(&mut self, bound: u64) -> Duration {
        Duration::from_millis(self.below(bound))
    }

    fn plan(&mut self, delay: Duration, event: Event) {
        self.event_count += 1;
        self.events
            .insert((self.now + delay, self.event_count), event);
    }

    pub fn instant(&self) -> Instant {
        Instant::default().after(self.now)
    }

    pub fn wall(&self) -> WallTime {
        WallTime(i64::try_from(self.now.as_millis()).expect("a short run"))
    }

    fn run_until(&mut self, end: Duration) {
        loop {
            let timer = self
                .shard
                .next_timeout()
                .map(|at| Duration::from_nanos(at.0));
            let event = self.events.keys().next().map(|(at, _)| *at);
            let timer_is_next = timer.is_some_and(|timer| event.is_none_or(|event| timer <= event));
            let next = if timer_is_next { timer } else { event };
            let Some(next) = next.filter(|next| *next <= end) else {
                break;
            };
            self.now = self.now.max(next);
            if timer_is_next {
                let outcome = self.shard.handle_timeout(self.instant(), self.wall());
                self.take(outcome);
            } else if let Some((_, event)) = self.events.pop_first() {
                self.handle(event);
            }
        }
        self.now = end;
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Act { client, life } if self.clients[client].life == life => self.act(client),
            Event::Act { .. } => {}
            Event::Deliver { request, answer } => self.deliver(request, &answer),
            Event::Committed(end) => self.commit_until(end),
            Event::Loaded => {
                if self.shard.is_loading() {
                    self.shard.finish_loading(self.instant());
                    self.last_change = self.now;
                }
            }
            Event::Fault => self.fault(),
        }
    }

    /// Appends, replays and parks, as the holder of a shard must.
    pub fn take(&mut self, outcome: Outcome) {
        if !outcome.records.is_empty() && self.faults && self.below(60) == 0 {
            self.fail_append(outcome);
            return;
        }
        for record in outcome.records {
            self.shard
                .replay(Offset(self.log.len() as i64), &record)
                .expect("own records replay");
            record.key.hash(&mut self.trace);
            record.value.hash(&mut self.trace);
            self.log.push(record);
        }
        let end = self.log.len();
        if end > self.high_watermark {
            let delay = self.millis(30);
            self.plan(delay, Event::Committed(end));
        }
        for answer in outcome.answers {
            let until = match answer.after {
                After::Immediate => 0,
                After::Records => end,
                After::Committed(until) => until.0 as usize,
            };
            self.parked.push((until, answer.token.request, answer.body));
        }
        self.release();
    }

    fn fail_append(&mut self, outcome: Outcome) {
        let mut refused = Vec::new();
        for answer in outcome.answers {
            let version = self
                .calls
                .get(&answer.token.request)
                .map_or(0, |call| call.version);
            let body = answer.body.into_refusal(version, ErrorCode::NotCoordinator);
            refused.push((0, answer.token.request, body));
        }
        let drained = self.shard.drain_parked();
        refused.extend(
            drained
                .into_iter()
                .map(|answer| (0, answer.token.request, answer.body)),
        );
        for (_, request, body) in std::mem::take(&mut self.parked) {
            let version = self.calls.get(&request).map_or(0, |call| call.version);
            refused.push((
                0,
                request,
                body.into_refusal(version, ErrorCode::NotCoordinator),
            ));
        }
        self.parked = refused;
        self.release();
        self.reload();
    }

    /// A new shard reads the log, and answers after a while.
    fn reload(&mut self) {
        self.shard = Shard::loading(GroupConfig::default());
        let logged = logged(&self.log);
        self.shard.load(logged).expect("own records load");
        self.last_change = self.now;
        let delay = self.millis(500);
        self.plan(delay, Event::Loaded);
    }

    fn commit_until(&mut self, end: usize) {
        self.high_watermark = end.min(self.log.len()).max(self.high_watermark);
        self.release();
    }

    fn release(&mut self) {
        let parked = std::mem::take(&mut self.parked);
        for (until, request, answer) in parked {
            if until <= self.high_watermark {
                let delay = self.millis(20);
                self.plan(delay, Event::Deliver { request, answer });
            } else {
                self.parked.push((until, request, answer));
            }
        }
    }

    fn deliver(&mut self, request: u64, answer: &GroupAnswer) {
        let Some(call) = self.calls.remove(&request) else {
            return;
        };
        let client = &mut self.clients[call.client];
        if client.life != call.life || client.call != Some(request) {
            return;
        }
        (request, format!("{answer:?}")).hash(&mut self.trace);
        let group = client.group;
        match answer {
            GroupAnswer::Commit(commit) if commit.topics[0].partitions[0].error_code == 0 => {
                let (partition, offset) = call.offset.expect("a commit has an offset");
                self.checker.saw(group, partition, offset);
            }
            GroupAnswer::OffsetFetch(fetch) if fetch.error_code == 0 => {
                let (partition, floor) = call.offset.expect("a fetch has a floor");
                let read = fetch.topics[0].partitions[0].committed_offset;
                assert!(
                    read >= floor,
                    "group {group}, t-{partition}: {read} after {floor}"
                );
            }
            _ => {}
        }
        let next = client.handle(answer);
        if let (GroupAnswer::Sync(_), Phase::Working) = (answer, &client.phase) {
            let owner = client.instance_id.as_ref().unwrap_or(&client.member_id);
            self.checker
                .assigned(group, client.generation, owner, &client.partitions);
        }
        if matches!(client.phase, Phase::Dead) {
            self.last_change = self.now;
            return;
        }
        let life = client.life;
        let delay = match next {
            Next::AtOnce => Duration::ZERO,
            Next::Soon => self.millis(200),
            Next::Later => HEARTBEAT / 2 - self.millis(500),
        };
        self.plan(
            delay,
            Event::Act {
                client: call.client,
                life,
            },
        );
    }

    fn act(&mut self, number: usize) {
        let client = &self.clients[number];
        if client.call.is_some() {
            return;
        }
        match client.phase.clone() {
            Phase::Dead => {}
            Phase::MustJoin => self.join(number),
            Phase::MustSync(shares) => self.sync(number, shares),
            // Every second call is a heartbeat: other calls do not tell of a rebalance.
            Phase::Working => {
                let beats = !client.has_just_beaten;
                self.clients[number].has_just_beaten = beats;
                match self.below(2) {
                    _ if beats => self.beat(number),
                    0 => self.commit(number),
                    _ => self.fetch(number),
                }
            }
        }
    }

    fn start_client(&mut self, number: usize) {
        self.clients[number].start();
        self.last_change = self.now;
        let (delay, life) = (self.millis(50), self.clients[number].life);
        self.plan(
            delay,
            Event::Act {
                client: number,
                life,
            },
        );
    }

    pub fn kill_client(&mut self, number: usize) {
        let client = &mut self.clients[number];
        if client.phase == Phase::Dead {
            return;
        }
        let (group, call) = (client.group.to_string(), client.call);
        client.stop();
        self.last_change = self.now;
        self.disconnect(number, &group, call);
    }

    /// A live client loses its connection, and calls again over another.
    fn drop_connection(&mut self, number: usize) {
        let client = &mut self.clients[number];
        let Some(call) = client.call.take() else {
            return;
        };
        client.rejoin();
        let (group, life) = (client.group.to_string(), client.life);
        self.last_change = self.now;
        let delay = self.millis(1000);
        self.plan(
            delay,
            Event::Act {
                client: number,
                life,
            },
        );
        self.disconnect(number, &group, Some(call));
    }

    fn disconnect(&mut self, number: usize, group: &str, call: Option<u64>) {
        let Some(request) = call else { return };
        let token = RequestToken {
            connection: number as u64,
            request,
        };
        let (now, wall) = (self.instant(), self.wall());
        let outcome = self.shard.handle_disconnect(now, wall, group, token);
        self.take(outcome);
    }

    fn fault(&mut self) {
        if !self.faults {
            return;
        }
        let number = self.below(self.clients.len() as u64) as usize;
        let is_dead = self.clients[number].phase == Phase::Dead;
        match self.below(12) {
            0..=6 if is_dead => self.start_client(number),
            0..=3 => self.kill_client(number),
            4 | 5 => self.leave(number),
            7 => self.crash(),
            8 => self.drop_connection(number),
            _ => {}
        }
        let delay = self.millis(1500);
        self.plan(delay, Event::Fault);
    }

    /// The broker dies: what was not committed may be lost, every call is.
    fn crash(&mut self) {
        self.check_replay();
        let lost = self.below((self.log.len() - self.high_watermark) as u64 + 1) as usize;
        self.log.truncate(self.log.len() - lost);
        self.high_watermark = self.log.len();
        self.parked.clear();
        self.calls.clear();
        self.events
            .retain(|_, event| matches!(event, Event::Act { .. } | Event::Fault));
        for number in 0..self.clients.len() {
            let client = &mut self.clients[number];
            if client.call.take().is_some() {
                client.rejoin();
                let (delay, life) = (self.millis(200), self.clients[number].life);
                self.plan(
                    delay,
                    Event::Act {
                        client: number,
                        life,
                    },
                );
            }
        }
        self.reload();
    }

    /// The log gives the state that the running shard has.
    fn check_replay(&self) {
        let mut again = Shard::loading(GroupConfig::default());
        again.load(logged(&self.log)).expect("own records load");
        for (mut again, live) in again
            .durable_groups()
            .into_iter()
            .zip(self.shard.durable_groups())
        {
            if live.state.is_none() {
                let (group_id, offsets) = (again.group_id, again.offsets);
                again = live.clone();
                (again.group_id, again.offsets) = (group_id, offsets);
            }
            assert_eq!(again, live);
        }
        assert_eq!(
            again.durable_groups().len(),
            self.shard.durable_groups().len()
        );
    }

    fn check_settled(&self) {
        for group in 0..GROUPS {
            let live: Vec<&Client> = self
                .clients
                .iter()
                .filter(|client| client.group == group && client.phase != Phase::Dead)
                .collect();
            let mut owned: Vec<i32> = live
                .iter()
                .flat_map(|client| client.partitions.clone())
                .collect();
            owned.sort_unstable();
            for client in &live {
                assert_eq!(client.phase, Phase::Working, "{:?} {client:?}", self.now);
                assert_eq!(client.generation, live[0].generation, "{client:?}");
            }
            if !live.is_empty() {
                let all: Vec<i32> = (0..PARTITIONS).collect();
                assert_eq!(owned, all, "group {group} at {:?}: {live:?}", self.now);
            }
        }
    }
}

fn logged(log: &[CoordinatorRecord]) -> impl Iterator<Item = LoggedRecord> {
    let offsets = (0..).map(Offset);
    offsets
        .zip(log)
        .map(|(offset, record)| LoggedRecord::of(offset, record))
}
