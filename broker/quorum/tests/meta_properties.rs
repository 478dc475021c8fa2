//! Whose data directory it is.
#![allow(clippy::unwrap_used)]

mod common;

use std::path::Path;

use common::{DATA, new_disk};
use millstream_env::Disk;
use millstream_env::sim::SimRandom;
use millstream_model::{DirectoryId, NodeId, TopicId};
use millstream_quorum::{META_PROPERTIES, MetaProperties, MetaPropertiesError};

fn ours() -> MetaProperties {
    MetaProperties {
        cluster_id: "MkU3OEVBNTcwNTJENDM2Qg".into(),
        node_id: NodeId(1),
        directory_id: DirectoryId(TopicId([0x17; 16])),
    }
}

fn parse(text: &str) -> Result<MetaProperties, MetaPropertiesError> {
    MetaProperties::parse(text, Path::new("/data/meta.properties"))
}

#[test]
fn golden_text() {
    assert_eq!(
        ours().to_text(),
        "version=1\nnode.id=1\ncluster.id=MkU3OEVBNTcwNTJENDM2Qg\n\
         directory.id=FxcXFxcXFxcXFxcXFxcXFw\nmillstream.format=1\n"
    );
    assert_eq!(parse(&ours().to_text()).unwrap(), ours());
}

#[test]
fn comments_unknown_keys_and_blanks_are_passed_over() {
    let text = "#Tue Nov 24 00:00:00 UTC 2026\n! also one\n\n future.key = x=y \n version : 1\r\n\
                node.id=1\ncluster.id = MkU3OEVBNTcwNTJENDM2Qg\nthis line has no sign\n\
                directory.id=FxcXFxcXFxcXFxcXFxcXFw\nmillstream.format=1";
    assert_eq!(parse(text).unwrap(), ours());
}

#[test]
fn identities_with_backslashes_come_back() {
    let odd = MetaProperties {
        cluster_id: r"a\b\\c=d:e#".into(),
        ..ours()
    };
    assert_eq!(parse(&odd.to_text()).unwrap(), odd);
}

#[test]
fn written_file_survives_a_power_cut_whole_or_not_at_all() {
    for seed in 0..50 {
        let disk = new_disk();
        assert!(
            MetaProperties::read(&disk, Path::new(DATA))
                .unwrap()
                .is_none()
        );
        ours().write(&disk, Path::new(DATA)).unwrap();
        disk.crash(&SimRandom::new(seed));
        let read = MetaProperties::read(&disk, Path::new(DATA)).unwrap();
        assert_eq!(read, Some(ours()));
    }
}

#[test]
fn other_clusters_and_nodes_are_refused() {
    let directory = Path::new(DATA);
    let check = |cluster, node| ours().check(directory, cluster, NodeId(node));
    assert!(check(None, 1).is_ok());
    assert!(check(Some("MkU3OEVBNTcwNTJENDM2Qg"), 1).is_ok());
    let wrong = check(Some("other"), 1).unwrap_err();
    assert!(matches!(wrong, MetaPropertiesError::WrongCluster { .. }));
    assert!(wrong.to_string().contains("/data/meta.properties"));
    let wrong = check(None, 2).unwrap_err();
    assert!(matches!(wrong, MetaPropertiesError::WrongNode { .. }));
}

#[test]
fn newer_formats_and_kafkas_own_directories_are_told_apart() {
    let newer = parse("millstream.format=2\nall.else=unknown").unwrap_err();
    assert!(matches!(
        newer,
        MetaPropertiesError::NewerFormat { format: 2, .. }
    ));
    let kafkas = ours().to_text().replace("millstream.format=1\n", "");
    let foreign = parse(&kafkas).unwrap_err();
    assert!(matches!(foreign, MetaPropertiesError::Foreign { .. }));
}

#[test]
fn malformed_files_are_named_not_guessed_at() {
    let text = ours().to_text();
    let malformed = [
        text.replace("node.id=1", "node.id=-1"),
        text.replace("node.id=1", "node.id=one"),
        text.replace("version=1", "version=0"),
        text.replace("cluster.id=MkU3OEVBNTcwNTJENDM2Qg", "cluster.id="),
        text.replace("FxcXFxcXFxcXFxcXFxcXFw", "short"),
        text.replace("millstream.format=1", "millstream.format=x"),
        String::new(),
    ];
    for text in malformed {
        let error = parse(&text).unwrap_err();
        assert!(
            matches!(error, MetaPropertiesError::Malformed { .. }),
            "{error}"
        );
    }
    let disk = new_disk();
    let file = disk
        .open(&Path::new(DATA).join(META_PROPERTIES), true)
        .unwrap();
    file.write_all_at(&vec![b'#'; 70_000], 0).unwrap();
    let huge = MetaProperties::read(&disk, Path::new(DATA)).unwrap_err();
    assert!(matches!(huge, MetaPropertiesError::Malformed { .. }));
}
