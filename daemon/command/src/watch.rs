//! `headstart watch`: decisions and changes as they happen, one line each, with the daemon's clock.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use anyhow::bail;
use futures_core::Stream;
use serde::Serialize;
use zbus::message::Type;
use zbus::wire::OwnedVariant;
use zbus::{MatchRule, Message, MessageStream, OwnedObjectPath};

use crate::client::{CallError, Client, NAME, ROOT};
use crate::clock::Moment;
use crate::screen::{Screen, Tone, tone_of};
use crate::snapshot::{Desktop, Properties, Snapshot};

/// Signals of one burst share one look at the daemon's clock; bursts come no faster than ten a second.
const CLOCK_AGE: Duration = Duration::from_millis(20);

/// Follow decisions and changes as they happen.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop after so many lines
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Stop after this time, such as 30s or 5min
    #[arg(long = "for", value_name = "TIME", value_parser = parse_duration)]
    duration: Option<Duration>,
}

/// One line; also its JSON.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Event {
    time: Moment,
    /// `decision`, `state`, `desktop` (managed or no longer), `gpu`, `host`.
    #[serde(rename = "event")]
    kind: &'static str,
    /// Of the desktop or GPU, if it is about one.
    name: Option<String>,
    what: String,
    why: String,
    /// The state a desktop is in now.
    state: Option<String>,
}

impl Arguments {
    /// Follows until enough was seen, the time is over, or the daemon leaves.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let put = |event: &Event| {
            let line = if screen.json { serde_json::to_string(event)? } else { draw(event, screen) };
            screen.put(&format!("{line}\n"))
        };
        match self.duration {
            None => follow(client, self.count, put).await,
            Some(duration) => tokio::time::timeout(duration, follow(client, self.count, put)).await.unwrap_or(Ok(())),
        }
    }
}

/// Gives every event to `put`, `most` of them or for ever.
pub(crate) async fn follow(
    client: &Client,
    most: Option<u64>,
    mut put: impl FnMut(&Event) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let connection = client.connection();
    let rule = MatchRule::builder().msg_type(Type::Signal).sender(NAME).path_namespace(ROOT);
    let mut signals = MessageStream::for_match_rule(rule.build()?, connection, None).await?;
    let bus = zbus::fdo::DBusProxy::new(connection).await?;
    let mut leaves = bus.receive_name_owner_changed_with_args(&[(0, NAME), (2, "")]).await?;
    let mut seen = Seen::new(client.snapshot().await?);
    // To standard error: what is followed is not mixed with whether it is.
    eprintln!("following headstartd on {}; Ctrl-C ends", client.bus());
    let mut n = 0;
    while most.is_none_or(|most| n < most) {
        let signal = tokio::select! {
            signal = std::future::poll_fn(|context| Pin::new(&mut signals).poll_next(context)) => signal,
            _ = std::future::poll_fn(|context| Pin::new(&mut leaves).poll_next(context)) => {
                bail!("headstartd left {}", client.bus());
            }
        };
        let Some(signal) = signal else { bail!("{} closed the connection", client.bus()) };
        for event in seen.events(&signal?, client).await? {
            put(&event)?;
            n += 1;
            if most == Some(n) {
                break;
            }
        }
    }
    Ok(())
}

/// What was last seen, to tell what changed from what.
struct Seen {
    /// By object path.
    desktops: BTreeMap<String, (String, String, String)>,
    /// By object path.
    gpus: BTreeMap<String, String>,
    clock: Option<(Moment, Instant)>,
}

impl Seen {
    fn new(snapshot: Snapshot) -> Self {
        let mut seen = Self { desktops: BTreeMap::new(), gpus: BTreeMap::new(), clock: None };
        seen.take(snapshot);
        seen
    }

    /// Learns who there is.
    fn take(&mut self, snapshot: Snapshot) {
        let desktop = |d: Desktop| (d.path, (d.name, d.state, d.reason));
        self.desktops = snapshot.desktops.into_iter().map(desktop).collect();
        self.gpus = snapshot.gpus.into_iter().map(|gpu| (gpu.path, gpu.address)).collect();
    }

    /// What a signal says to people; most changes of numbers say nothing.
    async fn events(&mut self, signal: &Message, client: &Client) -> Result<Vec<Event>, CallError> {
        let header = signal.header();
        let path = header.path().map(ToString::to_string).unwrap_or_default();
        match header.member().map(zbus::names::MemberName::as_str) {
            Some("Decision") => {
                let row = signal.body().deserialize::<(i64, String, String, String)>().map_err(CallError::Strange)?;
                let (time, name, what, why) = row;
                let name = Some(name).filter(|name| !name.is_empty());
                Ok(vec![Event { time: Moment::from_unix(time), kind: "decision", name, what, why, state: None }])
            }
            Some("PropertiesChanged") => {
                let body = signal.body();
                let changed: (String, HashMap<String, OwnedVariant>, Vec<String>) =
                    body.deserialize().map_err(CallError::Strange)?;
                let found = self.changes(&path, &changed.0, Properties(changed.1)).map_err(CallError::Strange)?;
                self.stamped(found, client).await
            }
            Some("InterfacesRemoved") => {
                let body = signal.body();
                let (path, _): (OwnedObjectPath, Vec<String>) = body.deserialize().map_err(CallError::Strange)?;
                let gone = self.desktops.remove(path.as_str());
                self.stamped(gone.map(|(name, ..)| managed(name, "no longer managed")).into_iter().collect(), client)
                    .await
            }
            Some("InterfacesAdded") => {
                let old: Vec<String> = self.desktops.keys().cloned().collect();
                self.take(client.snapshot().await?);
                let new = self.desktops.iter().filter(|(path, _)| !old.contains(path));
                let found = new.map(|(_, (name, ..))| managed(name.clone(), "managed from now on")).collect();
                self.stamped(found, client).await
            }
            _ => Ok(Vec::new()),
        }
    }

    /// What changed properties say.
    fn changes(&mut self, path: &str, interface: &str, mut p: Properties) -> zbus::Result<Vec<Event>> {
        let mut events = Vec::new();
        match interface {
            "org.headstart1.Desktop" => {
                let Some((name, state, reason)) = self.desktops.get_mut(path) else { return Ok(events) };
                if p.0.contains_key("Reason") {
                    *reason = p.take("Reason")?;
                }
                if p.0.contains_key("State") {
                    let to: String = p.take("State")?;
                    let (what, state) = (format!("{state} -> {to}"), std::mem::replace(state, to.clone()));
                    debug_assert_ne!(state, to, "only changes are signalled");
                    events.push(event("state", Some(name.clone()), what, reason.clone(), Some(to)));
                }
            }
            "org.headstart1.Gpu" if p.0.contains_key("Health") => {
                let health = p.take("Health")?;
                events.push(event("gpu", self.gpus.get(path).cloned(), health, String::new(), None));
            }
            "org.headstart1.Host" => {
                if p.0.contains_key("Mode") {
                    events.push(event("host", None, p.take("Mode")?, "the mode was changed".to_owned(), None));
                }
                if p.0.contains_key("Problems") {
                    let problems: Vec<String> = p.take("Problems")?;
                    let what = if problems.is_empty() { "no problems".to_owned() } else { problems.join("; ") };
                    events.push(event("host", None, what, String::new(), None));
                }
                if let Some(holds) = p.rows("Holds").ok().map(|rows| rows.len()) {
                    events.push(event("host", None, format!("{holds} holds"), String::new(), None));
                }
            }
            _ => {}
        }
        Ok(events)
    }

    /// Events with the daemon's time, asked for only if there is something to say.
    async fn stamped(&mut self, mut events: Vec<Event>, client: &Client) -> Result<Vec<Event>, CallError> {
        if events.is_empty() {
            return Ok(events);
        }
        let clock = match self.clock {
            Some((clock, when)) if when.elapsed() < CLOCK_AGE => clock,
            _ => client.clock().await?,
        };
        self.clock = Some((clock, Instant::now()));
        for event in &mut events {
            event.time = clock;
        }
        Ok(events)
    }
}

/// An event whose time is still to come.
fn event(kind: &'static str, name: Option<String>, what: String, why: String, state: Option<String>) -> Event {
    Event { time: Moment::from_unix(0), kind, name, what, why, state }
}

/// A desktop that came or went.
fn managed(name: String, what: &str) -> Event {
    event("desktop", Some(name), what.to_owned(), String::new(), None)
}

/// `Mon 07:40:12  design-01  off -> preparing  its user is expected at 8:05`.
pub(crate) fn draw(event: &Event, screen: &Screen) -> String {
    let time = screen.clock.at(event.time).strftime("%a %H:%M:%S").to_string();
    let name = event.name.as_deref().unwrap_or(event.kind);
    let tone = match (event.kind, &event.state) {
        ("state", Some(state)) => Some(tone_of(state)),
        ("decision", _) => Some(Tone::Heading),
        ("desktop", _) => None,
        _ => Some(Tone::Warn),
    };
    let what = tone.map_or_else(|| event.what.clone(), |tone| screen.tint(tone, &event.what));
    let why =
        if event.why.is_empty() { String::new() } else { screen.tint(Tone::Faint, &format!("  ({})", event.why)) };
    format!("{}  {name:<14}  {what}{why}", screen.tint(Tone::Faint, &time))
}

/// `30s`, `5 min`, `1h30m`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let bad = |why: String| format!("{text:?} is no time such as 30s or 5min: {why}");
    let span: jiff::SignedDuration = text.parse().map_err(|error: jiff::Error| bad(error.to_string()))?;
    Duration::try_from(span).map_err(|error| bad(error.to_string()))
}
