//! Random members of random groups on one shard, under a clock, a log with a lagging high watermark,
//! failed appends and restarts of the broker. A seed decides everything.
//!
//! Safety, all the time: in one generation no partition is owned by two members; what a commit
//! acknowledged is never read as less; loading the log again gives the durable state that the
//! running shard has. Liveness, once the faults end: every group is stable within its session
//! timeout and three seconds, with all its live members and all partitions owned.

mod calls;
mod checker;
mod client;
mod world;

use std::time::Duration;

use world::World;

const SEEDS: u64 = 300;
const CHAOS: Duration = Duration::from_secs(40);

fn run(seed: u64) -> u64 {
    let mut world = World::new(seed);
    world.run_with_faults(CHAOS);
    world.heal_and_settle();
    world.everybody_leaves();
    world.trace()
}

#[test]
fn random_lives_of_groups() {
    for seed in 0..SEEDS {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} failed");
    }
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for seed in [1, 2, 3] {
        assert_eq!(run(seed), run(seed), "seed {seed}");
    }
}
