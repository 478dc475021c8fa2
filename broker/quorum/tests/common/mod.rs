//! What the quorum's tests share.
#![allow(dead_code, clippy::unwrap_used)] // each test file uses a part of it

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use millstream_env::sim::SimDisk;
use millstream_env::{Disk, File};
use millstream_quorum::{DIRECTORY_NAME, Loaded, OpenError, Quorum};

/// The metadata directory of the tests.
pub const DATA: &str = "/data";

/// Where the quorum's files are.
pub fn directory() -> PathBuf {
    Path::new(DATA).join(DIRECTORY_NAME)
}

/// A disk with an empty, durable data directory.
pub fn new_disk() -> SimDisk {
    let disk = SimDisk::default();
    disk.create_directory(Path::new(DATA)).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk
}

pub fn open(disk: &SimDisk) -> Result<(Quorum, Loaded), OpenError> {
    Quorum::open(Arc::new(disk.clone()), directory())
}

/// Opens and leads.
pub fn started(disk: &SimDisk) -> (Quorum, Loaded) {
    let (mut quorum, loaded) = open(disk).unwrap();
    quorum.lead().unwrap();
    (quorum, loaded)
}

/// A proposal of these payloads, all of type 5.
pub fn records(payloads: &[&str]) -> Vec<(u16, Bytes)> {
    let of = |payload: &&str| (5, Bytes::copy_from_slice(payload.as_bytes()));
    payloads.iter().map(of).collect()
}

/// The payloads that were loaded, in order.
pub fn payloads(loaded: &Loaded) -> Vec<String> {
    let entries = loaded.entries.iter();
    entries
        .map(|entry| String::from_utf8(entry.payload.to_vec()).unwrap())
        .collect()
}

/// Names in the quorum's directory.
pub fn names(disk: &SimDisk) -> Vec<String> {
    let entries = disk.list(&directory()).unwrap();
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_string();
    entries.iter().map(|entry| name(&entry.path)).collect()
}

/// All bytes of a file.
pub fn bytes_of(disk: &SimDisk, name: &str) -> Vec<u8> {
    let file = disk.open(&directory().join(name), false).unwrap();
    read_all(&*file)
}

fn read_all(file: &dyn File) -> Vec<u8> {
    let mut bytes = vec![0; file.length().unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

/// Replaces a file's bytes, durably.
pub fn overwrite(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let file = disk.open(&directory().join(name), true).unwrap();
    file.truncate(0).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file.sync_data().unwrap();
    disk.sync_directory(&directory()).unwrap();
}

/// The log's name while it begins at this index.
pub fn log_name(first_index: u64) -> String {
    format!("{first_index:020}.log")
}
