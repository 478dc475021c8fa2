//! Child processes with a deadline: whatever a client or a tool does, the run goes on.

use std::io::{self, BufRead, BufReader, Read};
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// A child that is killed when its time is up or its handle is dropped.
pub struct Process {
    name: String,
    child: Arc<Mutex<Child>>,
    id: u32,
    stdin: Option<ChildStdin>,
    stdout: Option<ChildStdout>,
    stderr: Option<ChildStderr>,
    done: Sender<()>,
    expired: Arc<Mutex<bool>>,
}

impl Process {
    /// Starts `command` with all three streams piped. `limit` is the longest it may live.
    pub fn start(command: &mut Command, limit: Duration) -> io::Result<Process> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| io::Error::new(e.kind(), format!("{name}: {e}")))?;
        let id = child.id();
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let child = Arc::new(Mutex::new(child));
        let expired = Arc::new(Mutex::new(false));
        let (done, waiting) = mpsc::channel();
        let (watched, mark) = (Arc::clone(&child), Arc::clone(&expired));
        thread::spawn(move || {
            if waiting.recv_timeout(limit) == Err(RecvTimeoutError::Timeout) {
                *mark.lock().unwrap_or_else(PoisonError::into_inner) = true;
                let _ = watched
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .kill();
            }
        });
        Ok(Process {
            name,
            child,
            id,
            stdin,
            stdout,
            stderr,
            done,
            expired,
        })
    }

    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.stdin.take()
    }

    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.stdout.take()
    }

    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.stderr.take()
    }

    pub fn id(&self) -> u32 {
        self.id
    }

    /// Asks it to end, as an operator would.
    pub fn terminate(&self) {
        let _ = Command::new("kill")
            .arg("-TERM")
            .arg(self.id.to_string())
            .status();
    }

    /// Ends it at once (SIGKILL).
    pub fn kill(&self) {
        let _ = self
            .child
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .kill();
    }

    /// Waits for its end; an error says that its time ran out.
    pub fn wait(&self, limit: Duration) -> Result<ExitStatus, String> {
        let step = Duration::from_millis(20);
        let mut left = limit;
        loop {
            let status = self
                .child
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .try_wait();
            match status {
                Ok(Some(status)) if self.has_expired() => {
                    return Err(format!(
                        "{} was stopped after its time limit ({status})",
                        self.name
                    ));
                }
                Ok(Some(status)) => return Ok(status),
                Ok(None) if left.is_zero() => {
                    self.kill();
                    return Err(format!("{} did not end within {limit:?}", self.name));
                }
                Ok(None) => {
                    thread::sleep(step);
                    left = left.saturating_sub(step);
                }
                Err(e) => return Err(format!("{}: {e}", self.name)),
            }
        }
    }

    fn has_expired(&self) -> bool {
        *self.expired.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.done.send(());
        let mut child = self.child.lock().unwrap_or_else(PoisonError::into_inner);
        if let Ok(None) = child.try_wait() {
            let _ = child.kill();
        }
        let _ = child.wait();
    }
}

/// Reads a stream to its end on a thread of its own, so that a child never stands still on a full pipe.
pub fn collect(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut all = Vec::new();
        if let Some(mut stream) = stream {
            let _ = stream.read_to_end(&mut all);
        }
        String::from_utf8_lossy(&all).into_owned()
    })
}

/// Hands each line of a stream to `each`, on a thread of its own.
pub fn lines(
    stream: Option<impl Read + Send + 'static>,
    mut each: impl FnMut(&str) + Send + 'static,
) {
    if let Some(stream) = stream {
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                each(String::from_utf8_lossy(&line).trim_end_matches('\r'));
            }
        });
    }
}

/// Runs a command to its end and returns (whether it succeeded, standard output, standard error).
pub fn output(command: &mut Command, limit: Duration) -> Result<(bool, String, String), String> {
    output_with_input(command, limit, Vec::new())
}

/// The same, with something to read on standard input.
pub fn output_with_input(
    command: &mut Command,
    limit: Duration,
    input: Vec<u8>,
) -> Result<(bool, String, String), String> {
    let mut process = Process::start(command, limit).map_err(|e| e.to_string())?;
    let out = collect(process.take_stdout());
    let err = collect(process.take_stderr());
    if let Some(mut stdin) = process.take_stdin() {
        thread::spawn(move || {
            let _ = io::Write::write_all(&mut stdin, &input);
        });
    }
    let status = process.wait(limit + Duration::from_secs(1));
    let out = out.join().unwrap_or_default();
    let err = err.join().unwrap_or_default();
    match status {
        Ok(status) => Ok((status.success(), out, err)),
        Err(reason) => Err(format!(
            "{reason}; it said: {}",
            last_lines(&format!("{out}\n{err}"), 3)
        )),
    }
}

/// The end of a text, on one line, for a message.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(count)..].join(" | ")
}
