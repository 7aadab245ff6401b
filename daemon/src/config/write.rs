//! The merged configuration as one file. It reads back as the same configuration.

use std::fmt::Write as _;

use headstart_core::desktop::Rule;
use headstart_core::id::{GroupName, PoolName, UserName};
use headstart_core::policy::Goal;
use headstart_core::unit::FramebufferMib;

use super::duration::write_span;
use super::value::PER_USER_DAY;
use super::{Calendar, Config, GpuEntry, Select, Whose};
use crate::status::Mode;

pub(super) fn to_toml(config: &Config) -> String {
    let mut out = String::new();
    for file in &config.files {
        line(&mut out, format_args!("# {}", file.display()));
    }
    let mode = match config.mode {
        Mode::Shadow => "shadow",
        Mode::Armed => "armed",
    };
    line(&mut out, format_args!("mode = \"{mode}\""));
    line(&mut out, format_args!("\n[history]"));
    line(&mut out, format_args!("path = {}", quoted(&config.history.path.to_string_lossy())));
    line(&mut out, format_args!("retention = \"{}\"", write_span(config.history.retention)));
    line(&mut out, format_args!("\n[forecast]"));
    line(&mut out, format_args!("time-zone = {}", quoted(config.forecast.time_zone.name())));
    line(&mut out, format_args!("refit-at = \"{}\"", config.forecast.refit_at.strftime("%H:%M")));
    let policy = &config.policy;
    line(&mut out, format_args!("\n[policy]"));
    // Probabilities are kept with the precision of an f32; more digits would be noise.
    line(&mut out, format_args!("take = {:?}", policy.take.get() as f32));
    line(&mut out, format_args!("release = {:?}", policy.release.get() as f32));
    match policy.goal {
        Some(Goal::IdleBudget(budget)) => {
            line(&mut out, format_args!("idle-budget = \"{}{PER_USER_DAY}\"", write_span(budget)));
        }
        Some(Goal::HitRate(rate)) => line(&mut out, format_args!("target-hit-rate = {:?}", rate.get() as f32)),
        None => {}
    }
    line(&mut out, format_args!("minimum-hold = \"{}\"", write_span(policy.minimum_hold)));
    line(&mut out, format_args!("keep-spare = {}", policy.keep_spare));
    line(&mut out, format_args!("grace = \"{}\"", write_span(policy.grace)));
    line(&mut out, format_args!("shut-down-after-logout = {}", policy.shut_down_after_logout));
    line(&mut out, format_args!("wish-valid = \"{}\"", write_span(policy.wish_valid)));
    line(&mut out, format_args!("poll = \"{}\"", write_span(config.poll)));
    line(&mut out, format_args!("\n[policy.lead]"));
    line(&mut out, format_args!("cold = \"{}\"", write_span(policy.lead_cold)));
    line(&mut out, format_args!("live = \"{}\"", write_span(policy.lead_live)));
    line(&mut out, format_args!("\n[libvirt]"));
    line(&mut out, format_args!("uri = {}", quoted(&config.libvirt_uri)));
    for rule in &config.desktop_rules {
        desktop(&mut out, rule);
    }
    for entry in &config.calendars {
        calendar(&mut out, entry);
    }
    for entry in &config.gpus {
        gpu(&mut out, entry);
    }
    out
}

fn desktop(out: &mut String, rule: &Rule) {
    line(out, format_args!("\n[[desktop]]\nname = {}", quoted(&rule.pattern.to_string())));
    let rule = &rule.settings;
    let mut text = |key: &str, value: Option<&str>| {
        if let Some(value) = value {
            line(out, format_args!("{key} = {}", quoted(value)));
        }
    };
    text("user", rule.user.as_ref().map(UserName::as_str));
    text("pool", rule.pool.as_ref().map(PoolName::as_str));
    text("attach", rule.attach.map(|attach| attach.to_string()).as_deref());
    text("presence", rule.presence.map(|presence| presence.to_string()).as_deref());
    text("group", rule.group.as_ref().map(GroupName::as_str));
    text("hours", rule.hours.as_ref().map(ToString::to_string).as_deref());
    text("missing-gpu", rule.missing_gpu.map(|missing_gpu| missing_gpu.to_string()).as_deref());
    text("time-zone", rule.time_zone.as_ref().map(|zone| zone.iana_name().unwrap_or("system")));
    text("lead", rule.lead.map(write_span).as_deref());
    if let Some(profiles) = &rule.profiles {
        let list: Vec<String> = profiles.iter().map(|profile| quoted(profile.as_str())).collect();
        line(out, format_args!("profiles = [{}]", list.join(", ")));
    }
    if let Some(priority) = rule.priority {
        line(out, format_args!("priority = {priority}"));
    }
    if let Some(preallocate) = rule.preallocate {
        line(out, format_args!("preallocate = {preallocate}"));
    }
}

fn calendar(out: &mut String, entry: &Calendar) {
    line(out, format_args!("\n[[calendar]]\npath = {}", quoted(&entry.path.to_string_lossy())));
    line(out, format_args!("kind = \"{}\"", entry.kind));
    match &entry.whose {
        Whose::All => {}
        Whose::User(user) => line(out, format_args!("user = {}", quoted(user.as_str()))),
        Whose::Desktops(pattern) => line(out, format_args!("desktop = {}", quoted(&pattern.to_string()))),
        Whose::Pool(pool) => line(out, format_args!("pool = {}", quoted(pool.as_str()))),
        Whose::FileName => line(out, format_args!("by-file-name = true")),
    }
}

fn gpu(out: &mut String, entry: &GpuEntry) {
    line(out, format_args!("\n[[gpu]]"));
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            line(out, format_args!("{key} = {value}"));
        }
    };
    let hex = |id: &u16| format!("0x{id:04x}");
    match &entry.select {
        Select::One(id) => set("address", Some(quoted(&id.to_string()))),
        Select::Like { vendor, device, driver } => {
            set("vendor", vendor.as_ref().map(hex));
            set("device", device.as_ref().map(hex));
            set("driver", driver.as_deref().map(quoted));
        }
    }
    set("board", entry.board.as_deref().map(quoted));
    set("vfs", entry.vfs.map(|n| n.to_string()));
    set("framebuffer-mib", entry.framebuffer.map(|mib| mib.get().to_string()));
    set("vgpu-params", entry.vgpu_params.as_deref().map(quoted));
    for profile in &entry.profiles {
        line(out, format_args!("\n[[gpu.profiles]]\nname = {}", quoted(profile.name.as_str())));
        for (key, value) in [
            ("number", profile.number),
            ("framebuffer-mib", profile.framebuffer.map(FramebufferMib::get)),
            ("max-instances", profile.max_instances.map(u32::from)),
            ("slots", profile.slots.map(u32::from)),
        ] {
            if let Some(value) = value {
                line(out, format_args!("{key} = {value}"));
            }
        }
    }
}

/// A text as TOML writes it.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn line(out: &mut String, text: std::fmt::Arguments) {
    writeln!(out, "{text}").expect("writing to a String cannot fail");
}
