//! `headstart capture PATH`: what this host looks like to headstart, as a folder or a tar archive, for a bug report or a test.
//!
//! It reads files and asks nobody: a capture is wanted most where headstartd or libvirt does not work. Only what headstart looks at is
//! taken, by lists of what is known to be harmless; UUIDs, MAC addresses and names are replaced, each always by the same. Not here: what
//! the files mean.

mod archive;
mod domain;
mod identity;
mod process;
mod sysfs;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::screen::Screen;
use identity::Identities;

/// Write what this host looks like to headstart into a folder or a tar archive.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// A folder that does not exist yet, or a file that ends in .tar
    path: PathBuf,
    /// Read the host below this folder
    #[arg(long, value_name = "DIR", default_value = "/", hide = true)]
    root: PathBuf,
}

/// What stands at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Entry {
    Folder,
    File(Vec<u8>),
    Link(String),
}

/// All that was taken, by path below the root, and what could not be read.
#[derive(Debug, Default)]
struct Tree {
    entries: BTreeMap<String, Entry>,
    unread: Vec<String>,
}

impl Arguments {
    /// Captures.
    pub(crate) fn run(&self, screen: &Screen) -> anyhow::Result<ExitCode> {
        let tar = self.path.extension().is_some_and(|extension| extension == "tar");
        if self.path.symlink_metadata().is_ok() {
            bail!("{} is there already: name one that is not", self.path.display());
        }
        let tree = capture(&self.root)?;
        if tar { archive::tar(&tree, &self.path) } else { archive::folder(&tree, &self.path) }
            .with_context(|| format!("cannot write {}", self.path.display()))?;
        let count = |kind: &str| tree.entries.keys().filter(|path| path.starts_with(kind)).count();
        let devices = tree.entries.keys().filter(|path| path.starts_with(sysfs::PCI_DEVICES)).count();
        let domains = count(domain::FOLDER);
        if screen.json {
            let unread = &tree.unread;
            screen.put_json(&serde_json::json!({
                "path": self.path, "pci_functions": devices, "domains": domains, "unread": unread,
            }))?;
        } else {
            let mut text = format!(
                "{}: {devices} PCI functions, {domains} domain definitions; UUIDs, MAC addresses and names are replaced\n",
                self.path.display()
            );
            for unread in &tree.unread {
                text = format!("{text}not read: {unread}\n");
            }
            screen.put(&format!("{text}Look through it before you give it to anybody.\n"))?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Reads the host below a folder; nobody can be recognised in what is returned.
fn capture(root: &std::path::Path) -> anyhow::Result<Tree> {
    let mut tree = Tree::default();
    let mut identities = Identities::default();
    let domains = domain::read(root, &mut tree.unread);
    // Domains first, so that their mdevs are named after them.
    for text in &domains {
        domain::learn(text, &mut identities);
    }
    sysfs::read(root, &mut tree).context("cannot read /sys")?;
    process::read(root, &mut tree);
    let mut named =
        Tree { unread: tree.unread.iter().map(|text| identities.replace(text)).collect(), ..Tree::default() };
    for (path, entry) in tree.entries {
        let entry = match entry {
            Entry::Folder => Entry::Folder,
            Entry::Link(text) => Entry::Link(identities.replace(&text)),
            Entry::File(bytes) => Entry::File(identities.file(&path, &bytes)),
        };
        named.entries.insert(identities.replace(&path), entry);
    }
    for (n, text) in domains.iter().enumerate() {
        let text = domain::harmless(text, &mut identities);
        named.entries.insert(format!("{}{}.xml", domain::FOLDER, n + 1), Entry::File(text.into_bytes()));
    }
    let mut about = format!("headstart {} on Linux {}\n", env!("CARGO_PKG_VERSION"), sysfs::kernel(root));
    for line in &named.unread {
        about = format!("{about}not read: {line}\n");
    }
    named.entries.insert("capture.txt".to_owned(), Entry::File(about.into_bytes()));
    Ok(named)
}
