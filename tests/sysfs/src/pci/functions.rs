//! Virtual functions come and go: section 5.4 of the reference.

use std::time::Duration;

use nix::errno::Errno;

use super::{Configure, Function, Physical};
use crate::attribute::number;
use crate::board::Progress;
use crate::host::{Event, Host};

impl Physical {
    /// Enables so many virtual functions, now or late.
    pub(crate) fn enable(&mut self, host: &mut Host, number: u16) {
        let Some(sriov) = &mut self.sriov else { return };
        sriov.number = number;
        if sriov.late.is_zero() {
            self.appear(host);
        } else {
            host.after(sriov.late, Event::FunctionsAppear);
        }
    }

    /// The virtual functions that `sriov_numvfs` promises show up.
    pub(crate) fn appear(&mut self, host: &mut Host) {
        let Some(sriov) = &mut self.sriov else { return };
        for index in u16::try_from(sriov.functions.len()).unwrap_or(u16::MAX)..sriov.number {
            let driver = sriov.vf_driver.clone();
            sriov.functions.push(Function {
                address: self.function.address.virtual_function(sriov.offset, sriov.stride, index),
                kind: sriov.vf_kind,
                driver: driver.clone().filter(|_| sriov.autoprobe),
                driver_override: None,
                native: driver,
                vfio: host.vfio(),
            });
        }
        for function in self.virtual_functions() {
            self.tell_added(host, function);
        }
        let id = self.function.id();
        host.tell("change", &self.home(), "pci", &[("PCI_SLOT_NAME", &id)]);
    }

    /// Virtual functions lose their driver, as if nothing had probed them.
    pub(crate) fn unbind_virtual_functions(&mut self) {
        for function in self.sriov.iter_mut().flat_map(|sriov| &mut sriov.functions) {
            function.driver = None;
        }
    }

    /// Virtual functions without a driver are probed again.
    pub(crate) fn probe_virtual_functions(&mut self) {
        for function in self.sriov.iter_mut().flat_map(|sriov| &mut sriov.functions) {
            function.driver = function.driver.take().or_else(|| function.native.clone());
        }
    }

    /// All virtual functions go.
    pub(crate) fn disable(&mut self, host: &mut Host) {
        host.cancel(|event| *event == Event::FunctionsAppear);
        let Some(sriov) = &mut self.sriov else { return };
        sriov.number = 0;
        let gone = std::mem::take(&mut sriov.functions);
        for function in &gone {
            self.tell_removed(host, function);
        }
        if !gone.is_empty() {
            let id = self.function.id();
            host.tell("change", &self.home(), "pci", &[("PCI_SLOT_NAME", &id)]);
        }
    }

    /// Section 5.4 of the reference.
    pub(crate) fn write_num_vfs(&mut self, host: &mut Host, text: &[u8], since: Option<Duration>) -> Progress {
        let Some(sriov) = &self.sriov else { return Progress::Refused(Errno::ENOENT) };
        let Ok(wanted) = number(text, u16::MAX.into()) else { return Progress::Refused(Errno::EINVAL) };
        let wanted = u16::try_from(wanted).unwrap_or(u16::MAX);
        if wanted > sriov.total {
            return Progress::Refused(Errno::ERANGE);
        }
        if wanted == sriov.number {
            return Progress::Done;
        }
        if self.function.driver.is_none() || sriov.configure == Configure::Absent {
            return Progress::Refused(Errno::ENOENT);
        }
        if wanted == 0 {
            // Each VF waits for its own holder; the request to let go is made once.
            if self.virtual_functions_held(host, since.is_none()) {
                return Progress::Waits;
            }
            self.disable(host);
            return Progress::Done;
        }
        if sriov.number != 0 {
            return Progress::Refused(Errno::EBUSY);
        }
        match sriov.configure {
            Configure::AtMost(most) => self.enable(host, wanted.min(most)),
            Configure::Refuses(errno) => return Progress::Refused(errno),
            Configure::Absent => return Progress::Refused(Errno::ENOENT),
        }
        Progress::Done
    }

    /// Whether a virtual machine has a virtual function open; asks each to let go.
    pub(crate) fn virtual_functions_held(&self, host: &mut Host, ask: bool) -> bool {
        let ids: Vec<String> = self.virtual_functions().iter().map(Function::id).collect();
        let held: Vec<&String> = ids.iter().filter(|id| host.user(id).is_some()).collect();
        for id in held.iter().filter(|_| ask) {
            host.request_unplug(id);
        }
        !held.is_empty()
    }
}
