//! headstart: asks headstartd over D-Bus, and replays login traces.
//!
//! Thin: each subcommand is a call or two and a screen. What is decided, and why, comes from the daemon.

mod adopt;
mod backtest;
mod capture;
mod client;
mod clock;
mod completions;
mod desktop;
mod desktops;
mod explain;
mod forecast;
mod generate;
mod gpus;
mod hint;
mod history;
mod hold;
mod report;
mod request;
mod screen;
mod snapshot;
mod status;
mod trace_file;
mod watch;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use client::Client;
use screen::Screen;

const AFTER_HELP: &str = "Exit status: 0 done; 1 failed; 2 wrong usage; 3 the request was refused.

Everything that talks to headstartd needs root for now.";

/// Gives every virtual desktop its GPU before its user comes.
#[derive(Debug, Parser)]
#[command(name = "headstart", version, after_help = AFTER_HELP)]
struct Cli {
    /// Where headstartd is: system, session, or a D-Bus address
    #[arg(
        long,
        global = true,
        value_name = "BUS",
        env = "HEADSTART_BUS",
        hide_env_values = true,
        default_value = "system"
    )]
    bus: String,
    /// Print JSON instead of text
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// What is and what comes next, on one screen
    Status,
    /// All desktops
    Desktops,
    /// What a domain says of itself as a desktop, and changes of it
    Desktop(desktop::Arguments),
    /// All GPUs and what is on them
    Gpus(gpus::Arguments),
    /// Why a desktop is as it is
    Explain(explain::Arguments),
    /// A picture of a desktop's next 24 hours
    Forecast(forecast::Arguments),
    /// Ask for a GPU
    Request(request::Request),
    /// Take back what was asked for a desktop
    Release(request::Release),
    /// Say what is known of somebody's coming: a badge, a VPN, leave, a shift
    Hint(hint::Tell),
    /// What was told of whom
    Hints(hint::List),
    /// Change nothing on the host for a while
    Hold(hold::Arguments),
    /// Look at the host again now
    Reconcile,
    /// Give headstart past sessions to learn from
    Import(history::Import),
    /// Write the sessions of the history as CSV
    Export(history::Export),
    /// Follow decisions and changes as they happen
    Watch(watch::Arguments),
    /// Replay a login trace: what headstart would have done, and what simpler policies would
    Backtest(backtest::BacktestArgs),
    /// Invent a login trace: people with habits, seeded
    GenerateTrace(generate::Arguments),
    /// Write what this host looks like to headstart, without names, for a bug report or a test
    Capture(capture::Arguments),
    /// Print a completion script for a shell
    Completions(completions::Completions),
    /// Write manual pages into a folder
    #[command(hide = true)]
    Man(completions::Man),
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(code) => code,
        Err(error) if is_broken_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("headstart: {error:#}");
            ExitCode::from(1)
        }
    }
}

/// Runs one subcommand; those that need no daemon do not go near a bus.
fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    match cli.command {
        Command::Completions(arguments) => arguments.run(),
        Command::Man(arguments) => arguments.run(),
        Command::Capture(arguments) => arguments.run(&Screen::of_stdout(cli.json)),
        Command::Backtest(arguments) => backtest::run(&arguments, cli.json).map(|()| ExitCode::SUCCESS),
        Command::GenerateTrace(arguments) => generate::run(&arguments).map(|()| ExitCode::SUCCESS),
        command => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(ask(command, &cli.bus, &Screen::of_stdout(cli.json)))
        }
    }
}

/// Runs one of the subcommands that need the daemon.
async fn ask(command: Command, bus: &str, screen: &Screen) -> anyhow::Result<ExitCode> {
    let client = Client::connect(bus).await?;
    match command {
        Command::Status => status::run(&client, screen).await?,
        Command::Desktops => desktops::run(&client, screen).await?,
        Command::Desktop(arguments) => arguments.run(&client, screen).await?,
        Command::Gpus(arguments) => arguments.run(&client, screen).await?,
        Command::Explain(arguments) => arguments.run(&client, screen).await?,
        Command::Forecast(arguments) => arguments.run(&client, screen).await?,
        Command::Request(arguments) => return arguments.run(&client, screen).await,
        Command::Release(arguments) => arguments.run(&client, screen).await?,
        Command::Hint(arguments) => arguments.run(&client, screen).await?,
        Command::Hints(arguments) => arguments.run(&client, screen).await?,
        Command::Hold(arguments) => return arguments.run(&client, screen).await,
        Command::Reconcile => request::reconcile(&client, screen).await?,
        Command::Import(arguments) => arguments.run(&client, screen).await?,
        Command::Export(arguments) => arguments.run(&client, screen).await?,
        Command::Watch(arguments) => arguments.run(&client, screen).await?,
        Command::Capture(_)
        | Command::Completions(_)
        | Command::Man(_)
        | Command::Backtest(_)
        | Command::GenerateTrace(_) => {
            unreachable!("they need no bus and were run before")
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Whether the reader of our output has left, as `head` does; that is its right.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |cause: &std::io::Error| cause.kind() == std::io::ErrorKind::BrokenPipe;
    error.downcast_ref::<std::io::Error>().is_some_and(kind)
}
