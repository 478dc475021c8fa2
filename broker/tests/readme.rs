//! The README's table of requests says what the broker answers, each with its versions, and of each version who
//! drives it in the tests.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use millstream_api::{SupportedApi, supported_apis};
use millstream_protocol::ApiKey;

const README: &str = include_str!("../../README.md");
const HEADING: &str = "| request | versions | driven by |";
/// Whom `cargo xtask conformance` tells apart.
const DRIVERS: [&str; 11] = [
    "aiokafka",
    "confluent-python",
    "console",
    "franz-go",
    "java",
    "kafka-python",
    "kafkajs",
    "kcat",
    "sarama",
    "streams",
    "tools",
];
/// No client sends it; the proof of the codec covers it.
const CODEC: &str = "codec";
/// It has no codec, and is advertised all the same.
const REFUSED: &str = "refused";

/// The name, the versions, and who drives them.
fn rows() -> Vec<[&'static str; 3]> {
    let (_, table) = README.split_once(HEADING).unwrap();
    let lines = table.lines().skip(2).take_while(|line| !line.is_empty());
    let rows = lines.map(|line| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        let ["", name, versions, driven, ""] = cells[..] else {
            panic!("not understood: {line}");
        };
        [name, versions, driven]
    });
    rows.collect()
}

#[test]
fn the_table_of_requests_is_what_is_advertised() {
    let mut told = BTreeMap::new();
    for [name, versions, _] in rows() {
        let twice = told.insert(name.to_owned(), range(versions));
        assert_eq!(twice, None, "{name} stands there twice");
    }
    let advertised = supported_apis()
        .iter()
        .map(|api| (name(api.api_key), (api.min_version, api.max_version)));
    assert_eq!(told, advertised.collect::<BTreeMap<_, _>>());
}

#[test]
fn every_version_of_a_request_has_one_place() {
    let driven: BTreeMap<_, _> = rows().into_iter().map(|[name, _, by]| (name, by)).collect();
    for SupportedApi {
        api_key,
        min_version,
        max_version,
    } in supported_apis()
    {
        let name = name(*api_key);
        let mut places = BTreeMap::new();
        for entry in driven[name.as_str()].split(';') {
            let (versions, who) = entry.split_once(':').unwrap();
            let who: Vec<_> = who.split(',').map(str::trim).collect();
            let is_known = match who[..] {
                [CODEC | REFUSED] => true,
                _ => who.is_sorted() && who.iter().all(|one| DRIVERS.contains(one)),
            };
            assert!(is_known, "{name}: {entry}");
            for (first, last) in versions.split(',').map(range) {
                for version in first..=last {
                    let has_codec = api_key.versions().contains(&version);
                    assert_eq!(has_codec, who != [REFUSED], "{name} {version}");
                    let twice = places.insert(version, entry);
                    assert_eq!(twice, None, "{name} {version} stands there twice");
                }
            }
        }
        let versions = *min_version..=*max_version;
        assert!(
            places.into_keys().eq(versions),
            "{name} leaves a version out"
        );
    }
}

fn name(api_key: ApiKey) -> String {
    format!("{api_key:?}")
}

/// `1 – 3`, or `0`, before what else is said.
fn range(versions: &str) -> (i16, i16) {
    let versions = versions.split('(').next().unwrap().trim();
    match versions.split_once('–') {
        Some((first, last)) => (first.trim().parse().unwrap(), last.trim().parse().unwrap()),
        None => (versions.parse().unwrap(), versions.parse().unwrap()),
    }
}
