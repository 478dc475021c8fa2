//! The broker under test: Millstream, or Apache Kafka to prove the tests themselves.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::console::{java, java_with};
use crate::process::{Process, last_lines, lines};

/// Longer than a whole run may take.
const LIFE_MAX: Duration = Duration::from_secs(3600);
const START_MAX: Duration = Duration::from_secs(60);
const STOP_MAX: Duration = Duration::from_secs(60);
/// What Kafka's own start script gives its virtual machine.
const KAFKA_JVM: [&str; 5] = [
    "-Xms1g",
    "-Xmx1g",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
];

/// Which broker.
#[derive(Clone, Debug)]
pub enum Kind {
    Millstream { binary: PathBuf },
    Kafka { jars: PathBuf },
}

/// One data directory and one port, kept over restarts.
pub struct Broker {
    kind: Kind,
    folder: PathBuf,
    port: u16,
    second_port: u16,
    process: Option<Process>,
    starts: u32,
    sync_delay: Duration,
    has_second_data: bool,
}

impl Broker {
    /// Prepares an empty data directory in `folder`.
    pub fn new(kind: Kind, folder: &Path) -> Result<Broker, String> {
        if folder.exists() {
            fs::remove_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let [port, second_port] = free_ports()?;
        Ok(Broker {
            kind,
            folder: folder.to_owned(),
            port,
            second_port,
            process: None,
            starts: 0,
            sync_delay: Duration::ZERO,
            has_second_data: false,
        })
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where it tells how it is; Apache Kafka has no such place.
    pub fn http_address(&self) -> Option<String> {
        let has_one = matches!(self.kind, Kind::Millstream { .. });
        has_one.then(|| format!("127.0.0.1:{}", self.second_port))
    }

    /// From its next start on, every sync takes so much longer. Only Millstream, and only where there is
    /// `strace`.
    pub fn delay_syncs(&mut self, delay: Duration) {
        self.sync_delay = delay;
    }

    /// Kills it, as `kill -9` does.
    pub fn kill(&mut self) {
        if let Some(process) = self.process.take() {
            process.kill();
        }
    }

    /// Which broker it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Whether it is Apache Kafka.
    pub fn is_kafka(&self) -> bool {
        matches!(self.kind, Kind::Kafka { .. })
    }

    /// Its process id while it runs.
    pub fn id(&self) -> Option<u32> {
        self.process.as_ref().map(Process::id)
    }

    /// Where the partitions lie.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// From its next start on it has a second log directory. Only Millstream.
    pub fn add_second_data(&mut self) {
        self.has_second_data = true;
    }

    /// The second log directory.
    pub fn second_data(&self) -> PathBuf {
        self.folder.join("second-data")
    }

    /// Starts it and waits until it serves; returns how long that took.
    pub fn start(&mut self, settings: &[(&str, &str)]) -> Result<Duration, String> {
        let began = Instant::now();
        self.starts += 1;
        let (mut command, ready) = match &self.kind {
            Kind::Millstream { binary } => (self.millstream(binary, settings), "millstream ready "),
            Kind::Kafka { jars } => (self.kafka(jars, settings)?, "Kafka Server started"),
        };
        let log = self.folder.join(format!("broker-{}.log", self.starts));
        let mut process = Process::start(&mut command, LIFE_MAX).map_err(|e| e.to_string())?;
        let (said, hear) = mpsc::channel();
        let mut file = fs::File::create(&log).map_err(|e| format!("{}: {e}", log.display()))?;
        let mut copy = file.try_clone().map_err(|e| e.to_string())?;
        // Ours says it on standard output, Kafka in its log.
        let on_stdout = matches!(self.kind, Kind::Millstream { .. });
        let tell = said.clone();
        lines(process.take_stdout(), move |line| {
            let _ = writeln!(copy, "{line}");
            if on_stdout && line.starts_with(ready) {
                let _ = tell.send(());
            }
        });
        lines(process.take_stderr(), move |line| {
            let _ = writeln!(file, "{line}");
            if !on_stdout && line.contains(ready) {
                let _ = said.send(());
            }
        });
        if hear.recv_timeout(START_MAX).is_err() {
            process.kill();
            let end = last_lines(&fs::read_to_string(&log).unwrap_or_default(), 3);
            return Err(format!(
                "the broker was not ready within {START_MAX:?}: {end}"
            ));
        }
        self.process = Some(process);
        Ok(began.elapsed())
    }

    /// Stops it as an operator would and checks that it ended cleanly.
    pub fn stop(&mut self) -> Result<(), String> {
        let Some(process) = self.process.take() else {
            return Ok(());
        };
        process.terminate();
        let status = process.wait(STOP_MAX)?;
        // A JVM that was asked to end always says 143.
        match (&self.kind, status.code()) {
            (Kind::Millstream { .. }, Some(0)) | (Kind::Kafka { .. }, Some(143)) => Ok(()),
            _ => Err(format!("the broker ended with {status}")),
        }
    }

    fn millstream(&self, binary: &Path, settings: &[(&str, &str)]) -> Command {
        let mut command = if self.sync_delay.is_zero() {
            Command::new(binary)
        } else {
            let mut traced = delayed_syncs(self.sync_delay);
            traced.arg(binary);
            traced
        };
        command.arg("serve").arg("--data-dir").arg(self.data());
        if self.has_second_data {
            command.arg("--data-dir").arg(self.second_data());
        }
        command.args([
            "--listen",
            &self.address(),
            "--http",
            &format!("127.0.0.1:{}", self.second_port),
        ]);
        for (key, value) in settings {
            command.args(["--set", &format!("{key}={value}")]);
        }
        command.current_dir(&self.folder);
        command
    }

    fn kafka(&self, jars: &Path, settings: &[(&str, &str)]) -> Result<Command, String> {
        let (port, controller, data) = (self.port, self.second_port, self.data());
        let mut text = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@127.0.0.1:{controller}\n\
             listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\n",
            data.display()
        );
        for (key, value) in settings {
            text.push_str(&format!("{key}={value}\n"));
        }
        let file = self.folder.join("server.properties");
        fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        if self.starts == 1 {
            let mut format = java(jars, "kafka.tools.StorageTool");
            format
                .args(["format", "-t", "MkU3OEVBNTcwNTJENDM2Qk", "-c"])
                .arg(&file);
            let (ok, out, err) = crate::process::output(&mut format, START_MAX)?;
            if !ok {
                return Err(format!(
                    "formatting: {}",
                    last_lines(&format!("{out}\n{err}"), 3)
                ));
            }
        }
        let mut command = java_with(&KAFKA_JVM, jars, "kafka.Kafka");
        command.arg(&file);
        Ok(command)
    }
}

/// `strace` beside the program, which keeps its process id; calls other than syncs do not stop for it.
fn delayed_syncs(delay: Duration) -> Command {
    let syncs = "fsync,fdatasync,syncfs";
    let mut strace = Command::new("strace");
    strace.args(["-D", "-f", "--seccomp-bpf", "-qq", "-o", "/dev/null", "-e"]);
    strace.arg(format!("trace={syncs}"));
    let delay = delay.as_micros();
    strace.args(["-e", &format!("inject={syncs}:delay_enter={delay}")]);
    strace
}

/// Two ports that nobody holds, below the range that the system gives out by itself. None is given out twice,
/// for who was given one may not hold it yet.
fn free_ports() -> Result<[u16; 2], String> {
    static NEXT: AtomicU16 = AtomicU16::new(22_200);
    let mut held = Vec::new();
    loop {
        let port = NEXT.fetch_add(1, Ordering::Relaxed);
        if port >= 22_900 {
            return Err("no free port between 22200 and 22900".to_owned());
        }
        if let Ok(listener) = TcpListener::bind(("127.0.0.1", port)) {
            held.push((port, listener));
        }
        if let [(first, _), (second, _)] = held[..] {
            return Ok([first, second]);
        }
    }
}
