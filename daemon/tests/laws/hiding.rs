//! What a look does not show: gaps that are named as the adapters name them.

use headstart_core::gpu::{GpuState, Opened};
use headstart_core::observed::{Gap, Login, Observed, Power};

use super::build::Built;
use super::scene::Hidden;

impl Hidden {
    /// Takes it from a look.
    pub(super) fn hide(self, built: &Built, seen: &mut Observed) {
        let why = || "not readable".to_owned();
        let address = |n| built.board(n).map(|gpu| gpu.address);
        let mut bits = 0..;
        let mut bit = |seen: u8| bits.next().is_some_and(|n: u32| seen >> (n % 8) & 1 == 1);
        match self {
            Hidden::Domains { seen: shown } => {
                seen.gaps.insert(Gap::Domains);
                seen.domains.retain(|_, _| bit(shown));
            }
            Hidden::Board(n) => {
                let Some(address) = address(n) else { return };
                seen.gaps.insert(Gap::Gpu(address));
                seen.gpus.remove(&address);
            }
            Hidden::OnBoard { board, seen: shown } => {
                let Some(gpu) = address(board).and_then(|address| seen.gpus.get_mut(&address)) else { return };
                gpu.state = GpuState::Unknown(why());
                gpu.vgpus.retain(|_, _| bit(shown));
            }
            Hidden::NotReady(n) => {
                let Some(gpu) = address(n).and_then(|address| seen.gpus.get_mut(&address)) else { return };
                if gpu.state == GpuState::Ready {
                    gpu.state = GpuState::NotReady("its driver is not there".into());
                }
            }
            Hidden::Opened(n) => {
                let count = seen.gpus.values().map(|gpu| gpu.vgpus.len()).sum::<usize>().max(1);
                if let Some(vgpu) = seen.gpus.values_mut().flat_map(|gpu| gpu.vgpus.values_mut()).nth(n % count) {
                    vgpu.opened = Opened::Unknown(why());
                }
            }
            Hidden::Login(n) | Hidden::Power(n) => {
                let count = seen.domains.len().max(1);
                match (seen.domains.values_mut().nth(n % count), self) {
                    (Some(domain), Hidden::Login(_)) => domain.login = Login::Unknown(why()),
                    (Some(domain), _) => domain.power = Power::Unknown(why()),
                    (None, _) => {}
                }
            }
        }
    }
}
