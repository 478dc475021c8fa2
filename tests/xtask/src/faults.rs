//! Brokers whose disk fails them: power cuts, a sync that fails, a disk that is full, with the crash test's load
//! and judge; and a disk that is slow.
//!
//! Power cuts and full disks need file systems of their own: root, loop devices and `mkfs`. Where nobody
//! may mount, they are skipped even if nothing else may be left out.

use std::path::Path;
use std::process::Command;

use crate::check::built;
use crate::step;
use crate::tally::Tally;
use crate::tools::{first_missing, root, target};

/// The seed of runs that are to be repeated.
const SEED: &str = "1";
/// Segments as small as they may be: rolls are where names and files reach the disk apart.
const SMALL_SEGMENTS: [&str; 2] = [
    "--serve-argument=--set",
    "--serve-argument=log.segment.bytes=1048576",
];

/// Cuts the power of a file system under this broker so many times.
pub fn powercut(broker: &Path, cuts: &str, file_system: &str) -> Tally {
    let make = format!("mkfs.{file_system}");
    if let Some(left_out) = left_out("powercut", &[&make, "mount", "umount", "python3"]) {
        return left_out;
    }
    let more = [&SMALL_SEGMENTS[..], &["--moves"]].concat();
    run_on_volume(broker, "power-cut", cuts, file_system, &more)
}

/// Fails a sync and a log directory, fills the disk, wholly and up to the reserve, and crashes in a loop, so many
/// times each.
pub fn faults(broker: &Path, count: &str) -> Tally {
    under_strace(broker, "failed-sync", count)
        + under_strace(broker, "failed-directory", count)
        + full_disk(broker, "full-disk", count)
        + full_disk(broker, "nearly-full-disk", count)
        + in_folder(broker, "crash-loop", count)
}

/// Measures a fast disk beside a slow one for so many seconds, each without and with the load. With
/// `good_enough_ms` a p99 below that is taken, whatever the ratio.
pub fn slow_disk(broker: &Path, seconds: &str, good_enough_ms: &str) -> Tally {
    let has_groups = ["/sys/fs/cgroup/blkio", "/sys/fs/cgroup/cgroup.controllers"];
    if !has_groups.iter().any(|path| Path::new(path).exists()) {
        println!("SKIP slow disk: there are no control groups for block devices");
        return Tally::skip();
    }
    if let Some(left_out) = left_out("slow disk", &["mkfs.ext4", "mount", "umount"]) {
        return left_out;
    }
    let mut command = Command::new(built("slow_disk"));
    command
        .arg("--millstream")
        .arg(broker)
        .args(["--seconds", seconds, "--good-enough-ms", good_enough_ms])
        .arg("--scratch")
        .arg(target().join("slow-disk"))
        .arg("--fast")
        .arg(target().join("slow-disk-fast"))
        // That the disk is slow is what it will say.
        .env("MILLSTREAM_LOG", "error")
        .current_dir(root());
    step::run_as_one(&mut command)
}

fn under_strace(broker: &Path, ending: &str, count: &str) -> Tally {
    if let Some(program) = first_missing(&["strace"]) {
        return step::missing(ending, program);
    }
    in_folder(broker, ending, count)
}

fn in_folder(broker: &Path, ending: &str, count: &str) -> Tally {
    let data = target().join(format!("{ending}-data"));
    for used in [data.clone(), data.with_extension("second")] {
        if used.exists()
            && let Err(error) = std::fs::remove_dir_all(&used)
        {
            return Tally::failure(format!("{ending}: {}: {error}", used.display()));
        }
    }
    let mut command = crash(broker, ending, count);
    step::run_as_one(command.arg("--data-dir").arg(&data))
}

fn full_disk(broker: &Path, ending: &str, count: &str) -> Tally {
    let programs = ["mkfs.ext4", "mount", "umount", "fallocate", "df"];
    if let Some(left_out) = left_out(ending, &programs) {
        return left_out;
    }
    run_on_volume(broker, ending, count, "ext4", &[])
}

fn run_on_volume(
    broker: &Path,
    ending: &str,
    count: &str,
    file_system: &str,
    more: &[&str],
) -> Tally {
    let mut command = crash(broker, ending, count);
    command.args(["--file-system", file_system, "--scratch"]);
    command.arg(target().join(ending)).args(more);
    step::run_as_one(&mut command)
}

fn crash(broker: &Path, ending: &str, count: &str) -> Command {
    let mut command = Command::new(built("crash"));
    command
        .arg("--millstream")
        .arg(broker)
        .args(["--seed", SEED, "--kills", count, "--ending", ending])
        // What the dying broker says is what is to be expected of it.
        .env("MILLSTREAM_LOG", "off")
        .current_dir(root());
    command
}

/// Why it is left out here, if it is.
fn left_out(name: &str, programs: &[&str]) -> Option<Tally> {
    let id = Command::new("id").arg("-u").output();
    let is_root = id.is_ok_and(|output| output.stdout == b"0\n");
    if !is_root || !Path::new("/dev/loop-control").exists() {
        println!("SKIP {name}: mounting a file system needs root and loop devices");
        return Some(Tally::skip());
    }
    first_missing(programs).map(|program| step::missing(name, program))
}
