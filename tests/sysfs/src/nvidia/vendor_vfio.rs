//! NVIDIA's vendor-specific VFIO: a vGPU is a number in a file of a virtual function. Sections 2 and 10.2 of the reference. Nothing
//! here tells udev anything.

use std::time::Duration;

use nix::errno::Errno;

use super::board::{GpuBoard, wait_for_exit};
use super::{Codes, Header};
use crate::attribute::{Attribute, number};
use crate::board::Progress;
use crate::host::Host;
use crate::sketch::Sketch;

impl GpuBoard {
    pub(super) fn draw_vendor_vfio(&self, sketch: &mut Sketch) {
        if !self.ready || self.pf.sriov.is_none() {
            return;
        }
        for site in self.sites() {
            let id = site.id();
            let folder = format!("{}/nvidia", self.pf.folder(site.address));
            sketch.content(
                format!("{folder}/creatable_vgpu_types"),
                0o444,
                Ok(self.creatable_list(&id).into_bytes()),
                None,
            );
            let current = self.vgpus.get(&id).map_or(0, |vgpu| vgpu.number);
            let attribute = Attribute::CurrentVgpuType { function: id.clone() };
            sketch.attribute(format!("{folder}/current_vgpu_type"), current, attribute);
            self.draw_common(&folder, &id, sketch);
        }
    }

    fn creatable_list(&self, site: &str) -> String {
        // The resource manager lists nothing for a VF that is taken; nor does the RFC.
        let creatable: Vec<String> = self
            .model
            .types
            .iter()
            .filter(|vgpu_type| self.available(vgpu_type, site) > 0)
            .map(|vgpu_type| format!("{:<5} : {}\n", vgpu_type.number, vgpu_type.name))
            .collect();
        let header = match self.model.header {
            Header::Always => true,
            Header::Never => false,
            Header::OverTypes => !creatable.is_empty(),
        };
        let header = if header { "ID    : vGPU Name\n" } else { "" };
        format!("{header}{}", creatable.concat())
    }

    pub(super) fn write_type(
        &mut self,
        host: &mut Host,
        function: &str,
        text: &[u8],
        since: Option<Duration>,
    ) -> Progress {
        let wanted = match number(text, u32::MAX.into()) {
            Ok(number) => number as u32,
            Err(errno) => return Progress::Refused(errno),
        };
        if self.pf.function(function).is_none() {
            return Progress::Refused(Errno::ENODEV);
        }
        if wanted == 0 { self.clear(host, function, since) } else { self.set(function, wanted).into() }
    }

    fn set(&mut self, function: &str, wanted: u32) -> Result<(), Errno> {
        if self.vgpus.contains_key(function) {
            return Err(self.code(Errno::EPERM, Errno::EBUSY));
        }
        let refused = self.code(Errno::EIO, Errno::ENODEV);
        let vgpu_type = self.type_of(wanted).ok_or(refused)?.clone();
        if self.available(&vgpu_type, function) == 0 {
            return Err(refused);
        }
        self.add_vgpu(function, function, &vgpu_type, None);
        Ok(())
    }

    fn clear(&mut self, host: &mut Host, function: &str, since: Option<Duration>) -> Progress {
        if !self.vgpus.contains_key(function) {
            // Gone while this write waited for the process to exit: the driver did it.
            return if since.is_some() { Progress::Done } else { Progress::Refused(Errno::EPERM) };
        }
        if host.user(function).is_some() {
            let busy = if self.model.codes == Codes::Nouveau { Errno::EBUSY } else { Errno::EPERM };
            return Progress::Refused(busy);
        }
        if let Some(progress) = wait_for_exit(host, function, since) {
            return progress;
        }
        self.drop_vgpu(host, function);
        Progress::Done
    }
}
