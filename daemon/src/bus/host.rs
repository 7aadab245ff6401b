//! `org.headstart1.Host`: the host as a whole.

use super::properties::{count, object};
use crate::status::{Mode, Status};

object! {
    /// The host as a whole.
    Host(()) = "org.headstart1.Host", Status, |status, ()| Some(status);

    /// Version of headstartd.
    version "Version" signalled "const": String = |_| env!("CARGO_PKG_VERSION").to_owned();
    /// shadow (nothing is done) or armed.
    mode "Mode" signalled "true": String = |s| mode(s).to_owned();
    /// Whether the hardware is simulated.
    simulated "Simulated" signalled "true": bool = |s| s.simulated;
    /// The daemon's clock at the last round, in seconds since 1970; virtual in a simulation.
    clock "Clock" signalled "false": i64 = |s| s.now.unix();
    /// Rounds since the start.
    rounds "Rounds" signalled "false": u64 = |s| s.rounds;
    /// The forecast's model, in one line.
    model "Model" signalled "true": String = |s| s.model.clone();
    /// What the thresholds are to achieve, how far they lately did, and what they are; empty without a goal.
    goal "Goal" signalled "true": String = |s| s.goal.clone();
    /// Logins since the start that needed a GPU that was not still there from the session before.
    logins "Logins" signalled "true": u64 = |s| s.scores.logins;
    /// Of those: ready at least 60 s before.
    hits "Hits" signalled "true": u64 = |s| s.scores.hits;
    /// Of those: being made ready when the user came.
    late "Late" signalled "true": u64 = |s| s.scores.late;
    /// Of those: nothing had been done.
    misses "Misses" signalled "true": u64 = |s| s.scores.misses;
    /// Reservations that ended without a login.
    wasted "Wasted" signalled "true": u64 = |s| s.scores.wasted;
    /// GPU-hours held for users who were not logged in.
    idle_hours "IdleHours" signalled "true": f64 = |s| (s.scores.idle.as_hours() * 10.0).round() / 10.0;
    /// Holds in force: cookie, owner, reason.
    holds "Holds" signalled "true": Vec<(u32, String, String)> = holds;
    /// What an administrator should know.
    problems "Problems" signalled "true": Vec<String> = |s| s.problems.clone();
    /// Managed desktops.
    desktops "Desktops" signalled "true": u32 = |s| count(s.desktops.len());
    /// Managed GPUs.
    gpus "Gpus" signalled "true": u32 = |s| count(s.gpus.len());
    /// Desktops whose GPU is attached, or being attached, ahead of a login.
    reserved "Reserved" signalled "true": u32 = |s| in_state(s, &["preparing", "ready"]);
    /// Desktops in use.
    in_use "InUse" signalled "true": u32 = |s| in_state(s, &["in-use"]);
    /// Desktops that wait for room.
    waiting "Waiting" signalled "true": u32 = |s| in_state(s, &["waiting"]);
}

/// The mode as a word.
fn mode(status: &Status) -> &'static str {
    match status.mode {
        Mode::Shadow => "shadow",
        Mode::Armed => "armed",
    }
}

/// Holds as they go over the bus.
fn holds(status: &Status) -> Vec<(u32, String, String)> {
    status.holds.iter().map(|hold| (hold.cookie, hold.owner.clone(), hold.reason.clone())).collect()
}

/// Desktops in one of these states.
fn in_state(status: &Status, states: &[&str]) -> u32 {
    count(status.desktops.values().filter(|desktop| states.contains(&desktop.state)).count())
}
