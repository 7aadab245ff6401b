//! `headstart`: the command.

mod generate;
#[cfg_attr(not(test), expect(dead_code, reason = "the backtest will write it"))]
mod report;

use clap::{Parser, Subcommand};

/// Asks headstartd, and replays login traces.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Invent a login trace: people with habits, seeded
    GenerateTrace(generate::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Arguments::parse().verb {
        Verb::GenerateTrace(arguments) => generate::run(&arguments),
    }
}
