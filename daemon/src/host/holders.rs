//! Who has a device open: the open files of all processes, as `/proc` shows them.
//!
//! libvirt knows only its own domains; another manager's QEMU, a script or a hung process hold a VFIO group as well, and taking a device
//! from under them blocks in the kernel or rips it out of a guest. What cannot be looked into counts as holding everything.
//! Deliberately not here: whether a driver itself says that a device is in use (`vm_name`), and any signal to anybody.

use std::collections::BTreeMap;

use headstart_core::gpu::Opened;
use nix::errno::Errno;

use super::sysfs::{SysfsError, SysfsRoot};

/// Folders of `/dev` whose files are of interest: VFIO groups and cdevs, render and display nodes.
const FOLDERS: [&str; 2] = ["/dev/vfio/", "/dev/dri/"];
/// The files of NVIDIA's driver, one per GPU.
const NVIDIA: &str = "/dev/nvidia";

/// Who holds what, in one look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Holders {
    /// By path of the device file.
    files: BTreeMap<String, Vec<String>>,
    /// Why not everything was seen.
    unseen: Option<String>,
}

/// The files through which a device is used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Nodes(Vec<String>);

impl Nodes {
    /// The files of a device, from its directory in sysfs: `/dev/vfio/<group>`, and `/dev/vfio/devices/<cdev>` where the kernel has
    /// such.
    ///
    /// # Errors
    /// The links cannot be read.
    pub(super) fn vfio(root: &SysfsRoot, device: &str) -> Result<Self, SysfsError> {
        let mut nodes = Vec::new();
        if let Some(group) = super::sysfs::optional(root.link_name(&format!("{device}/iommu_group")))? {
            nodes.push(format!("/dev/vfio/{group}"));
            // A group of a device without an IOMMU has a file of this name.
            nodes.push(format!("/dev/vfio/noiommu-{group}"));
        }
        let cdevs = super::sysfs::optional(root.list(&format!("{device}/vfio-dev")))?.unwrap_or_default();
        nodes.extend(cdevs.iter().map(|cdev| format!("/dev/vfio/devices/{cdev}")));
        Ok(Self(nodes))
    }

    /// The files of a device that the host's graphics driver has bound.
    pub(super) fn dri(names: &[String]) -> Self {
        Self(names.iter().map(|name| format!("/dev/dri/{name}")).collect())
    }

    /// One file.
    pub(super) fn file(path: String) -> Self {
        Self(vec![path])
    }
}

impl Holders {
    /// Looks at the open files of all processes.
    pub(super) fn scan(root: &SysfsRoot) -> Self {
        let mut holders = Self::default();
        let names = match root.list("proc") {
            Ok(names) => names,
            Err(error) => {
                holders.unseen = Some(error.to_string());
                return holders;
            }
        };
        for process in names.iter().filter(|name| name.bytes().all(|b| b.is_ascii_digit())) {
            holders.look_into(root, process);
        }
        holders
    }

    fn look_into(&mut self, root: &SysfsRoot, process: &str) {
        let folder = format!("proc/{process}/fd");
        let files = match root.list(&folder) {
            Ok(files) => files,
            Err(error) => return self.unless_gone(&error),
        };
        let mut who = None;
        for file in files {
            let target = match root.link(&format!("{folder}/{file}")) {
                Ok(target) => target,
                Err(error) => {
                    self.unless_gone(&error);
                    continue;
                }
            };
            let target = target.to_string_lossy();
            let wanted = FOLDERS.iter().any(|folder| target.starts_with(folder)) || target.starts_with(NVIDIA);
            if !wanted {
                continue;
            }
            let who = who.get_or_insert_with(|| called(root, process));
            let holders = self.files.entry(target.into_owned()).or_default();
            if holders.last() != Some(who) {
                holders.push(who.clone());
            }
        }
    }

    /// A process that ended meanwhile holds nothing; one that hides its files may hold anything.
    fn unless_gone(&mut self, error: &SysfsError) {
        if error.is_absent() || error.errno() == Some(Errno::ESRCH) {
            return;
        }
        self.unseen
            .get_or_insert_with(|| format!("{error}; headstartd needs CAP_SYS_PTRACE to see who has a device open"));
    }

    /// Who has a device with these files open.
    pub(super) fn opened(&self, nodes: &Nodes) -> Opened {
        let mut held = nodes.0.iter().filter_map(|node| self.files.get(node)).flatten();
        match (held.next(), &self.unseen) {
            (Some(who), _) => Opened::By(who.clone()),
            (None, Some(why)) => Opened::Unknown(why.clone()),
            (None, None) => Opened::No,
        }
    }
}

/// What people call a process: a guest's QEMU by the guest's name, another one by its program's.
fn called(root: &SysfsRoot, process: &str) -> String {
    // libvirt starts each as `... -name guest=NAME,debug-threads=on ...`.
    let command = root.read_table(&format!("proc/{process}/cmdline")).unwrap_or_default();
    let mut words = command.split('\0').skip_while(|word| *word != "-name").skip(1);
    let guest = words.next().and_then(|name| name.strip_prefix("guest=")).and_then(|name| name.split(',').next());
    let name = match guest {
        Some(guest) => format!("the guest {guest}"),
        None => match root.read(&format!("proc/{process}/comm")) {
            Ok(name) => name,
            Err(_) => return format!("process {process}"),
        },
    };
    format!("{name} (process {process})")
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    fn process(root: &Path, id: &str, name: &str, files: &[&str]) {
        let fd = root.join("proc").join(id).join("fd");
        fs::create_dir_all(&fd).unwrap();
        fs::write(root.join("proc").join(id).join("comm"), format!("{name}\n")).unwrap();
        for (n, file) in files.iter().enumerate() {
            symlink(file, fd.join(n.to_string())).unwrap();
        }
    }

    fn device(root: &Path, name: &str, group: &str, cdev: Option<&str>) -> String {
        let folder = format!("sys/devices/{name}");
        fs::create_dir_all(root.join(&folder)).unwrap();
        symlink(format!("../../kernel/iommu_groups/{group}"), root.join(&folder).join("iommu_group")).unwrap();
        if let Some(cdev) = cdev {
            fs::create_dir_all(root.join(&folder).join("vfio-dev").join(cdev)).unwrap();
        }
        folder
    }

    #[test]
    fn a_device_is_held_through_its_group_or_its_cdev() {
        let folder = tempfile::tempdir().unwrap();
        let root = SysfsRoot::new(folder.path());
        process(folder.path(), "1", "systemd", &["/dev/null", "socket:[17]"]);
        process(folder.path(), "312", "qemu-system-x86", &["/dev/vfio/vfio", "/dev/vfio/42", "/dev/vfio/42"]);
        process(folder.path(), "313", "qemu-system-x86", &["/dev/vfio/devices/vfio3"]);
        let command = "/usr/bin/qemu-system-x86_64\0-name\0guest=studio,debug-threads=on\0-S\0";
        fs::write(folder.path().join("proc/313/cmdline"), command).unwrap();
        fs::create_dir_all(folder.path().join("proc/sys")).unwrap();
        let holders = Holders::scan(&root);
        let opened =
            |name, group, cdev| holders.opened(&Nodes::vfio(&root, &device(folder.path(), name, group, cdev)).unwrap());
        assert_eq!(opened("by-group", "42", None), Opened::By("qemu-system-x86 (process 312)".into()));
        assert_eq!(opened("by-cdev", "43", Some("vfio3")), Opened::By("the guest studio (process 313)".into()));
        assert_eq!(opened("free", "4", Some("vfio33")), Opened::No);
    }

    #[test]
    fn what_is_not_seen_holds_everything() {
        let folder = tempfile::tempdir().unwrap();
        let root = SysfsRoot::new(folder.path());
        let holders = Holders::scan(&root);
        let nodes = Nodes::file("/dev/vfio/1".into());
        assert_eq!(
            holders.opened(&nodes),
            Opened::Unknown("/proc: cannot be listed: No such file or directory".into())
        );
        // A file in the place of the directory stands for one that may not be listed: root may list everything.
        process(folder.path(), "7", "shy", &[]);
        fs::remove_dir(folder.path().join("proc/7/fd")).unwrap();
        symlink("fd", folder.path().join("proc/7/fd")).unwrap();
        let Opened::Unknown(why) = Holders::scan(&root).opened(&nodes) else { panic!("it was not noticed") };
        assert!(why.starts_with("/proc/7/fd: cannot be listed") && why.contains("CAP_SYS_PTRACE"), "{why}");
    }
}
