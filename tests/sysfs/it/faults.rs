//! Faults by path.

use std::fs;
use std::time::Duration;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Fault, Machine};

use crate::mdev::{T4, available, create, type_folder};
use crate::{DEADLINE, blocked_write, errno, list, read, uuid};

fn machine() -> Option<Machine> {
    Blueprint::new().with(Gpu::tesla_t4(T4)).with(Gpu::l40s("0000:86:00.0").vfs_enabled()).mount_or_skip()
}

#[test]
fn a_write_fails_once_and_changes_nothing() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::write("**/mdev_supported_types/*/create").errno(Errno::EIO).once());
    assert_eq!(errno(create(&machine, T4, 232, &uuid(1))), Errno::EIO);
    assert_eq!(available(&machine, T4, 232), "4");
    create(&machine, T4, 232, &uuid(1)).expect("the second time");
}

#[test]
fn a_fault_strikes_as_often_as_told_and_ends_when_healed() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::write("**/create").errno(Errno::ENOMEM).times(2));
    for _ in 0..2 {
        assert_eq!(errno(create(&machine, T4, 232, &uuid(1))), Errno::ENOMEM);
    }
    create(&machine, T4, 232, &uuid(1)).expect("the third time");
    machine.inject(Fault::write("**/create"));
    for _ in 0..5 {
        assert_eq!(errno(create(&machine, T4, 232, &uuid(2))), Errno::EIO);
    }
    machine.heal();
    create(&machine, T4, 232, &uuid(2)).expect("healed");
}

#[test]
fn a_pattern_meets_the_path_without_links_and_nothing_else() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::unreadable("**/0000:86:00.4/nvidia/*"));
    // Reached through the flat list, through the PF, and directly.
    let vf = machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type");
    assert_eq!(errno(fs::read(&vf)), Errno::EACCES);
    assert_eq!(errno(fs::write(&vf, "1150")), Errno::EACCES);
    let through_pf = machine.pci("0000:86:00.0").join("virtfn0/nvidia/creatable_vgpu_types");
    assert_eq!(errno(fs::read(through_pf)), Errno::EACCES);
    assert_eq!(read(machine.pci("0000:86:00.5").join("nvidia/current_vgpu_type")), "0");
    assert_eq!(read(machine.pci("0000:86:00.4").join("vendor")), "0x10de");
}

#[test]
fn content_can_be_garbage() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::read("**/0000:3b:00.0/vendor").content(b"\xff\0rubbish".to_vec()));
    assert_eq!(fs::read(machine.pci(T4).join("vendor")).expect("read"), b"\xff\0rubbish");
    machine.inject(Fault::read("**/0000:3b:00.0/class").content(vec![b'7'; 100_000]));
    assert_eq!(fs::read(machine.pci(T4).join("class")).expect("read").len(), 100_000);
    machine.inject(Fault::read("**/0000:3b:00.0/device").content(""));
    assert_eq!(fs::read(machine.pci(T4).join("device")).expect("read"), b"");
}

#[test]
fn a_name_can_be_listed_and_gone() {
    let Some(machine) = machine() else { return };
    let vanished = machine.pci("0000:86:00.0").join("virtfn3");
    machine.inject(Fault::vanishing("**/virtfn3"));
    machine.inject(Fault::vanishing("sys/class/mdev_bus/*"));
    assert!(list(machine.pci("0000:86:00.0")).contains(&"virtfn3".to_owned()));
    assert_eq!(errno(fs::read_link(vanished)), Errno::ENOENT);
    assert_eq!(list(machine.path("sys/class/mdev_bus")), [T4]);
    assert_eq!(errno(fs::read_dir(machine.path("sys/class/mdev_bus").join(T4))), Errno::ENOENT);
}

#[test]
fn reading_and_listing_can_fail() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::read("**/available_instances").errno(Errno::ENODEV));
    assert_eq!(errno(fs::read(type_folder(&machine, T4, 232).join("available_instances"))), Errno::ENODEV);
    machine.inject(Fault::list("sys/bus/pci/devices").errno(Errno::EACCES));
    assert_eq!(errno(fs::read_dir(machine.path("sys/bus/pci/devices"))), Errno::EACCES);
}

#[test]
fn a_delay_takes_the_machines_time() {
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).time_by_hand().mount_or_skip() else { return };
    machine.inject(Fault::write("**/create").delay(Duration::from_secs(7)));
    let path = type_folder(&machine, T4, 232).join("create");
    let writer = blocked_write(&machine, path, "c7a1e8b0-0000-4000-8000-000000000001");
    machine.advance(Duration::from_secs(6));
    assert_eq!(available(&machine, T4, 232), "4");
    machine.advance(Duration::from_secs(1));
    writer.join().expect("no panic").expect("created after all");
    assert_eq!(available(&machine, T4, 232), "3");
}

#[test]
fn a_delay_passes_by_itself_on_a_running_clock() {
    let Some(machine) = machine() else { return };
    machine.inject(Fault::read("**/0000:3b:00.0/vendor").delay(Duration::from_secs(20)).once());
    let before = machine.now();
    assert_eq!(read(machine.pci(T4).join("vendor")), "0x10de");
    assert!(machine.now().saturating_sub(before) >= Duration::from_secs(20));
}

#[test]
fn a_gate_holds_up_everybody_until_it_opens() {
    let Some(machine) = machine() else { return };
    let gate = machine.block(Fault::read("**/current_vgpu_type"));
    let readers: Vec<_> = ["0000:86:00.4", "0000:86:00.5"]
        .map(|vf| machine.pci(vf).join("nvidia/current_vgpu_type"))
        .into_iter()
        .map(|path| std::thread::spawn(move || fs::read_to_string(path)))
        .collect();
    assert!(gate.wait_for(2, DEADLINE));
    assert!(readers.iter().all(|reader| !reader.is_finished()));
    // The rest of the machine goes on.
    create(&machine, T4, 232, &uuid(1)).expect("another GPU");
    gate.open();
    for reader in readers {
        assert_eq!(reader.join().expect("no panic").expect("read"), "0\n");
    }
    assert_eq!(read(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type")), "0");
}
