//! The service on a private bus, over a hand-made status: what a caller sees, and what reaches the loop.

mod calls;
mod cost;
mod files;
mod holds;
mod interface;
mod policy;
pub(crate) mod private_bus;
mod properties;
pub(crate) mod sample;
pub(crate) mod service;
