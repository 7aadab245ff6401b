//! What goes wrong on hosts: cards that vanish, drivers that hang, files that make no sense.

use std::time::Instant;

use headstart_core::gpu::{Gpu, GpuState};
use headstart_core::observed::Gap;
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::nvidia;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno, Fault};

use super::{DEADLINE, HardwareSeen, Rig, all_of, fails, gpu_id, mdev, picture, problems, vgpus};

const T4: &str = "0000:3b:00.0";
const OTHER: &str = "0000:5e:00.0";

fn two() -> Option<Rig> {
    Rig::new(Blueprint::new().with(nvidia::Gpu::tesla_t4(T4)).with(nvidia::Gpu::tesla_t4(OTHER)), &[T4, OTHER])
}

#[test]
fn a_card_that_is_pulled_is_gone_and_comes_back_as_new() {
    let Some(rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    rig.gpu(T4);
    rig.machine.unplug(T4);
    let seen = rig.hardware.observe();
    assert_eq!(seen.gpus.keys().map(ToString::to_string).collect::<Vec<_>>(), [OTHER]);
    assert!(seen.gaps.is_empty(), "it is known to be gone, which is not the same as not seen");
    assert_eq!(problems(&seen), "0000:3b:00.0: it is in the configuration and not on this host\n");
    assert_eq!(fails(rig.create(T4, "T4-4Q", 2)).0, FailureKind::Gone);
    assert_eq!(rig.remove(T4, "T4-4Q", 1), Ok(Applied::AlreadySo), "its mdevs went with it");
    rig.machine.plug(T4);
    assert_eq!(vgpus(&rig.gpu(T4)), "");
    assert_eq!(rig.gpu(T4).partitioning.to_string(), "equal size, one type", "nothing is remembered of the old one");
}

#[test]
fn a_card_that_cannot_be_read_is_unknown_as_it_was() {
    let Some(rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let before = rig.gpu(T4);
    rig.machine.inject(Fault::read("**/0000:3b:00.0/vendor").errno(Errno::EIO));
    let seen = rig.hardware.observe();
    let gpu = &seen.gpus[&gpu_id(T4)];
    assert!(matches!(&gpu.state, GpuState::Unknown(why) if why.contains("/vendor")), "{}", picture(gpu));
    assert_eq!(gpu.vgpus, before.vgpus);
    assert_eq!(seen.gpus[&gpu_id(OTHER)].state, GpuState::Ready, "the other one is another matter");
    rig.machine.heal();
    assert_eq!(rig.gpu(T4), before);
}

#[test]
fn a_card_that_was_never_seen_is_a_gap() {
    let Some(rig) = two() else { return };
    rig.machine.inject(Fault::read("**/0000:3b:00.0/device").content("what?\n"));
    let seen = rig.hardware.observe();
    assert_eq!(seen.gaps.into_iter().collect::<Vec<_>>(), [Gap::Gpu(gpu_id(T4))]);
    let told = seen.problems.iter().find(|problem| problem.object == T4).unwrap();
    assert!(told.text.contains(r#"expected a hexadecimal number, found "what?""#), "{told}");
}

#[test]
fn without_the_list_of_mdevs_nothing_is_known_of_parents() {
    let Some(rig) = two() else { return };
    rig.gpu(T4);
    for fault in
        [Fault::list("sys/bus/mdev/devices").errno(Errno::EIO), Fault::list("sys/class/mdev_bus").errno(Errno::EIO)]
    {
        rig.machine.inject(fault);
        let seen = rig.hardware.observe();
        assert!(seen.gpus.values().all(|gpu| matches!(gpu.state, GpuState::Unknown(_))), "{:?}", seen.problems);
        rig.machine.heal();
    }
}

#[test]
fn rules_by_kind_keep_what_they_found_when_the_bus_cannot_be_listed() {
    let blueprint = Blueprint::new().with(nvidia::Gpu::tesla_t4(T4)).with(nvidia::Gpu::tesla_t4(OTHER));
    let Some(rig) = Rig::with_rules(blueprint, vec![all_of(0x10de)]) else { return };
    assert_eq!(rig.hardware.observe().gpus.len(), 2);
    rig.machine.inject(Fault::list("sys/bus/pci/devices").errno(Errno::EIO));
    let seen = rig.hardware.observe();
    assert_eq!(seen.gpus.len(), 2);
    assert!(problems(&seen).contains("which GPUs fit the rules of the configuration is not known"));
}

#[test]
fn a_process_that_may_hold_anything_forbids_everything() {
    let Some(rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let pid = rig.machine.hold_gpu(T4, "shy");
    rig.machine.inject(Fault::list(&format!("proc/{pid}/fd")).errno(Errno::EACCES));
    let seen = vgpus(&rig.gpu(T4));
    assert!(seen.contains("unknown: /proc/") && seen.contains("CAP_SYS_PTRACE"), "{seen}");
    let (kind, text) = fails(rig.remove(T4, "T4-4Q", 1));
    assert!(kind == FailureKind::Denied && text.contains("CAP_SYS_PTRACE"), "{text}");
    assert!(!rig.writes().contains("/remove"), "{}", rig.writes());
}

#[test]
fn processes_that_end_while_they_are_looked_at_are_no_trouble() {
    let Some(rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let pid = rig.machine.hold_gpu(T4, "brief");
    rig.machine.inject(Fault::vanishing(&format!("proc/{pid}/fd/**")));
    assert_eq!(vgpus(&rig.gpu(T4)), "  + mdev 1 T4-4Q\n");
}

/// Looks until a card is as it should be. Who has little patience may miss it now and then.
fn until(rig: &Rig, id: &str, fits: impl Fn(&Gpu) -> bool) -> HardwareSeen {
    let until = Instant::now() + DEADLINE;
    loop {
        let seen = rig.hardware.observe();
        if seen.gpus.get(&gpu_id(id)).is_some_and(&fits) {
            return seen;
        }
        assert!(Instant::now() < until, "{id} does not come to be so: {seen:#?}");
    }
}

fn is_ready(gpu: &Gpu) -> bool {
    gpu.state == GpuState::Ready
}

#[test]
fn a_look_that_hangs_costs_its_gpu_and_ends_in_time() {
    let Some(mut rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    rig.hardware = rig.impatient(&[T4, OTHER]);
    until(&rig, T4, is_ready);
    let gate = rig.machine.block(Fault::read("**/0000:3b:00.0/**/name"));
    for _ in 0..2 {
        let seen = rig.hardware.observe();
        let gpu = &seen.gpus[&gpu_id(T4)];
        assert!(matches!(&gpu.state, GpuState::Unknown(why) if why.contains("has not come back")), "{}", picture(gpu));
        assert_eq!(gpu.vgpus.len(), 1, "it is as it was");
    }
    until(&rig, OTHER, is_ready);
    assert!(gate.wait_for(1, DEADLINE) && !gate.wait_for(2, std::time::Duration::ZERO), "no second look is begun");
    gate.open();
    until(&rig, T4, is_ready);
}

#[test]
fn a_remove_that_hangs_costs_its_gpu_and_is_told_until_it_returns() {
    let Some(mut rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    rig.hardware = rig.impatient(&[T4, OTHER]);
    until(&rig, T4, is_ready);
    let gate = rig.machine.block(Fault::write("**/remove"));
    let (kind, text) = fails(rig.remove(T4, "T4-4Q", 1));
    assert_eq!(kind, FailureKind::Transient);
    assert!(text.contains(&format!("remove mdev {}", mdev(1))) && text.contains("has not come back"), "{text}");
    assert!(gate.wait_for(1, DEADLINE));
    let late = |gpu: &Gpu| matches!(&gpu.state, GpuState::NotReady(why) if why.contains("has not come back"));
    let seen = until(&rig, T4, late);
    assert_eq!(vgpus(&seen.gpus[&gpu_id(T4)]), "  + mdev 1 T4-4Q\n", "what is on it is known");
    assert!(problems(&seen).contains("whoever has the device open must let it go"));
    assert_eq!(fails(rig.create(T4, "T4-4Q", 2)).0, FailureKind::Transient, "nothing else is begun there");
    assert_eq!(rig.machine.writes().iter().filter(|write| write.result.is_none()).count(), 1);
    until(&rig, OTHER, is_ready);
    let give_up = Instant::now() + DEADLINE;
    while rig.create(OTHER, "T4-4Q", 3).is_err() {
        assert!(Instant::now() < give_up, "the other card does not work on");
    }
    gate.open();
    until(&rig, T4, |gpu| is_ready(gpu) && gpu.vgpus.is_empty());
}

#[test]
fn a_number_of_vfs_that_somebody_is_changing_blocks_no_look() {
    let flex = "0000:4d:00.0";
    let Some(rig) = Rig::new(Blueprint::new().with(Device::flex_170(flex).enabled(2)), &[flex]) else { return };
    let _gate = rig.machine.block(Fault::read("**/sriov_numvfs"));
    assert_eq!(rig.gpu(flex).vfs.len(), 2);
}

#[test]
fn garbage_in_counts_is_not_guessed_at() {
    let Some(rig) = Rig::new(Blueprint::new().with(Sample::mbochs()), &["mbochs"]) else { return };
    for content in ["", "many\n", "-1\n", "99999999999999999999\n"] {
        rig.machine.inject(Fault::read("**/mbochs-small/available_instances").content(content));
        let seen = rig.hardware.observe();
        let unknown = seen.gpus.get(&gpu_id("mbochs")).is_none_or(|gpu| matches!(gpu.state, GpuState::Unknown(_)));
        assert!(unknown, "{content:?}: {seen:#?}");
        assert!(problems(&seen).contains("mbochs-small/available_instances: expected a decimal number"), "{content:?}");
        rig.machine.heal();
    }
    // Numbers that cannot be true together.
    rig.machine.inject(Fault::read("**/mbochs-small/available_instances").content("4294967295\n"));
    let seen = rig.hardware.observe();
    let gpu = &seen.gpus[&gpu_id("mbochs")];
    assert!(
        gpu.state != GpuState::Ready || gpu.fit(&[], &super::name("mbochs-large"), None).is_ok(),
        "{}",
        picture(gpu)
    );
    rig.machine.inject(Fault::read("**/available_instances").content("4294967295\n"));
    let gpu = rig.gpu("mbochs");
    assert!(matches!(gpu.state, GpuState::Unknown(_)), "{}", picture(&gpu));
}

#[test]
fn text_that_never_ends_is_refused() {
    let Some(rig) = two() else { return };
    rig.machine.inject(Fault::read("**/0000:3b:00.0/**/nvidia-232/name").content(vec![b'a'; 5000]));
    let seen = rig.hardware.observe();
    assert!(problems(&seen).contains("nvidia-232/name: expected a shorter text"), "{}", problems(&seen));
}

#[test]
fn a_name_with_blanks_is_a_name_and_one_that_cannot_be_read_leaves_its_type_out() {
    let Some(rig) = two() else { return };
    let named = |content: &str| {
        rig.machine.heal();
        rig.machine.inject(Fault::read("**/0000:3b:00.0/**/nvidia-231/name").content(content));
    };
    named("NVIDIA RTX Pro 6000 Blackwell DC-2Q\n");
    let long = "RTX Pro 6000 Blackwell DC-2Q";
    assert_eq!(rig.create(T4, long, 1), Ok(Applied::Changed));
    assert_eq!(vgpus(&rig.gpu(T4)), format!("  + mdev 1 {long}\n"));
    assert_eq!(rig.remove(T4, long, 1), Ok(Applied::Changed));
    let told = |rig: &Rig| {
        let seen = rig.hardware.observe();
        assert_eq!(seen.gpus[&gpu_id(T4)].state, GpuState::Ready, "the other types are there");
        problems(&seen)
    };
    let folder = "/sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types/nvidia-231";
    for (content, why) in [
        ("\n", "profile name \"\" is not valid: it is empty"),
        ("NVIDIA T4\t2Q\n", "profile name \"T4\\t2Q\" is not valid: it holds control characters"),
    ] {
        named(content);
        assert_eq!(told(&rig), format!("{folder}: this type is left out: {why}\n"));
    }
    rig.machine.heal();
    rig.machine.inject(Fault::read("**/0000:3b:00.0/**/nvidia-231/name").errno(Errno::EACCES));
    let why = format!("{folder}/name: cannot be read: Permission denied");
    assert_eq!(told(&rig), format!("{folder}: this type is left out: {why}\n"));
}

#[test]
fn a_card_that_vanishes_during_a_look_is_gone_or_not_known_and_no_other_suffers() {
    let Some(rig) = two() else { return };
    rig.create(T4, "T4-4Q", 1).unwrap();
    let before = rig.gpu(T4);
    // Its files go from the top; a look that has read some finds the next no more.
    for (files, told) in [
        ("**/0000:3b:00.0/**", "0000:3b:00.0: it is in the configuration and not on this host\n"),
        (
            "**/0000:3b:00.0/device",
            "0000:3b:00.0: it could not be looked at: /sys/bus/pci/devices/0000:3b:00.0/device: cannot be read: \
             No such file or directory\n",
        ),
    ] {
        rig.machine.inject(Fault::vanishing(files));
        let seen = rig.hardware.observe();
        assert_eq!(problems(&seen), told);
        assert_eq!(seen.gpus[&gpu_id(OTHER)].state, GpuState::Ready);
        rig.machine.heal();
        assert_eq!(rig.gpu(T4), before, "as it was, when it is there again");
    }
}
