//! `headstart hold REASON [-- COMMAND...]`: nothing on the host is changed while this runs.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;

use anyhow::{Context, bail};
use futures_core::Stream;
use tokio::signal::unix::{SignalKind, signal};
use zbus::names::BusName;

use crate::client::{Client, NAME};
use crate::screen::Screen;

/// Change nothing on the host for a while: until Ctrl-C, or while a command runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Shown to whoever asks why nothing happens
    reason: String,
    /// Run this, and end the hold and exit as it does
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

impl Arguments {
    /// Holds.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<ExitCode> {
        // Before the hold: whoever kills us must not find a moment in which we hold and do not listen.
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let bus = zbus::fdo::DBusProxy::new(client.connection()).await?;
        let mut leaves = bus.receive_name_owner_changed_with_args(&[(0, NAME), (2, "")]).await?;
        let cookie: u32 = client.call("Hold", &self.reason).await?;

        let code = if self.command.is_empty() {
            if screen.json {
                screen.put(&format!("{}\n", serde_json::json!({ "cookie": cookie })))?;
            } else {
                screen.put(&format!("hold {cookie}: nothing on the host is changed until Ctrl-C\n"))?;
            }
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                _ = std::future::poll_fn(|context| Pin::new(&mut leaves).poll_next(context)) => {
                    bail!("headstartd left {}: the hold is over", client.bus());
                }
            }
            ExitCode::SUCCESS
        } else {
            // The command gets Ctrl-C, too, being in our process group; what it makes of it decides.
            self.run_command().await?
        };
        if bus.name_has_owner(BusName::try_from(NAME)?).await? {
            client.call::<_, ()>("EndHold", &cookie).await?;
        } else {
            bail!("headstartd left {} in between: the hold did not last", client.bus());
        }
        Ok(code)
    }

    /// Runs the command to its end.
    async fn run_command(&self) -> anyhow::Result<ExitCode> {
        let mut command = std::process::Command::new(&self.command[0]);
        command.args(&self.command[1..]);
        let status = tokio::task::spawn_blocking(move || command.status()).await?;
        let status = status.with_context(|| format!("cannot run {}", self.command[0]))?;
        // As a shell says it.
        let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal)).unwrap_or(1);
        Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
    }
}
