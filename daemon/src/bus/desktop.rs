//! `org.headstart1.Desktop`: one desktop.

use headstart_core::id::DesktopName;

use super::properties::{object, probability, seconds, text, time};
use crate::status::DesktopStatus;

object! {
    /// One desktop.
    Desktop(DesktopName) = "org.headstart1.Desktop", DesktopStatus, |status, name| status.desktops.get(name);
    [key name "Name" "Its libvirt domain's name."]

    /// UUID of its libvirt domain.
    uuid "Uuid" signalled "true": String = |d| d.uuid.to_string();
    /// The dedicated user's desktop, or pool:NAME.
    subject "Subject" signalled "true": String = |d| d.subject.clone();
    /// cold, live or request.
    attach_mode "AttachMode" signalled "true": String = |d| d.attach_mode.to_string();
    /// Higher goes first.
    priority "Priority" signalled "true": i32 = |d| d.priority;
    /// off, preparing, ready, waiting, in-use, grace, releasing, running (without a GPU) or unknown.
    state "State" signalled "true": String = |d| d.state.to_owned();
    /// PCI address of the GPU whose vGPU is or will be attached; empty if none.
    gpu "Gpu" signalled "true": String = |d| text(d.gpu.as_ref());
    /// UUID of the mdev or PCI address of the VF; empty if none.
    device "Device" signalled "true": String = |d| text(d.device.as_ref());
    /// The profile of the device, or the one that would be given; empty if unknown.
    profile "Profile" signalled "true": String = |d| text(d.profile.as_ref());
    /// Probability of a login in the slot that decides now.
    confidence "Confidence" signalled "true": f64 = |d| probability(d.confidence);
    /// Likeliest time of the next login within 24 h, in seconds since 1970; 0 if none is likely.
    next_login "NextLogin" signalled "true": i64 = |d| time(d.next_login);
    /// Probability of a login within the next 24 h.
    today "Today" signalled "true": f64 = |d| probability(d.today);
    /// How long before the expected login the work must start.
    lead_seconds "LeadSeconds" signalled "true": u32 = |d| seconds(d.lead);
    /// Why it is as it is, in one sentence.
    reason "Reason" signalled "true": String = |d| d.reason.clone();
    /// What is wrong with it.
    problems "Problems" signalled "true": Vec<String> = |d| d.problems.clone();
}
