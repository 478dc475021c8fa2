//! Seeds of the simulation, and defects that it must find.
#![allow(missing_docs, clippy::unwrap_used)]

use millstream_env::sim::SimCounts;
use millstream_tests::sim::{Planted, run};

const SEEDS: u64 = 300;

/// `MILLSTREAM_SIM_SEEDS` runs more, `MILLSTREAM_SIM_FIRST` begins elsewhere,
/// `MILLSTREAM_SIM_LOG` shows what the broker logs.
fn seeds() -> std::ops::Range<u64> {
    if std::env::var_os("MILLSTREAM_SIM_LOG").is_some() {
        tracing_subscriber::fmt().without_time().init();
    }
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = read("MILLSTREAM_SIM_FIRST").unwrap_or(1);
    first..first + read("MILLSTREAM_SIM_SEEDS").unwrap_or(SEEDS)
}

/// `MILLSTREAM_SIM_ONCE` leaves out the second run of each seed.
fn runs_once() -> bool {
    std::env::var_os("MILLSTREAM_SIM_ONCE").is_some()
}

#[test]
fn every_seed_holds_and_gives_the_same_trace_twice() {
    let (mut acknowledged, mut commits, mut generations, mut lives, mut crashes) = (0, 0, 0, 0, 0);
    let (mut compactions, mut scans, mut deletions, mut expirations) = (0, 0, 0, 0);
    let (mut probed, mut refused_reads, mut refused_starts, mut put_off) = (0, 0, 0, 0);
    let mut faults = SimCounts::default();
    let (mut queued_steps, mut queue_refusals, mut moves, mut throttled) = (0, 0, 0, 0);
    let (mut returns, mut settings, mut forgotten) = (0, 0, 0);
    for seed in seeds() {
        let once =
            run(seed, Planted::Nothing).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        if !runs_once() {
            let twice = run(seed, Planted::Nothing).unwrap();
            assert_eq!(once, twice, "seed {seed} is not the same twice");
        }
        acknowledged += once.acknowledged;
        commits += once.commits;
        generations += once.generations;
        lives += once.lives;
        crashes += once.crashes;
        compactions += once.compactions;
        scans += once.scans;
        deletions += once.deletions;
        expirations += once.expirations;
        returns += once.returns;
        settings += once.settings;
        forgotten += once.forgotten;
        probed += once.probed;
        refused_reads += once.refused_reads;
        refused_starts += once.refused_starts;
        put_off += once.put_off;
        faults += once.faults;
        queued_steps += once.queued_steps;
        queue_refusals += once.queue_refusals;
        moves += once.moves;
        throttled += once.throttled;
    }
    println!(
        "simulation: {} seeds, {acknowledged} batches and {commits} commits acknowledged, \
         {generations} generations, {returns} returns of a static member, {settings} changes by an administrator, \
         {forgotten} deletions of a group's offsets, {lives} lives of a topic, {crashes} crashes, \
         {compactions} compactions, {scans} scans of a compacted topic, {deletions} deletions of records, \
         {expirations} logs with retention, {probed} partitions beside a failed directory, \
         {refused_reads} reads and {refused_starts} starts refused for damage, {put_off} flushes put off, {queued_steps} steps \
         queued for a slow disk and {queue_refusals} batches refused, {moves} moves to another log directory, {throttled} waits for a quota; {faults}",
        seeds().count()
    );
    assert!(acknowledged > 0 && commits > 0 && generations > 0);
    if seeds().count() >= SEEDS as usize {
        assert!(crashes > 0 && compactions > 0 && scans > 0 && deletions > 0);
        assert!(
            expirations > 0 && probed > 0 && refused_reads > 0 && refused_starts > 0 && put_off > 0
        );
        assert!(queued_steps > 0 && queue_refusals > 0 && moves > 0 && throttled > 0);
        assert!(returns > 0 && settings > 0 && forgotten > 0);
        for (name, count) in faults.named() {
            assert!(count > 0, "no {name}");
        }
    }
}

fn caught_by(planted: Planted) -> Option<u64> {
    (1..=SEEDS).find(|seed| run(*seed, planted).is_err())
}

#[test]
fn syncs_that_do_nothing_are_caught() {
    assert!(caught_by(Planted::NoFsync).is_some());
}

#[test]
fn acknowledging_before_the_flush_is_caught() {
    assert!(caught_by(Planted::AcknowledgeEarly).is_some());
}
