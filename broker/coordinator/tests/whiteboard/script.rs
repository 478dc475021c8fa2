//! The words of a script.
//!
//! ```text
//! config                              a new shard, with default settings, or with
//! config delay=3s group_max=2 members_max=5 groups_max=5 metadata_max=4 records_max=300 retention=60s
//! topic NAME partitions=N [id=N]      a topic exists;  `topic NAME gone` ends it
//! join G [m=ID] [i=INSTANCE] [s=10s] [r=20s] [type=T] [p=range:x,sticky:reads-t] [v=9] [client=c]
//! sync G m=ID gen=N [i=] [a=m1:x,m2:y] [type=] [name=] [v=5]
//! beat G m=ID gen=N [i=]
//! leave G [m=ID[/INSTANCE],…] [v=5]
//! commit G [m=] [gen=-1] [i=] [v=9] [keep=60s] t-0=5 t-1=7:note
//! fetch G [v=9] t-0 t-1 | all
//! describe G [v=6] · list [states=] [types=] · delete G · offsetdelete G t-0
//! topicgone NAME id=N [groups=N] [records=N] · expire [groups=N] [records=N]      in steps of so many
//! drop G N                            the connection of request #N is closed
//! after 5s                            time passes, timers run when they are due
//! append fails                        the next records cannot be appended
//! restart                             a new shard is loaded from the log
//! loading                             a shard that is still loading takes over
//! raw KEYHEX [VALUEHEX]               a record in the log, as another broker wrote it
//! ```
//!
//! Member ids are long; outputs call them m1, m2, … in the order in which they come up, and inputs
//! may use these names.

use std::collections::BTreeMap;
use std::time::Duration;

use millstream_coordinator::{
    After, CoordinatorRecord, GroupConfig, LoggedRecord, Outcome, ParkedAnswer, RequestContext,
    Shard, SweepCursor, SweepLimits, TopicLookup,
};
use millstream_model::{Instant, Offset, RequestToken, TopicId, WallTime};
use millstream_protocol::ErrorCode;

use crate::render::{Names, check_encodes, render_answer, render_record};

/// The wall clock when a script begins.
const WALL_START: i64 = 1_000_000;

/// A shard, its log, its topics and its clock.
pub struct Board {
    config: GroupConfig,
    pub shard: Shard,
    log: Vec<CoordinatorRecord>,
    pub topics: Topics,
    now: Duration,
    /// How many requests there were: the next one's number, and the id of a member it makes.
    pub requests: u64,
    fail_next_append: bool,
    /// The version of each request.
    versions: BTreeMap<RequestToken, i16>,
    pub names: Names,
}

impl Default for Board {
    fn default() -> Self {
        Board {
            config: GroupConfig::default(),
            shard: loaded(&GroupConfig::default(), &[], Instant(0)).0,
            log: Vec::new(),
            topics: Topics::default(),
            now: Duration::ZERO,
            requests: 0,
            fail_next_append: false,
            versions: BTreeMap::new(),
            names: Names::default(),
        }
    }
}

/// The topics of a script.
#[derive(Default)]
pub struct Topics(BTreeMap<String, (TopicId, i32)>);

impl TopicLookup for Topics {
    fn topic(&self, name: &str) -> Option<(TopicId, i32)> {
        self.0.get(name).copied()
    }

    fn topic_name(&self, id: TopicId) -> Option<&str> {
        let found = self.0.iter().find(|(_, (known, _))| *known == id);
        found.map(|(name, _)| name.as_str())
    }
}

fn loaded(config: &GroupConfig, log: &[CoordinatorRecord], now: Instant) -> (Shard, Vec<String>) {
    let mut shard = Shard::loading(config.clone());
    let mut errors = Vec::new();
    for (offset, record) in (0..).map(Offset).zip(log) {
        if let Err(error) = shard.load([LoggedRecord::of(offset, record)]) {
            errors.push(format!("error: {error}"));
        }
    }
    shard.finish_loading(now);
    (shard, errors)
}

/// One line, cut at blanks.
pub struct Line<'a> {
    verb: &'a str,
    /// What has no `=`.
    pub words: Vec<&'a str>,
    pub settings: Vec<(&'a str, &'a str)>,
}

impl<'a> Line<'a> {
    fn read(line: &'a str) -> Line<'a> {
        let mut parts = line.split_whitespace();
        let verb = parts.next().expect("a line has a verb");
        let (settings, words) = parts.partition::<Vec<&str>, _>(|part| part.contains('='));
        let settings = settings
            .iter()
            .filter_map(|part| part.split_once('='))
            .collect();
        Line {
            verb,
            words,
            settings,
        }
    }

    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.settings
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| *value)
    }

    pub fn number<T: std::str::FromStr>(&self, name: &str, default: T) -> T {
        let parse = |text: &str| text.parse().unwrap_or_else(|_| panic!("{name}={text}"));
        self.get(name).map_or(default, parse)
    }

    pub fn millis(&self, name: &str, default: &str) -> i32 {
        let text = self.get(name).unwrap_or(default);
        i32::try_from(duration(text).as_millis()).expect("a short time")
    }

    pub fn list(&self, name: &str) -> Vec<&'a str> {
        let items = self.get(name).unwrap_or_default().split(',');
        items.filter(|item| !item.is_empty()).collect()
    }

    pub fn group(&self) -> &'a str {
        match self.words.first() {
            Some(&"-") | None => "",
            Some(group) => group,
        }
    }
}

pub fn duration(text: &str) -> Duration {
    if let Some(ms) = text.strip_suffix("ms") {
        return Duration::from_millis(ms.parse().expect("milliseconds"));
    }
    let seconds = text.strip_suffix('s').expect("a time ends in s or ms");
    Duration::from_secs(seconds.parse().expect("seconds"))
}

pub fn topic_id(number: u8) -> TopicId {
    let mut bytes = [0; 16];
    bytes[15] = number;
    TopicId(bytes)
}

pub fn topic_partition(text: &str) -> (&str, i32) {
    let (topic, partition) = text.rsplit_once('-').expect("topic-partition");
    (topic, partition.parse().expect("a partition"))
}

impl Board {
    /// Runs one line and tells what happened.
    pub fn run(&mut self, text: &str) -> Vec<String> {
        let line = Line::read(text);
        match line.verb {
            "config" => self.configure(&line),
            "topic" => self.topic(&line),
            "after" => self.pass(duration(line.words[0])),
            "append" => {
                self.fail_next_append = true;
                Vec::new()
            }
            "restart" => self.restart(),
            "loading" => {
                self.shard = Shard::loading(self.config.clone());
                Vec::new()
            }
            "raw" => {
                let bytes = |text: &&str| from_hex(text);
                let key = line.words.first().map(bytes).unwrap_or_default();
                let value = line.words.get(1).map(bytes).map(Into::into);
                self.log.push(CoordinatorRecord {
                    key: key.into(),
                    value,
                });
                Vec::new()
            }
            "drop" => {
                let request = line.words[1].parse().expect("a request's number");
                let token = RequestToken {
                    connection: 0,
                    request,
                };
                let (now, wall) = (self.now(), self.wall());
                let outcome = self.shard.handle_disconnect(now, wall, line.group(), token);
                self.take(outcome)
            }
            "durable" => self.durable(),
            _ => self.request(&line),
        }
    }

    pub fn now(&self) -> Instant {
        Instant::default().after(self.now)
    }

    pub fn wall(&self) -> WallTime {
        WallTime(WALL_START + i64::try_from(self.now.as_millis()).expect("a short script"))
    }

    fn configure(&mut self, line: &Line<'_>) -> Vec<String> {
        self.config = GroupConfig::default();
        for (name, value) in &line.settings {
            let number = || value.parse().expect("a number");
            match *name {
                "delay" => self.config.initial_rebalance_delay = duration(value),
                "group_max" => self.config.group_max_size = number(),
                "members_max" => self.config.members_max = number(),
                "groups_max" => self.config.groups_max = number(),
                "metadata_max" => self.config.offset_metadata_max_bytes = number(),
                "records_max" => self.config.records_max_bytes = number(),
                "retention" => self.config.offsets_retention = duration(value),
                _ => panic!("no setting {name}"),
            }
        }
        let topics = std::mem::take(&mut self.topics);
        let shard = loaded(&self.config, &[], Instant(0)).0;
        *self = Board {
            config: self.config.clone(),
            shard,
            topics,
            ..Board::default()
        };
        Vec::new()
    }

    fn topic(&mut self, line: &Line<'_>) -> Vec<String> {
        let name = line.words[0];
        if line.words.get(1) == Some(&"gone") {
            self.topics.0.remove(name);
        } else {
            let id = topic_id(line.number("id", 1));
            self.topics
                .0
                .insert(name.to_owned(), (id, line.number("partitions", 1)));
        }
        Vec::new()
    }

    fn pass(&mut self, duration: Duration) -> Vec<String> {
        let end = self.now + duration;
        let mut outputs = Vec::new();
        while let Some(at) = self.shard.next_timeout() {
            let at = Duration::from_nanos(at.0);
            if at > end {
                break;
            }
            self.now = self.now.max(at);
            let outcome = self.shard.handle_timeout(self.now(), self.wall());
            for output in self.take(outcome) {
                outputs.push(format!("at {:?}: {output}", self.now));
            }
        }
        self.now = end;
        outputs
    }

    fn restart(&mut self) -> Vec<String> {
        let (shard, mut outputs) = loaded(&self.config, &self.log, self.now());
        self.shard = shard;
        outputs.extend(self.durable());
        outputs
    }

    fn durable(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        for group in self.shard.durable_groups() {
            let members = group.members.iter().map(|member| {
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                let instance = member
                    .instance_id
                    .as_deref()
                    .map_or(String::new(), |i| format!("/{i}"));
                let (subscription, assignment) =
                    (text(&member.subscription), text(&member.assignment));
                format!("{}{instance}:{subscription}>{assignment}", member.member_id)
            });
            let members: Vec<String> = members.collect();
            let offsets = group.offsets.iter().map(|(topic, partition, committed)| {
                format!("{topic}-{partition}={}", committed.offset)
            });
            let offsets: Vec<String> = offsets.collect();
            let line = format!(
                "group {} {} gen={} members=[{}] offsets=[{}]",
                group.group_id,
                group.state.unwrap_or("-"),
                group.generation_id,
                members.join(" "),
                offsets.join(" "),
            );
            outputs.push(self.names.shorten(&line));
        }
        if self.shard.unknown_records() > 0 {
            outputs.push(format!("unknown records: {}", self.shard.unknown_records()));
        }
        outputs
    }

    fn request(&mut self, line: &Line<'_>) -> Vec<String> {
        self.requests += 1;
        let client_id = line.get("client").unwrap_or("c");
        let default_version = match line.verb {
            "join" | "fetch" | "commit" => 9,
            "sync" | "leave" | "list" => 5,
            "describe" => 6,
            _ => 4,
        };
        let context = RequestContext {
            token: RequestToken {
                connection: 0,
                request: self.requests,
            },
            client_id,
            client_host: "/h",
            api_version: line.number("v", default_version),
        };
        self.versions.insert(context.token, context.api_version);
        let outcome = match line.verb {
            "join" => self.join(line, &context),
            "sync" => self.sync(line, &context),
            "beat" => self.beat(line, &context),
            "leave" => self.leave(line, &context),
            "commit" => self.commit(line, &context),
            "fetch" => self.fetch(line, &context),
            "describe" => self.shard.handle_describe_group(&context, line.group()),
            "delete" => self.shard.handle_delete_group(&context, line.group()),
            "list" => self.list(line, &context),
            "offsetdelete" => self.offset_delete(line, &context),
            "topicgone" => {
                let deleted = [(line.words[0].into(), topic_id(line.number("id", 1)))];
                return self.sweep(line, |shard, _, from, limits| {
                    shard.handle_topics_deleted(&deleted, from, limits)
                });
            }
            "expire" => {
                return self.sweep(line, |shard, wall, from, limits| {
                    shard.handle_expiry(wall, from, limits)
                });
            }
            verb => panic!("no word {verb}"),
        };
        self.take(outcome)
    }

    /// All steps of a sweep. Between them it says where the next begins.
    fn sweep(
        &mut self,
        line: &Line<'_>,
        step: impl Fn(&Shard, WallTime, Option<&str>, SweepLimits) -> (Outcome, Option<SweepCursor>),
    ) -> Vec<String> {
        let limits = SweepLimits {
            groups_max: line.number("groups", 1000),
            records_max: line.number("records", 1000),
        };
        let mut outputs = Vec::new();
        let mut from: Option<SweepCursor> = None;
        loop {
            let (outcome, next) = step(&self.shard, self.wall(), from.as_deref(), limits);
            outputs.extend(self.take(outcome));
            let Some(next) = next else {
                return outputs;
            };
            outputs.push(format!("goes on at {next}"));
            from = Some(next);
        }
    }

    /// Does what the holder of a shard does, and tells it.
    fn take(&mut self, outcome: Outcome) -> Vec<String> {
        let mut outputs = Vec::new();
        let fails = self.fail_next_append && !outcome.records.is_empty();
        for record in &outcome.records {
            outputs.push(self.names.shorten(&render_record(record)));
            if !fails {
                let offset = Offset(self.log.len().try_into().expect("a short script"));
                self.shard
                    .replay(offset, record)
                    .expect("own records replay");
                self.log.push(record.clone());
            }
        }
        let mut answers = outcome.answers;
        if fails {
            self.fail_next_append = false;
            outputs.push("append failed".to_owned());
            for answer in &mut answers {
                let version = self.versions[&answer.token];
                let body = answer
                    .body
                    .clone()
                    .into_refusal(version, ErrorCode::NotCoordinator);
                *answer = ParkedAnswer {
                    after: After::Immediate,
                    body,
                    ..*answer
                };
            }
            answers.extend(self.shard.drain_parked());
            self.shard = loaded(&self.config, &self.log, self.now()).0;
        }
        for answer in &answers {
            check_encodes(&answer.body, self.versions[&answer.token]);
            outputs.push(self.names.shorten(&render_answer(answer)));
        }
        outputs
    }
}

fn from_hex(text: &str) -> Vec<u8> {
    let byte = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).expect("hex");
    (0..text.len()).step_by(2).map(byte).collect()
}
