//! Section 10.1: `remove`, in all its ways.

use std::fs;
use std::time::Duration;

use headstart_simsysfs::nvidia::{Gpu, Remove};
use headstart_simsysfs::{Blueprint, Errno, Machine, UnplugRequest};

use crate::mdev::{T4, create};
use crate::{blocked_write, errno, uuid, write};

/// A machine with one mdev on it.
fn machine(blueprint: Blueprint, gpu: Gpu) -> Option<Machine> {
    let machine = blueprint.with(gpu).mount_or_skip()?;
    create(&machine, T4, 232, &uuid(1)).expect("free");
    Some(machine)
}

#[test]
fn a_number_removes_and_zero_does_nothing() {
    let Some(machine) = machine(Blueprint::new(), Gpu::tesla_t4(T4)) else { return };
    let file = machine.mdev(&uuid(1)).join("remove");
    for wrong in ["\n", "yes", "1 1", "-1"] {
        assert_eq!(errno(fs::write(&file, wrong)), Errno::EINVAL, "{wrong:?}");
    }
    write(&file, "0");
    assert!(file.exists());
    write(&file, "0x2\n");
    assert!(!file.exists());
}

#[test]
fn the_older_driver_refuses_while_the_device_is_open() {
    let Some(machine) = machine(Blueprint::new(), Gpu::tesla_t4(T4).remove(Remove::Refuses)) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    let file = machine.mdev(&uuid(1)).join("remove");
    assert_eq!(errno(fs::write(&file, "1")), Errno::EPERM);
    assert_eq!(machine.unplug_requests(), []);
    machine.close(&uuid(1));
    write(&file, "1");
    assert!(!file.exists());
}

#[test]
fn the_newer_kernel_blocks_until_the_holder_closes() {
    let Some(machine) = machine(Blueprint::new(), Gpu::tesla_t4(T4)) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    let file = machine.mdev(&uuid(1)).join("remove");
    let writer = blocked_write(&machine, file.clone(), "1");
    // The virtual machine is asked to let go, and the device stays until it does.
    let request = UnplugRequest { device: uuid(1), vm: "desktop".to_owned() };
    assert_eq!(machine.unplug_requests(), [request]);
    assert!(file.exists());
    machine.advance(Duration::from_secs(3600));
    assert!(!writer.is_finished(), "no time is enough");
    machine.close(&uuid(1));
    writer.join().expect("no panic").expect("removed");
    assert!(!file.exists());
}

#[test]
fn a_second_remove_is_told_that_one_is_under_way() {
    for already in [Errno::EAGAIN, Errno::ENODEV] {
        let Some(machine) = machine(Blueprint::new(), Gpu::tesla_t4(T4).already_removing(already)) else { return };
        machine.open(&uuid(1), "desktop").expect("opened");
        let file = machine.mdev(&uuid(1)).join("remove");
        let writer = blocked_write(&machine, file.clone(), "1");
        assert_eq!(errno(fs::write(&file, "1")), already);
        // The device is going away, which its parameters say too.
        machine.close(&uuid(1));
        writer.join().expect("no panic").expect("removed");
    }
}

#[test]
fn a_lingering_process_is_waited_for_and_then_busy() {
    let gpu = Gpu::tesla_t4(T4).remove(Remove::Refuses).lingering(Duration::MAX);
    let Some(machine) = machine(Blueprint::new().time_by_hand(), gpu) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    machine.close(&uuid(1));
    let file = machine.mdev(&uuid(1)).join("remove");
    let writer = blocked_write(&machine, file.clone(), "1");
    machine.advance(Duration::from_millis(4900));
    assert!(!writer.is_finished());
    machine.advance(Duration::from_millis(100));
    assert_eq!(errno(writer.join().expect("no panic")), Errno::EBUSY);
    assert!(file.exists());

    let writer = blocked_write(&machine, file.clone(), "1");
    machine.end_lingering(&uuid(1));
    writer.join().expect("no panic").expect("removed");
    assert!(!file.exists());
}

#[test]
fn a_process_that_lingers_for_less_than_five_seconds_delays_only() {
    let gpu = Gpu::tesla_t4(T4).lingering(Duration::from_secs(3));
    let Some(machine) = machine(Blueprint::new().time_by_hand(), gpu) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    machine.close(&uuid(1));
    let writer = blocked_write(&machine, machine.mdev(&uuid(1)).join("remove"), "1");
    machine.advance(Duration::from_secs(3));
    writer.join().expect("no panic").expect("removed");
}

#[test]
fn parameters_of_a_device_that_goes_away_answer_enxio() {
    let gpu = Gpu::tesla_t4(T4).lingering(Duration::MAX);
    let Some(machine) = machine(Blueprint::new().time_by_hand(), gpu) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    machine.close(&uuid(1));
    let writer = blocked_write(&machine, machine.mdev(&uuid(1)).join("remove"), "1");
    assert_eq!(errno(fs::write(machine.mdev(&uuid(1)).join("nvidia/vgpu_params"), "a=1")), Errno::ENXIO);
    machine.end_lingering(&uuid(1));
    writer.join().expect("no panic").expect("removed");
}

#[test]
fn some_drivers_remove_the_device_themselves() {
    let gpu = Gpu::tesla_t4(T4).self_cleaning(Duration::from_secs(8));
    let Some(machine) = machine(Blueprint::new().time_by_hand(), gpu) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    machine.close(&uuid(1));
    machine.advance(Duration::from_secs(7));
    assert!(machine.mdev(&uuid(1)).exists());
    machine.advance(Duration::from_secs(1));
    assert!(!machine.mdev(&uuid(1)).exists());
}

#[test]
fn a_file_of_a_device_that_is_gone_answers_enodev() {
    use std::io::{Read, Write};
    let Some(machine) = machine(Blueprint::new(), Gpu::tesla_t4(T4)) else { return };
    let mut file = fs::OpenOptions::new().write(true).open(machine.mdev(&uuid(1)).join("remove")).expect("opened");
    let mut name = fs::File::open(machine.mdev(&uuid(1)).join("nvidia/vm_name")).expect("opened");
    write(machine.mdev(&uuid(1)).join("remove"), "1");
    assert_eq!(errno(file.write(b"1")), Errno::ENODEV);
    assert_eq!(errno(name.read(&mut [0; 8])), Errno::ENODEV);
    // The same path made anew is another device.
    create(&machine, T4, 232, &uuid(1)).expect("free");
    assert_eq!(errno(file.write(b"1")), Errno::ENODEV);
    assert!(machine.mdev(&uuid(1)).exists());
}

#[test]
fn the_newer_kernel_waits_for_a_lingering_process_without_limit() {
    let gpu = Gpu::tesla_t4(T4).lingering(Duration::MAX);
    let Some(machine) = machine(Blueprint::new().time_by_hand(), gpu) else { return };
    machine.open(&uuid(1), "desktop").expect("opened");
    machine.close(&uuid(1));
    let writer = blocked_write(&machine, machine.mdev(&uuid(1)).join("remove"), "1");
    machine.advance(Duration::from_secs(3600));
    assert!(!writer.is_finished());
    machine.end_lingering(&uuid(1));
    writer.join().expect("no panic").expect("removed");
}
