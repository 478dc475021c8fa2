//! One simulated file: what is durable, what waits for a sync, and what readers see.

use std::io::{self, IoSlice};
use std::sync::{Arc, Mutex};

use super::SimRandom;
use super::disk::{DiskState, SimDisk, lock};
use crate::File;

/// Disks write whole sectors: a torn write ends at a multiple of this in the file.
const SECTOR: u64 = 512;

#[derive(Default)]
pub(super) struct FileState {
    /// Shared with copies of the disk until one of them is changed.
    pub durable: Arc<Vec<u8>>,
    pub visible: Arc<Vec<u8>>,
    pub pending: Vec<Change>,
}

#[derive(Clone)]
pub(super) enum Change {
    Write { position: u64, bytes: Vec<u8> },
    Truncate(u64),
}

fn apply(bytes: &mut Arc<Vec<u8>>, change: &Change) {
    let bytes = Arc::make_mut(bytes);
    match change {
        Change::Truncate(length) => bytes.resize(*length as usize, 0),
        Change::Write {
            position,
            bytes: written,
        } => {
            let start = *position as usize;
            let end = start + written.len();
            if bytes.len() < end {
                bytes.resize(end, 0);
            }
            bytes[start..end].copy_from_slice(written);
        }
    }
}

impl FileState {
    /// In what is seen, what is durable, and what the next sync would write.
    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        let flip = |bytes: &mut Vec<u8>, at: usize| {
            if let Some(byte) = bytes.get_mut(at) {
                *byte ^= mask;
            }
        };
        flip(Arc::make_mut(&mut self.visible), at);
        flip(Arc::make_mut(&mut self.durable), at);
        for change in &mut self.pending {
            if let Change::Write { position, bytes } = change
                && let Some(at) = at.checked_sub(*position as usize)
            {
                flip(bytes, at);
            }
        }
    }

    pub(super) fn crash(&mut self, random: &SimRandom) {
        for change in std::mem::take(&mut self.pending) {
            match random.below(4) {
                0 | 1 => apply(&mut self.durable, &change),
                2 => {}
                _ => apply(&mut self.durable, &torn(change, random)),
            }
        }
        self.visible = Arc::clone(&self.durable);
    }
}

/// Part of a write: a prefix up to a sector's end, or the new length with zeros.
fn torn(change: Change, random: &SimRandom) -> Change {
    let Change::Write { position, bytes } = change else {
        return change;
    };
    if random.chance(30) {
        let zeros = vec![0; bytes.len()];
        return Change::Write {
            position,
            bytes: zeros,
        };
    }
    let end = position + random.below(bytes.len() as u64 + 1);
    let end = if random.chance(50) {
        end / SECTOR * SECTOR
    } else {
        end
    };
    let keep = end.saturating_sub(position) as usize;
    Change::Write {
        position,
        bytes: bytes[..keep].to_vec(),
    }
}

/// A handle of a file.
pub(super) struct SimFile {
    pub file: Arc<Mutex<FileState>>,
    pub disk: SimDisk,
    pub life: u64,
}

impl SimFile {
    /// A handle of a process that ended does nothing any more.
    fn check_life(&self, state: &DiskState) -> io::Result<()> {
        if state.life == self.life {
            Ok(())
        } else {
            Err(io::Error::other("process has ended"))
        }
    }
}

impl File for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(lock(&self.file).visible.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let file = lock(&self.file);
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(file.visible.len());
        let there = &file.visible[start..];
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        Ok(count)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.disk.change();
        self.check_life(&state)?;
        if bytes.len() > 1 && std::mem::take(&mut state.faults.short_next_write) {
            bytes.truncate(bytes.len() / 2);
        }
        if let Some(room) = &mut state.faults.room {
            if *room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            bytes.truncate(usize::try_from(*room).unwrap_or(usize::MAX));
            *room -= bytes.len() as u64;
        }
        drop(state);
        let count = bytes.len();
        let change = Change::Write { position, bytes };
        let mut file = lock(&self.file);
        apply(&mut file.visible, &change);
        file.pending.push(change);
        Ok(count)
    }

    fn truncate(&self, length: u64) -> io::Result<()> {
        let state = self.disk.change();
        self.check_life(&state)?;
        drop(state);
        let change = Change::Truncate(length);
        let mut file = lock(&self.file);
        apply(&mut file.visible, &change);
        file.pending.push(change);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.disk.change();
        self.check_life(&state)?;
        let fails = std::mem::take(&mut state.faults.fail_next_sync);
        let lies = state.faults.syncs_do_nothing;
        drop(state);
        let mut file = lock(&self.file);
        if fails {
            // The pages are marked clean: a later sync has nothing to write.
            file.pending.clear();
            return Err(io::Error::other("simulated sync failure"));
        }
        if !lies {
            // Only what is dirty is written: the bytes of a failed sync are clean, and stay lost.
            let file = &mut *file;
            for change in file.pending.drain(..) {
                apply(&mut file.durable, &change);
            }
        }
        Ok(())
    }

    fn forget_cached(&self, position: u64) -> io::Result<()> {
        self.sync_data()?;
        let mut file = lock(&self.file);
        let start = usize::try_from(position).unwrap_or(usize::MAX);
        // What waits for a sync that lies is dirty still, and dirty pages are not dropped.
        let mut on_disk = Arc::clone(&file.durable);
        for change in &file.pending {
            apply(&mut on_disk, change);
        }
        Arc::make_mut(&mut on_disk).resize(file.visible.len(), 0);
        if start < on_disk.len() {
            Arc::make_mut(&mut file.visible)[start..].copy_from_slice(&on_disk[start..]);
        }
        Ok(())
    }
}
