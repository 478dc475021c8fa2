//! Seeds of the simulation, and defects that it must find.
#![allow(missing_docs, clippy::unwrap_used)]

use millstream_tests::sim::{Planted, run};

const SEEDS: u64 = 200;

/// `MILLSTREAM_SIM_SEEDS` runs more, `MILLSTREAM_SIM_FIRST` begins elsewhere.
fn seeds() -> std::ops::Range<u64> {
    let read = |name| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let first = read("MILLSTREAM_SIM_FIRST").unwrap_or(1);
    first..first + read("MILLSTREAM_SIM_SEEDS").unwrap_or(SEEDS)
}

#[test]
fn every_seed_holds_and_gives_the_same_trace_twice() {
    let (mut acknowledged, mut commits, mut generations, mut lives, mut crashes) = (0, 0, 0, 0, 0);
    let mut compactions = 0;
    for seed in seeds() {
        let once =
            run(seed, Planted::Nothing).unwrap_or_else(|broken| panic!("seed {seed}: {broken}"));
        let twice = run(seed, Planted::Nothing).unwrap();
        assert_eq!(once, twice, "seed {seed} is not the same twice");
        acknowledged += once.acknowledged;
        commits += once.commits;
        generations += once.generations;
        lives += once.lives;
        crashes += once.crashes;
        compactions += once.compactions;
    }
    println!(
        "simulation: {} seeds, {acknowledged} batches and {commits} commits acknowledged, \
         {generations} generations, {lives} lives of a topic, {crashes} crashes, \
         {compactions} compactions",
        seeds().count()
    );
    assert!(acknowledged > 0 && commits > 0 && generations > 0 && crashes > 0);
    assert!(compactions > 0);
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
