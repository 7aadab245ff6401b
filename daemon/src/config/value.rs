//! Single values of a configuration file: from TOML to core types. Each refusal says what was expected and what was found.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::PathBuf;

use headstart_core::desktop::{AttachMode, Hours, MissingGpu};
use headstart_core::hint::Kind;
use headstart_core::id::{DesktopName, GpuId, GroupName, PoolName, ProfileName, UserName};
use headstart_core::presence::Presence;
use headstart_core::unit::{FramebufferMib, Probability, Span, Time};
use jiff::civil;
use toml::de::DeValue;

use super::Zone;
use super::document::suggest;
use super::duration::{parse_span, write_span};
use crate::status::Mode;

/// What kind of value it is, in words.
pub(in crate::config) fn kind(value: &DeValue) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// The refusal.
fn expected<T>(what: impl Display, value: &DeValue) -> Result<T, String> {
    let found = match value {
        DeValue::String(text) => format!("{:?}", text.chars().take(80).collect::<String>()),
        DeValue::Integer(n) => n.to_string(),
        DeValue::Float(n) => n.to_string(),
        DeValue::Boolean(b) => b.to_string(),
        DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => kind(value).to_owned(),
    };
    Err(format!("expected {what}, found {found}"))
}

pub(in crate::config) fn text<'v>(what: &str, value: &'v DeValue) -> Result<&'v str, String> {
    match value.as_str() {
        Some(text) => Ok(text),
        None => expected(what, value),
    }
}

pub(in crate::config) fn boolean(value: &DeValue) -> Result<bool, String> {
    value.as_bool().map_or_else(|| expected("true or false", value), Ok)
}

pub(in crate::config) fn integer(range: RangeInclusive<i64>) -> impl Fn(&DeValue) -> Result<i64, String> {
    move |value| {
        let n = value.as_integer().and_then(|n| i64::from_str_radix(n.as_str(), n.radix()).ok());
        match n.filter(|n| range.contains(n)) {
            Some(n) => Ok(n),
            None => expected(format_args!("a whole number from {} to {}", range.start(), range.end()), value),
        }
    }
}

/// A whole number from 1 on.
pub(in crate::config) fn count(value: &DeValue) -> Result<u32, String> {
    integer(1..=1_000_000)(value).map(|n| n as u32)
}

pub(in crate::config) fn framebuffer(value: &DeValue) -> Result<FramebufferMib, String> {
    integer(1..=16_777_216)(value).map(|n| FramebufferMib::new(n as u32))
}

pub(in crate::config) fn probability(value: &DeValue) -> Result<Probability, String> {
    let n = match value {
        DeValue::Integer(n) => n.as_str().parse().ok(),
        DeValue::Float(n) => n.as_str().parse().ok(),
        _ => None,
    };
    match n.map(Probability::new) {
        Some(Ok(probability)) => Ok(probability),
        _ => expected("a probability from 0 to 1", value),
    }
}

/// A length of time within a range.
pub(in crate::config) fn span(range: RangeInclusive<Span>) -> impl Fn(&DeValue) -> Result<Span, String> {
    move |value| {
        let what = || {
            let (low, high) = (write_span(*range.start()), write_span(*range.end()));
            format!("a length of time from \"{low}\" to \"{high}\", such as \"1 h 30 min\"")
        };
        match value.as_str().and_then(parse_span).filter(|span| range.contains(span)) {
            Some(span) => Ok(span),
            None => expected(what(), value),
        }
    }
}

/// Idle time per user and day.
pub(in crate::config) fn idle_budget(value: &DeValue) -> Result<Span, String> {
    let span = value.as_str().and_then(|text| text.strip_suffix(PER_USER_DAY)).and_then(parse_span);
    match span.filter(|span| (Span::minutes(1)..=Span::days(1)).contains(span)) {
        Some(span) => Ok(span),
        None => expected("from \"1 min per user-day\" to \"1 day per user-day\", such as \"2 h per user-day\"", value),
    }
}

/// What follows the time of an idle budget.
pub(in crate::config) const PER_USER_DAY: &str = " per user-day";

/// A hit rate that can be aimed at.
pub(in crate::config) fn hit_rate(value: &DeValue) -> Result<Probability, String> {
    match probability(value) {
        Ok(rate) if rate > Probability::ZERO && rate.get() < 1.0 => Ok(rate),
        _ => expected("a share of the logins above 0 and below 1, such as 0.9", value),
    }
}

pub(in crate::config) fn path(value: &DeValue) -> Result<PathBuf, String> {
    match value.as_str().map(PathBuf::from).filter(|path| path.is_absolute()) {
        Some(path) => Ok(path),
        None => expected("an absolute path", value),
    }
}

pub(in crate::config) fn zone(value: &DeValue) -> Result<Zone, String> {
    let what = "a time zone such as \"Europe/Berlin\", or \"system\"";
    let name = text(what, value)?;
    Zone::new(name).map_or_else(|_| expected(format_args!("{what} (tzdata must be installed)"), value), Ok)
}

/// `03:00`.
pub(in crate::config) fn time_of_day(value: &DeValue) -> Result<civil::Time, String> {
    let parse = |text: &str| {
        let (hour, minute) = text.split_once(':')?;
        let number = |part: &str| if part.len() == 2 { part.parse::<i8>().ok() } else { None };
        civil::Time::new(number(hour)?, number(minute)?, 0, 0).ok()
    };
    match value.as_str().and_then(parse) {
        Some(time) => Ok(time),
        None => expected("a time of day such as \"03:00\"", value),
    }
}

pub(in crate::config) fn instant(value: &DeValue) -> Result<Time, String> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Datetime(datetime) => datetime.to_string(),
        _ => String::new(),
    };
    match text.parse::<jiff::Timestamp>() {
        Ok(timestamp) => Ok(Time::from_timestamp(timestamp)),
        Err(_) => expected("an RFC 3339 time with UTC offset, such as 2010-03-29T08:00:00+02:00", value),
    }
}

/// One of some words.
pub(in crate::config) fn word<T: Copy>(words: &'static [(&'static str, T)]) -> impl Fn(&DeValue) -> Result<T, String> {
    move |value| {
        let quoted: Vec<String> = words.iter().map(|(word, _)| format!("\"{word}\"")).collect();
        let (last, rest) = quoted.split_last().expect("every list of words here has some");
        let what = format!("{} or {last}", rest.join(", "));
        let text = text(&what, value)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == text) {
            return Ok(*value);
        }
        let near = suggest(text, words.iter().map(|(word, _)| *word));
        let near = if near.contains("did you mean") { near } else { String::new() };
        expected(&what, value).map_err(|refusal: String| refusal + &near)
    }
}

pub(in crate::config) fn mode(value: &DeValue) -> Result<Mode, String> {
    word(&[("shadow", Mode::Shadow), ("armed", Mode::Armed)])(value)
}

pub(in crate::config) fn attach(value: &DeValue) -> Result<AttachMode, String> {
    word(&[("cold", AttachMode::Cold), ("live", AttachMode::Live), ("request", AttachMode::Request)])(value)
}

pub(in crate::config) fn missing_gpu(value: &DeValue) -> Result<MissingGpu, String> {
    word(&[("start", MissingGpu::Start), ("block", MissingGpu::Block)])(value)
}

pub(in crate::config) fn presence(value: &DeValue) -> Result<Presence, String> {
    word(&[("agent", Presence::Agent), ("screen", Presence::Screen), ("broker", Presence::Broker)])(value)
}

/// A core name; its own rule is the refusal.
fn name<T>(
    what: &str,
    value: &DeValue,
    new: impl FnOnce(String) -> Result<T, headstart_core::id::BadId>,
) -> Result<T, String> {
    new(text(what, value)?.to_owned()).map_err(|error| error.to_string())
}

pub(in crate::config) fn user(value: &DeValue) -> Result<UserName, String> {
    name("the name of a user", value, UserName::new)
}

/// Declared working hours.
pub(in crate::config) fn hours(value: &DeValue) -> Result<Hours, String> {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(hours) => Ok(hours),
        None => expected("weekdays and times such as \"Mon-Fri 08:00-17:00, Sat 09:00-12:00\"", value),
    }
}

/// A kind of hint that a calendar may tell.
pub(in crate::config) fn statement(value: &DeValue) -> Result<Kind, String> {
    match value.as_str().and_then(|text| text.parse().ok()) {
        Some(kind) if !Kind::is_event(kind) => Ok(kind),
        _ => {
            let kinds: Vec<&str> = Kind::ALL.into_iter().filter(|kind| !kind.is_event()).map(Kind::as_str).collect();
            expected(format_args!("one of {}", super::document::words(&kinds)), value)
        }
    }
}

pub(in crate::config) fn group(value: &DeValue) -> Result<GroupName, String> {
    name("the name of a group", value, GroupName::new)
}

pub(in crate::config) fn pool(value: &DeValue) -> Result<PoolName, String> {
    name("the name of a pool", value, PoolName::new)
}

pub(in crate::config) fn desktop(value: &DeValue) -> Result<DesktopName, String> {
    name("the name of a domain", value, DesktopName::new)
}

pub(in crate::config) fn profile(value: &DeValue) -> Result<ProfileName, String> {
    name("the name of a profile such as \"A40-4Q\"", value, ProfileName::new)
}

/// Profiles in order of wish, at least one.
pub(in crate::config) fn profiles(value: &DeValue) -> Result<Vec<ProfileName>, String> {
    let what = "a list of profiles in order of wish, such as [\"A40-8Q\", \"A40-4Q\"]";
    match value.as_array() {
        Some(list) if !list.is_empty() => list.iter().map(|item| profile(item.get_ref())).collect(),
        _ => expected(what, value),
    }
}

pub(in crate::config) fn pci_address(value: &DeValue) -> Result<GpuId, String> {
    text("a PCI address such as \"0000:3b:00.0\"", value)?
        .parse()
        .map_err(|error: headstart_core::id::BadId| error.to_string())
}

/// A PF, or the name of a parent of mdevs that is no PCI function.
pub(in crate::config) fn gpu_id(value: &DeValue) -> Result<GpuId, String> {
    text("a PCI address such as \"0000:3b:00.0\", or the name of a parent in /sys/class/mdev_bus", value)?
        .parse()
        .map_err(|error: headstart_core::id::BadId| error.to_string())
}

/// A vendor or device of the PCI bus, as `lspci -n` prints it.
pub(in crate::config) fn pci_id(value: &DeValue) -> Result<u16, String> {
    match integer(0..=65_535)(value) {
        Ok(id) => Ok(id as u16),
        Err(_) => expected("a PCI id from 0x0000 to 0xffff, such as 0x10de", value),
    }
}

/// `frame_rate_limiter=0, disable_vnc=1`: written to the vGPU as it is, so one line of plain text.
pub(in crate::config) fn vgpu_params(value: &DeValue) -> Result<String, String> {
    let plain = |text: &&str| !text.chars().any(char::is_control) && text.len() <= 1023;
    let pairs =
        |text: &&str| text.split(',').all(|pair| pair.split_once('=').is_some_and(|(key, _)| !key.trim().is_empty()));
    match value.as_str().filter(plain).filter(pairs) {
        Some(text) => Ok(text.to_owned()),
        None => expected("parameters such as \"frame_rate_limiter=0, disable_vnc=1\"", value),
    }
}

pub(in crate::config) fn libvirt_uri(value: &DeValue) -> Result<String, String> {
    let plain = |text: &&str| text.contains("://") && !text.chars().any(|c| c.is_control() || c.is_whitespace());
    match value.as_str().filter(plain) {
        Some(text) => Ok(text.to_owned()),
        None => expected("a libvirt URI such as \"qemu:///system\"", value),
    }
}

/// A name without rules: of a board, of a series.
pub(in crate::config) fn label(value: &DeValue) -> Result<String, String> {
    match value.as_str().filter(|text| !text.trim().is_empty() && text.len() <= 255) {
        Some(text) => Ok(text.to_owned()),
        None => expected("a name of at most 255 bytes", value),
    }
}

/// First slots of placements, at least one.
pub(in crate::config) fn slots(value: &DeValue) -> Result<Vec<u32>, String> {
    match value.as_array() {
        Some(list) if !list.is_empty() => {
            list.iter().map(|item| integer(0..=65_535)(item.get_ref()).map(|n| n as u32)).collect()
        }
        _ => expected("a list of slot numbers such as [0, 6, 12, 18]", value),
    }
}
