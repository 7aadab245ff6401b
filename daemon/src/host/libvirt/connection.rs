//! The one connection to libvirt, and the thread that opens, loses and closes it.
//!
//! Calls are made by whoever needs them, on their own threads: starting a domain with a vGPU takes half a minute, and a look must not
//! wait for it. What is waited for, though, is opening: a daemon that was stopped accepts a connection and never answers, and before
//! the connection is there no keepalive ends the wait. So only this thread opens, and everybody else waits for it for a limited time.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use virt::connect::Connect;
use virt::error::Error;

use super::ffi::{self, Closed, Listening, Sink};
use super::{LibvirtError, Options};

/// An idle libvirt is asked for a sign of life this often, in seconds ...
pub(super) const KEEPALIVE_INTERVAL: i32 = 5;
/// ... and given up after so many that were not answered: a frozen daemon fails calls after 15 to 20 s.
pub(super) const KEEPALIVE_COUNT: u32 = 3;
/// Whoever needs the connection waits so long for it to open. Below the loop's patience with a look (20 s); with systemd's socket activation
/// the daemon is started by this, which takes a few seconds on a host with many domains.
pub(super) const OPEN_DEADLINE: Duration = Duration::from_secs(10);
/// A lost connection is tried again after this. A refused connection costs microseconds.
const RETRY: Duration = Duration::from_secs(2);
/// Calls that may take long at the same time: starts, attachments, questions to guests. libvirtd serves five calls of one client
/// (`max_client_requests`) and while it has these it does not read on, not even signs of life: so a look always finds one free.
const LONG_CALLS: usize = 3;

/// An open connection.
pub(super) struct Open {
    /// Events end when this goes.
    _listening: Listening,
    /// To call with.
    pub(super) connect: Connect,
    /// Of the daemon, as libvirt counts: 9 007 000 is 9.7.0.
    pub(super) version: u32,
    /// Which of our connections it is.
    number: u64,
}

enum State {
    Closed,
    Opening,
    Open(Arc<Open>),
    /// To be dropped by the thread.
    Lost(Arc<Open>),
}

struct Slot {
    state: State,
    /// Somebody needs it; from then on it is kept open.
    needed: bool,
    /// Attempts that ended.
    attempts: u64,
    /// Why the last one failed, or the connection was lost.
    why: String,
    ended: bool,
    long_calls: usize,
}

/// The connection, open or not.
pub(super) struct Connection {
    uri: String,
    keepalive: (i32, u32),
    open_deadline: Duration,
    slot: Mutex<Slot>,
    changed: Condvar,
}

/// Whether the connection is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Opened,
    Lost,
}

impl Connection {
    /// Not open yet. `tell` hears of the connection, `sink` of what it tells.
    pub(super) fn new(
        uri: &str,
        options: &Options,
        sink: Sink,
        tell: impl Fn(Change) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let slot = Slot {
            state: State::Closed,
            needed: false,
            attempts: 0,
            why: "it has not been asked yet".to_owned(),
            ended: false,
            long_calls: 0,
        };
        let connection = Arc::new(Self {
            uri: uri.to_owned(),
            keepalive: options.keepalive,
            open_deadline: options.open_deadline,
            slot: Mutex::new(slot),
            changed: Condvar::new(),
        });
        let keeper = Arc::clone(&connection);
        let run = move || keep(&keeper, &sink, &tell);
        if let Err(error) = thread::Builder::new().name("libvirt".into()).spawn(run) {
            connection.lock().why = format!("no thread for it: {error}");
        }
        connection
    }

    fn lock(&self) -> MutexGuard<'_, Slot> {
        // A panic ends the whole daemon, so a poisoned lock is met in tests only.
        self.slot.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The open connection. If it is not open, it is tried to open it now.
    pub(super) fn get(&self) -> Result<Arc<Open>, LibvirtError> {
        let deadline = Instant::now() + self.open_deadline;
        let mut slot = self.lock();
        let attempts = slot.attempts;
        loop {
            if let State::Open(open) = &slot.state {
                return Ok(Arc::clone(open));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let opening = matches!(slot.state, State::Opening);
            if left.is_zero() || slot.ended || (!opening && slot.attempts > attempts) {
                let why = if opening { "it accepts connections and does not answer" } else { slot.why.as_str() };
                return Err(self.error(why));
            }
            if !opening {
                slot.needed = true;
                self.changed.notify_all();
            }
            slot = self.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn error(&self, why: &str) -> LibvirtError {
        LibvirtError(format!(
            "{}: libvirt is not there: {}; see systemctl status virtqemud.socket libvirtd.socket",
            self.uri,
            why.trim_end_matches('.')
        ))
    }

    /// A call failed. If the connection is dead, it is given up, and the error says so.
    pub(super) fn check(&self, open: &Open) -> Option<LibvirtError> {
        if open.connect.is_alive().unwrap_or(false) {
            return None;
        }
        let why = "the connection broke";
        self.lose(open.number, why);
        Some(self.error(why))
    }

    /// The connection with this number is of no use any more.
    fn lose(&self, number: u64, why: &str) {
        let mut slot = self.lock();
        if let State::Open(open) = &slot.state
            && open.number == number
        {
            slot.state = State::Lost(Arc::clone(open));
            why.clone_into(&mut slot.why);
            self.changed.notify_all();
        }
    }

    /// Waits until one more call may take long. `None`: for too long.
    pub(super) fn long_call(&self, patience: Duration) -> Option<LongCall<'_>> {
        let deadline = Instant::now() + patience;
        let mut slot = self.lock();
        while slot.long_calls >= LONG_CALLS {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            slot = self.changed.wait_timeout(slot, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        slot.long_calls += 1;
        Some(LongCall(self))
    }

    /// The connection is not needed any more.
    pub(super) fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }
}

/// The permission to make a call that may take long.
pub(super) struct LongCall<'a>(&'a Connection);

impl Drop for LongCall<'_> {
    fn drop(&mut self) {
        self.0.lock().long_calls -= 1;
        self.0.changed.notify_all();
    }
}

/// What the thread has to do next.
enum Duty {
    Open,
    Drop(Arc<Open>),
    End,
}

/// The thread's whole life.
fn keep(connection: &Arc<Connection>, sink: &Sink, tell: &impl Fn(Change)) {
    let mut number = 0;
    loop {
        match connection.duty() {
            Duty::End => return,
            Duty::Drop(open) => {
                drop(open);
                tell(Change::Lost);
            }
            Duty::Open => {
                number += 1;
                let weak = Arc::downgrade(connection);
                // This thread drops it and tells of it: libvirt calls this while it holds the connection.
                let closed: Closed = Arc::new(move || {
                    if let Some(connection) = weak.upgrade() {
                        connection.lose(number, "it closed the connection");
                    }
                });
                let result = connection.open(sink, &closed, number);
                let opened = result.is_ok();
                connection.opened(result);
                if opened {
                    tell(Change::Opened);
                }
            }
        }
    }
}

impl Connection {
    /// Waits for something to do.
    fn duty(&self) -> Duty {
        let mut slot = self.lock();
        loop {
            if slot.ended {
                let state = std::mem::replace(&mut slot.state, State::Closed);
                // What is open closes here, and not under the lock: events that come meanwhile want it.
                drop(slot);
                drop(state);
                return Duty::End;
            }
            let retry = match std::mem::replace(&mut slot.state, State::Closed) {
                State::Lost(open) => return Duty::Drop(open),
                State::Closed if slot.needed => {
                    slot.state = State::Opening;
                    slot.needed = false;
                    return Duty::Open;
                }
                // Once it was there, it is opened again by itself: its events are wanted also when nobody looks.
                State::Closed => slot.attempts > 0,
                state => {
                    slot.state = state;
                    false
                }
            };
            if retry {
                let (guard, waited) = self.changed.wait_timeout(slot, RETRY).unwrap_or_else(PoisonError::into_inner);
                slot = guard;
                slot.needed |= waited.timed_out();
            } else {
                slot = self.changed.wait(slot).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn open(&self, sink: &Sink, closed: &Closed, number: u64) -> Result<Open, Error> {
        ffi::start_events()?;
        let connect = Connect::open(Some(&self.uri))?;
        // The test driver has none, and needs none.
        if let Err(error) = connect.set_keep_alive(self.keepalive.0, self.keepalive.1) {
            tracing::debug!("{}: no keepalive: {error}", self.uri);
        }
        let version = connect.lib_version()?;
        let listening = Listening::new(connect.clone(), sink, closed);
        Ok(Open { _listening: listening, connect, version, number })
    }

    fn opened(&self, result: Result<Open, Error>) {
        let mut slot = self.lock();
        slot.attempts += 1;
        match result {
            Ok(open) => slot.state = State::Open(Arc::new(open)),
            Err(error) => {
                slot.state = State::Closed;
                error.message().clone_into(&mut slot.why);
            }
        }
        self.changed.notify_all();
    }
}
