//! The D-Bus service `org.headstart1`: shows [`Status`] as objects and turns calls into [`Message`]s.
//!
//! The only module that knows D-Bus. Not here: decisions (a request is answered by `headstart_core::request` from the
//! plan as it stands), the history on disk (behind [`HistoryPort`]), and who may call (the bus policy,
//! `config/org.headstart1.conf`).

mod desktop;
mod error;
mod gpu;
mod holders;
mod hook;
mod host;
mod manager;
mod mirror;
mod options;
mod path;
mod port;
mod properties;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tokio::sync::{broadcast, mpsc, watch};
use zbus::Connection;
use zbus::fdo::{ObjectManager, RequestNameFlags, RequestNameReply};
use zbus::object_server::SignalEmitter;

use crate::message::Message;
pub use crate::status::Decision;
use crate::status::Status;
pub use error::Error;
use manager::Manager;
use mirror::Mirror;
pub use path::{desktop_path, gpu_path};
pub use port::{Candidate, Format, HistoryPort, HostPort, Import, Imported, Pending};

/// The bus name.
pub const NAME: &str = "org.headstart1";
/// The object of the manager and of the object manager; all others lie below it.
pub const ROOT: &str = "/org/headstart1";
/// The bus may have ended before us.
const GOODBYE: std::time::Duration = std::time::Duration::from_secs(1);

/// Which bus to serve on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum BusChoice {
    /// The system bus.
    #[default]
    System,
    /// The session bus of the user who started the daemon.
    Session,
    /// A D-Bus address, such as `unix:path=/run/headstart/bus`.
    Address(String),
}

impl std::str::FromStr for BusChoice {
    type Err = std::convert::Infallible;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text {
            "system" => Self::System,
            "session" => Self::Session,
            address => Self::Address(address.to_owned()),
        })
    }
}

impl std::fmt::Display for BusChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::System => f.write_str("the system bus"),
            Self::Session => f.write_str("the session bus"),
            Self::Address(address) => write!(f, "the bus at {address}"),
        }
    }
}

/// Why the service cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// No connection.
    #[error("cannot connect to {bus}: {why}")]
    Connect {
        /// Where.
        bus: BusChoice,
        /// Why. Not a source: it says all of its own sources itself, and a chain would say them twice.
        why: zbus::Error,
    },
    /// Somebody else has the name.
    #[error("{NAME} is taken by {owner} on this bus: another headstartd is running (busctl status {NAME} shows it)")]
    NameTaken {
        /// Unique bus name of the owner.
        owner: String,
    },
    /// The bus does not let us have the name.
    #[error(
        "the bus does not let us own {NAME}: is org.headstart1.conf in /usr/share/dbus-1/system.d, and are we root?"
    )]
    NotAllowed(#[source] zbus::Error),
    /// The connection ended.
    #[error("the bus closed the connection")]
    Closed,
    /// Anything else.
    #[error("the bus failed")]
    Bus(#[from] zbus::Error),
}

/// Opens a connection to a bus.
///
/// # Errors
/// Names the bus and says why it cannot be reached.
pub async fn connect(bus: &BusChoice) -> Result<Connection, ServeError> {
    let builder = match bus {
        BusChoice::System => zbus::connection::Builder::system(),
        BusChoice::Session => zbus::connection::Builder::session(),
        BusChoice::Address(address) => zbus::connection::Builder::address(address.as_str()),
    };
    builder.build().await.map_err(|why| ServeError::Connect { bus: bus.clone(), why })
}

/// Refuses to go on where another headstartd has the name. [`publish`] finds that out too, but only when the first round is
/// over, and two daemons must not work on one host even so long.
///
/// # Errors
/// The name is taken, or the bus failed.
pub async fn check_free(connection: &Connection) -> Result<(), ServeError> {
    match owner(connection).await {
        Ok(owner) => Err(ServeError::NameTaken { owner }),
        Err(zbus::Error::FDO(error)) if matches!(*error, zbus::fdo::Error::NameHasNoOwner(_)) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Who has our name.
async fn owner(connection: &Connection) -> zbus::Result<String> {
    let bus = zbus::fdo::DBusProxy::new(connection).await?;
    let name = zbus::names::BusName::try_from(NAME)?;
    Ok(bus.get_name_owner(name).await?.to_string())
}

/// What the service reads from and sends to.
pub struct Ports {
    /// Published by the loop.
    pub status: watch::Receiver<Arc<Status>>,
    /// To the loop. When it is full, callers are told to try again.
    pub messages: mpsc::Sender<Message>,
    /// The history on disk.
    pub history: Arc<dyn HistoryPort>,
    /// The host, for what no round has to do with.
    pub host: Arc<dyn HostPort>,
    /// Decisions as they are made, for the signal `Decision`.
    pub decisions: broadcast::Receiver<Decision>,
}

/// The service with its name taken and its objects in place, to be kept in step by [`Service::run`].
pub struct Service {
    connection: Connection,
    status: watch::Receiver<Arc<Status>>,
    decisions: broadcast::Receiver<Decision>,
    mirror: Mirror,
}

/// Puts the objects of the current status on the bus and takes the name. When this returns, callers are served.
///
/// # Errors
/// The name is taken or forbidden, or the bus failed.
pub async fn publish(connection: Connection, mut ports: Ports) -> Result<Service, ServeError> {
    let server = connection.object_server();
    let (mirror, shown) = Mirror::new(connection.clone());
    server.at(ROOT, ObjectManager).await?;
    server.at(ROOT, Manager::new(connection.clone(), &ports)).await?;
    server.at(ROOT, hook::Hook::new(ports.messages.clone())).await?;
    server.at(path::HOST, host::Host::new((), shown)).await?;
    let mut service = Service {
        mirror,
        status: {
            ports.status.mark_changed();
            ports.status
        },
        decisions: ports.decisions,
        connection,
    };
    service.show().await?;
    // The name comes last: who sees it finds everything in place.
    let flags = RequestNameFlags::DO_NOT_QUEUE;
    match service.connection.request_name_with_flags(NAME, flags).await {
        Ok(RequestNameReply::PrimaryOwner | RequestNameReply::AlreadyOwner) => Ok(service),
        Ok(_) | Err(zbus::Error::NameTaken) => {
            // It may have left meanwhile.
            let owner = owner(&service.connection).await.unwrap_or_else(|_| "somebody".to_owned());
            Err(ServeError::NameTaken { owner })
        }
        Err(error @ (zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => Err(ServeError::NotAllowed(error)),
        Err(error) => Err(error.into()),
    }
}

/// [`publish`] and then [`Service::run`].
///
/// # Errors
/// Those of both.
pub async fn serve(connection: Connection, ports: Ports) -> Result<(), ServeError> {
    publish(connection, ports).await?.run().await
}

/// Gives the name back. Whoever waits for an answer gets it before: it is on its way when the bus says that the name is free.
pub async fn leave(connection: &Connection) {
    if !matches!(tokio::time::timeout(GOODBYE, connection.release_name(NAME)).await, Ok(Ok(_))) {
        tracing::debug!("the bus did not take the name back");
    }
}

impl Service {
    /// Keeps the objects in step with the status until the loop ends (`Ok`) or the bus is lost.
    ///
    /// # Errors
    /// The bus was lost.
    pub async fn run(mut self) -> Result<(), ServeError> {
        let emitter = SignalEmitter::new(&self.connection, ROOT)?.into_owned();
        let connection = self.connection.clone();
        let mut decisions_end = false;
        // A simulation at full speed publishes thousands of rounds a second; people and brokers need ten.
        let pause = tokio::time::sleep(mirror::PAUSE);
        tokio::pin!(pause);
        let mut pausing = false;
        loop {
            tokio::select! {
                () = connection.closed() => return Err(ServeError::Closed),
                () = &mut pause, if pausing => pausing = false,
                changed = self.status.changed(), if !pausing => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    self.show().await?;
                    pause.as_mut().reset(tokio::time::Instant::now() + mirror::PAUSE);
                    pausing = true;
                }
                decision = self.decisions.recv(), if !decisions_end => match decision {
                    Ok(decision) => {
                        let desktop = decision.desktop.as_ref().map_or("", |name| name.as_str());
                        Manager::decision(&emitter, decision.time.unix(), desktop, &decision.what, &decision.why).await?;
                    }
                    Err(broadcast::error::RecvError::Lagged(n)) => tracing::warn!("{n} decisions were not signalled: the bus is slow"),
                    Err(broadcast::error::RecvError::Closed) => decisions_end = true,
                },
            }
        }
    }

    /// The newest status onto the bus.
    async fn show(&mut self) -> zbus::Result<()> {
        let status = self.status.borrow_and_update().clone();
        self.mirror.show(status).await
    }
}
