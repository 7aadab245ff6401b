//! The invariants of ARCHITECTURE.md, each tried on arbitrary hosts: any start state, any order, gaps, faults, lost answers, crashes.
//!
//! The decisions are the daemon's own path (`reconcile::memory`), the host is `SimHost` behind a wrapper that hides and breaks things,
//! and the judges are naive and separate: `headstart_core::check` over what was observed, `witness` over what is really there.
//! Deliberately not here: examples (those are pictures), and the loop's threads (those are killed in `tests/it`).
//!
//! A run is the same every time. `HEADSTART_LAWS=100000` tries that many cases of each law, from another seed every time.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

mod laws {
    mod adapter;
    mod arbitrary;
    mod board;
    mod build;
    mod calm;
    mod cause;
    mod course;
    mod crash;
    mod device_in_use;
    mod epoch;
    mod file_map;
    mod hiding;
    mod imports;
    mod lap;
    mod life;
    mod purity;
    mod rest;
    mod round;
    mod scene;
    mod source;
    mod unknown;
    mod witness;

    use proptest::test_runner::{Config, FileFailurePersistence, RngSeed};

    /// How a law is tried: `cases` times, always from the same seed, unless somebody hunts.
    fn tried(cases: u32, found: &'static str) -> Config {
        let hunt = std::env::var("HEADSTART_LAWS").ok().and_then(|cases| cases.parse().ok());
        Config {
            cases: hunt.unwrap_or(cases),
            rng_seed: if hunt.is_some() { RngSeed::Random } else { RngSeed::Fixed(4) },
            failure_persistence: Some(Box::new(FileFailurePersistence::Direct(found))),
            max_shrink_iters: 4_000,
            ..Config::default()
        }
    }
}
