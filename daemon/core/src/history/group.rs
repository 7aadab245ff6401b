//! What the members of a declared group do: how often one of them logs in at each slot, and how many have today.
//!
//! A group is a department or a role, whatever the administrator says. Like the others' activity it is kept by slot, so that a decision
//! about the past sees what was known then. Deliberately not here: what it is worth, which is learned.

use std::collections::BTreeMap;

use super::Clock;
use super::pattern::{self, Pattern, SLOT, SLOTS};
use crate::id::GroupName;
use crate::unit::Time;

/// Slots of what was seen that are kept: slots are worked off within a day.
const KEPT: i64 = 2 * SLOTS as i64;
/// Days without a login after which somebody does not count as a member any more.
const FORGOTTEN: i64 = 28;
/// Slots of "just now".
const NOW: usize = 4;

/// What was known of a group when a slot began.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// Logins of one member in that slot on such days; negative without a group.
    pub rate: f32,
    /// Logins since midnight, and in the last hour, against such days; logarithms of ratios, 0 = as usual.
    pub day: f32,
    pub hour: f32,
    /// Members who were there within the last weeks.
    pub members: f32,
    /// Of those: who has come today.
    pub came: f32,
}

impl Seen {
    /// Of whoever belongs to no group.
    pub(crate) const NOTHING: Self = Self { rate: -1.0, day: 0.0, hour: 0.0, members: 0.0, came: 0.0 };
}

/// Where somebody sits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seat {
    group: usize,
    /// None before the first login.
    member: Option<usize>,
}

/// All groups.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups {
    names: BTreeMap<GroupName, usize>,
    all: Vec<Group>,
}

impl Groups {
    /// A seat in the group of this name.
    pub(crate) fn seat(&mut self, name: &GroupName) -> Seat {
        let next = self.all.len();
        let group = *self.names.entry(name.clone()).or_insert(next);
        if group == next {
            self.all.push(Group::default());
        }
        Seat { group, member: None }
    }

    /// Whether the seat is in the group of this name.
    pub(crate) fn is(&self, seat: Seat, name: &GroupName) -> bool {
        self.names.get(name) == Some(&seat.group)
    }

    /// The name of a seat's group.
    pub(crate) fn name(&self, seat: Seat) -> Option<&GroupName> {
        self.names.iter().find(|(_, group)| **group == seat.group).map(|(name, _)| name)
    }

    /// The day of which a seat's group knows what is usual; what is to be expected of later slots changes with it.
    pub(crate) fn day(&self, seat: Option<Seat>) -> Option<i64> {
        seat.and_then(|seat| self.all.get(seat.group)).map(|group| group.usual[0].day)
    }

    /// Somebody logs in. The group lives by the clock of whoever did first; in a trace, which knows offsets alone, by that of whoever did last.
    pub(crate) fn login(&mut self, seat: &mut Seat, at: Time, clock: &Clock) {
        let Some(group) = self.all.get_mut(seat.group) else { return };
        let member = *seat.member.get_or_insert_with(|| {
            group.last.push(i64::MIN);
            group.last.len() - 1
        });
        group.login(member, at, clock);
    }

    /// Sees the beginning of every slot up to `now`. Idempotent.
    pub(crate) fn advance(&mut self, now: Time) {
        for group in &mut self.all {
            group.advance(now);
        }
    }

    /// About the slot of `at`, as known when it began, or at `now` if that is later.
    pub(crate) fn at(&self, seat: Option<Seat>, at: Time, now: Time) -> Seen {
        seat.and_then(|seat| self.all.get(seat.group)).map_or(Seen::NOTHING, |group| group.at(at, now))
    }
}

#[derive(Clone, Debug, Default)]
struct Group {
    /// Logins of all members, and the group's clock; none before the first.
    known: Option<Box<(Pattern, Clock)>>,
    /// Local day of the last login of each member.
    last: Vec<i64>,
    /// Members who were there within the last weeks.
    members: usize,
    /// The days on which logins are usual, each with those that are before each of its slots.
    usual: [Usual; 2],
    /// What was seen when a slot began, a ring of `KEPT`; and the slot up to which (exclusive) it is filled.
    seen: Vec<Seen>,
    filled: Option<i64>,
}

/// What is usual on a local day.
#[derive(Clone, Debug)]
struct Usual {
    day: i64,
    before: [f32; SLOTS + 1],
}

impl Default for Usual {
    fn default() -> Self {
        Self { day: i64::MIN, before: [0.0; SLOTS + 1] }
    }
}

impl Usual {
    fn new(pattern: &Pattern, day: i64) -> Self {
        let (class, weekday) = (pattern::class(day), pattern::weekday(day));
        let (class_days, weekday_days) = (pattern.class_days[class] + 1.0, pattern.weekday_days[weekday] + 1.0);
        let mut usual = Self { day, ..Self::default() };
        for slot in 0..SLOTS {
            let of_class = pattern.class[class][slot] / class_days;
            let of_weekday = pattern.weekday[weekday][slot / 2].get() * 0.5 / weekday_days;
            usual.before[slot + 1] = usual.before[slot] + (of_class + of_weekday) * 0.5;
        }
        usual
    }

    fn between(&self, from: usize, until: usize) -> f32 {
        self.before[until.min(SLOTS)] - self.before[from.min(SLOTS)]
    }

    /// What is to be expected of a slot, whatever the day has been like: as many have come as usually have.
    fn expects(&self, slot: usize, members: usize) -> Seen {
        let members = members as f32;
        let rate = (self.between(slot, slot + 1) + 0.02) / (members + 1.0);
        Seen { rate, members, came: self.between(0, slot).min(members), ..Seen::NOTHING }
    }
}

impl Group {
    fn login(&mut self, member: usize, at: Time, clock: &Clock) {
        self.advance(at);
        let (pattern, of_group) =
            &mut **self.known.get_or_insert_with(|| Box::new((Pattern::new(clock.wall(at)), clock.clone())));
        if matches!(clock, Clock::Fixed(_)) {
            of_group.clone_from(clock);
        }
        let wall = of_group.wall(at);
        pattern.login(wall);
        self.last[member] = self.last[member].max(pattern::day_of(wall));
        self.filled.get_or_insert(at.unix().div_euclid(SLOT) + 1);
    }

    fn advance(&mut self, now: Time) {
        let slot = now.unix().div_euclid(SLOT);
        let Some(filled) = self.filled else { return };
        self.seen.resize(KEPT as usize, Seen::NOTHING);
        for s in filled.max(slot - KEPT + 1)..=slot {
            let seen = self.see(Time::from_unix(s * SLOT));
            self.seen[s.rem_euclid(KEPT) as usize] = seen;
        }
        self.filled = Some(filled.max(slot + 1));
    }

    /// What is known when a slot begins.
    fn see(&mut self, start: Time) -> Seen {
        let Some(known) = &mut self.known else { return Seen::NOTHING };
        let (pattern, clock) = &mut **known;
        let wall = clock.wall(start);
        pattern.roll(wall);
        let (day, slot) = (pattern.day, pattern::slot_of(wall));
        if self.usual[0].day != day {
            self.usual = [0, 1].map(|ahead| Usual::new(pattern, day + ahead));
            self.members = self.last.iter().filter(|last| **last > day - FORGOTTEN).count();
        }
        let sum = |slots: &[u8]| slots.iter().map(|n| f32::from(*n)).sum::<f32>();
        let ratio = |now: f32, usual: f32| ((now + 1.0) / (usual + 1.0)).ln().clamp(-2.5, 2.5);
        let just = slot.saturating_sub(NOW);
        let usual = &self.usual[0];
        let came = self.last.iter().filter(|last| **last >= day).count() as f32;
        let usually = usual.expects(slot, self.members);
        Seen {
            day: ratio(sum(&pattern.today[..slot]), usual.between(0, slot)),
            hour: ratio(sum(&pattern.today[just..slot]), usual.between(just, slot)),
            // Whoever comes for the first time is counted among the members tomorrow.
            members: usually.members.max(came),
            came,
            ..usually
        }
    }

    fn at(&self, at: Time, now: Time) -> Seen {
        let (slot, now) = (at.unix().div_euclid(SLOT), now.unix().div_euclid(SLOT));
        let (Some(filled), Some(known)) = (self.filled, &self.known) else { return Seen::NOTHING };
        if slot <= now && slot < filled {
            let kept = self.seen.get(slot.rem_euclid(KEPT) as usize).filter(|_| slot + KEPT >= filled);
            return kept.copied().unwrap_or(Seen::NOTHING);
        }
        let wall = known.1.wall(at);
        let (day, slot) = (pattern::day_of(wall), pattern::slot_of(wall));
        let Some(usual) = self.usual.iter().find(|usual| usual.day == day) else { return Seen::NOTHING };
        usual.expects(slot, self.members)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::unit::Span;
    use jiff::tz::Offset;

    use crate::history::pattern::DAY;

    /// Monday, 8 March 2010, 00:00 UTC.
    const MONDAY: i64 = 1_268_006_400;

    fn at(day: i64, hour: i64) -> Time {
        Time::from_unix(MONDAY + day * DAY + hour * 3600)
    }

    #[test]
    fn a_group_is_known_by_what_its_members_do() {
        let utc = Clock::Zone(jiff::tz::TimeZone::UTC);
        let mut groups = Groups::default();
        let name = GroupName::new("design").unwrap();
        let mut seats = [groups.seat(&name), groups.seat(&name), groups.seat(&name)];
        assert_eq!(groups.at(Some(seats[0]), at(0, 9), at(0, 9)), Seen::NOTHING, "nobody ever came");
        for day in (0..28).filter(|day| day % 7 < 5) {
            for seat in &mut seats {
                groups.login(seat, at(day, 9), &utc);
            }
        }
        groups.login(&mut seats[0], at(28, 9), &utc);
        groups.login(&mut seats[1], at(28, 9) + Span::minutes(1), &utc);
        groups.advance(at(28, 10));
        let seat = Some(seats[2]);
        let before = groups.at(seat, at(28, 9), at(28, 10));
        assert_eq!(
            (before.came, before.members),
            (0.0, 3.0),
            "what came in a slot was not known when it began: {before:?}"
        );
        // Patterns smear a login over the slots beside it.
        assert!(before.rate > 0.15 && before.day.abs() < 0.7, "{before:?}");
        let after = groups.at(seat, at(28, 10), at(28, 10));
        assert!(after.came as u32 == 2 && after.rate < 0.05 && after.hour.abs() < 0.5, "{after:?}");
        let tomorrow = groups.at(seat, at(29, 9), at(28, 10));
        assert!(tomorrow.rate > 0.15 && tomorrow.day == 0.0 && (0.5..=3.0).contains(&tomorrow.came), "{tomorrow:?}");
        let weekend = groups.at(seat, at(33, 9), at(28, 10));
        assert_eq!(weekend, Seen::NOTHING, "nobody asks so far ahead");
        assert_eq!(groups.at(None, at(29, 9), at(28, 10)), Seen::NOTHING);
        let abroad = Clock::Zone(jiff::tz::TimeZone::fixed(Offset::constant(-5)));
        let mut guest = groups.seat(&name);
        groups.login(&mut guest, at(28, 22), &abroad);
        groups.advance(at(28, 23));
        assert_eq!(groups.at(seat, at(29, 9), at(28, 23)).rate.to_bits(), tomorrow.rate.to_bits(), "its clock stays");
        groups.advance(at(70, 0));
        assert_eq!(groups.at(seat, at(70, 0), at(70, 0)).members as u32, 0, "nobody came for weeks");
    }
}
