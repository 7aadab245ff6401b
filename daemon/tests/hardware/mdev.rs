//! mdevs on the PF: Tesla T4. Table 10.1 of the reference.

use std::fs;

use expect_test::expect;
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::nvidia::{Gpu, Remove};
use headstart_simsysfs::{Blueprint, Errno, Fault};

use super::{Rig, fails, mdev, picture, problems, stranger, vgpus};

const T4: &str = "0000:3b:00.0";
const TYPES: &str = "sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types";

fn t4(change: impl FnOnce(Gpu) -> Gpu) -> Option<Rig> {
    Rig::new(Blueprint::new().with(change(Gpu::tesla_t4(T4))), &[T4])
}

#[test]
fn a_card_is_what_its_types_say() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    expect![[r"
        0000:3b:00.0 Tesla T4, 16384 MiB: mdev, equal size, one type, ready
          T4-1B: 1024 MiB x16
          T4-2B: 2048 MiB x8
          T4-1A: 1024 MiB x16
          T4-2A: 2048 MiB x8
          T4-4A: 4096 MiB x4
          T4-8A: 8192 MiB x2
          T4-16A: 16384 MiB x1
          T4-1Q: 1024 MiB x16
          T4-2Q: 2048 MiB x8
          T4-4Q: 4096 MiB x4
          T4-8Q: 8192 MiB x2
          T4-16Q: 16384 MiB x1
          T4-4C: 4096 MiB x4
          T4-8C: 8192 MiB x2
          T4-16C: 16384 MiB x1
    "]]
    .assert_eq(&picture(&rig.gpu(T4)));
}

#[test]
fn without_descriptions_the_names_tell() {
    let (Some(with), Some(without)) = (t4(|gpu| gpu), t4(Gpu::no_description)) else { return };
    let (with, without) = (with.gpu(T4), without.gpu(T4));
    assert_eq!(with.framebuffer, without.framebuffer);
    for (one, other) in with.profiles.iter().zip(&without.profiles) {
        assert_eq!((&one.name, one.framebuffer), (&other.name, other.framebuffer));
        // The framebuffer has room for as many, or the driver for fewer.
        assert!(other.max_instances >= one.max_instances);
    }
}

#[test]
fn made_seen_and_removed() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.gpu(T4);
    assert_eq!(rig.create(T4, "T4-4Q", 1), Ok(Applied::Changed));
    assert_eq!(vgpus(&rig.gpu(T4)), "  + mdev 1 T4-4Q\n");
    assert_eq!(rig.create(T4, "T4-4Q", 1), Ok(Applied::AlreadySo));
    assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::Changed));
    assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::AlreadySo));
    assert_eq!(vgpus(&rig.gpu(T4)), "");
    let uuid = mdev(1);
    assert_eq!(
        rig.writes(),
        format!(
            "sys/devices/pci0000:3b/0000:3b:00.0/mdev_supported_types/nvidia-232/create <- {uuid}: ok\n\
             sys/devices/pci0000:3b/0000:3b:00.0/{uuid}/remove <- 1: ok\n"
        ),
        "each is written once, and nothing else"
    );
}

#[test]
fn the_first_vgpu_closes_other_sizes() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.gpu(T4);
    rig.create(T4, "T4-4Q", 1).unwrap();
    let (kind, text) = fails(rig.create(T4, "T4-8Q", 2));
    assert_eq!(kind, FailureKind::Exhausted);
    assert_eq!(text, "0000:3b:00.0: T4-8Q can not be made beside the 1 mdevs that are there");
    for n in 2..=4 {
        rig.create(T4, "T4-4Q", n).unwrap();
    }
    assert_eq!(fails(rig.create(T4, "T4-4Q", 5)).0, FailureKind::Exhausted);
    assert_eq!(fails(rig.create(T4, "T4-3Q", 5)).0, FailureKind::Unsupported);
    assert!(!rig.writes().contains("EIO"), "what the counts refuse is not tried:\n{}", rig.writes());
}

#[test]
fn whether_series_mix_is_learned_from_the_card_and_kept() {
    let (Some(mixing), Some(strict)) = (t4(|gpu| gpu), t4(Gpu::identical_types_only)) else { return };
    for (mut rig, mixes) in [(mixing, true), (strict, false)] {
        let rule = |rig: &Rig| rig.gpu(T4).partitioning.to_string();
        assert_eq!(rule(&rig), "equal size, one type", "an empty card has shown nothing");
        rig.create(T4, "T4-4Q", 1).unwrap();
        let shown = if mixes { "equal size, series may mix" } else { "equal size, one type" };
        assert_eq!(rule(&rig), shown);
        // 4A of the same size is made exactly if that was right.
        assert_eq!(rig.create(T4, "T4-4A", 2).is_ok(), mixes);
        let _ = rig.remove(T4, "T4-4A", 2);
        rig.remove(T4, "T4-4Q", 1).unwrap();
        assert_eq!(rule(&rig), shown, "what was shown is not forgotten with the last vGPU");
        rig.restart(&[T4]);
        assert_eq!(rule(&rig), "equal size, one type");
    }
}

#[test]
fn a_uuid_that_exists_is_taken_over_only_if_it_is_the_same() {
    let Some(rig) =
        Rig::new(Blueprint::new().with(Gpu::tesla_t4(T4)).with(Gpu::tesla_t4("0000:5e:00.0")), &[T4, "0000:5e:00.0"])
    else {
        return;
    };
    let by_hand = |gpu: &str, number: u32, n| {
        let create = format!("sys/class/mdev_bus/{gpu}/mdev_supported_types/nvidia-{number}/create");
        fs::write(rig.machine.path(&create), mdev(n).to_string()).unwrap();
    };
    by_hand(T4, 232, 1);
    by_hand("0000:5e:00.0", 232, 2);
    assert_eq!(rig.create(T4, "T4-4Q", 1), Ok(Applied::AlreadySo));
    let (kind, text) = fails(rig.create(T4, "T4-4A", 1));
    assert_eq!((kind, text.contains("as T4-4Q, not as T4-4A")), (FailureKind::Conflict, true), "{text}");
    let (kind, text) = fails(rig.create(T4, "T4-4Q", 2));
    assert_eq!((kind, text.contains("on 0000:5e:00.0, not on 0000:3b:00.0")), (FailureKind::Conflict, true), "{text}");
    // Somebody is faster between the look and the write.
    rig.machine.inject(Fault::write("**/create").errno(Errno::EEXIST).once());
    assert_eq!(fails(rig.create(T4, "T4-4Q", 3)).0, FailureKind::Conflict);
}

#[test]
fn one_try_more_when_the_card_is_not_ready_and_no_third() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.machine.inject(Fault::write("**/create").errno(Errno::EIO).once());
    assert_eq!(rig.create(T4, "T4-4Q", 1), Ok(Applied::Changed));
    rig.machine.forget();
    rig.machine.inject(Fault::write("**/create").errno(Errno::EIO));
    let (kind, text) = fails(rig.create(T4, "T4-4Q", 2));
    assert_eq!(kind, FailureKind::Transient);
    assert!(text.contains("although T4-4Q is offered") && text.contains("nvidia-232/create"), "{text}");
    assert_eq!(rig.machine.writes().len(), 2);
}

#[test]
fn each_refusal_of_create_has_its_meaning() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    let meanings = [
        (Errno::EACCES, FailureKind::Denied),
        (Errno::EROFS, FailureKind::Denied),
        (Errno::ENODEV, FailureKind::Gone),
        (Errno::ENOSPC, FailureKind::Exhausted),
        (Errno::EUSERS, FailureKind::Exhausted),
        (Errno::EINVAL, FailureKind::Unsupported),
        (Errno::ENOMEM, FailureKind::Transient),
    ];
    for (errno, kind) in meanings {
        rig.machine.inject(Fault::write("**/create").errno(errno).once());
        let (is, text) = fails(rig.create(T4, "T4-4Q", 1));
        assert_eq!(is, kind, "{errno}: {text}");
        assert!(text.contains(T4), "{text}");
    }
}

#[test]
fn who_has_it_open_keeps_it() {
    for remove in [Remove::Refuses, Remove::Blocks] {
        let Some(rig) = t4(|gpu| gpu.remove(remove)) else { return };
        rig.create(T4, "T4-4Q", 1).unwrap();
        rig.machine.open(&mdev(1).to_string(), "desktop-7").unwrap();
        assert_eq!(vgpus(&rig.gpu(T4)), "  + mdev 1 T4-4Q, desktop-7 has it open\n");
        rig.machine.forget();
        let (kind, text) = fails(rig.remove(T4, "T4-4Q", 1));
        assert_eq!((kind, text), (FailureKind::Conflict, format!("mdev {}: desktop-7 has it open", mdev(1))));
        assert_eq!(rig.writes(), "", "nothing is written to what somebody has open");
        assert!(rig.machine.unplug_requests().is_empty(), "and nobody is asked to let go");
        rig.machine.close(&mdev(1).to_string());
        assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::Changed));
    }
}

#[test]
fn a_process_that_the_driver_does_not_name_keeps_it_too() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    rig.machine.open(&mdev(1).to_string(), "desktop-7").unwrap();
    rig.machine.inject(Fault::read("**/vm_name").content("\n"));
    let seen = vgpus(&rig.gpu(T4));
    assert!(seen.starts_with("  + mdev 1 T4-4Q, the guest desktop-7 (process "), "{seen}");
    let (kind, text) = fails(rig.remove(T4, "T4-4Q", 1));
    assert!(kind == FailureKind::Conflict && text.contains("the guest desktop-7 (process "), "{text}");
}

#[test]
fn a_lingering_process_is_waited_for_by_the_loop() {
    // The older driver, which waits for the process and gives up.
    let Some(rig) = t4(|gpu| gpu.remove(Remove::Refuses).lingering(std::time::Duration::MAX)) else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let uuid = mdev(1).to_string();
    rig.machine.open(&uuid, "desktop-7").unwrap();
    rig.machine.close(&uuid);
    let (kind, text) = fails(rig.remove(T4, "T4-4Q", 1));
    assert!(kind == FailureKind::Transient && text.contains("busy"), "{text}");
    rig.machine.end_lingering(&uuid);
    assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::Changed));
}

#[test]
fn each_refusal_of_remove_has_its_meaning() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let meanings = [
        (Errno::EPERM, FailureKind::Conflict),
        (Errno::EBUSY, FailureKind::Transient),
        (Errno::EAGAIN, FailureKind::Transient),
        (Errno::ENODEV, FailureKind::Transient),
        (Errno::EIO, FailureKind::Transient),
        (Errno::EACCES, FailureKind::Denied),
    ];
    for (errno, kind) in meanings {
        rig.machine.inject(Fault::write("**/remove").errno(errno).once());
        let (is, text) = fails(rig.remove(T4, "T4-4Q", 1));
        assert_eq!(is, kind, "{errno}: {text}");
    }
    assert_eq!(vgpus(&rig.gpu(T4)), "  + mdev 1 T4-4Q\n");
    let (kind, text) = fails(rig.remove(T4, "T4-8Q", 1));
    assert!(kind == FailureKind::Conflict && text.contains("it is a T4-4Q, not a T4-8Q"), "{text}");
}

#[test]
fn a_driver_that_removes_mdevs_itself_is_no_failure() {
    let Some(rig) = t4(|gpu| gpu.self_cleaning(std::time::Duration::ZERO)) else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let uuid = mdev(1).to_string();
    rig.machine.open(&uuid, "desktop-7").unwrap();
    rig.machine.close(&uuid);
    while rig.machine.mdev(&uuid).symlink_metadata().is_ok() {
        std::thread::yield_now();
    }
    assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::AlreadySo));
}

#[test]
fn a_strangers_mdev_is_seen_and_counts() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    fs::write(rig.machine.path(&format!("{TYPES}/nvidia-233/create")), stranger(1)).unwrap();
    rig.machine.forget();
    assert_eq!(vgpus(&rig.gpu(T4)), format!("  + {} T4-8Q\n", stranger(1)));
    assert_eq!(fails(rig.create(T4, "T4-4Q", 1)).0, FailureKind::Exhausted);
    assert_eq!(rig.create(T4, "T4-8Q", 1), Ok(Applied::Changed));
}

#[test]
fn parameters_are_set_before_a_vm_and_never_under_it() {
    let rule =
        super::GpuRule { vgpu_params: Some("frame_rate_limiter=0".into()), ..super::GpuRule::of(super::gpu_id(T4)) };
    let Some(rig) = Rig::with_rules(Blueprint::new().with(Gpu::tesla_t4(T4)), vec![rule]) else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let prepare = || rig.hardware.prepare(super::gpu_id(T4), headstart_core::gpu::DeviceId::Mdev(mdev(1)));
    assert_eq!(prepare(), Ok(Applied::Changed));
    assert_eq!(prepare(), Ok(Applied::AlreadySo));
    let params = rig.machine.mdev(&mdev(1).to_string()).join("nvidia/vgpu_params");
    assert_eq!(fs::read_to_string(&params).unwrap().trim(), "frame_rate_limiter=0");
    fs::write(&params, " ").unwrap();
    rig.machine.open(&mdev(1).to_string(), "desktop-7").unwrap();
    let (kind, text) = fails(prepare());
    assert!(kind == FailureKind::Conflict && text.contains("vgpu_params"), "{text}");
    rig.machine.inject(Fault::write("**/vgpu_params").errno(Errno::E2BIG));
    assert_eq!(fails(prepare()).0, FailureKind::Unsupported);
}

#[test]
fn a_type_link_that_comes_late_is_not_taken_for_no_device() {
    let late = std::time::Duration::from_secs(3600);
    let Some(rig) = t4(|gpu| gpu.late_type_link(late)) else { return };
    fs::write(rig.machine.path(&format!("{TYPES}/nvidia-233/create")), stranger(1)).unwrap();
    assert_eq!(vgpus(&rig.gpu(T4)), format!("  + {} ?\n", stranger(1)));
}

#[test]
fn types_that_come_late_are_waited_for() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    rig.machine.set_ready(T4, false);
    let gpu = rig.gpu(T4);
    assert!(picture(&gpu).contains("not ready: its driver has published no"), "{}", picture(&gpu));
    rig.machine.set_ready(T4, true);
    assert!(picture(&rig.gpu(T4)).contains(", ready\n"));
}

#[test]
fn what_cannot_be_understood_is_left_out_by_name() {
    let Some(rig) = t4(|gpu| gpu) else { return };
    fs::write(rig.machine.path(&format!("{TYPES}/nvidia-232/create")), stranger(1)).unwrap();
    rig.machine.inject(Fault::read("**/nvidia-232/name").content([0xff, 0xfe, b'\n']));
    rig.machine.inject(Fault::read("**/nvidia-233/name").errno(Errno::EIO));
    rig.machine.inject(Fault::unreadable("**/nvidia-234/description"));
    let seen = rig.hardware.observe();
    let gpu = &seen.gpus[&super::gpu_id(T4)];
    assert!(gpu.profiles.iter().all(|profile| !["T4-4Q", "T4-8Q", "T4-16Q"].contains(&profile.name.as_str())));
    assert_eq!(vgpus(gpu), format!("  + {} ?\n", stranger(1)), "what is of a type that is not known is not known");
    let told = problems(&seen);
    for path in ["nvidia-232: this type is left out", "nvidia-233/name: cannot be read", "nvidia-234/description"] {
        assert!(told.contains(path), "{path} is not in:\n{told}");
    }
    assert!(gpu.fit(&[], &super::name("T4-1Q"), None).is_ok());
    let tenants: Vec<_> = gpu.vgpus.values().map(headstart_core::gpu::Vgpu::tenant).collect();
    assert!(gpu.fit(&tenants, &super::name("T4-1Q"), None).is_err(), "an unknown vGPU closes the card for more");
}
