//! What systemd is told, if it started us: ready, alive, how it stands in one sentence, stopping.
//!
//! Only the loop says that it is alive, so that a loop that hangs is noticed. Nothing here fails or waits: what systemd does not take
//! is dropped, and if that lasts the watchdog acts. Not here: what is done when systemd asks us to stop, which is `main`'s.

use std::sync::LazyLock;
use std::sync::mpsc::{Receiver, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::time::Duration;

use sd_notify::NotifyState;
use tokio::time::Instant;

use crate::status::{Mode, Status};

/// The service manager, as the loop sees it.
#[derive(Debug)]
pub struct Systemd {
    /// How often it is told that we are alive; none: it does not watch.
    every: Option<Duration>,
    next: Instant,
    said: String,
}

impl Systemd {
    /// `watchdog`: the time after which it takes us for dead, as [`sd_notify::watchdog_enabled`] reads it from the environment.
    /// It is told in half of that, as `sd_watchdog_enabled(3)` advises.
    pub fn new(watchdog: Option<Duration>) -> Self {
        let every = watchdog.filter(|time| !time.is_zero()).map(|time| time / 2);
        Self { every, next: Instant::now(), said: String::new() }
    }

    /// We are alive.
    pub fn alive(&mut self) {
        if let Some(every) = self.every {
            tell(&NotifyState::Watchdog);
            self.next = Instant::now() + every;
        }
    }

    /// Comes back when it has to be told again that we are alive; never if it does not watch. Real time, also in a simulation.
    pub async fn due(&self) {
        match self.every {
            Some(_) => tokio::time::sleep_until(self.next).await,
            None => std::future::pending().await,
        }
    }

    /// How it stands, if that differs from what was said last.
    pub fn say(&mut self, status: &Status) {
        let states: Vec<&str> = status.desktops.values().map(|desktop| desktop.state).collect();
        let sentence = sentence(status.mode, &states, status.problems.len());
        if sentence != self.said {
            tell(&NotifyState::Status(&sentence));
            self.said = sentence;
        }
    }
}

/// The service can be used.
pub fn ready() {
    tell(&NotifyState::Ready);
}

/// The service ends. Comes back when systemd knows, or does not listen.
pub fn stopping() {
    let said = tell(&NotifyState::Stopping);
    // The process may end right after this, and the thread with it.
    let _ = said.recv_timeout(LAST_WORD);
}

/// What is to be told and was not taken yet; more is dropped.
const UNTOLD: usize = 16;
/// How long the end waits for systemd to take the last word.
const LAST_WORD: Duration = Duration::from_millis(200);

/// The thread that talks to systemd: its socket is a datagram socket that blocks once systemd has fallen behind.
static TELLER: LazyLock<SyncSender<Word>> = LazyLock::new(|| {
    let (sender, receiver) = sync_channel::<Word>(UNTOLD);
    std::thread::spawn(move || {
        for word in receiver {
            if let Err(error) = sd_notify::notify(&[NotifyState::Custom(&word.state)]) {
                tracing::debug!("systemd cannot be told {}: {error}", word.state);
            }
            // Nobody waits for most words.
            let _ = word.said.send(());
        }
    });
    sender
});

/// What is to be told, and how to hear that it was.
struct Word {
    state: String,
    said: Sender<()>,
}

/// Says it where systemd listens; elsewhere this does nothing.
fn tell(state: &NotifyState<'_>) -> Receiver<()> {
    let (said, heard) = channel();
    if let Err(TrySendError::Full(word)) = TELLER.try_send(Word { state: state.to_string(), said }) {
        tracing::debug!("systemd does not listen; {} is dropped", word.state);
    }
    heard
}

/// What `systemctl status` shows.
fn sentence(mode: Mode, states: &[&str], problems: usize) -> String {
    let mode = match mode {
        Mode::Shadow => "Shadow mode, nothing is done",
        Mode::Armed => "Armed",
    };
    let among = |some: &[&str]| states.iter().filter(|state| some.contains(state)).count();
    let (all, in_use, reserved) = (states.len(), among(&["in-use"]), among(&["preparing", "ready"]));
    let mut text = format!("{mode}: {in_use} of {all} desktops in use, {reserved} reserved ahead");
    for (n, one, more) in [(among(&["waiting"]), "waiting", "waiting"), (problems, "problem", "problems")] {
        if n > 0 {
            text = format!("{text}, {n} {}", if n == 1 { one } else { more });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sentence_tells_how_it_stands() {
        assert_eq!(
            sentence(Mode::Shadow, &[], 0),
            "Shadow mode, nothing is done: 0 of 0 desktops in use, 0 reserved ahead"
        );
        let states = ["in-use", "ready", "preparing", "waiting", "off"];
        assert_eq!(sentence(Mode::Armed, &states, 0), "Armed: 1 of 5 desktops in use, 2 reserved ahead, 1 waiting");
        assert_eq!(sentence(Mode::Armed, &["off"], 2), "Armed: 0 of 1 desktops in use, 0 reserved ahead, 2 problems");
    }

    /// Whether it is due without waiting.
    async fn is_due(systemd: &Systemd) -> bool {
        tokio::select! {
            biased;
            () = systemd.due() => true,
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn it_is_told_in_half_the_time_and_never_where_nobody_watches() {
        let mut watched = Systemd::new(Some(Duration::from_millis(100)));
        // Due from the beginning, then in half of the time.
        watched.due().await;
        let began = Instant::now();
        watched.alive();
        watched.due().await;
        assert!(began.elapsed() >= Duration::from_millis(50));
        watched = Systemd::new(Some(Duration::from_secs(60)));
        watched.alive();
        assert!(!is_due(&watched).await);
        for watchdog in [None, Some(Duration::ZERO)] {
            assert!(!is_due(&Systemd::new(watchdog)).await, "{watchdog:?}");
        }
    }
}
