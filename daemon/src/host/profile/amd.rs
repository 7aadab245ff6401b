//! Boards whose VFs are made by a driver that tells neither the board's name nor its memory.
//!
//! Names and device ids: `libgv/core/amdgv_marketing_name.c` of amd/MxGPU-Virtualization (9.x); FirePro S7150: legacy GIM
//! (GPUOpen-LibrariesAndSDKs/MxGPU-Virtualization) and pci.ids. Memory: "AMD GPU specifications" of the ROCm documentation (7.13);
//! FirePro S7150: AMD's data sheet. Intel Flex: pci.ids, and Intel's product pages for the memory. Boards of which no source tells the
//! memory have none here; the operator can give it.

use headstart_core::unit::FramebufferMib;

use crate::host::pci::{AMD, INTEL};

/// A board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Board {
    /// Short name, as profiles bear it.
    pub name: &'static str,
    /// All of its memory; 0 if no source tells.
    pub framebuffer: FramebufferMib,
}

/// Vendor, device of the PF, name, GiB.
const BOARDS: [(u16, u16, &str, u32); 13] = [
    (AMD, 0x6929, "S7150", 8),
    (AMD, 0x7460, "V710", 28),
    (AMD, 0x740f, "MI210", 64),
    (AMD, 0x74a1, "MI300X", 192),
    (AMD, 0x74a2, "MI308X", 0),
    (AMD, 0x74a5, "MI325X", 256),
    (AMD, 0x74a8, "MI308X", 0),
    (AMD, 0x74a9, "MI300X-HF", 0),
    (AMD, 0x75a0, "MI350X", 288),
    (AMD, 0x75a3, "MI355X", 288),
    (INTEL, 0x56c0, "Flex-170", 16),
    // Two GPUs on one card; each is a PF with half of its 12 GB.
    (INTEL, 0x56c1, "Flex-140", 6),
    (INTEL, 0x56c2, "Flex-170G", 0),
];

/// The board with this PF.
pub(crate) fn board(vendor: u16, device: u16) -> Option<Board> {
    let found = BOARDS.iter().find(|(v, d, ..)| (*v, *d) == (vendor, device))?;
    Some(Board { name: found.2, framebuffer: FramebufferMib::new(found.3 * 1024) })
}
