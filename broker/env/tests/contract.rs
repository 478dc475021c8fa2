//! One contract for both disks.
#![allow(missing_docs, clippy::unwrap_used)]

use std::io::{ErrorKind, IoSlice};
use std::path::Path;

use millstream_env::sim::{SimDisk, SimFaults, SimRandom};
use millstream_env::{Disk, RealDisk, Rename, SyncWork, without_waiting};

fn each_disk(test: impl Fn(&dyn Disk, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    test(&RealDisk, folder.path());
    let disk = SimDisk::default();
    disk.create_directory(Path::new("/data")).unwrap();
    test(&disk, Path::new("/data"));
}

#[test]
fn a_file_reads_back_what_was_written() {
    each_disk(|disk, root| {
        let path = root.join("file");
        assert_eq!(
            disk.open(&path, false).err().unwrap().kind(),
            ErrorKind::NotFound
        );
        let file = disk.open(&path, true).unwrap();
        let parts = [IoSlice::new(b"head"), IoSlice::new(b"body")];
        assert_eq!(file.write_vectored_at(&parts, 2).unwrap(), 8);
        let mut buffer = [9; 16];
        assert_eq!(file.read_at(&mut buffer, 0).unwrap(), 10);
        assert_eq!(&buffer[..10], b"\0\0headbody");
        assert_eq!(file.read_at(&mut buffer, 10).unwrap(), 0);
        let short = file.read_exact_at(&mut buffer, 0).unwrap_err();
        assert_eq!(short.kind(), ErrorKind::UnexpectedEof);
        file.truncate(6).unwrap();
        assert_eq!(file.length().unwrap(), 6);
        file.truncate(8).unwrap();
        assert_eq!(file.read_at(&mut buffer, 4).unwrap(), 4);
        assert_eq!(&buffer[..4], b"ad\0\0");
        file.sync_data().unwrap();
        file.write_all_at(b"new", 8).unwrap();
        file.forget_cached(9).unwrap();
        assert_eq!(file.read_at(&mut buffer, 4).unwrap(), 7);
        assert_eq!(&buffer[..7], b"ad\0\0new");
    });
}

#[test]
fn a_file_system_says_how_much_room_it_has() {
    each_disk(|disk, root| {
        let space = disk.space(root).unwrap();
        assert!(space.free > 0 && space.free <= space.total, "{space:?}");
        let missing = disk.space(&root.join("missing")).unwrap_err();
        assert_eq!(missing.kind(), ErrorKind::NotFound);
    });
}

#[test]
fn bytes_of_a_failed_sync_read_back_until_the_cache_forgets_them() {
    let disk = SimDisk::default();
    disk.create_directory(Path::new("/data")).unwrap();
    let file = disk.open(Path::new("/data/file"), true).unwrap();
    file.write_all_at(b"durable", 0).unwrap();
    file.sync_data().unwrap();
    file.write_all_at(b"failed", 7).unwrap();
    disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    assert!(file.sync_data().is_err());
    // Marked clean, so a sync that succeeds brings nothing back.
    file.sync_data().unwrap();
    disk.end_process();
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    let mut buffer = [0; 13];
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"durablefailed");
    file.forget_cached(7).unwrap();
    file.read_exact_at(&mut buffer, 0).unwrap();
    assert_eq!(&buffer, b"durable\0\0\0\0\0\0");
}

#[test]
fn a_read_that_is_not_to_wait_names_what_the_page_cache_does_not_hold() {
    const SIZE: usize = 1 << 20;
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let has_cache = RealDisk
        .volume(folder.path())
        .unwrap()
        .whole_sync_files_min()
        < usize::MAX;
    let file = RealDisk.open(&folder.path().join("file"), true).unwrap();
    let bytes: Vec<u8> = (0..SIZE).map(|at| (at % 251) as u8).collect();
    file.write_all_at(&bytes, 0).unwrap();
    let read = || {
        let mut bytes = vec![0; SIZE - 5];
        without_waiting(|| file.read_exact_at(&mut bytes, 5)).map(|read| {
            read.unwrap();
            bytes
        })
    };
    assert_eq!(read().unwrap(), bytes[5..], "just written");
    let mut waits = 0;
    for _ in 0..20 {
        file.forget_cached(0).unwrap();
        let mut tries = 0;
        let found = loop {
            match read() {
                Ok(found) => break found,
                Err(cold) => cold.wait(),
            }
            tries += 1;
            assert!(tries < 100, "it never gets warm");
        };
        assert_eq!(found, bytes[5..]);
        waits += tries;
    }
    // On a file system in memory nothing is ever cold. On a disk one look may be so late that the kernel's
    // readahead, which the look itself begins, is done before it; not all of them.
    assert!(waits > 0 || !has_cache);
}

#[test]
fn a_file_with_a_second_name_stays_when_the_first_goes_to_another() {
    each_disk(|disk, root| {
        let (name, second, other) = (root.join("name"), root.join("second"), root.join("other"));
        let kind = |linked: std::io::Result<()>| linked.unwrap_err().kind();
        assert_eq!(kind(disk.link(&name, &second)), ErrorKind::NotFound);
        let write = |path: &Path, bytes| disk.open(path, true).unwrap().write_all_at(bytes, 0);
        write(&name, b"old").unwrap();
        write(&other, b"new one").unwrap();
        assert_eq!(kind(disk.link(&name, &other)), ErrorKind::AlreadyExists);
        disk.link(&name, &second).unwrap();
        disk.rename(&other, &name).unwrap();
        assert_eq!(disk.length(&name).unwrap(), 7);
        disk.open(&second, false).unwrap().truncate(2).unwrap();
        assert_eq!(disk.length(&second).unwrap(), 2);
        assert_eq!(disk.length(&name).unwrap(), 7);
    });
}

#[test]
fn names_are_listed_renamed_and_removed() {
    each_disk(|disk, root| {
        disk.create_directory(&root.join("b/inner")).unwrap();
        disk.open(&root.join("a"), true)
            .unwrap()
            .write_all_at(b"12", 0)
            .unwrap();
        disk.open(&root.join("b/file"), true).unwrap();
        let names: Vec<_> = disk.list(root).unwrap();
        assert_eq!(names.len(), 2);
        assert_eq!(
            (
                names[0].path.as_path(),
                disk.length(&names[0].path).unwrap()
            ),
            (root.join("a").as_path(), 2)
        );
        assert!(names[1].is_directory);
        disk.rename(&root.join("b"), &root.join("c")).unwrap();
        assert_eq!(disk.list(&root.join("c")).unwrap().len(), 2);
        disk.rename(&root.join("a"), &root.join("c/file")).unwrap();
        assert_eq!(
            disk.open(&root.join("c/file"), false)
                .unwrap()
                .length()
                .unwrap(),
            2
        );
        disk.sync_directory(root).unwrap();
        disk.remove_file(&root.join("c/file")).unwrap();
        for gone in [
            disk.length(&root.join("a")),
            disk.list(&root.join("a")).map(|_| 0),
        ] {
            assert_eq!(gone.unwrap_err().kind(), ErrorKind::NotFound);
        }
        let gone = disk.remove_file(&root.join("c/file")).unwrap_err();
        assert_eq!(gone.kind(), ErrorKind::NotFound);
        disk.remove_directory(&root.join("c")).unwrap();
        assert!(disk.list(root).unwrap().is_empty());
    });
}

#[test]
fn a_volume_syncs_any_number_of_files() {
    each_disk(|disk, root| {
        let volume = disk.volume(root).unwrap();
        let mut work = SyncWork::default();
        work.directories.insert(root.to_owned());
        for count in [0, 1, 7, 40] {
            let file = || disk.open(&root.join("file"), true).unwrap();
            work.files.resize_with(count, file);
            volume.sync(&work).unwrap();
        }
    });
}

#[test]
fn a_volume_gives_names_to_what_it_synced() {
    each_disk(|disk, root| {
        let (old, new) = (root.join("name"), root.join("name.tmp"));
        let volume = disk.volume(root).unwrap();
        disk.open(&old, true).unwrap();
        let file = disk.open(&new, true).unwrap();
        file.write_all_at(b"new", 0).unwrap();
        let work = SyncWork {
            files: vec![file],
            renames: vec![Rename {
                from: new.clone(),
                to: old.clone(),
            }],
            directories: [root.to_owned()].into(),
        };
        volume.sync(&work).unwrap();
        assert_eq!(disk.length(&old).unwrap(), 3);
        assert_eq!(disk.length(&new).unwrap_err().kind(), ErrorKind::NotFound);
    });
}

/// What was removed meanwhile needs no name.
#[test]
fn a_volume_passes_over_what_is_gone() {
    each_disk(|disk, root| {
        let gone = root.join("gone");
        let work = SyncWork {
            files: Vec::new(),
            renames: vec![Rename {
                from: gone.join("a"),
                to: gone.join("b"),
            }],
            directories: [gone].into(),
        };
        disk.volume(root).unwrap().sync(&work).unwrap();
    });
}

#[test]
fn a_file_whose_sync_fails_gets_no_name() {
    let disk = SimDisk::default();
    disk.create_directory(Path::new("/data")).unwrap();
    let (from, to) = (Path::new("/data/a").into(), Path::new("/data/b").into());
    let work = SyncWork {
        files: vec![disk.open(Path::new("/data/a"), true).unwrap()],
        renames: vec![Rename { from, to }],
        directories: ["/data".into()].into(),
    };
    work.files[0].write_all_at(b"lost", 0).unwrap();
    disk.set_faults(SimFaults {
        fail_next_sync: true,
        ..SimFaults::default()
    });
    let volume = disk.volume(Path::new("/data")).unwrap();
    assert!(volume.sync(&work).is_err());
    assert!(disk.length(Path::new("/data/b")).is_err());
}

#[test]
fn a_lock_is_exclusive_until_dropped() {
    each_disk(|disk, root| {
        let path = root.join(".lock");
        let guard = disk.lock(&path).unwrap();
        assert_eq!(
            disk.lock(&path).err().unwrap().kind(),
            ErrorKind::WouldBlock
        );
        drop(guard);
        disk.lock(&path).unwrap();
    });
}

#[test]
fn a_crash_keeps_what_was_synced_and_only_may_keep_the_rest() {
    let (mut kept, mut lost) = (0, 0);
    for seed in 0..100 {
        let disk = SimDisk::default();
        let root = Path::new("/data");
        disk.create_directory(root).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        let file = disk.open(&root.join("file"), true).unwrap();
        file.write_all_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        disk.sync_directory(root).unwrap();
        file.write_all_at(&[7; 2000], 6).unwrap();
        disk.crash(&SimRandom::new(seed));
        assert!(
            file.write_all_at(b"x", 0).is_err(),
            "a handle of the dead process"
        );
        let file = disk.open(&root.join("file"), false).unwrap();
        let mut buffer = vec![0; 3000];
        let length = file.read_at(&mut buffer, 0).unwrap();
        assert_eq!(&buffer[..6], b"synced");
        match length {
            6 => lost += 1,
            2006 if buffer[6..2006] == [7; 2000] => kept += 1,
            _ => {}
        }
    }
    assert!(kept > 10 && lost > 10, "kept {kept}, lost {lost}");
}

#[test]
fn an_unsynced_name_may_vanish() {
    let vanished = (0..50).filter(|seed| {
        let disk = SimDisk::default();
        let root = Path::new("/data");
        disk.create_directory(root).unwrap();
        disk.sync_directory(Path::new("/")).unwrap();
        disk.open(&root.join("file"), true)
            .unwrap()
            .sync_data()
            .unwrap();
        disk.crash(&SimRandom::new(*seed));
        disk.list(root).unwrap().is_empty()
    });
    assert!((10..40).contains(&vanished.count()));
}

#[test]
fn faults_strike_once() {
    let disk = SimDisk::default();
    disk.create_directory(Path::new("/data")).unwrap();
    let file = disk.open(Path::new("/data/file"), true).unwrap();
    disk.set_faults(SimFaults {
        fail_next_sync: true,
        short_next_write: true,
        ..SimFaults::default()
    });
    assert_eq!(
        file.write_vectored_at(&[IoSlice::new(b"1234")], 0).unwrap(),
        2
    );
    assert!(file.sync_data().is_err());
    assert!(file.sync_data().is_ok());
    disk.set_faults(SimFaults {
        room: Some(3),
        ..SimFaults::default()
    });
    assert_eq!(
        file.write_vectored_at(&[IoSlice::new(b"1234")], 0).unwrap(),
        3
    );
    let full = file
        .write_vectored_at(&[IoSlice::new(b"4")], 3)
        .unwrap_err();
    assert_eq!(full.kind(), ErrorKind::StorageFull);
}

fn file_of(disk: &SimDisk, bytes: &[u8]) -> std::sync::Arc<dyn millstream_env::File> {
    disk.create_directory(Path::new("/data")).unwrap();
    let file = disk.open(Path::new("/data/file"), true).unwrap();
    file.write_all_at(bytes, 0).unwrap();
    disk.sync_directory(Path::new("/")).unwrap();
    disk.sync_directory(Path::new("/data")).unwrap();
    file
}

#[test]
fn a_cold_flip_is_seen_when_the_page_cache_is_gone() {
    let (disk, path) = (SimDisk::default(), Path::new("/data/file"));
    file_of(&disk, b"abc").sync_data().unwrap();
    disk.flip_cold_bit(path, 1, 0);
    disk.end_process();
    assert_eq!(disk.read(path), b"abc");
    disk.crash(&SimRandom::new(1));
    assert_eq!(disk.read(path), b"acc");
    assert_eq!(disk.counts().flips, 1);
}

#[test]
fn below_a_broken_directory_no_sync_succeeds_until_the_process_ends() {
    let disk = SimDisk::default();
    let file = file_of(&disk, b"abc");
    disk.break_below(Some(Path::new("/elsewhere")));
    file.sync_data().unwrap();
    disk.break_below(Some(Path::new("/data")));
    assert!(!disk.has_failed_below(Path::new("/data")));
    assert!(file.sync_data().is_err() && file.sync_data().is_err());
    assert!(disk.has_failed_below(Path::new("/data")));
    assert!(!disk.has_failed_below(Path::new("/elsewhere")));
    disk.end_process();
    assert!(!disk.has_failed_below(Path::new("/data")));
    let file = disk.open(Path::new("/data/file"), false).unwrap();
    file.sync_data().unwrap();
}

#[test]
fn a_crash_may_keep_a_later_sector_without_an_earlier_one() {
    let holed = |seed| {
        let disk = SimDisk::default();
        file_of(&disk, &[7; 1500]);
        disk.crash(&SimRandom::new(seed));
        let bytes = disk.read(Path::new("/data/file"));
        (disk.counts().holed_writes == 1).then_some(bytes)
    };
    let bytes = (0..100).find_map(holed).unwrap();
    assert_eq!(bytes[..512], [0; 512]);
    assert_eq!(bytes[1024..], [7; 476]);
}

#[test]
fn a_write_that_goes_elsewhere_is_not_where_it_belongs() {
    let (disk, path) = (SimDisk::default(), Path::new("/data/file"));
    file_of(&disk, b"pending");
    let taken = disk.take_pending(&SimRandom::new(1)).unwrap();
    assert_eq!(taken, b"pending");
    disk.crash(&SimRandom::new(1));
    assert_eq!(disk.read(path), b"");
    disk.misdirect(path, 2, &taken);
    assert_eq!(disk.read(path), b"\0\0pending");
}
