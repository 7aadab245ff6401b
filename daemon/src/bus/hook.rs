//! `org.headstart1.Hook`: libvirt's hook asks, and is answered while libvirt waits.
//!
//! An interface of its own, so that the bus policy can keep it to root whatever else is opened to others.

use headstart_core::hook::Operation;
use headstart_core::id::DesktopName;
use tokio::sync::{mpsc, oneshot};

use super::error::{Error, Refusal};
use crate::message::{Message, Told};

/// The object of the hook.
pub(super) struct Hook {
    messages: mpsc::Sender<Message>,
}

impl Hook {
    /// Over this port.
    pub(super) fn new(messages: mpsc::Sender<Message>) -> Self {
        Self { messages }
    }

    /// Tells the loop. It waits for room: libvirt's patience is bounded by the hook itself.
    async fn tell(&self, message: Message) -> Result<(), Error> {
        self.messages.send(message).await.map_err(|_| Refusal::Stopping.into())
    }
}

#[zbus::interface(name = "org.headstart1.Hook")]
impl Hook {
    /// For headstart-qemu-hook, with the arguments that libvirt gives it and the domain's XML. Answers within 1.5 s whether the
    /// domain may go on, a note for the log or for whoever started it (may be empty), and the changed XML (empty: as it was).
    /// Operations other than prepare, migrate, restore and release may go on. Must not be called by whoever is asked by libvirt
    /// about that domain.
    #[zbus(out_args("allowed", "note", "changed_xml"))]
    async fn ask(
        &self,
        domain: &str,
        operation: &str,
        suboperation: &str,
        extra: &str,
        xml: &str,
    ) -> Result<(bool, String, String), Error> {
        tracing::debug!("hook: {domain} {operation} {suboperation} {extra}, {} bytes of XML", xml.len());
        let go_on = |note: String| Ok((true, note, String::new()));
        let operation = match (operation, suboperation) {
            ("prepare", "begin") => Operation::Prepare,
            ("migrate", "begin") => Operation::Migrate,
            ("restore", "begin") => Operation::Restore,
            ("release", "end") => {
                let domain = DesktopName::new(domain).map_err(Refusal::BadName)?;
                self.tell(Message::Stopped { domain }).await?;
                return go_on(String::new());
            }
            _ => return go_on(String::new()),
        };
        let (reply, told) = oneshot::channel();
        self.tell(Message::Hook { operation, xml: xml.to_owned(), reply }).await?;
        let Told { allowed, note, xml } = told.await.map_err(|_| Error::from(Refusal::Stopping))?;
        Ok((allowed, note, xml))
    }
}
