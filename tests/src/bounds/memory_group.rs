//! The control group that the broker runs in, and what the system says of its memory.

use std::fs;
use std::path::{Path, PathBuf};

use crate::crash::Failure;

/// A group of either version, removed at its end.
pub(super) struct MemoryGroup {
    path: PathBuf,
    /// Where the system counts who was killed for want of memory.
    kills: &'static str,
}

impl MemoryGroup {
    /// Makes one with a limit. `None`, and said so, where nobody may.
    pub(super) fn make(bytes: u64) -> Option<MemoryGroup> {
        let name = format!("millstream-bounds-{}", std::process::id());
        let versions = [
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.oom_control",
            ),
            ("/sys/fs/cgroup", "memory.max", "memory.events"),
        ];
        for (root, limit, kills) in versions {
            let path = Path::new(root).join(&name);
            // In a folder that is none of a group's this would be a file of our own making.
            if !Path::new(root).join("cgroup.procs").exists() || fs::create_dir(&path).is_err() {
                continue;
            }
            let group = MemoryGroup { path, kills };
            if fs::write(group.path.join(limit), bytes.to_string()).is_ok() {
                return Some(group);
            }
        }
        println!("no control group can be made: the limit of memory is only looked at");
        None
    }

    /// A program and arguments that enter the group and become the command that follows.
    pub(super) fn enter(&self) -> Vec<String> {
        let enter = format!(
            "echo $$ > {}/cgroup.procs && exec \"$0\" \"$@\"",
            self.path.display()
        );
        vec!["sh".to_owned(), "-c".to_owned(), enter]
    }

    /// *Errors*: somebody was killed for want of memory.
    pub(super) fn check_nobody_was_killed(&self) -> Result<(), Failure> {
        let file = self.path.join(self.kills);
        let text = fs::read_to_string(&file);
        let text = text.map_err(|error| format!("{}: {error}", file.display()))?;
        let kills = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
        match kills.map(str::trim) {
            None | Some("0") => Ok(()),
            Some(count) => Err(format!("killed for want of memory {count} times")),
        }
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        // Once its last process has gone.
        let _ = fs::remove_dir(&self.path);
    }
}

/// Bytes that the process has in memory.
pub(super) fn resident(id: u32) -> Result<u64, Failure> {
    status(id, "VmRSS:")
}

/// The most bytes that it ever had there.
pub(super) fn peak(id: u32) -> Result<u64, Failure> {
    status(id, "VmHWM:")
}

/// Descriptors that the process has open.
pub(super) fn descriptors(id: u32) -> Result<usize, Failure> {
    let entries = fs::read_dir(format!("/proc/{id}/fd"));
    Ok(entries.map_err(|error| error.to_string())?.count())
}

fn status(id: u32, field: &str) -> Result<u64, Failure> {
    let file = format!("/proc/{id}/status");
    let text = fs::read_to_string(&file).map_err(|error| format!("{file}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(field));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
    let kibibytes: u64 = kibibytes.ok_or_else(|| format!("{file} has no {field}"))?;
    Ok(kibibytes << 10)
}
