//! The decisions of headstart: pure functions over values.
//!
//! No I/O, clock, randomness, lock, thread or unordered map (`clippy.toml` here and the manifest prove it). The shell,
//! package `headstartd`, observes the host, asks this package what should be done, and does it.

pub mod backtest;
pub mod chance;
pub mod check;
pub mod desktop;
pub mod forecast;
pub mod gpu;
pub mod hint;
pub mod history;
pub mod hook;
pub mod id;
pub mod kept;
pub mod lead;
pub mod membership;
pub mod observed;
pub mod plan;
pub mod policy;
pub mod presence;
pub mod request;
pub mod step;
pub mod text;
pub mod trace;
pub mod track;
pub mod unit;
