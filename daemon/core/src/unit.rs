//! Quantities with their unit in the type. Parsed once at the door, checked arithmetic, one canonical text form each.
//!
//! Deliberately not here: anything that reads a clock. `Time` is always an argument.

use std::fmt;
use std::ops::{Add, Sub};

use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

/// An instant: whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted (as in POSIX).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Time(i64);

impl Time {
    /// The instant `seconds` after the epoch.
    pub const fn from_unix(seconds: i64) -> Self {
        Self(seconds)
    }

    /// Seconds since the epoch.
    pub const fn unix(self) -> i64 {
        self.0
    }

    /// The instant of a jiff time stamp, fractions of a second dropped.
    pub fn from_timestamp(timestamp: jiff::Timestamp) -> Self {
        Self(timestamp.as_second())
    }

    /// RFC 3339 text at the given offset from UTC, as in a trace: `2010-03-29T08:00:00+02:00`.
    pub fn rfc3339(self, offset: Offset) -> String {
        jiff::Timestamp::from_second(self.0)
            .map_or_else(|_| format!("@{}", self.0), |timestamp| timestamp.display_with_offset(offset).to_string())
    }

    /// `self + span`, at the ends of the range instead of past them.
    #[must_use]
    pub const fn saturating_add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

impl fmt::Display for Time {
    /// RFC 3339 in UTC.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_second(self.0) {
            Ok(timestamp) => write!(f, "{timestamp}"),
            Err(_) => write!(f, "@{}", self.0),
        }
    }
}

impl Add<Span> for Time {
    type Output = Time;
    fn add(self, span: Span) -> Time {
        self.saturating_add(span)
    }
}

impl Sub<Span> for Time {
    type Output = Time;
    fn sub(self, span: Span) -> Time {
        Time(self.0.saturating_sub(span.0))
    }
}

impl Sub for Time {
    type Output = Span;
    fn sub(self, earlier: Time) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

/// A length of time in whole seconds; may be negative as the difference of two instants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Span(i64);

impl Span {
    /// No time at all.
    pub const ZERO: Span = Span(0);

    /// `n` seconds.
    pub const fn seconds(n: i64) -> Self {
        Self(n)
    }

    /// `n` minutes.
    pub const fn minutes(n: i64) -> Self {
        Self(n * 60)
    }

    /// `n` hours.
    pub const fn hours(n: i64) -> Self {
        Self(n * 3600)
    }

    /// `n` days of 24 hours.
    pub const fn days(n: i64) -> Self {
        Self(n * 86_400)
    }

    /// Whole seconds.
    pub const fn as_seconds(self) -> i64 {
        self.0
    }

    /// Hours with their fraction.
    pub fn as_hours(self) -> f64 {
        self.0 as f64 / 3600.0
    }
}

impl Add for Span {
    type Output = Span;
    fn add(self, other: Span) -> Span {
        Span(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for Span {
    /// The two largest units that matter: `2 d 3 h`, `1 h 5 min`, `4 min 30 s`, `45 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let s = self.0.unsigned_abs();
        let (d, h, m, sec) = (s / 86_400, s / 3600 % 24, s / 60 % 60, s % 60);
        let parts: &[(u64, &str)] = match (d, h, m) {
            (0, 0, 0) => &[(sec, "s")],
            (0, 0, _) => &[(m, "min"), (sec, "s")],
            (0, _, _) => &[(h, "h"), (m, "min")],
            _ => &[(d, "d"), (h, "h")],
        };
        write!(f, "{sign}{} {}", parts[0].0, parts[0].1)?;
        for (n, unit) in parts.iter().skip(1).filter(|(n, _)| *n > 0) {
            write!(f, " {n} {unit}")?;
        }
        Ok(())
    }
}

/// A probability, 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Probability(f32);

/// What was given is not a probability.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{0} is not a probability: it must be between 0 and 1")]
pub struct NotAProbability(f64);

impl Probability {
    /// It will not happen.
    pub const ZERO: Probability = Probability(0.0);
    /// It has happened.
    pub const ONE: Probability = Probability(1.0);

    /// Checks the range.
    ///
    /// # Errors
    /// Outside 0 to 1, or not a number.
    pub fn new(p: f64) -> Result<Self, NotAProbability> {
        if (0.0..=1.0).contains(&p) { Ok(Self(p as f32)) } else { Err(NotAProbability(p)) }
    }

    /// The nearest probability; not-a-number becomes 0.
    pub fn clamped(p: f64) -> Self {
        if p.is_nan() { Self(0.0) } else { Self(p.clamp(0.0, 1.0) as f32) }
    }

    /// As a number.
    pub fn get(self) -> f64 {
        f64::from(self.0)
    }
}

impl TryFrom<f64> for Probability {
    type Error = NotAProbability;
    fn try_from(p: f64) -> Result<Self, NotAProbability> {
        Self::new(p)
    }
}

impl From<Probability> for f64 {
    fn from(p: Probability) -> f64 {
        p.get()
    }
}

impl fmt::Display for Probability {
    /// `73 %`; below ten percent with a digit, if it says anything: `1.5 %`, `3 %`. A precision asks for more: `{:.2}`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let percent = self.get() * 100.0;
        let digits = f.precision().unwrap_or(usize::from(percent < 9.95));
        let text = format!("{percent:.digits$}");
        let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
        write!(f, "{text} %")
    }
}

/// Framebuffer in MiB (1024 × 1024 bytes), as NVIDIA's `description` files and AMD's tools count it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FramebufferMib(u32);

impl FramebufferMib {
    /// `mib` MiB.
    pub const fn new(mib: u32) -> Self {
        Self(mib)
    }

    /// The number of MiB.
    pub const fn get(self) -> u32 {
        self.0
    }

    /// `self - other`, or none when that would be below zero.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `self + other`, at the end of the range instead of past it.
    #[must_use]
    pub const fn saturating_add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl fmt::Display for FramebufferMib {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} MiB", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let texts: Vec<String> =
            [0, 45, 60, 270, 3900, 97_200, -30].into_iter().map(|s| Span::seconds(s).to_string()).collect();
        assert_eq!(texts, ["0 s", "45 s", "1 min", "4 min 30 s", "1 h 5 min", "1 d 3 h", "-30 s"]);
    }

    #[test]
    fn probabilities_are_checked() {
        assert!(Probability::new(1.5).is_err());
        assert!(Probability::new(f64::NAN).is_err());
        assert_eq!(Probability::clamped(-3.0), Probability::ZERO);
        assert_eq!(Probability::clamped(0.004).to_string(), "0.4 %");
    }

    #[test]
    fn time_prints_at_its_offset() {
        let time = Time::from_unix(1_269_842_400);
        assert_eq!(time.rfc3339(jiff::tz::offset(2)), "2010-03-29T08:00:00+02:00");
        assert_eq!(time.to_string(), "2010-03-29T06:00:00Z");
    }
}
