//! How many cases a generated test plays.

#![allow(unreachable_pub)]

use proptest::prelude::ProptestConfig;

/// `count` cases, or `PROPTEST_CASES`; of the seed that `.cargo/config.toml` sets, or `PROPTEST_RNG_SEED`.
pub fn cases(count: u32) -> ProptestConfig {
    let asked = ProptestConfig::default();
    let cases = if std::env::var_os("PROPTEST_CASES").is_some() { asked.cases } else { count };
    ProptestConfig { cases, failure_persistence: None, ..asked }
}
