//! What is remembered from one round to the next.
#![expect(clippy::unwrap_used, reason = "a test that meets what it does not expect shall fail")]

use headstart_core::desktop::Settings as DesktopSettings;
use headstart_core::history::History;
use headstart_core::id::DomainUuid;
use headstart_core::observed::{Domain, Gap, Login, Observed, Power};
use headstart_core::plan::{Reason, Standing};
use headstart_core::policy::Policy;
use headstart_core::request::Wish;
use headstart_core::step::Busy;
use headstart_core::text::Scene;
use headstart_core::unit::{Span, Time};
use headstartd::reconcile::memory::{FORGET, Memory, Round, Settings};
use headstartd::status::Mode;

const START: Time = Time::from_unix(1_772_438_400);

/// One desktop, and rounds half a minute apart.
struct Play {
    memory: Memory,
    observed: Observed,
    settings: Settings,
    now: Time,
}

impl Play {
    fn new(scene: &str) -> Self {
        let scene: Scene = scene.parse().unwrap();
        let mut observed = scene.observed;
        for (uuid, desktop) in scene.desktops {
            let settings = DesktopSettings { profiles: Some(desktop.profiles), ..DesktopSettings::default() };
            observed.domains.get_mut(&uuid).unwrap().settings = Some(settings);
        }
        let policy = Policy { minimum_hold: Span::ZERO, ..Policy::default() };
        let settings = Settings { policy, rules: Vec::new(), zone: jiff::tz::TimeZone::UTC, mode: Mode::Armed };
        let memory = Memory::new(History::new(FORGET), headstart_core::forecast::Model::default());
        Self { memory, observed, settings, now: START }
    }

    fn round(&mut self) -> Round {
        self.now = self.now + Span::seconds(30);
        self.memory.round(&self.settings, self.observed.clone(), &Busy::default(), self.now)
    }

    fn vm1(&mut self) -> &mut Domain {
        self.observed.domains.values_mut().next().unwrap()
    }

    fn uuid(&self) -> DomainUuid {
        *self.observed.domains.keys().next().unwrap()
    }
}

#[test]
fn who_libvirt_is_silent_about_is_still_there() {
    let mut play = Play::new(
        "
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          + mdev:vm1 A-4Q open=vm1
        desktop vm1 cold A-4Q running has=mdev:vm1 active=60m
        ",
    );
    let uuid = play.uuid();
    assert_eq!(play.round().happened.len(), 2, "it is found with its device and its user");
    let domain = play.observed.domains.remove(&uuid).unwrap();
    play.observed.gaps.insert(Gap::Domains);
    for _ in 0..3 {
        let round = play.round();
        let seen = &round.observed.domains[&uuid];
        assert!(matches!((&seen.power, &seen.login), (Power::Unknown(_), Login::Unknown(_))), "{seen:?}");
        assert_eq!(seen.hostdevs, domain.hostdevs);
        assert!(matches!(round.plan.verdicts[&uuid].reason, Reason::Unknown { .. }));
        assert!(round.happened.is_empty() && round.steps.is_empty(), "{:?} {:?}", round.happened, round.steps);
    }
    // libvirt is back: nobody has come or gone.
    play.observed.gaps.clear();
    play.observed.domains.insert(uuid, domain);
    assert_eq!(play.round().happened, []);
    // A full look without it says that it is gone.
    play.observed.domains.clear();
    assert!(play.round().desktops.is_empty());
}

#[test]
fn whoever_came_while_the_history_was_read_again_is_here() {
    let mut play = Play::new(
        "
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
        desktop vm1 cold A-4Q running
        ",
    );
    play.round();
    play.vm1().login = Login::Active { since: START + Span::minutes(1) };
    let round = play.round();
    assert_eq!(round.happened.len(), 1, "somebody comes");
    let subject = round.desktops[&play.uuid()].subject.clone();
    // What was read ends before that.
    play.memory.learned_anew(History::new(FORGET));
    let round = play.round();
    assert_eq!(round.happened, [], "that was seen before");
    assert!(round.forecast.subjects.contains_key(&subject), "and it is not forgotten");
}

#[test]
fn a_request_ends_when_what_it_got_is_shut_off() {
    let mut play = Play::new(
        "
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
        desktop vm1 cold A-4Q off
        ",
    );
    let uuid = play.uuid();
    let wish = Standing { wish: Wish::default(), since: START };
    play.memory.standing.insert(uuid, wish);
    let steps = |round: &Round| round.steps.iter().map(headstart_core::step::Step::kind).collect::<Vec<_>>();
    assert_eq!(steps(&play.round()), ["create-mdev"], "off is no reason to forget what was never served");
    let scene: Scene = "
        gpu 3b mdev equal-size 24576
          A-4Q 4096 x6
          + mdev:vm1 A-4Q open=vm1
        desktop vm1 cold A-4Q running has=mdev:vm1
        "
    .parse()
    .unwrap();
    let settings = play.vm1().settings.clone();
    play.observed = scene.observed;
    play.vm1().settings = settings;
    assert!(matches!(play.round().plan.verdicts[&uuid].reason, Reason::Waiting { .. }));
    // An administrator, or the guest itself.
    play.vm1().power = Power::Off;
    play.observed.gpus.values_mut().flat_map(|gpu| gpu.vgpus.values_mut()).for_each(|vgpu| {
        vgpu.opened = headstart_core::gpu::Opened::No;
    });
    let round = play.round();
    assert!(!steps(&round).contains(&"start"), "{:?}", round.steps);
    assert!(play.memory.standing.is_empty());
}
