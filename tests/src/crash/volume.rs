//! A file system of its own in a file, mounted for one run: its power can be cut, and it can be full.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::Failure;

/// Which file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum FileSystem {
    /// ext4.
    Ext4,
    /// XFS, which wants 300 MiB.
    Xfs,
}

impl FileSystem {
    /// Its name for `mkfs` and `mount`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            FileSystem::Ext4 => "ext4",
            FileSystem::Xfs => "xfs",
        }
    }
}

/// Ends a file system's life as a power cut does: what is not on the disk stays off it, the journal's
/// last transactions with it (`EXT4_IOC_SHUTDOWN`, taken over from `XFS_IOC_GOINGDOWN`, argument 2: no
/// flush of the log). Python makes the call, for this crate holds no unsafe code.
const CUT: &str = "import fcntl, os, struct, sys
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))";

/// How often an unmount is tried while the last descriptors of a killed process go.
const UNMOUNT_TRIES: u32 = 50;

/// A mounted file system in a file. Dropping it unmounts it and deletes the file.
#[derive(Debug)]
pub struct Volume {
    image: PathBuf,
    mount_point: PathBuf,
    kind: FileSystem,
    is_mounted: bool,
}

impl Volume {
    /// Makes and mounts a file system of so many bytes, its file and mount point below `directory`.
    pub fn make(directory: &Path, kind: FileSystem, bytes: u64) -> Result<Volume, Failure> {
        let mount_point = directory.join("mount");
        let image = directory.join("image");
        let io = |error: std::io::Error| format!("{}: {error}", directory.display());
        fs::create_dir_all(&mount_point).map_err(io)?;
        let file = fs::File::create(&image).map_err(io)?;
        file.set_len(bytes).map_err(io)?;
        let mut volume = Volume {
            image,
            mount_point,
            kind,
            is_mounted: false,
        };
        let mut make = Command::new(format!("mkfs.{}", kind.name()));
        let force = match kind {
            FileSystem::Ext4 => "-F",
            FileSystem::Xfs => "-f",
        };
        run(make.args(["-q", force]).arg(&volume.image))?;
        volume.mount()?;
        Ok(volume)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.mount_point
    }

    /// Its file system.
    #[must_use]
    pub fn kind(&self) -> FileSystem {
        self.kind
    }

    /// Cuts the power: every later write fails, and what waits in memory is lost.
    pub(crate) fn cut_power(&self) -> Result<(), Failure> {
        let mut cut = Command::new("python3");
        run(cut.args(["-c", CUT]).arg(&self.mount_point))
    }

    /// Switches it on again: what the disk has is read, and the journal replayed.
    pub(crate) fn remount(&mut self) -> Result<(), Failure> {
        self.unmount()?;
        self.mount()
    }

    fn mount(&mut self) -> Result<(), Failure> {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop", "-t", self.kind.name()]);
        run(mount.arg(&self.image).arg(&self.mount_point))?;
        self.is_mounted = true;
        Ok(())
    }

    fn unmount(&mut self) -> Result<(), Failure> {
        let mut tries = 1;
        while self.is_mounted {
            let mut unmount = Command::new("umount");
            match run(unmount.arg(&self.mount_point)) {
                Ok(()) => self.is_mounted = false,
                Err(failure) if tries == UNMOUNT_TRIES => return Err(failure),
                Err(_) => thread::sleep(Duration::from_millis(100)),
            }
            tries += 1;
        }
        Ok(())
    }

    /// Takes all space but so many bytes. *Errors*: there is less already.
    pub(crate) fn fill_up(&self, left: u64) -> Result<(), Failure> {
        let free = self.free()?;
        let taken = free
            .checked_sub(left)
            .ok_or_else(|| format!("{free} bytes are free, not {left}"))?;
        let mut fill = Command::new("fallocate");
        fill.args(["-l", &taken.to_string()]);
        run(fill.arg(self.mount_point.join("ballast")))
    }

    /// Gives the space back.
    pub(crate) fn make_room(&self) -> Result<(), Failure> {
        let ballast = self.mount_point.join("ballast");
        fs::remove_file(&ballast).map_err(|error| format!("{}: {error}", ballast.display()))
    }

    /// Bytes that are free.
    pub(crate) fn free(&self) -> Result<u64, Failure> {
        let output = Command::new("df")
            .args(["--output=avail", "-B1"])
            .arg(&self.mount_point)
            .output()
            .map_err(|error| format!("cannot run df: {error}"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text
            .lines()
            .next_back()
            .and_then(|line| line.trim().parse().ok());
        last.ok_or_else(|| format!("df says {text:?}"))
    }
}

impl Drop for Volume {
    fn drop(&mut self) {
        match self.unmount() {
            // What is still mounted is kept, to be looked at.
            Err(failure) => println!("{failure}"),
            Ok(()) => {
                let _ = fs::remove_file(&self.image);
                let _ = fs::remove_dir(&self.mount_point);
            }
        }
    }
}

fn run(command: &mut Command) -> Result<(), Failure> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => {
            let why = String::from_utf8_lossy(&output.stderr);
            Err(format!("{command:?}: {}", why.trim()))
        }
    }
}
