//! Section 3.3: MIG.

use std::fs;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Machine};

use crate::mdev::{available, create};
use crate::programs::{run, smi};
use crate::{errno, read, uuid};

const PF: &str = "0000:07:00.0";
const VF: &str = "0000:07:00.4";

fn mig(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    smi(machine, &[&["mig"], arguments].concat())
}

/// How many instances the driver lists.
fn instances(machine: &Machine) -> usize {
    mig(machine, &["-lgi"]).1.lines().filter(|line| line.contains(" MIG ")).count()
}

#[test]
fn types_are_open_in_one_mode_only() {
    let Some(machine) = Blueprint::new().with(Gpu::a100(PF)).mount_or_skip() else { return };
    assert_eq!(run(&machine, "usr/lib/nvidia/sriov-manage", &["-e", PF]).0, 0);
    assert_eq!([available(&machine, VF, 469), available(&machine, VF, 474)], ["1", "0"]);
    assert_eq!(errno(create(&machine, VF, 474, &uuid(1))), Errno::EIO);
    assert_eq!(smi(&machine, &["-i", "0", "-mig", "1"]).0, 0);
    assert_eq!([available(&machine, VF, 469), available(&machine, VF, 474)], ["0", "0"]);
    assert_eq!(errno(create(&machine, VF, 474, &uuid(1))), Errno::EIO, "there is no GPU instance yet");
    assert_eq!(errno(create(&machine, VF, 469, &uuid(1))), Errno::EIO, "time-sliced");
    assert_eq!(mig(&machine, &["-cgi", "19"]).0, 0);
    assert_eq!(available(&machine, VF, 474), "1");
    create(&machine, VF, 474, &uuid(1)).expect("an instance of its profile is free");
    assert_eq!(available(&machine, "0000:07:00.5", 474), "0");
}

#[test]
fn instances_are_created_listed_and_destroyed() {
    let Some(machine) = Blueprint::new().with(Gpu::a100(PF).mig_enabled()).mount_or_skip() else { return };
    assert_eq!(mig(&machine, &["-lgi"]), (6, "No GPU instances found: Not Found\n".to_owned()));
    let (status, text) = mig(&machine, &["-cgi", "9,2g.10gb", "-i", "0"]);
    assert_eq!(status, 0);
    assert_eq!(
        text,
        "Successfully created GPU instance ID  1 on GPU  0 using profile MIG 3g.20gb (ID  9)\n\
         Successfully created GPU instance ID  2 on GPU  0 using profile MIG 2g.10gb (ID 14)\n"
    );
    let listed = mig(&machine, &["-lgi"]).1;
    assert!(listed.contains("|   0  MIG 3g.20gb         9        1           0:4     |\n"), "{listed}");
    assert!(listed.contains("|   0  MIG 2g.10gb        14        2           4:2     |\n"), "{listed}");

    let (status, text) = mig(&machine, &["-cgi", "19,19"]);
    assert_eq!(status, 23, "the second finds no place");
    assert!(text.ends_with("Failed to create GPU instances: Insufficient Resources\n"), "{text}");
    assert_eq!(instances(&machine), 3, "the one before it stays");
    assert_eq!(mig(&machine, &["-cgi", "77"]).0, 6);

    assert_eq!(
        mig(&machine, &["-dgi", "-gi", "2"]),
        (0, "Successfully destroyed GPU instance ID  2 from GPU  0\n".to_owned())
    );
    assert_eq!(mig(&machine, &["-dgi", "-gi", "2"]).0, 6);
    assert_eq!(mig(&machine, &["-dgi"]).0, 0);
    assert_eq!(instances(&machine), 0);
}

#[test]
fn profiles_tell_what_is_free() {
    let Some(machine) = Blueprint::new().with(Gpu::a100(PF).gpu_instances(&[5])).mount_or_skip() else { return };
    let listed = mig(&machine, &["-lgip"]).1;
    let free = |name: &str| {
        let line = listed.lines().find(|line| line.contains(&format!("MIG {name} "))).expect("listed");
        line.split_whitespace().find(|word| word.contains('/')).expect("free/total").to_owned()
    };
    // Four of seven engine slices and the first half of memory are taken.
    assert_eq!(["1g.5gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb"].map(free), ["3/7", "1/3", "1/2", "0/1", "0/1"]);
}

#[test]
fn an_instance_in_use_is_not_destroyed() {
    let gpu = Gpu::h100(PF).gpu_instances(&[19, 19]).vfs_enabled().extra_files();
    let Some(machine) = Blueprint::new().with(gpu).mount_or_skip() else { return };
    let file = |name: &str| machine.pci(VF).join("nvidia").join(name);
    fs::write(file("current_vgpu_type"), "829").expect("an instance is free");
    assert_eq!(read(file("gpu_instance_id")), "1");
    assert_eq!(mig(&machine, &["-dgi", "-gi", "1"]).0, 19);
    assert_eq!(instances(&machine), 2);
    // It may be moved to the other while nobody uses it.
    assert_eq!(errno(fs::write(file("gpu_instance_id"), "7")), Errno::EINVAL);
    fs::write(file("gpu_instance_id"), "2").expect("free");
    assert_eq!(mig(&machine, &["-dgi", "-gi", "1"]).0, 0);
}

#[test]
fn sriov_manage_wipes_instances_and_mig_off_needs_functions_off() {
    let gpu = Gpu::a100(PF).gpu_instances(&[19, 19, 19]);
    let Some(machine) = Blueprint::new().with(gpu).mount_or_skip() else { return };
    assert_eq!(instances(&machine), 3);
    run(&machine, "usr/lib/nvidia/sriov-manage", &["-e", PF]);
    assert_eq!(instances(&machine), 0);
    assert_eq!(smi(&machine, &["-i", "0", "-mig", "0"]).0, 19, "functions are enabled");
    run(&machine, "usr/lib/nvidia/sriov-manage", &["-d", PF]);
    assert_eq!(smi(&machine, &["-i", "0", "-mig", "0"]).0, 0);
    assert_eq!(mig(&machine, &["-lgi"]), (6, "No MIG-enabled devices found.\n".to_owned()));
}

#[test]
fn the_mode_is_pending_while_the_gpu_is_in_use() {
    let Some(machine) = Blueprint::new().with(Gpu::a100(PF)).mount_or_skip() else { return };
    machine.hold_gpu(PF, "nvidia-persistenced");
    let (status, text) = smi(&machine, &["-i", "0", "-mig", "1"]);
    assert_eq!(status, 0);
    assert!(text.contains("pending enable state"), "{text}");
    let query = smi(&machine, &["-q"]).1;
    assert!(query.contains("        Current                           : Disabled\n"), "{query}");
    assert!(query.contains("        Pending                           : Enabled\n"), "{query}");
    machine.reload_driver(PF);
    assert!(smi(&machine, &["-q"]).1.contains("        Current                           : Enabled\n"));
}

#[test]
fn the_mode_outlives_a_reboot_on_ampere_only_and_instances_never() {
    let h100 = "0000:b7:00.0";
    let gpus = [Gpu::a100(PF).gpu_instances(&[19]), Gpu::h100(h100).gpu_instances(&[19])];
    let Some(machine) = Blueprint::new().with_all(gpus).mount_or_skip() else { return };
    machine.reboot();
    assert_eq!(mig(&machine, &["-i", "0", "-lgi"]).1, "No GPU instances found: Not Found\n");
    assert_eq!(mig(&machine, &["-i", "1", "-lgi"]).1, "No MIG-enabled devices found.\n");
}

#[test]
fn a_gpu_without_mig_says_so() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(PF)).mount_or_skip() else { return };
    assert_eq!(smi(&machine, &["-i", "0", "-mig", "1"]).0, 3);
    assert_eq!(mig(&machine, &["-lgip"]).0, 6);
}
