//! What is there on every machine: the folders of buses and classes, drivers with `bind` and `unbind`.

use std::collections::BTreeSet;

use crate::attribute::Attribute;
use crate::command;
use crate::sketch::Sketch;
use crate::state::State;
use crate::tree::Owner;

/// A branch with both frameworks: vGPU 17.
const DRIVER_VERSION: &str = "550.90.05";

pub(crate) fn draw(state: &mut State, fixture: Sketch) {
    let mut sketch = fixture;
    for folder in ["sys/bus/pci/devices", "sys/devices", "sys/kernel/iommu_groups", "sys/class", "proc", "dev/vfio"] {
        sketch.folder(folder);
    }
    sketch.device("dev/vfio/vfio");
    sketch.trigger("sys/bus/pci/drivers_probe", Attribute::Probe);
    let mut drivers = BTreeSet::from(["vfio-pci".to_owned()]);
    for slot in &state.slots {
        drivers.extend(slot.board.drivers());
    }
    for driver in drivers {
        let folder = format!("sys/bus/pci/drivers/{driver}");
        sketch.file(format!("sys/module/{}/initstate", driver.replace('-', "_")), "live");
        sketch.trigger(format!("{folder}/bind"), Attribute::Bind { driver: driver.clone() });
        sketch.trigger(format!("{folder}/unbind"), Attribute::Unbind { driver: driver.clone() });
    }
    // The module mdev is loaded with the first driver that needs it.
    if state.slots.iter().any(|slot| slot.board.has_mdev()) {
        sketch.folder("sys/class/mdev_bus");
        sketch.folder("sys/bus/mdev/devices");
        sketch.folder("sys/bus/mdev/drivers");
    }
    let has_nvidia = state.slots.iter_mut().any(|slot| slot.board.nvidia().is_some());
    if has_nvidia {
        sketch.file("sys/module/nvidia/version", DRIVER_VERSION);
    }
    let has_mxgpu = state.slots.iter_mut().any(|slot| slot.board.mxgpu().is_some());
    command::draw(&mut sketch, has_nvidia, has_mxgpu);
    state.tree.replace(Owner::Base, sketch);
}
