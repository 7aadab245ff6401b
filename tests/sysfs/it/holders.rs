//! Who has what open, as `/proc` tells it, and how the vendor's plugin answers.

use std::fs;
use std::path::Path;
use std::time::Duration;

use headstart_simsysfs::nvidia::{Gpu, Plugin};
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno, Machine, Vm};

use crate::mdev::{T4, create};
use crate::{list, read, uuid};

/// Process ids that have a path open, found as an adapter would find them.
fn holders(machine: &Machine, path: &str) -> Vec<u32> {
    let processes = list(machine.path("proc")).into_iter().filter_map(|name| name.parse::<u32>().ok());
    let holds = |pid: &u32| {
        let folder = machine.path(&format!("proc/{pid}/fd"));
        list(&folder).iter().any(|fd| fs::read_link(folder.join(fd)).is_ok_and(|target| target == Path::new(path)))
    };
    processes.filter(holds).collect()
}

fn group(machine: &Machine, device: &Path) -> String {
    let link = fs::read_link(device.join("iommu_group")).expect("a group");
    let group = link.file_name().expect("a number").to_string_lossy().into_owned();
    assert!(machine.path("dev/vfio").join(&group).exists());
    format!("/dev/vfio/{group}")
}

#[test]
fn qemu_holds_the_group_of_what_it_opened() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    for n in 1..3 {
        create(&machine, T4, 232, &uuid(n)).expect("free");
    }
    let [one, two] = [1, 2].map(|n| group(&machine, &machine.mdev(&uuid(n))));
    assert_eq!(holders(&machine, &one), []);
    let pid = machine.open(&uuid(1), "desktop 7").expect("opened");
    assert_eq!(machine.open(&uuid(2), "desktop 7"), Ok(pid), "one virtual machine is one process");
    assert_eq!([holders(&machine, &one), holders(&machine, &two)], [[pid], [pid]]);
    assert_eq!(machine.open(&uuid(1), "another"), Err(Errno::EBUSY));

    let process = machine.path(&format!("proc/{pid}"));
    assert_eq!(read(process.join("comm")), "qemu-system-x86");
    let command = fs::read(process.join("cmdline")).expect("read");
    let words: Vec<&[u8]> = command.split(|byte| *byte == 0).collect();
    assert_eq!(words[1..3], [&b"-name"[..], &b"guest=desktop 7,debug-threads=on"[..]]);
    assert_eq!(words[3], b"-uuid");

    machine.close(&uuid(1));
    assert_eq!([holders(&machine, &one), holders(&machine, &two)], [vec![], vec![pid]]);
    machine.end_process(pid);
    assert!(!process.exists());
    assert_eq!(read(machine.mdev(&uuid(2)).join("nvidia/vm_name")), "");
}

#[test]
fn qemu_can_hold_the_device_instead() {
    let vf = "0000:86:00.4";
    let Some(machine) = Blueprint::new().with(Gpu::l40s("0000:86:00.0").vfs_enabled()).mount_or_skip() else { return };
    fs::write(machine.pci(vf).join("nvidia/current_vgpu_type"), "1150").expect("free");
    let uuid = "11111111-2222-4333-8444-555555555555";
    let pid = machine.open(vf, Vm::new("desktop").uuid(uuid).through_cdev()).expect("opened");
    let device = list(machine.pci(vf).join("vfio-dev")).remove(0);
    assert_eq!(holders(&machine, &format!("/dev/vfio/devices/{device}")), [pid]);
    assert_eq!(holders(&machine, &group(&machine, &machine.pci(vf))), []);
    let command = fs::read_to_string(machine.path(&format!("proc/{pid}/cmdline"))).expect("read");
    assert!(command.contains(uuid), "{command:?}");
}

#[test]
fn groups_and_devices_are_numbered_apart() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let device = list(machine.mdev(&uuid(1)).join("vfio-dev")).remove(0);
    assert_ne!(group(&machine, &machine.mdev(&uuid(1))), format!("/dev/vfio/{}", device.trim_start_matches("vfio")));
}

#[test]
fn a_program_holds_the_gpu_itself() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    let folder = machine.path("proc/driver/nvidia/gpus").join(T4);
    let information = fs::read_to_string(folder.join("information")).expect("read");
    assert!(information.contains("Device Minor: \t 0\n"), "{information}");
    let lock = folder.join("unbindLock");
    assert_eq!(read(&lock), "0");
    let pid = machine.hold_gpu(T4, "/usr/bin/dcgm-exporter");
    assert_eq!(holders(&machine, "/dev/nvidia0"), [pid]);
    assert_eq!(read(machine.path(&format!("proc/{pid}/comm"))), "dcgm-exporter");
    // The write succeeds; what is read back tells.
    fs::write(&lock, "1").expect("written");
    assert_eq!(read(&lock), "0");
    machine.end_process(pid);
    fs::write(&lock, "1").expect("written");
    assert_eq!(read(&lock), "1");
}

#[test]
fn a_stuck_plugin_times_out_after_25_seconds() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    machine.set_plugin(T4, Plugin::Stuck);
    let before = machine.now();
    assert_eq!(machine.open(&uuid(1), "desktop"), Err(Errno::ETIMEDOUT));
    assert!(machine.now().saturating_sub(before) >= Duration::from_secs(25));
    assert_eq!(read(machine.mdev(&uuid(1)).join("nvidia/vm_name")), "");
    machine.set_plugin(T4, Plugin::Works);
    machine.open(&uuid(1), "desktop").expect("opened");
}

#[test]
fn a_plugin_can_fail_once_or_always() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    machine.set_plugin(T4, Plugin::FailsOnce);
    assert_eq!(machine.open(&uuid(1), "desktop"), Err(Errno::EIO));
    machine.open(&uuid(1), "desktop").expect("the second time");
    machine.close(&uuid(1));
    machine.set_plugin(T4, Plugin::Fails);
    for _ in 0..3 {
        assert_eq!(machine.open(&uuid(1), "desktop"), Err(Errno::EIO));
    }
}

#[test]
fn what_is_not_there_cannot_be_opened() {
    let Some(machine) = Blueprint::new().with(Device::igb("0000:4d:00.0").enabled(1)).mount_or_skip() else { return };
    for device in [uuid(1).as_str(), "0000:00:00.0", "0000:4d:00.0"] {
        assert_eq!(machine.open(device, "desktop"), Err(Errno::ENODEV), "{device}");
    }
}
