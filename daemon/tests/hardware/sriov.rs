//! VFs that are handed out whole: Intel Flex, the lab's igb, AMD under GIM. Tables 5.4 and 10.3 of the reference.

use std::fs;

use expect_test::expect;
use headstart_core::gpu::{DeviceId, Opened};
use headstart_core::step::{Applied, FailureKind};
use headstart_core::unit::FramebufferMib;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, Errno, Fault, amd};

use super::{GpuRule, Hardware, Rig, fails, gpu_id, picture, vgpus};

const FLEX: &str = "0000:4d:00.0";
const IGB: &str = "0000:01:00.0";
const V710: &str = "0000:c3:00.0";

fn flex(change: impl FnOnce(Device) -> Device, vfs: Option<u16>) -> Option<Rig> {
    let rule = GpuRule { vfs, ..GpuRule::of(gpu_id(FLEX)) };
    Rig::with_rules(Blueprint::new().with(change(Device::flex_170(FLEX))), vec![rule])
}

#[test]
fn what_the_operator_wants_is_offered_before_and_after() {
    let Some(rig) = flex(|device| device, Some(4)) else { return };
    let off = rig.gpu(FLEX);
    expect![[r"
        0000:4d:00.0 Data Center GPU Flex 170, 16384 MiB: sriov, SR-IOV, 4 VFs, ready
          Flex-170-1/4: 4096 MiB x4
    "]]
    .assert_eq(&picture(&off));
    assert_eq!(rig.set_num_vfs(FLEX, 4), Ok(Applied::Changed));
    let on = rig.gpu(FLEX);
    assert_eq!((off.partitioning, &off.profiles), (on.partitioning, &on.profiles), "the plan does not change");
    assert_eq!(vgpus(&on).lines().count(), 4);
    assert_eq!(rig.set_num_vfs(FLEX, 4), Ok(Applied::AlreadySo));
    let folder = "sys/devices/pci0000:4d/0000:4d:00.0";
    assert_eq!(rig.writes(), format!("{folder}/sriov_drivers_autoprobe <- 0: ok\n{folder}/sriov_numvfs <- 4: ok\n"));
    let (kind, text) = fails(rig.set_num_vfs(FLEX, 8));
    assert!(kind == FailureKind::Conflict && text.contains("4 VFs are enabled"), "{text}");
}

#[test]
fn vfs_that_are_on_count_as_they_are() {
    let Some(rig) = flex(|device| device.enabled(8), Some(4)) else { return };
    let gpu = rig.gpu(FLEX);
    assert_eq!((gpu.vfs.len(), gpu.profiles[0].name.as_str()), (8, "Flex-170-1/8"));
}

#[test]
fn each_refusal_has_its_meaning() {
    let meanings = [
        (Errno::ENOENT, FailureKind::Unsupported),
        (Errno::EBUSY, FailureKind::Conflict),
        (Errno::EINVAL, FailureKind::Unsupported),
        (Errno::ERANGE, FailureKind::Unsupported),
        (Errno::ENOSPC, FailureKind::Unsupported),
        (Errno::EIO, FailureKind::Transient),
        (Errno::EACCES, FailureKind::Denied),
    ];
    let Some(rig) = flex(|device| device, Some(4)) else { return };
    for (errno, kind) in meanings {
        rig.machine.inject(Fault::write("**/sriov_numvfs").errno(errno).once());
        let (is, text) = fails(rig.set_num_vfs(FLEX, 4));
        assert_eq!(is, kind, "{errno}: {text}");
        assert!(text.contains(FLEX), "{text}");
    }
}

#[test]
fn a_driver_that_cannot_is_named() {
    let Some(rig) = flex(Device::without_configure, Some(4)) else { return };
    let (kind, text) = fails(rig.set_num_vfs(FLEX, 4));
    assert!(kind == FailureKind::Unsupported && text.contains("its driver i915 does not let it"), "{text}");
    let Some(rig) = flex(Device::without_driver, Some(4)) else { return };
    assert!(picture(&rig.gpu(FLEX)).contains("not ready: no driver is bound to it"));
    assert!(fails(rig.set_num_vfs(FLEX, 4)).1.contains("no driver is bound"));
}

#[test]
fn fewer_than_asked_are_taken_as_they_are() {
    let Some(rig) = flex(|device| device.enables_at_most(2), Some(4)) else { return };
    assert_eq!(rig.set_num_vfs(FLEX, 4), Ok(Applied::Changed));
    assert_eq!(rig.gpu(FLEX).profiles[0].name.as_str(), "Flex-170-1/2");
}

#[test]
fn vfs_that_come_late_are_waited_for_by_the_loop() {
    let Some(machine) = Blueprint::new()
        .time_by_hand()
        .with(Device::flex_170(FLEX).late_vfs(std::time::Duration::from_secs(9)))
        .mount_or_skip()
    else {
        return;
    };
    let rule = GpuRule { vfs: Some(4), ..GpuRule::of(gpu_id(FLEX)) };
    let hardware = super::hardware(super::SysfsRoot::new(machine.root()), vec![rule]);
    let rig = Rig { machine, hardware };
    assert_eq!(fails(rig.set_num_vfs(FLEX, 4)).0, FailureKind::Transient);
    assert_eq!(rig.gpu(FLEX).vfs.len(), 0);
    rig.machine.advance(std::time::Duration::from_secs(10));
    assert_eq!(rig.gpu(FLEX).vfs.len(), 4);
    assert_eq!(rig.set_num_vfs(FLEX, 4), Ok(Applied::AlreadySo));
}

fn igb() -> Option<Rig> {
    let rule = GpuRule { vfs: Some(2), board: Some("igb".into()), ..GpuRule::of(gpu_id(IGB)) };
    Rig::with_rules(Blueprint::new().with(Device::igb(IGB).enabled(2)), vec![rule])
}

#[test]
fn the_labs_igb_has_shares_like_any_other() {
    let Some(rig) = igb() else { return };
    let gpu = rig.gpu(IGB);
    assert_eq!(gpu.profiles[0].name.as_str(), "igb-1/2");
    assert_eq!(gpu.name, "82576 Gigabit Network Connection");
}

#[test]
fn a_vf_under_a_driver_of_the_host_is_not_taken_for_free() {
    let Some(rig) = igb() else { return };
    let vf = rig.gpu(IGB).vfs[0];
    let path = rig.machine.pci(&vf.to_string());
    assert!(fs::read_link(path.join("driver")).unwrap().ends_with("igbvf"), "autoprobe was on when it came");
    let seen = vgpus(&rig.gpu(IGB));
    assert!(seen.contains("unknown: its driver igbvf does not show whether the host uses it; unbind it"), "{seen}");
    fs::write(path.join("driver/unbind"), vf.to_string()).unwrap();
    let first = vgpus(&rig.gpu(IGB)).lines().next().unwrap_or_default().to_owned();
    assert_eq!(first, format!("  + {vf} igb-1/2"), "without a driver nobody can use it");
    rig.machine.open_managed(&vf.to_string(), "desktop-7").unwrap();
    assert!(vgpus(&rig.gpu(IGB)).contains("the guest desktop-7 (process "));
}

/// The tree of the lab's host as plain files, in which things can be added that the simulated machine has not.
fn igb_on_files() -> Option<(tempfile::TempDir, Hardware, String)> {
    let rig = igb()?;
    let folder = tempfile::tempdir().unwrap();
    rig.machine.write_tree(folder.path()).unwrap();
    fs::create_dir_all(folder.path().join("proc")).unwrap();
    let vf = rig.gpu(IGB).vfs[0].to_string();
    let hardware = super::hardware(super::SysfsRoot::new(folder.path()), vec![GpuRule::of(gpu_id(IGB))]);
    let path = folder.path().join("sys/bus/pci/devices").join(&vf).to_string_lossy().into_owned();
    Some((folder, hardware, path))
}

#[test]
fn an_interface_that_is_up_or_part_of_another_is_in_use() {
    let Some((_folder, hardware, vf)) = igb_on_files() else { return };
    let opened = || hardware.observe().gpus[&gpu_id(IGB)].vgpus.values().next().unwrap().opened.clone();
    let interface = format!("{vf}/net/enp1s16");
    fs::create_dir_all(&interface).unwrap();
    for (flags, expected) in
        [("0x1002\n", Opened::No), ("0x1003\n", Opened::By("the host: its interface enp1s16 is up".into()))]
    {
        fs::write(format!("{interface}/flags"), flags).unwrap();
        assert_eq!(opened(), expected);
    }
    fs::write(format!("{interface}/flags"), "up\n").unwrap();
    assert!(matches!(opened(), Opened::Unknown(why) if why.contains("/net/enp1s16/flags: expected")));
    fs::write(format!("{interface}/flags"), "0x1002\n").unwrap();
    std::os::unix::fs::symlink("../../../../../virtual/net/br0", format!("{interface}/master")).unwrap();
    assert_eq!(opened(), Opened::By("the host: its interface enp1s16 is part of br0".into()));
}

#[test]
fn a_render_node_that_a_program_has_open_is_in_use() {
    let Some((folder, hardware, vf)) = igb_on_files() else { return };
    let opened = || hardware.observe().gpus[&gpu_id(IGB)].vgpus.values().next().unwrap().opened.clone();
    fs::create_dir_all(format!("{vf}/drm/renderD129")).unwrap();
    assert_eq!(opened(), Opened::No);
    let process = folder.path().join("proc/4711/fd");
    fs::create_dir_all(&process).unwrap();
    fs::write(folder.path().join("proc/4711/comm"), "Xorg\n").unwrap();
    std::os::unix::fs::symlink("/dev/dri/renderD129", process.join("7")).unwrap();
    assert_eq!(opened(), Opened::By("Xorg (process 4711)".into()));
}

#[test]
fn libvirt_binds_plain_vfs() {
    let Some(rig) = igb() else { return };
    let vf = rig.gpu(IGB).vfs[0];
    let managed = || rig.hardware.wants_managed(DeviceId::Vf(vf));
    assert_eq!(managed(), Ok(true));
    rig.machine.open_managed(&vf.to_string(), "desktop-7").unwrap();
    assert_eq!(managed(), Ok(true), "also while vfio-pci has it");
    assert_eq!(rig.hardware.wants_managed(DeviceId::Mdev(super::mdev(1))), Ok(false));
}

#[test]
fn gims_vfs_are_as_many_as_it_made() {
    let Some(rig) = Rig::new(Blueprint::new().with(amd::Mxgpu::v710(V710, 4)), &[V710]) else { return };
    expect![[r"
        0000:c3:00.0 AMD Radeon PRO V710, 28672 MiB: sriov, fixed VFs, ready
          4 VFs on, 0 off
          V710-1/4: 7168 MiB x4
          + 0000:c3:00.1 V710-1/4
          + 0000:c3:00.2 V710-1/4
          + 0000:c3:00.3 V710-1/4
          + 0000:c3:00.4 V710-1/4
    "]]
    .assert_eq(&picture(&rig.gpu(V710)));
    let (kind, text) = fails(rig.set_num_vfs(V710, 8));
    assert_eq!(kind, FailureKind::Conflict, "{text}");
    let vf = rig.gpu(V710).vfs[0].to_string();
    rig.machine.open_managed(&vf, "desktop-7").unwrap();
    assert!(vgpus(&rig.gpu(V710)).contains("the guest desktop-7 (process "));
}

#[test]
fn boards_without_a_known_size_have_the_operators() {
    let rule = GpuRule {
        vfs: Some(4),
        framebuffer: Some(FramebufferMib::new(12_288)),
        board: Some("Lab".into()),
        ..GpuRule::of(gpu_id(FLEX))
    };
    let Some(rig) = Rig::with_rules(Blueprint::new().with(Device::flex_170(FLEX)), vec![rule]) else { return };
    let gpu = rig.gpu(FLEX);
    assert_eq!((gpu.profiles[0].name.as_str(), gpu.profiles[0].framebuffer.get()), ("Lab-1/4", 3072));
}

#[test]
fn vfs_come_without_a_driver_of_the_host() {
    let rule = GpuRule { vfs: Some(2), ..GpuRule::of(gpu_id(IGB)) };
    let Some(rig) = Rig::with_rules(Blueprint::new().with(Device::igb(IGB)), vec![rule]) else { return };
    assert_eq!(rig.set_num_vfs(IGB, 2), Ok(Applied::Changed));
    let gpu = rig.gpu(IGB);
    assert_eq!(gpu.vfs.len(), 2);
    for vf in &gpu.vfs {
        assert!(!rig.machine.pci(&vf.to_string()).join("driver").exists(), "igbvf would have taken it");
    }
    assert_eq!(vgpus(&gpu).lines().filter(|line| line.ends_with("8086:10c9-1/2")).count(), 2, "{}", vgpus(&gpu));
}
