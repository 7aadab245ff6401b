//! Whether somebody is at a domain, from what its guest agent and its screens tell.
//!
//! Pure: what was told goes in with the time, a [`Login`] comes out. The agent's word counts more: it knows who is logged in, also
//! over protocols that libvirt does not serve. A screen only shows that somebody looks at it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use headstart_core::observed::Login;
use headstart_core::unit::Time;

use super::ffi::{Client, Phase};

/// An agent that did not answer is asked again after this; doubles every time.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The present, for durations and for people.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    pub(super) at: Instant,
    pub(super) time: Time,
}

/// What a guest agent has said in this run of its domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Agent {
    said: Said,
    failures: u32,
    asked: bool,
    /// Not to be asked before.
    next: Option<Instant>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Said {
    #[default]
    Nothing,
    /// Somebody is logged in since then, or nobody.
    Users(Option<Time>),
    /// It does not list users.
    NoList,
    /// It does not answer; it did last at this time, if ever.
    Silent(Option<Time>),
}

/// What an agent answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// These are logged in, each since then, if the guest knows.
    Users(Vec<Option<Time>>),
    /// It is too old to list users, or was told not to.
    NoList,
    /// Nothing, in time.
    Silence,
    /// It could not be asked, and that is not its fault.
    NotAsked,
}

impl Agent {
    /// It should be asked now.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        !self.asked && self.next.is_none_or(|next| next <= now)
    }

    /// It is being asked. Whoever asks must come back with [`Agent::answered`].
    pub(super) fn ask(&mut self) {
        self.asked = true;
    }

    /// Something happened that may change its answer: the next look asks.
    pub(super) fn ask_soon(&mut self) {
        self.next = None;
    }

    /// Says whether this is news. `every`: how long an answer is good.
    pub(super) fn answered(&mut self, answer: &Answer, every: Duration, now: Now) -> bool {
        self.asked = false;
        self.failures = if *answer == Answer::Silence { self.failures.saturating_add(1) } else { 0 };
        let pause = match answer {
            Answer::Silence => (FIRST_PAUSE * (1 << self.failures.saturating_sub(1).min(8))).min(LONGEST_PAUSE),
            Answer::NoList => LONGEST_PAUSE,
            Answer::Users(_) | Answer::NotAsked => every,
        };
        self.next = Some(now.at + pause);
        let said = match answer {
            Answer::Users(users) => Said::Users(self.first_of(users, now)),
            Answer::NoList => Said::NoList,
            Answer::Silence => self.silence(now),
            Answer::NotAsked => return false,
        };
        let news = said != self.said;
        self.said = said;
        news
    }

    /// Since when somebody is logged in. A guest that does not know since when keeps the time at which it was first seen.
    fn first_of(&self, users: &[Option<Time>], now: Now) -> Option<Time> {
        let seen = match self.said {
            Said::Users(Some(since)) => since,
            _ => now.time,
        };
        users.iter().map(|since| since.unwrap_or(seen).min(now.time)).min()
    }

    fn silence(&self, now: Now) -> Said {
        match self.said {
            Said::Silent(last) => Said::Silent(last),
            Said::Users(_) => Said::Silent(Some(now.time)),
            Said::Nothing | Said::NoList => Said::Silent(None),
        }
    }

    /// It has told of users in this run of its domain, if it ever did.
    pub(super) fn has_spoken(&self) -> bool {
        matches!(self.said, Said::Users(_) | Said::Silent(Some(_)))
    }

    /// Nobody in the guest listens any more. One that never answered is not missed: many guests have the channel and no agent.
    pub(super) fn left(&mut self, now: Now) {
        match self.said {
            Said::Users(_) => self.said = self.silence(now),
            Said::Silent(None) | Said::NoList => self.said = Said::Nothing,
            Said::Nothing | Said::Silent(Some(_)) => {}
        }
        self.ask_soon();
    }

    /// The guest starts anew: whoever was logged in is not any more.
    pub(super) fn restarted(&mut self) {
        *self = Self { asked: self.asked, ..Self::default() };
    }
}

/// Who looks at the screens of a domain.
#[derive(Clone, Debug, Default)]
pub(super) struct Screens {
    clients: BTreeMap<Client, Looking>,
    /// The kernel could not be asked who is connected.
    unknown: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Looking {
    since: Time,
    let_in: bool,
}

impl Screens {
    /// libvirt tells of a client. Says whether somebody came or went.
    pub(super) fn told(&mut self, phase: Phase, client: Client, now: Time) -> bool {
        match phase {
            Phase::Connected => {
                self.clients.insert(client, Looking { since: now, let_in: false });
                false
            }
            Phase::LetIn => {
                let before = self.clients.get(&client).copied();
                let since = before.filter(|before| before.let_in).map_or(now, |before| before.since);
                self.clients.insert(client, Looking { since, let_in: true });
                true
            }
            Phase::Gone => self.clients.remove(&client).is_some_and(|before| before.let_in),
        }
    }

    /// The kernel tells who is connected over TCP: the truth, where events were missed. Somebody of whom no event told (they came
    /// before this daemon) counts as let in.
    pub(super) fn connected(&mut self, connected: &Result<BTreeSet<SocketAddr>, String>, now: Time) {
        self.unknown = connected.as_ref().err().cloned();
        let Ok(connected) = connected else { return };
        self.clients.retain(|client, _| match client {
            Client::Tcp(address) => connected.contains(address),
            Client::Local(_) => true,
        });
        for address in connected {
            self.clients.entry(Client::Tcp(*address)).or_insert(Looking { since: now, let_in: true });
        }
    }

    /// What they alone tell.
    pub(super) fn login(&self) -> Login {
        match (self.since(), &self.unknown) {
            (Some(since), _) => Login::Active { since },
            (None, Some(why)) => Login::Unknown(format!("who looks at its screen cannot be read: {why}")),
            (None, None) => Login::None,
        }
    }

    /// Since when somebody looks.
    fn since(&self) -> Option<Time> {
        self.clients.values().filter(|looking| looking.let_in).map(|looking| looking.since).min()
    }
}

/// A desktop of which nobody tells who is logged in: an empty screen does not, since people come in other ways.
pub(super) const NO_AGENT: &str = "no guest agent tells who is logged in: install qemu-guest-agent in it, or set `presence` to \
                                   \"screen\" or \"broker\" in its settings";

/// Both together. `listens`: somebody in the guest listens at the agent's channel.
pub(super) fn login(agent: &Agent, listens: bool, screens: &Screens) -> Login {
    let looking = screens.since();
    match &agent.said {
        Said::Users(Some(since)) => Login::Active { since: *since },
        // At the login prompt, or an administrator: somebody is there, and nobody is logged in.
        Said::Users(None) => looking.map_or(Login::None, |since| Login::Waiting { since }),
        Said::Silent(last) if looking.is_none() => Login::Unknown(match last {
            Some(last) => format!("its guest agent answered until {last} and does not any more"),
            None => "its guest agent does not answer".to_owned(),
        }),
        Said::Nothing if listens && looking.is_none() => {
            Login::Unknown("its guest agent has not been asked yet".to_owned())
        }
        Said::Nothing | Said::NoList | Said::Silent(_) => match screens.login() {
            Login::None => Login::Unknown(NO_AGENT.to_owned()),
            told => told,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: Duration = Duration::from_secs(30);

    struct Scene {
        start: Instant,
        agent: Agent,
        screens: Screens,
    }

    impl Scene {
        fn new() -> Self {
            Self { start: Instant::now(), agent: Agent::default(), screens: Screens::default() }
        }

        fn at(&self, seconds: u64) -> Now {
            Now { at: self.start + Duration::from_secs(seconds), time: Time::from_unix(1000 + seconds as i64) }
        }

        fn answer(&mut self, answer: &Answer, seconds: u64) -> bool {
            self.agent.answered(answer, EVERY, self.at(seconds))
        }

        fn login(&self, listens: bool) -> String {
            match login(&self.agent, listens, &self.screens) {
                Login::None => "nobody".into(),
                Login::Waiting { since } => format!("waiting since {}", since.unix()),
                Login::Active { since } => format!("active since {}", since.unix()),
                Login::Unknown(why) => why,
            }
        }
    }

    fn tcp(text: &str) -> Client {
        Client::Tcp(text.parse().unwrap())
    }

    fn users(since: &[i64]) -> Answer {
        Answer::Users(since.iter().map(|since| Some(Time::from_unix(*since))).collect())
    }

    #[test]
    fn an_agents_word_counts() {
        let mut scene = Scene::new();
        assert_eq!(scene.login(false), NO_AGENT, "no agent, no screen: nothing hints at anybody");
        assert_eq!(scene.login(true), "its guest agent has not been asked yet");
        assert!(scene.answer(&users(&[]), 1));
        assert_eq!(scene.login(true), "nobody");
        assert!(!scene.answer(&users(&[]), 2), "no news");
        assert!(scene.answer(&users(&[990, 980]), 3));
        assert_eq!(scene.login(true), "active since 980", "the first who is still there");
        scene.answer(&users(&[99_999]), 4);
        assert_eq!(scene.login(true), "active since 1004", "a guest's clock may be wrong");
        scene.answer(&Answer::Users(vec![None]), 5);
        scene.answer(&Answer::Users(vec![None]), 60);
        assert_eq!(scene.login(true), "active since 1004", "it does not say since when: the first look counts");
    }

    #[test]
    fn an_agent_that_answered_and_stops_is_not_nobody() {
        let mut scene = Scene::new();
        scene.answer(&users(&[]), 1);
        assert!(scene.answer(&Answer::Silence, 31));
        let unknown = "its guest agent answered until 1970-01-01T00:17:11Z and does not any more";
        assert_eq!(scene.login(true), unknown);
        scene.agent.left(scene.at(40));
        assert_eq!(scene.login(false), unknown, "nor when it leaves");
        scene.agent.restarted();
        assert_eq!(scene.login(false), NO_AGENT, "whoever was logged in is not after a reboot");
        scene.answer(&users(&[]), 50);
        scene.agent.left(scene.at(60));
        assert_eq!(scene.login(false), "its guest agent answered until 1970-01-01T00:17:40Z and does not any more");
        scene.answer(&users(&[]), 70);
        assert_eq!(scene.login(true), "nobody", "it is back");
    }

    #[test]
    fn an_agent_that_never_answered_is_unknown_only_while_it_listens() {
        let mut scene = Scene::new();
        scene.answer(&Answer::Silence, 1);
        assert_eq!(scene.login(true), "its guest agent does not answer");
        scene.agent.left(scene.at(2));
        assert_eq!(scene.login(false), NO_AGENT);
        scene.answer(&Answer::NoList, 3);
        assert_eq!(scene.login(true), NO_AGENT, "it can tell nothing of users");
    }

    #[test]
    fn agents_are_left_in_peace() {
        let mut scene = Scene::new();
        let mut asked = Vec::new();
        for second in 0..2000 {
            if scene.agent.is_due(scene.at(second).at) {
                scene.agent.ask();
                assert!(!scene.agent.is_due(scene.at(second).at), "one question at a time");
                asked.push(second);
                scene.answer(&if second < 100 { users(&[]) } else { Answer::Silence }, second);
            }
        }
        assert_eq!(asked, [0, 30, 60, 90, 120, 150, 210, 330, 570, 1050, 1650]);
        scene.agent.ask_soon();
        assert!(scene.agent.is_due(scene.at(2000).at), "something happened");
        assert!(!scene.answer(&Answer::NotAsked, 2000), "libvirt was away: that says nothing of the agent");
    }

    #[test]
    fn screens_show_somebody() {
        let mut scene = Scene::new();
        let now = |seconds: i64| Time::from_unix(1000 + seconds);
        assert!(!scene.screens.told(Phase::Connected, tcp("10.0.0.7:50000"), now(0)));
        assert_eq!(scene.login(false), NO_AGENT, "whoever is not let in is nobody");
        assert!(scene.screens.told(Phase::LetIn, tcp("10.0.0.7:50000"), now(1)));
        assert!(scene.screens.told(Phase::LetIn, tcp("10.0.0.7:50001"), now(2)), "SPICE has several channels");
        assert_eq!(scene.login(false), "active since 1001");
        scene.answer(&users(&[]), 3);
        assert_eq!(scene.login(true), "waiting since 1001", "at the login prompt");
        scene.answer(&Answer::Silence, 34);
        assert_eq!(scene.login(true), "active since 1001");
        assert!(scene.screens.told(Phase::Gone, tcp("10.0.0.7:50000"), now(4)));
        assert_eq!(scene.login(false), "active since 1002");
        assert!(!scene.screens.told(Phase::Gone, tcp("10.0.0.9:1"), now(4)), "nobody known");
    }

    #[test]
    fn what_events_missed_the_kernel_knows() {
        let mut scene = Scene::new();
        let now = |seconds: i64| Time::from_unix(1000 + seconds);
        let connected = |list: &[&str]| Ok(list.iter().map(|text| text.parse().unwrap()).collect());
        scene.screens.connected(&connected(&["10.0.0.7:50000"]), now(5));
        assert_eq!(scene.login(false), "active since 1005", "they came before this daemon");
        scene.screens.told(Phase::Connected, tcp("10.0.0.8:1"), now(6));
        scene.screens.connected(&connected(&["10.0.0.8:1"]), now(7));
        assert_eq!(scene.login(false), NO_AGENT, "one left unseen, the other is not let in");
        scene.screens.connected(&Err("/proc/net/tcp: Permission denied".into()), now(8));
        assert_eq!(
            scene.login(false),
            "who looks at its screen cannot be read: /proc/net/tcp: Permission denied",
            "not seen is not nobody"
        );
        scene.screens.told(Phase::LetIn, Client::Local(":".into()), now(9));
        scene.screens.connected(&connected(&[]), now(10));
        assert_eq!(scene.login(false), "active since 1009", "a viewer on this host is known from events only");
    }
}
