//! NVIDIA's mediated devices: section 10.1 of the reference.

use std::time::Duration;

use nix::errno::Errno;

use super::Remove;
use super::board::{GpuBoard, wait_for_exit};
use crate::attribute::{number, uuid};
use crate::board::Progress;
use crate::host::{Event, Host};
use crate::mdev::{Mdev, TypeView, draw_parent};
use crate::sketch::Sketch;

/// The driver of every vGPU that is an mdev.
const DRIVER: &str = "nvidia-vgpu-vfio";

impl GpuBoard {
    pub(super) fn draw_mdevs(&self, host: &Host, sketch: &mut Sketch) {
        if !self.ready {
            return;
        }
        for site in self.sites() {
            let id = site.id();
            let view = |vgpu_type: &super::VgpuType| TypeView {
                id: format!("nvidia-{}", vgpu_type.number),
                name: vgpu_type.name.clone(),
                description: self.model.description.then(|| vgpu_type.description()),
                available: self.available(vgpu_type, &id),
            };
            let views: Vec<TypeView> = self.model.types.iter().map(view).collect();
            draw_parent(&id, &self.pf.folder(site.address), &views, sketch);
        }
        for (device, vgpu) in &self.vgpus {
            let Some(mdev) = &vgpu.mdev else { continue };
            let parent = self.site_folder(&vgpu.site);
            mdev.draw(host, &parent, DRIVER, sketch);
            let folder = format!("{parent}/{device}/nvidia");
            let options = if self.model.vm_name_options { ",debug-threads=on" } else { "" };
            let name = host.user(device).map(|vm| format!("{}{options}", vm.name)).unwrap_or_default();
            sketch.file(format!("{folder}/vm_name"), name);
            self.draw_common(&folder, device, sketch);
        }
    }

    pub(super) fn create(&mut self, host: &mut Host, parent: &str, id: &str, text: &[u8]) -> Result<(), Errno> {
        let uuid = uuid(text)?;
        if host.mdevs.contains(&uuid) {
            return Err(Errno::EEXIST);
        }
        if !self.ready {
            return Err(Errno::ENODEV);
        }
        let number = id.strip_prefix("nvidia-").and_then(|number| number.parse().ok()).ok_or(Errno::EINVAL)?;
        let vgpu_type = self.type_of(number).ok_or(Errno::EINVAL)?.clone();
        // Every refusal of the resource manager looks the same.
        if self.available(&vgpu_type, parent) == 0 {
            return Err(Errno::EIO);
        }
        let folder = self.site_folder(parent);
        let mut mdev = Mdev::new(host, &folder, id, &uuid);
        mdev.tell_bound(host, &folder, DRIVER);
        let late = self.model.late_type_link;
        mdev.linked = late.is_zero();
        if !mdev.linked {
            host.after(late, Event::TypeLinkAppears { uuid: uuid.clone() });
        }
        self.add_vgpu(&uuid, parent, &vgpu_type, Some(mdev));
        Ok(())
    }

    pub(super) fn remove(&mut self, host: &mut Host, uuid: &str, text: &[u8], since: Option<Duration>) -> Progress {
        match number(text, u64::MAX) {
            Err(_) => return Progress::Refused(Errno::EINVAL),
            Ok(0) => return Progress::Done,
            Ok(_) => {}
        }
        let (kind, already) = (self.model.remove, self.model.already_removing);
        let Some(mdev) = self.vgpus.get_mut(uuid).and_then(|vgpu| vgpu.mdev.as_mut()) else {
            return Progress::Refused(Errno::ENODEV);
        };
        if mdev.removing && since.is_none() {
            return Progress::Refused(already);
        }
        let in_use = host.user(uuid).is_some();
        if in_use && kind == Remove::Refuses {
            return Progress::Refused(Errno::EPERM);
        }
        mdev.removing = true;
        // The newer kernel's callback cannot fail, so there is no limit to the wait for the process either.
        if in_use || kind == Remove::Blocks && host.lingers(uuid) {
            if since.is_none() {
                host.request_unplug(uuid);
            }
            return Progress::Waits;
        }
        if let Some(progress) = wait_for_exit(host, uuid, since) {
            if let (Progress::Refused(_), Some(mdev)) =
                (progress, self.vgpus.get_mut(uuid).and_then(|vgpu| vgpu.mdev.as_mut()))
            {
                mdev.removing = false;
            }
            return progress;
        }
        self.drop_vgpu(host, uuid);
        Progress::Done
    }
}
