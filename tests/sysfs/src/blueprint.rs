//! What a machine consists of, before it is switched on.

use std::path::Path;
use std::sync::Arc;

use crate::board::Board;
use crate::clock::Clock;
use crate::host::Host;
use crate::machine::Machine;
use crate::mount::{Mount, MountError, REQUIRED};
use crate::sketch::Sketch;
use crate::state::{Shared, Slot, State};
use crate::{base, fixture};

/// How much faster than real time a machine runs if nothing else is said: 5 s of the hardware pass in 5 ms.
const SPEED: u32 = 1000;

/// A GPU, or a driver with virtual parents. Every builder of this crate turns into one.
pub struct Part(pub(crate) Box<dyn Board>);

/// The parts of a machine and how its time passes.
#[must_use]
pub struct Blueprint {
    boards: Vec<Box<dyn Board>>,
    speed: Option<u32>,
    vfio_dev: bool,
    fixture: Sketch,
}

impl Default for Blueprint {
    fn default() -> Self {
        Self::new()
    }
}

impl Blueprint {
    /// A machine without a GPU, on Linux 6.1 or later, a thousand times as fast as a real one.
    pub fn new() -> Self {
        Self { boards: Vec::new(), speed: Some(SPEED), vfio_dev: true, fixture: Sketch::default() }
    }

    /// Puts a part in.
    pub fn with(mut self, part: impl Into<Part>) -> Self {
        self.boards.push(part.into().0);
        self
    }

    /// Puts several parts in.
    pub fn with_all(self, parts: impl IntoIterator<Item = impl Into<Part>>) -> Self {
        parts.into_iter().fold(self, Self::with)
    }

    /// So many of the machine's seconds pass in each real one.
    pub fn speed(self, speed: u32) -> Self {
        Self { speed: Some(speed), ..self }
    }

    /// Time passes only by [`Machine::advance`].
    pub fn time_by_hand(self) -> Self {
        Self { speed: None, ..self }
    }

    /// A kernel before 6.1: no `vfio-dev`, no `/dev/vfio/devices`.
    pub fn without_vfio_dev(self) -> Self {
        Self { vfio_dev: false, ..self }
    }

    /// Adds a captured tree: a folder that holds `sys`, `proc`, `dev` with files and relative links. Its files are written without any
    /// rule: what was written is read back.
    ///
    /// # Errors
    /// A file or folder cannot be read.
    pub fn fixture(mut self, folder: &Path) -> std::io::Result<Self> {
        fixture::read(folder, &mut self.fixture)?;
        Ok(self)
    }

    /// Switches the machine on and mounts it.
    ///
    /// # Errors
    /// FUSE or root is missing.
    pub fn mount(self) -> Result<Machine, MountError> {
        let shared = self.switch_on();
        let mount = Mount::new(&shared)?;
        Ok(Machine::new(shared, Some(mount)))
    }

    /// Switches the machine on and mounts it; none where FUSE or root is missing, after telling so. A test returns then.
    ///
    /// # Panics
    /// It cannot be mounted although `HEADSTART_REQUIRE_FUSE` is set.
    #[track_caller]
    pub fn mount_or_skip(self) -> Option<Machine> {
        match self.mount() {
            Ok(machine) => Some(machine),
            Err(error) if std::env::var_os(REQUIRED).is_some() => panic!("{REQUIRED} is set, but {error}"),
            Err(error) => {
                eprintln!("skipped: {error}");
                None
            }
        }
    }

    /// Switches the machine on without mounting it: good for [`Machine::write_tree`], needs no FUSE.
    pub fn unmounted(self) -> Machine {
        Machine::new(self.switch_on(), None)
    }

    fn switch_on(self) -> Arc<Shared> {
        let clock = self.speed.map_or(Clock::ByHand { now: std::time::Duration::ZERO }, Clock::running);
        let mut state = State::new(Host::new(clock, self.vfio_dev));
        for (index, board) in self.boards.into_iter().enumerate() {
            state.slots.push(Slot { board, present: true });
            state.at(index, |board, host| board.switch_on(host));
        }
        // What happened before anybody could listen is not told.
        state.host.uevents.clear();
        base::draw(&mut state, self.fixture);
        state.settle();
        Shared::new(state)
    }
}
