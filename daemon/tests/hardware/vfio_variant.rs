//! NVIDIA's vendor VFIO: L40S. Tables 2.1 and 10.2 of the reference.

use std::fs;

use headstart_core::gpu::{DeviceId, Interface};
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Fault};

use super::{GpuRule, Rig, fails, function, gpu_id, name, numbered, picture, problems, vgpus};
use headstartd::host::hardware::ProfileRule;

const L40S: &str = "0000:86:00.0";
const VF: &str = "0000:86:00.4";
const SECOND: &str = "0000:86:00.5";

fn l40s(change: impl FnOnce(Gpu) -> Gpu) -> Option<Rig> {
    let rig = Rig::new(Blueprint::new().with(change(Gpu::l40s(L40S).vfs_enabled())), &[L40S])?;
    // The first look finds the card empty.
    rig.gpu(L40S);
    Some(rig)
}

fn by_hand(rig: &Rig, vf: &str, number: u32) {
    fs::write(rig.machine.pci(vf).join("nvidia/current_vgpu_type"), number.to_string()).unwrap();
}

#[test]
fn the_table_is_what_an_empty_card_offers_and_stays_when_it_fills() {
    for change in [|gpu: Gpu| gpu, Gpu::no_header, Gpu::no_header_over_nothing, Gpu::nouveau_codes] {
        let Some(rig) = l40s(change) else { return };
        let empty = rig.gpu(L40S);
        assert_eq!((empty.interface, empty.vfs.len(), empty.framebuffer.get()), (Interface::VfioVariant, 32, 49_152));
        assert_eq!(rig.set(L40S, VF, "L40S-24Q"), Ok(Applied::Changed));
        let used = rig.gpu(L40S);
        assert_eq!(used.profiles, empty.profiles, "the list on the VFs has shrunk, the table has not");
        assert_eq!(vgpus(&used), format!("  + {VF} L40S-24Q\n"));
    }
}

#[test]
fn set_seen_and_cleared() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    assert_eq!(rig.set(L40S, VF, "L40S-8Q"), Ok(Applied::Changed));
    assert_eq!(rig.set(L40S, VF, "L40S-8Q"), Ok(Applied::AlreadySo));
    let (kind, text) = fails(rig.set(L40S, VF, "L40S-8A"));
    assert_eq!((kind, text), (FailureKind::Conflict, format!("VF {VF}: it has vGPU type 1152 already")));
    let (kind, text) = fails(rig.clear(L40S, VF, "L40S-8A"));
    assert_eq!((kind, text), (FailureKind::Conflict, format!("VF {VF}: it has vGPU type 1152, not that of L40S-8A")));
    assert_eq!(rig.clear(L40S, VF, "L40S-8Q"), Ok(Applied::Changed));
    assert_eq!(rig.clear(L40S, VF, "L40S-8Q"), Ok(Applied::AlreadySo));
    let path = "sys/devices/pci0000:86/0000:86:00.4/nvidia/current_vgpu_type";
    assert_eq!(rig.writes(), format!("{path} <- 1152: ok\n{path} <- 0: ok\n"));
}

#[test]
fn another_size_waits_until_the_last_is_gone() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    rig.set(L40S, VF, "L40S-8Q").unwrap();
    let (kind, text) = fails(rig.set(L40S, SECOND, "L40S-12Q"));
    assert!(kind == FailureKind::Exhausted && text.contains("does not offer L40S-12Q now"), "{text}");
    assert_eq!(rig.gpu(L40S).partitioning.to_string(), "equal size, series may mix");
    assert_eq!(rig.set(L40S, SECOND, "L40S-8A"), Ok(Applied::Changed));
    rig.clear(L40S, VF, "L40S-8Q").unwrap();
    rig.clear(L40S, SECOND, "L40S-8A").unwrap();
    assert_eq!(rig.set(L40S, VF, "L40S-12Q"), Ok(Applied::Changed));
}

#[test]
fn what_somebody_has_open_is_not_cleared() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    rig.set(L40S, VF, "L40S-8Q").unwrap();
    rig.machine.open(VF, "desktop-7").unwrap();
    let seen = vgpus(&rig.gpu(L40S));
    assert!(seen.contains("L40S-8Q, the guest desktop-7 (process "), "{seen}");
    rig.machine.forget();
    let (kind, text) = fails(rig.clear(L40S, VF, "L40S-8Q"));
    assert!(kind == FailureKind::Conflict && text.contains("has it open"), "{text}");
    assert_eq!(rig.writes(), "");
    rig.machine.close(VF);
    assert_eq!(rig.clear(L40S, VF, "L40S-8Q"), Ok(Applied::Changed));
}

#[test]
fn a_process_that_lingers_is_waited_for_by_the_loop() {
    let Some(rig) = l40s(|gpu| gpu.lingering(std::time::Duration::MAX)) else { return };
    rig.set(L40S, VF, "L40S-8Q").unwrap();
    rig.machine.open(VF, "desktop-7").unwrap();
    rig.machine.close(VF);
    let (kind, text) = fails(rig.clear(L40S, VF, "L40S-8Q"));
    assert!(kind == FailureKind::Transient && text.contains("busy"), "{text}");
    rig.machine.end_lingering(VF);
    assert_eq!(rig.clear(L40S, VF, "L40S-8Q"), Ok(Applied::Changed));
}

#[test]
fn each_refusal_has_its_meaning() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    let meanings = [
        (Errno::EPERM, FailureKind::Transient),
        (Errno::EBUSY, FailureKind::Transient),
        (Errno::ENOMEM, FailureKind::Transient),
        (Errno::EINVAL, FailureKind::Unsupported),
        (Errno::ERANGE, FailureKind::Unsupported),
        (Errno::EACCES, FailureKind::Denied),
        (Errno::EROFS, FailureKind::Denied),
    ];
    for (errno, kind) in meanings {
        rig.machine.inject(Fault::write("**/current_vgpu_type").errno(errno).once());
        let (is, text) = fails(rig.set(L40S, VF, "L40S-8Q"));
        assert_eq!(is, kind, "{errno}: {text}");
        assert!(text.contains(VF), "{text}");
    }
    rig.machine.inject(Fault::write("**/current_vgpu_type").errno(Errno::EIO).once());
    assert_eq!(rig.set(L40S, VF, "L40S-8Q"), Ok(Applied::Changed), "not ready, and ready at the second try");
    rig.machine.inject(Fault::write("**/current_vgpu_type").errno(Errno::EIO));
    assert_eq!(fails(rig.set(L40S, SECOND, "L40S-8Q")).0, FailureKind::Transient, "and no third");
    for (errno, kind) in [(Errno::EPERM, FailureKind::Conflict), (Errno::EBUSY, FailureKind::Transient)] {
        rig.machine.inject(Fault::write("**/current_vgpu_type").errno(errno).once());
        assert_eq!(fails(rig.clear(L40S, VF, "L40S-8Q")).0, kind, "{errno}");
    }
}

#[test]
fn what_others_do_is_found_by_looking() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    let heard = rig.machine.uevents();
    by_hand(&rig, SECOND, 1152);
    assert!(heard.try_recv().is_err(), "the kernel tells nobody");
    assert_eq!(vgpus(&rig.gpu(L40S)), format!("  + {SECOND} L40S-8Q\n"));
}

#[test]
fn a_card_first_seen_in_use_says_what_it_needs() {
    let Some(mut rig) = l40s(|gpu| gpu) else { return };
    by_hand(&rig, VF, 1152);
    rig.restart(&[L40S]);
    let gpu = rig.gpu(L40S);
    assert_eq!(vgpus(&gpu), format!("  + {VF} ?\n"));
    assert!(
        picture(&gpu).contains("not ready: its types are told neither by NVML nor by vgpuConfig.xml"),
        "{}",
        picture(&gpu)
    );
    let rule =
        GpuRule { profiles: vec![numbered("L40S-8Q", 1152), numbered("L40S-12Q", 1153)], ..GpuRule::of(gpu_id(L40S)) };
    let told = super::hardware(super::SysfsRoot::new(rig.machine.root()), vec![rule]);
    let gpu = told.observe().gpus.remove(&gpu_id(L40S)).unwrap();
    assert_eq!(vgpus(&gpu), format!("  + {VF} L40S-8Q\n"));
    assert_eq!(gpu.profiles.iter().map(|it| it.name.to_string()).collect::<Vec<_>>(), ["L40S-8Q", "L40S-12Q"]);
}

#[test]
fn the_table_that_the_driver_installs_goes_first() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S).vfs_enabled()).mount_or_skip() else { return };
    // The simulated machine installs none, so it is read from a copy in which one lies.
    let copy = tempfile::tempdir().unwrap();
    machine.write_tree(copy.path()).unwrap();
    let folder = copy.path().join("usr/share/nvidia/vgpu");
    fs::create_dir_all(&folder).unwrap();
    let text = r#"<vgpuconfig><vgpuType id="1152" name="NVIDIA L40S-8Q"/><pgpu><devId deviceId="0x26b9" subsystemId="0x0"/>
        <supportedVgpu vgpuId="1152"><maxVgpus>6</maxVgpus></supportedVgpu></pgpu></vgpuconfig>"#;
    fs::write(folder.join("vgpuConfig.xml"), text).unwrap();
    let hardware = super::hardware(super::SysfsRoot::new(copy.path()), vec![GpuRule::of(gpu_id(L40S))]);
    let gpu = hardware.observe().gpus.remove(&gpu_id(L40S)).unwrap();
    assert_eq!(gpu.profiles.len(), 1);
    assert_eq!((gpu.profiles[0].name.as_str(), gpu.profiles[0].max_instances), ("L40S-8Q", 6));
    fs::write(folder.join("vgpuConfig.xml"), "no table").unwrap();
    let seen = hardware.observe();
    assert!(problems(&seen).contains("/usr/share/nvidia/vgpu/vgpuConfig.xml: "), "{}", problems(&seen));
    assert_eq!(seen.gpus[&gpu_id(L40S)].profiles.len(), 23, "then what the card offers while it is empty");
}

#[test]
fn a_vf_in_other_hands_is_left_out_and_told() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    rig.machine.open_managed(VF, "somebody").unwrap();
    let seen = rig.hardware.observe();
    let gpu = &seen.gpus[&gpu_id(L40S)];
    assert_eq!((gpu.vfs.len(), gpu.vfs.contains(&function(VF))), (31, false));
    assert!(problems(&seen).contains("1 of its VFs have no vGPU type"), "{}", problems(&seen));
}

#[test]
fn a_type_that_cannot_be_read_is_unknown_and_not_none() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    rig.set(L40S, VF, "L40S-8Q").unwrap();
    rig.machine.inject(Fault::read("**/0000:86:00.4/nvidia/current_vgpu_type").errno(Errno::EIO));
    rig.machine.inject(Fault::read("**/0000:86:00.5/nvidia/current_vgpu_type").content("many\n"));
    let seen = rig.hardware.observe();
    let gpu = &seen.gpus[&gpu_id(L40S)];
    for vf in [VF, SECOND] {
        let vgpu = &gpu.vgpus[&DeviceId::Vf(function(vf))];
        assert_eq!(vgpu.profile, None);
        assert!(matches!(vgpu.opened, headstart_core::gpu::Opened::Unknown(_)));
    }
    assert!(problems(&seen).contains("0000:86:00.4: its vGPU type is not known"), "{}", problems(&seen));
    assert_eq!(fails(rig.clear(L40S, VF, "L40S-8Q")).0, FailureKind::Transient);
    assert_eq!(rig.machine.writes().iter().filter(|write| write.text == "0").count(), 0);
}

#[test]
fn libvirt_leaves_such_vfs_to_their_driver() {
    let Some(rig) = l40s(|gpu| gpu) else { return };
    assert_eq!(rig.hardware.wants_managed(DeviceId::Vf(function(VF))), Ok(false));
    let gone = rig.hardware.wants_managed(DeviceId::Vf(function("0000:99:00.1"))).unwrap_err();
    assert_eq!(gone.kind, FailureKind::Gone);
}

#[test]
fn the_operators_word_goes_before_the_cards() {
    let profile = ProfileRule {
        name: name("L40S-8Q"),
        number: None,
        framebuffer: Some(headstart_core::unit::FramebufferMib::new(7680)),
        max_instances: Some(5),
        slots: None,
    };
    let rule = GpuRule { profiles: vec![profile], ..GpuRule::of(gpu_id(L40S)) };
    let Some(rig) = Rig::with_rules(Blueprint::new().with(Gpu::l40s(L40S).vfs_enabled()), vec![rule]) else { return };
    let gpu = rig.gpu(L40S);
    let it = gpu.profile(&name("L40S-8Q")).unwrap();
    assert_eq!((it.framebuffer.get(), it.max_instances), (7680, 5));
    assert_eq!(gpu.profiles.len(), 23, "the others are as the card says");
}

#[test]
fn the_codes_of_another_driver_are_understood() {
    let Some(rig) = l40s(Gpu::nouveau_codes) else { return };
    rig.set(L40S, VF, "L40S-8Q").unwrap();
    assert_eq!(rig.set(L40S, VF, "L40S-8Q"), Ok(Applied::AlreadySo));
    assert_eq!(fails(rig.set(L40S, VF, "L40S-8A")).0, FailureKind::Conflict);
    assert_eq!(fails(rig.set(L40S, SECOND, "L40S-12Q")).0, FailureKind::Exhausted);
    rig.machine.inject(Fault::write("**/current_vgpu_type").errno(Errno::ENODEV));
    assert_eq!(fails(rig.set(L40S, SECOND, "L40S-8Q")).0, FailureKind::Transient, "it is offered and not given");
    rig.machine.heal();
    rig.machine.open(VF, "desktop-7").unwrap();
    assert_eq!(fails(rig.clear(L40S, VF, "L40S-8Q")).0, FailureKind::Conflict);
    rig.machine.close(VF);
    assert_eq!(rig.clear(L40S, VF, "L40S-8Q"), Ok(Applied::Changed));
}
