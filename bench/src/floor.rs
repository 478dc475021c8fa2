//! `bench floor`: what the machine itself can do, for the figures of a broker to be held against.
//!
//! A broker that acknowledges what is durable can be no faster than a round trip and a sync. Both are measured here with
//! nothing between them and the kernel: a message there and back over loopback, 4 KiB appended and synced, bytes written
//! in sequence with one sync at the end, and batches appended to many files, each synced before its writer goes on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use millstream_cli::{Output, Table, parse_duration, parse_size};
use serde::Serialize;

use crate::report::{Latencies, Percentiles, Throughput};

/// Bytes of an append.
const APPEND_BYTES: usize = 4096;
/// Bytes of a message that goes there and back.
const MESSAGE_BYTES: usize = 256;
const WRITE_BYTES: usize = 1 << 20;
/// Bytes of an append to one of many files.
const BATCH_BYTES: usize = 64 << 10;

/// Arguments of `bench floor`.
#[derive(Debug, Args)]
pub struct FloorArgs {
    /// A directory on the disk that the broker writes to; a directory is made in it and removed
    #[arg(long, value_name = "DIR")]
    directory: PathBuf,
    /// How long appends, and round trips, are measured
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    duration: Duration,
    /// Appends, and round trips, per second, timed from when each was due; 0 makes them one after the other
    #[arg(long, value_name = "N", default_value_t = 0.0)]
    rate: f64,
    /// How many bytes are written in sequence
    #[arg(long, value_name = "SIZE", default_value = "2g", value_parser = parse_size)]
    bytes: u64,
    /// Files that batches of 64 KiB are appended to in turn
    #[arg(long, value_name = "N", default_value_t = 500)]
    files: usize,
    /// Threads that do so, each syncing a batch before its next: the batches that a broker has on their way
    #[arg(long, value_name = "N", default_value_t = 20)]
    writers: usize,
    /// How to print the result
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// The floors of a machine.
#[derive(Debug, Serialize)]
struct Floors {
    benchmark: &'static str,
    /// A message of 256 bytes over loopback TCP and back.
    round_trip: Percentiles,
    /// 4 KiB appended to a file, and `fdatasync`. At a rate, all that are due share one.
    append_and_sync: Percentiles,
    /// The `fdatasync` of it alone.
    sync: Percentiles,
    /// Writes of 1 MiB and one `fdatasync` at the end.
    sequential_write: Throughput,
    /// Writes of 64 KiB to many files in turn by many threads, each with an `fdatasync`.
    many_files: Throughput,
}

impl FloorArgs {
    /// Measures one after the other, on the calling thread and one that answers.
    pub(crate) fn run(&self) -> anyhow::Result<()> {
        if self.files == 0 || !(1..=1000).contains(&self.writers) {
            bail!("--files must be at least 1, --writers from 1 to 1000");
        }
        if !(0.0..=1e6).contains(&self.rate) {
            bail!("--rate must be from 0 to 1000000 per second");
        }
        let folder = self.directory.join("millstream-bench-floor");
        std::fs::create_dir(&folder)
            .with_context(|| format!("cannot make the directory {}", folder.display()))?;
        let measured = self.measure(&folder);
        std::fs::remove_dir_all(&folder)?;
        let floors = measured?;
        match self.output {
            Output::Json => println!("{}", serde_json::to_string(&floors)?),
            Output::Text => print!("{}", floors.text()),
        }
        Ok(())
    }

    fn measure(&self, folder: &Path) -> anyhow::Result<Floors> {
        let round_trip = self.round_trips()?;
        let open = |name: String| {
            let file = File::create_new(folder.join(name));
            file.with_context(|| format!("cannot make a file in {}", folder.display()))
        };
        let (append_and_sync, sync) = self.appends(&open("appends".to_owned())?)?;
        let sequential_write = self.sequential(&mut open("sequential".to_owned())?)?;
        let files: Vec<File> = (0..self.files)
            .map(|number| open(number.to_string()))
            .collect::<anyhow::Result<_>>()?;
        let many_files = self.many_files(&files)?;
        Ok(Floors {
            benchmark: "floor",
            round_trip: round_trip.percentiles(),
            append_and_sync: append_and_sync.percentiles(),
            sync: sync.percentiles(),
            sequential_write,
            many_files,
        })
    }

    /// Calls `step` for the given time, at the given rate, with the times from which its operations count.
    /// One that was due while the step before it ran counts from then, and all such come together: what a
    /// stall keeps waiting is in the latencies, as it is in those of a load that does not wait for answers. How
    /// late the system wakes this thread is not.
    fn repeat(&self, mut step: impl FnMut(&[Instant]) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let interval = (self.rate > 0.0).then(|| Duration::from_secs_f64(1.0 / self.rate));
        let start = Instant::now();
        let mut due = start;
        let mut from = Vec::new();
        loop {
            let now = Instant::now();
            if now - start >= self.duration {
                return Ok(());
            }
            from.clear();
            if let Some(interval) = interval {
                while due <= now {
                    from.push(due);
                    due += interval;
                }
                if from.is_empty() {
                    thread::sleep(due - now);
                    due += interval;
                }
            }
            if from.is_empty() {
                from.push(Instant::now());
            }
            step(&from)?;
        }
    }

    fn round_trips(&self) -> anyhow::Result<Latencies> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let echo = thread::spawn(move || -> std::io::Result<()> {
            let (mut stream, _) = listener.accept()?;
            stream.set_nodelay(true)?;
            let mut message = [0; MESSAGE_BYTES];
            while stream.read_exact(&mut message).is_ok() {
                stream.write_all(&message)?;
            }
            Ok(())
        });
        let mut latencies = Latencies::new();
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        let mut message = [1; MESSAGE_BYTES];
        self.repeat(|due| {
            for due in due {
                stream.write_all(&message)?;
                stream.read_exact(&mut message)?;
                latencies.record(due.elapsed());
            }
            Ok(())
        })?;
        drop(stream);
        let ended = echo.join();
        ended.ok().context("the answering thread panicked")??;
        Ok(latencies)
    }

    fn appends(&self, mut file: &File) -> anyhow::Result<(Latencies, Latencies)> {
        let (mut both, mut sync) = (Latencies::new(), Latencies::new());
        let bytes = [7; APPEND_BYTES];
        self.repeat(|due| {
            for _ in due {
                file.write_all(&bytes)?;
            }
            let written = Instant::now();
            file.sync_data()?;
            sync.record(written.elapsed());
            due.iter().for_each(|due| both.record(due.elapsed()));
            Ok(())
        })?;
        Ok((both, sync))
    }

    fn sequential(&self, file: &mut File) -> anyhow::Result<Throughput> {
        let block = vec![7; WRITE_BYTES];
        let writes = self.bytes.div_ceil(WRITE_BYTES as u64);
        let start = Instant::now();
        for _ in 0..writes {
            file.write_all(&block)?;
        }
        file.sync_data()?;
        let bytes = writes * WRITE_BYTES as u64;
        Ok(Throughput::new(start.elapsed(), writes, writes, bytes))
    }

    fn many_files(&self, files: &[File]) -> anyhow::Result<Throughput> {
        let batches = self.bytes.div_ceil(BATCH_BYTES as u64);
        let next = AtomicU64::new(0);
        let write = || -> io::Result<()> {
            let batch = vec![7; BATCH_BYTES];
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= batches {
                    return Ok(());
                }
                let file = &files[(number % files.len() as u64) as usize];
                let position = number / files.len() as u64 * BATCH_BYTES as u64;
                file.write_all_at(&batch, position)?;
                file.sync_data()?;
            }
        };
        let start = Instant::now();
        thread::scope(|scope| {
            let writers: Vec<_> = (0..self.writers).map(|_| scope.spawn(write)).collect();
            writers.into_iter().try_for_each(|writer| {
                let ended = writer.join().ok().context("a writer panicked")?;
                ended.context("cannot write to many files")
            })
        })?;
        let bytes = batches * BATCH_BYTES as u64;
        Ok(Throughput::new(start.elapsed(), batches, batches, bytes))
    }
}

impl Floors {
    fn text(&self) -> String {
        let mut table = Table::new(&["MILLISECONDS", "P50", "P99", "P99.9", "MAX"]);
        let rows = [
            ("round trip over loopback", &self.round_trip),
            ("append 4 KiB and fdatasync", &self.append_and_sync),
            ("the fdatasync of it", &self.sync),
        ];
        for (name, p) in rows {
            let values = [p.p50_ms, p.p99_ms, p.p999_ms, p.max_ms];
            let cells = values.iter().map(|value| format!("{value:.3}"));
            table.row(std::iter::once(name.to_owned()).chain(cells).collect());
        }
        format!(
            "{table}{:.1} MB in sequence: {:.1} MB/s, one fdatasync at the end\nas many to many files: {:.1} MB/s, an fdatasync for each 64 KiB\n",
            self.sequential_write.bytes as f64 / 1e6,
            self.sequential_write.megabytes_per_second,
            self.many_files.megabytes_per_second
        )
    }
}
