//! A small sample of the sweep, and the determinism of a seed; the sweep itself is `cargo xtask sim`.

use tiding_sim::{Plan, Strike, run_seed, sweep};

#[test]
fn sixty_four_worlds_keep_all_promises() {
    let report = sweep(0..64, 2, &Plan::default(), usize::MAX);
    assert!(report.failures.is_empty(), "{report}");
    for strike in [Strike::AgentCrash, Strike::CrashInCall, Strike::TornWrite, Strike::Partition, Strike::Reset] {
        assert!(report.strikes.of(strike) > 0, "{strike:?} never struck:\n{report}");
    }
}

#[test]
fn a_seed_gives_the_same_events_twice() {
    for seed in [3, 11, 12] {
        let hash = || run_seed(seed, &Plan::default()).map(|outcome| outcome.hash);
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
