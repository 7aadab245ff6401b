//! Enabling NVIDIA's VFs with NVIDIA's program. Section 1.8 of the reference.

use headstart_core::gpu::Interface;
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Behavior, Blueprint, Program};

use super::{GpuRule, Rig, fails, gpu_id, name, numbered, picture, vgpus};

const L40S: &str = "0000:86:00.0";

fn l40s() -> Option<Rig> {
    let profile = numbered("L40S-8Q", 1152);
    let rule = GpuRule { profiles: vec![profile], ..GpuRule::of(gpu_id(L40S)) };
    Rig::with_rules(Blueprint::new().with(Gpu::l40s(L40S)), vec![rule])
}

#[test]
fn a_card_whose_vfs_are_off_can_be_planned_with() {
    let Some(rig) = l40s() else { return };
    let off = rig.gpu(L40S);
    assert_eq!((off.vfs.len(), off.dormant_vfs, off.capacity(&name("L40S-8Q"))), (0, 32, 1));
    assert_eq!(rig.set_num_vfs(L40S, 32), Ok(Applied::Changed));
    let on = rig.gpu(L40S);
    assert_eq!((on.interface, on.vfs.len(), on.dormant_vfs), (Interface::VfioVariant, 32, 0));
    assert_eq!(rig.set_num_vfs(L40S, 32), Ok(Applied::AlreadySo));
    assert_eq!(rig.set(L40S, "0000:86:00.4", "L40S-8Q"), Ok(Applied::Changed));
}

#[test]
fn without_a_table_it_says_what_to_do() {
    let Some(rig) = Rig::new(Blueprint::new().with(Gpu::a40(L40S)), &[L40S]) else { return };
    let seen = picture(&rig.gpu(L40S));
    assert!(seen.contains("sriov-manage -e 0000:86:00.0"), "{seen}");
}

#[test]
fn what_it_says_of_its_success_is_not_believed() {
    for behavior in [Behavior::DoesNothing, Behavior::Fails(0), Behavior::Fails(1)] {
        let Some(rig) = l40s() else { return };
        rig.machine.set_program(Program::SriovManage, behavior);
        let (kind, text) = fails(rig.set_num_vfs(L40S, 32));
        assert!(kind == FailureKind::Transient && text.contains("its VFs were not enabled: none is there"), "{text}");
        rig.machine.set_program(Program::SriovManage, Behavior::Works);
        assert_eq!(rig.set_num_vfs(L40S, 32), Ok(Applied::Changed));
    }
}

#[test]
fn whoever_has_the_card_open_is_named() {
    let Some(rig) = l40s() else { return };
    let pid = rig.machine.hold_gpu(L40S, "dcgm-exporter");
    let (kind, text) = fails(rig.set_num_vfs(L40S, 32));
    assert_eq!(kind, FailureKind::Transient);
    assert!(text.contains("Cannot obtain unbindLock"), "{text}");
    assert!(text.contains(&format!("dcgm-exporter (process {pid}) has the card open")), "{text}");
}

#[test]
fn it_is_never_run_on_a_card_with_vfs() {
    let Some(rig) = Rig::new(Blueprint::new().with(Gpu::l40s(L40S).vfs(16).vfs_enabled()), &[L40S]) else { return };
    rig.gpu(L40S);
    rig.set(L40S, "0000:86:00.4", "L40S-8Q").unwrap();
    let (kind, text) = fails(rig.set_num_vfs(L40S, 32));
    assert!(kind == FailureKind::Conflict && text.contains("16 VFs are enabled already"), "{text}");
    assert_eq!(vgpus(&rig.gpu(L40S)), "  + 0000:86:00.4 L40S-8Q\n");
}

#[test]
fn without_the_program_it_is_not_tried_again_and_again() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).mount_or_skip() else { return };
    let copy = tempfile::tempdir().unwrap();
    machine.write_tree(copy.path()).unwrap();
    let hardware = super::hardware(super::SysfsRoot::new(copy.path()), vec![GpuRule::of(gpu_id(L40S))]);
    let step = headstart_core::step::Step::SetNumVfs { gpu: gpu_id(L40S), vfs: 32 };
    let (kind, text) = fails(hardware.apply(&step));
    assert!(kind == FailureKind::Unsupported && text.contains("sriov-manage could not be started"), "{text}");
}
