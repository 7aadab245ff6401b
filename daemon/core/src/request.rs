//! What a request may ask, and what it is answered from the plan as it stands.
//!
//! The answer is a pure function of the desktop's [`Offer`], which the planner leaves with every plan, so that it costs
//! a caller no more than a look-up. The request itself changes the next plan as a wish.

use std::fmt;
use std::str::FromStr;

use crate::id::{GpuId, ProfileName};
use crate::unit::{Probability, Span};

/// The pre-allocation flag of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preallocation {
    /// Take a reservation if there is one, else make a vGPU now or queue.
    #[default]
    Accept,
    /// Only a reservation made ahead will do; otherwise the request is refused and changes nothing.
    Require,
    /// Make it now, and reserve nothing ahead for this desktop until `Release`.
    Decline,
}

/// The flag is none of the three words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("preallocation {0:?} is not known: use accept, require or decline")]
pub struct BadPreallocation(String);

impl FromStr for Preallocation {
    type Err = BadPreallocation;
    fn from_str(text: &str) -> Result<Self, BadPreallocation> {
        match text {
            "accept" => Ok(Self::Accept),
            "require" => Ok(Self::Require),
            "decline" => Ok(Self::Decline),
            _ => Err(BadPreallocation(text.to_owned())),
        }
    }
}

/// What somebody asks for a desktop.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wish {
    /// The flag.
    pub preallocation: Preallocation,
    /// Another profile than the desktop's own.
    pub profile: Option<ProfileName>,
}

/// Which way a request goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// A device is attached, or being attached, ahead of the login.
    Reserved,
    /// A device will be made now.
    OnDemand,
    /// No room; waits by priority.
    Queued,
    /// Will not be served; nothing was changed.
    Refused,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Way::Reserved => "reserved",
            Way::OnDemand => "on-demand",
            Way::Queued => "queued",
            Way::Refused => "refused",
        })
    }
}

/// What the current plan could give a desktop.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// Without further conditions.
    pub way: Way,
    /// Probability of a login in the slot that decides now.
    pub confidence: Probability,
    /// What it would get.
    pub profile: Option<ProfileName>,
    /// Where.
    pub gpu: Option<GpuId>,
    /// Until it is ready, as far as can be told.
    pub wait: Option<Span>,
    /// One sentence.
    pub reason: String,
    /// Profiles that exist on this host, so that an unknown one is refused by name.
    pub known_profiles: std::sync::Arc<[ProfileName]>,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which way it went.
    pub way: Way,
    /// As in the offer.
    pub confidence: Probability,
    /// As in the offer, or as wished.
    pub profile: Option<ProfileName>,
    /// As in the offer.
    pub gpu: Option<GpuId>,
    /// As in the offer.
    pub wait: Option<Span>,
    /// One sentence.
    pub reason: String,
}

/// Answers a request from the plan as it stands. A `Refused` answer means that the wish must not be recorded.
pub fn answer(offer: &Offer, wish: &Wish) -> Answer {
    let mut answer = Answer {
        way: offer.way,
        confidence: offer.confidence,
        profile: offer.profile.clone(),
        gpu: offer.gpu,
        wait: offer.wait,
        reason: offer.reason.clone(),
    };
    if let Some(profile) = wish.profile.as_ref().filter(|wished| offer.profile.as_ref() != Some(wished)) {
        answer.profile = Some(profile.clone());
        answer.gpu = None;
        if offer.way == Way::Reserved {
            answer.way = Way::Queued;
            answer.wait = None;
            answer.reason =
                format!("a reservation with another profile is held; {profile} is planned in the next round");
        }
    }
    if wish.preallocation == Preallocation::Require && answer.way != Way::Reserved {
        answer.reason = format!("only a reservation was accepted, and there is none: {}", answer.reason);
        answer.way = Way::Refused;
        answer.gpu = None;
        answer.wait = None;
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(way: Way) -> Offer {
        let profile = ProfileName::new("A40-4Q").unwrap();
        Offer {
            way,
            confidence: Probability::clamped(0.2),
            profile: Some(profile.clone()),
            gpu: None,
            wait: Some(Span::seconds(50)),
            reason: "room on 0000:3b:00.0".into(),
            known_profiles: [profile].into(),
        }
    }

    #[test]
    fn require_refuses_what_is_not_reserved() {
        let wish = Wish { preallocation: Preallocation::Require, profile: None };
        let refused = answer(&offer(Way::OnDemand), &wish);
        assert_eq!(refused.way, Way::Refused);
        assert!(refused.reason.contains("room on 0000:3b:00.0"), "{}", refused.reason);
        assert_eq!(answer(&offer(Way::Reserved), &wish).way, Way::Reserved);
    }

    #[test]
    fn another_profile_is_no_reservation() {
        let wish = Wish { preallocation: Preallocation::Accept, profile: Some(ProfileName::new("A40-8Q").unwrap()) };
        assert_eq!(answer(&offer(Way::Reserved), &wish).way, Way::Queued);
        assert_eq!(answer(&offer(Way::OnDemand), &wish).way, Way::OnDemand);
    }

    #[test]
    fn the_flag_is_read_strictly() {
        assert_eq!(
            "maybe".parse::<Preallocation>().unwrap_err().to_string(),
            "preallocation \"maybe\" is not known: use accept, require or decline"
        );
    }
}
