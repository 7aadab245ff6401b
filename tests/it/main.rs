//! Black-box tests: the real programs on a private bus, looked at from outside as an administrator does, with `busctl`, the command,
//! exit statuses, standard error, and the files.
//!
//! They start what was built beside them: `make test` builds it first.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod bus;
mod command;
mod configuration;
mod hook;
mod host;
mod kill;
mod lonely;
mod refit;
mod scene;
mod signals;
