//! Processes on the machine, as `/proc` shows them: who has a VFIO group, a VFIO device or a GPU open.

use std::collections::BTreeMap;

use crate::attribute::Attribute;
use crate::sketch::Sketch;

/// A virtual machine that opens a device: its QEMU process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vm {
    pub(crate) name: String,
    pub(crate) uuid: String,
    pub(crate) cdev: bool,
}

impl Vm {
    /// A machine with this name and a UUID that follows from the name.
    pub fn new(name: &str) -> Self {
        // Any fixed function serves; FNV is short.
        let hash = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
        let uuid = format!("{:08x}-{:04x}-4000-8000-{:012x}", hash >> 32, hash >> 16 & 0xffff, hash & 0xffff_ffff_ffff);
        Self { name: name.to_owned(), uuid, cdev: false }
    }

    /// Sets the UUID that its QEMU was given.
    pub fn uuid(self, uuid: &str) -> Self {
        Self { uuid: uuid.to_owned(), ..self }
    }

    /// Opens devices through `/dev/vfio/devices/vfio<N>` (iommufd) instead of their group.
    pub fn through_cdev(self) -> Self {
        Self { cdev: true, ..self }
    }
}

impl From<&str> for Vm {
    fn from(name: &str) -> Self {
        Self::new(name)
    }
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) command: Vec<String>,
    /// Paths of what it has open, by descriptor.
    pub(crate) open: BTreeMap<u32, String>,
}

impl Process {
    pub(crate) fn new(command: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { command: command.into_iter().map(Into::into).collect(), open: BTreeMap::new() }
    }

    /// QEMU as libvirt starts it.
    pub(crate) fn qemu(vm: &Vm) -> Self {
        let name = format!("guest={},debug-threads=on", vm.name);
        let uuid = vm.uuid.as_str();
        Self::new(["/usr/bin/qemu-system-x86_64", "-name", name.as_str(), "-uuid", uuid, "-nodefaults"])
    }

    pub(crate) fn opens(&mut self, path: String) {
        // Standard streams come first; descriptors are given in order.
        let next = self.open.keys().next_back().map_or(3, |last| last + 1);
        self.open.insert(next, path);
    }

    pub(crate) fn closes(&mut self, path: &str) {
        self.open.retain(|_, open| open != path);
    }

    /// The kernel keeps 15 characters of a program's name.
    pub(crate) fn comm(&self) -> &str {
        let program = self.command.first().map_or("", |path| path.rsplit('/').next().unwrap_or(path));
        &program[..program.len().min(15)]
    }

    pub(crate) fn draw(&self, pid: u32, sketch: &mut Sketch) {
        let folder = format!("proc/{pid}");
        sketch.file(format!("{folder}/comm"), self.comm());
        let command = self.command.iter().flat_map(|word| word.bytes().chain([0])).collect();
        sketch.content(format!("{folder}/cmdline"), 0o444, Ok(command), None::<Attribute>);
        sketch.link_text(format!("{folder}/exe"), self.command.first().cloned().unwrap_or_default());
        for stream in 0..3 {
            sketch.link_text(format!("{folder}/fd/{stream}"), "/dev/null");
        }
        for (descriptor, path) in &self.open {
            sketch.link_text(format!("{folder}/fd/{descriptor}"), path.clone());
        }
    }
}
