//! Why a desktop is treated as it is, in a form that a test can compare and a person can read.

use jiff::tz::TimeZone;

use crate::id::{DesktopName, ProfileName};
use crate::unit::{Probability, Time};

/// The one reason that decided.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the variants are documented, and their fields say what they are")]
pub enum Reason {
    /// Somebody is logged in and has a device.
    InUse,
    /// Somebody came and the device is there or on its way.
    Arriving,
    /// Somebody else than headstart starts it at this moment.
    Starting,
    /// The last user left a moment ago.
    Grace { until: Time },
    /// The daemon has just started, and somebody may have left a moment before.
    Found { until: Time },
    /// Somebody waits, or asked.
    Waiting { since: Time },
    /// Likely enough.
    Reserved { confidence: Probability, threshold: Probability },
    /// Not likely enough any more, but held for so short a time that it stays.
    MinimumHold { confidence: Probability, until: Time },
    /// Not likely enough any more, but nobody else wants the room.
    Spare { confidence: Probability, threshold: Probability },
    /// Held, and not likely enough any more.
    BelowRelease { confidence: Probability, threshold: Probability },
    /// Not likely enough.
    BelowTake { confidence: Probability, threshold: Probability },
    /// Nothing is done ahead for this desktop by its settings.
    NothingAhead,
    /// A request asked that nothing be done ahead.
    Declined,
    /// No room.
    NoCapacity { profile: ProfileName, why: String },
    /// No GPU here has the profile at all.
    NotOffered { profile: ProfileName },
    /// Its idle reservation went to somebody who ranks higher.
    Outranked { by: DesktopName },
    /// The desktop runs without a device and can take one only when it is off.
    WaitsForDomainOff,
    /// The guest was asked to let the device go, or refused.
    UnplugRefusedOrPending,
    /// Its device is being taken back.
    Releasing,
    /// It names a device on our GPUs that we did not attach.
    ForeignDevice,
    /// Something failed before; left alone for a while.
    Quarantined { why: String },
    /// Its state could not be read.
    Unknown { why: String },
}

impl Reason {
    /// One word for logs and statistics.
    pub fn word(&self) -> &'static str {
        match self {
            Reason::InUse => "in-use",
            Reason::Arriving => "arriving",
            Reason::Starting => "starting",
            Reason::Grace { .. } => "grace",
            Reason::Found { .. } => "found",
            Reason::Waiting { .. } => "waiting",
            Reason::Reserved { .. } => "reserved",
            Reason::MinimumHold { .. } => "minimum-hold",
            Reason::Spare { .. } => "spare",
            Reason::BelowRelease { .. } => "below-release",
            Reason::BelowTake { .. } => "below-take",
            Reason::NothingAhead => "nothing-ahead",
            Reason::Declined => "declined",
            Reason::NoCapacity { .. } => "no-capacity",
            Reason::NotOffered { .. } => "not-offered",
            Reason::Outranked { .. } => "outranked",
            Reason::WaitsForDomainOff => "waits-for-domain-off",
            Reason::UnplugRefusedOrPending => "unplug-pending",
            Reason::Releasing => "releasing",
            Reason::ForeignDevice => "foreign-device",
            Reason::Quarantined { .. } => "quarantined",
            Reason::Unknown { .. } => "unknown",
        }
    }

    /// One sentence, times on the wall clock of `zone`.
    pub fn sentence(&self, zone: &TimeZone) -> String {
        match self {
            Reason::InUse => "somebody is logged in and has the device".into(),
            Reason::Arriving => "its user is there; the device is attached".into(),
            Reason::Starting => "somebody starts it at this moment; left as it is until it is up".into(),
            Reason::Grace { until } => format!("its user left; the device stays until {}", clock(*until, zone)),
            Reason::Found { until } => {
                format!("it had its device when headstartd started; the device stays until {}", clock(*until, zone))
            }
            Reason::Waiting { since } => format!("wanted since {}", clock(*since, zone)),
            Reason::Reserved { confidence, threshold } => {
                let (confidence, threshold) = apart(*confidence, *threshold);
                format!("a login in the coming quarter hour has probability {confidence}; {threshold} is enough")
            }
            Reason::MinimumHold { confidence, until } => {
                format!(
                    "a login has become unlikely ({confidence}), but the reservation is young; it stays until {}",
                    clock(*until, zone)
                )
            }
            Reason::Spare { confidence, threshold } => {
                let (confidence, threshold) = apart(*confidence, *threshold);
                format!(
                    "a login in the coming quarter hour has probability {confidence}, below {threshold}, but nobody else wants the room"
                )
            }
            Reason::BelowRelease { confidence, threshold } => {
                let (confidence, threshold) = apart(*confidence, *threshold);
                format!(
                    "a login in the coming quarter hour has probability {confidence}, below {threshold}; the device goes back"
                )
            }
            Reason::BelowTake { confidence, threshold } => {
                let (confidence, threshold) = apart(*confidence, *threshold);
                format!("a login in the coming quarter hour has probability {confidence}; {threshold} would be enough")
            }
            Reason::NothingAhead => "its settings say that nothing is done ahead".into(),
            Reason::Declined => "a request asked that nothing be done ahead; `headstart release` ends that".into(),
            Reason::NoCapacity { profile, why } => format!("no room for {profile}: {why}"),
            Reason::NotOffered { profile } => format!("no GPU here offers {profile}; correct the desktop's profile"),
            Reason::Outranked { by } => format!("its idle reservation gives way to {by}"),
            Reason::WaitsForDomainOff => "it runs without a GPU and can be given one only when it is shut off".into(),
            Reason::UnplugRefusedOrPending => {
                "the guest was asked to let the device go and has not done so; it is taken back when the desktop is off"
                    .into()
            }
            Reason::Releasing => "its device is being taken back".into(),
            Reason::ForeignDevice => "it has a device on our GPUs that headstart did not attach; left alone".into(),
            Reason::Quarantined { why } => format!("left alone for a while: {why}"),
            Reason::Unknown { why } => format!("its state is not known ({why}); left alone"),
        }
    }

    /// What would change the verdict, if that can be said.
    pub fn what_would_change_it(&self) -> &'static str {
        match self {
            Reason::BelowTake { .. } | Reason::BelowRelease { .. } => {
                "a request (`headstart request`), a likelier login, or a lower `take` in the [policy] of the configuration"
            }
            Reason::NoCapacity { .. } => "a logout, a higher priority, or more GPUs",
            Reason::NotOffered { .. } => "another profile in the desktop's settings",
            Reason::Outranked { .. } => "a higher priority, or more GPUs",
            Reason::WaitsForDomainOff | Reason::UnplugRefusedOrPending => "shutting the desktop off",
            Reason::Spare { .. } => "somebody else wanting the room",
            Reason::NothingAhead => {
                "attach mode `cold` or `live` and `preallocate = true` in its settings; or a request"
            }
            Reason::ForeignDevice => "taking that device out of the domain's definition",
            Reason::Quarantined { .. } => "time, or mending what failed",
            Reason::Unknown { .. } => "the host answering again",
            Reason::InUse | Reason::Arriving => "its user logging out",
            Reason::Grace { .. } | Reason::Found { .. } => "its user coming back, or the end of that time",
            Reason::Waiting { .. } | Reason::Declined => "`headstart release`",
            Reason::Reserved { .. } | Reason::MinimumHold { .. } => "the login, or its becoming unlikely",
            Reason::Releasing | Reason::Starting => "nothing: it is under way",
        }
    }
}

/// Two probabilities with as many digits as it takes to see that they differ.
fn apart(confidence: Probability, threshold: Probability) -> (String, String) {
    let texts = |digits| (format!("{confidence:.digits$}"), format!("{threshold:.digits$}"));
    let plain = (confidence.to_string(), threshold.to_string());
    let differ = |(a, b): &(String, String)| a != b || confidence == threshold;
    std::iter::once(plain).chain((2..=6).map(texts)).find(differ).unwrap_or_else(|| texts(6))
}

/// Hour and minute on the wall clock.
fn clock(time: Time, zone: &TimeZone) -> String {
    jiff::Timestamp::from_second(time.unix()).map_or_else(
        |_| time.to_string(),
        |timestamp| timestamp.to_zoned_datetime(zone.clone()).strftime("%H:%M").to_string(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_is_told_apart() {
        let p = |p| Probability::new(p).unwrap();
        let texts = |a, b| apart(p(a), p(b));
        assert_eq!(texts(0.14, 0.03), ("14 %".into(), "3 %".into()));
        assert_eq!(texts(0.0296, 0.03), ("2.96 %".into(), "3 %".into()));
        assert_eq!(texts(0.014_999, 0.015), ("1.4999 %".into(), "1.5 %".into()));
        assert_eq!(texts(0.03, 0.03), ("3 %".into(), "3 %".into()));
    }
}
