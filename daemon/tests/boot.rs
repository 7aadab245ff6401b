//! The first rounds after a boot, when drivers come up one after the other.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

use headstart_core::desktop::Settings as DesktopSettings;
use headstart_core::gpu::GpuState;
use headstart_core::history::History;
use headstart_core::observed::{Gap, Observed};
use headstart_core::policy::Policy;
use headstart_core::step::Busy;
use headstart_core::text::Scene;
use headstart_core::unit::{Span, Time};
use headstartd::reconcile::memory::{FORGET, Memory, Round, Settings};
use headstartd::status::Mode;

/// Two boards. On one stands a device that nobody needs; the other's driver is not there yet; somebody waits for a third.
fn scene() -> (Observed, Settings) {
    let scene: Scene = "
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          + mdev:vm1 A-4Q
        gpu 5e mdev equal-size 24576 state=not-ready
        gpu 86 mdev equal-size 24576
          T-8Q 8192 x3
        desktop vm1 cold A-4Q off
        desktop vm2 cold T-8Q off waiting=1m
        "
    .parse()
    .unwrap();
    let mut observed = scene.observed;
    for (uuid, desktop) in scene.desktops {
        observed.domains.get_mut(&uuid).unwrap().settings =
            Some(DesktopSettings { profiles: Some(desktop.profiles), ..DesktopSettings::default() });
    }
    let settings =
        Settings { policy: Policy::default(), rules: Vec::new(), zone: jiff::tz::TimeZone::UTC, mode: Mode::Armed };
    (observed, settings)
}

fn kinds(round: &Round) -> Vec<&'static str> {
    round.steps.iter().map(headstart_core::step::Step::kind).collect()
}

const START: Time = Time::from_unix(1_772_438_400);

#[test]
fn nothing_is_taken_away_while_a_driver_may_still_be_starting() {
    let (mut observed, settings) = scene();
    let mut memory = Memory::new(History::new(FORGET), headstart_core::forecast::Model::default());
    let mut round = |observed: &Observed, at: Span| {
        let round = memory.round(&settings, observed.clone(), &Busy::default(), START + at);
        let next = memory.next_deadline(&settings, &round);
        (kinds(&round), round.problems.iter().map(ToString::to_string).collect::<Vec<_>>(), next)
    };
    let (steps, problems, next) = round(&observed, Span::ZERO);
    assert_eq!(steps, ["create-mdev"], "who waits is served meanwhile");
    let want = "0000:5e:00.0: its driver may still be starting; nothing is taken away before 2026-03-02T08:02:00Z";
    assert_eq!(problems, [want]);
    assert!(next <= START + Span::minutes(2), "{next}");
    // A card that is not even seen counts, too; and the mdev may be on it.
    let gone = observed.gpus.remove(&"0000:5e:00.0".parse().unwrap()).unwrap();
    observed.gaps.insert(Gap::Gpu(gone.address));
    assert_eq!(round(&observed, Span::seconds(30)).0, [""; 0]);
    observed.gaps.clear();
    observed.gpus.insert(gone.address, headstart_core::gpu::Gpu { state: GpuState::Ready, ..gone.clone() });
    let (steps, problems, _) = round(&observed, Span::seconds(60));
    assert_eq!((steps, problems.len()), (vec!["remove-mdev", "create-mdev"], 0));
    // Once is enough: a driver that goes away later is its own affair.
    observed.gpus.insert(gone.address, gone);
    assert_eq!(round(&observed, Span::seconds(90)).0, ["remove-mdev", "create-mdev"]);
}

#[test]
fn a_driver_that_never_comes_is_not_waited_for_for_ever() {
    let (observed, settings) = scene();
    let mut memory = Memory::new(History::new(FORGET), headstart_core::forecast::Model::default());
    for (at, want) in [(0, &["create-mdev"][..]), (119, &["create-mdev"]), (120, &["remove-mdev", "create-mdev"])] {
        let round = memory.round(&settings, observed.clone(), &Busy::default(), START + Span::seconds(at));
        assert_eq!(kinds(&round), want, "after {at} s");
    }
}
