//! mdevs on VFs: A40 and A2 on older kernels. Tables 10.1 and 1.5 of the reference.

use std::fs;

use headstart_core::gpu::Interface;
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Fault};

use super::{Rig, fails, mdev, picture, stranger, vgpus};

const A2: &str = "0000:08:00.0";

fn a2(change: impl FnOnce(Gpu) -> Gpu) -> Option<Rig> {
    Rig::new(Blueprint::new().with(change(Gpu::a2(A2).vfs_enabled())), &[A2])
}

/// The VF that carries an mdev.
fn carrier(rig: &Rig, uuid: &str) -> String {
    let link = fs::read_link(rig.machine.mdev(uuid)).unwrap();
    link.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned()
}

#[test]
fn the_gpu_is_the_pf_and_its_vfs_carry() {
    let Some(rig) = a2(|gpu| gpu) else { return };
    let gpu = rig.gpu(A2);
    assert_eq!((gpu.interface, gpu.vfs.len(), gpu.dormant_vfs), (Interface::Mdev, 16, 0));
    assert_eq!((gpu.vfs[0].to_string(), gpu.vfs[15].to_string()), ("0000:08:00.4".into(), "0000:08:02.3".into()));
    assert!(picture(&gpu).contains("16384 MiB: mdev, equal size, one type, ready"), "{}", picture(&gpu));
    assert_eq!(gpu.capacity(&super::name("A2-1Q")), 16);
    assert_eq!(gpu.capacity(&super::name("A2-4Q")), 4);
}

#[test]
fn each_vf_carries_one_and_the_first_that_can_is_taken() {
    let Some(rig) = a2(|gpu| gpu) else { return };
    // A stranger sits on the second VF.
    let create = "sys/class/mdev_bus/0000:08:00.5/mdev_supported_types/nvidia-749/create";
    fs::write(rig.machine.path(create), stranger(1)).unwrap();
    for n in 1..=3 {
        assert_eq!(rig.create(A2, "A2-4Q", n), Ok(Applied::Changed));
        // The VFs that are free show it, as long as there is room.
        assert_eq!(rig.gpu(A2).partitioning.to_string(), "equal size, series may mix");
    }
    let carriers: Vec<String> = (1..=3).map(|n| carrier(&rig, &mdev(n).to_string())).collect();
    assert_eq!(carriers, ["0000:08:00.4", "0000:08:00.6", "0000:08:00.7"]);
    let (kind, text) = fails(rig.create(A2, "A2-4Q", 4));
    assert_eq!(kind, FailureKind::Exhausted, "four fit, though twelve VFs are free");
    assert_eq!(text, "0000:08:00.0: A2-4Q can on no VF be made beside the 4 mdevs that are there");
    assert_eq!(rig.gpu(A2).vgpus.len(), 4);
    assert_eq!(rig.remove(A2, "A2-4Q", 2), Ok(Applied::Changed));
    assert_eq!(rig.create(A2, "A2-4A", 5), Ok(Applied::Changed));
    assert_eq!(carrier(&rig, &mdev(5).to_string()), "0000:08:00.6");
}

#[test]
fn a_vf_that_refuses_is_not_the_end_of_the_card() {
    let Some(rig) = a2(|gpu| gpu) else { return };
    // It offers the type and does not give it: one try more there, and the loop tries again later.
    rig.machine.inject(Fault::write("**/0000:08:00.4/**/create").errno(Errno::EIO));
    let (kind, text) = fails(rig.create(A2, "A2-4Q", 1));
    assert!(kind == FailureKind::Transient && text.contains("0000:08:00.4"), "{text}");
    // It offers nothing any more: the next one is taken.
    rig.machine.heal();
    rig.machine.inject(Fault::read("**/0000:08:00.4/**/available_instances").content("0\n"));
    assert_eq!(rig.create(A2, "A2-4Q", 1), Ok(Applied::Changed));
    assert_eq!(carrier(&rig, &mdev(1).to_string()), "0000:08:00.5");
}

#[test]
fn who_has_it_open_is_found_whichever_way_it_was_opened() {
    let Some(rig) = a2(|gpu| gpu) else { return };
    rig.create(A2, "A2-4Q", 1).unwrap();
    rig.machine.inject(Fault::read("**/vm_name").content("\n"));
    rig.machine.open(&mdev(1).to_string(), headstart_simsysfs::Vm::new("desktop-7").through_cdev()).unwrap();
    let seen = vgpus(&rig.gpu(A2));
    assert!(seen.contains("the guest desktop-7 (process "), "{seen}");
    assert_eq!(fails(rig.remove(A2, "A2-4Q", 1)).0, FailureKind::Conflict);
}

#[test]
fn a_reload_of_the_driver_takes_everything_and_is_seen() {
    let Some(rig) = a2(|gpu| gpu) else { return };
    rig.create(A2, "A2-4Q", 1).unwrap();
    rig.machine.reload_driver(A2);
    let gpu = rig.gpu(A2);
    assert_eq!((gpu.vfs.len(), vgpus(&gpu)), (0, String::new()));
}
