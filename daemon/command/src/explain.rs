//! `headstart explain DESKTOP`: why it is as it is.

use serde::Serialize;

use crate::client::Client;
use crate::clock::Moment;
use crate::screen::Screen;

/// Decisions in the JSON.
const DECISIONS: u32 = 20;

/// Why a desktop is as it is.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Name of its libvirt domain
    desktop: String,
}

/// The JSON.
#[derive(Serialize)]
struct Report<'a> {
    desktop: &'a str,
    text: String,
    decisions: Vec<Decision>,
}

/// One decision.
#[derive(Serialize)]
pub(crate) struct Decision {
    pub(crate) time: Moment,
    pub(crate) desktop: Option<String>,
    pub(crate) what: String,
    pub(crate) why: String,
}

impl Decision {
    /// From a row of the bus.
    pub(crate) fn new((time, desktop, what, why): (i64, String, String, String)) -> Self {
        let desktop = Some(desktop).filter(|name| !name.is_empty());
        Self { time: Moment::from_unix(time), desktop, what, why }
    }
}

impl Arguments {
    /// Asks and shows.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        let text: String = client.call("Explain", &self.desktop).await?;
        if !screen.json {
            return screen.put(&text);
        }
        let rows: Vec<_> = client.call("Decisions", &(&self.desktop, DECISIONS)).await?;
        let decisions = rows.into_iter().map(Decision::new).collect();
        screen.put_json(&Report { desktop: &self.desktop, text, decisions })
    }
}
