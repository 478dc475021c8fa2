//! The files of a partition, as they are found at the start.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use millstream_env::DirectoryEntry;
use millstream_model::Offset;

use crate::{LogPlace, Noted, names};

/// The files of a partition, as the directory lists them.
#[derive(Default)]
pub(crate) struct Listing {
    /// Base offset and length of each `.log` file that is not empty, ascending.
    pub logs: Vec<(Offset, u64)>,
    /// A lone `.log` file with its indexes, all of them empty.
    pub empty: Option<Offset>,
    /// The lengths of index files.
    pub lengths: BTreeMap<PathBuf, u64>,
    /// The checkpoints of producers, by offset, ascending.
    pub producers: Vec<Offset>,
    pub snapshots: Vec<Offset>,
    /// The base offsets of segments with a digest.
    pub digests: BTreeSet<Offset>,
}

/// The names in the directory, which is created where there is none.
pub(crate) fn entries(place: &LogPlace) -> io::Result<Vec<DirectoryEntry>> {
    match place.disk.list(&place.directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            place.disk.create_directory(&place.directory)?;
            Ok(Vec::new())
        }
        entries => entries,
    }
}

/// Sorts what is in the directory, and removes what was never finished.
pub(crate) fn list(
    place: &LogPlace,
    entries: Vec<DirectoryEntry>,
    noted: Noted,
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let mut empty = Vec::new();
    for entry in entries {
        let path = entry.path;
        let goes = [names::TEMPORARY, names::DELETED, names::CLEANED];
        if path
            .extension()
            .is_some_and(|extension| goes.iter().any(|going| extension == *going))
        {
            place.disk.remove_file(&path)?;
        } else if let Some(base) = names::offset_of(&path, names::LOG) {
            match place.disk.length(&path)? {
                0 => empty.push(base),
                length => listing.logs.push((base, length)),
            }
        } else if let Some(offset) = names::offset_of(&path, names::PRODUCERS) {
            listing.producers.push(offset);
        } else if let Some(offset) = names::offset_of(&path, names::SNAPSHOT) {
            listing.snapshots.push(offset);
        } else if let Some(base) = names::offset_of(&path, names::DIGEST) {
            listing.digests.insert(base);
        } else if is_index(&path) {
            let length = place.disk.length(&path)?;
            listing.lengths.insert(path, length);
        }
    }
    // An empty segment holds nothing that the one before it could not go on with. A lone one says
    // where the log begins, if nobody else knows.
    if listing.logs.is_empty() && noted == Noted::UNKNOWN {
        listing.logs.extend(empty.pop().map(|base| (base, 0)));
    }
    if let ([base], true) = (&empty[..], listing.logs.is_empty())
        && listing.lengths.len() == 2
        && listing.lengths.values().all(|length| *length == 0)
    {
        listing.empty = Some(*base);
        return Ok(listing);
    }
    for base in empty {
        remove_segment(place, base)?;
    }
    Ok(listing)
}

fn is_index(path: &Path) -> bool {
    let is_named = |extension| names::offset_of(path, extension).is_some();
    is_named(names::OFFSET_INDEX) || is_named(names::TIME_INDEX)
}

pub(crate) fn remove_segment(place: &LogPlace, base: Offset) -> io::Result<()> {
    let extensions = [
        names::DIGEST,
        names::OFFSET_INDEX,
        names::TIME_INDEX,
        names::LOG,
    ];
    for extension in extensions {
        remove_if_there(
            place,
            &names::offset_file(&place.directory, base, extension),
        )?;
    }
    Ok(())
}

/// Renames a segment's files, with `.deleted` added. Answers their names now.
pub(crate) fn rename_away(place: &LogPlace, base: Offset) -> io::Result<Vec<PathBuf>> {
    let mut renamed = Vec::new();
    let extensions = [
        names::DIGEST,
        names::OFFSET_INDEX,
        names::TIME_INDEX,
        names::SNAPSHOT,
        names::LOG,
    ];
    for extension in extensions {
        let path = names::offset_file(&place.directory, base, extension);
        let away = path.with_extension(format!("{extension}.{}", names::DELETED));
        match place.disk.rename(&path, &away) {
            Ok(()) => renamed.push(away),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(renamed)
}

pub(crate) fn remove_if_there(place: &LogPlace, path: &Path) -> io::Result<()> {
    match place.disk.remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
