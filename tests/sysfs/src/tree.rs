//! The folders, files and links as they are now, by inode. Each part of the machine owns the leaves that it drew.

use std::collections::{BTreeMap, HashMap};

use crate::sketch::{Leaf, Sketch};

/// The inode of the root, fixed by FUSE.
pub(crate) const ROOT: u64 = 1;

/// Who drew something: the position of a board, or [`Owner::Base`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Owner {
    /// What every machine has.
    Base,
    Processes,
    Board(usize),
}

#[derive(Debug)]
struct Entry {
    parent: u64,
    name: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    /// `drawn` counts the owners that want it even when it is empty.
    Folder {
        children: BTreeMap<String, u64>,
        drawn: usize,
    },
    Leaf {
        leaf: Leaf,
        owner: Owner,
    },
}

/// What is at an inode.
pub(crate) enum Found<'a> {
    Folder(&'a BTreeMap<String, u64>),
    Leaf(&'a Leaf, Owner),
}

#[derive(Debug)]
pub(crate) struct Tree {
    entries: HashMap<u64, Entry>,
    drawn: HashMap<Owner, BTreeMap<String, Leaf>>,
    /// Further inodes of the same files.
    aliases: HashMap<u64, u64>,
    next: u64,
}

impl Tree {
    pub(crate) fn new() -> Self {
        let root = Entry { parent: ROOT, name: String::new(), kind: folder() };
        Self { entries: HashMap::from([(ROOT, root)]), drawn: HashMap::new(), aliases: HashMap::new(), next: ROOT + 1 }
    }

    /// What is at this inode, if it is still there. An inode is never given twice.
    pub(crate) fn get(&self, inode: u64) -> Option<Found<'_>> {
        Some(match &self.entries.get(&inode)?.kind {
            Kind::Folder { children, .. } => Found::Folder(children),
            Kind::Leaf { leaf, owner } => Found::Leaf(leaf, *owner),
        })
    }

    /// Another inode for a file. The kernel locks an inode while somebody writes to it, and would keep others from even opening it.
    pub(crate) fn alias(&mut self, inode: u64) -> u64 {
        self.next += 1;
        self.aliases.insert(self.next - 1, inode);
        self.next - 1
    }

    /// The inode behind an alias.
    pub(crate) fn real(&self, inode: u64) -> u64 {
        self.aliases.get(&inode).copied().unwrap_or(inode)
    }

    pub(crate) fn child(&self, parent: u64, name: &str) -> Option<u64> {
        match self.get(parent)? {
            Found::Folder(children) => children.get(name).copied(),
            Found::Leaf(..) => None,
        }
    }

    pub(crate) fn parent(&self, inode: u64) -> u64 {
        self.entries.get(&inode).map_or(ROOT, |entry| entry.parent)
    }

    /// Its path from the root, without a leading slash.
    pub(crate) fn path(&self, inode: u64) -> String {
        let mut names = Vec::new();
        let mut at = inode;
        while let Some(entry) = self.entries.get(&at).filter(|_| at != ROOT) {
            names.push(entry.name.as_str());
            at = entry.parent;
        }
        names.reverse();
        names.join("/")
    }

    /// All leaves and empty folders.
    pub(crate) fn leaves(&self) -> impl Iterator<Item = (&String, &Leaf)> {
        self.drawn.values().flatten()
    }

    /// Takes over what an owner shows now in place of what it showed before. What stays keeps its inode.
    pub(crate) fn replace(&mut self, owner: Owner, sketch: Sketch) {
        let old = self.drawn.remove(&owner).unwrap_or_default();
        for (path, leaf) in &old {
            if sketch.leaves.get(path).is_none_or(|new| std::mem::discriminant(new) != std::mem::discriminant(leaf)) {
                self.erase(path);
            }
        }
        for (path, leaf) in &sketch.leaves {
            if old.get(path) != Some(leaf) {
                let redrawn =
                    old.get(path).is_some_and(|old| std::mem::discriminant(old) == std::mem::discriminant(leaf));
                self.draw(path, leaf, owner, redrawn);
            }
        }
        self.drawn.insert(owner, sketch.leaves);
    }

    /// Other content for a file whose owner draws only once.
    pub(crate) fn store(&mut self, path: &str, bytes: &[u8]) {
        let found = path.split('/').try_fold(ROOT, |at, name| self.child(at, name));
        let Some(Entry { kind: Kind::Leaf { leaf: Leaf::File(file), owner }, .. }) =
            found.and_then(|inode| self.entries.get_mut(&inode))
        else {
            return;
        };
        file.content = Ok(bytes.to_vec());
        let leaf = Leaf::File(file.clone());
        self.drawn.entry(*owner).or_default().insert(path.to_owned(), leaf);
    }

    fn draw(&mut self, path: &str, leaf: &Leaf, owner: Owner, redrawn: bool) {
        let mut at = ROOT;
        let (parents, name) = path.rsplit_once('/').unwrap_or(("", path));
        for name in parents.split('/').filter(|name| !name.is_empty()) {
            at = self.enter(at, name, folder);
        }
        if let Leaf::Folder = leaf {
            let inode = self.enter(at, name, folder);
            if let Some(Entry { kind: Kind::Folder { drawn, .. }, .. }) = self.entries.get_mut(&inode) {
                *drawn += usize::from(!redrawn);
            }
        } else {
            let kind = || Kind::Leaf { leaf: leaf.clone(), owner };
            let inode = self.enter(at, name, kind);
            if let Some(entry) = self.entries.get_mut(&inode) {
                assert!(!matches!(entry.kind, Kind::Folder { .. }), "{path} is drawn as a file and as a folder");
                entry.kind = kind();
            }
        }
    }

    /// The child of this name, made if it is not there.
    fn enter(&mut self, parent: u64, name: &str, kind: impl FnOnce() -> Kind) -> u64 {
        let next = self.next;
        let Some(Entry { kind: Kind::Folder { children, .. }, .. }) = self.entries.get_mut(&parent) else {
            panic!("{} is a file, yet something is drawn below it: {name}", self.path(parent));
        };
        if let Some(inode) = children.get(name) {
            return *inode;
        }
        children.insert(name.to_owned(), next);
        self.entries.insert(next, Entry { parent, name: name.to_owned(), kind: kind() });
        self.next += 1;
        next
    }

    fn erase(&mut self, path: &str) {
        let found = path.split('/').try_fold(ROOT, |at, name| self.child(at, name));
        let Some(mut inode) = found else { return };
        match self.entries.get_mut(&inode) {
            Some(Entry { kind: Kind::Folder { drawn, .. }, .. }) => *drawn -= 1,
            _ => inode = self.unlink(inode),
        }
        // Folders go with the last thing in them.
        while inode != ROOT {
            match self.entries.get(&inode) {
                Some(Entry { kind: Kind::Folder { children, drawn: 0 }, .. }) if children.is_empty() => {
                    inode = self.unlink(inode);
                }
                _ => break,
            }
        }
    }

    /// Takes an entry out of its folder, which it returns.
    fn unlink(&mut self, inode: u64) -> u64 {
        let Some(entry) = self.entries.remove(&inode) else { return ROOT };
        if let Some(Entry { kind: Kind::Folder { children, .. }, .. }) = self.entries.get_mut(&entry.parent) {
            children.remove(&entry.name);
        }
        entry.parent
    }
}

fn folder() -> Kind {
    Kind::Folder { children: BTreeMap::new(), drawn: 0 }
}
