//! `sriov-manage`, and `nvidia-smi` for types and modes. GPU instances have a module of their own.

use std::fs;
use std::process::Command;
use std::time::Duration;

use headstart_simsysfs::nvidia::{Gpu, types};
use headstart_simsysfs::{Behavior, Blueprint, Machine, Program};

use crate::mdev::{T4, available, create};
use crate::{DEADLINE, list, read, uuid};

const L40S: &str = "0000:86:00.0";
const A40: &str = "0000:5e:00.0";

/// Runs a program of the machine: its status and all that it printed.
pub(crate) fn run(machine: &Machine, program: &str, arguments: &[&str]) -> (i32, String) {
    let output = Command::new(machine.path(program)).args(arguments).output().expect("it runs");
    let text = String::from_utf8([output.stdout, output.stderr].concat()).expect("text");
    (output.status.code().expect("it ended by itself"), text)
}

fn sriov_manage(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    run(machine, "usr/lib/nvidia/sriov-manage", arguments)
}

pub(crate) fn smi(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    run(machine, "usr/bin/nvidia-smi", arguments)
}

fn numvfs(machine: &Machine, pf: &str) -> String {
    read(machine.pci(pf).join("sriov_numvfs"))
}

#[test]
fn sriov_manage_enables_all_functions_or_none() {
    let blueprint = Blueprint::new().with(Gpu::l40s(L40S)).with(Gpu::a40(A40)).with(Gpu::tesla_t4(T4));
    let Some(machine) = blueprint.mount_or_skip() else { return };
    assert_eq!(sriov_manage(&machine, &["-e", L40S]).0, 0);
    assert_eq!([numvfs(&machine, L40S), numvfs(&machine, A40)], ["32", "0"]);
    let driver = fs::read_link(machine.pci(L40S).join("virtfn31/driver")).expect("bound");
    assert_eq!(driver.file_name(), Some("nvidia".as_ref()));
    assert_eq!(sriov_manage(&machine, &["-e", "ALL"]).0, 0);
    assert_eq!([numvfs(&machine, L40S), numvfs(&machine, A40)], ["32", "32"]);
    assert_eq!(available(&machine, "0000:5e:00.4", 558), "1");
    assert_eq!(sriov_manage(&machine, &["-d", A40]).0, 0);
    assert_eq!(numvfs(&machine, A40), "0");
    for wrong in [&["-e"][..], &["-x", L40S], &["-e", "0000:00:00.0"], &["-e", "0"], &[]] {
        assert_eq!(sriov_manage(&machine, wrong).0, 1, "{wrong:?}");
    }
}

#[test]
fn sriov_manage_clears_modes_even_when_functions_are_there() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).mount_or_skip() else { return };
    sriov_manage(&machine, &["-e", L40S]);
    assert_eq!(smi(&machine, &["vgpu", "-i", "0", "-shm", "1"]).0, 0);
    assert_eq!(sriov_manage(&machine, &["-e", L40S]).0, 0);
    assert!(smi(&machine, &["-q"]).1.contains("vGPU Heterogeneous Mode           : Disabled"));
    assert_eq!(numvfs(&machine, L40S), "32");
}

#[test]
fn sriov_manage_needs_the_unbind_lock() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).mount_or_skip() else { return };
    let pid = machine.hold_gpu(L40S, "/usr/bin/nvidia-persistenced");
    let (status, text) = sriov_manage(&machine, &["-e", L40S]);
    assert_eq!(status, 1);
    assert!(text.contains("Cannot obtain unbindLock"), "{text}");
    assert_eq!(numvfs(&machine, L40S), "0");
    machine.end_process(pid);
    assert_eq!(sriov_manage(&machine, &["-e", L40S]).0, 0);
}

#[test]
fn sriov_manage_fails_lies_or_leaves_things_unbound() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).mount_or_skip() else { return };
    let with = |behavior| {
        machine.set_program(Program::SriovManage, behavior);
        sriov_manage(&machine, &["-e", L40S])
    };
    assert_eq!(with(Behavior::Fails(3)).0, 3);
    assert_eq!(numvfs(&machine, L40S), "0");
    assert_eq!(with(Behavior::DoesNothing), (0, String::new()));
    assert_eq!(numvfs(&machine, L40S), "0");
    assert_eq!(with(Behavior::LeavesFunctionsUnbound).0, 0);
    assert_eq!(numvfs(&machine, L40S), "32");
    assert!(!machine.pci(L40S).join("virtfn0/driver").exists());
    assert!(!machine.pci(L40S).join("virtfn0/nvidia").exists());
    assert_eq!(with(Behavior::Works).0, 0);
    assert!(machine.pci(L40S).join("virtfn0/nvidia").exists(), "the next run binds them");
    assert_eq!(with(Behavior::LeavesGpuUnbound).0, 1);
    assert!(!machine.pci(L40S).join("driver").exists());
}

#[test]
fn programs_can_take_long() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).time_by_hand().mount_or_skip() else { return };
    machine.set_program(Program::SriovManage, Behavior::Takes(Duration::from_secs(120)));
    let path = machine.path("usr/lib/nvidia/sriov-manage");
    let mut child = Command::new(path).args(["-e", L40S]).spawn().expect("it runs");
    assert!(machine.wait_for_programs(1, DEADLINE), "the program has asked");
    assert_eq!(numvfs(&machine, L40S), "0");
    machine.advance(Duration::from_secs(120));
    assert!(child.wait().expect("waited for").success());
    assert_eq!(numvfs(&machine, L40S), "32");
}

#[test]
fn late_functions_come_after_the_program_has_ended() {
    let gpu = Gpu::l40s(L40S).late_vfs(Duration::from_secs(3));
    let Some(machine) = Blueprint::new().with(gpu).time_by_hand().mount_or_skip() else { return };
    assert_eq!(sriov_manage(&machine, &["-e", L40S]).0, 0);
    assert_eq!(numvfs(&machine, L40S), "32");
    assert!(!machine.pci(L40S).join("virtfn0").exists());
    machine.advance(Duration::from_secs(3));
    assert!(machine.pci(L40S).join("virtfn31/nvidia/current_vgpu_type").exists());
}

#[test]
fn nvidia_smi_lists_types_that_shrink_and_types_that_do_not() {
    let gpu =
        Gpu::l40s(L40S).vfs_enabled().with_types(types("NVIDIA L40S", 49_152, 32, &[(1150, "4Q"), (1156, "48Q")]));
    let Some(machine) = Blueprint::new().with(gpu).mount_or_skip() else { return };
    let all = "GPU 00000000:86:00.0\n    NVIDIA L40S-4Q\n    NVIDIA L40S-48Q\n";
    assert_eq!(smi(&machine, &["vgpu", "-s"]), (0, all.to_owned()));
    assert_eq!(smi(&machine, &["vgpu", "-c"]).1, all);
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1150").expect("free");
    assert_eq!(smi(&machine, &["vgpu", "-s"]).1, all);
    assert_eq!(smi(&machine, &["vgpu", "-c", "-i", "0"]).1, "GPU 00000000:86:00.0\n    NVIDIA L40S-4Q\n");
    let described = smi(&machine, &["vgpu", "-i", "00000000:86:00.0", "-s", "-v"]).1;
    for line in [
        "    vGPU Type ID                          : 0x47e\n",
        "        FB Memory                         : 4096 MiB\n",
    ] {
        assert!(described.contains(line), "{described}");
    }
}

#[test]
fn mixed_size_mode_needs_an_empty_gpu_with_functions() {
    let a40 = Gpu::a40(A40).vfs_enabled();
    let Some(machine) = Blueprint::new().with(Gpu::l40s(L40S)).with(a40).mount_or_skip() else { return };
    let mixed = |id: &str| smi(&machine, &["vgpu", "-i", id, "-shm", "1"]);
    assert_eq!(mixed("1").0, 3, "this board cannot");
    assert_eq!(mixed("0").0, 3, "functions come first");
    sriov_manage(&machine, &["-e", L40S]);
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1150").expect("free");
    let (status, text) = mixed("0");
    assert_eq!(status, 19, "created is enough, it need not run");
    assert!(text.contains("In use by another client"), "{text}");
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "0").expect("idle");
    assert_eq!(mixed("0").0, 0);
    // Now two sizes share the GPU.
    fs::write(machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type"), "1150").expect("4 GB");
    fs::write(machine.pci("0000:86:00.5").join("nvidia/current_vgpu_type"), "1155").expect("24 GB");
    let places = smi(&machine, &["vgpu", "-c", "-v", "-i", "0"]).1;
    assert!(places.contains("        Creatable vGPU Placement IDs      : 4 8 12 16 20\n"), "{places}");
}

#[test]
fn programs_are_there_only_with_a_gpu_of_their_vendor() {
    let Some(machine) = Blueprint::new().mount_or_skip() else { return };
    assert!(!machine.path("usr").exists());
    let Some(machine) = Blueprint::new().with(Gpu::tesla_t4(T4)).mount_or_skip() else { return };
    assert_eq!(list(machine.path("usr/bin")), ["nvidia-smi"]);
    assert_eq!(smi(&machine, &["-L"]), (0, "GPU 0: Tesla T4\n".to_owned()));
    assert_eq!(smi(&machine, &["-i", "7", "-L"]), (6, "No devices were found\n".to_owned()));
    assert_eq!(smi(&machine, &["--brew-coffee"]).0, 2);
    create(&machine, T4, 232, &uuid(1)).expect("programs have left nothing behind");
}
