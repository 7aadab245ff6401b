//! The kernel's mdev core: parents with their types, and the devices made from them. What a type has room for is its driver's affair.

use crate::attribute::Attribute;
use crate::host::{Host, Vfio};
use crate::pci::{draw_vfio, tell_vfio};
use crate::sketch::Sketch;

/// A type as a parent shows it.
#[derive(Clone, Debug)]
pub(crate) struct TypeView {
    /// The folder's name: `nvidia-558`.
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) description: Option<String>,
    pub(crate) available: u32,
}

/// A mediated device.
#[derive(Clone, Debug)]
pub(crate) struct Mdev {
    pub(crate) uuid: String,
    pub(crate) type_id: String,
    pub(crate) vfio: Vfio,
    /// Its `mdev_type` link can come late.
    pub(crate) linked: bool,
    /// Somebody's write to `remove` is blocked.
    pub(crate) removing: bool,
}

impl Mdev {
    /// Takes the UUID for the whole machine and tells of the device.
    pub(crate) fn new(host: &mut Host, parent_folder: &str, type_id: &str, uuid: &str) -> Self {
        host.mdevs.insert(uuid.to_owned());
        let vfio = host.vfio();
        let mdev = Self { uuid: uuid.to_owned(), type_id: type_id.to_owned(), vfio, linked: true, removing: false };
        host.tell("add", &format!("{parent_folder}/{uuid}"), "mdev", &[]);
        mdev
    }

    /// The device is bound to its driver, which comes after `add`.
    pub(crate) fn tell_bound(&self, host: &mut Host, parent_folder: &str, driver: &str) {
        let folder = format!("{parent_folder}/{}", self.uuid);
        host.tell("bind", &folder, "mdev", &[("DRIVER", driver)]);
        tell_vfio(host, &folder, self.vfio);
    }

    /// Gives the UUID back and tells that the device is gone.
    pub(crate) fn gone(&self, host: &mut Host, parent_folder: &str) {
        host.mdevs.remove(&self.uuid);
        host.tell("remove", &format!("{parent_folder}/{}", self.uuid), "mdev", &[]);
    }

    /// The device's folder, `driver` being the driver of all devices of its parent.
    pub(crate) fn draw(&self, host: &Host, parent_folder: &str, driver: &str, sketch: &mut Sketch) {
        let uuid = &self.uuid;
        let folder = format!("{parent_folder}/{uuid}");
        let type_folder = format!("{parent_folder}/mdev_supported_types/{}", self.type_id);
        if self.linked {
            sketch.link(format!("{folder}/mdev_type"), &type_folder);
        }
        sketch.trigger(format!("{folder}/remove"), Attribute::Remove { uuid: uuid.clone() });
        sketch.file(format!("{folder}/uevent"), format_args!("DRIVER={driver}"));
        sketch.link(format!("{folder}/driver"), &format!("sys/bus/mdev/drivers/{driver}"));
        sketch.link(format!("{folder}/subsystem"), "sys/bus/mdev");
        let group = self.vfio.group;
        sketch.link(format!("{folder}/iommu_group"), &format!("sys/kernel/iommu_groups/{group}"));
        sketch.link(format!("sys/kernel/iommu_groups/{group}/devices/{uuid}"), &folder);
        sketch.link(format!("{type_folder}/devices/{uuid}"), &folder);
        sketch.link(format!("sys/bus/mdev/devices/{uuid}"), &folder);
        sketch.link(format!("sys/bus/mdev/drivers/{driver}/{uuid}"), &folder);
        draw_vfio(host, &folder, self.vfio, sketch);
    }
}

/// A registered parent: its types, and its entry in `/sys/class/mdev_bus`.
pub(crate) fn draw_parent(name: &str, folder: &str, types: &[TypeView], sketch: &mut Sketch) {
    sketch.link(format!("sys/class/mdev_bus/{name}"), folder);
    for view in types {
        let home = format!("{folder}/mdev_supported_types/{}", view.id);
        sketch.file(format!("{home}/name"), &view.name);
        if let Some(description) = &view.description {
            sketch.file(format!("{home}/description"), description);
        }
        sketch.file(format!("{home}/available_instances"), view.available);
        sketch.file(format!("{home}/device_api"), "vfio-pci");
        let attribute = Attribute::Create { parent: name.to_owned(), mdev_type: view.id.clone() };
        sketch.trigger(format!("{home}/create"), attribute);
        sketch.folder(format!("{home}/devices"));
    }
    sketch.folder(format!("{folder}/mdev_supported_types"));
}

/// The event of a parent that comes or goes.
pub(crate) fn tell_parent(host: &mut Host, folder: &str, subsystem: &str, registered: bool) {
    let state = if registered { "registered" } else { "unregistered" };
    host.tell("change", folder, subsystem, &[("MDEV_STATE", state)]);
}
