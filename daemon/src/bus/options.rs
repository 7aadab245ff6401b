//! The `a{sv}` of calls: strict on the way in, sorted on the way out.

use std::collections::{BTreeMap, HashMap};

use headstart_core::desktop::{Change, Key, LONGEST_LEAD, PRIORITIES, Settings};
use headstart_core::id::{GroupName, PoolName, ProfileName, UserName};
use headstart_core::request::{Answer, Wish};
use headstart_core::unit::{Span, Time};
use zbus::wire::{OwnedVariant, Variant};

use super::error::Refusal;
use super::port::{Candidate, Format};
use super::properties::{probability, seconds};

/// Options as they come.
pub(super) type Options = HashMap<String, OwnedVariant>;
/// An answer, by key.
pub(super) type Reply = BTreeMap<&'static str, Variant<'static>>;

/// Options of `RequestGpu`.
pub(super) fn wish(options: &Options) -> Result<Wish, Refusal<'static>> {
    known(options, &["preallocation", "profile"], "preallocation (s), profile (s)")?;
    let mut wish = Wish::default();
    if let Some(text) = string(options, "preallocation")? {
        let bad = |why: headstart_core::request::BadPreallocation| Refusal::BadOption("preallocation", why.to_string());
        wish.preallocation = text.parse().map_err(bad)?;
    }
    if let Some(text) = string(options, "profile")? {
        wish.profile = Some(ProfileName::new(text).map_err(Refusal::BadName)?);
    }
    Ok(wish)
}

/// Options of `SessionStarted`.
pub(super) fn user(options: &Options) -> Result<Option<UserName>, Refusal<'static>> {
    known(options, &["user"], "user (s)")?;
    string(options, "user")?.map(UserName::new).transpose().map_err(Refusal::BadName)
}

/// Options of `Import`: whether to skip bad rows, and the format.
pub(super) fn import(options: &Options) -> Result<(bool, Format), Refusal<'static>> {
    known(options, &["skip-bad", "format"], "skip-bad (b), format (s)")?;
    let skip_bad = match options.get("skip-bad").map(|value| &**value) {
        None => false,
        Some(Variant::Bool(skip)) => *skip,
        Some(other) => return Err(wrong("skip-bad", "a boolean (b)", other)),
    };
    let format = match string(options, "format")? {
        None => Format::Guess,
        Some("csv") => Format::Csv,
        Some("wtmp") => Format::Wtmp,
        Some(other) => return Err(Refusal::BadOption("format", format!("{other:?} is not known: use csv or wtmp"))),
    };
    Ok((skip_bad, format))
}

/// Options of `Export`.
pub(super) fn since(options: &Options) -> Result<Option<Time>, Refusal<'static>> {
    known(options, &["since"], "since (x, seconds since 1970)")?;
    match options.get("since").map(|value| &**value) {
        None => Ok(None),
        Some(Variant::I64(since)) => Ok(Some(Time::from_unix(*since))),
        Some(other) => Err(wrong("since", "seconds since 1970 (x)", other)),
    }
}

/// Options of `Hint`: from when and until when it is true.
pub(super) fn hint(options: &Options) -> Result<(Option<Time>, Option<Time>), Refusal<'static>> {
    known(options, &["from", "valid-until"], "from (x), valid-until (x), seconds since 1970")?;
    let time = |name| match options.get(name).map(|value| &**value) {
        None => Ok(None),
        Some(Variant::I64(time)) => Ok(Some(Time::from_unix(*time))),
        Some(other) => Err(wrong(name, "seconds since 1970 (x)", other)),
    };
    Ok((time("from")?, time("valid-until")?))
}

/// Options of `SetDesktop`.
pub(super) fn change(options: &Options) -> Result<Change, Refusal<'static>> {
    let name = |key: Key| if key == Key::Lead { "lead-seconds" } else { key.as_str() };
    let names: Vec<&str> = Key::ALL.into_iter().map(name).chain(["unset"]).collect();
    known(
        options,
        &names,
        "user (s), pool (s), profiles (as), attach (s), priority (i), time-zone (s), lead-seconds (u), preallocate (b), \
         missing-gpu (s), presence (s), hours (s), group (s), unset (as)",
    )?;
    let profiles = strings(options, "profiles")?.map(|names| names.into_iter().map(ProfileName::new).collect());
    let set = Settings {
        user: string(options, "user")?.map(UserName::new).transpose().map_err(Refusal::BadName)?,
        pool: string(options, "pool")?.map(PoolName::new).transpose().map_err(Refusal::BadName)?,
        profiles: profiles.transpose().map_err(Refusal::BadName)?,
        attach: word(options, "attach")?,
        priority: match options.get("priority").map(|value| &**value) {
            None => None,
            Some(Variant::I32(priority)) if PRIORITIES.contains(priority) => Some(*priority),
            Some(Variant::I32(priority)) => {
                let (low, high) = (PRIORITIES.start(), PRIORITIES.end());
                return Err(Refusal::BadOption("priority", format!("{priority} is not from {low} to {high}")));
            }
            Some(other) => return Err(wrong("priority", "a whole number (i)", other)),
        },
        time_zone: string(options, "time-zone")?.map(time_zone).transpose()?,
        lead: match options.get("lead-seconds").map(|value| &**value) {
            None => None,
            Some(Variant::U32(seconds)) => {
                let lead = Span::seconds(i64::from(*seconds));
                if lead > LONGEST_LEAD {
                    return Err(Refusal::BadOption("lead-seconds", format!("{lead} is longer than {LONGEST_LEAD}")));
                }
                Some(lead)
            }
            Some(other) => return Err(wrong("lead-seconds", "seconds (u)", other)),
        },
        preallocate: match options.get("preallocate").map(|value| &**value) {
            None => None,
            Some(Variant::Bool(preallocate)) => Some(*preallocate),
            Some(other) => return Err(wrong("preallocate", "a boolean (b)", other)),
        },
        missing_gpu: word(options, "missing-gpu")?,
        presence: word(options, "presence")?,
        hours: word(options, "hours")?,
        group: string(options, "group")?.map(GroupName::new).transpose().map_err(Refusal::BadName)?,
    };
    if set.profiles.as_ref().is_some_and(Vec::is_empty) {
        return Err(Refusal::BadOption("profiles", "it names none; unset it instead".into()));
    }
    let mut unset = std::collections::BTreeSet::new();
    for name in strings(options, "unset")?.unwrap_or_default() {
        let all: Vec<&str> = Key::ALL.into_iter().map(Key::as_str).collect();
        let unknown = || Refusal::BadOption("unset", format!("{name:?} is not known; there are: {}", all.join(", ")));
        unset.insert(Key::of(name).ok_or_else(unknown)?);
    }
    Ok(Change { set, unset })
}

fn time_zone(name: &str) -> Result<jiff::tz::TimeZone, Refusal<'static>> {
    if name == "system" {
        return Ok(jiff::tz::TimeZone::system());
    }
    jiff::tz::TimeZone::get(name).map_err(|_| {
        let what = "is no time zone such as \"Europe/Berlin\", or \"system\" (tzdata must be installed)";
        Refusal::BadOption("time-zone", format!("{name:?} {what}"))
    })
}

/// Settings as they are shown: what is not said is absent.
pub(super) fn settings(settings: &Settings) -> Reply {
    let mut reply = Reply::new();
    let mut text = |key: Key, value: Option<String>| {
        if let Some(value) = value {
            reply.insert(key.as_str(), value.into());
        }
    };
    text(Key::User, settings.user.as_ref().map(ToString::to_string));
    text(Key::Pool, settings.pool.as_ref().map(ToString::to_string));
    text(Key::Attach, settings.attach.map(|attach| attach.to_string()));
    text(Key::Hours, settings.hours.as_ref().map(ToString::to_string));
    text(Key::Group, settings.group.as_ref().map(ToString::to_string));
    text(Key::Presence, settings.presence.map(|presence| presence.to_string()));
    text(Key::MissingGpu, settings.missing_gpu.map(|missing| missing.to_string()));
    text(Key::TimeZone, settings.time_zone.as_ref().map(|zone| zone.iana_name().unwrap_or("system").to_owned()));
    if let Some(profiles) = &settings.profiles {
        let names: Vec<String> = profiles.iter().map(ToString::to_string).collect();
        reply.insert(Key::Profiles.as_str(), names.into());
    }
    if let Some(priority) = settings.priority {
        reply.insert(Key::Priority.as_str(), priority.into());
    }
    if let Some(lead) = settings.lead {
        reply.insert("lead-seconds", seconds(lead).into());
    }
    if let Some(preallocate) = settings.preallocate {
        reply.insert(Key::Preallocate.as_str(), preallocate.into());
    }
    reply
}

/// A GPU that could be given to headstart.
pub(super) fn candidate(candidate: &Candidate) -> Reply {
    Reply::from([
        ("address", candidate.id.to_string().into()),
        ("name", candidate.name.clone().into()),
        ("driver", candidate.driver.clone().unwrap_or_default().into()),
        ("interface", super::properties::text(candidate.interface.as_ref()).into()),
        ("vfs", u32::from(candidate.vfs).into()),
        ("owned", candidate.owned.into()),
        ("note", candidate.note.clone().unwrap_or_default().into()),
    ])
}

/// The answer to a request.
pub(super) fn answer(answer: &Answer) -> Reply {
    let mut reply = Reply::from([
        ("way", answer.way.to_string().into()),
        ("confidence", probability(answer.confidence).into()),
        ("profile", super::properties::text(answer.profile.as_ref()).into()),
        ("gpu", super::properties::text(answer.gpu.as_ref()).into()),
        ("reason", answer.reason.clone().into()),
    ]);
    if let Some(wait) = answer.wait {
        reply.insert("wait-seconds", seconds(wait).into());
    }
    reply
}

/// Refuses what is not known.
fn known(options: &Options, names: &[&str], shown: &'static str) -> Result<(), Refusal<'static>> {
    match options.keys().filter(|name| !names.contains(&name.as_str())).min() {
        Some(name) => Err(Refusal::UnknownOption(name.clone(), shown)),
        None => Ok(()),
    }
}

/// A text option.
fn string<'a>(options: &'a Options, name: &'static str) -> Result<Option<&'a str>, Refusal<'static>> {
    match options.get(name).map(|value| &**value) {
        None => Ok(None),
        Some(Variant::Str(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(wrong(name, "a string (s)", other)),
    }
}

/// An option that is one of some words.
fn word<T>(options: &Options, name: &'static str) -> Result<Option<T>, Refusal<'static>>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    let parsed = string(options, name)?.map(str::parse).transpose();
    parsed.map_err(|why: T::Err| Refusal::BadOption(name, why.to_string()))
}

/// An option that is a list of texts.
fn strings<'a>(options: &'a Options, name: &'static str) -> Result<Option<Vec<&'a str>>, Refusal<'static>> {
    let Some(value) = options.get(name).map(|value| &**value) else { return Ok(None) };
    let want = "a list of strings (as)";
    let Variant::Array(list) = value else { return Err(wrong(name, want, value)) };
    let text = |item: &'a Variant<'a>| match item {
        Variant::Str(text) => Ok(text.as_str()),
        _ => Err(wrong(name, want, value)),
    };
    list.iter().map(text).collect::<Result<_, _>>().map(Some)
}

/// A value of another kind than it must be.
fn wrong(name: &'static str, want: &str, got: &Variant<'_>) -> Refusal<'static> {
    Refusal::BadOption(name, format!("it must be {want}, not of type {}", got.value_signature()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_can_be_set_and_is_shown() {
        let full = Settings {
            user: "ada".parse().ok(),
            pool: None,
            profiles: Some(vec!["A40-4Q".parse().unwrap()]),
            attach: "live".parse().ok(),
            priority: Some(3),
            time_zone: jiff::tz::TimeZone::get("Europe/Berlin").ok(),
            lead: Some(headstart_core::unit::Span::seconds(90)),
            preallocate: Some(false),
            missing_gpu: "block".parse().ok(),
            presence: "broker".parse().ok(),
            hours: "Mon 08:00-17:00".parse().ok(),
            group: "design".parse().ok(),
        };
        let options = |settings: &Settings| -> Options {
            let shown = super::settings(settings).into_iter();
            shown.map(|(name, value)| (name.to_owned(), value.try_into().unwrap())).collect()
        };
        assert_eq!(options(&full).len(), Key::ALL.len() - 1, "all but the pool");
        assert_eq!(change(&options(&full)).unwrap().set, full);
        let pool = Settings { pool: "lab".parse().ok(), ..Settings::default() };
        assert_eq!(change(&options(&pool)).unwrap().set, pool);
    }
}
