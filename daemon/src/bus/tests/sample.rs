//! A small host at 7:40 on a Monday: two GPUs, five desktops, one of each interesting state.

use std::collections::BTreeMap;
use std::sync::Arc;

use headstart_core::desktop::{AttachMode, MissingGpu, Settings};
use headstart_core::gpu::DeviceId;
use headstart_core::id::{DesktopName, GpuId, ProfileName};
use headstart_core::request::{Offer, Way};
use headstart_core::unit::{FramebufferMib, Probability, Span, Time};
use headstartd::status::{DesktopStatus, GpuStatus, Mode, Scores, Status, VgpuStatus};

/// 2026-11-23T07:40:00Z.
pub(crate) const NOW: Time = Time::from_unix(1_795_419_600);

pub(crate) fn address(text: &str) -> GpuId {
    text.parse().expect("written here")
}

pub(crate) fn desktop_name(text: &str) -> DesktopName {
    DesktopName::new(text).expect("written here")
}

pub(crate) fn profile(text: &str) -> ProfileName {
    ProfileName::new(text).expect("written here")
}

/// The host.
pub(crate) fn status() -> Status {
    let a40 = address("0000:3b:00.0");
    let desktops = [
        ("design-01", desktop("ready", 0.86, Some(8 * 60 + 5), Some(a40), Way::Reserved)),
        ("design-02", desktop("in-use", 0.02, None, Some(a40), Way::Reserved)),
        ("office-01", desktop("off", 0.31, Some(9 * 60), None, Way::OnDemand)),
        ("office-02", desktop("waiting", 0.74, Some(8 * 60 + 20), None, Way::Queued)),
        ("office-03", desktop("off", 0.001, None, None, Way::OnDemand)),
    ];
    Status {
        now: NOW,
        mode: Mode::Armed,
        simulated: true,
        rounds: 42,
        model: "logistic over 5 desktops, trained 2026-11-23 02:00 on 1830 rows".to_owned(),
        goal: String::new(),
        scores: Scores { logins: 40, hits: 33, late: 3, misses: 4, wasted: 6, idle: Span::minutes(750) },
        holds: Vec::new(),
        problems: vec!["GPU 0000:5e:00.0: sriov_numvfs could not be written: permission denied".to_owned()],
        gpus: BTreeMap::from([
            (a40, gpu("NVIDIA A40", 49_152, 8192, "ok")),
            (address("0000:5e:00.0"), gpu("AMD V710", 28_672, 0, "quarantined: permission denied")),
        ]),
        desktops: desktops.into_iter().map(|(name, desktop)| (desktop_name(name), desktop)).collect(),
    }
}

fn gpu(name: &str, framebuffer: u32, used: u32, health: &str) -> GpuStatus {
    let vgpu = |device: &str, holder: &str, state: &str| VgpuStatus {
        device: device.to_owned(),
        profile: "A40-4Q".to_owned(),
        holder: holder.to_owned(),
        state: state.to_owned(),
    };
    let vgpus = if used == 0 {
        Vec::new()
    } else {
        vec![vgpu("0000:3b:00.4", "design-01", "attached"), vgpu("0000:3b:00.5", "somebody-else", "foreign")]
    };
    GpuStatus {
        name: name.to_owned(),
        partitioning: "NVIDIA time-sliced, one size".to_owned(),
        framebuffer: FramebufferMib::new(framebuffer),
        used: FramebufferMib::new(used),
        health: health.to_owned(),
        vgpus,
        creatable: if used == 0 { Vec::new() } else { vec![profile("A40-4Q")] },
    }
}

/// A desktop whose next login is `login` minutes after midnight.
pub(crate) fn desktop(state: &'static str, p: f64, login: Option<i64>, gpu: Option<GpuId>, way: Way) -> DesktopStatus {
    let slots_start = NOW - Span::minutes(10);
    let peak = login.unwrap_or(12 * 60);
    let slot = |n: i64| {
        let minute = 7 * 60 + 30 + 15 * n;
        let away = (minute - peak).abs() as f64 / 45.0;
        Probability::clamped(p * 0.5 * (-away * away).exp())
    };
    DesktopStatus {
        uuid: "6f1c2f9e-53a1-4d0b-9c57-1e0f7a8ec2d4".parse().expect("written here"),
        subject: "anna".to_owned(),
        attach_mode: AttachMode::Cold,
        priority: 10,
        state,
        gpu,
        device: gpu.map(|_| DeviceId::Vf("0000:3b:00.4".parse().expect("written here"))),
        profile: Some(profile("A40-4Q")),
        confidence: Probability::clamped(p),
        next_login: login.map(|minutes| NOW - Span::minutes(7 * 60 + 40) + Span::minutes(minutes)),
        today: Probability::clamped(p * 1.1),
        slots: (0..96).map(slot).collect(),
        slots_start,
        slot: Span::minutes(15),
        lead: Span::seconds(140),
        reason: format!("{state}: {:.0} % is above the threshold", p * 100.0),
        settings: Settings {
            user: Some("anna".parse().expect("written here")),
            profiles: Some(vec![profile("A40-4Q")]),
            attach: Some(AttachMode::Cold),
            priority: Some(10),
            time_zone: Some(jiff::tz::TimeZone::UTC),
            preallocate: Some(true),
            missing_gpu: Some(MissingGpu::Start),
            ..Settings::default()
        },
        offer: Offer {
            way,
            confidence: Probability::clamped(p),
            profile: Some(profile("A40-4Q")),
            gpu,
            wait: Some(Span::seconds(140)).filter(|_| way != Way::Queued),
            reason: "room on 0000:3b:00.0".to_owned(),
            known_profiles: Arc::from([profile("A40-4Q"), profile("A40-8Q")]),
        },
        problems: Vec::new(),
    }
}
