//! Section 8: what the kernel tells, and what it does not.

use std::fs;
use std::process::Command;
use std::sync::mpsc::Receiver;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Uevent};

use crate::mdev::{T4, create};
use crate::{uuid, write};

fn told(events: &Receiver<Uevent>) -> Vec<String> {
    events.try_iter().map(|event| event.to_string()).collect()
}

#[test]
fn an_mdev_is_added_bound_and_removed() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let events = machine.uevents();
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let path = format!("/devices/pci0000:3b/0000:3b:00.0/{}", uuid(1));
    let heard = told(&events);
    assert_eq!(heard[0], format!("add mdev {path}"));
    assert_eq!(heard[1], format!("bind mdev {path} DRIVER=nvidia-vgpu-vfio"));
    assert!(heard[2].starts_with("add vfio /devices/virtual/vfio/"), "{heard:?}");
    assert!(heard[3].starts_with(&format!("add vfio-dev {path}/vfio-dev/vfio")), "{heard:?}");
    write(machine.mdev(&uuid(1)).join("remove"), "1");
    assert_eq!(told(&events), [format!("remove mdev {path}")]);
}

#[test]
fn parents_tell_when_they_are_registered() {
    let blueprint = Blueprint::new().with(Gpu::tesla_t4(T4)).with(Sample::mtty());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let events = machine.uevents();
    machine.reload_driver(T4);
    let path = "/devices/pci0000:3b/0000:3b:00.0";
    assert_eq!(
        told(&events),
        [
            format!("change pci {path} MDEV_STATE=unregistered"),
            format!("remove mdev {path}/{}", uuid(1)),
            format!("change pci {path} MDEV_STATE=registered"),
        ]
    );
    machine.reload_driver("mtty");
    assert_eq!(told(&events).last().expect("told"), "change mtty /devices/virtual/mtty/mtty MDEV_STATE=registered");
}

#[test]
fn functions_come_and_go() {
    let Some(machine) = Blueprint::new().with(Device::igb("0000:4d:00.0")).mount_or_skip() else { return };
    let events = machine.uevents();
    let numvfs = machine.pci("0000:4d:00.0").join("sriov_numvfs");
    write(&numvfs, "1");
    let (pf, vf) = ("/devices/pci0000:4d/0000:4d:00.0", "/devices/pci0000:4d/0000:4d:10.0");
    assert_eq!(
        told(&events),
        [
            format!("add pci {vf} PCI_ID=8086:10CA PCI_SLOT_NAME=0000:4d:10.0"),
            format!("bind pci {vf} DRIVER=igbvf PCI_SLOT_NAME=0000:4d:10.0"),
            format!("change pci {pf} PCI_SLOT_NAME=0000:4d:00.0"),
        ]
    );
    write(&numvfs, "0");
    assert_eq!(
        told(&events),
        [format!("remove pci {vf} PCI_SLOT_NAME=0000:4d:10.0"), format!("change pci {pf} PCI_SLOT_NAME=0000:4d:00.0"),]
    );
}

#[test]
fn each_function_registers_when_nvidia_enables_them() {
    let Some(machine) = Blueprint::new().with(Gpu::a2("0000:08:00.0")).mount_or_skip() else { return };
    let events = machine.uevents();
    let program = machine.path("usr/lib/nvidia/sriov-manage");
    assert!(Command::new(program).args(["-e", "0000:08:00.0"]).output().expect("it runs").status.success());
    let heard: Vec<Uevent> = events.try_iter().collect();
    let registered = heard.iter().filter(|event| event.property("MDEV_STATE") == Some("registered"));
    assert_eq!(registered.count(), 16);
    let added = heard.iter().filter(|event| event.action == "add" && event.subsystem == "pci");
    assert_eq!(added.count(), 16);
}

#[test]
fn a_type_change_of_vendor_vfio_is_told_to_nobody() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s("0000:86:00.0").vfs_enabled()).mount_or_skip() else { return };
    let events = machine.uevents();
    let file = machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type");
    fs::write(&file, "1150").expect("free");
    machine.open("0000:86:00.4", "desktop").expect("opened");
    machine.close("0000:86:00.4");
    fs::write(&file, "0").expect("idle");
    assert_eq!(told(&events), Vec::<String>::new());
}

#[test]
fn a_message_has_the_kernels_form() {
    let event = Uevent {
        action: "change".to_owned(),
        devpath: "/devices/x".to_owned(),
        subsystem: "pci".to_owned(),
        properties: vec![("MDEV_STATE".to_owned(), "registered".to_owned())],
    };
    let expected = b"change@/devices/x\0ACTION=change\0DEVPATH=/devices/x\0SUBSYSTEM=pci\0MDEV_STATE=registered\0";
    assert_eq!(event.to_bytes(), expected);
}
