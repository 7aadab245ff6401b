//! An adapter under test, and what it tells.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use headstart_core::gpu::DeviceId;
use headstart_core::id::DomainUuid;
use headstart_core::observed::Domain;
use headstart_core::step::{Applied, FailureKind, Step};
use headstartd::host::libvirt::{Event, Libvirt, LibvirtError, Options, Seen};

use crate::server::{DEADLINE, Server};

/// At least so often a test that waits looks again.
const POLL: Duration = Duration::from_millis(500);

/// The adapter, and its wake-ups.
pub(crate) struct Watch {
    pub(crate) libvirt: Libvirt,
    events: Mutex<Receiver<Event>>,
}

impl Watch {
    pub(crate) fn new(uri: &str, options: Options) -> Self {
        let (sender, events) = channel();
        let wake = move |event| {
            // The test may be over.
            let _ = sender.send(event);
        };
        Self { libvirt: Libvirt::new(uri, wake, options), events: Mutex::new(events) }
    }

    pub(crate) fn on(server: &Server) -> Self {
        Self::new(&server.uri(), Options { keepalive: (1, 2), ..Options::default() })
    }

    pub(crate) fn look(&self) -> Seen {
        self.libvirt.observe().unwrap()
    }

    pub(crate) fn domain(&self, uuid: DomainUuid) -> Domain {
        self.look().domains.remove(&uuid).expect("it is there")
    }

    /// Power, login, devices and problems, a line each.
    pub(crate) fn picture(&self, uuid: DomainUuid) -> String {
        let seen = self.look();
        let Some(domain) = seen.domains.get(&uuid) else { return "gone".to_owned() };
        let mut lines = vec![format!("{}: {:?}, {:?}", domain.name, domain.power, domain.login)];
        lines.extend(domain.hostdevs.iter().map(|hostdev| {
            format!("{} {:?}{}", hostdev.device, hostdev.attachment, if hostdev.ours { ", ours" } else { "" })
        }));
        lines.extend(seen.problems.iter().map(ToString::to_string));
        lines.join("\n")
    }

    /// Looks again after every event and after a while, as the loop does, until it is so.
    pub(crate) fn until(&self, what: &str, is_so: impl Fn(&Result<Seen, LibvirtError>) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        let mut told = Vec::new();
        loop {
            let seen = self.libvirt.observe();
            if is_so(&seen) {
                return;
            }
            assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}; told: {told:?}; seen: {seen:?}");
            // libvirt does not tell everything: as the loop, we look now and then without being told.
            let event = self.events.lock().unwrap().recv_timeout(POLL);
            told.extend(event.map(|event| event.to_string()));
        }
    }

    /// Waits until a domain is so.
    pub(crate) fn until_domain(&self, uuid: DomainUuid, what: &str, is_so: impl Fn(Option<&Domain>) -> bool) {
        self.until(what, |seen| seen.as_ref().is_ok_and(|seen| is_so(seen.domains.get(&uuid))));
    }

    /// Waits for these words.
    pub(crate) fn told(&self, words: &str) {
        let deadline = Instant::now() + DEADLINE;
        let mut told = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.events.lock().unwrap().recv_timeout(left) {
                Ok(event) if event.to_string() == words => return,
                Ok(event) => told.push(event.to_string()),
                Err(error) => panic!("not told within {DEADLINE:?}: {words}; told: {told:?}: {error}"),
            }
        }
    }

    /// What was told until now goes unread.
    pub(crate) fn forget(&self) {
        while self.events.lock().unwrap().recv_timeout(Duration::ZERO).is_ok() {}
    }

    pub(crate) fn changed(&self, step: &Step) {
        assert_eq!(self.libvirt.apply(step), Ok(Applied::Changed), "{step}");
    }

    pub(crate) fn already_so(&self, step: &Step) {
        assert_eq!(self.libvirt.apply(step), Ok(Applied::AlreadySo), "{step}");
    }

    /// How a step fails.
    pub(crate) fn fails(&self, step: &Step) -> (FailureKind, String) {
        let error = self.libvirt.apply(step).unwrap_err();
        (error.kind, error.text)
    }
}

pub(crate) fn vf(function: u8) -> DeviceId {
    DeviceId::Vf(format!("0000:3b:00.{function}").parse().unwrap())
}

pub(crate) fn attach(domain: DomainUuid, device: DeviceId, live: bool) -> Step {
    Step::AttachHostdev { gpu: "0000:3b:00.0".parse().unwrap(), domain, device, live }
}

pub(crate) fn detach(domain: DomainUuid, device: DeviceId, live: bool) -> Step {
    Step::DetachHostdev { gpu: Some("0000:3b:00.0".parse().unwrap()), domain, device, live }
}

pub(crate) fn start(domain: DomainUuid) -> Step {
    Step::StartDomain { domain }
}

pub(crate) fn shut_down(domain: DomainUuid) -> Step {
    Step::ShutDownDomain { domain }
}
