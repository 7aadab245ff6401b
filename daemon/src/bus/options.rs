//! The `a{sv}` of calls: strict on the way in, sorted on the way out.

use std::collections::{BTreeMap, HashMap};

use headstart_core::id::{ProfileName, UserName};
use headstart_core::request::{Answer, Wish};
use headstart_core::unit::Time;
use zbus::wire::{OwnedVariant, Variant};

use super::error::Refusal;
use super::port::Format;
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

/// A value of another kind than it must be.
fn wrong(name: &'static str, want: &str, got: &Variant<'_>) -> Refusal<'static> {
    Refusal::BadOption(name, format!("it must be {want}, not of type {}", got.value_signature()))
}
