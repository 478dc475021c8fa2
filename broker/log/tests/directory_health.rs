//! The health of a directory against everything that ever happened to it, in virtual time.
#![allow(missing_docs, clippy::unwrap_used)]

use std::time::Duration;

use millstream_env::sim::SimRandom;
use millstream_log::{DirectoryHealth, HealthLimits, SlowCause};
use millstream_model::Instant;

const LIMITS: HealthLimits = HealthLimits {
    write_max: Duration::from_millis(50),
    round_max: Duration::from_secs(1),
    unflushed_bytes_max: 1600,
};
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

fn at(ms: u64) -> Instant {
    Instant(ms * 1_000_000)
}

fn fresh() -> DirectoryHealth {
    DirectoryHealth::new(LIMITS)
}

#[test]
fn a_write_past_the_bound_makes_it_slow_and_a_calm_second_fast() {
    let mut health = fresh();
    assert_eq!(health.handle_write(LIMITS.write_max, at(0)), None);
    assert!(!health.is_slow());
    let slow = Duration::from_millis(51);
    let cause = Some(SlowCause::Write(slow));
    assert_eq!(health.handle_write(slow, at(100)), cause);
    assert_eq!(health.handle_write(slow, at(200)), None, "it is no news");
    assert_eq!(health.next_try(at(300)), Some(at(1200)));
    assert!(!health.try_become_fast(at(1199)));
    assert!(health.try_become_fast(at(1200)));
    assert_eq!(health.next_try(at(1200)), None);
}

#[test]
fn a_round_is_noticed_before_it_is_over() {
    let mut health = fresh();
    health.begin_round(at(0));
    health.begin_round(at(900));
    assert_eq!(health.handle_time(at(1000)), None);
    assert_eq!(health.end_round(at(900), at(1800)), None);
    let took = Duration::from_millis(1900);
    assert_eq!(health.handle_time(at(1900)), Some(SlowCause::Round(took)));
    assert!(!health.try_become_fast(at(9000)), "it goes on");
    assert_eq!(health.end_round(at(0), at(9500)), None);
    assert!(!health.try_become_fast(at(10_499)));
    assert!(health.try_become_fast(at(10_500)));
}

#[test]
fn a_full_budget_makes_it_slow_until_half_is_synced() {
    let mut health = fresh();
    assert_eq!(health.handle_unflushed(1599, at(0)), None);
    let cause = Some(SlowCause::Unflushed(1600));
    assert_eq!(health.handle_unflushed(1600, at(0)), cause);
    assert!(!health.has_room());
    health.handle_unflushed(801, at(100));
    assert!(!health.try_become_fast(at(5000)));
    assert!(health.next_try(at(5000)).unwrap() > at(5000));
    health.handle_unflushed(400, at(5100));
    assert!(!health.has_room(), "a slow directory has a quarter");
    health.handle_unflushed(399, at(5200));
    assert!(health.has_room());
    assert!(health.try_become_fast(at(5200)));
}

/// Turned slow again at once each time, it costs the network a thread ever more seldom.
#[test]
fn who_relapses_must_be_calm_for_longer() {
    let mut health = fresh();
    let mut now = at(0);
    let mut calms = Vec::new();
    for _ in 0..8 {
        let cause = health.handle_write(SECOND, now);
        assert!(cause.is_some());
        let next = health.next_try(now).unwrap();
        calms.push(next.since(now).as_secs());
        now = next;
        assert!(health.try_become_fast(now));
    }
    assert_eq!(calms, [1, 2, 4, 8, 16, 32, 60, 60]);
    let much_later = now.after(MINUTE * 10);
    health.handle_write(SECOND, much_later);
    let next = health.next_try(much_later).unwrap();
    assert_eq!(next.since(much_later), SECOND, "the past is forgotten");
}

/// All that happened, as a list.
#[derive(Default)]
struct History {
    last_sign: Option<Instant>,
    rounds: Vec<Instant>,
    unflushed: u64,
}

impl History {
    fn note(&mut self, is_sign: bool, now: Instant) {
        if is_sign {
            self.last_sign = Some(now);
        }
    }

    fn has_long_round(&self, now: Instant) -> bool {
        let mut rounds = self.rounds.iter();
        rounds.any(|began| now.since(*began) > LIMITS.round_max)
    }
}

#[test]
fn every_history_keeps_the_bounds() {
    let mut has_been = [0; 2];
    for seed in 0..2000 {
        let random = SimRandom::new(seed);
        let mut health = fresh();
        let mut history = History::default();
        let mut now = at(0);
        for _ in 0..200 {
            let scale = [10, 1000, 5000][random.below(3) as usize];
            now = now.after(Duration::from_millis(random.below(scale)));
            let was_slow = health.is_slow();
            match random.below(5) {
                0 => {
                    let took = Duration::from_millis(random.below(60));
                    history.note(took > LIMITS.write_max, now);
                    health.handle_write(took, now);
                }
                1 => {
                    history.unflushed = random.below(1700);
                    history.note(history.unflushed >= LIMITS.unflushed_bytes_max, now);
                    health.handle_unflushed(history.unflushed, now);
                }
                2 => {
                    history.rounds.push(now);
                    health.begin_round(now);
                }
                3 if !history.rounds.is_empty() => {
                    let chosen = random.below(history.rounds.len() as u64) as usize;
                    let began = history.rounds.swap_remove(chosen);
                    history.note(now.since(began) > LIMITS.round_max, now);
                    health.end_round(began, now);
                }
                _ => {
                    history.note(history.has_long_round(now), now);
                    let became_fast = health.try_become_fast(now) && was_slow;
                    if became_fast {
                        assert!(now.since(history.last_sign.unwrap()) >= SECOND);
                        assert!(history.unflushed <= LIMITS.unflushed_bytes_max / 2);
                        assert!(!history.has_long_round(now));
                    }
                }
            }
            has_been[usize::from(health.is_slow())] += 1;
            if history.last_sign == Some(now) {
                assert!(health.is_slow(), "seed {seed}: a sign is heeded at once");
            }
            if !was_slow && health.is_slow() {
                assert_eq!(history.last_sign, Some(now), "seed {seed}: for a cause");
            }
            assert_eq!(health.next_try(now).is_some(), health.is_slow());
            assert!(health.next_try(now).is_none_or(|next| next > now));
        }
        // Everything comes to its end: so does being slow.
        for began in std::mem::take(&mut history.rounds) {
            health.end_round(began, now);
        }
        health.handle_unflushed(0, now);
        assert!(health.has_room());
        assert!(health.try_become_fast(now.after(MINUTE)), "seed {seed}");
    }
    assert!(has_been.iter().all(|times| *times > 10_000), "{has_been:?}");
}
