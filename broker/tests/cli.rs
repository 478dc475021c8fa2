//! The program as its users start it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{self, Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

fn millstream(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command
        .args(arguments)
        .env_remove("MILLSTREAM_LOG")
        .stdin(Stdio::null());
    command
}

fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = millstream(arguments).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

/// An address that nobody holds, below the ports that the system gives out by itself.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Where the search begins differs between processes that test at the same time.
    let first = (process::id() % 90 * 10) as u16;
    for _ in 0..1000 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 20_000 + (first + step) % 1000);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no free port between 20000 and 20999");
}

/// A broker on free ports, ended when the test ends.
struct Broker {
    child: Child,
    kafka: String,
    http: String,
    _directory: tempfile::TempDir,
}

impl Broker {
    fn start(arguments: &[&str]) -> Broker {
        let directory = tempfile::tempdir().unwrap();
        let mut child = millstream(&["serve"])
            .args(["--listen", &free_address(), "--http", &free_address()])
            .arg("--data-dir")
            .arg(directory.path().join("data"))
            .args(arguments)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let mut words = line.split_whitespace();
        assert_eq!(
            (words.next(), words.next()),
            (Some("millstream"), Some("ready")),
            "{line:?}"
        );
        let kafka = words
            .next()
            .unwrap()
            .strip_prefix("kafka=")
            .unwrap()
            .to_owned();
        let http = words
            .next()
            .unwrap()
            .strip_prefix("http=")
            .unwrap()
            .to_owned();
        Broker {
            child,
            kafka,
            http,
            _directory: directory,
        }
    }

    fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args([name, &id])
                .status()
                .unwrap()
                .success()
        );
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn help_names_the_commands() {
    let (code, out, _) = run(&["--help"]);
    assert_eq!(code, Some(0));
    for command in ["serve", "topic", "produce", "consume", "log", "bench"] {
        assert!(out.contains(&format!("  {command} ")), "{out}");
    }
    let (code, out, _) = run(&["serve", "--help"]);
    assert_eq!(code, Some(0));
    for flag in [
        "--config",
        "--data-dir",
        "--listen",
        "--http",
        "--set",
        "--log",
    ] {
        assert!(out.contains(flag), "{out}");
    }
}

#[test]
fn an_unknown_setting_ends_with_2_and_the_nearest_name() {
    let (code, out, err) = run(&["serve", "--set", "num.partition=3"]);
    assert_eq!((code, out.as_str()), (Some(2), ""));
    assert_eq!(
        err,
        "error: --set: unknown setting num.partition; did you mean num.partitions?\n"
    );
}

#[test]
fn the_environment_is_read_and_its_mistakes_are_named_by_their_variables() {
    let run = |variable: &str, value: &str| {
        let mut command = millstream(&["serve"]);
        let output = command.env(variable, value).output().unwrap();
        let err = String::from_utf8(output.stderr).unwrap();
        (output.status.code(), err)
    };
    let unknown = "error: MILLSTREAM_SET_NUM_PARTITION: unknown setting num.partition; did you \
                   mean num.partitions?\n";
    let expected = (Some(2), unknown.to_owned());
    assert_eq!(run("MILLSTREAM_SET_NUM_PARTITION", "3"), expected);
    let (code, err) = run("MILLSTREAM_SET_NUM_PARTITIONS", "0");
    assert_eq!(code, Some(2));
    let start = "error: MILLSTREAM_SET_NUM_PARTITIONS: config num.partitions has the value \"0\"";
    assert!(err.starts_with(start), "{err}");
}

#[test]
fn a_mistake_in_the_file_is_named_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("server.properties");
    fs::write(&path, "# mine\nnode.id=1\nnum.partitions=0\n").unwrap();
    let path = path.to_str().unwrap();
    let (code, _, err) = run(&["serve", "--config", path]);
    assert_eq!(code, Some(2));
    let expected = "config num.partitions has the value \"0\", but must be between 1 and 1000000";
    assert_eq!(err, format!("error: {path}:3: {expected}\n"));
}

#[test]
fn security_is_refused_and_its_secret_not_shown() {
    for (setting, named) in [
        ("listeners=SSL://127.0.0.1:9093", "listener SSL"),
        ("authorizer.class.name=hunter2", "authorizer.class.name"),
        ("super.users=hunter2", "super.users"),
    ] {
        let (code, _, err) = run(&["serve", "--set", setting]);
        assert_eq!(code, Some(2), "{err}");
        assert!(
            err.contains(named) && err.contains("TLS, SASL and ACLs come later"),
            "{err}"
        );
        assert!(!err.contains("hunter2"), "{err}");
    }
}

#[test]
fn a_log_level_that_does_not_read_ends_with_2() {
    let (code, _, err) = run(&["serve", "--log", "loud"]);
    assert_eq!(code, Some(2));
    assert!(
        err.starts_with("error: --log: \"loud\" is not a level"),
        "{err}"
    );
}

#[test]
fn an_address_in_use_ends_with_1() {
    let first = Broker::start(&[]);
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let http = free_address();
    let arguments = [
        "serve",
        "--http",
        &http,
        "--data-dir",
        data.to_str().unwrap(),
    ];
    let (code, out, err) = run(&[&arguments[..], &["--listen", &first.kafka]].concat());
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(
        err.contains(&format!("cannot listen on {} (listeners)", first.kafka)),
        "{err}"
    );
}

#[test]
fn topics_stay_where_deleting_them_is_disabled() {
    let broker = Broker::start(&["--set", "delete.topic.enable=false"]);
    let topic = |arguments: &[&str]| {
        let bootstrap = ["--bootstrap", &broker.kafka];
        run(&[&["topic"], arguments, &bootstrap[..]].concat())
    };
    assert_eq!(topic(&["create", "kept"]).0, Some(0));
    let (code, _, err) = topic(&["delete", "kept"]);
    assert_ne!(code, Some(0), "{err}");
    assert!(err.contains("delete.topic.enable=false"), "{err}");
    let (code, out, _) = topic(&["list"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("kept"), "{out}");
}

#[test]
fn a_broker_says_that_it_is_ready_is_healthy_and_stops_with_0() {
    let mut broker = Broker::start(&[
        "--set",
        "num.io.threads=8",
        "--set",
        "ssl.keystore.password=hunter2",
    ]);
    assert!(TcpStream::connect(&broker.kafka).is_ok());
    let mut http = TcpStream::connect(&broker.http).unwrap();
    http.write_all(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    http.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");

    broker.signal("-TERM");
    let status = broker.child.wait().unwrap();
    let mut log = String::new();
    broker
        .child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut log)
        .unwrap();
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(
        log.matches("settings without effect yet: num.io.threads, ssl.keystore.password\n")
            .count(),
        1,
        "{log}"
    );
    assert!(!log.contains("hunter2"), "{log}");
}
