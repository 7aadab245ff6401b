//! headstartd: the imperative shell around `headstart-core`.
//!
//! A library so that benchmarks and tests can run a round in their own process; `main.rs` only wires.

pub mod bus;
pub mod calendar;
pub mod clock;
pub mod config;
pub mod history_port;
pub mod host;
pub mod host_port;
pub mod log;
pub mod message;
pub mod monitor;
pub mod reconcile;
pub mod simulation;
pub mod status;
pub mod store;
pub mod systemd;
pub mod trace_file;
pub mod world;

/// So that test support can be shared with the tests of the command, which see this package from outside.
#[cfg(test)]
extern crate self as headstartd;
