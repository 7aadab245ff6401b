//! What a vGPU or a VF's share is called and how large it is, where the host does not say it or says it in several ways.
//!
//! Tables carry the source of every line. Deliberately not here: what may stand side by side (the partitioning rule), and names of
//! boards for people (`pci`).

mod amd;
mod nvidia;

use headstart_core::gpu::Profile;
use headstart_core::id::ProfileName;
use headstart_core::unit::FramebufferMib;

pub(super) use amd::board;
pub(super) use nvidia::{
    NvidiaType, board_framebuffer, framebuffer_by_name, profiles, series_may_mix, slices, type_name,
};

/// A share of a board whose VFs are all equal: `V710-1/4` is a quarter of a V710.
///
/// The framebuffer is the board's, divided, and rounded down to the 16 MiB in which GIM divides it (AMD SMI: a VF has at least 256 MB, a
/// multiple of 16); the PF keeps a little of it, so this is what a VF has at most. 0 if the board's is not known.
pub(super) fn share(board: &str, framebuffer: FramebufferMib, vfs: u16) -> Option<Profile> {
    let each = framebuffer.get().checked_div(u32::from(vfs))?;
    Some(Profile {
        name: ProfileName::new(format!("{board}-1/{vfs}")).ok()?,
        framebuffer: FramebufferMib::new(each - each % 16),
        max_instances: vfs,
        compute: false,
        slots: 0,
        starts: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_named_by_its_divisor() {
        let share = |board, mib, vfs| share(board, FramebufferMib::new(mib), vfs).unwrap();
        let quarter = share("V710", 28_672, 4);
        assert_eq!((quarter.name.as_str(), quarter.framebuffer.get(), quarter.max_instances), ("V710-1/4", 7168, 4));
        assert_eq!(share("V710", 28_672, 12).framebuffer.get(), 2384);
        assert_eq!(share("8086:10c9", 0, 7).framebuffer.get(), 0);
        assert!(super::share("V710", FramebufferMib::new(1), 0).is_none());
    }
}
