//! The connection to headstartd: calls, and errors that say what to do.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use zbus::Connection;
use zbus::DBusError;
use zbus::fdo::{ManagedObjects, ObjectManagerProxy};
use zbus::wire::{DynamicType, OwnedVariant, Type};

use crate::clock::Moment;
use crate::snapshot::Snapshot;

/// The daemon's bus name.
pub(crate) const NAME: &str = "org.headstart1";
/// The object of its methods.
pub(crate) const ROOT: &str = "/org/headstart1";
const HOST: &str = "/org/headstart1/host";
const MANAGER: &str = "org.headstart1.Manager";
/// The daemon answers within milliseconds; this is the time `busctl` waits, too.
const PATIENCE: Duration = Duration::from_secs(25);

/// Why headstartd could not be asked, or what it said instead of an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CallError {
    /// No bus.
    #[error("cannot connect to {bus}: {why}")]
    NoBus { bus: String, why: zbus::Error },
    /// No daemon.
    #[error(
        "headstartd is not on {bus}: is it running? `systemctl status headstartd` and `journalctl -u headstartd` tell; \
         --bus or HEADSTART_BUS chooses another bus"
    )]
    Absent { bus: String },
    /// The bus does not let us.
    #[error("not allowed to ask headstartd on {bus}: run as root ({text})")]
    NotAllowed { bus: String, text: String },
    /// The daemon said no.
    #[error("{text}")]
    Refused { text: String },
    /// No answer.
    #[error("headstartd did not answer within {} s: `journalctl -u headstartd` may tell why", PATIENCE.as_secs())]
    Silent,
    /// An answer that we do not understand.
    #[error("headstartd's answer is not understood; is it of another version than this command? ({0})")]
    Strange(zbus::Error),
    /// Anything else.
    #[error("the bus failed: {0}")]
    Bus(zbus::Error),
}

/// The daemon, as seen from here.
pub(crate) struct Client {
    connection: Connection,
    bus: String,
}

impl Client {
    /// Connects to `system`, `session`, or the bus at an address.
    pub(crate) async fn connect(bus: &str) -> Result<Self, CallError> {
        let (builder, shown) = match bus {
            "system" => (zbus::connection::Builder::system(), "the system bus".to_owned()),
            "session" => (zbus::connection::Builder::session(), "the session bus".to_owned()),
            address => (zbus::connection::Builder::address(address), format!("the bus at {address}")),
        };
        match builder.build().await {
            Ok(connection) => Ok(Self { connection, bus: shown }),
            Err(why) => Err(CallError::NoBus { bus: shown, why }),
        }
    }

    /// The connection, for signals.
    pub(crate) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// The bus, for people.
    pub(crate) fn bus(&self) -> &str {
        &self.bus
    }

    /// Calls a method of the manager that answers at once.
    pub(crate) async fn call<B, R>(&self, method: &str, body: &B) -> Result<R, CallError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        tokio::time::timeout(PATIENCE, self.call_patiently(method, body)).await.unwrap_or(Err(CallError::Silent))
    }

    /// Calls a method of the manager that may take as long as it needs.
    pub(crate) async fn call_patiently<B, R>(&self, method: &str, body: &B) -> Result<R, CallError>
    where
        B: Serialize + DynamicType + Sync,
        R: DeserializeOwned + Type,
    {
        let reply = self.connection.call_method(Some(NAME), ROOT, Some(MANAGER), method, body).await;
        let reply = reply.map_err(|error| self.explain(error))?;
        reply.body().deserialize().map_err(CallError::Strange)
    }

    /// All objects with their properties, read in one call.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, CallError> {
        let asked = async {
            let proxy = ObjectManagerProxy::new(&self.connection, NAME, ROOT).await?;
            zbus::Result::<ManagedObjects>::Ok(proxy.get_managed_objects().await?)
        };
        let objects = tokio::time::timeout(PATIENCE, asked).await.map_err(|_| CallError::Silent)?;
        Snapshot::read(objects.map_err(|error| self.explain(error))?).map_err(CallError::Strange)
    }

    /// The daemon's clock.
    pub(crate) async fn clock(&self) -> Result<Moment, CallError> {
        let body = ("org.headstart1.Host", "Clock");
        let properties = Some("org.freedesktop.DBus.Properties");
        let reply = self.connection.call_method(Some(NAME), HOST, properties, "Get", &body).await;
        let reply = reply.map_err(|error| self.explain(error))?;
        let value: OwnedVariant = reply.body().deserialize().map_err(CallError::Strange)?;
        i64::try_from(value).map(Moment::from_unix).map_err(CallError::Strange)
    }

    /// What an error of the bus means for the person at the terminal.
    pub(crate) fn explain(&self, error: zbus::Error) -> CallError {
        let (name, text) = match &error {
            zbus::Error::MethodError(name, text, _) => (name.to_string(), text.clone()),
            zbus::Error::FDO(error) => (error.name().to_string(), error.description().map(str::to_owned)),
            _ => return CallError::Bus(error),
        };
        let (bus, text) = (self.bus.clone(), text.unwrap_or_else(|| name.clone()));
        match name.strip_prefix("org.freedesktop.DBus.Error.") {
            Some("ServiceUnknown" | "NameHasNoOwner" | "NoReply" | "Disconnected") => CallError::Absent { bus },
            Some("AccessDenied") => CallError::NotAllowed { bus, text },
            Some("UnknownMethod" | "UnknownObject" | "UnknownInterface" | "InvalidArgs") => CallError::Strange(error),
            Some(_) => CallError::Bus(error),
            None => CallError::Refused { text },
        }
    }
}
