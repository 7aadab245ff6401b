//! `headstart desktop show` and `set`: what a domain's metadata says of it as a desktop, and changes of it. The daemon reads and writes it.

use std::collections::{BTreeMap, HashMap};

use anyhow::{Context, bail};
use headstart_core::unit::Span;
use serde::Serialize;
use zbus::wire::{OwnedVariant, Variant};

use crate::client::{CallError, Client};
use crate::screen::{Screen, Tone, cell, lines_of};

/// The settings, as the configuration spells them, in the order in which they are shown.
const KEYS: [&str; 12] = [
    "user",
    "pool",
    "profiles",
    "attach",
    "priority",
    "time-zone",
    "lead",
    "preallocate",
    "missing-gpu",
    "presence",
    "hours",
    "group",
];

/// What a domain says of itself as a desktop.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Show what its metadata says, and what holds with the configuration
    Show {
        /// Name of the libvirt domain
        desktop: String,
    },
    /// Change what its metadata says; a domain that was no desktop becomes one
    #[command(
        after_help = "Settings: user, pool, profiles (in order of wish, separated by commas), attach (cold, live, request), priority, \
                            time-zone, lead (such as 90s or 2min), preallocate (true, false), missing-gpu (start, block), \
                            presence (agent, screen, broker), hours (\"Mon-Fri 08:00-17:00\"), group (department or role). \
                            Nothing after the = takes a setting back."
    )]
    Set {
        /// Name of the libvirt domain
        desktop: String,
        /// What to set, such as profiles=A40-8Q,A40-4Q
        #[arg(required = true, value_name = "KEY=VALUE")]
        settings: Vec<String>,
    },
}

/// Both columns; a setting that nobody says is null.
#[derive(Debug, Serialize)]
struct Shown {
    desktop: String,
    managed: bool,
    metadata: BTreeMap<&'static str, Option<String>>,
    effective: BTreeMap<&'static str, Option<String>>,
}

impl Arguments {
    /// Shows or sets.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        match &self.what {
            What::Show { desktop } => show(client, screen, desktop).await,
            What::Set { desktop, settings } => {
                let body = (desktop, change(settings)?);
                let now: HashMap<String, OwnedVariant> = client.call("SetDesktop", &body).await?;
                let metadata = texts(now)?;
                if screen.json {
                    return screen.put_json(&serde_json::json!({ "desktop": desktop, "metadata": metadata }));
                }
                let said: Vec<String> = KEYS
                    .iter()
                    .filter_map(|key| metadata[key].as_ref().map(|value| format!("{key}={value}")))
                    .collect();
                let said = if said.is_empty() { "nothing but that it is a desktop".to_owned() } else { said.join(" ") };
                screen.put(&format!("{desktop}: its metadata says now: {said}\n"))
            }
        }
    }
}

/// Puts both columns on the screen.
async fn show(client: &Client, screen: &Screen, desktop: &str) -> anyhow::Result<()> {
    type Settings = HashMap<String, OwnedVariant>;
    let (own, effective): (Settings, Settings) = client.call("DesktopSettings", &desktop).await?;
    let managed = !effective.is_empty();
    let shown = Shown { desktop: desktop.to_owned(), managed, metadata: texts(own)?, effective: texts(effective)? };
    if screen.json {
        return screen.put_json(&shown);
    }
    if !managed {
        let what = if shown.metadata.values().any(Option::is_some) {
            "its metadata opts in, but it is not managed yet: is a profile set?"
        } else {
            "it is no desktop; `headstart desktop set` makes it one"
        };
        return screen.put(&format!("{desktop}: {what}\n"));
    }
    let mut table = screen.table(&["Setting", "Value", "From"]);
    for key in KEYS {
        let Some(value) = &shown.effective[key] else { continue };
        let own = shown.metadata[key].as_ref() == Some(value);
        let (tone, from) = if own { (None, "metadata") } else { (Some(Tone::Faint), "configuration or default") };
        table.add_row(vec![cell(None, key), cell(None, value), cell(tone, from)]);
    }
    screen.put(&format!("{desktop}\n{}", lines_of(&table)))
}

/// What the daemon says, as it is typed.
fn texts(mut settings: HashMap<String, OwnedVariant>) -> Result<BTreeMap<&'static str, Option<String>>, CallError> {
    let strange = |key: &str| CallError::Strange(zbus::Error::Failure(format!("{key} is of another type")));
    KEYS.into_iter()
        .map(|key| {
            let value = settings.remove(if key == "lead" { "lead-seconds" } else { key });
            let text = match value.as_deref() {
                None => None,
                Some(Variant::Str(text)) => Some(text.to_string()),
                Some(Variant::I32(n)) => Some(n.to_string()),
                Some(Variant::U32(n)) => Some(Span::seconds(i64::from(*n)).to_string()),
                Some(Variant::Bool(yes)) => Some(yes.to_string()),
                Some(Variant::Array(list)) => {
                    let names = list.iter().map(|name| match name {
                        Variant::Str(name) => Ok(name.to_string()),
                        _ => Err(strange(key)),
                    });
                    Some(names.collect::<Result<Vec<_>, _>>()?.join(","))
                }
                Some(_) => return Err(strange(key)),
            };
            Ok((key, text))
        })
        .collect()
}

/// `KEY=VALUE` each, in the types of `SetDesktop`. What a value may be, the daemon says.
fn change(settings: &[String]) -> anyhow::Result<HashMap<&'static str, Variant<'static>>> {
    let mut change: HashMap<&'static str, Variant<'static>> = HashMap::new();
    let mut unset = Vec::new();
    for setting in settings {
        let (name, value) =
            setting.split_once('=').with_context(|| format!("{setting:?} is not of the form KEY=VALUE"))?;
        let name = if name == "profile" { "profiles" } else { name };
        let key = KEYS.into_iter().find(|key| *key == name);
        let Some(key) = key else { bail!("there is no setting {name:?}; there are: {}", KEYS.join(", ")) };
        let value = value.trim().to_owned();
        if value.is_empty() {
            unset.push(key);
            continue;
        }
        let expected = |what: &str| format!("{key}: expected {what}, found {value:?}");
        let (key, value): (&str, Variant<'static>) = match key {
            "profiles" => (key, value.split(',').map(|name| name.trim().to_owned()).collect::<Vec<_>>().into()),
            "priority" => (key, value.parse::<i32>().with_context(|| expected("a whole number"))?.into()),
            "preallocate" => (key, value.parse::<bool>().with_context(|| expected("true or false"))?.into()),
            "lead" => (
                "lead-seconds",
                seconds(&value).with_context(|| expected("a length of time such as 90s or 2min"))?.into(),
            ),
            _ => (key, value.into()),
        };
        if change.insert(key, value).is_some() {
            bail!("{key} is set twice");
        }
    }
    if let Some(twice) = unset.iter().find(|key| change.contains_key(*key)) {
        bail!("{twice} is set and taken back");
    }
    if !unset.is_empty() {
        change.insert("unset", unset.into_iter().map(str::to_owned).collect::<Vec<_>>().into());
    }
    Ok(change)
}

/// Whole seconds of a length of time.
fn seconds(text: &str) -> Option<u32> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    u32::try_from(span.as_secs()).ok()
}
