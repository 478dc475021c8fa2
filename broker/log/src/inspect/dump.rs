//! Showing batches as they stand.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use millstream_env::Disk;
use millstream_model::Offset;
use millstream_protocol::records::{BatchHeader, check_crc};

use super::directory::io;
use super::files::Files;
use super::walk::{Step, Walk};
use super::{InspectError, PartitionFolder};
use crate::cut::find_whole_batch;
use crate::names;

/// A batch, or what stands where one should.
pub struct DumpedBatch<'a> {
    /// The segment file.
    pub path: &'a Path,
    /// Where in it.
    pub position: u64,
    /// The header. Not to be believed where something is wrong.
    pub header: Option<BatchHeader>,
    /// All bytes of the batch; empty where there is no header.
    pub bytes: &'a [u8],
    /// What is wrong: the checksum, or why nothing can be read here.
    pub problem: Option<String>,
}

/// Shows the batches of a partition that end at or after `from`, until the caller has enough. Behind what
/// cannot be read it goes on with the next whole batch.
pub fn dump(
    disk: &dyn Disk,
    folder: &PartitionFolder,
    from: Offset,
    show: &mut dyn FnMut(DumpedBatch<'_>) -> ControlFlow<()>,
) -> Result<(), InspectError> {
    let files =
        Files::list(disk, &folder.directory).map_err(|source| io(&folder.directory, source))?;
    let holds = files.logs.partition_point(|(base, _)| *base <= from);
    for (base, length) in &files.logs[holds.saturating_sub(1)..] {
        let path = names::offset_file(&folder.directory, *base, names::LOG);
        let shown = dump_segment(disk, &path, *length, from, show);
        match shown.map_err(|source| io(&path, source))? {
            ControlFlow::Continue(()) => {}
            ControlFlow::Break(()) => break,
        }
    }
    Ok(())
}

fn dump_segment(
    disk: &dyn Disk,
    path: &PathBuf,
    length: u64,
    from: Offset,
    show: &mut dyn FnMut(DumpedBatch<'_>) -> ControlFlow<()>,
) -> std::io::Result<ControlFlow<()>> {
    let file = disk.open(path, false)?;
    let mut walk = Walk::new(&*file, length);
    loop {
        let shown = match walk.next()? {
            Step::End => return Ok(ControlFlow::Continue(())),
            Step::Batch { position, header } => {
                let problem = check_crc(walk.batch()).err();
                if problem.is_none() && header.last_offset() < from.0 {
                    continue;
                }
                show(DumpedBatch {
                    path,
                    position,
                    header: Some(header),
                    bytes: walk.batch(),
                    problem: problem.map(|error| error.to_string()),
                })
            }
            Step::Unreadable { position, what } => {
                let found = find_whole_batch(&*file, position + 1, length, Offset::ZERO)?;
                walk.position = found.unwrap_or(length);
                show(DumpedBatch {
                    path,
                    position,
                    header: None,
                    bytes: &[],
                    problem: Some(what),
                })
            }
        };
        if shown.is_break() {
            return Ok(shown);
        }
    }
}
