//! Random operations against a list of batches as the model, with crashes, faults and reopening at any step.
//!
//! `MILLSTREAM_SEED=n cargo test -p storage --test random_operations` runs one seed again.

#[path = "random/model.rs"]
mod model;
#[path = "random/run.rs"]
mod run;
#[path = "logs/world.rs"]
mod world;

use run::Run;

/// Split, so that the cores share the work.
fn run_seeds(from: u64, to: u64) {
    if let Some(seed) = std::env::var("MILLSTREAM_SEED").ok().and_then(|seed| seed.parse::<u64>().ok()) {
        if (from..to).contains(&(seed % SEEDS)) {
            Run::new(seed).run_to_end();
        }
        return;
    }
    let times =
        std::env::var("MILLSTREAM_SEEDS_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for seed in (0..times).flat_map(|time| (from..to).map(move |seed| seed + time * SEEDS)) {
        let failed = std::panic::catch_unwind(|| Run::new(seed).run_to_end()).is_err();
        assert!(!failed, "run it again with MILLSTREAM_SEED={seed}");
    }
}

const SEEDS: u64 = 6000;

#[test]
fn what_is_acknowledged_stays_1() {
    run_seeds(0, 1500);
}

#[test]
fn what_is_acknowledged_stays_2() {
    run_seeds(1500, 3000);
}

#[test]
fn what_is_acknowledged_stays_3() {
    run_seeds(3000, 4500);
}

#[test]
fn what_is_acknowledged_stays_4() {
    run_seeds(4500, SEEDS);
}
