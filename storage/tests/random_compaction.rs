//! Compaction against a model: keys, tombstones, transactions, sequences, codecs, crashes and faults in any order.
//!
//! `MILLSTREAM_SEED=n cargo test -p storage --test random_compaction` runs one seed again.

#[path = "compaction/cleaning.rs"]
mod cleaning;
#[path = "compaction/run.rs"]
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

const SEEDS: u64 = 2000;

#[test]
fn newest_of_each_key_stays_1() {
    run_seeds(0, 1000);
}

#[test]
fn newest_of_each_key_stays_2() {
    run_seeds(1000, SEEDS);
}
