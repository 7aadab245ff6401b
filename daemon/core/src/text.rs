//! A short text form of what a plan is made of and of what comes out: for tests, and for whoever reads a log line.
//!
//! A scene is a few lines; everything of the form `key=value` may be left out:
//!
//! ```text
//! gpu 3b vfio-variant equal-size 24576 vfs=4
//!   A-4Q 4096 x6                                   a profile; with slots: `A-4Q 4096 x6 slots=4 at=0,4,8`
//!   + 3b.1 A-4Q at=0 open=qemu                     a vGPU that exists; `?` for what is not known
//!   instance 1 A-4Q at=0 open=3b.1                 a GPU instance of MIG, with `gpu-instances` behind the gpu
//! desktop vm1 cold A-4Q,A-8Q off p=40% has=3b.1    a domain that is managed
//! domain other running foreign=3b.2                one that is not
//! gap domains
//! policy keep-running
//! ```
//!
//! `3b` is the PF 0000:3b:00.0, `3b.2` its second VF, `mdev:vm1` the mdev that is made for vm1, `alien:x` a stranger's. Deliberately
//! not here: any decision, and a complete form; what no test needs has no text.

mod scene;

use std::fmt::Write as _;

pub use scene::{BadScene, Scene};

use crate::gpu::DeviceId;
use crate::id::{DomainUuid, GpuId, MdevUuid, PciAddress};
use crate::plan::Plan;
use crate::step::Step;

impl Scene {
    /// What the plan says: a line for every desktop with the word of its verdict and where its device is or will be, then what else is
    /// to be done.
    pub fn plan_text(&self, plan: &Plan) -> String {
        let mut text = String::new();
        let mut lines: Vec<(String, String)> = Vec::new();
        for (uuid, verdict) in &plan.verdicts {
            let mut line = verdict.reason.word().to_owned();
            if let Some(want) = plan.desired.wants.get(uuid) {
                let _ = write!(line, " -> {} {}", pf(want.gpu), want.profile);
                if let Some(start) = want.start {
                    let _ = write!(line, " at {start}");
                }
                if !want.run {
                    line.push_str(", may stay off");
                }
            }
            if plan.desired.hands_off.contains(uuid) {
                line.push_str(", hands off");
            }
            if plan.desired.shut_down.contains(uuid) {
                line.push_str(", shut down");
            }
            lines.push((self.name(*uuid), line));
        }
        lines.sort();
        for (name, line) in lines {
            let _ = writeln!(text, "{name}: {line}");
        }
        for (gpu, vfs) in &plan.desired.num_vfs {
            let _ = writeln!(text, "{}: {vfs} VFs", pf(*gpu));
        }
        text
    }

    /// The steps of a round, a line each, in their order.
    pub fn steps_text(&self, steps: &[Step]) -> String {
        let mut text = String::new();
        for step in steps {
            let _ = writeln!(text, "* {}", self.step_text(step));
        }
        text
    }

    /// One step.
    pub fn step_text(&self, step: &Step) -> String {
        let at = |start: &Option<u16>| start.map_or_else(String::new, |start| format!(" at {start}"));
        match step {
            Step::CreateMdev { gpu, profile, uuid, start } => {
                format!("create {} {profile}{} on {}", self.mdev(*uuid), at(start), pf(*gpu))
            }
            Step::RemoveMdev { gpu, profile, uuid } => {
                format!("remove {} {profile} from {}", self.mdev(*uuid), pf(*gpu))
            }
            Step::SetVgpuType { vf, profile, start, .. } => format!("set {} {profile}{}", function(*vf), at(start)),
            Step::ClearVgpuType { vf, profile, .. } => format!("clear {} {profile}", function(*vf)),
            Step::SetNumVfs { gpu, vfs } => format!("enable {vfs} VFs on {}", pf(*gpu)),
            Step::CreateGpuInstance { gpu, profile, start } => {
                format!("make instance {profile} at {start} on {}", pf(*gpu))
            }
            Step::DestroyGpuInstance { gpu, instance } => format!("destroy instance {instance} on {}", pf(*gpu)),
            Step::AttachHostdev { domain, device, live, .. } => {
                format!("attach {} to {}{}", self.device(*device), self.name(*domain), if *live { " live" } else { "" })
            }
            Step::DetachHostdev { domain, device, live, .. } => {
                let live = if *live { " live" } else { "" };
                format!("detach {} from {}{live}", self.device(*device), self.name(*domain))
            }
            Step::StartDomain { domain } => format!("start {}", self.name(*domain)),
            Step::ShutDownDomain { domain } => format!("shut down {}", self.name(*domain)),
        }
    }

    fn name(&self, uuid: DomainUuid) -> String {
        self.observed.domains.get(&uuid).map_or_else(|| uuid.to_string(), |domain| domain.name.to_string())
    }

    fn mdev(&self, mdev: MdevUuid) -> String {
        let owner = self.observed.domains.keys().find(|uuid| uuid.mdev() == mdev);
        owner.map_or_else(|| mdev.to_string(), |uuid| format!("mdev:{}", self.name(*uuid)))
    }

    fn device(&self, device: DeviceId) -> String {
        match device {
            DeviceId::Mdev(mdev) => self.mdev(mdev),
            DeviceId::Vf(vf) => function(vf),
        }
    }
}

/// `3b` for 0000:3b:00.0; the whole address if it is another kind.
fn pf(address: GpuId) -> String {
    let whole = address.to_string();
    whole.strip_prefix("0000:").and_then(|rest| rest.strip_suffix(":00.0")).map_or(whole.clone(), str::to_owned)
}

/// `3b.9` for 0000:3b:01.1: bus and the number behind function 0 of the bus.
fn function(address: PciAddress) -> String {
    let whole = address.to_string();
    let number = whole.strip_prefix("0000:").and_then(|rest| {
        let (bus, rest) = rest.split_once(':')?;
        let (slot, function) = rest.split_once('.')?;
        let (slot, function) = (u32::from_str_radix(slot, 16).ok()?, u32::from_str_radix(function, 16).ok()?);
        Some(format!("{bus}.{}", slot * 8 + function))
    });
    number.unwrap_or(whole)
}
