//! Section 10.2: NVIDIA's vendor-specific VFIO.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use headstart_simsysfs::nvidia::Gpu;
use headstart_simsysfs::{Blueprint, Errno, Machine};

use crate::{blocked_write, errno, list, read, write};

const PF: &str = "0000:86:00.0";
const VF: &str = "0000:86:00.4";
const SIBLING: &str = "0000:86:00.5";

fn machine(gpu: Gpu) -> Option<Machine> {
    Blueprint::new().with(gpu.vfs_enabled()).mount_or_skip()
}

fn file(machine: &Machine, vf: &str, name: &str) -> PathBuf {
    machine.pci(vf).join("nvidia").join(name)
}

fn set(machine: &Machine, vf: &str, text: &str) -> std::io::Result<()> {
    fs::write(file(machine, vf, "current_vgpu_type"), text)
}

fn creatable(machine: &Machine, vf: &str) -> String {
    fs::read_to_string(file(machine, vf, "creatable_vgpu_types")).expect("a list")
}

#[test]
fn functions_look_as_the_reference_says() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    assert_eq!(list(machine.pci(VF).join("nvidia")), ["creatable_vgpu_types", "current_vgpu_type", "vgpu_params"]);
    assert_eq!(fs::read_link(machine.pci(VF).join("driver")).expect("bound").file_name(), Some("nvidia".as_ref()));
    assert_eq!(fs::read_link(machine.pci(VF).join("physfn")).expect("a link").to_str(), Some("../0000:86:00.0"));
    assert_eq!(list(machine.pci(VF).join("vfio-dev")).len(), 1);
    assert!(machine.pci(VF).join("iommu_group").exists());
    assert!(!machine.pci(PF).join("nvidia").exists());
    assert!(!machine.pci(PF).join("vfio-dev").exists());
    assert!(!machine.path("sys/class/mdev_bus").exists());
}

#[test]
fn the_list_has_a_header_and_shrinks_as_siblings_fill() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    let all = creatable(&machine, VF);
    assert!(all.starts_with("ID    : vGPU Name\n1145  : NVIDIA L40S-1B\n"), "{all}");
    assert!(all.contains("\n1155  : NVIDIA L40S-24Q\n"), "{all}");
    set(&machine, SIBLING, "1155").expect("free");
    assert_eq!(
        creatable(&machine, VF),
        "ID    : vGPU Name\n1155  : NVIDIA L40S-24Q\n1165  : NVIDIA L40S-24A\n",
        "only types of the same size"
    );
    set(&machine, VF, "1165").expect("the other half");
    assert_eq!(creatable(&machine, "0000:86:00.6"), "ID    : vGPU Name\n", "the header only");
}

#[test]
fn the_header_has_variants() {
    let Some(bare) = machine(Gpu::l40s(PF).no_header()) else { return };
    assert!(creatable(&bare, VF).starts_with("1145  : "));
    set(&bare, VF, "1156").expect("free");
    assert_eq!(creatable(&bare, SIBLING), "");
    let Some(polite) = machine(Gpu::l40s(PF).no_header_over_nothing()) else { return };
    assert!(creatable(&polite, VF).starts_with("ID    : vGPU Name\n"));
    set(&polite, VF, "1156").expect("free");
    assert_eq!(creatable(&polite, SIBLING), "");
}

#[test]
fn the_current_type_is_zero_or_the_number() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    let current = file(&machine, VF, "current_vgpu_type");
    assert_eq!(read(&current), "0");
    set(&machine, VF, "1150\n").expect("free");
    assert_eq!(read(&current), "1150");
    set(&machine, VF, "0").expect("idle");
    assert_eq!(read(&current), "0");
}

#[test]
fn each_refusal_has_its_errno() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    assert_eq!(errno(set(&machine, VF, "Q")), Errno::EINVAL);
    assert_eq!(errno(set(&machine, VF, "\n")), Errno::EINVAL);
    assert_eq!(errno(set(&machine, VF, "4294967296")), Errno::ERANGE);
    assert_eq!(errno(set(&machine, VF, "7")), Errno::EIO, "no such type");
    assert_eq!(errno(set(&machine, VF, "0")), Errno::EPERM, "nothing to clear");
    set(&machine, VF, "1150").expect("free");
    assert_eq!(errno(set(&machine, VF, "1151")), Errno::EPERM, "has one already");
    assert_eq!(errno(set(&machine, VF, "1150")), Errno::EPERM, "the same one already");
    assert_eq!(errno(set(&machine, SIBLING, "1151")), Errno::EIO, "another size");
    machine.open(VF, "desktop").expect("opened");
    assert_eq!(errno(set(&machine, VF, "0")), Errno::EPERM, "open");
    assert_eq!(read(file(&machine, VF, "current_vgpu_type")), "1150");
}

#[test]
fn the_nouveau_rfc_has_other_codes() {
    let Some(machine) = machine(Gpu::l40s(PF).nouveau_codes()) else { return };
    assert_eq!(errno(set(&machine, VF, "7")), Errno::ENODEV);
    set(&machine, VF, "1150").expect("free");
    assert_eq!(creatable(&machine, VF), "ID    : vGPU Name\n");
    assert_eq!(errno(set(&machine, VF, "1151")), Errno::EBUSY);
    machine.open(VF, "desktop").expect("opened");
    assert_eq!(errno(set(&machine, VF, "0")), Errno::EBUSY);
}

#[test]
fn the_size_class_reopens_with_the_last_vgpu() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    set(&machine, VF, "1150").expect("free");
    set(&machine, SIBLING, "1150").expect("free");
    set(&machine, VF, "0").expect("idle");
    assert_eq!(errno(set(&machine, VF, "1156")), Errno::EIO);
    set(&machine, SIBLING, "0").expect("idle");
    set(&machine, VF, "1156").expect("the whole GPU is free");
}

#[test]
fn a_lingering_process_makes_zero_busy_after_five_seconds() {
    let gpu = Gpu::l40s(PF).vfs_enabled().lingering(Duration::MAX);
    let Some(machine) = Blueprint::new().with(gpu).time_by_hand().mount_or_skip() else { return };
    set(&machine, VF, "1150").expect("free");
    machine.open(VF, "desktop").expect("opened");
    machine.close(VF);
    let current = file(&machine, VF, "current_vgpu_type");
    let writer = blocked_write(&machine, current.clone(), "0");
    machine.advance(Duration::from_secs(5));
    assert_eq!(errno(writer.join().expect("no panic")), Errno::EBUSY);
    assert_eq!(read(&current), "1150");
    let writer = blocked_write(&machine, current.clone(), "0");
    machine.end_lingering(VF);
    writer.join().expect("no panic").expect("cleared");
    assert_eq!(read(&current), "0");
}

#[test]
fn newer_files_answer_enxio_without_a_vgpu() {
    let Some(machine) = machine(Gpu::l40s(PF).mixed_size().extra_files()) else { return };
    for name in ["placement_id", "gpu_instance_id"] {
        assert_eq!(errno(fs::read(file(&machine, VF, name))), Errno::ENXIO, "{name}");
    }
    set(&machine, VF, "1155").expect("free");
    assert_eq!(read(file(&machine, VF, "placement_id")), "0");
    write(file(&machine, VF, "placement_id"), "24");
    assert_eq!(read(file(&machine, VF, "placement_id")), "24");
    assert_eq!(read(file(&machine, VF, "gpu_instance_id")), "Not Applicable");
}

#[test]
fn parameters_behave_as_those_of_mdevs() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    let params = file(&machine, VF, "vgpu_params");
    assert_eq!(errno(fs::write(&params, "disable_vnc=1")), Errno::ENXIO, "no vGPU to have them");
    set(&machine, VF, "1150").expect("free");
    write(&params, "disable_vnc=1");
    assert_eq!(read(&params), "disable_vnc=1");
    machine.open(VF, "desktop").expect("opened");
    assert_eq!(errno(fs::write(&params, " ")), Errno::EPERM);
}

#[test]
fn a_vm_cannot_open_a_function_without_a_type() {
    let Some(machine) = machine(Gpu::l40s(PF)) else { return };
    assert_eq!(machine.open(VF, "desktop"), Err(Errno::ENODEV));
    set(&machine, VF, "1150").expect("free");
    machine.open(VF, "desktop").expect("a type is set");
    assert_eq!(machine.open(VF, "another"), Err(Errno::EBUSY));
}

#[test]
fn a_raw_write_of_sriov_numvfs_is_refused() {
    let Some(machine) = Blueprint::new().with(Gpu::l40s(PF)).mount_or_skip() else { return };
    assert_eq!(errno(fs::write(machine.pci(PF).join("sriov_numvfs"), "32")), Errno::ENOENT);
    assert!(!machine.pci(PF).join("virtfn0").exists());
}
