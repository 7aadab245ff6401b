//! What wakes the loop because the host has changed. It says "look again" and never what to do; without it the loop looks every so often.
//!
//! Here: the kernel's and udev's events. libvirt's come from its adapter, the hook's from the bus.

pub mod uevent;

use tokio::sync::mpsc;

use crate::message::Message;
use uevent::Uevents;

/// Wakes the loop at events that concern it, until the loop ends. Comes back early if there are no events to be had.
pub async fn watch(messages: mpsc::Sender<Message>) {
    let mut uevents = match Uevents::open() {
        Ok(uevents) => uevents,
        Err(error) => {
            tracing::warn!(
                "changes of devices are not noticed at once ({error}); the host is looked at every so often all the same"
            );
            return;
        }
    };
    loop {
        match uevents.burst().await {
            Ok(what) => {
                tracing::debug!("{what}");
                if messages.send(Message::Reconcile).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tracing::warn!("changes of devices are not noticed at once any more: {error}");
                return;
            }
        }
    }
}
