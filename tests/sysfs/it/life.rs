//! Reboots, driver reloads, GPUs that are pulled.

use std::fs;
use std::process::Command;
use std::time::Duration;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno};

use crate::mdev::{T4, available, create};
use crate::{blocked_write, errno, list, read, uuid, write};

const A40: &str = "0000:5e:00.0";
const L40S: &str = "0000:86:00.0";
const IGB: &str = "0000:4d:00.0";

#[test]
fn nothing_made_outlives_a_reboot() {
    let blueprint = Blueprint::new()
        .with(Gpu::tesla_t4(T4))
        .with(Gpu::l40s(L40S).vfs_enabled())
        .with(Device::igb(IGB).enabled(3))
        .with(Sample::mbochs());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1150").expect("free");
    machine.open("0000:86:00.4", "desktop").expect("opened");
    machine.reboot();
    assert_eq!(list(machine.path("sys/bus/mdev/devices")), Vec::<String>::new());
    assert_eq!(available(&machine, T4, 232), "4");
    assert_eq!(list(machine.path("sys/bus/pci/devices")), [T4, IGB, L40S]);
    assert_eq!(read(machine.pci(L40S).join("sriov_numvfs")), "0");
    assert_eq!(list(machine.path("proc")), ["driver"]);
    assert_eq!(list(machine.path("sys/class/mdev_bus")), [T4, "mbochs"]);
}

#[test]
fn a_reload_takes_functions_mdevs_and_modes() {
    let Some(machine) = Blueprint::new().with(Gpu::a40(A40).vfs_enabled().mixed_size()).mount_or_skip() else { return };
    create(&machine, "0000:5e:00.4", 558, &uuid(1)).expect("free");
    machine.reload_driver(A40);
    assert!(!machine.mdev(&uuid(1)).exists());
    assert!(!machine.pci("0000:5e:00.4").exists());
    let query = Command::new(machine.path("usr/bin/nvidia-smi")).arg("-q").output().expect("it runs");
    let query = String::from_utf8(query.stdout).expect("text");
    assert!(query.contains("vGPU Heterogeneous Mode           : Disabled"), "{query}");
}

#[test]
fn types_are_missing_until_a_reloaded_driver_is_ready() {
    let gpu = Gpu::tesla_t4(T4).slow_start(Duration::from_secs(10));
    let Some(machine) = Blueprint::new().with(gpu).time_by_hand().mount_or_skip() else { return };
    machine.advance(Duration::from_secs(10));
    assert_eq!(list(machine.path("sys/class/mdev_bus")), [T4]);
    machine.reload_driver(T4);
    assert_eq!(list(machine.path("sys/class/mdev_bus")), Vec::<String>::new());
    machine.advance(Duration::from_secs(10));
    assert_eq!(list(machine.path("sys/class/mdev_bus")), [T4]);
}

#[test]
fn a_driver_can_lose_its_manager() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    machine.set_ready(T4, false);
    assert!(!machine.pci(T4).join("mdev_supported_types").exists());
    machine.set_ready(T4, true);
    assert_eq!(available(&machine, T4, 232), "4");
}

#[test]
fn a_pulled_gpu_is_gone_with_everything_on_it() {
    let blueprint = Blueprint::new().with(Gpu::tesla_t4(T4)).with(Gpu::l40s(L40S).vfs_enabled());
    let Some(machine) = blueprint.mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    let pid = machine.open(&uuid(1), "desktop").expect("opened");
    let remove = machine.mdev(&uuid(1)).join("remove");
    let writer = blocked_write(&machine, remove.clone(), "1");
    let mut vendor = fs::File::open(machine.pci(T4).join("vendor")).expect("opened");
    machine.unplug(T4);
    assert_eq!(errno(writer.join().expect("no panic")), Errno::ENODEV);
    assert_eq!(errno(std::io::Read::read(&mut vendor, &mut [0; 8])), Errno::ENODEV);
    assert!(!machine.pci(T4).exists());
    assert!(!machine.path("proc/driver/nvidia/gpus").join(T4).exists());
    assert!(!machine.path(&format!("proc/{pid}")).exists());
    assert_eq!(machine.open(&uuid(1), "desktop"), Err(Errno::ENODEV));
    assert!(machine.pci("0000:86:00.4").exists(), "the other one stays");

    machine.plug(T4);
    assert_eq!(available(&machine, T4, 232), "4");
    assert!(!machine.mdev(&uuid(1)).exists());
}

#[test]
fn unbinding_nvidia_takes_the_vgpus_along() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    create(&machine, T4, 232, &uuid(1)).expect("free");
    machine.open(&uuid(1), "desktop").expect("opened");
    let drivers = machine.path("sys/bus/pci/drivers/nvidia");
    let writer = blocked_write(&machine, drivers.join("unbind"), T4);
    assert_eq!(machine.unplug_requests().len(), 1);
    machine.close(&uuid(1));
    writer.join().expect("no panic").expect("unbound");
    assert!(!machine.mdev(&uuid(1)).exists());
    assert!(!machine.path("proc/driver/nvidia/gpus").exists());
    write(drivers.join("bind"), T4);
    assert_eq!(available(&machine, T4, 232), "4");
}
