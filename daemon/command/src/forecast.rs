//! `headstart forecast DESKTOP`: a picture of its next 24 hours.
//!
//! One column per slot. A wide terminal gets one panel, a narrow one two of half a day each: 96 columns of a day do not
//! fit into 80.

use std::collections::HashMap;
use std::fmt::Write;

use headstart_core::unit::Span;
use serde::Serialize;
use zbus::wire::OwnedVariant;

use crate::client::{CallError, Client};
use crate::clock::{Moment, WallClock, distance};
use crate::screen::{Screen, Tone, percent};
use crate::snapshot::Properties;

/// Columns before the first slot: `100 % |`.
const MARGIN: usize = 8;
/// Rows of bars.
const ROWS: usize = 6;

/// A picture of a desktop's next 24 hours.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of its libvirt domain
    desktop: String,
}

/// The forecast; also its JSON.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Forecast {
    pub(crate) desktop: String,
    pub(crate) subject: String,
    pub(crate) state: String,
    pub(crate) clock: Moment,
    pub(crate) start: Moment,
    pub(crate) slot_seconds: u32,
    pub(crate) probabilities: Vec<f64>,
    pub(crate) confidence: f64,
    pub(crate) today: f64,
    pub(crate) next_login: Option<Moment>,
    pub(crate) lead_seconds: u32,
}

impl Arguments {
    /// Asks and draws.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let reply: HashMap<String, OwnedVariant> = client.call("Forecast", &self.desktop).await?;
        let forecast = read(self.desktop.clone(), Properties(reply)).map_err(CallError::Strange)?;
        if screen.json { screen.put_json(&forecast) } else { screen.put(&draw(&forecast, screen)) }
    }
}

fn read(desktop: String, mut reply: Properties) -> zbus::Result<Forecast> {
    Ok(Forecast {
        desktop,
        subject: reply.take("subject")?,
        state: reply.take("state")?,
        clock: Moment::from_unix(reply.take("clock")?),
        start: Moment::from_unix(reply.take("start")?),
        slot_seconds: reply.take("slot-seconds")?,
        probabilities: reply.take("probabilities")?,
        confidence: reply.take("confidence")?,
        today: reply.take("today")?,
        next_login: reply.moment("next-login")?,
        lead_seconds: reply.take("lead-seconds")?,
    })
}

/// The picture.
pub(crate) fn draw(forecast: &Forecast, screen: &Screen) -> String {
    let whose = if forecast.subject == forecast.desktop { String::new() } else { format!(" ({})", forecast.subject) };
    let mut text = format!(
        "{}{whose}: {} within 24 h, {} now; {}\n",
        screen.tint(Tone::Heading, &forecast.desktop),
        percent(forecast.today),
        forecast.state,
        screen.clock.full(forecast.clock)
    );
    if forecast.probabilities.is_empty() || forecast.slot_seconds == 0 {
        text.push_str("There is no forecast yet: the first comes with the first round.\n");
        return text;
    }
    let scale = scale(forecast.probabilities.iter().copied().fold(0.0, f64::max));
    let room = screen.width.unwrap_or(120).saturating_sub(MARGIN);
    let slots = forecast.probabilities.len();
    let panels = slots.div_ceil(room.max(24)).max(1);
    let columns = slots.div_ceil(panels);
    for panel in 0..panels {
        let range = panel * columns..((panel + 1) * columns).min(slots);
        text.push('\n');
        text.push_str(&draw_panel(forecast, range, scale, screen));
    }
    text.push('\n');
    text.push_str(&legend(forecast, screen));
    text
}

/// The end of the percent axis: the next round number.
fn scale(most: f64) -> f64 {
    [0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8].into_iter().find(|end| most <= *end).unwrap_or(1.0)
}

/// Bars of some slots over their hours.
fn draw_panel(forecast: &Forecast, range: std::ops::Range<usize>, scale: f64, screen: &Screen) -> String {
    let (edge, tick) = if screen.unicode { ('│', '┬') } else { ('|', '+') };
    let (line, corner) = if screen.unicode { ('─', '└') } else { ('-', '+') };
    let mut text = String::new();
    for row in (0..ROWS).rev() {
        let label = match row {
            _ if row == ROWS - 1 => percent(scale),
            _ if row == ROWS / 2 - 1 => percent(scale / 2.0),
            _ => String::new(),
        };
        let bars: String = forecast.probabilities[range.clone()]
            .iter()
            .map(|p| block(p / scale * ROWS as f64 - row as f64, screen.unicode))
            .collect();
        let bars = screen.tint(Tone::Good, bars.trim_end());
        writeln!(text, "{label:>6} {edge}{bars}").expect("a String takes all that is written");
    }
    let hours = hour_marks(forecast, &range, &screen.clock);
    let axis: String =
        range.clone().map(|slot| if hours.iter().any(|(at, _)| *at == slot) { tick } else { line }).collect();
    writeln!(text, "{:>6} {corner}{axis}", "0 %").expect("a String takes all that is written");
    writeln!(text, "{}{}", " ".repeat(MARGIN), labels(&hours, &range)).expect("a String takes all that is written");
    for mark in marks(forecast, &range, screen) {
        writeln!(text, "{}{}", " ".repeat(MARGIN), screen.tint(Tone::Warn, &mark))
            .expect("a String takes all that is written");
    }
    text
}

/// One character of a bar that reaches `height` characters above its lower edge.
fn block(height: f64, unicode: bool) -> char {
    let eighths = (height * 8.0).round().clamp(0.0, 8.0) as usize;
    let blocks = if unicode {
        [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█']
    } else {
        [' ', '.', '.', '.', ':', ':', ':', '#', '#']
    };
    blocks[eighths]
}

/// Slots in which a full hour begins, with the hour.
fn hour_marks(forecast: &Forecast, range: &std::ops::Range<usize>, clock: &WallClock) -> Vec<(usize, i8)> {
    let at = |slot: usize| clock.at(slot_start(forecast, slot));
    let new_hour =
        |slot: &usize| *slot == 0 && at(0).minute() == 0 || *slot > 0 && at(*slot).hour() != at(*slot - 1).hour();
    range.clone().filter(new_hour).map(|slot| (slot, at(slot).hour())).collect()
}

fn slot_start(forecast: &Forecast, slot: usize) -> Moment {
    Moment::from_unix(forecast.start.unix() + i64::from(forecast.slot_seconds) * slot as i64)
}

/// The hours below their marks.
fn labels(hours: &[(usize, i8)], range: &std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for (slot, hour) in hours {
        let column = slot - range.start;
        // A label does not run into the one before it, nor over the edge.
        if column >= text.len() && column + 2 <= range.len() {
            text = format!("{text:<column$}{hour:02} ");
        }
    }
    text.trim_end().to_owned()
}

/// `^ now` and `^ likeliest` below the axis, on one line if there is room for both.
fn marks(forecast: &Forecast, range: &std::ops::Range<usize>, screen: &Screen) -> Vec<String> {
    let arrow = if screen.unicode { '▲' } else { '^' };
    let mark = |moment: Moment, name: &str| {
        let column = slot_of(forecast, moment).filter(|slot| range.contains(slot))? - range.start;
        Some((column, format!("{arrow} {name}")))
    };
    let now = mark(forecast.clock, "now");
    let likeliest = forecast.next_login.and_then(|login| mark(login, "likeliest"));
    let mut lines: Vec<String> = Vec::new();
    for (column, name) in now.into_iter().chain(likeliest) {
        match lines.last_mut() {
            Some(line) if line.chars().count() < column => *line = format!("{line:<column$}{name}"),
            _ => lines.push(format!("{:column$}{name}", "")),
        }
    }
    lines
}

/// The slot of an instant.
fn slot_of(forecast: &Forecast, moment: Moment) -> Option<usize> {
    let slot = (moment.unix() - forecast.start.unix()).div_euclid(i64::from(forecast.slot_seconds));
    usize::try_from(slot).ok().filter(|slot| *slot < forecast.probabilities.len())
}

/// What the picture cannot say.
fn legend(forecast: &Forecast, screen: &Screen) -> String {
    let slot = Span::seconds(i64::from(forecast.slot_seconds));
    let next = match forecast.next_login {
        Some(login) => {
            let p = slot_of(forecast, login).map(|slot| percent(forecast.probabilities[slot]));
            format!(
                "Likeliest login: {}, {}; {} in that slot of {slot}",
                screen.clock.near(login, forecast.clock),
                distance(login, forecast.clock),
                p.unwrap_or_else(|| "unknown".to_owned()),
            )
        }
        None => "No login is likely within 24 h".to_owned(),
    };
    let lead = Span::seconds(i64::from(forecast.lead_seconds));
    format!("{next}.\nGetting ready takes {lead}; a login when that is over: {}.\n", percent(forecast.confidence))
}
