//! Features, credentials and quotas on their way through records, snapshots and images.
#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;

use bytes::Bytes;
use common::Cluster;
use millstream_metadata::{
    ClientQuotaRecord, FeatureRecord, FeatureUpdate, Image, QuotaAlteration, QuotaEntityRecord,
    Record, ScramCredentialRecord, ScramDeletion, ScramKeysRecord, ScramUpsertion, UpgradeType,
    decode_records, encode_records, feature_named,
};

fn feature(name: &str, level: i32) -> Record {
    let name = name.to_owned();
    FeatureRecord { name, level }.into()
}

fn credential(user: &str, mechanism: i32, keys: Option<ScramKeysRecord>) -> Record {
    ScramCredentialRecord {
        user: user.to_owned(),
        mechanism,
        keys,
    }
    .into()
}

fn keys() -> ScramKeysRecord {
    ScramKeysRecord {
        salt: vec![1, 2],
        iterations: 4096,
        stored_key: vec![3],
        server_key: vec![4],
    }
}

fn quota(entity: &[(&str, Option<&str>)], value: Option<f64>) -> Record {
    let parts = entity.iter().map(|(entity_type, name)| QuotaEntityRecord {
        entity_type: (*entity_type).to_owned(),
        name: name.map(str::to_owned),
    });
    ClientQuotaRecord {
        entity: parts.collect(),
        key: "k".to_owned(),
        value_bits: value.map(f64::to_bits),
    }
    .into()
}

#[test]
fn golden_bytes() {
    let golden: [(Record, u16, &[u8]); 4] = [
        (feature("f", 2), 8, &[0, 0, 0x0a, 1, b'f', 0x10, 2]),
        (
            credential("u", 1, Some(keys())),
            9,
            &[
                0, 0, 0x0a, 1, b'u', 0x10, 1, 0x1a, 13, 0x0a, 2, 1, 2, 0x10, 0x80, 0x20, 0x1a, 1,
                3, 0x22, 1, 4,
            ],
        ),
        (
            quota(&[("user", Some("u")), ("client-id", None)], Some(1.5)),
            10,
            &[
                0, 0, 0x0a, 9, 0x0a, 4, b'u', b's', b'e', b'r', 0x12, 1, b'u', 0x0a, 11, 0x0a, 9,
                b'c', b'l', b'i', b'e', b'n', b't', b'-', b'i', b'd', 0x12, 1, b'k', 0x19, 0, 0, 0,
                0, 0, 0, 0xf8, 0x3f,
            ],
        ),
        (
            quota(&[("ip", None)], None),
            10,
            &[0, 0, 0x0a, 4, 0x0a, 2, b'i', b'p', 0x12, 1, b'k'],
        ),
    ];
    for (record, type_, bytes) in golden {
        assert_eq!(record.encode(), (type_, Bytes::copy_from_slice(bytes)));
        let read = Record::decode(type_, &Bytes::copy_from_slice(bytes));
        assert_eq!(read, Ok(Some(record)));
    }
}

#[test]
fn an_image_comes_back_from_its_snapshot() {
    let mut cluster = Cluster::of(1);
    let group = feature_named("group.version").unwrap();
    assert_eq!(cluster.image.feature_level(group), 1);
    let update = FeatureUpdate {
        name: "group.version".to_owned(),
        level: 0,
        upgrade_type: Some(UpgradeType::SafeDowngrade),
    };
    let decided = cluster
        .controller
        .decide_update_features(&cluster.image, &[update], false);
    cluster.apply(&decided.records);
    let upsertion = |mechanism| ScramUpsertion {
        user: "u".to_owned(),
        mechanism,
        iterations: 5000,
        salt: vec![5],
        salted_password: vec![6; 32],
    };
    for mechanism in [1, 2] {
        let decided =
            cluster
                .controller
                .decide_alter_scram(&cluster.image, &[], &[upsertion(mechanism)]);
        cluster.apply(&decided.records);
    }
    let entity = [("user", None), ("client-id", Some("c".to_owned()))];
    let alteration = QuotaAlteration {
        entity: entity.map(|(one, name)| (one.to_owned(), name)).into(),
        operations: vec![
            ("producer_byte_rate".to_owned(), Some(7.0)),
            ("request_percentage".to_owned(), Some(0.5)),
        ],
    };
    let decided =
        cluster
            .controller
            .decide_alter_client_quotas(&cluster.image, &[alteration], false);
    cluster.apply(&decided.records);
    assert_eq!(cluster.image.feature_level(group), 0);
    let bytes = encode_records(&cluster.image.to_records());
    let records = decode_records(&bytes).unwrap();
    let (image, _) = Image::default().apply(&records).unwrap();
    assert_eq!(image, cluster.image);
    let lengths = image.scram_credentials("u").unwrap().values();
    let lengths: Vec<usize> = lengths.map(|known| known.stored_key.len()).collect();
    assert_eq!(lengths, [32, 64]);
    let applied = image
        .quota_of("producer_byte_rate", "anybody", "c")
        .unwrap();
    assert_eq!(applied.limit, 7.0);
    assert!(applied.is_by_user && applied.is_by_client_id);
    assert_eq!(image.quota_of("producer_byte_rate", "anybody", "d"), None);

    // And nothing is left when all of it is taken back.
    let deletion = |mechanism| ScramDeletion {
        user: "u".to_owned(),
        mechanism,
    };
    for mechanism in [1, 2] {
        let decided =
            cluster
                .controller
                .decide_alter_scram(&cluster.image, &[deletion(mechanism)], &[]);
        cluster.apply(&decided.records);
    }
    assert_eq!(cluster.image.scram_users().len(), 0);
}

#[test]
fn records_that_make_no_sense_stop_the_replay() {
    let wrong = [
        feature("no.such.feature", 1),
        feature("group.version", 2),
        feature("group.version", -1),
        feature("metadata.version", 6),
        credential("u", 3, Some(keys())),
        credential("nobody", 1, None),
        quota(&[], Some(1.0)),
        quota(&[("group", None)], Some(1.0)),
        quota(&[("user", None)], Some(0.0)),
        quota(&[("user", None)], Some(f64::NAN)),
    ];
    for record in wrong {
        let refused = Image::default().apply(std::slice::from_ref(&record));
        assert!(refused.is_err(), "{record:?}");
    }
}

#[test]
fn nothing_prints_a_key() {
    let record = credential("u", 1, Some(keys()));
    let upsertion = ScramUpsertion {
        user: "u".to_owned(),
        mechanism: 1,
        iterations: 4096,
        salt: vec![211],
        salted_password: vec![212; 32],
    };
    let mut cluster = Cluster::of(1);
    let decided = cluster.controller.decide_alter_scram(
        &cluster.image,
        &[],
        std::slice::from_ref(&upsertion),
    );
    cluster.apply(&decided.records);
    let printed = format!("{record:?} {upsertion:?} {decided:?} {:?}", cluster.image);
    for secret in ["stored_key", "server_key", "salt", "211", "212"] {
        assert!(!printed.contains(secret), "{secret} in {printed}");
    }
}

#[test]
fn an_entity_given_by_name_is_another_than_its_default() {
    let mut cluster = Cluster::of(1);
    for name in [None, Some("c".to_owned())] {
        let alteration = QuotaAlteration {
            entity: BTreeMap::from([("client-id".to_owned(), name.clone())]),
            operations: vec![(
                "consumer_byte_rate".to_owned(),
                Some(if name.is_some() { 2.0 } else { 1.0 }),
            )],
        };
        let decided =
            cluster
                .controller
                .decide_alter_client_quotas(&cluster.image, &[alteration], false);
        cluster.apply(&decided.records);
    }
    let limit = |client_id| {
        let quota = cluster.image.quota_of("consumer_byte_rate", "u", client_id);
        quota.unwrap().limit
    };
    assert_eq!((limit("c"), limit("other")), (2.0, 1.0));
}
