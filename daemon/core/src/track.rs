//! What is remembered of each desktop between rounds: since when it holds a device, since when somebody is logged in, when the
//! last one left. Derived by comparing observations with a clock, so that losing it in a crash costs calm and never a device: a
//! desktop first seen with a device counts as having got it now, and as left now.

use std::collections::BTreeMap;

use crate::desktop::Desktop;
use crate::gpu::DeviceId;
use crate::id::DomainUuid;
use crate::observed::{Attachment, Domain, Login, Observed, Power};
use crate::policy::{Policy, READY_BEFORE};
use crate::step::our_hostdev;
use crate::unit::{Span, Time};

/// One desktop's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    /// It has a device of ours since then.
    pub held_since: Option<Time>,
    /// Device attached and the desktop up since then.
    pub ready_since: Option<Time>,
    /// Somebody is there, or waits, since then.
    pub login_since: Option<Time>,
    /// The last one left then.
    pub logout_at: Option<Time>,
    /// The first look, at this time, found it with a device and nobody there: somebody may have left a moment before.
    pub found_at: Option<Time>,
    /// The plan wants a device for it since then, with nobody there.
    pub wanted_since: Option<Time>,
    /// The login that is going on found or got a device.
    pub served: bool,
}

/// All desktops' memories.
pub type Tracks = BTreeMap<DomainUuid, Track>;

/// How a login was served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The device was still there from the session before: nothing had to be predicted.
    Warm,
    /// Ready at least 60 s before.
    Hit,
    /// Being made ready when the user came.
    Late,
    /// Nothing had been done.
    Miss,
    /// They came before the first look: what they found, nobody saw.
    Unseen,
}

/// What changed since the look before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened {
    /// Somebody came.
    LoggedIn {
        /// When.
        at: Time,
        /// How it went.
        outcome: Outcome,
    },
    /// Nobody is there any more.
    LoggedOut {
        /// When.
        at: Time,
    },
    /// A device of ours is attached since now.
    Attached {
        /// Which.
        device: DeviceId,
    },
    /// Attached and up: this long after the plan first wanted it, if it did before.
    Ready {
        /// How long it took.
        took: Option<Span>,
    },
    /// The device is gone from the desktop.
    Detached {
        /// Somebody had used it.
        used: bool,
    },
}

/// Device attached, desktop up.
pub fn is_ready(domain: &Domain) -> bool {
    let attached = our_hostdev(domain).is_some_and(|hostdev| hostdev.attachment == Attachment::Attached);
    attached && domain.power == Power::Running { ready: true }
}

/// Brings the memories up to date with a new look, and says what changed, by desktop in order.
///
/// `shadow`: nothing is carried out, so a login counts as served if the plan wanted its device long enough before.
pub fn follow(
    tracks: &mut Tracks,
    desktops: &BTreeMap<DomainUuid, Desktop>,
    observed: &Observed,
    policy: &Policy,
    shadow_leads: Option<&BTreeMap<DomainUuid, Span>>,
    now: Time,
) -> Vec<(DomainUuid, Happened)> {
    tracks.retain(|uuid, _| desktops.contains_key(uuid));
    let mut happened = Vec::new();
    for uuid in desktops.keys() {
        let Some(domain) = observed.domains.get(uuid) else { continue };
        let first_look = !tracks.contains_key(uuid);
        let track = tracks.entry(*uuid).or_default();
        let shadow_lead = shadow_leads.and_then(|leads| leads.get(uuid)).copied();
        let outcome = |track: &Track, at| {
            if first_look { Outcome::Unseen } else { outcome(track, policy, shadow_lead, at) }
        };
        follow_login(track, domain, outcome, now, |what| happened.push((*uuid, what)));
        follow_device(track, domain, now, first_look, |what| happened.push((*uuid, what)));
    }
    happened
}

fn follow_login(
    track: &mut Track,
    domain: &Domain,
    outcome: impl Fn(&Track, Time) -> Outcome,
    now: Time,
    mut say: impl FnMut(Happened),
) {
    match &domain.login {
        // Unknown is not logged out.
        Login::Unknown(_) => {}
        Login::Waiting { since } | Login::Active { since } => {
            if track.login_since.is_none() {
                let at = (*since).min(now);
                let outcome = outcome(track, at);
                track.login_since = Some(at);
                track.wanted_since = None;
                say(Happened::LoggedIn { at, outcome });
            }
            track.served = track.served || track.ready_since.is_some();
        }
        Login::None => {
            if track.login_since.take().is_some() {
                track.logout_at = Some(now);
                say(Happened::LoggedOut { at: now });
            }
        }
    }
}

fn outcome(track: &Track, policy: &Policy, shadow_lead: Option<Span>, at: Time) -> Outcome {
    let still_there = track.logout_at.is_some_and(|left| at - left <= policy.grace);
    let ready_by = match shadow_lead {
        Some(lead) => track.wanted_since.map(|since| since + lead),
        None => track.ready_since,
    };
    if still_there && (track.held_since.is_some() || shadow_lead.is_some()) {
        Outcome::Warm
    } else if ready_by.is_some_and(|ready| ready + READY_BEFORE <= at) {
        Outcome::Hit
    } else if track.held_since.is_some() || track.wanted_since.is_some() {
        Outcome::Late
    } else {
        Outcome::Miss
    }
}

fn follow_device(track: &mut Track, domain: &Domain, now: Time, first_look: bool, mut say: impl FnMut(Happened)) {
    let Some(hostdev) = our_hostdev(domain) else {
        track.ready_since = None;
        track.found_at = None;
        if track.held_since.take().is_some() {
            say(Happened::Detached { used: track.served });
            track.served = false;
        }
        return;
    };
    if track.held_since.is_none() {
        track.held_since = Some(now);
        if first_look && track.login_since.is_none() {
            track.found_at = Some(now);
        }
        say(Happened::Attached { device: hostdev.device });
    }
    if matches!(domain.power, Power::Unknown(_)) {
        // Unknown is not over.
    } else if !is_ready(domain) {
        track.ready_since = None;
    } else if track.ready_since.is_none() {
        track.ready_since = Some(now);
        // Found ready is not made ready.
        if !first_look {
            say(Happened::Ready { took: track.wanted_since.map(|since| now - since) });
        }
    }
}
