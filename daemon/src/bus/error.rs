//! Names of the errors that callers get, and the one function that gives a refusal its name.

use headstart_core::id::{BadId, DesktopName, ProfileName};

use crate::status::Status;

/// A D-Bus error of ours. The text says what to do.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.headstart1.Error")]
pub enum Error {
    /// What zbus itself has to say.
    #[zbus(error)]
    ZBus(zbus::Error),
    /// No such desktop here.
    UnknownDomain(String),
    /// No GPU here has such a profile.
    UnknownProfile(String),
    /// There is such a domain, and it is not ours.
    NotManaged(String),
    /// Too much at once; try again.
    Busy(String),
    /// The caller may not.
    NotAuthorized(String),
    /// What was given makes no sense.
    InvalidArgument(String),
    /// It was tried and went wrong.
    Failed(String),
}

/// Why a call is refused, before it has a name and a text.
#[derive(Debug)]
pub(super) enum Refusal<'a> {
    /// Not a name at all.
    BadName(BadId),
    /// Nobody of that name; the status knows who there is.
    UnknownDesktop(DesktopName, &'a Status),
    /// Not one of those that exist here.
    UnknownProfile(ProfileName, &'a [ProfileName]),
    /// An option that does not exist, and those that do.
    UnknownOption(String, &'static str),
    /// An option with a value of the wrong kind.
    BadOption(&'static str, String),
    /// A kind of hint that there is not, or a hint whose times make no sense.
    BadHint(String),
    /// The loop does not keep up with what it is told.
    Busy,
    /// The loop has ended.
    Stopping,
    /// More holds than anybody needs.
    TooManyHolds(usize),
    /// No hold with this cookie.
    NoSuchHold(u32),
    /// Somebody else's hold.
    ForeignHold(u32, String),
    /// The call came without a sender, so that nobody could see it leave.
    NoSender,
    /// A file that cannot be used.
    BadFile(String),
    /// The history said no.
    History(String),
    /// The host said no.
    Host(String),
}

impl From<Refusal<'_>> for Error {
    fn from(refusal: Refusal<'_>) -> Error {
        match refusal {
            Refusal::BadName(why) => Error::InvalidArgument(why.to_string()),
            Refusal::UnknownDesktop(name, status) if is_foreign(&name, status) => Error::NotManaged(format!(
                "{name} is a domain of this host that headstart does not manage: opt in by its metadata or a name pattern"
            )),
            Refusal::UnknownDesktop(name, status) => Error::UnknownDomain(unknown_desktop(&name, status)),
            Refusal::UnknownProfile(name, known) => Error::UnknownProfile(format!(
                "no GPU here has the profile {:?}; there are: {}",
                name.as_str(),
                list(known.iter().map(ProfileName::as_str))
            )),
            Refusal::UnknownOption(name, known) => {
                Error::InvalidArgument(format!("option {:?} is not known; there are: {known}", clipped(&name)))
            }
            Refusal::BadOption(name, why) => Error::InvalidArgument(format!("option {name:?}: {why}")),
            Refusal::Busy => Error::Busy("too many calls are waiting for the next round: try again in a second".into()),
            Refusal::Stopping => Error::Failed("headstartd is stopping".into()),
            Refusal::TooManyHolds(most) => {
                Error::Busy(format!("you have {most} holds already: end one with EndHold first"))
            }
            Refusal::NoSuchHold(cookie) => {
                Error::InvalidArgument(format!("there is no hold {cookie}; property Holds of the host lists them"))
            }
            Refusal::ForeignHold(cookie, owner) => {
                Error::NotAuthorized(format!("hold {cookie} belongs to {owner}, and only {owner} can end it"))
            }
            Refusal::NoSender => Error::Failed("a hold needs a bus: it ends when its caller leaves".into()),
            Refusal::BadFile(why) | Refusal::BadHint(why) => Error::InvalidArgument(why),
            Refusal::History(why) | Refusal::Host(why) => Error::Failed(why),
        }
    }
}

/// Whether a domain that we do not manage has a vGPU here.
fn is_foreign(name: &DesktopName, status: &Status) -> bool {
    status.gpus.values().flat_map(|gpu| &gpu.vgpus).any(|vgpu| vgpu.holder == name.as_str())
}

/// Says what there is instead: the nearest names.
fn unknown_desktop(name: &DesktopName, status: &Status) -> String {
    let mut near: Vec<(f64, &str)> = status
        .desktops
        .keys()
        .map(|known| (strsim::jaro_winkler(name.as_str(), known.as_str()), known.as_str()))
        .filter(|(likeness, _)| *likeness > 0.75)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    near.truncate(5);
    let shown = clipped(name.as_str());
    if status.desktops.is_empty()
        && let Some(problem) = status.problems.first()
    {
        format!("no desktop {shown:?} is known, and no other; {problem}")
    } else if near.is_empty() {
        format!("no desktop {shown:?} is managed here; `headstart desktops` lists all {}", status.desktops.len())
    } else {
        format!("no desktop {shown:?} is managed here; nearest: {}", list(near.iter().map(|(_, name)| *name)))
    }
}

/// `a, b, c`, or `none`.
fn list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

/// The beginning of a text that somebody sent.
fn clipped(text: &str) -> String {
    text.chars().take(80).collect()
}
