//! `headstart hint` and `hints`: what is known of somebody's coming, told and shown.

use std::collections::HashMap;

use headstart_core::hint::{self, Hint, Kind};
use headstart_core::id::UserName;
use headstart_core::unit::Time;
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::TimeZone;
use serde::Serialize;
use zbus::wire::Variant;

use crate::client::Client;
use crate::clock::{Moment, WallClock};
use crate::screen::{Screen, cell, lines_of, one_line};

/// Say what is known of somebody's coming: a badge, a VPN, leave, a shift.
///
/// What it is worth headstart learns; forecasts change, and nothing else.
#[derive(Debug, clap::Args)]
pub(crate) struct Tell {
    /// A desktop, the user of desktops, or * for all
    subject: String,
    /// What: an event that just happened (badge, vpn, sign-in, thin-client, colleague-booking), or a statement about a time (leave, holiday,
    /// maintenance, shift, booking, hours)
    kind: Kind,
    /// From when a statement is true: a time (17:00 today, or 2026-01-31T08:00:00+01:00) or a day (2026-01-31) [default: now]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    from: Option<i64>,
    /// Until when it is true, likewise; the same as --from takes a statement back [default: 12 hours for an event, a day for a statement]
    #[arg(long, value_name = "WHEN", value_parser = when)]
    until: Option<i64>,
}

/// What was told of whom, newest first.
#[derive(Debug, clap::Args)]
pub(crate) struct List {
    /// Only of this desktop or user
    subject: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    most: u32,
    /// As a file for `backtest --hints`, oldest first
    #[arg(long)]
    csv: bool,
}

/// One hint; also its JSON.
#[derive(Serialize)]
struct Shown {
    desktop: String,
    kind: String,
    told: Moment,
    from: Moment,
    until: Moment,
}

impl Tell {
    /// Tells the daemon.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let mut options: HashMap<&str, Variant<'_>> = HashMap::new();
        for (name, time) in [("from", self.from), ("valid-until", self.until)] {
            if let Some(time) = time {
                options.insert(name, time.into());
            }
        }
        client.call::<_, ()>("Hint", &(&self.subject, self.kind.as_str(), options)).await?;
        if screen.json {
            return screen.put_json(&serde_json::json!({ "done": true }));
        }
        screen.put(&format!("{}: {} was told\n", self.subject, self.kind))
    }
}

impl List {
    /// Asks and shows them.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let subject = self.subject.as_deref().unwrap_or_default();
        let hints: Vec<(String, String, i64, i64, i64)> = client.call("Hints", &(subject, self.most)).await?;
        let moment = Moment::from_unix;
        let hints: Vec<Shown> = hints
            .into_iter()
            .map(|(desktop, kind, told, from, until)| Shown {
                desktop,
                kind,
                told: moment(told),
                from: moment(from),
                until: moment(until),
            })
            .collect();
        if self.csv {
            return screen.put(&csv(&hints)?);
        }
        if screen.json {
            return screen.put_json(&hints);
        }
        let wall = WallClock::new(TimeZone::system());
        let mut table = screen.table(&["desktop", "kind", "told", "from", "until"]);
        for hint in &hints {
            let mut cells = vec![cell(None, &hint.desktop), cell(None, &hint.kind)];
            cells.extend([hint.told, hint.from, hint.until].map(|at| cell(None, wall.full(at))));
            table.add_row(one_line(cells));
        }
        screen.put(&lines_of(&table))
    }
}

/// The form that `backtest --hints` reads.
fn csv(hints: &[Shown]) -> anyhow::Result<String> {
    let mut text = format!("{}\n", hint::HEADER);
    for shown in hints.iter().rev() {
        let time = |moment: Moment| Time::from_unix(moment.unix());
        let (told, from, until) = (time(shown.told), time(shown.from), time(shown.until));
        let hint = Hint { told, kind: shown.kind.parse()?, from, until };
        let row = hint::Row { subject: Some(UserName::new(shown.desktop.as_str())?), hint, offset: None };
        text = format!("{text}{}\n", hint::format_row(&row));
    }
    Ok(text)
}

/// A time of today, a day, or an instant, as seconds since 1970.
fn when(text: &str) -> Result<i64, String> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Ok(time.as_second());
    }
    let bad = || format!("{text:?} is neither a time (17:00, or 2026-01-31T08:00:00+01:00) nor a day (2026-01-31)");
    let zone = TimeZone::system();
    let today = Timestamp::now().to_zoned_datetime(zone.clone()).date();
    let wall = match text.len() {
        5 => today.to_datetime(text.parse::<civil::Time>().map_err(|_| bad())?),
        10 => text.parse::<civil::Date>().map_err(|_| bad())?.to_datetime(civil::Time::midnight()),
        _ => return Err(bad()),
    };
    wall.to_zoned_datetime(zone).map(|at| at.timestamp().as_second()).map_err(|_| bad())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_and_others_refused() {
        assert_eq!(when("2026-01-31T08:00:00+01:00"), Ok(1_769_842_800));
        let day = when("2026-01-31").unwrap();
        assert_eq!((day - 1_769_817_600).rem_euclid(900), 0, "some midnight");
        assert!(when("17:00").unwrap() - Timestamp::now().as_second() < 86_400);
        for bad in ["soon", "25:00", "2026-13-01", "2026-01-31T08:00", ""] {
            assert!(when(bad).unwrap_err().contains("neither a time"), "{bad}");
        }
    }

    #[test]
    fn a_list_is_a_file_of_hints() {
        let at = Moment::from_unix(1_769_842_800);
        let hint = |kind: &str| Shown { desktop: "vm1".into(), kind: kind.into(), told: at, from: at, until: at };
        let text = csv(&[hint("vpn"), hint("leave")]).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], hint::HEADER);
        assert_eq!(hint::parse_row(lines[1]).unwrap().hint.kind, Kind::Leave, "oldest first");
        assert_eq!(lines.len(), 3);
    }
}
