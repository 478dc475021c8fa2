//! Whiteboard tests: scripts of requests and moments, and under each line what the shard did.
//!
//! `cases/*.txt` hold the scripts, one file per chapter of the rules. A line without indentation is
//! an input (see `script.rs` for the words), an indented one the expected output. Run with
//! `MILLSTREAM_UPDATE=1` to write what happens now, and review the difference.

mod render;
mod requests;
mod script;

use std::fs;
use std::path::Path;

use script::Board;

fn run(script: &str) -> String {
    let mut board = Board::default();
    let mut text = String::new();
    for line in script.lines().filter(|line| !line.starts_with("  ")) {
        text.push_str(line);
        text.push('\n');
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        for output in board.run(line) {
            text.push_str("  ");
            text.push_str(&output);
            text.push('\n');
        }
    }
    text
}

fn check(name: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/whiteboard/cases")
        .join(name);
    let expected = fs::read_to_string(&path).expect("the case is there");
    assert!(!expected.is_empty(), "{name} is empty");
    let happened = run(&expected);
    if std::env::var_os("MILLSTREAM_UPDATE").is_some() {
        fs::write(&path, happened).expect("the case can be written");
        return;
    }
    for (number, (expected, happened)) in expected.lines().zip(happened.lines()).enumerate() {
        assert_eq!(expected, happened, "{name}, line {}", number + 1);
    }
    assert_eq!(
        expected.lines().count(),
        happened.lines().count(),
        "{name}: number of lines"
    );
}

#[test]
fn join_answers() {
    check("join.txt");
}

#[test]
fn rebalances() {
    check("rebalance.txt");
}

#[test]
fn initial_delay() {
    check("initial_delay.txt");
}

#[test]
fn sync_heartbeat_and_leave() {
    check("calls.txt");
}

#[test]
fn disconnects() {
    check("disconnect.txt");
}

#[test]
fn static_members() {
    check("static.txt");
}

#[test]
fn offsets() {
    check("offsets.txt");
}

#[test]
fn deletion_and_lists() {
    check("admin.txt");
}

#[test]
fn loading_and_failures() {
    check("loading.txt");
}
