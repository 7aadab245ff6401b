//! Declared working hours: `Mon-Fri 08:00-17:00, Sat 09:00-12:00`, on the wall clock of the desktop's user.
//!
//! Deliberately not here: whether anybody keeps to them, which is learned.

use std::fmt;
use std::str::FromStr;

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
/// Nobody needs more.
const MOST: usize = 21;

/// The same hours on some weekdays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Part {
    /// First and last weekday, Monday 0; the week may turn in between.
    days: (usize, usize),
    /// Minutes of the day; an end that is not after the beginning is that of the next day.
    from: u16,
    until: u16,
}

/// When the user of a desktop is to be expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hours(Vec<Part>);

/// No hours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("hours {0:?} are not understood: use weekdays and times such as \"Mon-Fri 08:00-17:00, Sat 09:00-12:00\"")]
pub struct BadHours(String);

impl Hours {
    /// From and to in minutes after the midnight at which this weekday (Monday 0) begins.
    pub fn on(&self, weekday: usize) -> impl Iterator<Item = (u16, u16)> + '_ {
        let includes = move |part: &&Part| {
            let (first, last) = part.days;
            if first <= last { (first..=last).contains(&weekday) } else { weekday >= first || weekday <= last }
        };
        let times = |part: &Part| (part.from, if part.until > part.from { part.until } else { part.until + 24 * 60 });
        self.0.iter().filter(includes).map(times)
    }
}

impl FromStr for Hours {
    type Err = BadHours;

    fn from_str(text: &str) -> Result<Self, BadHours> {
        let bad = || BadHours(text.chars().take(80).collect());
        let parts: Option<Vec<Part>> = text.split(',').map(|part| parse(part.trim())).collect();
        parts.filter(|parts| parts.len() <= MOST).map(Hours).ok_or_else(bad)
    }
}

fn parse(part: &str) -> Option<Part> {
    let (days, times) = part.split_once(' ')?;
    let day = |text: &str| DAYS.iter().position(|day| day.eq_ignore_ascii_case(text));
    let days = match days.split_once('-') {
        Some((first, last)) => (day(first)?, day(last)?),
        None => (day(days)?, day(days)?),
    };
    let (from, until) = times.trim().split_once('-')?;
    let minutes = |text: &str| {
        let (hours, minutes) = text.trim().split_once(':')?;
        let number = |text: &str| if text.len() <= 2 { text.parse::<u16>().ok() } else { None };
        let (hours, minutes) = (number(hours)?, number(minutes)?);
        (minutes < 60 && hours * 60 + minutes <= 24 * 60).then_some(hours * 60 + minutes)
    };
    let (from, until) = (minutes(from)?, minutes(until)?);
    (from < 24 * 60 && from != until).then_some(Part { days, from, until })
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, Part { days: (first, last), from, until }) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str(", ")?;
            }
            f.write_str(DAYS[*first])?;
            if first != last {
                write!(f, "-{}", DAYS[*last])?;
            }
            write!(f, " {:02}:{:02}-{:02}:{:02}", from / 60, from % 60, until / 60, until % 60)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hours_are_read_written_and_looked_up() {
        let text = "Mon-Fri 08:00-17:00, Sat 09:30-12:00, Fri-Mon 22:00-06:00";
        let hours: Hours = text.parse().unwrap();
        assert_eq!(hours.to_string(), text);
        let on = |day| hours.on(day).collect::<Vec<_>>();
        assert_eq!(on(1), [(480, 1020)]);
        assert_eq!(on(5), [(570, 720), (1320, 1800)]);
        assert_eq!(on(0), [(480, 1020), (1320, 1800)], "the week turns");
        let short: Hours = "sun 8:00-24:00".parse().unwrap();
        assert_eq!((short.to_string(), short.on(6).next()), ("Sun 08:00-24:00".to_owned(), Some((480, 1440))));
    }

    #[test]
    fn what_is_no_hours_is_refused() {
        for bad in [
            "",
            "Mon",
            "Mon 8-17",
            "Mon 08:00",
            "Mun 08:00-17:00",
            "Mon 08:60-17:00",
            "Mon 25:00-26:00",
            "Mon 8:00-8:00",
        ] {
            assert!(bad.parse::<Hours>().unwrap_err().to_string().contains("Mon-Fri 08:00-17:00"), "{bad}");
        }
        assert!(["Mon 08:00-09:00"; 22].join(",").parse::<Hours>().is_err());
    }
}
