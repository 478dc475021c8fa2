//! Two signals to a process that does not come to its end.

#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::{env, future};

use millstream::signals::stop_on_signal;

const IS_CHILD: &str = "MILLSTREAM_TEST_SIGNALS";

/// What the child does: it takes over the signals, is asked to stop, and never does.
async fn linger() {
    let mut stop = stop_on_signal().unwrap();
    println!("waiting");
    stop.wait_for(|stop| *stop).await.unwrap();
    println!("stopping");
    future::pending::<()>().await;
}

/// The test calls itself as a process of its own.
#[test]
fn first_signal_asks_and_second_one_ends_at_once() {
    if env::var_os(IS_CHILD).is_some() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(linger());
        return;
    }
    for (first, second) in [("-TERM", "-INT"), ("-INT", "-TERM")] {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "--exact",
                "first_signal_asks_and_second_one_ends_at_once",
                "--nocapture",
            ])
            .env(IS_CHILD, "1")
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let id = child.id().to_string();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut wait_for = |word| assert!(lines.any(|line| line.unwrap().contains(word)), "{word}");
        let send = |name: &str| {
            assert!(
                Command::new("kill")
                    .args([name, id.as_str()])
                    .status()
                    .unwrap()
                    .success()
            )
        };
        wait_for("waiting");
        send(first);
        wait_for("stopping");
        send(second);
        assert_eq!(child.wait().unwrap().code(), Some(1));
    }
}
