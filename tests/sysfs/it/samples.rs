//! Section 6: the kernel's sample drivers and GVT-g.

use std::fs;
use std::path::PathBuf;

use headstart_simsysfs::intel::Gvt;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::{Blueprint, Errno, Machine};

use crate::{blocked_write, errno, list, read, uuid, write};

fn machine() -> Option<Machine> {
    Blueprint::new().with(Sample::mbochs()).with(Sample::mdpy()).with(Sample::mtty()).mount_or_skip()
}

fn type_folder(machine: &Machine, parent: &str, id: &str) -> PathBuf {
    machine.path("sys/class/mdev_bus").join(parent).join("mdev_supported_types").join(id)
}

fn create(machine: &Machine, parent: &str, id: &str, n: u32) -> std::io::Result<()> {
    fs::write(type_folder(machine, parent, id).join("create"), uuid(n))
}

fn available(machine: &Machine, parent: &str, id: &str) -> String {
    read(type_folder(machine, parent, id).join("available_instances"))
}

#[test]
fn parents_are_virtual_devices() {
    let Some(machine) = machine() else { return };
    assert_eq!(list(machine.path("sys/class/mdev_bus")), ["mbochs", "mdpy", "mtty"]);
    let home = fs::canonicalize(machine.path("sys/class/mdev_bus/mbochs")).expect("a link");
    assert_eq!(home, machine.path("sys/devices/virtual/mbochs/mbochs"));
    assert_eq!(list(machine.path("sys/bus/pci/devices")), Vec::<String>::new());
    assert_eq!(
        read(type_folder(&machine, "mbochs", "mbochs-large").join("description")),
        "virtual display, 64 MB video memory"
    );
    assert!(!type_folder(&machine, "mtty", "mtty-1").join("description").exists());
    assert_eq!(read(type_folder(&machine, "mtty", "mtty-2").join("name")), "Dual port serial");
}

#[test]
fn mbochs_shares_a_budget_of_memory() {
    let Some(machine) = machine() else { return };
    let shown = || ["small", "medium", "large"].map(|size| available(&machine, "mbochs", &format!("mbochs-{size}")));
    assert_eq!(shown(), ["64", "16", "4"]);
    create(&machine, "mbochs", "mbochs-large", 1).expect("room");
    assert_eq!(shown(), ["48", "12", "3"]);
    create(&machine, "mbochs", "mbochs-small", 2).expect("any mix");
    assert_eq!(shown(), ["47", "11", "2"]);
    for n in 3..5 {
        create(&machine, "mbochs", "mbochs-large", n).expect("room");
    }
    assert_eq!(errno(create(&machine, "mbochs", "mbochs-large", 9)), Errno::ENOSPC);
}

#[test]
fn mdpy_counts_and_says_eusers() {
    let Some(machine) = machine() else { return };
    for (n, id) in ["mdpy-vga", "mdpy-hd", "mdpy-xga", "mdpy-hd"].into_iter().enumerate() {
        create(&machine, "mdpy", id, n as u32).expect("room");
    }
    assert_eq!(available(&machine, "mdpy", "mdpy-vga"), "0");
    assert_eq!(errno(create(&machine, "mdpy", "mdpy-vga", 9)), Errno::EUSERS);
}

#[test]
fn mtty_counts_ports() {
    let Some(machine) = machine() else { return };
    create(&machine, "mtty", "mtty-2", 1).expect("room");
    assert_eq!([available(&machine, "mtty", "mtty-1"), available(&machine, "mtty", "mtty-2")], ["22", "11"]);
}

#[test]
fn a_uuid_is_taken_across_drivers_and_wrong_ones_are_refused() {
    let Some(machine) = machine() else { return };
    create(&machine, "mtty", "mtty-1", 1).expect("room");
    assert_eq!(errno(create(&machine, "mdpy", "mdpy-hd", 1)), Errno::EEXIST);
    assert_eq!(errno(fs::write(type_folder(&machine, "mtty", "mtty-1").join("create"), "1")), Errno::EINVAL);
}

#[test]
fn removing_a_device_in_use_blocks() {
    let Some(machine) = machine() else { return };
    create(&machine, "mbochs", "mbochs-small", 1).expect("room");
    machine.open(&uuid(1), "desktop").expect("opened");
    let writer = blocked_write(&machine, machine.mdev(&uuid(1)).join("remove"), "1");
    machine.close(&uuid(1));
    writer.join().expect("no panic").expect("removed");
    assert_eq!(list(machine.path("sys/bus/mdev/devices")), Vec::<String>::new());
}

#[test]
fn gvt_shares_memory_and_fences() {
    let gpu = "0000:00:02.0";
    let Some(machine) = Blueprint::new().with(Gvt::new(gpu)).mount_or_skip() else { return };
    let shown = || ["1", "2", "4", "8"].map(|id| available(&machine, gpu, &format!("i915-GVTg_V5_{id}")));
    // As listed by a public capture of a host of this kind, but for the fourth of the third.
    assert_eq!(shown(), ["1", "2", "4", "7"]);
    let description = fs::read_to_string(type_folder(&machine, gpu, "i915-GVTg_V5_4").join("description"));
    let expected = "low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4\n";
    assert_eq!(description.expect("text"), expected);
    create(&machine, gpu, "i915-GVTg_V5_4", 1).expect("room");
    assert_eq!(shown(), ["0", "1", "3", "6"]);
    write(machine.mdev(&uuid(1)).join("remove"), "1");
    assert_eq!(shown(), ["1", "2", "4", "7"]);
}
