//! `<base>.digest`: checksums of a sealed segment.
//!
//! A batch's checksum covers neither its base offset nor its leader epoch, and says nothing about a whole
//! batch in the wrong place. In a segment without gaps the neighbours do; where compaction was, this file
//! does. It also vouches for the time index, whose entries say what no single batch can confirm.
//!
//! One file per sealed segment, in the envelope of all our formats with magic `MSDG` and version 1. Its
//! payload is:
//!
//! | size | field |
//! | --- | --- |
//! | 16 | topic id |
//! | 4 | partition; −1: the folder's name does not end with one |
//! | 8 | base offset |
//! | 8 | end offset, exclusive |
//! | 8 | length of the `.log` file |
//! | 8 | largest timestamp; −1: no record has one |
//! | 4 | last offset of the first batch that has it, relative to the base |
//! | 4 | length of the `.timeindex` file |
//! | 4 | its CRC-32 (IEEE) |
//! | 4 | length of a block, 1 MiB |
//! | 4 each | CRC-32C of the blocks of the `.log` file; the last block may be shorter |
//!
//! CRC-32C is what the processor computes at the speed of memory, and it finds every error of up to three
//! bits in a block of this size, every burst of 32, and all but one in four thousand million of others.
//!
//! The file is written after the segment it is about, and never before that is whole: by compaction from
//! what it writes, by the scrub from what it has checked batch by batch. One about another range or length
//! is that of a segment which is no more; it is not believed, and is no damage.

use std::io;
use std::ops::Range;
use std::path::Path;

use crc_fast::CrcAlgorithm;
use millstream_env::File;
use millstream_model::{Offset, TopicId};

use crate::derived::read_small;
use crate::envelope::{self, Fields};
use crate::index::IndexEntry;
use crate::time_index::TimeEntry;
use crate::{LogPlace, names};

const MAGIC: [u8; 4] = *b"MSDG";
const VERSION: u16 = 1;
/// Bytes of the `.log` file under one checksum.
pub(crate) const BLOCK_BYTES: u64 = 1 << 20;

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Digest {
    pub topic_id: TopicId,
    pub partition: i32,
    pub range: Range<Offset>,
    /// Length of the `.log` file.
    pub size: u64,
    pub largest: Option<TimeEntry>,
    pub time_index: FileDigest,
    /// Of each block.
    pub blocks: Vec<u32>,
}

/// Length and CRC-32 of a whole file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct FileDigest {
    pub bytes: u32,
    pub checksum: u32,
}

impl FileDigest {
    pub(crate) fn of(bytes: &[u8]) -> FileDigest {
        FileDigest {
            bytes: u32::try_from(bytes.len()).unwrap_or(u32::MAX),
            checksum: crc32fast::hash(bytes),
        }
    }

    /// Of the file with more bytes at its end.
    pub(crate) fn and(self, more: &[u8]) -> FileDigest {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.checksum);
        hasher.update(more);
        FileDigest {
            bytes: self.bytes.saturating_add(more.len() as u32),
            checksum: hasher.finalize(),
        }
    }
}

impl Digest {
    /// Whether it is about this segment, as far as that can be known without reading it.
    pub(crate) fn is_about(&self, place: &LogPlace, range: &Range<Offset>, size: u64) -> bool {
        self.topic_id == place.topic_id
            && self.partition == partition_of(&place.directory)
            && self.range == *range
            && self.size == size
    }

    /// The bytes of a block.
    pub(crate) fn block(&self, number: usize) -> Range<u64> {
        let start = number as u64 * BLOCK_BYTES;
        start..(start + BLOCK_BYTES).min(self.size)
    }

    /// The numbers of the blocks that some bytes lie in.
    pub(crate) fn blocks_of(&self, bytes: &Range<u64>) -> Range<usize> {
        let first = bytes.start / BLOCK_BYTES;
        let end = bytes.end.min(self.size).div_ceil(BLOCK_BYTES);
        first as usize..end as usize
    }

    /// Whether every block of a file is as it says.
    pub(crate) fn fits(&self, file: &dyn File) -> io::Result<bool> {
        Ok(file.length()? == self.size && self.misfits(file)?.next().is_none())
    }

    /// The numbers of the blocks of a file that are not as it says.
    pub(crate) fn misfits(&self, file: &dyn File) -> io::Result<std::vec::IntoIter<usize>> {
        let mut misfits = Vec::new();
        for number in 0..self.blocks.len() {
            if !self.is_whole(file, number)? {
                misfits.push(number);
            }
        }
        Ok(misfits.into_iter())
    }

    /// Whether a block of a file is as it says. A file that ends before is not.
    pub(crate) fn is_whole(&self, file: &dyn File, number: usize) -> io::Result<bool> {
        let range = self.block(number);
        let mut block = vec![0; (range.end - range.start) as usize];
        let read = file.read_at(&mut block, range.start)?;
        Ok(read == block.len() && checksum(&block) == self.blocks[number])
    }

    /// Reads a segment's file. `None` when there is none, or none that is whole.
    pub(crate) fn read(place: &LogPlace, path: &Path) -> io::Result<Option<Digest>> {
        let bytes = read_small(&*place.disk, path)?;
        Ok(bytes.and_then(|bytes| Digest::parse(&bytes)))
    }

    /// Writes a whole file and makes its bytes durable.
    pub(crate) fn write(&self, place: &LogPlace, path: &Path) -> io::Result<()> {
        let file = place.disk.open(path, true)?;
        file.truncate(0)?;
        file.write_all_at(&self.to_bytes(), 0)?;
        file.sync_data()
    }

    /// Replaces the file of a segment that has one. *Bounds*: the segment is the same as before.
    pub(crate) fn replace(&self, place: &LogPlace) -> io::Result<()> {
        let path = names::offset_file(&place.directory, self.range.start, names::DIGEST);
        let temporary = temporary_path(place, self.range.start);
        self.write(place, &temporary)?;
        place.disk.rename(&temporary, &path)
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut payload = self.topic_id.0.to_vec();
        payload.extend_from_slice(&self.partition.to_be_bytes());
        payload.extend_from_slice(&self.range.start.0.to_be_bytes());
        payload.extend_from_slice(&self.range.end.0.to_be_bytes());
        payload.extend_from_slice(&self.size.to_be_bytes());
        let none = TimeEntry {
            timestamp: -1,
            relative_offset: 0,
        };
        self.largest.unwrap_or(none).write(&mut payload);
        payload.extend_from_slice(&self.time_index.bytes.to_be_bytes());
        payload.extend_from_slice(&self.time_index.checksum.to_be_bytes());
        payload.extend_from_slice(&(BLOCK_BYTES as u32).to_be_bytes());
        for block in &self.blocks {
            payload.extend_from_slice(&block.to_be_bytes());
        }
        envelope::wrap(MAGIC, VERSION, &payload)
    }

    pub(crate) fn parse(bytes: &[u8]) -> Option<Digest> {
        let (version, payload) = envelope::unwrap(MAGIC, bytes)?;
        if version != VERSION {
            return None;
        }
        let mut fields = Fields(payload);
        let topic_id = TopicId(fields.array()?);
        let partition = fields.i32()?;
        let range = Offset(fields.i64()?)..Offset(fields.i64()?);
        let size = u64::try_from(fields.i64()?).ok()?;
        let largest = TimeEntry::read(&fields.array::<12>()?);
        let time_index = FileDigest {
            bytes: fields.u32()?,
            checksum: fields.u32()?,
        };
        if u64::from(fields.u32()?) != BLOCK_BYTES
            || fields.0.len() as u64 != size.div_ceil(BLOCK_BYTES).checked_mul(4)?
        {
            return None;
        }
        let mut blocks = Vec::with_capacity(fields.0.len() / 4);
        while let Some(block) = fields.u32() {
            blocks.push(block);
        }
        Some(Digest {
            topic_id,
            partition,
            range,
            size,
            largest: largest.is_plausible().then_some(largest),
            time_index,
            blocks,
        })
    }
}

/// The name of a segment's digest until it is in place. A start removes what has it.
pub(crate) fn temporary_path(place: &LogPlace, base: Offset) -> std::path::PathBuf {
    let extension = format!("{}.{}", names::DIGEST, names::TEMPORARY);
    names::offset_file(&place.directory, base, &extension)
}

/// The partition's number, by its folder's name.
pub(crate) fn partition_of(directory: &Path) -> i32 {
    let name = directory.file_name().and_then(|name| name.to_str());
    let number = name.and_then(|name| name.rsplit_once('-'));
    number
        .and_then(|(_, digits)| digits.parse().ok())
        .unwrap_or(-1)
}

/// The checksum of one block.
pub(crate) fn checksum(block: &[u8]) -> u32 {
    millstream_protocol::records::crc32c(block)
}

/// The checksums of the blocks of bytes that come one after the other.
pub(crate) struct BlockChecksums {
    done: Vec<u32>,
    running: crc_fast::Digest,
    /// Bytes of the block that is not complete.
    filled: u64,
}

impl Default for BlockChecksums {
    fn default() -> BlockChecksums {
        BlockChecksums {
            done: Vec::new(),
            running: crc_fast::Digest::new(CrcAlgorithm::Crc32Iscsi),
            filled: 0,
        }
    }
}

impl BlockChecksums {
    pub(crate) fn add(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let room = (BLOCK_BYTES - self.filled) as usize;
            let (now, later) = bytes.split_at(bytes.len().min(room));
            self.running.update(now);
            self.filled += now.len() as u64;
            bytes = later;
            if self.filled == BLOCK_BYTES {
                self.end_block();
            }
        }
    }

    fn end_block(&mut self) {
        self.done.push(self.running.finalize_reset() as u32);
        self.filled = 0;
    }

    /// Of all blocks; the last one ends here.
    pub(crate) fn finish(mut self) -> Vec<u32> {
        if self.filled > 0 {
            self.end_block();
        }
        self.done
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest() -> Digest {
        Digest {
            topic_id: TopicId([9; 16]),
            partition: 3,
            range: Offset(0x10)..Offset(0x0102_0304),
            size: BLOCK_BYTES + 1,
            largest: Some(TimeEntry {
                timestamp: 0x18b_cfe5_6800,
                relative_offset: 5,
            }),
            time_index: FileDigest {
                bytes: 24,
                checksum: 0x1122_3344,
            },
            blocks: vec![0xaabb_ccdd, 7],
        }
    }

    #[test]
    fn golden_bytes() {
        let bytes = digest().to_bytes();
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let golden = concat!(
            "4d534447",
            "0001",
            "0000",
            "0000004c",
            "02360e40",
            "09090909090909090909090909090909",
            "00000003",
            "0000000000000010",
            "0000000001020304",
            "0000000000100001",
            "0000018bcfe56800",
            "00000005",
            "00000018",
            "11223344",
            "00100000",
            "aabbccdd",
            "00000007",
        );
        assert_eq!(hex, golden);
        assert_eq!(Digest::parse(&bytes), Some(digest()));
        let without = Digest {
            largest: None,
            ..digest()
        };
        assert_eq!(Digest::parse(&without.to_bytes()), Some(without));
    }

    #[test]
    fn blocks_are_cut_wherever_the_bytes_are() {
        let bytes: Vec<u8> = (0..2 * BLOCK_BYTES + 700)
            .map(|at| (at % 251) as u8)
            .collect();
        let expected: Vec<u32> = bytes.chunks(BLOCK_BYTES as usize).map(checksum).collect();
        for step in [1000, 65_537, bytes.len()] {
            let mut sums = BlockChecksums::default();
            bytes.chunks(step).for_each(|part| sums.add(part));
            assert_eq!(sums.finish(), expected, "{step}");
        }
        let exact = &bytes[..BLOCK_BYTES as usize];
        let mut sums = BlockChecksums::default();
        sums.add(exact);
        assert_eq!(sums.finish(), [checksum(exact)]);
        assert_eq!(
            FileDigest::of(&bytes[..9]).and(&bytes[9..50]),
            FileDigest::of(&bytes[..50])
        );
    }

    #[test]
    fn blocks_of_bytes() {
        let digest = digest();
        assert_eq!(digest.blocks_of(&(0..1)), 0..1);
        assert_eq!(digest.blocks_of(&(5..BLOCK_BYTES)), 0..1);
        assert_eq!(digest.blocks_of(&(5..BLOCK_BYTES + 1)), 0..2);
        assert_eq!(digest.blocks_of(&(BLOCK_BYTES..u64::MAX)), 1..2);
        assert_eq!(digest.block(1), BLOCK_BYTES..BLOCK_BYTES + 1);
    }
}
