//! headstartd: the imperative shell around `headstart-core`.
//!
//! A library so that benchmarks and tests can run a round in their own process; `main.rs` only wires.

pub mod bus;
pub mod clock;
pub mod config;
pub mod host;
pub mod message;
pub mod status;
pub mod store;
pub mod trace_file;
