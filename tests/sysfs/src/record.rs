//! What was done to the machine from outside: every write with its result, and how often each file and folder was read.

use std::collections::BTreeMap;
use std::fmt;

use nix::errno::Errno;

/// One `write(2)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// The file, relative to the machine's root and without links.
    pub path: String,
    /// What was written, with its newline if it had one.
    pub text: String,
    /// What the writer was answered; none while the write blocks.
    pub result: Option<Result<(), Errno>>,
}

impl Write {
    /// The file's own name.
    pub fn file(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// `sys/…/create <- "c7…": EIO`.
impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} <- {:?}: ", self.path, self.text)?;
        match self.result {
            None => write!(f, "blocked"),
            Some(Ok(())) => write!(f, "ok"),
            Some(Err(errno)) => write!(f, "{errno:?}"),
        }
    }
}

/// How often each path was looked at, relative to the machine's root and without links.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Looks {
    /// Files that were opened and read from their start.
    pub reads: BTreeMap<String, usize>,
    /// Folders that were listed.
    pub lists: BTreeMap<String, usize>,
    /// Links that were read or walked through; the kernel does not tell which.
    pub links: BTreeMap<String, usize>,
}

impl Looks {
    /// Folders listed more than once and files read more than once.
    pub fn repeated(&self) -> Vec<(&str, usize)> {
        let all = self.lists.iter().chain(&self.reads);
        all.filter(|(_, count)| **count > 1).map(|(path, count)| (path.as_str(), *count)).collect()
    }
}

/// Everything recorded so far.
#[derive(Debug, Default)]
pub(crate) struct Record {
    pub(crate) writes: Vec<Write>,
    pub(crate) looks: Looks,
    /// How many writes were forgotten; positions given out stay valid.
    forgotten: usize,
}

impl Record {
    /// Notes a write that has no result yet.
    pub(crate) fn write(&mut self, path: String, text: &[u8]) -> usize {
        self.writes.push(Write { path, text: String::from_utf8_lossy(text).into_owned(), result: None });
        self.forgotten + self.writes.len() - 1
    }

    pub(crate) fn result(&mut self, write: usize, result: Result<(), Errno>) {
        if let Some(write) = write.checked_sub(self.forgotten).and_then(|at| self.writes.get_mut(at)) {
            write.result = Some(result);
        }
    }

    pub(crate) fn forget(&mut self) {
        self.forgotten += self.writes.len();
        self.writes.clear();
        self.looks = Looks::default();
    }

    pub(crate) fn read(&mut self, path: String) {
        *self.looks.reads.entry(path).or_default() += 1;
    }

    pub(crate) fn list(&mut self, path: String) {
        *self.looks.lists.entry(path).or_default() += 1;
    }

    pub(crate) fn link(&mut self, path: String) {
        *self.looks.links.entry(path).or_default() += 1;
    }
}
