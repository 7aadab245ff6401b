//! The command against the real service on a private bus: what people see, and exit statuses.

#![expect(clippy::needless_raw_string_hashes, reason = "expect-test writes them")]

mod answers;
mod capture;
mod captured_host;
mod desktops;
mod errors;
#[path = "../../../src/bus/tests/private_bus.rs"]
mod private_bus;
#[path = "../../../src/bus/tests/sample.rs"]
mod sample;
mod screens;
#[path = "../../../src/bus/tests/service.rs"]
mod service;

use std::process::{Command, Stdio};

/// What a run of the command left behind.
#[derive(Debug)]
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Runs `headstart` against this bus, 80 columns wide, in UTC. The service runs on this thread meanwhile.
async fn headstart(bus: &str, arguments: &[&str]) -> Ran {
    run(command(bus, arguments)).await
}

/// The command, not yet started.
fn command(bus: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstart"));
    command.args(arguments).env("HEADSTART_BUS", bus).stdin(Stdio::null());
    command.env("TZ", "UTC").env("LC_ALL", "C.UTF-8").env("COLUMNS", "80");
    command
}

async fn run(mut command: Command) -> Ran {
    let output = tokio::task::spawn_blocking(move || command.output()).await;
    let output = output.expect("it does not panic").expect("it was built");
    let text = |bytes| String::from_utf8(bytes).expect("it prints UTF-8");
    Ran { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}
