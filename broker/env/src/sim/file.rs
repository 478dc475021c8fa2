//! One simulated file: what is durable, what waits for a sync, and what readers see.

use std::io::{self, IoSlice};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::disk::{DiskState, SimDisk, lock};
use super::{SimCounts, SimRandom};
use crate::{ColdRead, File, waits};

/// Disks write whole sectors: a torn write ends at a multiple of this in the file.
pub(super) const SECTOR: u64 = 512;

#[derive(Default)]
pub(super) struct FileState {
    /// Shared with copies of the disk until one of them is changed.
    pub durable: Arc<Vec<u8>>,
    pub visible: Arc<Vec<u8>>,
    pub pending: Vec<Change>,
    /// How often a write-back failed.
    pub failed_syncs: u64,
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
    /// A file of which everything is durable.
    pub(super) fn clean(bytes: Arc<Vec<u8>>) -> FileState {
        FileState {
            durable: Arc::clone(&bytes),
            visible: bytes,
            pending: Vec::new(),
            failed_syncs: 0,
        }
    }

    /// In what is seen, what is durable, and what the next sync would write.
    pub(super) fn flip(&mut self, at: usize, mask: u8) {
        flip_in(Arc::make_mut(&mut self.visible).as_mut_slice(), at, mask);
        self.flip_durable(at, mask);
        for change in &mut self.pending {
            if let Change::Write { position, bytes } = change
                && let Some(at) = at.checked_sub(*position as usize)
            {
                flip_in(bytes, at, mask);
            }
        }
    }

    /// On the disk alone.
    pub(super) fn flip_durable(&mut self, at: usize, mask: u8) {
        flip_in(Arc::make_mut(&mut self.durable).as_mut_slice(), at, mask);
    }

    pub(super) fn has_pending_write(&self) -> bool {
        let is_write = |change: &Change| matches!(change, Change::Write { .. });
        self.pending.iter().any(is_write)
    }

    /// Takes a write out of those that wait, and gives a sector of it.
    pub(super) fn take_pending(&mut self, random: &SimRandom) -> Option<Vec<u8>> {
        let chosen = random.below(self.pending.len().max(1) as u64) as usize;
        match self.pending.get(chosen)? {
            Change::Truncate(_) => return None,
            Change::Write { .. } => {}
        }
        match self.pending.remove(chosen) {
            Change::Truncate(_) => None,
            Change::Write { mut bytes, .. } => {
                bytes.truncate(SECTOR as usize);
                Some(bytes)
            }
        }
    }

    /// Bytes meant for another place land here.
    pub(super) fn overwrite(&mut self, position: u64, bytes: &[u8]) {
        let bytes = bytes.to_vec();
        let change = Change::Write { position, bytes };
        apply(&mut self.visible, &change);
        apply(&mut self.durable, &change);
    }

    pub(super) fn crash(&mut self, random: &SimRandom, counts: &mut SimCounts) {
        let mut has_lost = false;
        for change in std::mem::take(&mut self.pending) {
            let is_write = matches!(change, Change::Write { .. });
            match random.below(4) {
                0 | 1 => {
                    apply(&mut self.durable, &change);
                    counts.reordered_writes += u64::from(has_lost && is_write);
                }
                2 => {
                    has_lost |= is_write;
                    counts.lost_writes += u64::from(is_write);
                }
                _ => {
                    for part in torn(change, random, counts) {
                        apply(&mut self.durable, &part);
                    }
                }
            }
        }
        self.visible = Arc::clone(&self.durable);
    }
}

fn flip_in(bytes: &mut [u8], at: usize, mask: u8) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= mask;
    }
}

/// Parts of a write: a prefix, some of its sectors, or the new length with zeros.
fn torn(change: Change, random: &SimRandom, counts: &mut SimCounts) -> Vec<Change> {
    let Change::Write { position, bytes } = change else {
        return vec![change];
    };
    let drawn = random.below(100);
    if drawn < 30 {
        counts.zeroed_writes += 1;
        let bytes = vec![0; bytes.len()];
        return vec![Change::Write { position, bytes }];
    }
    let sectors = sectors(position, &bytes);
    if drawn < 60 && sectors.len() > 1 {
        counts.holed_writes += 1;
        // The last one is there, the first is not.
        let kept = sectors.into_iter().skip(1).rev().enumerate();
        let kept = kept.filter(|(place, _)| *place == 0 || random.chance(50));
        return kept.map(|(_, sector)| sector).collect();
    }
    counts.torn_writes += 1;
    let end = position + random.below(bytes.len() as u64 + 1);
    let end = if random.chance(50) {
        end / SECTOR * SECTOR
    } else {
        end
    };
    let keep = end.saturating_sub(position) as usize;
    vec![Change::Write {
        position,
        bytes: bytes[..keep].to_vec(),
    }]
}

/// A write in pieces of whole sectors, but for its ends.
fn sectors(position: u64, bytes: &[u8]) -> Vec<Change> {
    let mut sectors = Vec::new();
    let mut start = 0;
    while start < bytes.len() {
        let at = position + start as u64;
        let left = (SECTOR - at % SECTOR) as usize;
        let end = bytes.len().min(start + left);
        sectors.push(Change::Write {
            position: at,
            bytes: bytes[start..end].to_vec(),
        });
        start = end;
    }
    sectors
}

/// A handle of a file.
pub(super) struct SimFile {
    pub file: Arc<Mutex<FileState>>,
    /// Of the write-backs that failed, those that this handle was told of, or that were before it was opened.
    pub failures_told: AtomicU64,
    /// Where it was when it was opened.
    pub path: PathBuf,
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
        if !waits::may_wait() && self.disk.is_next_read_cold() {
            return Err(waits::refuse(ColdRead::new(None, position, buffer.len())));
        }
        let file = lock(&self.file);
        let start = usize::try_from(position)
            .unwrap_or(usize::MAX)
            .min(file.visible.len());
        let there = &file.visible[start..];
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        drop(file);
        self.disk.note_read(count);
        Ok(count)
    }

    fn write_vectored_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<usize> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.disk.change();
        self.check_life(&state)?;
        state.pass_time();
        let taken = state.take_room(&self.path, bytes.len())?;
        bytes.truncate(taken);
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
        state.pass_time();
        let fails = state.fails_sync(&self.path);
        let lies = state.faults.syncs_do_nothing;
        drop(state);
        let mut file = lock(&self.file);
        if fails {
            // The pages are marked clean: a later sync has nothing to write.
            file.pending.clear();
            file.failed_syncs += 1;
        }
        // As the kernel does: each open file is told once.
        let told = self
            .failures_told
            .swap(file.failed_syncs, Ordering::Relaxed);
        if told < file.failed_syncs {
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
