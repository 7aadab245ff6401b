//! The metadata that makes a domain a desktop: `<headstart:desktop>` with its settings as attributes and its profiles inside.
//!
//! ```sh
//! virsh metadata DOM https://headstart.dev/xmlns/desktop/1 --config --key headstart --set '<desktop profile="A40-4Q"/>'
//! ```
//!
//! A tenant may be able to write it, so it is read with suspicion: a mistake is told and never stops anything else. A desktop with a
//! mistake stays a desktop, so that the device it has is still taken back, but nothing is done ahead for it until it is corrected:
//! what was meant is not known. Deliberately not here: name patterns, and what the settings mean (`headstart_core::desktop`).

use std::fmt::Write as _;
use std::str::FromStr;

use headstart_core::desktop::{MissingGpu, Settings};
use headstart_core::id::{PoolName, ProfileName, UserName};
use headstart_core::presence::Presence;
use roxmltree::{Document, Node};

use crate::config::duration::{parse_span, write_span};
use crate::config::{LONGEST_LEAD, Zone, suggest};

/// The namespace of the element; its last number changes with its meaning.
pub const NAMESPACE: &str = "https://headstart.dev/xmlns/desktop/1";
/// The prefix that `virsh metadata --key` is given.
pub const KEY: &str = "headstart";
/// All namespaces of ours, of any version.
const FAMILY: [&str; 2] = ["https://headstart.dev/", "http://headstart.dev/"];
/// Longest element that is read: a hundred times what a desktop with ten profiles needs.
const LONGEST: usize = 64 << 10;
/// Most profiles of one desktop.
const MOST_PROFILES: usize = 64;
/// Mistakes that are told of one desktop; who makes more sees the rest when these are corrected.
const MOST_MISTAKES: usize = 10;
/// The attributes that are understood.
const ATTRIBUTES: [&str; 12] = [
    "attach",
    "group",
    "hours",
    "lead-time",
    "missing-gpu",
    "pool",
    "preallocate",
    "presence",
    "priority",
    "profile",
    "time-zone",
    "user",
];

/// What a domain's metadata says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DesktopXml {
    /// Its settings; none if it is no desktop.
    pub settings: Option<Settings>,
    /// What is wrong with it, each a sentence that says where and what is allowed.
    pub mistakes: Vec<String>,
}

/// Reads the element by itself, as `virsh metadata DOM URI` prints it, or as an administrator writes it, without a namespace.
pub fn parse(text: &str) -> DesktopXml {
    if text.len() > LONGEST {
        return DesktopXml { settings: None, mistakes: vec![too_long(text.len())] };
    }
    match Document::parse(text) {
        Ok(document) => {
            let element = document.root_element();
            if element.tag_name().name() == "desktop"
                && matches!(element.tag_name().namespace(), None | Some(NAMESPACE))
            {
                read_element(element)
            } else {
                let what = format!("<{}> is not <desktop> of the namespace {NAMESPACE}", element.tag_name().name());
                DesktopXml { settings: None, mistakes: vec![what] }
            }
        }
        Err(error) => DesktopXml { settings: None, mistakes: vec![format!("it is no XML that is accepted: {error}")] },
    }
}

/// Reads a domain's `<metadata>`. What others keep there is theirs.
pub(super) fn read(metadata: Node) -> DesktopXml {
    let mut found = DesktopXml::default();
    let mut first = true;
    for element in metadata.children().filter(Node::is_element) {
        let (name, namespace) = (element.tag_name().name(), element.tag_name().namespace().unwrap_or_default());
        if namespace != NAMESPACE {
            if FAMILY.iter().any(|family| namespace.starts_with(family)) {
                let what = format!(
                    "metadata <{}> is of the namespace {}, which this version does not know: use {NAMESPACE}",
                    short(name),
                    short(namespace)
                );
                found.mistakes.push(what);
            }
            continue;
        }
        if name != "desktop" || !first {
            let what = format!("metadata <{KEY}:{}> is not read: one <{KEY}:desktop> is expected", short(name));
            found.mistakes.push(what);
            continue;
        }
        first = false;
        let DesktopXml { settings, mistakes } = read_element(element);
        found.settings = settings;
        found.mistakes.extend(mistakes);
    }
    found.careful()
}

fn read_element(element: Node) -> DesktopXml {
    let length = element.range().len();
    let mut reader = Reader { element, mistakes: Vec::new() };
    let settings = if length > LONGEST {
        reader.mistakes.push(too_long(length));
        Settings::default()
    } else {
        reader.settings()
    };
    DesktopXml { settings: Some(settings), mistakes: reader.mistakes }.careful()
}

impl DesktopXml {
    /// With a mistake, nothing is done ahead.
    fn careful(mut self) -> Self {
        self.mistakes.truncate(MOST_MISTAKES);
        if let Some(settings) = self.settings.as_mut().filter(|_| !self.mistakes.is_empty()) {
            settings.preallocate = Some(false);
        }
        self
    }
}

fn too_long(length: usize) -> String {
    format!("<{KEY}:desktop> is {length} bytes long and is not read: at most {LONGEST} are allowed")
}

struct Reader<'a, 'i> {
    element: Node<'a, 'i>,
    mistakes: Vec<String>,
}

impl Reader<'_, '_> {
    fn settings(&mut self) -> Settings {
        for attribute in self.element.attributes() {
            let name = attribute.name();
            if attribute.namespace().is_none() && !ATTRIBUTES.contains(&name) {
                let near = suggest(name, ATTRIBUTES.into_iter());
                self.mistakes.push(format!("<{KEY}:desktop> has the unknown attribute {:?}{near}", short(name)));
            }
        }
        let user: Option<UserName> = self.name("user");
        let mut pool: Option<PoolName> = self.name("pool");
        if user.is_some() && pool.is_some() {
            pool = None;
            self.mistakes
                .push("a desktop belongs to a user or to a pool, not to both: leave one attribute out".to_owned());
        }
        let words = |yes, no| format!("{yes:?} or {no:?}");
        Settings {
            user,
            pool,
            profiles: self.profiles(),
            attach: self.attribute("attach", "\"cold\", \"live\" or \"request\"", |text| text.parse().ok()),
            priority: self.attribute("priority", "a whole number from -1000 to 1000", |text| {
                text.parse().ok().filter(|n| (-1000..=1000).contains(n))
            }),
            time_zone: self.attribute(
                "time-zone",
                "a time zone such as \"Europe/Berlin\", or \"system\" (tzdata must be installed)",
                |text| Zone::new(text).ok().map(|zone| zone.rules().clone()),
            ),
            lead: self.attribute(
                "lead-time",
                "a length of time from \"0 s\" to \"2 h\", such as \"1 h 30 min\"",
                |text| parse_span(text).filter(|span| *span <= LONGEST_LEAD),
            ),
            preallocate: self.attribute("preallocate", &words("yes", "no"), |text| match text {
                "yes" => Some(true),
                "no" => Some(false),
                _ => None,
            }),
            missing_gpu: self.attribute("missing-gpu", &words("start", "block"), |text| match text {
                "start" => Some(MissingGpu::Start),
                "block" => Some(MissingGpu::Block),
                _ => None,
            }),
            presence: self.attribute("presence", "\"agent\", \"screen\" or \"broker\"", |text| match text {
                "agent" => Some(Presence::Agent),
                "screen" => Some(Presence::Screen),
                "broker" => Some(Presence::Broker),
                _ => None,
            }),
            group: self.name("group"),
            hours: self.attribute(
                "hours",
                "weekdays and times such as \"Mon-Fri 08:00-17:00, Sat 09:00-12:00\"",
                |text| text.parse().ok(),
            ),
        }
    }

    /// `profile="…"` for one, `<profile>…</profile>` for several in the order of wish.
    fn profiles(&mut self) -> Option<Vec<ProfileName>> {
        let mut profiles: Vec<ProfileName> = self.name("profile").into_iter().collect();
        let both = !profiles.is_empty();
        let mut children = false;
        for child in self.element.children().filter(Node::is_element) {
            // virsh puts no namespace on what stands inside.
            let ours = matches!(child.tag_name().namespace(), None | Some(NAMESPACE));
            if !ours || child.tag_name().name() != "profile" {
                let name = short(child.tag_name().name());
                self.mistakes
                    .push(format!("<{KEY}:desktop> holds the unknown element <{name}>: only <profile> is allowed"));
                continue;
            }
            children = true;
            let text = child.text().unwrap_or_default().trim();
            if child.children().any(|inside| inside.is_element()) {
                self.mistakes.push("<profile> holds an element: only the name of a profile is allowed".to_owned());
                continue;
            }
            match ProfileName::new(text) {
                Ok(profile) if !profiles.contains(&profile) => profiles.push(profile),
                Ok(_) => {}
                Err(error) => self.mistakes.push(format!("<profile>: {error}")),
            }
        }
        if both && children {
            self.mistakes.push("the attribute profile and <profile> say the same thing: leave one out".to_owned());
        }
        if profiles.len() > MOST_PROFILES {
            self.mistakes.push(format!("{} profiles are named: at most {MOST_PROFILES} are allowed", profiles.len()));
            profiles.truncate(MOST_PROFILES);
        }
        Some(profiles).filter(|profiles| !profiles.is_empty())
    }

    /// A core name; its own rule is the refusal.
    fn name<T: FromStr<Err = headstart_core::id::BadId>>(&mut self, name: &str) -> Option<T> {
        let text = self.element.attribute(name)?;
        match text.parse() {
            Ok(value) => Some(value),
            Err(error) => {
                self.mistakes.push(format!("attribute {name}: {error}"));
                None
            }
        }
    }

    fn attribute<T>(&mut self, name: &str, allowed: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        let text = self.element.attribute(name)?;
        let value = parse(text);
        if value.is_none() {
            self.mistakes.push(format!("attribute {name}: expected {allowed}, found {:?}", short(text)));
        }
        value
    }
}

/// Enough of somebody else's text to recognise it.
fn short(text: &str) -> String {
    text.chars().take(80).collect()
}

/// The element that says these settings, as `virsh metadata --set` takes it: libvirt adds the namespace. It reads back as the same.
pub fn write(settings: &Settings) -> String {
    let mut out = String::from("<desktop");
    let mut put = |name: &str, value: Option<String>| {
        if let Some(value) = value {
            write!(out, " {name}=\"{}\"", escaped(&value)).expect("writing to a String cannot fail");
        }
    };
    put("attach", settings.attach.map(|attach| attach.to_string()));
    put("user", settings.user.as_ref().map(ToString::to_string));
    put("pool", settings.pool.as_ref().map(ToString::to_string));
    put("priority", settings.priority.map(|priority| priority.to_string()));
    put("time-zone", settings.time_zone.as_ref().map(|zone| zone.iana_name().unwrap_or("system").to_owned()));
    put("lead-time", settings.lead.map(write_span));
    put("preallocate", settings.preallocate.map(|ahead| if ahead { "yes" } else { "no" }.to_owned()));
    put("presence", settings.presence.map(|presence| presence.to_string()));
    put("group", settings.group.as_ref().map(ToString::to_string));
    put("hours", settings.hours.as_ref().map(ToString::to_string));
    put("missing-gpu", settings.missing_gpu.map(|missing_gpu| missing_gpu.to_string()));
    match settings.profiles.as_deref() {
        None | Some([]) => out.push_str("/>"),
        Some(profiles) => {
            out.push('>');
            for profile in profiles {
                write!(out, "<profile>{}</profile>", escaped(profile.as_str()))
                    .expect("writing to a String cannot fail");
            }
            out.push_str("</desktop>");
        }
    }
    out
}

/// Text as XML holds it, in attributes and elsewhere.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests;
