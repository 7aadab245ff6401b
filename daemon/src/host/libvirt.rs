//! libvirt: what its domains are and have, who is at them, and the steps that change them.
//!
//! One connection for everything, opened when it is first needed and again when it was lost. Everything that libvirt tells by itself
//! only says "look again"; what a look shows is read from libvirt each time, except what libvirt does not tell twice (`memory`).
//! Deliberately not here: any decision, any retry, host devices themselves. Nothing else in the program knows libvirt.

mod act;
mod agent;
mod connection;
mod failure;
mod ffi;
mod login;
mod look;
mod memory;
mod read;
mod tcp;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use headstart_core::desktop::Settings;
use headstart_core::id::{DomainUuid, PciAddress};
use headstart_core::observed::{Domain, Login, Problem};
use headstart_core::step::{Applied, Step, StepError};

use self::agent::Agents;
use self::connection::{Change, Connection};
use self::ffi::DomainEvent;
use self::login::Now;
use self::look::{Said, Sides, Situation};
use self::memory::Memory;
use crate::clock::Clock;

/// All domains in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Also those that headstart does not manage.
    pub domains: BTreeMap<DomainUuid, Domain>,
    /// What an administrator should know of them.
    pub problems: Vec<Problem>,
    /// Every domain's devices could be read. If not, a device that none of these domains names may still be somebody's.
    pub complete: bool,
}

/// libvirt does not answer, so nothing is known of any domain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct LibvirtError(String);

/// Something happened: look again. The words are for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// To which domain; none: to the connection.
    pub domain: Option<String>,
    /// What.
    pub what: String,
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.domain {
            Some(domain) => write!(f, "{domain}: {}", self.what),
            None => f.write_str(&self.what),
        }
    }
}

/// Which driver a VF has when a domain gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VfKind {
    /// Any: libvirt binds it to vfio-pci and back (`managed='yes'`).
    Plain,
    /// Its vendor's VFIO variant driver, which it keeps (`managed='no'`).
    Variant,
}

/// What the adapter is told by others.
pub struct Options {
    /// The time.
    pub clock: Clock,
    /// Which domains are desktops. Of others no users are asked for; their guests are nobody's business. It must not wait, nor call
    /// this.
    pub watched: Box<dyn Fn(&Domain) -> bool + Send + Sync>,
    /// What a VF is. libvirt's XML needs it and a step does not say it: the hardware knows.
    pub vf_kind: Box<dyn Fn(PciAddress) -> VfKind + Send + Sync>,
    /// Seconds between signs of life, and how many may be missed.
    pub keepalive: (i32, u32),
    /// How long a look or a step waits for the connection to open.
    pub open_deadline: Duration,
    /// `/proc`, where the kernel tells who is connected to a screen.
    pub proc: PathBuf,
    /// How long a guest agent's answer is good: users also log in over protocols of which libvirt tells nothing.
    pub agents_every: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            clock: Clock::Wall,
            watched: Box::new(|domain| domain.settings.is_some() || domain.hostdevs.iter().any(|hostdev| hostdev.ours)),
            vf_kind: Box::new(|_| VfKind::Plain),
            keepalive: (connection::KEEPALIVE_INTERVAL, connection::KEEPALIVE_COUNT),
            open_deadline: connection::OPEN_DEADLINE,
            proc: PathBuf::from("/proc"),
            agents_every: Duration::from_secs(30),
        }
    }
}

/// Who is told to look again.
type Wake = Arc<dyn Fn(Event) + Send + Sync>;

/// What all threads share.
struct Shared {
    connection: Arc<Connection>,
    memory: Arc<Mutex<Memory>>,
    options: Options,
}

impl Shared {
    fn now(&self) -> Now {
        Now { at: Instant::now(), time: self.options.clock.now() }
    }

    /// Never held while libvirt is called.
    fn memory(&self) -> MutexGuard<'_, Memory> {
        lock(&self.memory)
    }

    fn look(&self, all: &[Said]) -> (Seen, Vec<(DomainUuid, u32)>) {
        let connected = || tcp::read(&self.options.proc);
        let situation = Situation { now: self.now(), watched: &self.options.watched, connected: &connected };
        look::seen(all, &mut self.memory(), &situation)
    }

    /// Who is at a domain now. Its agent is asked, if somebody listens.
    fn login_now(&self, domain: &virt::domain::Domain, said: &Said, sides: &Sides) -> Login {
        if let (Some(run), Some(true)) = (sides.run(), sides.live.as_ref().and_then(|live| live.agent)) {
            let answer = agent::ask(&self.connection, domain);
            let now = self.now();
            self.memory().run(said.uuid, run, now.at).agent.answered(&answer, self.options.agents_every, now);
        }
        let (mut seen, _) = self.look(std::slice::from_ref(said));
        seen.domains.remove(&said.uuid).map_or(Login::None, |domain| domain.login)
    }
}

fn lock(memory: &Mutex<Memory>) -> MutexGuard<'_, Memory> {
    // A panic ends the whole daemon, so a poisoned lock is met in tests only.
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The libvirt of this host.
pub struct Libvirt {
    shared: Arc<Shared>,
    agents: Agents,
}

impl Libvirt {
    /// Connects when it is first asked. `wake` is called on threads of libvirt: it must not wait, nor call this.
    pub fn new(uri: &str, wake: impl Fn(Event) + Send + Sync + 'static, options: Options) -> Self {
        let wake: Wake = Arc::new(wake);
        let memory = Arc::new(Mutex::new(Memory::default()));
        let sink = {
            let (memory, wake, clock) = (Arc::clone(&memory), Arc::clone(&wake), options.clock.clone());
            Arc::new(move |event: DomainEvent| {
                let now = Now { at: Instant::now(), time: clock.now() };
                let what = lock(&memory).told(&event, now);
                if let Some(what) = what {
                    wake(Event { domain: Some(event.name), what });
                }
            })
        };
        let tell = {
            let wake = Arc::clone(&wake);
            move |change| {
                let what = match change {
                    Change::Opened => "libvirt is there",
                    Change::Lost => "libvirt is gone",
                };
                wake(Event { domain: None, what: what.to_owned() });
            }
        };
        let connection = Connection::new(uri, &options, sink, tell);
        let shared = Arc::new(Shared { connection, memory, options });
        let agents = Agents::new(Arc::clone(&shared), wake);
        Self { shared, agents }
    }

    /// Looks at all domains.
    ///
    /// # Errors
    /// libvirt does not answer.
    pub fn observe(&self) -> Result<Seen, LibvirtError> {
        let open = self.shared.connection.get()?;
        let all = read::all(&open.connect).map_err(|error| {
            let lost = self.shared.connection.check(&open);
            lost.unwrap_or_else(|| LibvirtError(format!("libvirt could not tell of its domains: {}", error.message())))
        })?;
        let (seen, ask) = self.shared.look(&all);
        let mut memory = self.shared.memory();
        memory.keep(|uuid| seen.domains.contains_key(&uuid));
        for (domain, id) in ask {
            if let Some(run) = memory.known(domain, id) {
                run.agent.ask();
                self.agents.ask(domain, id);
            }
        }
        drop(memory);
        Ok(seen)
    }

    /// Carries out a step on a domain.
    ///
    /// # Errors
    /// What went wrong, by what the loop has to do about it.
    pub fn apply(&self, step: &Step) -> Result<Applied, StepError> {
        act::apply(&self.shared, step)
    }

    /// Writes a desktop's settings into its domain's metadata, of the definition and of the running instance; none takes them away.
    ///
    /// # Errors
    /// As of a step.
    pub fn set_settings(&self, domain: DomainUuid, settings: Option<&Settings>) -> Result<Applied, StepError> {
        act::set_settings(&self.shared, domain, settings)
    }
}

impl Drop for Libvirt {
    fn drop(&mut self) {
        self.agents.end();
        self.shared.connection.end();
    }
}
