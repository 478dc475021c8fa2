//! A control group whose processes write to one device, or read from it, at so many bytes a second.
//!
//! Version 1 of control groups (`blkio`) counts what a process writes itself, and its syncs; version 2
//! (`io`) what is written back for it too.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::crash::Failure;

const V1: &str = "/sys/fs/cgroup/blkio";
const V2: &str = "/sys/fs/cgroup";

/// What is limited.
#[derive(Clone, Copy)]
enum Direction {
    Writes,
    Reads,
}

/// The group, until it is dropped.
pub(super) struct Throttle {
    group: PathBuf,
    is_v1: bool,
    device: String,
    process: u32,
}

impl Throttle {
    /// Throttles what a process writes to the file system that is mounted there.
    pub(super) fn begin(
        mounted: &Path,
        bytes_per_second: u64,
        process: u32,
    ) -> Result<Throttle, Failure> {
        let is_v1 = Path::new(V1).is_dir();
        let root = if is_v1 { V1 } else { V2 };
        let device = fs::metadata(mounted)
            .map_err(|error| format!("{}: {error}", mounted.display()))?
            .dev();
        let (major, minor) = (device >> 8 & 0xfff, device & 0xff | device >> 12 & 0xfff00);
        let throttle = Throttle {
            group: Path::new(root).join(format!("millstream-{}", std::process::id())),
            is_v1,
            device: format!("{major}:{minor}"),
            process,
        };
        let made = fs::create_dir(&throttle.group);
        made.map_err(|error| format!("{}: {error}", throttle.group.display()))?;
        if !is_v1 {
            write(&Path::new(root).join("cgroup.subtree_control"), "+io")?;
        }
        throttle.limit(Direction::Writes, Some(bytes_per_second))?;
        write(&throttle.group.join("cgroup.procs"), &process.to_string())?;
        Ok(throttle)
    }

    /// Lets the process write as fast as it can.
    pub(super) fn lift(&self) -> Result<(), Failure> {
        self.limit(Direction::Writes, None)
    }

    /// Throttles what the process reads there; `None`: not any more.
    pub(super) fn limit_reads(&self, bytes_per_second: Option<u64>) -> Result<(), Failure> {
        self.limit(Direction::Reads, bytes_per_second)
    }

    fn limit(&self, direction: Direction, bytes_per_second: Option<u64>) -> Result<(), Failure> {
        let device = &self.device;
        let none = if self.is_v1 { "0" } else { "max" };
        let limit = bytes_per_second.map_or(none.to_owned(), |limit| limit.to_string());
        let (file, key) = match (self.is_v1, direction) {
            (true, Direction::Writes) => ("blkio.throttle.write_bps_device", ""),
            (true, Direction::Reads) => ("blkio.throttle.read_bps_device", ""),
            (false, Direction::Writes) => ("io.max", "wbps="),
            (false, Direction::Reads) => ("io.max", "rbps="),
        };
        write(&self.group.join(file), &format!("{device} {key}{limit}"))
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Of a process that is gone there is nothing to move.
        let root = if self.is_v1 { V1 } else { V2 };
        let _moved = fs::write(
            Path::new(root).join("cgroup.procs"),
            self.process.to_string(),
        );
        if let Err(error) = fs::remove_dir(&self.group) {
            println!("{} is left: {error}", self.group.display());
        }
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| format!("{} {text}: {error}", path.display()))
}
