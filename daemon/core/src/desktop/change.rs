//! A change of what a domain's metadata says of itself as a desktop.

use std::collections::BTreeSet;
use std::fmt;

use super::Settings;
use crate::unit::Span;

/// Priorities, in the configuration, in metadata and in changes.
pub const PRIORITIES: std::ops::RangeInclusive<i32> = -1000..=1000;
/// A lead time longer than this is a mistake: no desktop boots for hours.
pub const LONGEST_LEAD: Span = Span::hours(2);

/// A setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "as in `Settings`")]
pub enum Key {
    User,
    Pool,
    Profiles,
    Attach,
    Priority,
    TimeZone,
    Lead,
    Preallocate,
    MissingGpu,
    Presence,
    Hours,
    Group,
}

impl Key {
    /// All of them.
    pub const ALL: [Key; 12] = [
        Key::User,
        Key::Pool,
        Key::Profiles,
        Key::Attach,
        Key::Priority,
        Key::TimeZone,
        Key::Lead,
        Key::Preallocate,
        Key::MissingGpu,
        Key::Presence,
        Key::Hours,
        Key::Group,
    ];

    /// As the configuration spells it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Key::User => "user",
            Key::Pool => "pool",
            Key::Profiles => "profiles",
            Key::Attach => "attach",
            Key::Priority => "priority",
            Key::TimeZone => "time-zone",
            Key::Lead => "lead",
            Key::Preallocate => "preallocate",
            Key::MissingGpu => "missing-gpu",
            Key::Presence => "presence",
            Key::Hours => "hours",
            Key::Group => "group",
        }
    }

    /// The setting of this name.
    pub fn of(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|key| key.as_str() == name)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What is set anew and what is taken back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// What it sets.
    pub set: Settings,
    /// What it takes back; the configuration or the default decides then.
    pub unset: BTreeSet<Key>,
}

/// A change that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChange {
    /// Both at once.
    #[error("a desktop belongs to a user or to a pool, not to both")]
    UserAndPool,
}

impl Change {
    /// The settings as they are after this change. A user takes the place of a pool, and a pool that of a user.
    ///
    /// # Errors
    /// It sets what excludes each other.
    pub fn apply(self, mut settings: Settings) -> Result<Settings, BadChange> {
        if self.set.user.is_some() && self.set.pool.is_some() {
            return Err(BadChange::UserAndPool);
        }
        for key in self.unset {
            match key {
                Key::User => settings.user = None,
                Key::Pool => settings.pool = None,
                Key::Profiles => settings.profiles = None,
                Key::Attach => settings.attach = None,
                Key::Priority => settings.priority = None,
                Key::TimeZone => settings.time_zone = None,
                Key::Lead => settings.lead = None,
                Key::Preallocate => settings.preallocate = None,
                Key::MissingGpu => settings.missing_gpu = None,
                Key::Presence => settings.presence = None,
                Key::Hours => settings.hours = None,
                Key::Group => settings.group = None,
            }
        }
        Ok(self.set.or(&settings))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::desktop::AttachMode;

    #[test]
    fn what_is_not_changed_stays() {
        let before = Settings {
            user: Some("ada".parse().unwrap()),
            priority: Some(5),
            attach: Some(AttachMode::Live),
            ..Settings::default()
        };
        let set = Settings { priority: Some(7), ..Settings::default() };
        let after = Change { set, unset: [Key::Attach].into() }.apply(before.clone()).unwrap();
        assert_eq!(after, Settings { priority: Some(7), attach: None, ..before.clone() });
        let set = Settings { pool: Some("design".parse().unwrap()), ..Settings::default() };
        let after = Change { set: set.clone(), ..Change::default() }.apply(before).unwrap();
        assert_eq!((after.user, after.pool), (None, set.pool.clone()), "the one takes the place of the other");
        let both = Change { set: Settings { user: Some("ada".parse().unwrap()), ..set }, ..Change::default() };
        assert_eq!(both.apply(Settings::default()), Err(BadChange::UserAndPool));
    }

    #[test]
    fn every_setting_can_be_taken_back() {
        let full = Settings {
            user: Some("ada".parse().unwrap()),
            pool: Some("design".parse().unwrap()),
            profiles: Some(vec!["A".parse().unwrap()]),
            attach: Some(AttachMode::Live),
            priority: Some(1),
            time_zone: Some(jiff::tz::TimeZone::UTC),
            lead: Some(Span::seconds(1)),
            preallocate: Some(false),
            missing_gpu: Some(crate::desktop::MissingGpu::Block),
            presence: Some(crate::presence::Presence::Broker),
            hours: "Mon 08:00-17:00".parse().ok(),
            group: "design".parse().ok(),
        };
        let nothing = Change { set: Settings::default(), unset: Key::ALL.into() };
        assert_eq!(nothing.apply(full), Ok(Settings::default()));
        assert!(Key::ALL.into_iter().all(|key| Key::of(key.as_str()) == Some(key)));
    }
}
