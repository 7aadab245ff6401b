//! Who has holds, and that they end when their owner leaves the bus.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use futures_core::Stream;
use tokio::sync::mpsc;
use zbus::Connection;
use zbus::fdo::DBusProxy;
use zbus::names::{BusName, OwnedUniqueName};

use crate::message::Message;

/// Watches the owners of holds, each once. The match on the bus names one owner, so that other clients that come and
/// go do not wake the daemon.
#[derive(Clone)]
pub(super) struct Holders {
    connection: Connection,
    messages: mpsc::Sender<Message>,
    watched: Arc<Mutex<BTreeSet<OwnedUniqueName>>>,
}

impl Holders {
    /// Nobody yet.
    pub(super) fn new(connection: Connection, messages: mpsc::Sender<Message>) -> Self {
        Self { connection, messages, watched: Arc::default() }
    }

    /// From now on tells the loop when this owner leaves.
    ///
    /// # Errors
    /// The bus failed, or the owner has left already.
    pub(super) async fn watch(&self, owner: &OwnedUniqueName) -> zbus::Result<()> {
        if self.watched().contains(owner) {
            return Ok(());
        }
        let bus = DBusProxy::new(&self.connection).await?;
        let mut leaves = bus.receive_name_owner_changed_with_args(&[(0, owner.as_str()), (2, "")]).await?;
        // It may have left before the match was in place.
        bus.get_name_owner(BusName::from(owner.as_ref())).await?;
        if !self.watched().insert(owner.clone()) {
            return Ok(());
        }
        let (holders, owner) = (self.clone(), owner.clone());
        tokio::spawn(async move {
            let left = std::future::poll_fn(|context| Pin::new(&mut leaves).poll_next(context)).await;
            holders.watched().remove(&owner);
            // Without a signal the connection itself has ended, and the daemon with it.
            if left.is_some() && holders.messages.send(Message::OwnerLeft { owner: owner.to_string() }).await.is_err() {
                tracing::debug!("{owner} left while the loop was ending");
            }
        });
        Ok(())
    }

    /// Whether this owner is under watch: when it no longer is, the loop has been told, or is about to be.
    pub(super) fn has(&self, owner: &OwnedUniqueName) -> bool {
        self.watched().contains(owner)
    }

    /// Owners under watch. The lock is held for one look only.
    fn watched(&self) -> std::sync::MutexGuard<'_, BTreeSet<OwnedUniqueName>> {
        self.watched.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
