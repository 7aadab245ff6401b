//! Faults that a test puts on paths: an errno, a delay, a block, wrong content, a file that is listed and not there.

use std::time::Duration;

use glob::{MatchOptions, Pattern};
use nix::errno::Errno;

/// What of a file is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum On {
    /// Path lookup: `stat`, `open`, and every walk through it.
    Lookup,
    Open,
    Read,
    Write,
    /// Listing a folder.
    List,
}

#[derive(Clone, Debug)]
pub(crate) enum Effect {
    Errno(Errno),
    Delay(Duration),
    Block(u64),
    Content(Vec<u8>),
}

/// A disturbance of all files whose path matches a pattern.
///
/// Patterns are those of the shell with `**` for any number of folders, and meet the path **without links**, relative to the machine's
/// root: `sys/devices/pci0000:3b/0000:3b:00.4/nvidia/current_vgpu_type`, so `**/0000:3b:00.4/nvidia/*` rather than anything below
/// `sys/bus`. A fault lasts until [`heal`](crate::Machine::heal), unless [`once`](Fault::once) or [`times`](Fault::times) says less.
#[derive(Clone, Debug)]
pub struct Fault {
    pattern: Pattern,
    on: On,
    effect: Effect,
    left: Option<usize>,
}

impl Fault {
    /// Disturbs `write(2)`; the file's state stays as it is.
    pub fn write(pattern: &str) -> Self {
        Self::new(pattern, On::Write)
    }

    /// Disturbs `read(2)`.
    pub fn read(pattern: &str) -> Self {
        Self::new(pattern, On::Read)
    }

    /// Disturbs `open(2)` of files, for reading and writing.
    pub fn open(pattern: &str) -> Self {
        Self::new(pattern, On::Open)
    }

    /// Disturbs listing a folder.
    pub fn list(pattern: &str) -> Self {
        Self::new(pattern, On::List)
    }

    /// Files that cannot be opened: `EACCES`.
    pub fn unreadable(pattern: &str) -> Self {
        Self::new(pattern, On::Open).errno(Errno::EACCES)
    }

    /// Files, links or folders that a listing names and that are gone when one looks: `ENOENT`. Every walk through the path counts as
    /// one time.
    pub fn vanishing(pattern: &str) -> Self {
        Self::new(pattern, On::Lookup).errno(Errno::ENOENT)
    }

    #[track_caller]
    fn new(pattern: &str, on: On) -> Self {
        let pattern =
            Pattern::new(pattern).unwrap_or_else(|error| panic!("the pattern of a fault, {pattern:?}: {error}"));
        Self { pattern, on, effect: Effect::Errno(Errno::EIO), left: None }
    }

    /// Answers with this errno. Without it a fault answers `EIO`.
    pub fn errno(self, errno: Errno) -> Self {
        Self { effect: Effect::Errno(errno), ..self }
    }

    /// Takes this long in the machine's time, then goes on as usual.
    pub fn delay(self, time: Duration) -> Self {
        Self { effect: Effect::Delay(time), ..self }
    }

    pub(crate) fn block(self, gate: u64) -> Self {
        Self { effect: Effect::Block(gate), ..self }
    }

    /// Gives these bytes instead of the file's content. For reads only.
    pub fn content(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { effect: Effect::Content(bytes.into()), ..self }
    }

    /// Strikes once.
    pub fn once(self) -> Self {
        self.times(1)
    }

    /// Strikes so many times.
    pub fn times(self, times: usize) -> Self {
        Self { left: Some(times), ..self }
    }
}

/// The faults in force.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    faults: Vec<Fault>,
}

impl Faults {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    pub(crate) fn clear(&mut self) {
        self.faults.clear();
    }

    pub(crate) fn remove_gate(&mut self, gate: u64) {
        self.faults.retain(|fault| !matches!(fault.effect, Effect::Block(id) if id == gate));
    }

    /// The effect of the first fault that strikes here, the last put first.
    pub(crate) fn strike(&mut self, on: On, path: &str) -> Option<Effect> {
        let options = MatchOptions { require_literal_separator: true, ..MatchOptions::new() };
        let struck =
            |fault: &&mut Fault| fault.on == on && fault.left != Some(0) && fault.pattern.matches_with(path, options);
        let fault = self.faults.iter_mut().rev().find(struck)?;
        if let Some(left) = &mut fault.left {
            *left -= 1;
        }
        Some(fault.effect.clone())
    }
}
