//! Who is at a desktop: what its guest agent, its screens and a broker tell, folded into one word.
//!
//! Whoever tells that somebody is there is believed. That nobody is there is believed only of the source that the administrator says
//! sees everybody: people who come by RDP or a vendor's protocol never touch the desktop's libvirt screen. Not here: asking any of them.

use std::fmt;
use std::str::FromStr;

use crate::observed::{Domain, Login};
use crate::unit::Time;

/// Whose silence means that nobody is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presence {
    /// The guest agent's: it knows who is logged in, however they came.
    #[default]
    Agent,
    /// The screens': users come over VNC or SPICE of libvirt, and in no other way.
    Screen,
    /// The broker's: it reports every session.
    Broker,
}

impl fmt::Display for Presence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Presence::Agent => "agent",
            Presence::Screen => "screen",
            Presence::Broker => "broker",
        })
    }
}

/// Not such a source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("presence {0:?} is not known: use agent, screen or broker")]
pub struct BadPresence(String);

impl FromStr for Presence {
    type Err = BadPresence;
    fn from_str(text: &str) -> Result<Self, BadPresence> {
        match text {
            "agent" => Ok(Self::Agent),
            "screen" => Ok(Self::Screen),
            "broker" => Ok(Self::Broker),
            _ => Err(BadPresence(text.to_owned())),
        }
    }
}

/// Who is at this desktop. `reported`: a session that was reported and has not ended.
pub fn login(domain: &Domain, presence: Presence, reported: Option<Time>) -> Login {
    if let Login::Active { .. } | Login::Waiting { .. } = domain.login {
        return domain.login.clone();
    }
    if let Some(since) = reported {
        return Login::Active { since };
    }
    if let Login::Active { .. } | Login::Waiting { .. } = domain.screen {
        return domain.screen.clone();
    }
    match presence {
        Presence::Agent => domain.login.clone(),
        Presence::Screen => domain.screen.clone(),
        Presence::Broker => Login::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Power;

    fn told(agent: &str, screen: &str, reported: bool, presence: Presence) -> String {
        let since = Time::from_unix(60);
        let word = |word: &str| match word {
            "nobody" => Login::None,
            "?" => Login::Unknown("no agent".into()),
            "prompt" => Login::Waiting { since },
            _ => Login::Active { since },
        };
        let domain = Domain {
            uuid: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            name: "vm1".parse().unwrap(),
            power: Power::Running { ready: true },
            hostdevs: Vec::new(),
            login: word(agent),
            screen: word(screen),
            settings: None,
        };
        match login(&domain, presence, reported.then_some(since)) {
            Login::None => "nobody".into(),
            Login::Waiting { .. } => "prompt".into(),
            Login::Active { .. } => "somebody".into(),
            Login::Unknown(why) => why,
        }
    }

    #[test]
    fn anybodys_word_that_somebody_is_there_counts() {
        for presence in [Presence::Agent, Presence::Screen, Presence::Broker] {
            assert_eq!(told("somebody", "nobody", false, presence), "somebody");
            assert_eq!(told("?", "somebody", false, presence), "somebody");
            assert_eq!(told("nobody", "?", true, presence), "somebody");
            assert_eq!(told("prompt", "nobody", false, presence), "prompt");
        }
    }

    #[test]
    fn silence_counts_only_of_whoever_sees_everybody() {
        assert_eq!(told("nobody", "?", false, Presence::Agent), "nobody");
        assert_eq!(told("?", "nobody", false, Presence::Agent), "no agent", "an empty screen proves nothing");
        assert_eq!(told("?", "nobody", false, Presence::Screen), "nobody");
        assert_eq!(told("nobody", "?", false, Presence::Screen), "no agent");
        assert_eq!(told("?", "?", false, Presence::Broker), "nobody");
    }
}
