//! The files byte by byte, and what is done with files that are not as they should be.
#![allow(clippy::unwrap_used)]

mod common;

use common::{bytes_of, directory, log_name, names, new_disk, open, overwrite, payloads};
use common::{records, started};
use millstream_env::Disk;
use millstream_quorum::{Index, OpenError, ProposeError, SnapshotError, Term};

/// Where the frame of the first proposal begins: after the log's header and the frame of its term.
const FIRST_PROPOSAL: u64 = 32 + 28 + 6;

#[test]
fn golden_bytes_of_log_and_snapshot() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    assert_eq!(quorum.propose(&records(&["a", "bc"])).unwrap(), Index(3));
    let mut expected: Vec<u8> = b"MSMETLOG\0\x01\0\0".to_vec();
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]); // first index
    expected.extend([0; 8]); // term before it
    expected.extend(0x6f35_4316_u32.to_be_bytes());
    // The term begins.
    expected.extend(0x0c46_375e_u32.to_be_bytes());
    expected.extend([0, 0, 0, 6]); // body length
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]); // index
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]); // term
    expected.extend([0, 0, 0, 1]); // entries
    expected.extend([0, 0, 0, 0, 0, 0]); // type 0, no payload
    // The proposal.
    expected.extend(0xbffb_d0c2_u32.to_be_bytes());
    expected.extend([0, 0, 0, 15]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 2]);
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]);
    expected.extend([0, 0, 0, 2]);
    expected.extend([0, 5, 0, 0, 0, 1, b'a']);
    expected.extend([0, 5, 0, 0, 0, 2, b'b', b'c']);
    assert_eq!(bytes_of(&disk, &log_name(1)), expected);

    quorum.snapshot(b"state", Index(3)).unwrap();
    let mut expected: Vec<u8> = b"MSMETSNP\0\x01\0\0".to_vec();
    expected.extend([0, 0, 0, 0, 0, 0, 0, 3]); // last index
    expected.extend([0, 0, 0, 0, 0, 0, 0, 1]); // its term
    expected.extend([0, 0, 0, 0, 0, 0, 0, 5]); // length
    expected.extend(0x7b6f_3777_u32.to_be_bytes());
    expected.extend(b"state");
    assert_eq!(bytes_of(&disk, "00000000000000000003.snapshot"), expected);
    assert_eq!(
        names(&disk),
        ["00000000000000000003.snapshot", "00000000000000000004.log"]
    );
}

#[test]
fn opening_changes_nothing_and_does_not_lead() {
    let disk = new_disk();
    let (mut quorum, loaded) = open(&disk).unwrap();
    assert!(loaded.is_new);
    assert!(disk.list(&directory()).is_err(), "nothing was made");
    let refused = quorum.propose(&records(&["a"]));
    assert!(matches!(refused, Err(ProposeError::NotLeader)));
}

#[test]
fn entries_come_back_with_their_indexes_and_terms() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["a", "b"])).unwrap();
    disk.end_process();
    let (mut quorum, loaded) = started(&disk);
    assert_eq!(quorum.term(), Term(2));
    assert_eq!(payloads(&loaded), ["a", "b"]);
    assert_eq!(quorum.propose(&records(&["c"])).unwrap(), Index(5));
    disk.end_process();
    let (_, loaded) = open(&disk).unwrap();
    let of = |entry: &millstream_quorum::Entry| (entry.index.0, entry.term.0, entry.type_);
    let entries: Vec<_> = loaded.entries.iter().map(of).collect();
    assert_eq!(entries, [(2, 1, 5), (3, 1, 5), (5, 2, 5)]);
    assert!(!loaded.is_new);
}

#[test]
fn snapshot_replaces_the_log_up_to_its_index() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    let a = quorum.propose(&records(&["a"])).unwrap();
    let b = quorum.propose(&records(&["b", "b2"])).unwrap();
    quorum.propose(&records(&["c"])).unwrap();
    let inside = quorum.snapshot(b"no", Index(b.0 - 1));
    assert!(matches!(inside, Err(SnapshotError::NotABoundary { .. })));
    quorum.snapshot(b"to b", b).unwrap();
    let before = quorum.snapshot(b"no", a);
    assert!(matches!(before, Err(SnapshotError::NotABoundary { .. })));
    let after = quorum.snapshot(b"no", Index(99));
    assert!(matches!(after, Err(SnapshotError::NotABoundary { .. })));
    quorum.propose(&records(&["d"])).unwrap();
    disk.end_process();
    let (mut quorum, loaded) = started(&disk);
    assert_eq!(loaded.snapshot.as_deref(), Some(&b"to b"[..]));
    assert_eq!(payloads(&loaded), ["c", "d"]);
    quorum.snapshot(b"all", quorum.last_index()).unwrap();
    assert_eq!(quorum.log_bytes(), 0);
    assert_eq!(names(&disk).len(), 2);
    disk.end_process();
    let (quorum, loaded) = started(&disk);
    assert_eq!(loaded.snapshot.as_deref(), Some(&b"all"[..]));
    assert!(loaded.entries.is_empty());
    assert_eq!(quorum.term(), Term(3), "terms rise through snapshots");
}

#[test]
fn wants_a_snapshot_when_the_log_outgrows_it() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    assert!(!quorum.wants_snapshot());
    let big = "x".repeat(5 << 20);
    quorum.propose(&records(&[&big])).unwrap();
    assert!(quorum.wants_snapshot());
    quorum
        .snapshot(big.as_bytes(), quorum.last_index())
        .unwrap();
    assert!(!quorum.wants_snapshot());
}

#[test]
fn torn_tail_is_cut_at_every_length() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["kept"])).unwrap();
    let kept = bytes_of(&disk, &log_name(1)).len();
    quorum.propose(&records(&["torn", "with it"])).unwrap();
    let whole = bytes_of(&disk, &log_name(1));
    disk.end_process();
    for end in kept..whole.len() {
        for fill in [0, whole.len() - end] {
            let mut bytes = whole[..end].to_vec();
            bytes.resize(end + fill, 0); // the length is there, the data is not
            overwrite(&disk, &log_name(1), &bytes);
            let (_, loaded) = open(&disk).unwrap();
            assert_eq!(payloads(&loaded), ["kept"]);
            assert_eq!(loaded.torn_bytes, (bytes.len() - kept) as u64);
        }
    }
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["next"])).unwrap();
    disk.end_process();
    assert_eq!(payloads(&open(&disk).unwrap().1), ["kept", "next"]);
}

#[test]
fn damage_before_a_later_proposal_is_refused_and_nothing_is_touched() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    quorum.propose(&records(&["first proposal"])).unwrap();
    let second = bytes_of(&disk, &log_name(1)).len() as u64;
    quorum.propose(&records(&["second proposal"])).unwrap();
    disk.end_process();
    let path = directory().join(log_name(1));
    for position in FIRST_PROPOSAL..second {
        for bit in 0..8 {
            disk.flip_bit(&path, position, bit);
            let before = bytes_of(&disk, &log_name(1));
            let Err(error) = open(&disk) else {
                panic!("bit {bit} of byte {position} went unseen");
            };
            let message = error.to_string();
            assert!(message.contains(&log_name(1)), "{message}");
            assert!(
                message.contains(&format!("byte {FIRST_PROPOSAL}")),
                "{message}"
            );
            assert_eq!(bytes_of(&disk, &log_name(1)), before);
            disk.flip_bit(&path, position, bit);
        }
    }
    assert_eq!(payloads(&open(&disk).unwrap().1).len(), 2);
}

#[test]
fn damaged_headers_and_snapshots_are_refused() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    let index = quorum.propose(&records(&["a"])).unwrap();
    quorum.snapshot(b"state", index).unwrap();
    disk.end_process();
    for name in names(&disk) {
        let header = if name.ends_with("log") { 32 } else { 45 };
        for position in 0..header {
            disk.flip_bit(&directory().join(&name), position, 3);
            let Err(error) = open(&disk) else {
                panic!("byte {position} of {name} went unseen");
            };
            assert!(error.to_string().contains(&name), "{error}");
            disk.flip_bit(&directory().join(&name), position, 3);
        }
    }
    assert!(open(&disk).is_ok());
}

#[test]
fn newer_format_is_named() {
    let disk = new_disk();
    drop(started(&disk));
    disk.end_process();
    let mut bytes = bytes_of(&disk, &log_name(1));
    bytes[9] = 2;
    overwrite(&disk, &log_name(1), &bytes);
    let error = open(&disk).err().unwrap();
    assert!(matches!(error, OpenError::UnknownFormat { version: 2, .. }));
}

#[test]
fn missing_files_are_refused() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    let index = quorum.propose(&records(&["a"])).unwrap();
    quorum.snapshot(b"state", index).unwrap();
    quorum.propose(&records(&["b"])).unwrap();
    disk.end_process();
    let names = names(&disk);
    let snapshot = bytes_of(&disk, &names[0]);
    disk.remove_file(&directory().join(&names[0])).unwrap();
    assert!(
        open(&disk).is_err(),
        "the log begins too late without its snapshot"
    );
    overwrite(&disk, &names[0], &snapshot);
    assert!(open(&disk).is_ok());
    disk.remove_file(&directory().join(&names[1])).unwrap();
    assert!(open(&disk).is_err(), "a snapshot without a log");
}

#[test]
fn proposal_past_the_limit_is_refused_and_the_log_goes_on() {
    let disk = new_disk();
    let (mut quorum, _) = started(&disk);
    let limit = millstream_quorum::FRAME_BODY_MAX;
    let payload = |length: usize| vec![(5, bytes::Bytes::from(vec![0; length]))];
    let refused = quorum.propose(&payload(limit - 5));
    assert!(matches!(refused, Err(ProposeError::TooLarge { .. })));
    quorum.propose(&payload(limit - 6)).unwrap();
    disk.end_process();
    assert_eq!(open(&disk).unwrap().1.entries.len(), 1);
}
