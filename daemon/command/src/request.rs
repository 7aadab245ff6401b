//! `headstart request`, `release` and `reconcile`: what changes an input of the daemon.

use std::collections::HashMap;
use std::process::ExitCode;

use clap::ValueEnum;
use headstart_core::unit::Span;
use serde::Serialize;
use zbus::wire::{OwnedVariant, Variant};

use crate::client::Client;
use crate::screen::{Screen, Tone, percent};
use crate::snapshot::Properties;

/// The exit status of a refused request.
const REFUSED: u8 = 3;

/// The pre-allocation flag.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Preallocation {
    /// Take a reservation if there is one, else make a vGPU now or queue
    Accept,
    /// Only a reservation made ahead will do
    Require,
    /// Make one now, and reserve nothing ahead until the release
    Decline,
}

/// Ask for a GPU.
#[derive(Debug, clap::Args)]
pub(crate) struct Request {
    /// Name of the desktop's libvirt domain
    desktop: String,
    /// What to do about reservations made ahead
    #[arg(long, value_enum, default_value = "accept")]
    preallocation: Preallocation,
    /// Another profile than the desktop's own
    #[arg(long)]
    profile: Option<String>,
}

/// Take back what was asked for a desktop.
#[derive(Debug, clap::Args)]
pub(crate) struct Release {
    /// Name of the desktop's libvirt domain
    desktop: String,
}

/// The answer; `wait_seconds` is null if it cannot be told.
#[derive(Debug, Serialize)]
struct Answer {
    desktop: String,
    way: String,
    confidence: f64,
    profile: Option<String>,
    gpu: Option<String>,
    wait_seconds: Option<u32>,
    reason: String,
}

impl Request {
    /// Asks and shows the answer.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<ExitCode> {
        let flag = match self.preallocation {
            Preallocation::Accept => "accept",
            Preallocation::Require => "require",
            Preallocation::Decline => "decline",
        };
        let mut options: HashMap<&str, Variant<'_>> = HashMap::from([("preallocation", flag.into())]);
        if let Some(profile) = &self.profile {
            options.insert("profile", profile.as_str().into());
        }
        let reply: HashMap<String, OwnedVariant> = client.call("RequestGpu", &(&self.desktop, options)).await?;
        let answer = self.read(Properties(reply)).map_err(crate::client::CallError::Strange)?;
        if screen.json {
            screen.put_json(&answer)?;
        } else {
            screen.put(&draw(&answer, screen))?;
        }
        Ok(if answer.way == "refused" { ExitCode::from(REFUSED) } else { ExitCode::SUCCESS })
    }

    fn read(&self, mut reply: Properties) -> zbus::Result<Answer> {
        let full = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Answer {
            desktop: self.desktop.clone(),
            way: reply.take("way")?,
            confidence: reply.take("confidence")?,
            profile: full(reply.take("profile")?),
            gpu: full(reply.take("gpu")?),
            wait_seconds: reply.take("wait-seconds").ok(),
            reason: reply.take("reason")?,
        })
    }
}

/// Two lines.
fn draw(answer: &Answer, screen: &Screen) -> String {
    let tone = match answer.way.as_str() {
        "reserved" => Tone::Good,
        "on-demand" => Tone::Busy,
        "queued" => Tone::Warn,
        _ => Tone::Bad,
    };
    let mut text = format!("{}: {}", answer.desktop, screen.tint(tone, &answer.way));
    if let Some(profile) = answer.profile.as_ref().filter(|_| answer.way != "refused") {
        text = format!("{text}, {profile}");
    }
    if let Some(gpu) = &answer.gpu {
        text = format!("{text} on {gpu}");
    }
    match answer.wait_seconds {
        Some(0) => text.push_str(", ready now"),
        Some(seconds) => text = format!("{text}, ready in {}", Span::seconds(i64::from(seconds))),
        None if answer.way != "refused" => text.push_str(", wait unknown"),
        None => {}
    }
    format!(
        "{text}\n{} (a login is {} likely in the slot that decides now)\n",
        answer.reason,
        percent(answer.confidence)
    )
}

impl Release {
    /// Takes it back.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        client.call::<_, ()>("Release", &self.desktop).await?;
        done(screen, &format!("{}: nothing is asked for it any longer\n", self.desktop))
    }
}

/// Wakes the daemon.
pub(crate) async fn reconcile(client: &Client, screen: &Screen) -> anyhow::Result<()> {
    client.call::<_, ()>("Reconcile", &()).await?;
    done(screen, "headstartd looks at the host again\n")
}

/// Says that it was done.
fn done(screen: &Screen, text: &str) -> anyhow::Result<()> {
    if screen.json { screen.put_json(&serde_json::json!({ "done": true })) } else { screen.put(text) }
}
