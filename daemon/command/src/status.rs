//! `headstart status`: what is and what comes next, on one screen.

use std::fmt::Write;

use serde::Serialize;

use crate::client::Client;
use crate::clock::{Moment, distance};
use crate::screen::{Screen, Tone, cell, lines_of, one_line, percent, tone_of};
use crate::snapshot::{Desktop, Gpu, Host, Snapshot};

/// Rows of what comes next.
const NEXT: usize = 10;
/// Rows of GPUs; more do not fit on one screen.
const MOST_GPUS: usize = 8;
/// Lines of what waits, and of problems.
const MOST_LINES: usize = 5;
/// Who is less likely to come within the day is not expected.
const EXPECTED: f64 = 0.1;

/// The JSON of this screen.
#[derive(Serialize)]
struct Report<'a> {
    host: &'a Host,
    gpus: &'a [Gpu],
    next_logins: Vec<Next<'a>>,
    waiting: Vec<&'a Desktop>,
    problems: Vec<String>,
}

/// One expected login.
#[derive(Serialize)]
struct Next<'a> {
    time: Moment,
    desktop: &'a str,
    probability_today: f64,
    state: &'a str,
    prepared: bool,
    gpu: Option<&'a str>,
    reason: &'a str,
}

impl<'a> Next<'a> {
    fn new(time: Moment, desktop: &'a Desktop) -> Self {
        Self {
            time,
            desktop: &desktop.name,
            probability_today: desktop.today,
            state: &desktop.state,
            prepared: desktop.is_prepared(),
            gpu: desktop.gpu.as_deref(),
            reason: &desktop.reason,
        }
    }
}

/// Shows the status.
pub(crate) async fn run(client: &Client, screen: &Screen) -> anyhow::Result<()> {
    let snapshot = client.snapshot().await?;
    if screen.json {
        let waiting = waiting(&snapshot).collect();
        let (host, gpus, problems) = (&snapshot.host, snapshot.gpus.as_slice(), problems(&snapshot));
        screen.put_json(&Report { host, gpus, next_logins: next_logins(&snapshot), waiting, problems })
    } else {
        screen.put(&draw(&snapshot, screen))
    }
}

/// The screen.
pub(crate) fn draw(snapshot: &Snapshot, screen: &Screen) -> String {
    let mut text = head(snapshot, screen);
    text.push('\n');
    text.push_str(&gpus(&snapshot.gpus, screen));
    text.push('\n');
    text.push_str(&next(snapshot, screen));
    for (title, rows) in [
        ("Waiting for room", waiting(snapshot).map(|d| format!("{}: {}", d.name, d.reason)).collect()),
        ("Problems", problems(snapshot)),
    ] {
        if !rows.is_empty() {
            writeln!(text, "\n{}", screen.tint(Tone::Warn, title)).expect("a String takes all that is written");
            for row in rows.iter().take(MOST_LINES) {
                writeln!(text, "  {row}").expect("a String takes all that is written");
            }
            text.push_str(&more(rows.len(), MOST_LINES, "headstart status --json"));
        }
    }
    text
}

/// Mode, clock, model, scores.
fn head(snapshot: &Snapshot, screen: &Screen) -> String {
    let host = &snapshot.host;
    let mode = match host.mode.as_str() {
        "armed" => screen.tint(Tone::Good, "armed"),
        "shadow" => screen.tint(Tone::Warn, "shadow mode (nothing is done)"),
        other => other.to_owned(),
    };
    let simulated = if host.simulated { ", simulated hardware" } else { "" };
    let mut text = format!(
        "headstart {}  {mode}{simulated}  {}\n",
        host.version,
        screen.tint(Tone::Heading, &screen.clock.full(host.clock))
    );
    let mut line = |name: &str, value: String| {
        writeln!(text, "{}{value}", screen.tint(Tone::Faint, &format!("{name:<10}")))
            .expect("a String takes all that is written");
    };
    line(
        "Desktops",
        format!(
            "{}: {} in use, {} reserved ahead, {} waiting",
            snapshot.desktops.len(),
            host.in_use,
            host.reserved,
            host.waiting
        ),
    );
    line(
        "Hit rate",
        match host.logins {
            0 => "no login to judge yet".to_owned(),
            n => format!(
                "{} ({} of {n} logins found their GPU ready; {} late, {} missed)",
                percent(host.hits as f64 / n as f64),
                host.hits,
                host.late,
                host.misses
            ),
        },
    );
    line("Price", format!("{:.1} GPU-hours held idle, {} reservations in vain", host.idle_hours, host.wasted));
    let model = if host.model.is_empty() { "none yet: the first round is to come" } else { &host.model };
    line("Model", model.to_owned());
    if !host.goal.is_empty() {
        line("Goal", host.goal.clone());
    }
    for hold in &host.holds {
        line("Hold", screen.tint(Tone::Warn, &format!("{} by {}: {}", hold.cookie, hold.owner, hold.reason)));
    }
    text
}

/// How full the GPUs are.
fn gpus(gpus: &[Gpu], screen: &Screen) -> String {
    if gpus.is_empty() {
        return "No GPU is managed: name them in /etc/headstart/headstart.toml\n".to_owned();
    }
    let mut table = screen.table(&["GPU", "Board", "Framebuffer", "Used", "vGPUs", "Health"]);
    // Those that are not well come first: they must not fall off the end.
    let mut sorted: Vec<&Gpu> = gpus.iter().collect();
    if gpus.len() > MOST_GPUS {
        sorted.sort_by_key(|gpu| gpu.health == "ok");
    }
    for gpu in sorted.into_iter().take(MOST_GPUS) {
        let share = f64::from(gpu.used_mib) / f64::from(gpu.framebuffer_mib.max(1));
        let used = format!("{} of {} GiB", gibibytes(gpu.used_mib), gibibytes(gpu.framebuffer_mib));
        let tone = if gpu.health == "ok" { Tone::Good } else { Tone::Bad };
        table.add_row(vec![
            cell(None, &gpu.address),
            cell(None, &gpu.name),
            cell(None, screen.bar(share, 16)),
            cell(None, used),
            cell(None, gpu.vgpus.len()),
            cell(Some(tone), &gpu.health),
        ]);
    }
    lines_of(&table) + &more(gpus.len(), MOST_GPUS, "headstart gpus")
}

/// `  and 3 more`, if there are more than are shown.
fn more(n: usize, shown: usize, how: &str) -> String {
    if n > shown { format!("  and {} more: {how}\n", n - shown) } else { String::new() }
}

/// `8`, `1.5`.
fn gibibytes(mib: u32) -> String {
    let text = format!("{:.1}", f64::from(mib) / 1024.0);
    text.strip_suffix(".0").map_or(text.clone(), str::to_owned)
}

/// Who comes next, and whether we are ready.
fn next(snapshot: &Snapshot, screen: &Screen) -> String {
    let rows = next_logins(snapshot);
    if rows.is_empty() {
        return "Nobody is expected within 24 h.\n".to_owned();
    }
    let mut table = screen.table(&["Next login", "", "Desktop", "Today", "State", "Why"]);
    for row in rows {
        table.add_row(one_line(vec![
            cell(None, screen.clock.near(row.time, snapshot.host.clock)),
            cell(Some(Tone::Faint), distance(row.time, snapshot.host.clock)),
            cell(None, row.desktop),
            cell(None, percent(row.probability_today)),
            cell(Some(tone_of(row.state)), row.state),
            cell(Some(Tone::Faint), row.reason),
        ]));
    }
    lines_of(&table)
}

/// The next logins that are expected, soonest first.
fn next_logins(snapshot: &Snapshot) -> Vec<Next<'_>> {
    let expected = |desktop: &&Desktop| desktop.today >= EXPECTED && !desktop.is_in_use();
    let mut rows: Vec<(Moment, &Desktop)> = Vec::new();
    for desktop in snapshot.desktops.iter().filter(expected) {
        rows.extend(desktop.next_login.map(|time| (time, desktop)));
    }
    rows.sort_by(|a, b| a.0.cmp(&b.0).then_with(|| a.1.name.cmp(&b.1.name)));
    rows.truncate(NEXT);
    rows.into_iter().map(|(time, desktop)| Next::new(time, desktop)).collect()
}

/// Who waits for room.
fn waiting(snapshot: &Snapshot) -> impl Iterator<Item = &Desktop> {
    snapshot.desktops.iter().filter(|desktop| desktop.state == "waiting")
}

/// What is wrong with the host and with desktops.
fn problems(snapshot: &Snapshot) -> Vec<String> {
    let of_desktop = |desktop: &Desktop| {
        desktop.problems.iter().map(|problem| format!("{}: {problem}", desktop.name)).collect::<Vec<_>>()
    };
    snapshot.host.problems.iter().cloned().chain(snapshot.desktops.iter().flat_map(of_desktop)).collect()
}
