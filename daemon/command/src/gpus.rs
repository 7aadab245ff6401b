//! `headstart gpus`: each GPU, how full it is, and what is on it.

use std::fmt::Write;

use crate::client::Client;
use crate::screen::{Screen, Tone, cell, lines_of};
use crate::snapshot::{Gpu, Snapshot};

/// All GPUs and what is on them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Propose entries of the configuration for GPUs that headstart could have, instead
    #[arg(long)]
    adopt: bool,
}

impl Arguments {
    /// Shows all GPUs, or proposes some.
    pub(crate) async fn run(&self, client: &Client, screen: &Screen) -> anyhow::Result<()> {
        if self.adopt {
            return crate::adopt::run(client, screen).await;
        }
        let snapshot = client.snapshot().await?;
        if screen.json { screen.put_json(&snapshot.gpus) } else { screen.put(&draw(&snapshot, screen)) }
    }
}

/// One paragraph per GPU.
pub(crate) fn draw(snapshot: &Snapshot, screen: &Screen) -> String {
    if snapshot.gpus.is_empty() {
        return "No GPU is managed: `headstart gpus --adopt` proposes entries for /etc/headstart/headstart.toml\n"
            .to_owned();
    }
    let paragraphs: Vec<String> = snapshot.gpus.iter().map(|gpu| paragraph(gpu, screen)).collect();
    paragraphs.join("\n")
}

fn paragraph(gpu: &Gpu, screen: &Screen) -> String {
    let share = f64::from(gpu.used_mib) / f64::from(gpu.framebuffer_mib.max(1));
    let tone = if gpu.health == "ok" { Tone::Good } else { Tone::Bad };
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all that is written");
    line(format!("{}  {}  {}", screen.tint(Tone::Heading, &gpu.address), gpu.name, screen.tint(tone, &gpu.health)));
    line(format!("  {}", gpu.partitioning));
    line(format!("  {}  {} of {} MiB given", screen.bar(share, 32), gpu.used_mib, gpu.framebuffer_mib));
    let room = if gpu.creatable.is_empty() { "nothing more".to_owned() } else { gpu.creatable.join(", ") };
    line(format!("  room for: {room}"));
    if !gpu.vgpus.is_empty() {
        let mut table = screen.table(&["  Device", "Profile", "State", "Desktop"]);
        for vgpu in &gpu.vgpus {
            let tone = match vgpu.state.as_str() {
                "attached" | "in-use" => Some(Tone::Good),
                "idle" => None,
                "foreign" => Some(Tone::Faint),
                _ => Some(Tone::Bad),
            };
            let holder = if vgpu.holder.is_empty() { "-" } else { &vgpu.holder };
            let device = cell(None, format!("  {}", vgpu.device));
            table.add_row(vec![device, cell(None, &vgpu.profile), cell(tone, &vgpu.state), cell(None, holder)]);
        }
        text.push_str(&lines_of(&table));
    }
    text
}
