//! What one part of the machine shows of itself: files, links and folders by path. The tree takes it over.

use std::collections::BTreeMap;

use nix::errno::Errno;

use crate::attribute::Attribute;

/// Something at a path.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Leaf {
    /// A folder that is there although nothing is in it. Folders with something in them need no leaf.
    Folder,
    File(File),
    /// A symbolic link and its text.
    Link(String),
    /// A character device, which nobody opens.
    Device,
}

/// An attribute or any other small file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct File {
    pub(crate) mode: u16,
    /// What a read gives.
    pub(crate) content: Result<Vec<u8>, Errno>,
    /// What a write means.
    pub(crate) attribute: Option<Attribute>,
}

/// Paths are relative to the machine's root and without links: `sys/devices/…`.
#[derive(Debug, Default)]
pub(crate) struct Sketch {
    pub(crate) leaves: BTreeMap<String, Leaf>,
}

impl Sketch {
    /// A read-only attribute; a newline is added, as the kernel's attributes end with one.
    pub(crate) fn file(&mut self, path: impl Into<String>, text: impl std::fmt::Display) {
        self.content(path, 0o444, Ok(format!("{text}\n").into_bytes()), None);
    }

    /// An attribute that is read and written.
    pub(crate) fn attribute(&mut self, path: impl Into<String>, text: impl std::fmt::Display, attribute: Attribute) {
        self.content(path, 0o644, Ok(format!("{text}\n").into_bytes()), Some(attribute));
    }

    /// An attribute that is only written.
    pub(crate) fn trigger(&mut self, path: impl Into<String>, attribute: Attribute) {
        self.content(path, 0o200, Ok(Vec::new()), Some(attribute));
    }

    pub(crate) fn content(
        &mut self,
        path: impl Into<String>,
        mode: u16,
        content: Result<Vec<u8>, Errno>,
        attribute: Option<Attribute>,
    ) {
        self.leaves.insert(path.into(), Leaf::File(File { mode, content, attribute }));
    }

    pub(crate) fn folder(&mut self, path: impl Into<String>) {
        self.leaves.insert(path.into(), Leaf::Folder);
    }

    pub(crate) fn device(&mut self, path: impl Into<String>) {
        self.leaves.insert(path.into(), Leaf::Device);
    }

    /// A link to another path of the machine, written relative as in sysfs.
    pub(crate) fn link(&mut self, path: impl Into<String>, target: &str) {
        let path = path.into();
        let text = relative(&path, target);
        self.leaves.insert(path, Leaf::Link(text));
    }

    /// A link with this very text.
    pub(crate) fn link_text(&mut self, path: impl Into<String>, text: impl Into<String>) {
        self.leaves.insert(path.into(), Leaf::Link(text.into()));
    }
}

fn relative(link: &str, target: &str) -> String {
    let from: Vec<&str> = link.split('/').collect();
    let to: Vec<&str> = target.split('/').collect();
    let folder = &from[..from.len() - 1];
    let common = folder.iter().zip(&to).take_while(|(a, b)| a == b).count();
    let up = std::iter::repeat_n("..", folder.len() - common);
    up.chain(to[common..].iter().copied()).collect::<Vec<_>>().join("/")
}
