//! What others may tell the loop. A message changes an input or says "look again"; it never acts by itself.

use headstart_core::hint::Hint;
use headstart_core::hook::Operation;
use headstart_core::id::{DesktopName, UserName};
use headstart_core::request::Wish;
use tokio::sync::oneshot;

/// What libvirt's hook is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The domain may go on.
    pub allowed: bool,
    /// For libvirt's log and, if it may not, for whoever started it; empty: nothing to say.
    pub note: String,
    /// The definition to be used instead; empty: as it was.
    pub xml: String,
}

/// One message to the loop.
#[derive(Debug)]
pub enum Message {
    /// Somebody wants a GPU on this desktop.
    Wish {
        /// Which desktop.
        desktop: DesktopName,
        /// What is asked.
        wish: Wish,
    },
    /// Whatever was asked for this desktop is asked no longer; an idle reservation of it may go.
    Release {
        /// Which desktop.
        desktop: DesktopName,
    },
    /// A broker or guest says that a user logged in.
    SessionStarted {
        /// Where.
        desktop: DesktopName,
        /// Who, if it was said.
        user: Option<UserName>,
    },
    /// A broker or guest says that the user logged out.
    SessionEnded {
        /// Where.
        desktop: DesktopName,
    },
    /// Somebody says what it knows of somebody's coming. That it is told now, the loop adds.
    Hint {
        /// Whose desktops.
        desktops: Vec<DesktopName>,
        /// What.
        hint: Hint,
    },
    /// Change nothing on the host until this hold ends.
    Hold {
        /// Unique bus name of the holder.
        owner: String,
        /// Shown to people.
        reason: String,
        /// The cookie that ends it.
        reply: oneshot::Sender<u32>,
    },
    /// One hold ends. The reply says whether this owner had it.
    EndHold {
        /// Unique bus name of the caller.
        owner: String,
        /// From `Hold`.
        cookie: u32,
        /// Whether it existed and was the caller's.
        reply: oneshot::Sender<bool>,
    },
    /// Somebody left the bus: all holds of that name end.
    OwnerLeft {
        /// Unique bus name.
        owner: String,
    },
    /// The long form of why a desktop is treated as it is, several lines; none if the desktop is not known.
    Explain {
        /// Which desktop.
        desktop: DesktopName,
        /// The text.
        reply: oneshot::Sender<Option<String>>,
    },
    /// libvirt is about to start a domain and waits for the answer; until then it answers nobody about it.
    Hook {
        /// What it is about to do.
        operation: Operation,
        /// The definition that it is about to use.
        xml: String,
        /// To the hook.
        reply: oneshot::Sender<Told>,
    },
    /// libvirt says that a domain is off and its devices are free.
    Stopped {
        /// Which domain.
        domain: DesktopName,
    },
    /// Look again.
    Reconcile,
    /// The history on disk changed other than by the loop's own records: learn it again.
    HistoryImported,
}
