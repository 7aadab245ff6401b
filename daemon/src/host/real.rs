//! The real host: its hardware through sysfs and its domains through libvirt, joined into one look.
//!
//! Neither knows of the other. Deliberately not here: what either of them reads and writes, and any decision.

use std::sync::Arc;
use std::time::Duration;

use headstart_core::gpu::DeviceId;
use headstart_core::observed::{Domain, Gap, Observed, Problem};
use headstart_core::step::{Applied, Step, StepError};

use super::Host;
use super::hardware::Hardware;
use super::libvirt::{Event, Libvirt, Options, VfKind};

/// How long a look waits for libvirt while it is away. We start before it, and with socket activation it accepts us and waits until we are
/// ready: whatever we wait here, the host waits at every boot.
const PATIENCE: Duration = Duration::from_secs(2);

/// The real host.
pub struct RealHost {
    hardware: Arc<Hardware>,
    libvirt: Libvirt,
}

impl RealHost {
    /// The hardware, and the libvirt at `uri`. `watched`: whose users are of interest. `wake` is told that something happened, on threads
    /// of libvirt. Neither must wait. Guest agents are asked every `poll`.
    pub fn new(
        hardware: Arc<Hardware>,
        uri: &str,
        poll: Duration,
        watched: impl Fn(&Domain) -> bool + Send + Sync + 'static,
        wake: impl Fn(Event) + Send + Sync + 'static,
    ) -> Self {
        let of = Arc::clone(&hardware);
        let vf_kind = move |vf| match of.wants_managed(DeviceId::Vf(vf)) {
            Ok(true) => VfKind::Plain,
            // A VF that cannot be read is bound by nobody; the step that needs it fails by itself.
            Ok(false) | Err(_) => VfKind::Variant,
        };
        let libvirt = Libvirt::new(
            uri,
            wake,
            Options {
                vf_kind: Box::new(vf_kind),
                watched: Box::new(watched),
                open_deadline: PATIENCE,
                agents_every: poll,
                ..Options::default()
            },
        );
        Self { hardware, libvirt }
    }

    /// Its domains, for what is no step.
    pub fn libvirt(&self) -> &Libvirt {
        &self.libvirt
    }
}

impl Host for RealHost {
    fn observe(&self) -> Observed {
        // Hardware first: a device that a domain was given in between is seen as one that somebody has, never as an idle one.
        let hardware = self.hardware.observe();
        let domains = self.libvirt.observe();
        let mut observed =
            Observed { gpus: hardware.gpus, gaps: hardware.gaps, problems: hardware.problems, ..Observed::default() };
        match domains {
            Ok(seen) => {
                observed.domains = seen.domains;
                observed.problems.extend(seen.problems);
                if !seen.complete {
                    observed.gaps.insert(Gap::Domains);
                }
            }
            Err(error) => {
                observed.gaps.insert(Gap::Domains);
                let text = format!("{error}; until it answers nothing is taken from anybody");
                observed.problems.push(Problem { object: "libvirt".into(), text });
            }
        }
        observed
    }

    fn apply(&self, step: &Step) -> Result<Applied, StepError> {
        match step {
            Step::AttachHostdev { gpu, device, .. } => {
                self.hardware.prepare(*gpu, *device)?;
                self.libvirt.apply(step)
            }
            Step::DetachHostdev { .. } | Step::StartDomain { .. } | Step::ShutDownDomain { .. } => {
                self.libvirt.apply(step)
            }
            Step::CreateMdev { .. }
            | Step::RemoveMdev { .. }
            | Step::SetVgpuType { .. }
            | Step::ClearVgpuType { .. }
            | Step::SetNumVfs { .. }
            | Step::CreateGpuInstance { .. }
            | Step::DestroyGpuInstance { .. } => self.hardware.apply(step),
        }
    }
}
