//! Copies of logs for other log directories.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use std::path::Path;
use std::sync::Arc;

use common::{Bench, DIRECTORY, append, batch, flush};
use millstream_log::{LogCopy, ScrubStep};
use millstream_model::{DirectoryId, TopicId};

/// What is done to the disk at the end of a copy, while the log stands still.
fn operations_at_the_end(segments: usize) -> u64 {
    let mut bench = Bench::new();
    bench.config.segment_bytes = 300;
    let mut log = bench.open();
    for _ in 0..segments {
        append(&mut log, batch(&[1], 200)).unwrap();
        flush(&mut log);
    }
    let mut after = None;
    while let Some(mut scrub) = log.begin_scrub(after, false) {
        after = Some(scrub.base());
        while let ScrubStep::Worked { .. } = scrub.step().unwrap() {}
        log.complete_scrub(scrub);
    }
    log.prepare_close().unwrap();
    let plan = log.copy_plan();
    let disk = Arc::new(bench.disk.clone());
    let to = Path::new("/data/copy");
    let mut copy = LogCopy::begin(disk, Path::new(DIRECTORY), to, &plan).unwrap();
    while copy.step(&plan, 1000).unwrap() > 0 {}
    copy.sync().unwrap();
    let before = bench.disk.operations();
    copy.finish(&plan, DirectoryId(TopicId([1; 16]))).unwrap();
    let operations = bench.disk.operations() - before;
    let digests = bench.files().into_iter();
    let digests = digests.filter(|(name, _)| name.ends_with(".digest"));
    assert_eq!(digests.count(), segments - 1);
    operations
}

#[test]
fn a_log_stands_still_no_longer_for_having_more_segments() {
    assert_eq!(operations_at_the_end(5), operations_at_the_end(25));
}
