//! How headstart behaves on a host: it reads nothing twice, and touches nothing that is not its own.

use std::fs;

use headstart_core::step::Applied;
use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::sriov::Device;
use headstart_simsysfs::{Blueprint, amd};

use super::{GpuRule, HardwareSeen, Rig, SysfsRoot, all_of, gpu_id, mdev, stranger, vgpus};

const T4: &str = "0000:3b:00.0";
const A40: &str = "0000:5e:00.0";
const L40S: &str = "0000:86:00.0";
const V710: &str = "0000:c3:00.0";
const FLEX: &str = "0000:4d:00.0";

/// A host with everything: two vendors' and three generations' interfaces at once.
fn everything() -> Blueprint {
    Blueprint::new()
        .with(Gpu::tesla_t4(T4))
        .with(Gpu::a40(A40).vfs_enabled())
        .with(Gpu::l40s(L40S).vfs_enabled())
        .with(amd::Mxgpu::v710(V710, 4))
        .with(Device::flex_170(FLEX).enabled(3))
        .with(Sample::mbochs())
}

#[test]
fn all_interfaces_stand_side_by_side_and_no_directory_is_read_twice() {
    let Some(rig) = Rig::new(everything(), &[T4, A40, L40S, V710, FLEX, "mbochs"]) else { return };
    rig.gpu(L40S);
    for n in 1..=5 {
        rig.create(T4, "T4-2Q", n).unwrap();
        rig.create(A40, "A40-8Q", 10 + n).unwrap();
        rig.create("mbochs", "mbochs-small", 20 + n).unwrap();
    }
    for vf in ["0000:86:00.4", "0000:86:00.7", "0000:86:01.0"] {
        rig.set(L40S, vf, "L40S-8Q").unwrap();
    }
    rig.machine.open(&mdev(1).to_string(), "desktop-1").unwrap();
    let seen = one_look(&rig);
    assert_eq!(seen.gpus.len(), 6);
    assert!(seen.gaps.is_empty() && seen.problems.is_empty(), "{:?}", seen.problems);
}

#[test]
fn nor_on_a_large_host() {
    let variant = Gpu::l40s("0000:10:00.0").vfs(16).vfs_enabled().times(8);
    let mdevs = Gpu::a40("0000:20:00.0").vfs(16).vfs_enabled().times(8);
    let blueprint = Blueprint::new().with_all(variant).with_all(mdevs);
    let pfs: Vec<String> = (0..16).map(|n| format!("0000:{:02x}:00.0", 0x10 + 2 * n)).collect();
    let owned: Vec<&str> = pfs.iter().map(String::as_str).collect();
    let Some(rig) = Rig::new(blueprint, &owned) else { return };
    rig.hardware.observe();
    for pf in &pfs[..8] {
        rig.set(pf, &pf.replace(".0", ".4"), "L40S-3Q").unwrap();
    }
    for (n, pf) in (1..).zip(&pfs[8..]) {
        rig.create(pf, "A40-8Q", n).unwrap();
    }
    let seen = one_look(&rig);
    assert_eq!((seen.gpus.len(), seen.gpus.values().map(|gpu| gpu.vfs.len()).sum::<usize>()), (16, 256));
    assert_eq!(seen.gpus.values().map(|gpu| gpu.vgpus.len()).sum::<usize>(), 16);
}

/// Looks once, and fails if a directory was listed twice, a file read twice, a file read that can block, or anything written.
fn one_look(rig: &Rig) -> HardwareSeen {
    rig.machine.forget();
    let seen = rig.hardware.observe();
    let looks = rig.machine.looks();
    let twice: Vec<_> = looks.lists.iter().filter(|(_, count)| **count > 1).collect();
    assert!(!looks.lists.is_empty() && twice.is_empty(), "{twice:#?}");
    let often: Vec<_> = looks.reads.iter().filter(|(_, count)| **count > 1).collect();
    assert!(often.iter().all(|(path, count)| path.ends_with("/vendor") && **count == 2), "{often:#?}");
    assert!(!looks.reads.keys().any(|path| path.ends_with("sriov_numvfs")), "reading it can block");
    assert_eq!(rig.machine.writes().len(), 0, "looking changes nothing");
    seen
}

#[test]
fn by_kind_and_by_address_come_to_the_same() {
    let Some(rig) = Rig::with_rules(everything(), vec![all_of(0x10de), all_of(0x1002), all_of(0x8086)]) else { return };
    let by_kind: Vec<String> = rig.hardware.observe().gpus.keys().map(ToString::to_string).collect();
    assert_eq!(by_kind, [T4, FLEX, A40, L40S, V710]);
    let by_id = super::hardware(
        SysfsRoot::new(rig.machine.root()),
        [T4, A40, L40S, V710, FLEX].iter().map(|id| GpuRule::of(gpu_id(id))).collect(),
    );
    assert_eq!(by_id.observe().gpus, rig.hardware.observe().gpus);
    rig.machine.forget();
    rig.hardware.observe();
    let looks = rig.machine.looks();
    assert!(looks.lists.values().all(|count| *count == 1), "{:#?}", looks.lists);
}

#[test]
fn what_is_not_ours_is_neither_seen_nor_touched() {
    let Some(rig) = Rig::new(everything(), &[T4]) else { return };
    let others = rig.machine.path("sys/class/mdev_bus/0000:5e:00.4/mdev_supported_types/nvidia-560/create");
    fs::write(others, stranger(1)).unwrap();
    let on_ours = rig.machine.path(&format!("sys/class/mdev_bus/{T4}/mdev_supported_types/nvidia-231/create"));
    fs::write(on_ours, stranger(2)).unwrap();
    fs::write(rig.machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1152").unwrap();
    rig.machine.forget();
    let seen = rig.hardware.observe();
    assert_eq!(seen.gpus.len(), 1);
    assert_eq!(rig.create(T4, "T4-2Q", 1), Ok(Applied::Changed));
    assert_eq!(rig.remove(T4, "T4-2Q", 1), Ok(Applied::Changed));
    assert_eq!(vgpus(&rig.gpu(T4)), format!("  + {} T4-2Q\n", stranger(2)));
    for answer in [
        rig.create(A40, "A40-4Q", 2),
        rig.remove(A40, "A40-4Q", 2),
        rig.set(L40S, "0000:86:00.5", "L40S-8Q"),
        rig.clear(L40S, "0000:86:00.4", "L40S-8Q"),
        rig.set_num_vfs(FLEX, 3),
    ] {
        assert!(answer.unwrap_err().text.contains("no [[gpu]] of the configuration gives it"));
    }
    assert!(rig.machine.writes().iter().all(|write| write.path.contains("/0000:3b:00.0/")), "{}", rig.writes());
    assert!(rig.machine.mdev(&stranger(1)).exists());
}

#[test]
fn a_vf_of_another_gpu_is_not_taken_for_one_of_this() {
    let Some(rig) =
        Rig::new(Blueprint::new().with_all(Gpu::l40s(L40S).vfs_enabled().times(2)), &[L40S, "0000:88:00.0"])
    else {
        return;
    };
    rig.hardware.observe();
    let answer = rig.set(L40S, "0000:88:00.4", "L40S-8Q").unwrap_err();
    assert!(answer.text.contains("it belongs to 0000:88:00.0, not to 0000:86:00.0"), "{}", answer.text);
}

#[test]
fn plain_files_serve_as_well_for_looking() {
    let blueprint = Blueprint::new().with(Gpu::l40s(L40S).vfs_enabled()).with(Gpu::a2(A40).vfs_enabled());
    let folder = tempfile::tempdir().unwrap();
    blueprint.unmounted().write_tree(folder.path()).unwrap();
    let hardware = super::hardware(SysfsRoot::new(folder.path()), vec![all_of(0x10de)]);
    let seen = hardware.observe();
    assert_eq!((seen.gpus.len(), seen.problems), (2, Vec::new()));
    assert_eq!(seen.gpus.values().map(|gpu| gpu.vfs.len()).collect::<Vec<_>>(), [16, 32]);
}
