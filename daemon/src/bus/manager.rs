//! `org.headstart1.Manager`: the methods.
//!
//! A call changes an input of the loop and wakes it, or reads what is there. None waits for a round, except `Hold` and
//! `EndHold`, whose answer is the loop's.

use std::fmt::Write;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use headstart_core::hint::{self, Hint, Kind};
use headstart_core::id::DesktopName;
use headstart_core::request::{self, Way};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};
use zbus::Connection;
use zbus::message::Header;
use zbus::names::OwnedUniqueName;
use zbus::object_server::SignalEmitter;

use super::error::{Error, Refusal};
use super::holders::Holders;
use super::options::{self, Options, Reply};
use super::port::{HistoryPort, HostPort, Import};
use super::properties::{probability, seconds, time};
use crate::message::Message;
use crate::status::{DesktopStatus, Status};

/// Holds of one owner at a time. Nobody needs two; a loop that forgets `EndHold` is told.
const MOST_HOLDS: usize = 32;
/// Decisions that `Explain` adds.
const EXPLAINED_DECISIONS: u32 = 5;
/// Decisions that one call may ask for.
const MOST_DECISIONS: u32 = 10_000;

/// The object of the methods.
pub(super) struct Manager {
    status: watch::Receiver<Arc<Status>>,
    messages: mpsc::Sender<Message>,
    history: Arc<dyn HistoryPort>,
    host: Arc<dyn HostPort>,
    holders: Holders,
}

impl Manager {
    /// Over these ports.
    pub(super) fn new(connection: Connection, ports: &super::Ports) -> Self {
        Self {
            status: ports.status.clone(),
            messages: ports.messages.clone(),
            history: ports.history.clone(),
            host: ports.host.clone(),
            holders: Holders::new(connection, ports.messages.clone()),
        }
    }

    /// The newest status.
    fn now(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Tells the loop, if it keeps up: what cannot be taken now is refused, so that a flood does not pile up here.
    fn tell(&self, message: Message) -> Result<(), Error> {
        self.messages.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => Refusal::Busy.into(),
            TrySendError::Closed(_) => Refusal::Stopping.into(),
        })
    }
}

#[zbus::interface(name = "org.headstart1.Manager")]
impl Manager {
    /// Asks for a GPU. Options: preallocation (s: accept, require, decline), profile (s).
    /// Answers at once, from the plan as it stands: way (s: reserved, on-demand, queued, refused), confidence (d),
    /// profile (s), gpu (s), wait-seconds (u, absent if unknown), reason (s). A refused request changes nothing.
    #[zbus(out_args("answer"))]
    fn request_gpu(&self, desktop: &str, options: &Options) -> Result<Reply, Error> {
        let status = self.now();
        let (desktop, found) = find(&status, desktop)?;
        let wish = options::wish(options)?;
        if let Some(profile) = wish.profile.as_ref().filter(|wished| !found.offer.known_profiles.contains(wished)) {
            return Err(Refusal::UnknownProfile(profile.clone(), &found.offer.known_profiles).into());
        }
        let answer = request::answer(&found.offer, &wish);
        if answer.way != Way::Refused {
            self.tell(Message::Wish { desktop, wish })?;
        }
        Ok(options::answer(&answer))
    }

    /// What was asked for this desktop is asked no longer; an idle reservation of it may go.
    fn release(&self, desktop: &str) -> Result<(), Error> {
        let (desktop, _) = find(&self.now(), desktop)?;
        self.tell(Message::Release { desktop })
    }

    /// A user logged in. Options: user (s).
    fn session_started(&self, desktop: &str, options: &Options) -> Result<(), Error> {
        let (desktop, _) = find(&self.now(), desktop)?;
        let user = options::user(options)?;
        self.tell(Message::SessionStarted { desktop, user })
    }

    /// The user logged out.
    fn session_ended(&self, desktop: &str) -> Result<(), Error> {
        let (desktop, _) = find(&self.now(), desktop)?;
        self.tell(Message::SessionEnded { desktop })
    }

    /// Says what is known of somebody's coming. Subject: a desktop, the user of desktops, or * for all. Kind: an event that just happened
    /// (badge, vpn, sign-in, thin-client, colleague-booking), or a statement (leave, holiday, maintenance, shift, booking, hours).
    /// Options: from (x; statements only, default now), valid-until (x; default 12 hours for an event, a day for a statement; the same as
    /// from takes the statement back). What it is worth is learned; forecasts change, and nothing else.
    fn hint(&self, subject: &str, kind: &str, options: &Options) -> Result<(), Error> {
        let status = self.now();
        let kind: Kind = kind.parse().map_err(|why: hint::BadKind| Refusal::BadHint(why.to_string()))?;
        let (from, until) = options::hint(options)?;
        let hint =
            Hint::new(kind, status.now, from, until).map_err(|why| Refusal::BadHint(format!("{kind}: {why}")))?;
        self.tell(Message::Hint { desktops: spoken_of(&status, subject)?, hint })
    }

    /// What was told, of one subject as in `Hint` or (empty) all: desktop, kind, told, from, until; newest first.
    #[zbus(out_args("hints"))]
    async fn hints(&self, subject: &str, most: u32) -> Result<Vec<(String, String, i64, i64, i64)>, Error> {
        let status = self.now();
        let desktops = if subject.is_empty() { Vec::new() } else { spoken_of(&status, subject)? };
        let one = if let [one] = &desktops[..] { Some(one.clone()) } else { None };
        let hints = self.history.hints(one, most.min(MOST_DECISIONS)).await.map_err(Refusal::History)?;
        let asked = |desktop: &DesktopName| desktops.is_empty() || desktops.contains(desktop);
        let row = |(desktop, hint): (DesktopName, Hint)| {
            let Hint { told, kind, from, until } = hint;
            (desktop.to_string(), kind.to_string(), told.unix(), from.unix(), until.unix())
        };
        Ok(hints.into_iter().filter(|(desktop, _)| asked(desktop)).map(row).collect())
    }

    /// Why a desktop is as it is: the forecast, the rule, the blocker, and the last decisions. Text for people.
    #[zbus(out_args("text"))]
    async fn explain(&self, desktop: &str) -> Result<String, Error> {
        let (desktop, _) = find(&self.now(), desktop)?;
        let (reply, answer) = oneshot::channel();
        self.tell(Message::Explain { desktop: desktop.clone(), reply })?;
        let explained = answer.await.map_err(|_| Error::from(Refusal::Stopping))?;
        let mut text = explained.unwrap_or_default().trim_end().to_owned();
        match self.history.decisions(Some(desktop), EXPLAINED_DECISIONS).await {
            Ok(decisions) if decisions.is_empty() => {}
            Ok(decisions) => {
                text.push_str("\n\nLast decisions:");
                for decision in decisions {
                    write!(text, "\n  {}  {}: {}", decision.time, decision.what, decision.why)
                        .expect("a String takes all that is written");
                }
            }
            Err(why) => write!(text, "\n\nThe last decisions cannot be read: {why}")
                .expect("a String takes all that is written"),
        }
        text.push('\n');
        Ok(text)
    }

    /// The probability of a login per slot: start (x), slot-seconds (u), probabilities (ad), subject (s), confidence (d),
    /// today (d), next-login (x, 0 if none), lead-seconds (u), state (s), clock (x).
    #[zbus(out_args("forecast"))]
    fn forecast(&self, desktop: &str) -> Result<Reply, Error> {
        let status = self.now();
        let (_, found) = find(&status, desktop)?;
        let probabilities: Vec<f64> = found.slots.iter().map(|p| p.get()).collect();
        Ok(Reply::from([
            ("start", found.slots_start.unix().into()),
            ("slot-seconds", seconds(found.slot).into()),
            ("probabilities", probabilities.into()),
            ("subject", found.subject.clone().into()),
            ("confidence", probability(found.confidence).into()),
            ("today", probability(found.today).into()),
            ("next-login", time(found.next_login).into()),
            ("lead-seconds", seconds(found.lead).into()),
            ("state", found.state.into()),
            ("clock", status.now.unix().into()),
        ]))
    }

    /// Nothing on the host is changed until `EndHold`, or until the caller leaves the bus.
    #[zbus(out_args("cookie"))]
    async fn hold(&self, reason: &str, #[zbus(header)] header: Header<'_>) -> Result<u32, Error> {
        let owner = sender(&header)?;
        if self.now().holds.iter().filter(|hold| hold.owner == owner.as_str()).count() >= MOST_HOLDS {
            return Err(Refusal::TooManyHolds(MOST_HOLDS).into());
        }
        let reason: String = reason.chars().take(200).collect();
        self.holders.watch(&owner).await?;
        let (reply, cookie) = oneshot::channel();
        self.tell(Message::Hold { owner: owner.to_string(), reason, reply })?;
        if !self.holders.has(&owner) {
            // It left in between, and the loop may have heard of that before it heard of the hold.
            let owner = owner.to_string();
            self.messages.send(Message::OwnerLeft { owner }).await.map_err(|_| Error::from(Refusal::Stopping))?;
        }
        cookie.await.map_err(|_| Refusal::Stopping.into())
    }

    /// Ends a hold of the caller.
    async fn end_hold(&self, cookie: u32, #[zbus(header)] header: Header<'_>) -> Result<(), Error> {
        let owner = sender(&header)?;
        let (reply, ended) = oneshot::channel();
        self.tell(Message::EndHold { owner: owner.to_string(), cookie, reply })?;
        if ended.await.map_err(|_| Error::from(Refusal::Stopping))? {
            return Ok(());
        }
        Err(match self.now().holds.iter().find(|hold| hold.cookie == cookie && hold.owner != owner.as_str()) {
            Some(hold) => Refusal::ForeignHold(cookie, hold.owner.clone()).into(),
            None => Refusal::NoSuchHold(cookie).into(),
        })
    }

    /// Looks at the host again now.
    fn reconcile(&self) -> Result<(), Error> {
        self.tell(Message::Reconcile)
    }

    /// Takes past sessions from an open file; `name` is for messages. Options: skip-bad (b), format (s: csv, wtmp).
    /// Answers sessions (t), duplicates (t), bad (t), problems (as: the first bad rows).
    #[zbus(out_args("report"))]
    async fn import(&self, file: zbus::OwnedFd, name: &str, options: &Options) -> Result<Reply, Error> {
        let (skip_bad, format) = options::import(options)?;
        let file = File::from(OwnedFd::from(file));
        // Reading a pipe or a directory could keep the store waiting for ever.
        if !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(
                Refusal::BadFile(format!("{name}: an import needs a regular file, not a pipe or folder")).into()
            );
        }
        let import = Import { file, name: name.chars().take(4096).collect(), skip_bad, format };
        let done = self.history.import(import).await.map_err(Refusal::History)?;
        // The rows are on disk now; that the loop learns them is not left to chance. If it has ended, the next start learns them.
        let _ = self.messages.send(Message::HistoryImported).await;
        Ok(Reply::from([
            ("sessions", done.sessions.into()),
            ("duplicates", done.duplicates.into()),
            ("bad", done.bad.into()),
            ("problems", done.problems.into()),
        ]))
    }

    /// Writes the sessions of the history as CSV into an open file; answers how many. Options: since (x).
    #[zbus(out_args("sessions"))]
    async fn export(&self, file: zbus::OwnedFd, options: &Options) -> Result<u64, Error> {
        let since = options::since(options)?;
        let file = File::from(OwnedFd::from(file));
        Ok(self.history.export(file, since).await.map_err(Refusal::History)?)
    }

    /// The newest decisions, about one desktop or (empty) all: time, desktop, what, why; newest first.
    #[zbus(out_args("decisions"))]
    async fn decisions(&self, desktop: &str, most: u32) -> Result<Vec<(i64, String, String, String)>, Error> {
        let desktop = if desktop.is_empty() { None } else { Some(find(&self.now(), desktop)?.0) };
        let decisions = self.history.decisions(desktop, most.min(MOST_DECISIONS)).await.map_err(Refusal::History)?;
        let row = |decision: super::Decision| {
            let desktop = decision.desktop.map(String::from).unwrap_or_default();
            (decision.time.unix(), desktop, decision.what, decision.why)
        };
        Ok(decisions.into_iter().map(row).collect())
    }

    /// GPUs of this host that could be given to headstart: address (s), name (s), driver (s), interface (s: mdev, vfio-variant,
    /// sriov; empty if it cannot be partitioned as it is), vfs (u), owned (b), note (s).
    #[zbus(out_args("gpus"))]
    async fn candidates(&self) -> Result<Vec<Reply>, Error> {
        let found = self.host.candidates().await.map_err(Refusal::Host)?;
        Ok(found.iter().map(options::candidate).collect())
    }

    /// What a domain's metadata says of it as a desktop, and what holds for it with the configuration (empty if it is not
    /// managed). Keys as in `SetDesktop`; what is not said is absent.
    #[zbus(out_args("metadata", "effective"))]
    async fn desktop_settings(&self, domain: &str) -> Result<(Reply, Reply), Error> {
        let name = DesktopName::new(domain).map_err(Refusal::BadName)?;
        let own = self.host.settings(name.clone()).await.map_err(Refusal::Host)?;
        let status = self.now();
        let effective = status.desktops.get(&name).map(|desktop| options::settings(&desktop.settings));
        Ok((own.map(|own| options::settings(&own)).unwrap_or_default(), effective.unwrap_or_default()))
    }

    /// Changes what a domain's metadata says of it as a desktop; a domain that was none becomes one. Settings: user (s), pool (s),
    /// profiles (as, in order of wish), attach (s: cold, live, request), priority (i), time-zone (s), lead-seconds (u),
    /// preallocate (b), missing-gpu (s: start, block), presence (s: agent, screen, broker), hours (s: Mon-Fri 08:00-17:00), group (s); unset (as) names those that are taken back, as the configuration spells them.
    /// Answers what the metadata says now.
    #[zbus(out_args("metadata"))]
    async fn set_desktop(&self, domain: &str, settings: &Options) -> Result<Reply, Error> {
        let name = DesktopName::new(domain).map_err(Refusal::BadName)?;
        let change = options::change(settings)?;
        let now = self.host.change_settings(name, change).await.map_err(Refusal::Host)?;
        self.tell(Message::Reconcile)?;
        Ok(options::settings(&now))
    }

    /// A decision was made; `desktop` is empty if it is about none.
    #[zbus(signal)]
    pub(super) async fn decision(
        emitter: &SignalEmitter<'_>,
        time: i64,
        desktop: &str,
        what: &str,
        why: &str,
    ) -> zbus::Result<()>;
}

/// The desktops that a hint speaks of: one by its name, those of a user, or all.
fn spoken_of(status: &Status, subject: &str) -> Result<Vec<DesktopName>, Error> {
    if subject == hint::EVERYBODY {
        return Ok(status.desktops.keys().cloned().collect());
    }
    let is_of_user =
        |desktop: &DesktopStatus| desktop.settings.user.as_ref().is_some_and(|user| user.as_str() == subject);
    let of_user = status.desktops.iter().filter(|(_, desktop)| is_of_user(desktop));
    let of_user: Vec<DesktopName> = of_user.map(|(name, _)| name.clone()).collect();
    if of_user.is_empty() { Ok(vec![find(status, subject)?.0]) } else { Ok(of_user) }
}

/// The desktop of that name.
fn find<'a>(status: &'a Status, name: &str) -> Result<(DesktopName, &'a DesktopStatus), Error> {
    let name = DesktopName::new(name).map_err(Refusal::BadName)?;
    match status.desktops.get(&name) {
        Some(found) => Ok((name, found)),
        None => Err(Refusal::UnknownDesktop(name, status).into()),
    }
}

/// Who calls.
fn sender(header: &Header<'_>) -> Result<OwnedUniqueName, Error> {
    header.sender().map(|name| name.to_owned().into()).ok_or_else(|| Refusal::NoSender.into())
}
