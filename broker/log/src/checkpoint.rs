//! `millstream-checkpoint`: what a log directory knows of its partitions from the last run.
//!
//! One file per log directory, in the envelope of all our formats with magic `MSCP` and version 2.
//! Its payload is:
//!
//! | size | field |
//! | --- | --- |
//! | 1 | 1 after a clean stop, else 0 |
//! | 4 | number of partitions; then per partition, 41 bytes: |
//! | 16 | topic id |
//! | 4 | partition |
//! | 8 | recovery point: everything below it was durable, exclusive |
//! | 8 | log start offset |
//! | 1 | 1 if the next is known, else 0 |
//! | 4 | checksum of the leader epochs between the two |
//!
//! Version 1 has not the last two. It is read, and written no more.
//!
//! It is replaced as a whole: written beside, synced, renamed, and the directory synced. A file
//! that is not whole is as good as none: everything is read then.

use std::io;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::{Offset, TopicId};

use crate::Noted;
use crate::envelope::{self, Fields};

const MAGIC: [u8; 4] = *b"MSCP";
const VERSION: u16 = 2;
pub(crate) const NAME: &str = "millstream-checkpoint";
const ENTRY_BYTES: usize = 41;
const ENTRY_BYTES_OF_VERSION_1: usize = 36;
/// Room for more than a hundred million partitions' entries would not be believed.
const FILE_BYTES_MAX: u64 = 1 << 32;

/// What is known of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointEntry {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's number.
    pub partition: i32,
    /// What is known of its log.
    pub noted: Noted,
}

/// The content of a log directory's checkpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Whether the broker stopped by itself and all logs were closed.
    pub is_clean: bool,
    /// The partitions.
    pub entries: Vec<CheckpointEntry>,
}

impl Checkpoint {
    /// Reads a directory's checkpoint. `None` when there is none, or none that is whole.
    pub fn read(disk: &dyn Disk, directory: &Path) -> io::Result<Option<Checkpoint>> {
        let path = path_in(directory);
        let file = match disk.open(&path, false) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let length = file.length()?.min(FILE_BYTES_MAX);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        file.read_exact_at(&mut bytes, 0)?;
        let checkpoint = Checkpoint::parse(&bytes);
        if checkpoint.is_none() {
            tracing::warn!(path = %path.display(), "checkpoint is damaged: logs are read whole");
        }
        Ok(checkpoint)
    }

    /// Replaces a directory's checkpoint, durably.
    pub fn write(&self, disk: &dyn Disk, directory: &Path) -> io::Result<()> {
        let path = path_in(directory);
        let temporary = path.with_extension("tmp");
        let bytes = self.to_bytes();
        let file = disk.open(&temporary, true)?;
        file.truncate(0)?;
        file.write_all_at(&bytes, 0)?;
        file.sync_data()?;
        disk.rename(&temporary, &path)?;
        disk.sync_directory(directory)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut payload = Vec::with_capacity(5 + self.entries.len() * ENTRY_BYTES);
        payload.push(u8::from(self.is_clean));
        payload.extend_from_slice(&(self.entries.len() as u32).to_be_bytes());
        for entry in &self.entries {
            payload.extend_from_slice(&entry.topic_id.0);
            payload.extend_from_slice(&entry.partition.to_be_bytes());
            let noted = entry.noted;
            payload.extend_from_slice(&noted.recovery_point.0.to_be_bytes());
            payload.extend_from_slice(&noted.log_start_offset.0.to_be_bytes());
            payload.push(u8::from(noted.epochs_checksum.is_some()));
            payload.extend_from_slice(&noted.epochs_checksum.unwrap_or(0).to_be_bytes());
        }
        envelope::wrap(MAGIC, VERSION, &payload)
    }

    fn parse(bytes: &[u8]) -> Option<Checkpoint> {
        let (version, payload) = envelope::unwrap(MAGIC, bytes)?;
        let entry_bytes = match version {
            1 => ENTRY_BYTES_OF_VERSION_1,
            VERSION => ENTRY_BYTES,
            _ => return None,
        };
        let mut fields = Fields(payload);
        let is_clean = fields.u8()? == 1;
        let count = fields.u32()? as usize;
        if fields.0.len() != count.checked_mul(entry_bytes)? {
            return None;
        }
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            entries.push(CheckpointEntry {
                topic_id: TopicId(fields.array()?),
                partition: fields.i32()?,
                noted: Noted {
                    recovery_point: Offset(fields.i64()?),
                    log_start_offset: Offset(fields.i64()?),
                    epochs_checksum: match version {
                        1 => None,
                        _ => {
                            let is_known = fields.u8()? == 1;
                            Some(fields.u32()?).filter(|_| is_known)
                        }
                    },
                },
            });
        }
        Some(Checkpoint { is_clean, entries })
    }
}

fn path_in(directory: &Path) -> PathBuf {
    directory.join(NAME)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use millstream_env::sim::{SimDisk, SimRandom};

    use super::*;

    fn checkpoint(recovery_point: i64) -> Checkpoint {
        let entry = CheckpointEntry {
            topic_id: TopicId([9; 16]),
            partition: 3,
            noted: Noted {
                recovery_point: Offset(recovery_point),
                log_start_offset: Offset(0x20),
                epochs_checksum: Some(0x0102_0304),
            },
        };
        Checkpoint {
            is_clean: true,
            entries: vec![entry],
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = checkpoint(0x1234).to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "4d534350",
            "0002",
            "0000",
            "0000002e",
            "21378519",
            "01",
            "00000001",
            "09090909090909090909090909090909",
            "00000003",
            "0000000000001234",
            "0000000000000020",
            "01",
            "01020304",
        );
        assert_eq!(hex, golden);
        assert_eq!(Checkpoint::parse(&bytes), Some(checkpoint(0x1234)));
    }

    #[test]
    fn version_1_is_read() {
        let hex = concat!(
            "4d534350",
            "0001",
            "0000",
            "00000029",
            "71998308",
            "01",
            "00000001",
            "09090909090909090909090909090909",
            "00000003",
            "0000000000001234",
            "0000000000000020",
        );
        let bytes = hex
            .as_bytes()
            .chunks(2)
            .map(|digits| u8::from_str_radix(std::str::from_utf8(digits).unwrap(), 16).unwrap());
        let mut expected = checkpoint(0x1234);
        expected.entries[0].noted.epochs_checksum = None;
        let bytes: Vec<u8> = bytes.collect();
        assert_eq!(Checkpoint::parse(&bytes), Some(expected));
    }

    #[test]
    fn a_crash_leaves_the_old_or_the_new_one() {
        for seed in 0..200 {
            let random = SimRandom::new(seed);
            let disk = SimDisk::default();
            let directory = Path::new("/data");
            disk.create_directory(directory).unwrap();
            disk.sync_directory(Path::new("/")).unwrap();
            assert_eq!(Checkpoint::read(&disk, directory).unwrap(), None);
            checkpoint(1).write(&disk, directory).unwrap();
            // The power goes at any step of the second write.
            let temporary = path_in(directory).with_extension("tmp");
            let file = disk.open(&temporary, true).unwrap();
            file.truncate(0).unwrap();
            if random.chance(80) {
                file.write_all_at(&checkpoint(2).to_bytes(), 0).unwrap();
                if random.chance(50) {
                    file.sync_data().unwrap();
                    disk.rename(&temporary, &path_in(directory)).unwrap();
                }
            }
            disk.crash(&random);
            let found = Checkpoint::read(&disk, directory).unwrap().unwrap();
            assert!(
                [checkpoint(1), checkpoint(2)].contains(&found),
                "seed {seed}"
            );
        }
    }
}
