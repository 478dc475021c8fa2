//! The broker as a child process.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use super::{Failure, Options};

/// How the broker is started.
#[derive(Clone, Debug)]
pub enum ServeCommand {
    /// `millstream serve`, from this file, with further arguments.
    Millstream {
        /// The binary.
        binary: PathBuf,
        /// Added to the command line.
        arguments: Vec<String>,
    },
    /// Another program, called with the port and the data directory, that becomes the broker.
    Other {
        /// The program.
        program: PathBuf,
        /// What its output says when it serves.
        ready: String,
    },
}

/// A start takes no longer than this, whatever there is to recover.
const READY_WITHIN: Duration = Duration::from_secs(60);

/// A clean stop takes no longer than this.
const STOPPED_WITHIN: Duration = Duration::from_secs(60);

/// A running broker. Dropping it kills the process.
pub(crate) struct Broker {
    child: Child,
    lines: Receiver<String>,
    ready: String,
    /// Whether its exit code means something to us.
    is_ours: bool,
}

impl Broker {
    /// Starts the process and returns at once.
    pub(crate) fn spawn(options: &Options) -> Result<Broker, Failure> {
        Broker::spawn_under(options, &[])
    }

    /// The same under another program, which must leave the process to us as our child.
    fn spawn_under(options: &Options, under: &[&str]) -> Result<Broker, Failure> {
        let (broker, ready, is_ours) = command_of(options);
        let mut command = broker;
        if let [program, arguments @ ..] = under {
            let mut other = Command::new(program);
            other.args(arguments).arg(command.get_program());
            other.args(command.get_args());
            command = other;
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| format!("cannot start {command:?}: {error}"))?;
        let stdout = child.stdout.take().ok_or("the child has no output")?;
        let (sender, lines) = mpsc::channel();
        // Reads until the process ends, so that it never waits for us.
        thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let _ = sender.send(line);
            }
        });
        Ok(Broker {
            child,
            lines,
            ready,
            is_ours,
        })
    }

    /// Starts the process and waits until it serves.
    pub(crate) fn start(options: &Options) -> Result<Broker, Failure> {
        Broker::start_under(options, &[])
    }

    /// The same under another program.
    pub(crate) fn start_under(options: &Options, under: &[&str]) -> Result<Broker, Failure> {
        let mut broker = Broker::spawn_under(options, under)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match broker.lines.recv_timeout(left) {
                Ok(line) if line.contains(&broker.ready) => return Ok(broker),
                Ok(_) => {}
                Err(RecvTimeoutError::Timeout) => {
                    return Err(format!("the broker is not ready after {READY_WITHIN:?}"));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let status = broker.child.wait();
                    return Err(format!("the broker ended while it started: {status:?}"));
                }
            }
        }
    }

    /// Its process's id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Kills the process at once (SIGKILL). *Errors*: it had ended by itself.
    pub(crate) fn kill(&mut self) -> Result<(), Failure> {
        if let Ok(Some(status)) = self.child.try_wait() {
            return Err(format!("the broker ended by itself: {status}"));
        }
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .map_err(|error| format!("cannot kill the broker: {error}"))?;
        Ok(())
    }

    /// The same, where the disk may have ended it already.
    pub(crate) fn kill_or_find_dead(&mut self) -> Result<(), Failure> {
        match self.child.try_wait() {
            Ok(Some(_)) => Ok(()),
            _ => self.kill(),
        }
    }

    /// Stops all its threads where they are, but for calls that the kernel has to finish first.
    pub(crate) fn freeze(&self) -> Result<(), Failure> {
        self.signal("-STOP")?;
        let id = self.child.id();
        let deadline = Instant::now() + STOPPED_WITHIN;
        while Instant::now() < deadline {
            match all_are_stopped(id) {
                Ok(true) => return Ok(()),
                Ok(false) => thread::sleep(Duration::from_millis(1)),
                Err(error) => return Err(format!("cannot look at the broker's threads: {error}")),
            }
        }
        Err("the broker's threads do not stop".to_owned())
    }

    /// Lets them go on.
    pub(crate) fn thaw(&self) -> Result<(), Failure> {
        self.signal("-CONT")
    }

    fn signal(&self, name: &str) -> Result<(), Failure> {
        let id = self.child.id().to_string();
        let asked = Command::new("kill").args([name, &id]).status();
        asked
            .map(drop)
            .map_err(|error| format!("cannot run kill: {error}"))
    }

    /// Has the files of a stopped broker read. *Errors*: something in them is damaged. Brokers of others
    /// have tools of their own.
    pub(crate) fn verify(options: &Options) -> Result<(), Failure> {
        let ServeCommand::Millstream { binary, .. } = &options.command else {
            return Ok(());
        };
        Broker::verify_directory(binary, &options.data_dir)?;
        let second = options.second_data_dir.as_ref();
        second.map_or(Ok(()), |second| Broker::verify_directory(binary, second))
    }

    fn verify_directory(binary: &Path, directory: &Path) -> Result<(), Failure> {
        let mut command = Command::new(binary);
        command.args(["log", "verify"]).arg(directory);
        let output = command.output();
        let output = output.map_err(|error| format!("cannot run {command:?}: {error}"))?;
        match output.status.success() {
            true => Ok(()),
            false => Err(format!(
                "the files do not verify:\n{}{}",
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )),
        }
    }

    /// Asks the process to stop (SIGTERM) and waits. *Errors*: it does not stop, or not well.
    pub(crate) fn stop_cleanly(mut self) -> Result<(), Failure> {
        self.stop()
    }

    /// The same, for another to take its place.
    pub(crate) fn stop(&mut self) -> Result<(), Failure> {
        self.signal("-TERM")?;
        let status = self.wait(STOPPED_WITHIN)?;
        match self.is_ours && status.code() != Some(0) {
            true => Err(format!(
                "the broker stopped with {status}, not with exit code 0"
            )),
            false => Ok(()),
        }
    }

    fn wait(&mut self, limit: Duration) -> Result<ExitStatus, Failure> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            match self.child.try_wait() {
                Ok(Some(status)) => return Ok(status),
                Ok(None) => thread::sleep(Duration::from_millis(10)),
                Err(error) => return Err(format!("cannot wait for the broker: {error}")),
            }
        }
        Err(format!("the broker has not stopped after {limit:?}"))
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn all_are_stopped(id: u32) -> std::io::Result<bool> {
    for thread in fs::read_dir(format!("/proc/{id}/task"))? {
        let stat = fs::read_to_string(thread?.path().join("stat"))?;
        // The state follows the name, which stands in brackets and may hold any byte.
        let state = stat.rsplit_once(") ").map(|(_, rest)| &rest[..1]);
        if !matches!(state, Some("T" | "Z" | "X")) {
            return Ok(false);
        }
    }
    Ok(true)
}

fn command_of(options: &Options) -> (Command, String, bool) {
    match &options.command {
        ServeCommand::Millstream { binary, arguments } => {
            let mut command = Command::new(binary);
            command
                .arg("serve")
                .arg("--data-dir")
                .arg(data_directories(options))
                .arg("--listen")
                .arg(format!("127.0.0.1:{}", options.port))
                .arg("--http")
                .arg(format!("127.0.0.1:{}", options.port + 1))
                .args(arguments);
            (command, "millstream ready".into(), true)
        }
        ServeCommand::Other { program, ready } => {
            let mut command = Command::new(program);
            command.arg(options.port.to_string()).arg(&options.data_dir);
            (command, ready.clone(), false)
        }
    }
}

/// As `log.dirs` has them.
fn data_directories(options: &Options) -> OsString {
    let mut all = options.data_dir.as_os_str().to_owned();
    if let Some(second) = &options.second_data_dir {
        all.push(",");
        all.push(second);
    }
    all
}
