//! One look at the hardware of a host with 16 PFs of 16 VFs each, against reading every file of the same tree once.
//!
//! The tree is what the simulated sysfs would show, written as plain files into memory: a look pays for its system calls and its own
//! work, and not for a file system in user space. That no directory is read twice is no figure but a test (`daemon/tests/hardware`).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, ensure};
use headstart_core::id::{GpuId, PciAddress};
use headstart_simsysfs::{Blueprint, nvidia, sriov};
use headstartd::host::hardware::{GpuRule, Hardware, HardwareSeen, Patience};
use headstartd::host::sysfs::SysfsRoot;

use crate::table::{Figure, Table, Target};

const PFS: u8 = 16;
const VFS: u16 = 16;
/// Looks of each kind; their median counts.
const LOOKS: usize = 41;
/// Milliseconds that are promised.
const MOST: f64 = 50.0;
/// A folder in memory, so that no disk is measured.
const IN_MEMORY: &str = "/dev/shm";
/// NVIDIA's number of L40S-3Q, of which a card takes sixteen.
const L40S_3Q: &str = "1149\n";

pub(crate) fn measure(table: &mut Table) -> anyhow::Result<()> {
    let l40s = nvidia::Gpu::l40s("0000:10:00.0").vfs(VFS).vfs_enabled().times(PFS);
    let a40 = nvidia::Gpu::a40("0000:10:00.0").vfs(VFS).vfs_enabled().times(PFS);
    let flex = sriov::Device::flex_170("0000:10:00.0").vfs(VFS).enabled(VFS).times(PFS);
    one("vendor VFIO, empty", Blueprint::new().with_all(l40s.clone()), false, table)?;
    one("vendor VFIO, a vGPU on every VF", Blueprint::new().with_all(l40s), true, table)?;
    one("mdevs on VFs", Blueprint::new().with_all(a40), false, table)?;
    one("VFs handed out whole", Blueprint::new().with_all(flex), false, table)
}

fn one(name: &str, blueprint: Blueprint, full: bool, table: &mut Table) -> anyhow::Result<()> {
    let memory = Path::new(IN_MEMORY);
    let folder = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
    let folder = folder.context("no scratch folder")?;
    blueprint.unmounted().write_tree(folder.path()).context("the simulated tree cannot be written")?;
    let root = SysfsRoot::new(folder.path());
    let pfs = pfs(folder.path())?;
    let rules = pfs.iter().map(|pf| GpuRule::of(GpuId::Pci(*pf))).collect();
    let hardware = Hardware::with(root, rules, None, Patience::default());
    // The first look learns what a card offers while it is empty.
    complete(&hardware.observe())?;
    if full {
        fill(folder.path(), &pfs)?;
    }
    let files = files(&folder.path().join("sys"))?;
    let (mut looks, mut plain) = (Vec::new(), Vec::new());
    // In turns, so that a disturbance hits both.
    for _ in 0..LOOKS {
        let began = Instant::now();
        let seen = hardware.observe();
        looks.push(began.elapsed().as_secs_f64());
        complete(&seen)?;
        let vgpus: usize = seen.gpus.values().map(|gpu| gpu.vgpus.len()).sum();
        ensure!(!full || vgpus == usize::from(PFS) * usize::from(VFS), "{vgpus} vGPUs were seen");
        let began = Instant::now();
        for file in &files {
            std::hint::black_box(fs::read(file)?);
        }
        plain.push(began.elapsed().as_secs_f64());
    }
    let baseline = format!("reading each of its {} files", files.len());
    let baseline = Some((baseline.as_str(), Figure::new(median(plain), "ms")));
    table.row(
        &format!("{PFS} PFs x {VFS} VFs, {name}"),
        Figure::new(median(looks), "ms"),
        Target::Below(MOST),
        baseline,
    );
    Ok(())
}

/// A look that missed something would be quick.
fn complete(seen: &HardwareSeen) -> anyhow::Result<()> {
    let whole = seen.gpus.values().all(|gpu| gpu.vfs.len() == usize::from(VFS) && !gpu.profiles.is_empty());
    ensure!(seen.gpus.len() == usize::from(PFS) && whole, "not all was seen: {:?}", seen.problems);
    Ok(())
}

/// The PFs of a tree.
fn pfs(root: &Path) -> anyhow::Result<Vec<PciAddress>> {
    let mut pfs = Vec::new();
    for entry in fs::read_dir(root.join("sys/bus/pci/devices"))? {
        let entry = entry?;
        if entry.path().join("sriov_totalvfs").exists() {
            pfs.push(entry.file_name().to_string_lossy().parse()?);
        }
    }
    pfs.sort_unstable();
    Ok(pfs)
}

/// Puts a vGPU on every VF.
fn fill(root: &Path, pfs: &[PciAddress]) -> anyhow::Result<()> {
    for pf in pfs {
        for n in 0..VFS {
            let file = root.join(format!("sys/bus/pci/devices/{pf}/virtfn{n}/nvidia/current_vgpu_type"));
            fs::write(&file, L40S_3Q).with_context(|| file.display().to_string())?;
        }
    }
    Ok(())
}

/// All files below a folder that are not empty; links are not followed.
fn files(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let metadata = entry.metadata()?;
        if metadata.is_dir() {
            found.extend(files(&entry.path())?);
        } else if metadata.is_file() && metadata.len() > 0 {
            found.push(entry.path());
        }
    }
    Ok(found)
}

/// Milliseconds, of seconds.
fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2] * 1e3
}
