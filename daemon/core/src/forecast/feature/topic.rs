//! What features speak of, by name.

use std::str::FromStr;

/// What a feature speaks of: for explanations, and to try what it is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// How often the subject logs in at this time of the day and week.
    Habit,
    /// How often the subject comes at all on such days.
    Attendance,
    /// What it did today, against what it does usually.
    Today,
    /// Time since its last session.
    Since,
    /// What the others do now.
    Others,
    /// What its own group does, now and usually.
    Group,
    /// Hour, weekday and public holidays as such.
    Calendar,
    /// What was told of it.
    Hints,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Habit,
        Self::Attendance,
        Self::Today,
        Self::Since,
        Self::Others,
        Self::Group,
        Self::Calendar,
        Self::Hints,
    ];

    /// As it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Habit => "habit",
            Self::Attendance => "attendance",
            Self::Today => "today",
            Self::Since => "since",
            Self::Others => "others",
            Self::Group => "group",
            Self::Calendar => "calendar",
            Self::Hints => "hints",
        }
    }
}

/// No topic has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no topic {0:?}; there are {names}", names = Topic::ALL.map(Topic::as_str).join(", "))]
pub struct BadTopic(String);

impl FromStr for Topic {
    type Err = BadTopic;

    fn from_str(text: &str) -> Result<Self, BadTopic> {
        Self::ALL
            .into_iter()
            .find(|topic| topic.as_str() == text)
            .ok_or_else(|| BadTopic(text.chars().take(40).collect()))
    }
}
