//! Scenes drawn at random. One dial, [`Trouble`], says what may befall the host, so that a law is tried with what it is about.

use headstart_core::desktop::AttachMode;
use headstart_core::step::FailureKind;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any};
use proptest::{option, prop_oneof};

use super::scene::{
    Before, Board, Deed, Desktop, Fate, Hidden, Kind, Leftover, Named, Names, Open, Powered, Scene, Stranger, Turn,
    User,
};

/// What may befall the host.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of its own, set by name")]
pub(super) struct Trouble {
    /// People come, go and ask; the host is rebooted.
    pub(super) deeds: bool,
    /// They do so also between look and steps.
    pub(super) races: bool,
    /// Looks do not show everything.
    pub(super) gaps: bool,
    /// Steps fail, their answers are lost or come late.
    pub(super) faults: bool,
    /// The daemon is killed.
    pub(super) crashes: bool,
}

impl Trouble {
    pub(super) const ALL: Self = Self { deeds: true, races: true, gaps: true, faults: true, crashes: true };
    pub(super) const NONE: Self = Self { deeds: false, races: false, gaps: false, faults: false, crashes: false };
}

/// Any scene with up to so many turns.
pub(super) fn scene(trouble: Trouble, turns: usize) -> impl Strategy<Value = Scene> {
    (
        // Few boards and many desktops, so that room is short.
        prop_oneof![2 => vec(board(), 1), 1 => vec(board(), 2..4)],
        vec(desktop(), 2..9),
        vec(stranger(), 0..3),
        (thresholds(), prop_oneof![Just(0), Just(1), Just(10)], rarely(0.3), rarely(0.3)),
        vec(turn(trouble), 0..=turns),
    )
        .prop_map(|(boards, desktops, strangers, (thresholds, calm_minutes, keep_running, keep_spare), turns)| {
            Scene { boards, desktops, strangers, thresholds, calm_minutes, keep_running, keep_spare, turns }
        })
}

fn thresholds() -> impl Strategy<Value = (u8, u8)> {
    prop_oneof![Just((3, 2)), Just((20, 10)), Just((50, 25))]
}

fn board() -> impl Strategy<Value = Board> {
    let kind = prop_oneof![
        Just(Kind::MdevEqualSize),
        Just(Kind::MdevOneType),
        Just(Kind::MdevMixedSize),
        Just(Kind::MdevOnVfs),
        Just(Kind::VariantEqualSize),
        Just(Kind::VariantOneType),
        Just(Kind::VariantMixedSize),
        Just(Kind::VariantMig),
        Just(Kind::MigInstances),
        Just(Kind::DormantVfs),
        Just(Kind::Budget),
        Just(Kind::FixedVfs),
        Just(Kind::SrIov),
    ];
    (kind, prop_oneof![Just(Vec::new()), vec(leftover(), 1..4)]).prop_map(|(kind, leftovers)| Board { kind, leftovers })
}

fn leftover() -> impl Strategy<Value = Leftover> {
    let open = prop_oneof![8 => Just(Open::Nobody), 1 => Just(Open::Process), 1 => Just(Open::Unreadable)];
    (option::weighted(0.7, 0..6_usize), 0..3_usize, open, rarely(0.1))
        .prop_map(|(of, profile, open, nameless)| Leftover { of, profile, open, nameless })
}

fn desktop() -> impl Strategy<Value = Desktop> {
    let attach = prop_oneof![3 => Just(AttachMode::Cold), 3 => Just(AttachMode::Live), 1 => Just(AttachMode::Request)];
    let profiles = prop_oneof![
        9 => (vec(0..3_usize, 1..3), any::<bool>()).prop_map(|(wished, vf)| if vf { [wished, vec![3]].concat() } else { wished }),
        1 => vec(0..5_usize, 1..3),
        1 => Just(Vec::new()),
    ];
    let user = prop_oneof![
        7 => Just(User::Nobody),
        1 => Just(User::Long),
        2 => Just(User::JustNow),
        1 => Just(User::Reported),
    ];
    let names = option::weighted(0.1, names());
    let character = (attach, profiles, -1..3_i32, rarely(0.25), prop_oneof![1 => 0..5_u8, 2 => 20..29_u8]);
    let state = (1..120_i64, rarely(0.3), before(), user, names);
    (character, state).prop_map(
        |((attach, profiles, priority, pooled, habit), (boot_seconds, refuses_unplug, before, user, names))| Desktop {
            attach,
            profiles,
            priority,
            pooled,
            habit,
            boot_seconds,
            refuses_unplug,
            before,
            user,
            names,
        },
    )
}

fn before() -> impl Strategy<Value = Before> {
    let power = prop_oneof![
        3 => Just(Powered::Off),
        1 => Just(Powered::Booting),
        3 => Just(Powered::Up),
        1 => Just(Powered::Stopping),
        1 => Just(Powered::Unplugging),
        1 => Just(Powered::Unplugged),
    ];
    prop_oneof![
        4 => Just(Before::Off),
        1 => Just(Before::Running),
        6 => (0..3_usize, 0..3_usize, power).prop_map(|(board, profile, power)| Before::Holding { board, profile, power }),
    ]
}

fn stranger() -> impl Strategy<Value = Stranger> {
    (any::<bool>(), option::weighted(0.9, names())).prop_map(|(running, names)| Stranger { running, names })
}

fn names() -> impl Strategy<Value = Names> {
    let device = prop_oneof![
        12 => (0..3_usize, 0..6_usize).prop_map(|(board, nth)| Named::On { board, nth }),
        1 => (0..6_usize).prop_map(Named::MdevOf),
    ];
    (device, rarely(0.2)).prop_map(|(device, marked)| Names { device, marked })
}

fn turn(trouble: Trouble) -> impl Strategy<Value = Turn> {
    let before = some_of(deed(), trouble.deeds, 2);
    let hidden = some_of(hidden(), trouble.gaps, 3);
    let between = some_of(deed(), trouble.races, 1);
    let fates = some_of(fate(), trouble.faults, 4);
    let crash = rarely(if trouble.crashes { 0.2 } else { 0.0 });
    let pass = prop_oneof![3 => Just(0), 3 => 1..20_i64, 2 => 20..200_i64, 1 => 200..2000_i64];
    (before, hidden, between, fates, any::<u32>(), crash, pass).prop_map(
        |(before, hidden, between, fates, order, crash, pass)| Turn {
            before,
            hidden,
            between,
            fates,
            order,
            crash,
            pass,
        },
    )
}

/// Up to `most`, mostly none; none at all if it shall not happen.
fn some_of<T: std::fmt::Debug + Clone>(
    one: impl Strategy<Value = T>,
    happens: bool,
    most: usize,
) -> impl Strategy<Value = Vec<T>> {
    let some = vec(one, 1..=most);
    prop_oneof![2 => Just(Vec::new()), u32::from(happens) => some]
}

fn deed() -> impl Strategy<Value = Deed> {
    let one = 0..8_usize;
    prop_oneof![
        8 => one.clone().prop_map(Deed::Arrive),
        8 => one.clone().prop_map(Deed::Leave),
        4 => (one.clone(), option::of(0..5_usize), any::<bool>())
            .prop_map(|(desktop, profile, ahead)| Deed::Wish { desktop, profile, ahead }),
        1 => one.clone().prop_map(Deed::Release),
        2 => one.clone().prop_map(Deed::Report),
        2 => one.prop_map(Deed::EndReport),
        1 => Just(Deed::Reboot),
    ]
}

fn hidden() -> impl Strategy<Value = Hidden> {
    prop_oneof![
        any::<u8>().prop_map(|seen| Hidden::Domains { seen }),
        (0..3_usize).prop_map(Hidden::Board),
        (0..3_usize, any::<u8>()).prop_map(|(board, seen)| Hidden::OnBoard { board, seen }),
        (0..3_usize).prop_map(Hidden::NotReady),
        (0..8_usize).prop_map(Hidden::Opened),
        (0..8_usize).prop_map(Hidden::Login),
        (0..8_usize).prop_map(Hidden::Power),
    ]
}

fn fate() -> impl Strategy<Value = Fate> {
    let kind = || {
        prop_oneof![
            Just(FailureKind::Conflict),
            Just(FailureKind::Transient),
            Just(FailureKind::Exhausted),
            Just(FailureKind::Denied),
            Just(FailureKind::Gone),
            Just(FailureKind::Unsupported),
        ]
    };
    prop_oneof![
        2 => Just(Fate::Works),
        1 => kind().prop_map(Fate::Fails),
        1 => kind().prop_map(Fate::Lost),
        1 => (1..5_u8, any::<bool>()).prop_map(|(rounds, at_once)| Fate::Slow { rounds, at_once }),
    ]
}

fn rarely(p: f64) -> impl Strategy<Value = bool> {
    proptest::bool::weighted(p)
}
