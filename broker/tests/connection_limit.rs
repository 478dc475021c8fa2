//! A broker with few descriptors, or with limits on connections: it takes what it can hold, and waits where it
//! cannot.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::time::{Duration, Instant};

/// Half a second in which nothing is to happen.
const QUIET: Duration = Duration::from_millis(500);

const ONE_LISTENER: &str = "listeners=PLAINTEXT://127.0.0.1:0";

/// A broker on free ports under `ulimit -n`, ended when the test ends.
struct Broker {
    child: Child,
    kafka: String,
    http: String,
    log: BufReader<ChildStderr>,
    _directory: tempfile::TempDir,
}

impl Broker {
    /// `limits` are commands of a shell.
    fn start(limits: &str, settings: &[&str]) -> Broker {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let mut child = Command::new("sh")
            .args(["-c", &format!("{limits} && exec \"$0\" \"$@\"")])
            .arg(env!("CARGO_BIN_EXE_millstream"))
            .args(["serve", "--http", "127.0.0.1:0"])
            .arg("--data-dir")
            .arg(data)
            .args(settings.iter().flat_map(|setting| ["--set", setting]))
            .env_remove("MILLSTREAM_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        out.read_line(&mut line).unwrap();
        let address = |name: &str| {
            let word = line.split_whitespace().find_map(|w| w.strip_prefix(name));
            word.unwrap_or_else(|| panic!("{line:?}")).to_owned()
        };
        Broker {
            kafka: address("kafka="),
            http: address("http="),
            log: BufReader::new(child.stderr.take().unwrap()),
            child,
            _directory: directory,
        }
    }

    /// Reads the log up to a line with `text` and answers that line.
    fn wait_for_line(&mut self, text: &str) -> String {
        let mut before = String::new();
        loop {
            let mut line = String::new();
            let length = self.log.read_line(&mut line).unwrap();
            assert!(length > 0, "the log ended without {text:?}: {before}");
            if line.contains(text) {
                return line;
            }
            before.push_str(&line);
        }
    }

    /// Ends the broker and answers how often the unread log has `text`.
    fn count_in_rest_of_log(mut self, text: &str) -> usize {
        self.child.kill().unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        rest.matches(text).count()
    }

    /// What the broker's descriptors stand for.
    fn open_descriptors(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap();
        let targets = entries.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        targets.collect()
    }

    /// Processor time used so far, in hundredths of a second (`/proc/PID/stat`, fields 14 and 15).
    fn ticks(&self) -> u64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        let (_, after_name) = stat.rsplit_once(')').unwrap();
        let times = after_name.split_whitespace().skip(11).take(2);
        times.map(|text| text.parse::<u64>().unwrap()).sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Connects and asks for the versions. Answers the connection if it was answered.
fn ask(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).unwrap();
    send_api_versions(&mut stream)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length).ok()?;
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).ok()?;
    Some(stream)
}

/// ApiVersions, version 0: length, key 18, version 0, correlation id 7, no client id.
fn send_api_versions(stream: &mut TcpStream) -> Option<()> {
    let request = [0, 0, 0, 10, 0, 18, 0, 0, 0, 0, 0, 7, 0xff, 0xff];
    stream.write_all(&request).ok()
}

#[test]
fn max_connections_is_cut_to_three_of_four_descriptors() {
    let mut broker = Broker::start("ulimit -n 128", &[ONE_LISTENER, "max.connections=1000"]);
    let line = broker.wait_for_line("max.connections");
    for part in [
        "max.connections=1000",
        "128 descriptors",
        "96 connections",
        "1333",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    let mut taken: Vec<TcpStream> = (0..104).filter_map(|_| ask(&broker.kafka)).collect();
    assert_eq!(taken.len(), 96);
    // A place that becomes free is taken again, as soon as the broker has seen that it is.
    taken.pop();
    assert!((0..10_000).any(|_| ask(&broker.kafka).is_some()));
    assert_eq!(broker.count_in_rest_of_log("descriptors"), 0);
}

#[test]
fn the_soft_limit_is_raised_to_the_hard_one() {
    let limits = "ulimit -Sn 48 && ulimit -Hn 256";
    let broker = Broker::start(limits, &[ONE_LISTENER, "max.connections=100"]);
    let taken: Vec<TcpStream> = (0..110).filter_map(|_| ask(&broker.kafka)).collect();
    assert_eq!(taken.len(), 100);
    assert_eq!(broker.count_in_rest_of_log("descriptors"), 0);
}

#[test]
fn all_listeners_share_the_connections() {
    let settings = [
        "max.connections=3",
        "listeners=A://127.0.0.1:0,B://127.0.0.1:0",
        "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
    ];
    let broker = Broker::start("true", &settings);
    let second = other_listener(&broker);
    let first: Vec<TcpStream> = (0..2).filter_map(|_| ask(&broker.kafka)).collect();
    assert_eq!(first.len(), 2);
    let taken: Vec<TcpStream> = (0..4).filter_map(|_| ask(&second)).collect();
    assert_eq!(taken.len(), 1);
}

/// The address that the broker listens on beside the two it announces.
fn other_listener(broker: &Broker) -> String {
    let id = broker.child.id();
    let descriptors = broker.open_descriptors().into_iter();
    let sockets: Vec<String> = descriptors
        .filter_map(|target| {
            let inode = target.to_str()?.strip_prefix("socket:[")?;
            Some(inode.strip_suffix(']')?.to_owned())
        })
        .collect();
    let table = fs::read_to_string(format!("/proc/{id}/net/tcp")).unwrap();
    let mut listening = table.lines().skip(1).filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        // Local address, state (0A: listening), inode.
        let is_ours = fields[3] == "0A" && sockets.contains(&fields[9].to_owned());
        let (_, port) = fields[1].split_once(':')?;
        let port = u16::from_str_radix(port, 16).unwrap();
        is_ours.then(|| format!("127.0.0.1:{port}"))
    });
    listening
        .find(|address| *address != broker.kafka && *address != broker.http)
        .unwrap()
}

#[test]
fn without_descriptors_accepting_pauses_and_goes_on_when_there_are_some() {
    let mut broker = Broker::start("ulimit -n 64", &[ONE_LISTENER]);
    // HTTP has no share of its own, so it can take what is left.
    let crowd: Vec<TcpStream> = (0..64)
        .map(|_| TcpStream::connect(&broker.http).unwrap())
        .collect();
    while broker.open_descriptors().len() < 64 {
        std::thread::yield_now();
    }
    let mut last = TcpStream::connect(&broker.kafka).unwrap();
    send_api_versions(&mut last).unwrap();
    broker.wait_for_line("cannot accept connections");
    last.set_read_timeout(Some(QUIET)).unwrap();
    let before = broker.ticks();
    let silence = last.read(&mut [0; 4]).unwrap_err().kind();
    assert!(matches!(
        silence,
        ErrorKind::WouldBlock | ErrorKind::TimedOut
    ));
    let used = broker.ticks() - before;
    assert!(used <= 15, "{used} hundredths of a second of half a second");
    drop(crowd);
    last.set_read_timeout(None).unwrap();
    let mut length = [0; 4];
    last.read_exact(&mut length).unwrap();
    // Said once, not with every attempt.
    assert_eq!(broker.count_in_rest_of_log("cannot accept"), 0);
}

#[test]
fn one_address_has_its_share_and_single_ones_another() {
    let settings = [ONE_LISTENER, "max.connections.per.ip=2"];
    let mut broker = Broker::start("true", &settings);
    let mut taken: Vec<TcpStream> = (0..4).filter_map(|_| ask(&broker.kafka)).collect();
    assert_eq!(taken.len(), 2);
    let line = broker.wait_for_line("connection refused");
    for part in [
        "listener=\"plaintext\"",
        "2 connections from the address",
        "max.connections.per.ip",
    ] {
        assert!(line.contains(part), "{part}: {line}");
    }
    taken.pop();
    assert!((0..10_000).any(|_| ask(&broker.kafka).is_some()));

    let settings = [
        ONE_LISTENER,
        "max.connections.per.ip=0",
        "max.connections.per.ip.overrides=10.0.0.1:9,127.0.0.1:3",
    ];
    let broker = Broker::start("true", &settings);
    let taken: Vec<TcpStream> = (0..5).filter_map(|_| ask(&broker.kafka)).collect();
    assert_eq!(taken.len(), 3);
}

#[test]
fn a_listener_has_its_share() {
    let settings = [
        "listeners=A://127.0.0.1:0,B://127.0.0.1:0",
        "listener.security.protocol.map=A:PLAINTEXT,B:PLAINTEXT",
        "listener.name.a.max.connections=2",
    ];
    let broker = Broker::start("true", &settings);
    let second = other_listener(&broker);
    let first: Vec<TcpStream> = (0..4).filter_map(|_| ask(&broker.kafka)).collect();
    let others: Vec<TcpStream> = (0..4).filter_map(|_| ask(&second)).collect();
    assert_eq!((first.len(), others.len()), (2, 4));
}

#[test]
fn connections_that_come_too_fast_are_served_later() {
    // Within a second one, and not ten at once after silence.
    let settings = [
        ONE_LISTENER,
        "listener.name.plaintext.max.connection.creation.rate=1",
        "quota.window.num=2",
    ];
    let broker = Broker::start("true", &settings);
    let first = ask(&broker.kafka);
    let begin = Instant::now();
    let second = ask(&broker.kafka);
    assert!(first.is_some() && second.is_some());
    let waited = begin.elapsed();
    assert!(waited > Duration::from_millis(700), "{waited:?}");
}
