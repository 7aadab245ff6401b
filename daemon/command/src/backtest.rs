//! `headstart backtest`: replays a trace and says what each policy would have been worth.
//!
//! Files, table, JSON and progress bar. Deliberately not here: the replay, which is the core's and pure.

use std::fs::File;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use headstart_core::backtest::result::{BacktestResult, Point};
use headstart_core::backtest::{self, Options, Outcome};
use headstart_core::forecast::Topic;
use headstart_core::hint::Kind;
use headstart_core::policy::Goal;
use headstart_core::unit::{Probability, Span};
use indicatif::{ProgressBar, ProgressStyle};

use crate::trace_file;

/// Replay a login history: what would headstart, and simpler policies, have held for whom?
///
/// The first four weeks only train. After that every decision is made from what was before it, with a model that is
/// refitted on the past as it goes.
#[derive(Args, Debug)]
pub(crate) struct BacktestArgs {
    /// Login history, `user,vm,start,end` in RFC 3339 with offsets, plain or gzip
    trace: PathBuf,
    /// What was told of the users, `subject,kind,told,from,until`, plain or gzip; nothing is known before it was told
    #[arg(long, value_name = "FILE")]
    hints: Option<PathBuf>,
    /// Listen only to hints of this kind; may be given more than once
    #[arg(long, value_name = "KIND", requires = "hints")]
    kind: Vec<Kind>,
    /// Which department or role a user belongs to, `user,group`, plain or gzip
    #[arg(long, value_name = "FILE")]
    groups: Option<PathBuf>,
    /// Tell the model nothing of this, to see what it is worth: habit, attendance, today, since (the last logout), others, group,
    /// calendar or hints; may be given more than once
    #[arg(long, value_name = "TOPIC")]
    without: Vec<Topic>,
    /// Share this many GPUs among all users [default: as many as wanted]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    gpus: Option<u32>,
    /// Write a report with charts, one HTML file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write the reliability diagram alone, one SVG picture
    #[arg(long, value_name = "FILE")]
    reliability: Option<PathBuf>,
    /// Write the trade-off of all policies alone, one SVG picture
    #[arg(long, value_name = "FILE")]
    trade_off: Option<PathBuf>,
    /// Write every interval in which a GPU was held for somebody not logged in, `user,start,end`; needs --threshold, --idle-budget or
    /// --target-hit-rate
    #[arg(long, value_name = "FILE", requires = "decided")]
    reservations: Option<PathBuf>,
    /// Also replay the threshold that, from night to night, follows this budget of idle GPU-hours per user and day
    #[arg(long, value_name = "HOURS", value_parser = idle_budget, group = "decided")]
    idle_budget: Option<Span>,
    /// Also replay the threshold that, from night to night, follows this share of logins that find their GPU
    #[arg(long, value_name = "SHARE", value_parser = probability, group = "decided")]
    target_hit_rate: Option<Probability>,
    /// Probability of a login per quarter hour at which a GPU is taken, for --reservations and the week of the report
    #[arg(long, value_name = "P", value_parser = probability, group = "decided")]
    threshold: Option<Probability>,
    /// Refit the model every N days
    #[arg(long, value_name = "N", default_value_t = 7, value_parser = clap::value_parser!(u16).range(1..))]
    refit_days: u16,
    /// Look only at this share of the trace's period, from its beginning: try settings there, and prove them on the whole
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    first: f64,
    /// How long a login waits for a GPU that is made on demand, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    on_demand_wait: u32,
    /// Replay only N users, picked as if at random, for a quick look
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    sample: Option<u32>,
}

fn probability(text: &str) -> Result<Probability, String> {
    let p: f64 = text.parse().map_err(|_| "expected a number between 0 and 1, such as 0.05".to_owned())?;
    Probability::new(p).map_err(|error| error.to_string())
}

fn idle_budget(text: &str) -> Result<Span, String> {
    let hours = text.parse::<f64>().ok().filter(|hours| *hours > 0.0 && *hours <= 24.0);
    let hours = hours.ok_or_else(|| "expected hours above 0 and up to 24, such as 2".to_owned())?;
    Ok(Span::seconds((hours * 3600.0) as i64))
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| *share > 0.0 && *share <= 1.0);
    share.ok_or_else(|| "expected a share above 0 and up to 1, such as 0.67".to_owned())
}

/// Runs the command.
///
/// # Errors
/// The trace cannot be read or is too short, or a file cannot be written.
pub(crate) fn run(args: &BacktestArgs, json: bool) -> Result<()> {
    let trace = trace_file::read(&args.trace)?;
    if trace.duplicates > 0 {
        eprintln!("{}: {} rows repeat an earlier one and count once", args.trace.display(), trace.duplicates);
    }
    let mut hints = args.hints.as_deref().map(trace_file::read_hints).transpose()?.unwrap_or_default();
    if !args.kind.is_empty() {
        hints.retain(|row| args.kind.contains(&row.hint.kind));
    }
    let name = args.trace.file_name().unwrap_or(args.trace.as_os_str()).to_string_lossy();
    let options = Options {
        gpus: args.gpus,
        hints,
        groups: args.groups.as_deref().map(trace_file::read_groups).transpose()?.unwrap_or_default(),
        without: args.without.clone(),
        refit: Span::days(i64::from(args.refit_days)),
        on_demand_wait: Span::seconds(i64::from(args.on_demand_wait)),
        sample: args.sample.map(|n| n as usize),
        first: args.first,
        goal: args.idle_budget.map(Goal::IdleBudget).or(args.target_hit_rate.map(Goal::HitRate)),
        threshold: args.threshold,
        ..Options::new(name)
    };
    let bar = bar()?;
    let outcome = backtest::run(&trace.rows, &options, &mut |share| bar.set_position((share * 1000.0) as u64))
        .with_context(|| format!("cannot replay {}", args.trace.display()))?;
    bar.finish_and_clear();
    if let Some(path) = &args.reservations {
        write_file(path, |out| {
            writeln!(out, "user,start,end")?;
            outcome.reservations.iter().try_for_each(|reservation| writeln!(out, "{}", reservation.to_line()))?;
            Ok(())
        })?;
    }
    if let Some(path) = &args.report {
        write_file(path, |out| crate::report::write_html(&outcome.result, out))?;
    }
    if let Some(path) = &args.reliability {
        write_file(path, |out| crate::report::write_reliability(&outcome.result, out))?;
    }
    if let Some(path) = &args.trade_off {
        write_file(path, |out| crate::report::write_trade_off(&outcome.result, out))?;
    }
    let mut out = std::io::stdout().lock();
    let printed = if json {
        serde_json::to_writer_pretty(&mut out, &outcome.result).map_err(anyhow::Error::from).and_then(|()| {
            writeln!(out)?;
            Ok(())
        })
    } else {
        print(&outcome, &mut out)
    };
    printed.or_else(ignore_closed_pipe)
}

/// Whoever reads only the beginning has what they want.
fn ignore_closed_pipe(error: anyhow::Error) -> Result<()> {
    let closed = error.chain().any(|cause| {
        cause.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::BrokenPipe)
            || cause.downcast_ref::<serde_json::Error>().and_then(serde_json::Error::io_error_kind)
                == Some(std::io::ErrorKind::BrokenPipe)
    });
    if closed { Ok(()) } else { Err(error.context("cannot print the result")) }
}

fn bar() -> Result<ProgressBar> {
    if !std::io::stderr().is_terminal() {
        return Ok(ProgressBar::hidden());
    }
    let style = ProgressStyle::with_template("{wide_bar} {percent:>3} %, {eta} left")?;
    Ok(ProgressBar::new(1000).with_style(style))
}

fn write_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> Result<()>) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
    let mut out = BufWriter::new(file);
    write(&mut out).and_then(|()| Ok(out.flush()?)).with_context(|| format!("cannot write {}", path.display()))
}

fn print(outcome: &Outcome, out: &mut dyn Write) -> Result<()> {
    let result = &outcome.result;
    let Some(first) = result.policies.first().and_then(|policy| policy.points.first()) else {
        bail!("nothing was scored");
    };
    writeln!(
        out,
        "{}: {} users, {} sessions; {} cold logins in {:.0} managed user-days are scored, the first four weeks only train.",
        result.trace, result.users, result.sessions, first.cold_logins, result.managed_user_days
    )?;
    if let Some(gpus) = result.gpus {
        writeln!(out, "{gpus} GPUs are shared by all.")?;
    }
    writeln!(out, "Model at the end: {}.", outcome.model)?;
    writeln!(out, "{}", points(result))?;
    writeln!(out, "Hit rate at a budget of idle GPU-hours per user and day, between the points of each curve:")?;
    writeln!(out, "{}", budgets(result, backtest::hit_at))?;
    if let Some(new) = first.newcomers.filter(|new| new.cold_logins > 0) {
        writeln!(
            out,
            "The same of users in their first 14 days alone, at a budget for each of them ({} cold logins, the first of each left out):",
            new.cold_logins
        )?;
        writeln!(out, "{}", budgets(result, backtest::newcomers_hit_at))?;
    }
    writeln!(
        out,
        "Reliability: forecasts for a quarter hour, and how often they came true (sum of both: {:.2}).",
        result.predicted_over_seen
    )?;
    writeln!(out, "{}", reliability(result))?;
    writeln!(out, "Month by month, said over came true, with the logins:")?;
    writeln!(out, "{}", months(result))?;
    writeln!(
        out,
        "Share of the log loss of the mean rate that the members of the model spare, each alone and together:"
    )?;
    writeln!(out, "{}", skills(result))?;
    Ok(())
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header);
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn points(result: &BacktestResult) -> Table {
    let mut table =
        table(["policy", "threshold", "hit rate", "idle GPU-h/user-day", "wrong/login", "attaches/login", "mean wait"]);
    for policy in &result.policies {
        for point in &policy.points {
            table.add_row([
                policy.name.clone(),
                threshold(point),
                format!("{:.1} %", point.hit_rate * 100.0),
                format!("{:.2}", point.idle_gpu_hours_per_user_day),
                format!("{:.2}", point.wrong_per_login),
                format!("{:.2}", point.attaches_per_login),
                format!("{:.1} s", point.mean_wait_s),
            ]);
        }
    }
    table
}

fn threshold(point: &Point) -> String {
    if point.threshold == 0.0 { "-".to_owned() } else { format!("{}", point.threshold) }
}

fn budgets(result: &BacktestResult, hit_at: impl Fn(&[Point], f64) -> Option<f64>) -> Table {
    let mut table = table(["policy", "0.5 h", "1 h", "2 h", "4 h"]);
    for policy in result.policies.iter().filter(|policy| policy.points.len() > 1) {
        let cell = |hours| hit_at(&policy.points, hours).map_or("-".to_owned(), |hit| format!("{:.1} %", hit * 100.0));
        table.add_row([policy.name.clone(), cell(0.5), cell(1.0), cell(2.0), cell(4.0)]);
    }
    table
}

fn reliability(result: &BacktestResult) -> Table {
    let mut table = table(["said", "came true", "forecasts"]);
    for bin in &result.reliability {
        table.add_row([
            format!("{:.2} %", bin.predicted * 100.0),
            format!("{:.2} %", bin.seen * 100.0),
            bin.n.to_string(),
        ]);
    }
    table
}

fn months(result: &BacktestResult) -> Table {
    let mut table = table(["month", "said / came true", "logins"]);
    for month in &result.months {
        table.add_row([month.month.clone(), format!("{:.2}", month.predicted_over_seen), month.logins.to_string()]);
    }
    table
}

fn skills(result: &BacktestResult) -> Table {
    let mut table = table(["member", "skill"]);
    for skill in &result.skills {
        table.add_row([skill.member.clone(), format!("{:.3}", skill.skill)]);
    }
    table
}
