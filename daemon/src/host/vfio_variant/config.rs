//! The table of types that NVIDIA's host driver installs, `/usr/share/nvidia/vgpu/vgpuConfig.xml`.
//!
//! Its form, as XenServer's toolstack reads it (xapi-project/xen-api, `xapi_vgpu_type.ml`): `pgpu` elements tell which types (`supportedVgpu`,
//! with `maxVgpus`) a board (`devId`) supports; `vgpuType` elements tell their names and sizes. Only that much of it is read, and a
//! board that is not in it is simply not in it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use headstart_core::unit::FramebufferMib;
use roxmltree::{Document, Node, ParsingOptions};

use crate::host::pci::Function;
use crate::host::profile::{self, NvidiaType};
use crate::host::sysfs::{Stamp, SysfsRoot, optional};

/// Where it is.
const FILE: &str = "usr/share/nvidia/vgpu/vgpuConfig.xml";

/// The table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Installed {
    types: BTreeMap<u32, (String, u64)>,
    boards: Vec<Board>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Board {
    device: u16,
    /// 0: any.
    subsystem: u16,
    supported: Vec<(u32, u16)>,
}

/// The table as it was last read: it is large, and changes with the driver only.
#[derive(Debug, Default)]
pub(crate) struct InstalledTable(Mutex<Option<(Stamp, Table)>>);

/// The table, or why it cannot be read.
type Table = Arc<Result<Installed, String>>;

impl InstalledTable {
    /// The table, read anew if it changed.
    pub(super) fn read(&self, root: &SysfsRoot) -> Table {
        let stamp = root.stamp(FILE);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match &*kept {
            Some((of, table)) if *of == stamp => Arc::clone(table),
            _ => {
                let table = Arc::new(Installed::read(root));
                *kept = Some((stamp, Arc::clone(&table)));
                table
            }
        }
    }
}

impl Installed {
    /// Reads the table; an empty one if none is installed.
    ///
    /// # Errors
    /// It is there and cannot be read.
    fn read(root: &SysfsRoot) -> Result<Self, String> {
        match optional(root.read_table(FILE)) {
            Ok(None) => Ok(Self::default()),
            Ok(Some(text)) => Self::parse(&text).map_err(|error| format!("/{FILE}: {error}")),
            Err(error) => Err(error.to_string()),
        }
    }

    fn parse(text: &str) -> Result<Self, roxmltree::Error> {
        // The file names a DTD; roxmltree fetches none, and refuses entities that grow.
        let options = ParsingOptions { allow_dtd: true, ..ParsingOptions::default() };
        let document = Document::parse_with_options(text, options)?;
        let mut it = Self::default();
        for node in document.root_element().children() {
            match node.tag_name().name() {
                "vgpuType" => it.types.extend(vgpu_type(node)),
                "pgpu" => it.boards.extend(board(node)),
                _ => {}
            }
        }
        Ok(it)
    }

    /// The types of a card; none if the table does not know it.
    pub(super) fn types(&self, function: &Function) -> Vec<NvidiaType> {
        // An entry for this very board, else one for any board with the chip.
        let of = |subsystem| self.boards.iter().find(|it| it.device == function.device && it.subsystem == subsystem);
        let Some(board) = of(function.subsystem).or_else(|| of(0)) else { return Vec::new() };
        let known = board.supported.iter().filter_map(|(number, most)| {
            let (name, bytes) = self.types.get(number)?;
            let name = profile::type_name(name).ok()?;
            let by_size = u32::try_from(bytes >> 20).ok().filter(|mib| *mib > 0).map(FramebufferMib::new);
            // The size in the name is what users know; the file's leaves out what the host keeps, where it has no `profileSize`.
            let framebuffer = profile::framebuffer_by_name(name.as_str()).or(by_size)?;
            Some(NvidiaType { number: *number, name, framebuffer, max_instances: Some(*most), placement: None })
        });
        known.collect()
    }
}

fn vgpu_type(node: Node<'_, '_>) -> Option<(u32, (String, u64))> {
    let id = u32::try_from(number(node.attribute("id")?)?).ok()?;
    let size = text(node, "profileSize").or_else(|| text(node, "framebuffer")).and_then(number).unwrap_or(0);
    Some((id, (node.attribute("name")?.to_owned(), size)))
}

fn board(node: Node<'_, '_>) -> Option<Board> {
    let ids = node.children().find(|child| child.has_tag_name("devId"))?;
    let id = |name| ids.attribute(name).and_then(number).and_then(|n| u16::try_from(n).ok());
    let supported = node.children().filter(|child| child.has_tag_name("supportedVgpu")).filter_map(|child| {
        let vgpu = child.attribute("vgpuId").and_then(number).and_then(|n| u32::try_from(n).ok())?;
        Some((vgpu, text(child, "maxVgpus").and_then(number).and_then(|n| u16::try_from(n).ok())?))
    });
    Some(Board { device: id("deviceId")?, subsystem: id("subsystemId").unwrap_or(0), supported: supported.collect() })
}

fn text<'a>(node: Node<'a, '_>, name: &str) -> Option<&'a str> {
    node.children().find(|child| child.has_tag_name(name))?.text()
}

/// A number in decimal, or in hexadecimal after `0x`.
fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
        <!DOCTYPE vgpu SYSTEM "http://www.nvidia.com/dtd/vgpuConfig.dtd">
        <vgpuconfig>
          <version>1.0</version>
          <vgpuType id="558" name="NVIDIA A40-2Q" class="Quadro">
            <devId vendorId="0x10de" deviceId="0x2235" subsystemVendorId="0x10de" subsystemId="0x14d6"></devId>
            <framebuffer>0x74000000</framebuffer>
          </vgpuType>
          <vgpuType id="560" name="NVIDIA A40-8Q" class="Quadro"><profileSize>0x200000000</profileSize></vgpuType>
          <vgpuType id="11" name="GRID M60-0B" class="NVS"><framebuffer>0x1A000000</framebuffer></vgpuType>
          <vgpuType name="without a number"/>
          <pgpu hostVgpuMode="sriov">
            <devId vendorId="0x10de" deviceId="0x2235" subsystemVendorId="0x10de" subsystemId="0x0"></devId>
            <supportedVgpu vgpuId="558"><maxVgpus>24</maxVgpus><digest type="signature">00</digest></supportedVgpu>
            <supportedVgpu vgpuId="560"><maxVgpus>6</maxVgpus></supportedVgpu>
            <supportedVgpu vgpuId="999"><maxVgpus>1</maxVgpus></supportedVgpu>
          </pgpu>
          <pgpu><devId vendorId="0x10de" deviceId="0x2235" subsystemId="0x1234"/>
            <supportedVgpu vgpuId="560"><maxVgpus>3</maxVgpus></supportedVgpu></pgpu>
        </vgpuconfig>"#;

    fn function(device: u16, subsystem: u16) -> Function {
        Function {
            address: "0000:3b:00.0".parse().unwrap(),
            vendor: 0x10de,
            device,
            subsystem,
            driver: Some("nvidia".into()),
            physfn: None,
            total_vfs: 16,
        }
    }

    fn types(device: u16, subsystem: u16) -> Vec<(u32, String, u32, Option<u16>)> {
        let types = Installed::parse(TABLE).unwrap().types(&function(device, subsystem));
        types.into_iter().map(|it| (it.number, it.name.to_string(), it.framebuffer.get(), it.max_instances)).collect()
    }

    #[test]
    fn a_board_has_the_types_that_its_entry_names() {
        let all = [(558, "A40-2Q".into(), 2048, Some(24)), (560, "A40-8Q".into(), 8192, Some(6))];
        assert_eq!(types(0x2235, 0x145a), all);
        assert_eq!(types(0x2235, 0x1234), [(560, "A40-8Q".into(), 8192, Some(3))], "an entry of its own goes first");
        assert_eq!(types(0x1eb8, 0), []);
    }

    #[test]
    fn what_is_no_such_table_is_refused() {
        assert!(Installed::parse("<vgpuconfig>").is_err());
        assert!(Installed::parse("").is_err());
        let bomb = r#"<!DOCTYPE v [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
            <!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;"><!ENTITY d "&c;&c;&c;&c;&c;&c;&c;&c;&c;&c;">]><v>&d;&d;&d;&d;</v>"#;
        assert!(Installed::parse(bomb).is_err());
        assert_eq!(Installed::parse("<other/>").unwrap(), Installed::default());
    }
}
