//! Keeps the objects on the bus in step with the status: adds, removes, signals what changed.
//!
//! Objects read what is *shown*, which this file moves from one status to the next. So a property read together with
//! all others (`GetManagedObjects`) never finds its desktop gone.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use zbus::object_server::Interface;
use zbus::{Connection, Message};

use super::desktop::Desktop;
use super::gpu::Gpu;
use super::host::Host;
use super::path::{self, desktop_path, gpu_path};
use super::properties::Changes;
use crate::status::Status;

/// Time between two looks at the status. Only what is true at the end of it is signalled.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// The bus side of the status.
pub(super) struct Mirror {
    connection: Connection,
    shown: watch::Sender<Arc<Status>>,
}

impl Mirror {
    /// With nothing shown yet, and what objects read from.
    pub(super) fn new(connection: Connection) -> (Self, watch::Receiver<Arc<Status>>) {
        let (shown, reader) = watch::channel(Arc::default());
        (Self { connection, shown }, reader)
    }

    /// Goes over to a new status.
    ///
    /// # Errors
    /// The bus failed.
    pub(super) async fn show(&mut self, new: Arc<Status>) -> zbus::Result<()> {
        let old = self.shown.borrow().clone();
        let (gpus, desktops) = (Difference::of(&old.gpus, &new.gpus), Difference::of(&old.desktops, &new.desktops));
        for address in gpus.gone {
            self.remove::<Gpu>(gpu_path(*address)).await?;
        }
        for name in desktops.gone {
            self.remove::<Desktop>(desktop_path(name)).await?;
        }
        self.shown.send_replace(new.clone());
        let server = self.connection.object_server();
        for address in gpus.come {
            server.at(gpu_path(*address), Gpu::new(*address, self.shown.subscribe())).await?;
        }
        for name in desktops.come {
            server.at(desktop_path(name), Desktop::new(name.clone(), self.shown.subscribe())).await?;
        }

        // One signal per object, all in one write.
        let mut signals = Vec::new();
        push(&mut signals, path::HOST, Host::INTERFACE, &Host::changes(&old, &new))?;
        for (address, old, new) in gpus.changed {
            push(&mut signals, &gpu_path(*address), Gpu::INTERFACE, &Gpu::changes(old, new))?;
        }
        for (name, old, new) in desktops.changed {
            push(&mut signals, &desktop_path(name), Desktop::INTERFACE, &Desktop::changes(old, new))?;
        }
        self.connection.send_all(&signals).await
    }

    /// Takes an object away.
    async fn remove<I: Interface>(&self, path: String) -> zbus::Result<()> {
        self.connection.object_server().remove::<I, _>(path).await.map(drop)
    }
}

/// What differs between two maps.
struct Difference<'a, K, V> {
    gone: Vec<&'a K>,
    come: Vec<&'a K>,
    changed: Vec<(&'a K, &'a V, &'a V)>,
}

impl<'a, K: Ord, V: PartialEq> Difference<'a, K, V> {
    fn of(old: &'a BTreeMap<K, V>, new: &'a BTreeMap<K, V>) -> Self {
        Self {
            gone: old.keys().filter(|key| !new.contains_key(key)).collect(),
            come: new.keys().filter(|key| !old.contains_key(key)).collect(),
            changed: old
                .iter()
                .filter_map(|(key, old)| new.get(key).map(|new| (key, old, new)))
                .filter(|(_, old, new)| old != new)
                .collect(),
        }
    }
}

/// The signal for one object, if anything changed.
fn push(signals: &mut Vec<Message>, path: &str, interface: &str, changes: &Changes) -> zbus::Result<()> {
    if !changes.is_empty() {
        let body = (interface, changes, Vec::<&str>::new());
        let signal = Message::signal(path, "org.freedesktop.DBus.Properties", "PropertiesChanged").build(&body)?;
        signals.push(signal);
    }
    Ok(())
}
