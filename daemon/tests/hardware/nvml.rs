//! What NVIDIA's library adds: tables that do not shrink, placements, and handles that must not stay open. The library is a small one
//! of our own, compiled here.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use expect_test::expect;
use headstart_core::gpu::{GpuState, Partitioning};
use headstart_core::step::{Applied, FailureKind, Step};
use headstart_simsysfs::Blueprint;
use headstart_simsysfs::nvidia::Gpu;

use super::{
    GpuRule, Hardware, PATIENCE, Patience, Rig, SysfsRoot, fails, function, gpu_id, name, picture, problems, vgpus,
};

const L40S: &str = "0000:86:00.0";

/// A machine, and a library in a folder of its own.
fn rig(gpu: Gpu, mixed: bool) -> Option<(Rig, tempfile::TempDir)> {
    let machine = Blueprint::new().with(gpu).mount_or_skip()?;
    let folder = library();
    if mixed {
        fs::write(folder.path().join("mixed"), "").unwrap();
    }
    let hardware = with_library(machine.root(), folder.path(), PATIENCE);
    Some((Rig { machine, hardware }, folder))
}

fn with_library(root: &Path, folder: &Path, patience: Patience) -> Hardware {
    let library = folder.join("libnvidia-ml.so.1").into_os_string();
    Hardware::with(SysfsRoot::new(root), vec![GpuRule::of(gpu_id(L40S))], Some(library), patience)
}

fn library() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/hardware/nvml/fake.c");
    let mut compiler = Command::new("cc");
    let object = folder.path().join("libnvidia-ml.so.1");
    let compiled =
        compiler.args(["-shared", "-fPIC", "-Wall", "-Werror", "-o"]).arg(&object).arg(&source).output().unwrap();
    assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
    folder
}

fn set_at(rig: &Rig, vf: &str, profile: &str, start: u16) -> Result<Applied, headstart_core::step::StepError> {
    let (gpu, vf, profile) = (gpu_id(L40S), function(vf), name(profile));
    rig.hardware.apply(&Step::SetVgpuType { gpu, vf, profile, start: Some(start) })
}

#[test]
fn the_table_is_known_while_the_vfs_are_off_and_whatever_is_on_the_card() {
    let Some((rig, _library)) = rig(Gpu::l40s(L40S), false) else { return };
    expect![[r"
        0000:86:00.0 NVIDIA L40S, 49152 MiB: vfio-variant, equal size, series may mix, ready
          0 VFs on, 32 off
          L40S-4Q: 4096 MiB x12
          L40S-8Q: 8192 MiB x6
          L40S-12Q: 12288 MiB x4
          L40S-24Q: 24576 MiB x2
    "]]
    .assert_eq(&picture(&rig.gpu(L40S)));
    rig.set_num_vfs(L40S, 32).unwrap();
    fs::write(rig.machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1152").unwrap();
    let gpu = rig.gpu(L40S);
    assert_eq!((gpu.profiles.len(), vgpus(&gpu)), (4, "  + 0000:86:00.4 L40S-8Q\n".into()));
}

#[test]
fn no_handle_stays_open() {
    let Some((rig, library)) = rig(Gpu::l40s(L40S).vfs_enabled(), false) else { return };
    rig.gpu(L40S);
    assert!(!library.path().join("open").exists());
}

#[test]
fn mixed_sizes_have_places() {
    for extra_files in [true, false] {
        let gpu = Gpu::l40s(L40S).vfs_enabled().mixed_size();
        let gpu = if extra_files { gpu.extra_files() } else { gpu };
        let Some((rig, _library)) = rig(gpu, true) else { return };
        let empty = rig.gpu(L40S);
        assert_eq!(empty.partitioning, Partitioning::MixedSize { slots: 48 });
        assert_eq!(empty.profile(&name("L40S-12Q")).unwrap().starts, [0, 12, 24, 36]);
        assert_eq!(set_at(&rig, "0000:86:00.4", "L40S-12Q", 24), Ok(Applied::Changed));
        assert_eq!(set_at(&rig, "0000:86:00.5", "L40S-24Q", 0), Ok(Applied::Changed));
        let seen = vgpus(&rig.gpu(L40S));
        if extra_files {
            assert_eq!(seen, "  + 0000:86:00.4 L40S-12Q at 24\n  + 0000:86:00.5 L40S-24Q at 0\n");
            let (kind, text) = fails(set_at(&rig, "0000:86:00.6", "L40S-4Q", 4));
            assert!(kind == FailureKind::Transient && text.contains("placement 4 was not to be had"), "{text}");
        } else {
            let params = rig.machine.pci("0000:86:00.4").join("nvidia/vgpu_params");
            assert_eq!(fs::read_to_string(params).unwrap().trim(), "vgpu-placement-id=24");
            assert_eq!(seen, "  + 0000:86:00.4 L40S-12Q at 24\n  + 0000:86:00.5 L40S-24Q at 0\n");
        }
    }
}

#[test]
fn mixed_sizes_that_nobody_tells_of_close_the_card() {
    let Some((rig, _library)) = rig(Gpu::l40s(L40S).vfs_enabled().mixed_size(), false) else { return };
    rig.gpu(L40S);
    for (vf, number) in [("0000:86:00.4", "1152"), ("0000:86:00.5", "1155")] {
        fs::write(rig.machine.pci(vf).join("nvidia/current_vgpu_type"), number).unwrap();
    }
    let seen = rig.hardware.observe();
    assert!(problems(&seen).contains("vGPUs of several sizes stand on it"), "{}", problems(&seen));
    let gpu = &seen.gpus[&gpu_id(L40S)];
    let tenants: Vec<_> = gpu.vgpus.values().map(headstart_core::gpu::Vgpu::tenant).collect();
    assert!(gpu.profiles.iter().all(|profile| gpu.fit(&tenants, &profile.name, None).is_err()));
}

#[test]
fn a_library_that_hangs_holds_up_no_look_and_is_waited_for_before_vfs() {
    let Some((mut rig, library)) = rig(Gpu::l40s(L40S), false) else { return };
    fs::write(library.path().join("hang"), "").unwrap();
    let little = Duration::from_millis(200);
    rig.hardware =
        with_library(rig.machine.root(), library.path(), Patience { nvml: little, vgpu: little, ..PATIENCE });
    let seen = rig.hardware.observe();
    assert!(problems(&seen).contains("libnvidia-ml.so.1 has not answered"), "{}", problems(&seen));
    assert!(matches!(seen.gpus[&gpu_id(L40S)].state, GpuState::NotReady(_)), "the rest goes on without it");
    let (kind, text) = fails(rig.set_num_vfs(L40S, 32));
    assert!(kind == FailureKind::Transient && text.contains("still has it open"), "{text}");
    fs::remove_file(library.path().join("hang")).unwrap();
    let until = std::time::Instant::now() + super::DEADLINE;
    while rig.gpu(L40S).state != GpuState::Ready {
        assert!(std::time::Instant::now() < until, "it does not answer");
    }
    assert_eq!(rig.set_num_vfs(L40S, 32), Ok(Applied::Changed));
}

#[test]
fn no_library_is_no_trouble() {
    let Some((rig, library)) = rig(Gpu::l40s(L40S).vfs_enabled(), false) else { return };
    for text in [None, Some("no library")] {
        fs::remove_file(library.path().join("libnvidia-ml.so.1")).unwrap_or_default();
        if let Some(text) = text {
            fs::write(library.path().join("libnvidia-ml.so.1"), text).unwrap();
        }
        let seen = with_library(rig.machine.root(), library.path(), PATIENCE).observe();
        assert_eq!(problems(&seen), "");
        assert_eq!(seen.gpus[&gpu_id(L40S)].profiles.len(), 23);
    }
}
