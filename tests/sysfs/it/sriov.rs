//! Sections 5.4 and 10.3: the kernel's SR-IOV attributes.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno, Machine, UnplugRequest};

use crate::{blocked_write, errno, list, read, write};

const PF: &str = "0000:4d:00.0";

fn machine(device: Device) -> Option<Machine> {
    Blueprint::new().with(device).mount_or_skip()
}

fn numvfs(machine: &Machine) -> PathBuf {
    machine.pci(PF).join("sriov_numvfs")
}

#[test]
fn a_function_shows_its_numbers() {
    let Some(machine) = machine(Device::flex_170(PF)) else { return };
    let file = |name: &str| read(machine.pci(PF).join(name));
    assert_eq!([file("vendor"), file("device"), file("class")], ["0x8086", "0x56c0", "0x038000"]);
    assert_eq!([file("sriov_totalvfs"), file("sriov_numvfs"), file("sriov_drivers_autoprobe")], ["31", "0", "1"]);
    assert_eq!([file("sriov_offset"), file("sriov_stride"), file("sriov_vf_device")], ["1", "1", "56c0"]);
    assert_eq!(file("driver_override"), "(null)");
    assert!(file("uevent").contains("\nPCI_SLOT_NAME=0000:4d:00.0\n"), "{}", file("uevent"));
}

#[test]
fn each_write_of_numvfs_has_its_answer() {
    let Some(machine) = machine(Device::flex_170(PF)) else { return };
    let file = numvfs(&machine);
    for wrong in ["\n", "two", "-1", "65536", "1 2"] {
        assert_eq!(errno(fs::write(&file, wrong)), Errno::EINVAL, "{wrong:?}");
    }
    assert_eq!(errno(fs::write(&file, "32")), Errno::ERANGE);
    write(&file, "0");
    write(&file, "4\n");
    assert_eq!(read(&file), "4");
    write(&file, "4");
    assert_eq!(errno(fs::write(&file, "5")), Errno::EBUSY);
    assert_eq!(read(&file), "4");
    write(&file, "0");
    write(&file, "5");
    assert_eq!(read(&file), "5");
}

#[test]
fn drivers_that_cannot_say_enoent() {
    for device in [Device::flex_170(PF).without_configure(), Device::flex_170(PF).without_driver()] {
        let Some(machine) = machine(device) else { return };
        assert_eq!(errno(fs::write(numvfs(&machine), "4")), Errno::ENOENT);
        // The number is compared before the driver is looked at.
        write(numvfs(&machine), "0");
        assert_eq!(errno(fs::write(numvfs(&machine), "99")), Errno::ERANGE);
    }
}

#[test]
fn a_refusal_is_the_drivers_own() {
    let Some(machine) = machine(Device::flex_170(PF).refuses(Errno::ENOMEM)) else { return };
    assert_eq!(errno(fs::write(numvfs(&machine), "4")), Errno::ENOMEM);
    assert_eq!(read(numvfs(&machine)), "0");
}

#[test]
fn fewer_than_asked_is_a_success() {
    let Some(machine) = machine(Device::flex_170(PF).enables_at_most(3)) else { return };
    write(numvfs(&machine), "8");
    assert_eq!(read(numvfs(&machine)), "3");
    assert!(!machine.pci(PF).join("virtfn3").exists());
}

#[test]
fn functions_appear_and_all_go_at_once() {
    let Some(machine) = machine(Device::igb(PF)) else { return };
    write(numvfs(&machine), "3");
    let target = |n: u8| fs::read_link(machine.pci(PF).join(format!("virtfn{n}"))).expect("a link");
    // Offset 0x80 and stride 2, so they are on device 16 on.
    assert_eq!([target(0), target(1)], [PathBuf::from("../0000:4d:10.0"), PathBuf::from("../0000:4d:10.2")]);
    let vf = machine.pci("0000:4d:10.2");
    assert_eq!(read(vf.join("device")), "0x10ca");
    assert_eq!(fs::read_link(vf.join("driver")).expect("bound").file_name(), Some("igbvf".as_ref()));
    assert_eq!(read(vf.join("reset_method")), "flr");
    assert!(vf.join("iommu_group").exists());
    write(numvfs(&machine), "0");
    assert_eq!(list(machine.path("sys/bus/pci/devices")), [PF]);
}

#[test]
fn functions_can_come_late() {
    let device = Device::flex_170(PF).late_vfs(Duration::from_secs(2));
    let Some(machine) = Blueprint::new().with(device).time_by_hand().mount_or_skip() else { return };
    write(numvfs(&machine), "4");
    assert_eq!(read(numvfs(&machine)), "4");
    assert!(!machine.pci(PF).join("virtfn0").exists());
    machine.advance(Duration::from_secs(2));
    assert!(machine.pci(PF).join("virtfn3").exists());
    // What is switched off before it came does not come.
    write(numvfs(&machine), "0");
    write(numvfs(&machine), "2");
    write(numvfs(&machine), "0");
    machine.advance(Duration::from_secs(5));
    assert!(!machine.pci(PF).join("virtfn0").exists());
}

#[test]
fn without_autoprobe_functions_stay_unbound_until_probed() {
    let Some(machine) = machine(Device::igb(PF)) else { return };
    let autoprobe = machine.pci(PF).join("sriov_drivers_autoprobe");
    assert_eq!(errno(fs::write(&autoprobe, "perhaps")), Errno::EINVAL);
    write(&autoprobe, "0");
    write(numvfs(&machine), "1");
    let vf = machine.pci("0000:4d:10.0");
    assert!(!vf.join("driver").exists());
    write(vf.join("driver_override"), "vfio-pci");
    assert_eq!(read(vf.join("driver_override")), "vfio-pci");
    write(machine.path("sys/bus/pci/drivers_probe"), "0000:4d:10.0");
    assert_eq!(fs::read_link(vf.join("driver")).expect("bound").file_name(), Some("vfio-pci".as_ref()));
    assert_eq!(list(vf.join("vfio-dev")).len(), 1);
}

#[test]
fn bind_and_unbind_take_addresses() {
    let Some(machine) = machine(Device::igb(PF).enabled(1)) else { return };
    let vf = "0000:4d:10.0";
    let drivers = machine.path("sys/bus/pci/drivers");
    assert!(drivers.join("igbvf").join(vf).exists());
    assert_eq!(errno(fs::write(drivers.join("igbvf/unbind"), "0000:4d:10.2")), Errno::ENODEV, "no such function");
    assert_eq!(errno(fs::write(drivers.join("vfio-pci/unbind"), vf)), Errno::ENODEV, "not this driver's");
    assert_eq!(errno(fs::write(drivers.join("vfio-pci/bind"), vf)), Errno::EBUSY, "bound already");
    write(drivers.join("igbvf/unbind"), vf);
    assert!(!machine.pci(vf).join("driver").exists());
    assert_eq!(errno(fs::write(drivers.join("vfio-pci/bind"), vf)), Errno::ENODEV, "not chosen for it");
    write(machine.pci(vf).join("driver_override"), "vfio-pci\n");
    assert_eq!(errno(fs::write(drivers.join("igbvf/bind"), vf)), Errno::ENODEV, "another is chosen");
    write(drivers.join("vfio-pci/bind"), vf);
    machine.open(vf, "desktop").expect("VFIO has it");
}

#[test]
fn disabling_waits_for_the_vm_and_asks_it_to_unplug() {
    let Some(machine) = machine(Device::igb(PF).enabled(2)) else { return };
    let vf = "0000:4d:10.2";
    machine.open_managed(vf, "desktop").expect("bound to vfio-pci and opened");
    let writer = blocked_write(&machine, numvfs(&machine), "0");
    assert_eq!(machine.unplug_requests(), [UnplugRequest { device: vf.to_owned(), vm: "desktop".to_owned() }]);
    assert!(machine.pci(vf).exists());
    machine.close(vf);
    writer.join().expect("no panic").expect("disabled");
    assert!(!machine.pci(vf).exists());
}

#[test]
fn unbinding_the_physical_function_waits_for_open_virtual_ones() {
    let Some(machine) = machine(Device::igb(PF).enabled(2)) else { return };
    machine.open_managed("0000:4d:10.0", "desktop").expect("opened");
    let writer = blocked_write(&machine, machine.path("sys/bus/pci/drivers/igb/unbind"), PF);
    machine.close("0000:4d:10.0");
    writer.join().expect("no panic").expect("unbound");
    assert!(!machine.pci(PF).join("driver").exists());
    assert!(!machine.pci(PF).join("virtfn0").exists());
    assert_eq!(errno(fs::write(numvfs(&machine), "1")), Errno::ENOENT);
    write(machine.path("sys/bus/pci/drivers/igb/bind"), PF);
    write(numvfs(&machine), "1");
}

#[test]
fn managed_functions_go_back_to_their_driver() {
    let Some(machine) = machine(Device::igb(PF).enabled(1)) else { return };
    let vf = "0000:4d:10.0";
    assert_eq!(machine.open(vf, "desktop"), Err(Errno::ENODEV), "igbvf is no VFIO driver");
    machine.open_managed(vf, "desktop").expect("opened");
    machine.close_managed(vf);
    assert_eq!(fs::read_link(machine.pci(vf).join("driver")).expect("bound").file_name(), Some("igbvf".as_ref()));
    assert_eq!(read(machine.pci(vf).join("driver_override")), "(null)");
}

#[test]
fn a_function_without_sriov_has_none_of_its_files() {
    let Some(machine) = machine(Device::flex_170(PF).without_sriov()) else { return };
    assert_eq!(read(machine.pci(PF).join("class")), "0x038000");
    assert!(list(machine.pci(PF)).iter().all(|name| !name.starts_with("sriov_")), "{:?}", list(machine.pci(PF)));
    machine.open_managed(PF, "desktop").expect("passed through whole");
}
