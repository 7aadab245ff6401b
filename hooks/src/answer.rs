//! The one message to headstartd.

use std::io::ErrorKind;
use std::time::Instant;

use zbus::message::{Flags, Message};
use zbus::{Address, fdo};

use crate::{Concern, bus};

const NAME: &str = "org.headstart1";
const PATH: &str = "/org/headstart1";
const INTERFACE: &str = "org.headstart1.Hook";
const METHOD: &str = "Ask";
/// Another bus than the system's, for tests. libvirt gives a hook no variable of ours.
const BUS: &str = "HEADSTART_BUS";

/// What libvirt is told.
pub(crate) struct Answer {
    /// Go on.
    pub(crate) allowed: bool,
    /// For the log; empty: nothing to say.
    pub(crate) note: String,
    /// The changed definition; empty: as it was.
    pub(crate) xml: String,
}

impl Answer {
    /// Nothing to object, nothing to change.
    pub(crate) fn go_on() -> Self {
        Self { allowed: true, note: String::new(), xml: String::new() }
    }
}

/// Asks, or tells.
///
/// # Errors
/// In words: no bus, no headstartd, what it said instead of an answer, or nothing in time.
pub(crate) fn get(
    concern: Concern,
    [domain, operation, suboperation, extra]: [&String; 4],
    xml: &str,
    deadline: Instant,
) -> Result<Answer, String> {
    let body = (domain, operation, suboperation, extra, if concern == Concern::Tell { "" } else { xml });
    let asked = || {
        let address = match std::env::var(BUS).ok().as_deref() {
            None | Some("system") => Address::system()?,
            Some("session") => Address::session()?,
            Some(address) => address.parse()?,
        };
        let message = Message::method_call(PATH, METHOD).destination(NAME).interface(INTERFACE);
        if concern == Concern::Tell {
            bus::tell(&address, &message.with_flags(Flags::NO_REPLY_EXPECTED).build(&body)?, deadline)?;
            return Ok(Answer::go_on());
        }
        let (allowed, note, xml) = bus::call(&address, &message.build(&body)?, deadline)?.body().deserialize()?;
        Ok(Answer { allowed, note, xml })
    };
    asked().map_err(explain)
}

/// What an error of the bus means.
fn explain(error: zbus::Error) -> String {
    match error {
        zbus::Error::FDO(error) => match *error {
            fdo::Error::ServiceUnknown(_) | fdo::Error::NameHasNoOwner(_) => "headstartd is not running".into(),
            fdo::Error::NoReply(_) => "headstartd ended before it answered".into(),
            fdo::Error::AccessDenied(why) => format!("the bus lets only root ask headstartd: {why}"),
            fdo::Error::UnknownInterface(_) | fdo::Error::UnknownMethod(_) | fdo::Error::InvalidArgs(_) => {
                "headstartd is of another version than its hook".into()
            }
            error => format!("headstartd could not be asked: {error}"),
        },
        zbus::Error::InputOutput(error) if error.kind() == ErrorKind::TimedOut => crate::late(),
        zbus::Error::InputOutput(error) => format!("headstartd could not be asked: {error}"),
        zbus::Error::MethodError(_, Some(why), _) => format!("headstartd says: {why}"),
        error => format!("headstartd could not be asked: {error}"),
    }
}
