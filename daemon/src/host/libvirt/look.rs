//! From what libvirt says of all domains to what the core wants to know of them.
//!
//! [`Said`] is text and numbers, so that everything here can be tried without a libvirt. What the running instance has and what the
//! definition says are two things: a device counts as the domain's if either names it.

use std::collections::BTreeSet;
use std::time::Instant;

use headstart_core::gpu::DeviceId;
use headstart_core::id::{DesktopName, DomainUuid};
use headstart_core::observed::{Attachment, Domain, Hostdev, Login, Power, Problem};
use virt::sys;

use super::Seen;
use super::login::{Now, login};
use super::memory::{Memory, Run};
use super::tcp::Connected;
use crate::host::desktop_xml::DesktopXml;
use crate::host::domain_xml::{DomainXml, NamedDevice};

/// What libvirt says of one domain.
#[derive(Clone, Debug)]
pub(super) struct Said {
    pub(super) uuid: DomainUuid,
    pub(super) name: String,
    /// `virDomainState` and its reason.
    pub(super) state: (u32, u32),
    /// It is off and its memory is kept: its next start goes on from there.
    pub(super) saved: bool,
    /// XML of the running instance, or of the definition if it is off.
    pub(super) current: String,
    /// XML of the definition, if it runs and has one that lasts.
    pub(super) definition: Option<String>,
}

/// Both sides of a domain, read.
#[derive(Clone, Debug)]
pub(super) struct Sides {
    pub(super) live: Option<DomainXml>,
    pub(super) config: Option<DomainXml>,
}

/// Where a device stands, and whether every mention bears our mark.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mention {
    pub(super) live: bool,
    pub(super) config: bool,
    pub(super) ours: bool,
}

impl Sides {
    pub(super) fn read(said: &Said) -> Result<Self, String> {
        let current = DomainXml::parse(&said.current).map_err(|error| error.to_string())?;
        if current.run.is_none() {
            return Ok(Self { live: None, config: Some(current) });
        }
        let definition = said.definition.as_deref().map(DomainXml::parse).transpose();
        Ok(Self { live: Some(current), config: definition.map_err(|error| error.to_string())? })
    }

    /// The number of its run; none: it is off.
    pub(super) fn run(&self) -> Option<u32> {
        self.live.as_ref().and_then(|live| live.run)
    }

    fn both(&self) -> impl Iterator<Item = &DomainXml> {
        self.live.iter().chain(&self.config)
    }

    /// Every device that either side names.
    pub(super) fn devices(&self) -> BTreeSet<DeviceId> {
        self.both().flat_map(|xml| xml.devices.iter().map(|named| named.device)).collect()
    }

    pub(super) fn mention(&self, device: DeviceId) -> Mention {
        let named = |xml: &Option<DomainXml>| xml.as_ref().and_then(|xml| xml.device(device)).map(NamedDevice::ours);
        let (live, config) = (named(&self.live), named(&self.config));
        let ours = live.or(config).is_some() && live != Some(false) && config != Some(false);
        Mention { live: live.is_some(), config: config.is_some(), ours }
    }

    /// A device of ours on either side.
    pub(super) fn ours(&self) -> Option<DeviceId> {
        self.devices().into_iter().find(|device| self.mention(*device).ours)
    }

    /// What makes it a desktop: the definition's word, which lasts; else the running instance's.
    fn desktop(&self) -> (DesktopXml, Option<String>) {
        let of = |xml: &Option<DomainXml>| xml.as_ref().map(|xml| xml.desktop.clone()).unwrap_or_default();
        let (live, config) = (of(&self.live), of(&self.config));
        if self.config.is_none() || config != DesktopXml::default() {
            return (if self.config.is_some() { config } else { live }, None);
        }
        let lost = (live != DesktopXml::default()).then(|| {
            "its headstart metadata stands in the running instance only and goes with it: set it with virsh metadata --config"
                .to_owned()
        });
        (live, lost)
    }
}

/// The state of a domain in words of the core, before what is remembered of it.
pub(super) fn power(said: &Said) -> Power {
    let unknown = |text: &str| Power::Unknown(text.to_owned());
    match said.state {
        (sys::VIR_DOMAIN_RUNNING | sys::VIR_DOMAIN_BLOCKED, _) => Power::Running { ready: false },
        (sys::VIR_DOMAIN_SHUTDOWN, _) => Power::Stopping,
        (sys::VIR_DOMAIN_SHUTOFF, _) if said.saved => unknown(
            "it has a managed save image, and its next start goes on with the devices it had then: start it, if need be with \
             --force-boot, which drops the image",
        ),
        (sys::VIR_DOMAIN_SHUTOFF, sys::VIR_DOMAIN_SHUTOFF_SAVED) => unknown(
            "it was saved into a file, which would not fit its disks any more if it were started anew: virsh restore the file, or \
             start it yourself",
        ),
        (sys::VIR_DOMAIN_SHUTOFF, _) => Power::Off,
        (sys::VIR_DOMAIN_PAUSED, reason) => match reason {
            sys::VIR_DOMAIN_PAUSED_STARTING_UP => Power::Running { ready: false },
            sys::VIR_DOMAIN_PAUSED_SHUTTING_DOWN => Power::Stopping,
            sys::VIR_DOMAIN_PAUSED_MIGRATION => unknown("it is being migrated"),
            sys::VIR_DOMAIN_PAUSED_SAVE => unknown("it is being saved"),
            sys::VIR_DOMAIN_PAUSED_SNAPSHOT => unknown("a snapshot of it is being made"),
            sys::VIR_DOMAIN_PAUSED_IOERROR => unknown("it is paused, since its disk failed: look at it and resume it"),
            sys::VIR_DOMAIN_PAUSED_CRASHED => {
                unknown("it crashed and is kept for a look: destroy it when you are done")
            }
            _ => unknown("it is paused: resume it or shut it off"),
        },
        (sys::VIR_DOMAIN_CRASHED, _) => unknown("it crashed and is kept for a look: destroy it when you are done"),
        (sys::VIR_DOMAIN_PMSUSPENDED, _) => unknown("its guest sleeps: wake it with virsh dompmwakeup, or shut it off"),
        (state, reason) => Power::Unknown(format!("libvirt gives it the state {state} ({reason})")),
    }
}

/// What the fold needs beside what libvirt says.
pub(super) struct Situation<'a> {
    pub(super) now: Now,
    /// Whose users are of interest: desktops. Of others nothing is asked or remembered.
    pub(super) watched: &'a (dyn Fn(&Domain) -> bool + Send + Sync),
    /// Who is connected to which port of this host; asked at most once.
    pub(super) connected: &'a dyn Fn() -> Result<Connected, String>,
}

/// These domains. Those whose agent should be asked for its users are listed besides.
pub(super) fn seen(all: &[Said], memory: &mut Memory, situation: &Situation) -> (Seen, Vec<(DomainUuid, u32)>) {
    let mut fold = Fold { situation, seen: Seen::default(), ask: Vec::new(), connected: None };
    fold.seen.complete = true;
    for said in all {
        fold.domain(said, memory);
    }
    (fold.seen, fold.ask)
}

struct Fold<'a> {
    situation: &'a Situation<'a>,
    seen: Seen,
    ask: Vec<(DomainUuid, u32)>,
    connected: Option<Result<Connected, String>>,
}

impl Fold<'_> {
    fn problem(&mut self, object: &DesktopName, text: impl Into<String>) {
        self.seen.problems.push(Problem { object: object.to_string(), text: text.into() });
    }

    /// A domain's name, or its UUID where the name is one that we cannot carry.
    fn name(&mut self, said: &Said) -> DesktopName {
        match DesktopName::new(said.name.as_str()) {
            Ok(name) => name,
            Err(error) => {
                let name = DesktopName::new(said.uuid.to_string()).expect("a UUID is a name");
                self.problem(&name, format!("{error}; it is called by its UUID here"));
                name
            }
        }
    }

    fn domain(&mut self, said: &Said, memory: &mut Memory) {
        let name = self.name(said);
        let at = self.situation.now.at;
        let mut domain = Domain {
            uuid: said.uuid,
            name: name.clone(),
            power: power(said),
            hostdevs: Vec::new(),
            login: Login::None,
            screen: Login::None,
            settings: None,
        };
        let sides = match Sides::read(said) {
            Ok(sides) => sides,
            Err(error) => {
                // What it names is not known, so no device counts as free.
                self.seen.complete = false;
                self.problem(&name, format!("{error}; until it can be read, no device counts as free"));
                domain.power = Power::Unknown(error.clone());
                domain.login = Login::Unknown(error);
                self.seen.domains.insert(said.uuid, domain);
                return;
            }
        };
        let (desktop, lost) = sides.desktop();
        domain.settings = desktop.settings;
        for text in desktop.mistakes.into_iter().chain(lost) {
            self.problem(&name, text);
        }
        let run = sides.run().map(|id| memory.run(said.uuid, id, at));
        if run.is_none() && said.state.0 != sys::VIR_DOMAIN_SHUTOFF {
            // It stopped while it was asked.
            domain.power = Power::Stopping;
        }
        let (hostdevs, problems) = hostdevs(&sides, run.as_deref(), at);
        domain.hostdevs = hostdevs;
        if let (Some(run), Some(live)) = (run, &sides.live) {
            run.keep_unplugs(|alias| live.devices.iter().any(|named| named.alias.as_deref() == Some(alias)));
            for text in problems {
                self.problem(&name, text);
            }
            self.running(&mut domain, live, run);
        } else {
            memory.off(said.uuid);
        }
        self.seen.domains.insert(said.uuid, domain);
    }

    /// What only a running domain has: a guest, and people.
    fn running(&mut self, domain: &mut Domain, live: &DomainXml, run: &mut Run) {
        let now = self.situation.now;
        if matches!(domain.power, Power::Running { .. }) {
            domain.power = Power::Running { ready: run.is_up(live.agent, now.at) };
            if run.shuts_down(now.at) {
                domain.power = Power::Stopping;
            }
            if let Some(text) = run.ignores_shutdown(now.at) {
                self.problem(&domain.name, text);
            }
        }
        if !(self.situation.watched)(domain) {
            return;
        }
        if !live.screens.is_empty() {
            let connected = self.connected.get_or_insert_with(self.situation.connected);
            let clients = connected.as_ref().map_err(Clone::clone).map(|connected| {
                live.screens.iter().filter_map(|port| connected.get(port)).flatten().copied().collect()
            });
            run.screens.connected(&clients, now.time);
        }
        let listens = live.agent == Some(true);
        if live.agent == Some(false) {
            run.agent.left(now);
        }
        // A guest that stands still answers nobody.
        let answers = matches!(domain.power, Power::Running { .. } | Power::Stopping);
        if listens && answers && run.agent.is_due(now.at) {
            self.ask.push((domain.uuid, run.id));
        }
        domain.screen = run.screens.login();
        domain.login = match (login(&run.agent, listens, &run.screens), &domain.power) {
            // Nobody is logged in to a guest that is not up yet.
            (Login::Unknown(_), Power::Running { ready: false })
                if !run.agent.has_spoken() && domain.screen == Login::None =>
            {
                Login::None
            }
            (told, _) => told,
        };
    }
}

/// Every device that either side names, and what people should know of it.
fn hostdevs(sides: &Sides, run: Option<&Run>, at: Instant) -> (Vec<Hostdev>, Vec<String>) {
    let mut problems = Vec::new();
    let hostdev = |device: DeviceId| {
        let mention = sides.mention(device);
        let alias = sides.live.as_ref().and_then(|live| live.device(device)).and_then(|named| named.alias.as_deref());
        let (attachment, why) = match (run, alias) {
            (Some(run), Some(alias)) if mention.ours => run.attachment(alias, at),
            // The definition names it, the guest does not have it (it gave it up by itself, or was started from a saved state): that
            // changes when the domain is off, as after a refusal.
            (Some(_), None) if mention.ours && !mention.live => {
                let why = "the running guest does not have it, its definition does; it gets it at its next start";
                (Attachment::DetachRefused, Some(why.to_owned()))
            }
            _ => (Attachment::Attached, None),
        };
        problems.extend(why.map(|why| format!("device {device}: {why}")));
        Hostdev { device, attachment, ours: mention.ours }
    };
    (sides.devices().into_iter().map(hostdev).collect(), problems)
}

#[cfg(test)]
mod tests;
