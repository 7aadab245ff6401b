//! What all charts of the report share: scales, ticks, text for XML, and numbers as people read them.
//!
//! Own code rather than a plotting crate: colours must be CSS custom properties so that dark mode and print recolour them, labels
//! stand beside their lines, and every mark carries a `<title>`. With a crate each of these is a text replacement afterwards.

use std::fmt::{self, Write};

use headstart_core::unit::Time;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Text that may stand in an element or in a quoted attribute. Characters that XML forbids become U+FFFD.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                '\t' | '\n' | '\r' => write!(f, "{c}")?,
                '\0'..='\x1f' | '\u{fffe}' | '\u{ffff}' => f.write_str("\u{fffd}")?,
                _ => write!(f, "{c}")?,
            }
        }
        Ok(())
    }
}

/// A coordinate in user units. What is no number is drawn at 0 rather than breaking the picture.
pub(super) struct Px(pub(super) f64);

impl fmt::Display for Px {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rounded = if self.0.is_finite() { (self.0 * 10.0).round() / 10.0 } else { 0.0 };
        write!(f, "{}", rounded + 0.0) // -0 becomes 0
    }
}

/// How values spread over an axis.
#[derive(Clone, Copy)]
pub(super) enum Spread {
    /// Equal steps.
    Linear,
    /// Room for the small values, and 0 has a place.
    SquareRoot,
    /// By factors; values at or below the lower end are drawn at the lower end.
    Log,
}

/// From values to user units.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    pub(super) spread: Spread,
    /// Values at the two ends, ascending.
    pub(super) values: (f64, f64),
    /// User units at the two ends.
    pub(super) px: (f64, f64),
}

impl Scale {
    /// Where a value is drawn; outside the range, at the nearer end.
    pub(super) fn at(&self, value: f64) -> f64 {
        let bend = |v: f64| match self.spread {
            Spread::Linear => v,
            Spread::SquareRoot => v.max(0.0).sqrt(),
            Spread::Log => v.max(1e-12).log10(),
        };
        let (low, high) = (bend(self.values.0), bend(self.values.1));
        let value = if value.is_finite() { value.clamp(self.values.0, self.values.1) } else { self.values.0 };
        self.px.0 + (self.px.1 - self.px.0) * (bend(value) - low) / (high - low)
    }
}

/// A share as percent: `68 %`, `4.2 %`, `0.03 %`.
pub(super) fn percent(share: f64) -> String {
    let p = share * 100.0;
    match p.abs() {
        _ if !p.is_finite() => "–".to_owned(),
        a if a == 0.0 || a >= 9.95 => format!("{p:.0} %"),
        a if a >= 0.95 => format!("{p:.1} %").replace(".0 %", " %"),
        _ => format!("{} %", significant(p)),
    }
}

/// A number with the digits that matter: `18.3`, `2.05`, `0.4`, `0.03`.
pub(super) fn number(value: f64) -> String {
    match value.abs() {
        _ if !value.is_finite() => "–".to_owned(),
        0.0 => "0".to_owned(),
        a if a >= 99.95 => thousands(value.round().abs() as u64),
        a if a >= 9.95 => format!("{value:.1}"),
        a if a >= 0.1 => format!("{value:.2}"),
        _ => significant(value),
    }
}

/// Two significant digits of a small number, in full: `0.0034`, `0.2`.
fn significant(value: f64) -> String {
    let digits = (1.0 - value.abs().max(1e-9).log10().floor()).clamp(1.0, 9.0) as usize;
    format!("{value:.digits$}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// `12 345`, grouped by a narrow space that does not break.
pub(super) fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push('\u{202f}');
        }
        text.push(digit);
    }
    text
}

/// A count where there is little room: `950`, `1.2 k`, `34 k`, `5.6 M`.
pub(super) fn short_count(n: u64) -> String {
    match n {
        0..1000 => n.to_string(),
        1000..9950 => format!("{:.1} k", n as f64 / 1e3),
        9950..999_500 => format!("{:.0} k", n as f64 / 1e3),
        _ => format!("{:.1} M", n as f64 / 1e6),
    }
}

/// Seconds as people say them: `8 s`, `4 min`, `1.5 h`.
pub(super) fn wait(seconds: f64) -> String {
    match seconds {
        s if !s.is_finite() => "–".to_owned(),
        0.0 => "0 s".to_owned(),
        s if s < 9.95 => format!("{s:.1} s"),
        s if s < 99.5 => format!("{s:.0} s"),
        s if s < 5970.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}

/// The wall clock behind a time that counts seconds as if it were UTC; the epoch if it lies outside the calendar.
pub(super) fn wall_clock(time: Time) -> DateTime {
    Offset::UTC.to_datetime(jiff::Timestamp::from_second(time.unix()).unwrap_or(jiff::Timestamp::UNIX_EPOCH))
}

/// `5 Jan 2026`.
pub(super) fn date(time: Time) -> String {
    wall_clock(time).strftime("%-d %b %Y").to_string()
}

/// A picture as a file of its own, with the styles and a ground to stand on: light or dark as its reader has it.
pub(super) fn picture(
    out: &mut String,
    (width, height): (f64, f64),
    title: &str,
    description: &str,
    draw: impl FnOnce(&mut String) -> fmt::Result,
) -> fmt::Result {
    write!(
        out,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\">"
    )?;
    write!(out, "<title>{}</title><desc>{}</desc>", Escaped(title), Escaped(description))?;
    write!(
        out,
        "<style>\n{}svg {{ font-family: system-ui, -apple-system, \"Segoe UI\", \"DejaVu Sans\", sans-serif; }}\n.ground {{ fill: var(--surface); }}\n</style>",
        include_str!("chart.css")
    )?;
    write!(out, "<rect class=\"ground\" width=\"{width}\" height=\"{height}\" rx=\"10\"/>")?;
    draw(out)?;
    out.write_str("</svg>\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_well_and_are_never_nonsense() {
        assert_eq!(
            [0.0, 1.0, 0.684, 0.0421, 0.03, 0.0003].map(percent),
            ["0 %", "100 %", "68 %", "4.2 %", "3 %", "0.03 %"]
        );
        assert_eq!([0.0, 18.34, 2.046, 0.03, 1234.0].map(number), ["0", "18.3", "2.05", "0.03", "1\u{202f}234"]);
        assert_eq!([0.0, 42.0, 300.0, 7200.0].map(wait), ["0 s", "42 s", "5 min", "2.0 h"]);
        assert_eq!([7, 1234, 99_999, 5_600_000].map(short_count), ["7", "1.2 k", "100 k", "5.6 M"]);
        for text in [f64::NAN, f64::INFINITY].map(|v| [percent(v), number(v), wait(v)]).as_flattened() {
            assert_eq!(text, "–");
        }
        assert_eq!(Px(f64::NAN).to_string(), "0");
        assert_eq!(Px(-0.001).to_string(), "0");
    }

    #[test]
    fn scales_stay_within_their_axis() {
        for spread in [Spread::Linear, Spread::SquareRoot, Spread::Log] {
            let scale = Scale { spread, values: (0.001, 1.0), px: (0.0, 100.0) };
            let ends = [0.0, 0.001, 1.0, 7.0, f64::NAN].map(|v| scale.at(v).round() as i64);
            assert_eq!(ends, [0, 0, 100, 100, 0]);
        }
    }
}
