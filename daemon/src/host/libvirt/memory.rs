//! What is remembered of domains between looks, since libvirt does not tell it: since when one runs, which unplug was asked for, whether
//! it was asked to shut down, who was seen at it.
//!
//! All of it may be lost, with the daemon or with a run of the domain, and costs time only. An unplug that is not remembered shows as a
//! device that is attached, which is safe: the device stays the domain's, so nothing removes it; if it is not wanted it is asked for
//! again; and if the guest lets go meanwhile, libvirt's next XML says so.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use headstart_core::id::DomainUuid;
use headstart_core::observed::Attachment;
use virt::sys;

use super::ffi::{DomainEvent, What};
use super::login::{Agent, Now, Screens};

/// How long a guest may take to let a device go. Linux answers within 5 s (PCI Express: the blinking of the attention button); a guest
/// that unloads a driver first takes longer; one that is still booting never answers.
pub(super) const UNPLUG_DEADLINE: Duration = Duration::from_secs(60);
/// How long a guest may take to shut down before it is asked again. Windows with updates to install takes minutes.
pub(super) const SHUTDOWN_DEADLINE: Duration = Duration::from_secs(180);
/// A guest without an agent counts as up when it has run for so long.
pub(super) const BOOT: Duration = Duration::from_secs(60);
/// A guest whose agent's channel nobody listens at counts as up after this: the channel is there and the agent is not.
pub(super) const BOOT_WITHOUT_ANSWER: Duration = Duration::from_secs(180);

/// All runs.
#[derive(Debug, Default)]
pub(super) struct Memory {
    runs: BTreeMap<DomainUuid, Run>,
}

/// One run of a domain, from start to stop.
#[derive(Debug)]
pub(super) struct Run {
    /// libvirt's number of it.
    pub(super) id: u32,
    /// Seen running since then, or rebooted then.
    since: Instant,
    unplugs: BTreeMap<String, Unplug>,
    shutdown: Option<Shutdown>,
    pub(super) screens: Screens,
    pub(super) agent: Agent,
}

#[derive(Clone, Debug)]
enum Unplug {
    Asked(Instant),
    Refused(String),
}

#[derive(Clone, Copy, Debug)]
struct Shutdown {
    first: Now,
    last: Instant,
    times: u32,
}

impl Run {
    fn new(id: u32, at: Instant) -> Self {
        Self {
            id,
            since: at,
            unplugs: BTreeMap::new(),
            shutdown: None,
            screens: Screens::default(),
            agent: Agent::default(),
        }
    }

    /// The guest is up, as far as can be told. `agent`: the agent's channel, if it has one.
    pub(super) fn is_up(&self, agent: Option<bool>, at: Instant) -> bool {
        let enough = match agent {
            Some(true) => return true,
            Some(false) => BOOT_WITHOUT_ANSWER,
            None => BOOT,
        };
        at.duration_since(self.since) >= enough
    }

    /// The guest was asked to let go of the device with this alias.
    pub(super) fn unplug_asked(&mut self, alias: &str, at: Instant) {
        self.unplugs.insert(alias.to_owned(), Unplug::Asked(at));
    }

    /// It could not be asked.
    pub(super) fn unplug_not_asked(&mut self, alias: &str) {
        self.unplugs.remove(alias);
    }

    /// The guest will not let go of it while it runs.
    pub(super) fn unplug_refused(&mut self, alias: &str, why: String) {
        self.unplugs.insert(alias.to_owned(), Unplug::Refused(why));
    }

    /// How the guest has the device with this alias, and why it will not let go, if so.
    pub(super) fn attachment(&self, alias: &str, at: Instant) -> (Attachment, Option<String>) {
        match self.unplugs.get(alias) {
            None => (Attachment::Attached, None),
            Some(Unplug::Asked(asked)) if at.duration_since(*asked) < UNPLUG_DEADLINE => (Attachment::Detaching, None),
            Some(Unplug::Asked(_)) => {
                let why = format!("the guest has not answered for {} s", UNPLUG_DEADLINE.as_secs());
                (Attachment::DetachRefused, Some(why))
            }
            Some(Unplug::Refused(why)) => (Attachment::DetachRefused, Some(why.clone())),
        }
    }

    /// Forgets unplugs of devices that the guest does not have any more.
    pub(super) fn keep_unplugs(&mut self, has: impl Fn(&str) -> bool) {
        self.unplugs.retain(|alias, _| has(alias));
    }

    /// The guest was asked to shut down.
    pub(super) fn shutdown_asked(&mut self, now: Now) {
        let before = self.shutdown.unwrap_or(Shutdown { first: now, last: now.at, times: 0 });
        self.shutdown = Some(Shutdown { last: now.at, times: before.times + 1, ..before });
    }

    /// It was, and may still do it.
    pub(super) fn shuts_down(&self, at: Instant) -> bool {
        self.shutdown.is_some_and(|shutdown| at.duration_since(shutdown.last) < SHUTDOWN_DEADLINE)
    }

    /// It was, and does not do it: what to tell people.
    pub(super) fn ignores_shutdown(&self, at: Instant) -> Option<String> {
        let shutdown = self.shutdown.filter(|shutdown| shutdown.times > 1 || !self.shuts_down(at))?;
        Some(format!(
            "it was asked to shut down at {}, {} in all, and still runs: shut it down by hand, or let its guest react to the power \
             button",
            shutdown.first.time,
            if shutdown.times == 1 { "once".to_owned() } else { format!("{} times", shutdown.times) }
        ))
    }
}

impl Memory {
    /// The run with this number; another one is over.
    pub(super) fn run(&mut self, domain: DomainUuid, id: u32, at: Instant) -> &mut Run {
        let run = self.runs.entry(domain).or_insert_with(|| Run::new(id, at));
        if run.id != id {
            *run = Run::new(id, at);
        }
        run
    }

    /// The run with this number, if it is the one that is known.
    pub(super) fn known(&mut self, domain: DomainUuid, id: u32) -> Option<&mut Run> {
        self.runs.get_mut(&domain).filter(|run| run.id == id)
    }

    /// The domain is off.
    pub(super) fn off(&mut self, domain: DomainUuid) {
        self.runs.remove(&domain);
    }

    /// Forgets domains that are not there any more.
    pub(super) fn keep(&mut self, there: impl Fn(DomainUuid) -> bool) {
        self.runs.retain(|uuid, _| there(*uuid));
    }

    /// libvirt tells of a domain. Says in words what it was; none: nothing that calls for a look.
    pub(super) fn told(&mut self, event: &DomainEvent, now: Now) -> Option<String> {
        let Some(id) = event.run else {
            self.off(event.uuid);
            return Some(words(&event.what));
        };
        if self.runs.get(&event.uuid).is_some_and(|run| run.id > id) {
            // Of a run that is over; libvirt counts them.
            return None;
        }
        let run = self.run(event.uuid, id, now.at);
        match &event.what {
            What::Lifecycle(sys::VIR_DOMAIN_EVENT_RESUMED) | What::Agent(true) => run.agent.ask_soon(),
            What::Reboot => {
                run.since = now.at;
                run.shutdown = None;
                run.agent.restarted();
            }
            What::Screen(phase, client) => {
                run.agent.ask_soon();
                if !run.screens.told(*phase, client.clone(), now.time) {
                    return None;
                }
            }
            What::Agent(false) => run.agent.left(now),
            What::Removed(alias) => {
                run.unplugs.remove(alias);
            }
            What::RemovalFailed(alias) => run.unplug_refused(alias, "the guest refused".to_owned()),
            What::Lifecycle(_) | What::Metadata | What::Added(_) => {}
        }
        Some(words(&event.what))
    }
}

fn words(what: &What) -> String {
    match what {
        What::Lifecycle(kind) => lifecycle(*kind).to_owned(),
        What::Reboot => "it rebooted".to_owned(),
        What::Screen(..) => "somebody came to its screen, or left".to_owned(),
        What::Agent(true) => "its guest agent came".to_owned(),
        What::Agent(false) => "its guest agent left".to_owned(),
        What::Metadata => "its metadata changed".to_owned(),
        What::Added(alias) => format!("it got the device {alias}"),
        What::Removed(alias) => format!("it let go of the device {alias}"),
        What::RemovalFailed(alias) => format!("it refused to let go of the device {alias}"),
    }
}

fn lifecycle(kind: u32) -> &'static str {
    match kind {
        sys::VIR_DOMAIN_EVENT_DEFINED => "it was defined",
        sys::VIR_DOMAIN_EVENT_UNDEFINED => "it was undefined",
        sys::VIR_DOMAIN_EVENT_STARTED => "it started",
        sys::VIR_DOMAIN_EVENT_SUSPENDED => "it was paused",
        sys::VIR_DOMAIN_EVENT_RESUMED => "it was resumed",
        sys::VIR_DOMAIN_EVENT_STOPPED => "it stopped",
        sys::VIR_DOMAIN_EVENT_SHUTDOWN => "its guest shut down",
        sys::VIR_DOMAIN_EVENT_PMSUSPENDED => "its guest went to sleep",
        sys::VIR_DOMAIN_EVENT_CRASHED => "it crashed",
        _ => "it changed",
    }
}
