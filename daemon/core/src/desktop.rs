//! A desktop: a domain that headstart manages, with its settings resolved.
//!
//! Settings come from the domain's metadata and from name patterns in the configuration; the metadata, nearer to the
//! desktop, wins. Not here: parsing either of them.

use std::fmt;
use std::str::FromStr;

use jiff::tz::TimeZone;

use crate::id::{DesktopName, DomainUuid, PoolName, ProfileName, Subject, UserName};
use crate::observed::Domain;
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
        }
    }
}

/// Settings for all desktops whose name matches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// `*` stands for any text, `?` for one character.
    pub pattern: String,
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
}

/// Why a domain that opted in cannot be managed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadDesktop {
    /// It names no profile.
    #[error("no profile is set: name one in its metadata or in a [[desktop]] rule of the configuration")]
    NoProfile,
}

/// The desktop that a domain is, or none if neither its metadata nor a rule says that it is one. Later rules win over earlier ones.
///
/// # Errors
/// It opted in, but what it says is not enough.
pub fn resolve(domain: &Domain, rules: &[Rule], default_zone: &TimeZone) -> Result<Option<Desktop>, BadDesktop> {
    let mut settings = domain.settings.clone();
    for rule in rules.iter().rev().filter(|rule| matches(&rule.pattern, domain.name.as_str())) {
        settings = Some(settings.unwrap_or_default().or(&rule.settings));
    }
    let Some(settings) = settings else { return Ok(None) };
    let profiles = settings.profiles.filter(|profiles| !profiles.is_empty()).ok_or(BadDesktop::NoProfile)?;
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
    }))
}

/// Whether `text` matches `pattern`, in which `*` stands for any text and `?` for one character. Linear in practice: on a
/// mismatch only the last star is retried.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (p, t): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut i, mut j) = (0, 0);
    let mut star = None;
    while j < t.len() {
        match p.get(i) {
            Some('*') => {
                star = Some((i, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == t[j] => {
                i += 1;
                j += 1;
            }
            _ => match star {
                Some((at, from)) => {
                    star = Some((at, from + 1));
                    i = at + 1;
                    j = from + 1;
                }
                None => return false,
            },
        }
    }
    p[i..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::{Login, Power};

    #[test]
    fn patterns() {
        for (pattern, text, want) in [
            ("vm*", "vm001", true),
            ("vm00?", "vm001", true),
            ("*-win-*", "x-win-y", true),
            ("*a*b", "aab", true),
            ("vm", "vm1", false),
            ("", "", true),
            ("?", "", false),
        ] {
            assert_eq!(matches(pattern, text), want, "{pattern} {text}");
        }
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
            settings: None,
        };
        let zone = TimeZone::UTC;
        assert_eq!(resolve(&domain, &[], &zone), Ok(None));
        let rules = [
            Rule { pattern: "vm*".into(), settings: settings(Some(1), "A") },
            Rule { pattern: "vm1".into(), settings: settings(None, "B") },
        ];
        let desktop = resolve(&domain, &rules, &zone).unwrap().unwrap();
        assert_eq!((desktop.priority, desktop.profiles[0].as_str()), (1, "B"));
        domain.settings = Some(settings(Some(7), "C"));
        let desktop = resolve(&domain, &rules, &zone).unwrap().unwrap();
        assert_eq!((desktop.priority, desktop.profiles[0].as_str()), (7, "C"));
        domain.settings = Some(Settings::default());
        assert_eq!(resolve(&domain, &[], &zone), Err(BadDesktop::NoProfile));
    }
}
