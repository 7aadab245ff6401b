//! Asking guest agents who is logged in, on a thread of its own: a guest may take its time, and most of them are asked at every poll.

use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use headstart_core::id::DomainUuid;
use virt::domain::Domain;
use virt::error::ErrorNumber;

use super::connection::Connection;
use super::login::Answer;
use super::{Event, Shared, Wake, ffi};

/// How long a guest may take to answer, in seconds. libvirt's own default is for ever; its "default" for commands that must not hang is 5.
const ANSWER_DEADLINE: u16 = 5;
/// How long a question waits for room among the calls that take long.
const PATIENCE: Duration = Duration::from_secs(30);

/// The thread that asks.
pub(super) struct Agents {
    questions: Mutex<Option<Sender<(DomainUuid, u32)>>>,
}

impl Agents {
    pub(super) fn new(shared: Arc<Shared>, wake: Wake) -> Self {
        let (questions, received) = channel::<(DomainUuid, u32)>();
        let run = move || {
            for (domain, run) in received {
                let (answer, name) = question(&shared, domain);
                let now = shared.now();
                let mut memory = shared.memory();
                let news = memory
                    .known(domain, run)
                    .is_some_and(|run| run.agent.answered(&answer, shared.options.agents_every, now));
                drop(memory);
                if news {
                    wake(Event { domain: name, what: "its guest agent tells something new of its users".to_owned() });
                }
            }
        };
        if let Err(error) = thread::Builder::new().name("libvirt-agents".into()).spawn(run) {
            tracing::error!("no thread to ask guest agents: {error}");
        }
        Self { questions: Mutex::new(Some(questions)) }
    }

    /// Asks one, when its turn comes. The answer goes into the memory.
    pub(super) fn ask(&self, domain: DomainUuid, run: u32) {
        if let Some(questions) = &*self.questions.lock().unwrap_or_else(PoisonError::into_inner) {
            // The thread is gone only when everything ends.
            let _ = questions.send((domain, run));
        }
    }

    /// No more questions.
    pub(super) fn end(&self) {
        self.questions.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// One question; also the domain's name, for the log.
fn question(shared: &Shared, uuid: DomainUuid) -> (Answer, Option<String>) {
    let Ok(open) = shared.connection.get() else { return (Answer::NotAsked, None) };
    let Ok(domain) = open.connect.lookup_domain_by_uuid(uuid.uuid()) else { return (Answer::NotAsked, None) };
    let answer = ask(&shared.connection, &domain);
    (answer, domain.name().ok())
}

/// Asks and waits for the answer.
pub(super) fn ask(connection: &Connection, domain: &Domain) -> Answer {
    let Some(_long) = connection.long_call(PATIENCE) else { return Answer::NotAsked };
    // The deadline is the domain's, whoever asks: others, who may freeze a file system for a backup, get theirs back.
    if let Err(error) = ffi::set_agent_timeout(domain, Some(ANSWER_DEADLINE)) {
        tracing::debug!("no deadline for a guest agent: {error}");
        return Answer::NotAsked;
    }
    let users = ffi::users(domain);
    if let Err(error) = ffi::set_agent_timeout(domain, None) {
        tracing::debug!("a guest agent's deadline could not be lifted: {error}");
    }
    match users {
        Ok(users) => Answer::Users(users),
        Err(error) => match error.code().known() {
            Some(
                ErrorNumber::NoSupport
                | ErrorNumber::OperationUnsupported
                | ErrorNumber::ArgumentUnsupported
                | ErrorNumber::AgentCommandFailed,
            ) => Answer::NoList,
            Some(ErrorNumber::AgentUnresponsive | ErrorNumber::AgentCommandTimeout | ErrorNumber::AgentUnsynced) => {
                Answer::Silence
            }
            // libvirt is away, the domain stopped, another command has the agent.
            _ => Answer::NotAsked,
        },
    }
}
