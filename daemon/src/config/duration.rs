//! Lengths of time as people write them: `90 s`, `10 min`, `1 h 30 min`, `400 days`.

use headstart_core::unit::Span;

/// Seconds of each unit and the words for it, the first of which is written.
const UNITS: [(i64, &[&str]); 5] = [
    (604_800, &["weeks", "week", "w"]),
    (86_400, &["days", "day", "d"]),
    (3600, &["h", "hour", "hours"]),
    (60, &["min", "minute", "minutes"]),
    (1, &["s", "sec", "second", "seconds"]),
];

/// Reads numbers with units, largest unit first, each at most once. None: not understood, or too long.
pub(crate) fn parse_span(text: &str) -> Option<Span> {
    let mut rest = text.trim();
    let mut largest = i64::MAX;
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let (number, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit())?);
        let after = after.trim_start();
        let (unit, after) = after.split_at(after.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(after.len()));
        let (seconds, _) = UNITS.iter().find(|(_, words)| words.contains(&unit))?;
        if *seconds >= largest {
            return None;
        }
        largest = *seconds;
        total = total.checked_add(number.parse::<i64>().ok()?.checked_mul(*seconds)?)?;
        rest = after.trim_start();
    }
    (largest != i64::MAX).then(|| Span::seconds(total))
}

/// The same, exact, for lengths that are not negative. Weeks are written in days: `400 days` comes back as it was.
pub(crate) fn write_span(span: Span) -> String {
    let mut rest = span.as_seconds();
    let mut parts = Vec::new();
    for (seconds, words) in &UNITS[1..] {
        if rest / seconds > 0 {
            let word = if *seconds == 86_400 && rest / seconds == 1 { "day" } else { words[0] };
            parts.push(format!("{} {word}", rest / seconds));
            rest %= seconds;
        }
    }
    if parts.is_empty() { "0 s".to_owned() } else { parts.join(" ") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for seconds in [0, 1, 59, 60, 90, 3600, 5400, 86_400, 86_401, 400 * 86_400, 123_456_789] {
            let text = write_span(Span::seconds(seconds));
            assert_eq!(parse_span(&text), Some(Span::seconds(seconds)), "{text}");
        }
        assert_eq!(write_span(Span::days(400)), "400 days");
        assert_eq!(write_span(Span::seconds(5430)), "1 h 30 min 30 s");
    }

    #[test]
    fn people_write_it_in_several_ways() {
        for (text, seconds) in
            [("90s", 90), (" 1 h 30 min ", 5400), ("1h30min", 5400), ("2 weeks", 1_209_600), ("1 day", 86_400)]
        {
            assert_eq!(parse_span(text), Some(Span::seconds(seconds)), "{text}");
        }
        for text in [
            "",
            "10",
            "min",
            "10 m",
            "-5 s",
            "1.5 h",
            "30 min 1 h",
            "1 h 1 h",
            "99999999999999999999 s",
            "999999999999999 weeks",
        ] {
            assert_eq!(parse_span(text), None, "{text}");
        }
    }
}
