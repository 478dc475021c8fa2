//! The README's table of requests says what the broker answers, each with its versions.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use millstream_api::supported_apis;

const README: &str = include_str!("../../README.md");
const HEADING: &str = "## What is answered";

#[test]
fn the_table_of_requests_is_what_is_advertised() {
    let (_, section) = README.split_once(HEADING).unwrap();
    let rows = section
        .lines()
        .skip_while(|line| !line.starts_with("| ---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    let mut told = BTreeMap::new();
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for pair in [&cells[1..3], &cells[4..6]] {
            let [name, versions] = pair else {
                unreachable!()
            };
            if name.is_empty() {
                continue;
            }
            let twice = told.insert((*name).to_owned(), range(versions));
            assert_eq!(twice, None, "{name} stands there twice");
        }
    }
    let advertised = supported_apis().iter().map(|api| {
        let name = format!("{:?}", api.api_key);
        (name, (api.min_version, api.max_version))
    });
    assert_eq!(told, advertised.collect::<BTreeMap<_, _>>());
}

/// `1 – 3`, or `0`, before what else is said.
fn range(versions: &str) -> (i16, i16) {
    let versions = versions.split('(').next().unwrap().trim();
    match versions.split_once('–') {
        Some((first, last)) => (first.trim().parse().unwrap(), last.trim().parse().unwrap()),
        None => (versions.parse().unwrap(), versions.parse().unwrap()),
    }
}
