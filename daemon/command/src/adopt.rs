//! `headstart gpus --adopt`: entries of the configuration for the GPUs of this host, to be read and pasted. Nothing is changed.

use std::collections::HashMap;
use std::fmt::Write;

use serde::Serialize;
use zbus::wire::OwnedVariant;

use crate::client::{CallError, Client};
use crate::screen::Screen;
use crate::snapshot::Properties;

/// A GPU as the daemon found it.
#[derive(Debug, Serialize)]
struct Candidate {
    address: String,
    name: String,
    driver: Option<String>,
    /// How vGPUs would be made; null if it cannot be partitioned as it is.
    interface: Option<String>,
    vfs: u32,
    owned: bool,
    note: Option<String>,
}

/// Shows them.
pub(crate) async fn run(client: &Client, screen: &Screen) -> anyhow::Result<()> {
    let found: Vec<HashMap<String, OwnedVariant>> = client.call("Candidates", &()).await?;
    let candidates: zbus::Result<Vec<Candidate>> = found.into_iter().map(|gpu| read(Properties(gpu))).collect();
    let candidates = candidates.map_err(CallError::Strange)?;
    if screen.json { screen.put_json(&candidates) } else { screen.put(&draw(&candidates)) }
}

fn read(mut gpu: Properties) -> zbus::Result<Candidate> {
    Ok(Candidate {
        address: gpu.take("address")?,
        name: gpu.take("name")?,
        driver: gpu.text("driver")?,
        interface: gpu.text("interface")?,
        vfs: gpu.take("vfs")?,
        owned: gpu.take("owned")?,
        note: gpu.text("note")?,
    })
}

/// TOML that can be pasted as it is: what is no use, or is there already, stands in comments.
fn draw(candidates: &[Candidate]) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("a String takes all that is written");
    let new = candidates.iter().filter(|gpu| !gpu.owned && gpu.interface.is_some()).count();
    if new == 0 {
        line("# There is no GPU here that headstart could have and has not.".to_owned());
    } else {
        line(
            "# Put those that headstart shall have to itself into /etc/headstart/headstart.toml.d/gpus.toml, then"
                .to_owned(),
        );
        line("# `headstartd --check-config && systemctl restart headstartd`. On a GPU given to it, every idle VF is its own.".to_owned());
    }
    for gpu in candidates {
        let comment = |text: &Option<String>| text.as_deref().map(plain);
        let mut about = plain(&gpu.name);
        for more in [
            comment(&gpu.driver).map(|driver| format!("driver {driver}")),
            comment(&gpu.interface),
            (gpu.vfs > 0).then(|| format!("up to {} VFs", gpu.vfs)),
        ] {
            about.extend(more.map(|more| format!(", {more}")));
        }
        line(format!("\n# {about}"));
        if let Some(note) = comment(&gpu.note) {
            line(format!("# {note}"));
        }
        let off = if gpu.owned {
            line("# headstart has it already.".to_owned());
            "#"
        } else if gpu.interface.is_none() {
            "#"
        } else {
            ""
        };
        line(format!("{off}[[gpu]]\n{off}address = {:?}", plain(&gpu.address)));
    }
    text
}

/// In one line, whatever a board calls itself.
fn plain(text: impl AsRef<str>) -> String {
    text.as_ref().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
