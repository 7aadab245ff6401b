//! What headstart looks at in `/sys`: GPUs and whatever else can have virtual functions, mdev parents, their types and mdevs, drivers,
//! IOMMU groups; and what NVIDIA's driver tells beside it.
//!
//! Reading a file of sysfs may do something, so only files of these names are opened, and none that cannot be read by its mode.
//! `sriov_numvfs` is counted, not read: a read waits for whoever is writing it. What NVML and `nvidia-smi` tell is not here, so a card
//! in MIG mode is captured without its GPU instances.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use super::{Entry, Tree};

/// Links to all PCI functions.
pub(super) const PCI_DEVICES: &str = "sys/bus/pci/devices/";
const MDEV_PARENTS: &str = "sys/class/mdev_bus/";
const MDEVS: &str = "sys/bus/mdev/devices/";
const NVIDIA: &str = "proc/driver/nvidia/gpus/";
/// The types of all boards, as NVIDIA's host driver installs them.
const TABLE: &str = "usr/share/nvidia/vgpu/vgpuConfig.xml";
/// Longest file of a device that is taken.
const LONGEST: u64 = 64 << 10;
/// Longest table that is taken; it has a few hundred kilobytes.
const LONGEST_TABLE: u64 = 16 << 20;
/// A folder of types has a folder for each type, and in it a folder of devices.
const DEEPEST: usize = 4;

/// Files of a device.
const FILES: [&str; 20] = [
    "available_instances",
    "class",
    "current_vgpu_type",
    "dev",
    "device",
    "device_api",
    "driver_override",
    "enable",
    "local_cpulist",
    "numa_node",
    "remove",
    "revision",
    "sriov_drivers_autoprobe",
    "sriov_offset",
    "sriov_stride",
    "sriov_totalvfs",
    "sriov_vf_device",
    "subsystem_device",
    "subsystem_vendor",
    "vendor",
];
/// Folders of a device that are taken whole.
const FOLDERS: [&str; 2] = ["mdev_supported_types", "vfio-dev"];
/// What is taken of the folder that NVIDIA's driver gives a vGPU or a VF.
const NVIDIA_FILES: [&str; 6] =
    ["creatable_vgpu_types", "current_vgpu_type", "gpu_instance_id", "placement_id", "vgpu_params", "vm_name"];
/// Links of a device, beside those to its VFs.
const LINKS: [&str; 4] = ["driver", "iommu_group", "mdev_type", "physfn"];

/// Reads all of it.
///
/// # Errors
/// There is no PCI bus to list.
pub(super) fn read(root: &Path, tree: &mut Tree) -> io::Result<()> {
    let host = Host { root };
    for folder in [PCI_DEVICES, MDEV_PARENTS, MDEVS] {
        // That it is there and empty tells something, too.
        if root.join(folder).is_dir() {
            tree.entries.insert(folder.trim_end_matches('/').to_owned(), Entry::Folder);
        }
    }
    for name in host.list(PCI_DEVICES)? {
        let link = format!("{PCI_DEVICES}{name}");
        if host.is_of_interest(&link) {
            host.linked_device(&link, tree);
        }
    }
    for folder in [MDEV_PARENTS, MDEVS] {
        for name in host.list(folder).unwrap_or_default() {
            host.linked_device(&format!("{folder}{name}"), tree);
        }
    }
    for name in host.list(NVIDIA).unwrap_or_default() {
        host.file(&format!("{NVIDIA}{name}/information"), LONGEST, tree);
    }
    host.file(TABLE, LONGEST_TABLE, tree);
    Ok(())
}

/// The release of the kernel.
pub(super) fn kernel(root: &Path) -> String {
    let release = fs::read_to_string(root.join("proc/sys/kernel/osrelease"));
    release.map_or_else(|_| "of unknown release".to_owned(), |release| release.trim().to_owned())
}

struct Host<'a> {
    root: &'a Path,
}

impl Host<'_> {
    /// Names in a folder, in order.
    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = fs::read_dir(self.root.join(folder))?;
        let mut names: Vec<String> = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect();
        names.sort();
        Ok(names)
    }

    /// A display controller, an accelerator, or anything else that has VFs or is one.
    fn is_of_interest(&self, device: &str) -> bool {
        let text = |file: &str| fs::read_to_string(self.root.join(device).join(file)).unwrap_or_default();
        let class = text("class");
        let has = |name: &str| self.root.join(device).join(name).symlink_metadata().is_ok();
        class.starts_with("0x03")
            || class.starts_with("0x12")
            || has("physfn")
            || has("mdev_supported_types")
            || text("sriov_totalvfs").trim().parse::<u32>().is_ok_and(|vfs| vfs > 0)
    }

    /// A link and the device that it leads to.
    fn linked_device(&self, link: &str, tree: &mut Tree) {
        let Some(target) = self.link(link, tree) else { return };
        self.device(&target, tree);
    }

    /// A link; where it leads, below the root.
    fn link(&self, path: &str, tree: &mut Tree) -> Option<String> {
        let text = fs::read_link(self.root.join(path)).ok()?;
        let target = resolve(path, &text)?;
        tree.entries.insert(path.to_owned(), Entry::Link(text.to_str()?.to_owned()));
        Some(target)
    }

    fn device(&self, folder: &str, tree: &mut Tree) {
        tree.entries.insert(folder.to_owned(), Entry::Folder);
        let names = self.list(folder).unwrap_or_default();
        for name in &names {
            let path = format!("{folder}/{name}");
            if FILES.contains(&name.as_str()) {
                self.file(&path, LONGEST, tree);
            } else if name == "sriov_numvfs" {
                let vfs = names.iter().filter(|name| name.starts_with("virtfn")).count();
                tree.entries.insert(path, Entry::File(format!("{vfs}\n").into_bytes()));
            } else if name == "nvidia" {
                self.nvidia(&path, tree);
            } else if name == "drm" {
                for node in self.list(&path).unwrap_or_default() {
                    tree.entries.insert(format!("{path}/{node}"), Entry::Folder);
                }
            } else if name == "net" {
                self.interfaces(&path, tree);
            } else if FOLDERS.contains(&name.as_str()) {
                self.whole(&path, DEEPEST, tree);
            } else if LINKS.contains(&name.as_str()) || name.starts_with("virtfn") {
                let target = self.link(&path, tree);
                match (name.as_str(), target) {
                    ("iommu_group", Some(group)) => self.group(&group, tree),
                    // What a link leads to is there, if only as an empty folder.
                    (_, Some(target)) => {
                        tree.entries.entry(target).or_insert(Entry::Folder);
                    }
                    (_, None) => {}
                }
            }
        }
    }

    fn nvidia(&self, folder: &str, tree: &mut Tree) {
        tree.entries.insert(folder.to_owned(), Entry::Folder);
        for name in self.list(folder).unwrap_or_default().iter().filter(|name| NVIDIA_FILES.contains(&name.as_str())) {
            self.file(&format!("{folder}/{name}"), LONGEST, tree);
        }
    }

    /// Network interfaces by number: whether they are up, and part of something. What they are called is somebody's choice.
    fn interfaces(&self, folder: &str, tree: &mut Tree) {
        for (n, name) in self.list(folder).unwrap_or_default().iter().enumerate() {
            let (from, to) = (format!("{folder}/{name}"), format!("{folder}/net{n}"));
            if let Ok(flags) = fs::read(self.root.join(&from).join("flags")) {
                tree.entries.insert(format!("{to}/flags"), Entry::File(flags));
            }
            if fs::read_link(self.root.join(&from).join("master")).is_ok() {
                tree.entries.insert(format!("{to}/master"), Entry::Link("../master".to_owned()));
            }
        }
    }

    fn group(&self, group: &str, tree: &mut Tree) {
        if tree.entries.insert(group.to_owned(), Entry::Folder).is_some() {
            return;
        }
        self.file(&format!("{group}/type"), LONGEST, tree);
        let devices = format!("{group}/devices");
        for name in self.list(&devices).unwrap_or_default() {
            self.link(&format!("{devices}/{name}"), tree);
        }
    }

    /// A folder with all that is in it, except what other links lead to.
    fn whole(&self, folder: &str, depth: usize, tree: &mut Tree) {
        tree.entries.insert(folder.to_owned(), Entry::Folder);
        for name in self.list(folder).unwrap_or_default() {
            let path = format!("{folder}/{name}");
            match self.root.join(&path).symlink_metadata() {
                Ok(metadata) if metadata.is_symlink() && name != "subsystem" => {
                    self.link(&path, tree);
                }
                Ok(metadata) if metadata.is_dir() && name != "power" && depth > 0 => {
                    self.whole(&path, depth - 1, tree);
                }
                Ok(metadata) if metadata.is_file() && name != "uevent" => self.file(&path, LONGEST, tree),
                _ => {}
            }
        }
    }

    /// A file; one that can only be written is there and empty.
    fn file(&self, path: &str, longest: u64, tree: &mut Tree) {
        let whole = self.root.join(path);
        let Ok(metadata) = whole.metadata() else { return };
        let mut bytes = Vec::new();
        if metadata.permissions().mode() & 0o444 != 0 {
            let read = fs::File::open(&whole).and_then(|file| file.take(longest).read_to_end(&mut bytes));
            if let Err(error) = read {
                tree.unread.push(format!("/{path}: {error}"));
                bytes.clear();
            }
        }
        tree.entries.insert(path.to_owned(), Entry::File(bytes));
    }
}

/// Where a link leads, below the root; none if out of it.
fn resolve(link: &str, text: &Path) -> Option<String> {
    let mut target = PathBuf::from(link);
    target.pop();
    for component in text.components() {
        match component {
            Component::ParentDir => {
                if !target.pop() {
                    return None;
                }
            }
            Component::Normal(name) => target.push(name),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => target = PathBuf::new(),
        }
    }
    target.to_str().filter(|target| !target.is_empty()).map(str::to_owned)
}
