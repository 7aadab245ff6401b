//! A desktop: a domain that headstart manages, with its settings resolved.
//!
//! Settings come from the domain's metadata and from name patterns in the configuration; the metadata, nearer to the
//! desktop, wins. Not here: parsing either of them.

mod change;
mod hours;

use std::fmt;
use std::str::FromStr;

pub use change::{BadChange, Change, Key, LONGEST_LEAD, PRIORITIES};
pub use hours::{BadHours, Hours};

use jiff::tz::TimeZone;

use crate::id::{DesktopName, DomainUuid, GroupName, PoolName, ProfileName, Subject, UserName};
use crate::observed::Domain;
use crate::presence::Presence;
use crate::unit::Span;

/// When and how a desktop gets its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AttachMode {
    /// Into the definition while it is off; then it is started.
    #[default]
    Cold,
    /// Hot-plugged into the running desktop.
    Live,
    /// Nothing ahead; only when asked.
    Request,
}

impl fmt::Display for AttachMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AttachMode::Cold => "cold",
            AttachMode::Live => "live",
            AttachMode::Request => "request",
        })
    }
}

/// Neither of the two words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("missing-gpu {0:?} is not known: use start or block")]
pub struct BadMissingGpu(String);

impl FromStr for MissingGpu {
    type Err = BadMissingGpu;
    fn from_str(text: &str) -> Result<Self, BadMissingGpu> {
        match text {
            "start" => Ok(Self::Start),
            "block" => Ok(Self::Block),
            _ => Err(BadMissingGpu(text.to_owned())),
        }
    }
}

/// Not an attach mode.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("attach mode {0:?} is not known: use cold, live or request")]
pub struct BadAttachMode(String);

impl FromStr for AttachMode {
    type Err = BadAttachMode;
    fn from_str(text: &str) -> Result<Self, BadAttachMode> {
        match text {
            "cold" => Ok(Self::Cold),
            "live" => Ok(Self::Live),
            "request" => Ok(Self::Request),
            _ => Err(BadAttachMode(text.to_owned())),
        }
    }
}

/// What becomes of a start when the GPU that the desktop's definition names cannot be had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissingGpu {
    /// The start is not refused; whether it succeeds is libvirt's affair.
    #[default]
    Start,
    /// The hook refuses the start, with the reason.
    Block,
}

impl fmt::Display for MissingGpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            MissingGpu::Start => "start",
            MissingGpu::Block => "block",
        })
    }
}

/// What one source says about a desktop; what it leaves out, another may say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// Dedicated to this user.
    pub user: Option<UserName>,
    /// One of a pool.
    pub pool: Option<PoolName>,
    /// Profiles in the order of wish.
    pub profiles: Option<Vec<ProfileName>>,
    /// When and how it gets its device.
    pub attach: Option<AttachMode>,
    /// Higher goes first.
    pub priority: Option<i32>,
    /// Wall clock of its user.
    pub time_zone: Option<TimeZone>,
    /// A fixed lead time instead of the learned one.
    pub lead: Option<Span>,
    /// Whether anything may be done ahead.
    pub preallocate: Option<bool>,
    /// Whether a missing GPU blocks its start.
    pub missing_gpu: Option<MissingGpu>,
    /// Whose silence means that nobody is there.
    pub presence: Option<Presence>,
    /// When its user is to be expected.
    pub hours: Option<Hours>,
    /// Department or role of its user: people who come and go alike.
    pub group: Option<GroupName>,
}

impl Settings {
    /// These settings, and where they are silent, `other`'s.
    #[must_use]
    pub fn or(self, other: &Settings) -> Settings {
        // A pool and a user exclude each other, so the nearer source decides about both.
        let (user, pool) = if self.user.is_some() || self.pool.is_some() {
            (self.user, self.pool)
        } else {
            (other.user.clone(), other.pool.clone())
        };
        Settings {
            user,
            pool,
            profiles: self.profiles.or_else(|| other.profiles.clone()),
            attach: self.attach.or(other.attach),
            priority: self.priority.or(other.priority),
            time_zone: self.time_zone.or_else(|| other.time_zone.clone()),
            lead: self.lead.or(other.lead),
            preallocate: self.preallocate.or(other.preallocate),
            missing_gpu: self.missing_gpu.or(other.missing_gpu),
            presence: self.presence.or(other.presence),
            hours: self.hours.or_else(|| other.hours.clone()),
            group: self.group.or_else(|| other.group.clone()),
        }
    }
}

/// A pattern over desktop names: `*` is any text, `?` any one character, everything else itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern(String);

impl NamePattern {
    /// The pattern with this text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Whether the whole name fits.
    pub fn matches(&self, name: &DesktopName) -> bool {
        let pattern: Vec<char> = self.0.chars().collect();
        let name: Vec<char> = name.as_str().chars().collect();
        let (mut p, mut n) = (0, 0);
        // Where to go on if the last star took one character too few; each star is tried anew only from its own place,
        // so the time is at most the product of the lengths.
        let mut retry: Option<(usize, usize)> = None;
        while n < name.len() {
            match pattern.get(p) {
                Some('*') => {
                    retry = Some((p, n));
                    p += 1;
                }
                Some(c) if *c == '?' || *c == name[n] => {
                    p += 1;
                    n += 1;
                }
                _ => {
                    let Some((star, taken)) = retry else { return false };
                    retry = Some((star, taken + 1));
                    p = star + 1;
                    n = taken + 1;
                }
            }
        }
        pattern[p..].iter().all(|c| *c == '*')
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Settings for all desktops whose name matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Which desktops.
    pub pattern: NamePattern,
    /// What it says.
    pub settings: Settings,
}

/// A domain that headstart manages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Desktop {
    /// Its identity.
    pub uuid: DomainUuid,
    /// Its name.
    pub name: DesktopName,
    /// Whose logins are forecast.
    pub subject: Subject,
    /// The dedicated user, if named.
    pub user: Option<UserName>,
    /// When and how it gets its device.
    pub attach: AttachMode,
    /// Higher goes first.
    pub priority: i32,
    /// Profiles in the order of wish; never empty.
    pub profiles: Vec<ProfileName>,
    /// Wall clock of its user.
    pub time_zone: TimeZone,
    /// A fixed lead time instead of the learned one.
    pub lead: Option<Span>,
    /// Whether anything may be done ahead.
    pub preallocate: bool,
    /// Whether a missing GPU blocks its start.
    pub missing_gpu: MissingGpu,
    /// Whose silence means that nobody is there.
    pub presence: Presence,
    /// When its user is to be expected, if that was declared.
    pub hours: Option<Hours>,
    /// Department or role of its user, if that was declared; none at a pool.
    pub group: Option<GroupName>,
}

/// Why a domain that opted in cannot be managed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDesktop {
    /// It names no profile.
    #[error("no profile is set: name one in its metadata or in a [[desktop]] rule of the configuration")]
    NoProfile,
}

/// What its metadata and the rules say of a domain together; none if it does not opt in. Later rules win over earlier ones.
pub fn settings(domain: &Domain, rules: &[Rule]) -> Option<Settings> {
    let mut settings = domain.settings.clone();
    for rule in rules.iter().rev().filter(|rule| rule.pattern.matches(&domain.name)) {
        settings = Some(settings.unwrap_or_default().or(&rule.settings));
    }
    settings
}

/// The desktop that a domain is, or none if neither its metadata nor a rule says that it is one.
///
/// # Errors
/// It opted in, but what it says is not enough.
pub fn resolve(domain: &Domain, rules: &[Rule], default_zone: &TimeZone) -> Result<Option<Desktop>, BadDesktop> {
    let Some(settings) = settings(domain, rules) else { return Ok(None) };
    let profiles = settings.profiles.filter(|profiles| !profiles.is_empty()).ok_or(BadDesktop::NoProfile)?;
    // Whoever comes to a pool is one group already.
    let dedicated = settings.pool.is_none();
    let subject = match settings.pool {
        Some(pool) => Subject::Pool(pool),
        None => Subject::Desktop(domain.name.clone()),
    };
    Ok(Some(Desktop {
        uuid: domain.uuid,
        name: domain.name.clone(),
        subject,
        user: settings.user,
        attach: settings.attach.unwrap_or_default(),
        priority: settings.priority.unwrap_or(0),
        profiles,
        time_zone: settings.time_zone.unwrap_or_else(|| default_zone.clone()),
        lead: settings.lead,
        preallocate: settings.preallocate.unwrap_or(true),
        missing_gpu: settings.missing_gpu.unwrap_or_default(),
        presence: settings.presence.unwrap_or_default(),
        hours: settings.hours,
        group: settings.group.filter(|_| dedicated),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Login, Power};

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*", "a", true),
            ("vm*", "vm001", true),
            ("vm*", "vm", true),
            ("vm00?", "vm001", true),
            ("*-win-*", "x-win-y", true),
            ("*a*b", "aab", true),
            ("a*b*c", "aXbYbZc", true),
            ("ä?", "äö", true),
            ("vm", "vm1", false),
            ("v?m", "vm", false),
            ("", "a", false),
            ("?", "ab", false),
        ] {
            assert_eq!(NamePattern::new(pattern).matches(&name.parse().unwrap()), want, "{pattern} {name}");
        }
    }

    #[test]
    fn many_stars_do_not_take_for_ever() {
        let pattern = NamePattern::new("*a".repeat(60) + "b");
        assert!(!pattern.matches(&"a".repeat(255).parse().unwrap()));
    }

    #[test]
    fn metadata_wins_over_later_rules_over_earlier_rules() {
        let settings = |priority, profile: &str| Settings {
            priority,
            profiles: Some(vec![profile.parse().unwrap()]),
            ..Settings::default()
        };
        let mut domain = Domain {
            uuid: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            name: "vm1".parse().unwrap(),
            power: Power::Off,
            hostdevs: Vec::new(),
            login: Login::None,
            screen: Login::None,
            settings: None,
        };
        let zone = TimeZone::UTC;
        assert_eq!(resolve(&domain, &[], &zone), Ok(None));
        let rules = [
            Rule { pattern: NamePattern::new("vm*"), settings: settings(Some(1), "A") },
            Rule { pattern: NamePattern::new("vm1"), settings: settings(None, "B") },
        ];
        let desktop = resolve(&domain, &rules, &zone).unwrap().unwrap();
        assert_eq!((desktop.priority, desktop.profiles[0].as_str()), (1, "B"));
        assert_eq!(
            desktop.missing_gpu,
            MissingGpu::Start,
            "nobody is kept out of his desktop unless somebody wants it"
        );
        domain.settings = Some(settings(Some(7), "C"));
        let desktop = resolve(&domain, &rules, &zone).unwrap().unwrap();
        assert_eq!((desktop.priority, desktop.profiles[0].as_str()), (7, "C"));
        let pooled = Rule {
            pattern: NamePattern::new("*"),
            settings: Settings { pool: Some("p".parse().unwrap()), ..settings(None, "A") },
        };
        let owned = Rule {
            pattern: NamePattern::new("vm1"),
            settings: Settings { user: Some("ada".parse().unwrap()), ..Settings::default() },
        };
        let desktop = resolve(&domain, &[pooled, owned], &zone).unwrap().unwrap();
        assert_eq!(desktop.subject, Subject::Desktop(domain.name.clone()), "a later user replaces an earlier pool");
        domain.settings = Some(Settings::default());
        assert_eq!(resolve(&domain, &[], &zone), Err(BadDesktop::NoProfile));
    }
}
