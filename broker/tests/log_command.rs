//! `millstream log` on the directory of a real broker.

#![allow(clippy::unwrap_used)]

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{self, Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

fn millstream(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_millstream"));
    command.args(arguments).env_remove("MILLSTREAM_LOG");
    command
}

/// A port that nobody holds, below those that the system gives out by itself.
fn free_address() -> String {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = (process::id() % 40 * 8) as u16;
    for _ in 0..300 {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let address = format!("127.0.0.1:{}", 19_492 + (first + step) % 350);
        if TcpListener::bind(&address).is_ok() {
            return address;
        }
    }
    panic!("no free port between 19492 and 19841");
}

/// A broker with a topic `orders` of one partition and three records, killed when the test ends.
struct Broker {
    child: Child,
    data: PathBuf,
    _directory: tempfile::TempDir,
}

impl Broker {
    fn start() -> Broker {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let address = free_address();
        let mut child = millstream(&["serve", "--listen", &address])
            .args(["--http", &free_address(), "--data-dir"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = child.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        assert!(line.starts_with("millstream ready"), "{line:?}");
        let client = |arguments: &[&str], input: &str| {
            let mut command = millstream(arguments);
            let mut child = command
                .args(["--bootstrap", &address])
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .spawn()
                .unwrap();
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(input.as_bytes()).unwrap();
            drop(stdin);
            assert!(child.wait().unwrap().success(), "{arguments:?}");
        };
        client(&["topic", "create", "orders", "--partitions", "1"], "");
        client(&["produce", "orders"], "alpha\nbeta\ngamma\n");
        Broker {
            child,
            data,
            _directory: directory,
        }
    }

    fn stop(&mut self) {
        let id = self.child.id().to_string();
        assert!(
            Command::new("kill")
                .args(["-TERM", &id])
                .status()
                .unwrap()
                .success()
        );
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }

    fn log_file(&self) -> PathBuf {
        self.data.join("orders-0/00000000000000000000.log")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn log(what: &str, directory: &Path, more: &[&str]) -> (Option<i32>, String, String) {
    let output = millstream(&["log", what])
        .arg(directory)
        .args(more)
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (
        output.status.code(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn flip(path: &Path, position: u64) {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).unwrap();
    file.write_all_at(&[byte[0] ^ 1], position).unwrap();
}

#[test]
fn a_directory_in_use_is_refused_with_3() {
    let broker = Broker::start();
    for what in ["verify", "dump", "recover"] {
        for directory in [broker.data.clone(), broker.data.join("orders-0")] {
            let (code, out, err) = log(what, &directory, &[]);
            assert_eq!((code, out.as_str()), (Some(3), ""), "{err}");
            let expected = format!(
                "error: {} is in use; stop the broker that runs on it\n",
                broker.data.display()
            );
            assert_eq!(err, expected);
        }
    }
}

#[test]
fn a_stopped_broker_s_directory_verifies_clean_and_a_flipped_bit_ends_with_4() {
    let mut broker = Broker::start();
    broker.stop();
    let (code, out, err) = log("verify", &broker.data, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    let row = out
        .lines()
        .find(|line| line.starts_with("orders-0 "))
        .unwrap();
    let cells: Vec<&str> = row.split_whitespace().collect();
    assert_eq!(cells[1..5], ["0", "3", "3", "1"], "{out}");
    assert_eq!((cells[6], cells[8]), ("3", "0"), "{out}");

    flip(&broker.log_file(), 70);
    let (code, out, err) = log("verify", &broker.data, &["-o", "json"]);
    assert_eq!(code, Some(4), "{out}");
    assert!(err.starts_with("error: 1 place damaged in "), "{err}");
    let document: serde_json::Value = serde_json::from_str(&out).unwrap();
    let partitions = document["partitions"].as_array().unwrap();
    let orders = partitions
        .iter()
        .find(|one| one["partition"] == "orders-0")
        .unwrap();
    let damage = &orders["damage"][0];
    assert_eq!(damage["file"], broker.log_file().display().to_string());
    assert_eq!(
        (&damage["kind"], &damage["position"]),
        (&"log".into(), &0.into())
    );
    assert_eq!(damage["offset"], 0);
}

#[test]
fn dump_prints_batches_and_their_records() {
    let mut broker = Broker::start();
    broker.stop();
    let only = ["--partition", "orders-0"];
    let (code, out, err) = log("dump", &broker.data, &only);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(out.starts_with("orders-0  offsets 0.."), "{out}");
    assert!(
        out.contains("  at 0  size ") && out.contains("  crc ok"),
        "{out}"
    );
    let of_records = [
        &only[..],
        &["--records", "--from", "1", "--max", "1", "-o", "json"],
    ];
    let (code, out, _) = log("dump", &broker.data, &of_records.concat());
    assert_eq!(code, Some(0));
    let lines: Vec<serde_json::Value> = out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let record = lines.last().unwrap();
    assert_eq!(
        (&record["offset"], &record["value"]),
        (&1.into(), &"beta".into())
    );
    assert_eq!(lines.len(), 2, "a batch and one record: {out}");
    let (code, _, err) = log("dump", &broker.data, &["--partition", "orders-7"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("has no partition orders-7; it has "), "{err}");
}

#[test]
fn recover_cuts_a_torn_tail_and_says_so() {
    let mut broker = Broker::start();
    broker.stop();
    let length = fs::metadata(broker.log_file()).unwrap().len();
    let mut file = OpenOptions::new()
        .append(true)
        .open(broker.log_file())
        .unwrap();
    file.write_all(&[7; 100]).unwrap();
    let (code, out, _) = log("verify", &broker.data, &[]);
    assert_eq!(code, Some(0), "{out}");
    assert!(
        out.contains("unfinished tail that recovery will cut"),
        "{out}"
    );
    let (code, out, err) = log("recover", &broker.data, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""), "{out}");
    assert!(out.contains("cut 100 bytes off "), "{out}");
    assert_eq!(fs::metadata(broker.log_file()).unwrap().len(), length);
    let (code, out, _) = log("verify", &broker.data, &[]);
    assert_eq!(code, Some(0));
    assert!(!out.contains("unfinished tail"), "{out}");
}

#[test]
fn dump_ends_with_4_when_a_batch_cannot_be_read() {
    let mut broker = Broker::start();
    broker.stop();
    flip(&broker.log_file(), 70);
    let (code, out, err) = log("dump", &broker.data, &["--partition", "orders-0"]);
    assert_eq!(code, Some(4), "{out}");
    assert!(
        out.starts_with("orders-0  offsets 0.."),
        "it is shown all the same: {out}"
    );
    assert!(err.starts_with("error: 1 place of "), "{err}");
    // What is not asked for is not judged.
    let (code, _, err) = log(
        "dump",
        &broker.data,
        &["--partition", "orders-0", "--max", "0"],
    );
    assert_eq!((code, err.as_str()), (Some(0), ""));
}

#[test]
fn verify_judges_the_metadata_log_and_writes_nothing() {
    let mut broker = Broker::start();
    broker.stop();
    fs::remove_file(broker.data.join(".lock")).unwrap();
    let (code, _, err) = log("verify", &broker.data, &[]);
    assert_eq!((code, err.as_str()), (Some(0), ""));
    assert!(!broker.data.join(".lock").exists());
    let metadata = broker.data.join("__millstream_metadata");
    let logs = fs::read_dir(&metadata)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let file = logs
        .max_by_key(|path| fs::metadata(path).unwrap().len())
        .unwrap();
    flip(&file, fs::metadata(&file).unwrap().len() / 2);
    let (code, out, _) = log("verify", &broker.data, &[]);
    assert_eq!(code, Some(4), "{out}");
    assert!(out.contains(&*file.to_string_lossy()), "{out}");
    let (code, _, _) = log("verify", &broker.data, &["--partition", "orders-0"]);
    assert_eq!(code, Some(0), "of one partition it says nothing");
}
