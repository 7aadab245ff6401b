//! The port between the machine and its parts: one implementation for each vendor interface.

use std::time::Duration;

use nix::errno::Errno;

use crate::attribute::Attribute;
use crate::host::{Event, Host, Vfio};
use crate::sketch::Sketch;

/// How far a write has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    Done,
    Refused(Errno),
    /// Blocks; asked again whenever something has changed.
    Waits,
}

impl From<Result<(), Errno>> for Progress {
    fn from(result: Result<(), Errno>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(errno) => Self::Refused(errno),
        }
    }
}

/// A GPU with everything on it, or a parent of sample mdevs.
pub(crate) trait Board: Send {
    /// The name by which tests call it: the PF's address, or the virtual parent's name.
    fn name(&self) -> String;

    /// Whether this is one of its devices: a function's address, or an mdev's UUID.
    fn has(&self, device: &str) -> bool;

    /// Shows everything as it is now.
    fn draw(&self, host: &Host, sketch: &mut Sketch);

    /// A write. `since` tells when it was first tried if it blocked then.
    fn write(&mut self, host: &mut Host, attribute: &Attribute, text: &[u8], since: Option<Duration>) -> Progress;

    /// Power on: the host boots, or the board is plugged in.
    fn switch_on(&mut self, host: &mut Host);

    /// All that does not outlive a reboot goes, without a word.
    fn switch_off(&mut self, host: &mut Host);

    /// Something on its agenda comes due.
    fn happen(&mut self, _host: &mut Host, _event: &Event) {}

    /// Whether a virtual machine may open this device, and under which numbers. None while the vendor's plugin does not answer.
    fn open(&mut self, host: &mut Host, device: &str) -> Result<Option<Vfio>, Errno>;

    /// PCI drivers that are loaded for it.
    fn drivers(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether its driver uses the mdev core.
    fn has_mdev(&self) -> bool {
        false
    }

    /// The driver that a function is bound to.
    fn driver(&self, _function: &str) -> Option<String> {
        None
    }

    /// A virtual machine has let go of this device. Tells whether the vendor's process lingers.
    fn closed(&mut self, _host: &mut Host, _device: &str) -> bool {
        false
    }

    /// The driver of the PF is loaded anew.
    fn reload(&mut self, host: &mut Host) {
        self.switch_off(host);
        self.switch_on(host);
    }

    /// The board is gone from its slot.
    fn unplug(&mut self, host: &mut Host) {
        self.switch_off(host);
    }

    /// The NVIDIA GPU that this is.
    fn nvidia(&mut self) -> Option<&mut crate::nvidia::board::GpuBoard> {
        None
    }

    /// The AMD GPU that this is.
    fn mxgpu(&mut self) -> Option<&mut crate::amd::MxgpuBoard> {
        None
    }
}
