//! What was told of one subject and still matters, in constant memory: the last event of each kind, the statements about the days around
//! now, and how often what was told came true.
//!
//! Deliberately not here: what it is worth ([`crate::forecast`]).

use super::Clock;
use super::pattern;
use crate::hint::{EVENTS, Hint, Kind, STATEMENTS};
use crate::unit::{Span, Time};

/// Statements that are kept at a time: those that end last.
const KEPT: usize = 12;
/// A statement is kept so long after its end: the day after a holiday is not like others.
const MATTERS_AFTER: Span = Span::hours(36);
/// Silence says something where a kind was told within this time.
const USUAL: Span = Span::days(21);
/// A login so long after an event is taken to be what it announced.
pub(crate) const FOLLOWS: Span = Span::hours(1);
/// Days that are counted before both counts are halved.
const COUNTED: u8 = 40;

/// Of so many times that something was told, it came true so often. Old times fade.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    pub told: u8,
    pub came: u8,
}

impl Kept {
    fn told(&mut self) {
        if self.told >= COUNTED {
            (self.told, self.came) = (self.told / 2, self.came / 2);
        }
        self.told += 1;
    }

    fn came(&mut self) {
        self.came = (self.came + 1).min(self.told);
    }

    /// The share, before anything is known a half.
    pub(crate) fn share(self) -> f32 {
        (f32::from(self.came) + 1.0) / (f32::from(self.told) + 2.0)
    }
}

/// A time of which something was stated. Seconds since the epoch, which fit until 2106.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stated {
    from: u32,
    until: u32,
    pub kind: Kind,
    came: bool,
}

impl Stated {
    const NOTHING: Self = Self { from: 0, until: 0, kind: Kind::Hours, came: false };

    pub(crate) fn from(&self) -> Time {
        Time::from_unix(i64::from(self.from))
    }

    pub(crate) fn until(&self) -> Time {
        Time::from_unix(i64::from(self.until))
    }
}

/// All of one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hints {
    /// When each kind of event was told last, 0 if never; and until when that counts.
    told: [u32; EVENTS],
    until: [u32; EVENTS],
    /// Until when the last statement of each kind is true, 0 if there was none.
    last: [u32; STATEMENTS],
    /// The last news.
    news: u32,
    stated: [Stated; KEPT],
    n_stated: u8,
    /// Events of the day that a login followed, a bit each.
    followed: u8,
    kept: [Kept; EVENTS + STATEMENTS],
    /// Whether anything was ever told.
    any: bool,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            told: [0; EVENTS],
            until: [0; EVENTS],
            last: [0; STATEMENTS],
            news: 0,
            stated: [Stated::NOTHING; KEPT],
            n_stated: 0,
            followed: 0,
            kept: [Kept::default(); EVENTS + STATEMENTS],
            any: false,
        }
    }
}

/// Seconds that fit; what is before the epoch or after 2106 is moved to the end that is nearer.
fn seconds(time: Time) -> u32 {
    u32::try_from(time.unix().max(1)).unwrap_or(u32::MAX)
}

fn time(seconds: u32) -> Option<Time> {
    (seconds > 0).then(|| Time::from_unix(i64::from(seconds)))
}

impl Hints {
    /// Whether nothing was ever told.
    pub(crate) fn is_empty(&self) -> bool {
        !self.any
    }

    /// The instant of the last news: from then on a forecast may be another.
    pub(crate) fn news(&self) -> Option<Time> {
        time(self.news)
    }

    /// The last event of a kind, and until when it counts.
    pub(crate) fn event(&self, kind: Kind) -> Option<(Time, Time)> {
        let told = time(*self.told.get(kind as usize)?)?;
        Some((told, time(self.until[kind as usize]).unwrap_or(told)))
    }

    /// The statements about the days around now.
    pub(crate) fn stated(&self) -> &[Stated] {
        &self.stated[..usize::from(self.n_stated)]
    }

    /// How often this kind came true.
    pub(crate) fn kept(&self, kind: Kind) -> Kept {
        self.kept[kind as usize]
    }

    /// Whether this kind is told so often that silence says something.
    pub(crate) fn is_usual(&self, kind: Kind, at: Time) -> bool {
        let last = kind.statement().map_or_else(|| self.told[kind as usize], |statement| self.last[statement]);
        time(last).is_some_and(|last| at - last < USUAL)
    }

    /// Takes a hint that is due. Told twice it counts once.
    pub(crate) fn tell(&mut self, hint: &Hint, clock: &Clock) {
        self.any = true;
        if hint.kind.is_event() {
            self.event_told(hint, clock);
        } else {
            self.state(hint);
        }
        if hint.is_news() {
            self.news = self.news.max(seconds(hint.told));
        }
    }

    fn event_told(&mut self, hint: &Hint, clock: &Clock) {
        let kind = hint.kind as usize;
        let before = time(self.told[kind]);
        if before.is_some_and(|before| before > hint.told) {
            return;
        }
        let day = |at: Time| pattern::day_of(clock.wall(at));
        if before.is_none_or(|before| day(before) != day(hint.told)) {
            self.kept[kind].told();
            self.followed &= !(1 << kind);
        }
        (self.told[kind], self.until[kind]) = (seconds(hint.told), seconds(hint.until));
    }

    fn state(&mut self, hint: &Hint) {
        let (kind, due) = (hint.kind, hint.due());
        let (from, until) = (seconds(hint.from), seconds(hint.until));
        self.retain(|stated| stated.until() + MATTERS_AFTER > due);
        let known = self.stated().iter().position(|stated| (stated.kind, stated.from) == (kind, from));
        if until == from {
            if known.is_some() {
                self.retain(|stated| (stated.kind, stated.from) != (kind, from));
                let kept = &mut self.kept[kind as usize];
                kept.told = kept.told.saturating_sub(1).max(kept.came);
            }
            return;
        }
        if let Some(last) = kind.statement().map(|statement| &mut self.last[statement]) {
            *last = (*last).max(until);
        }
        if let Some(at) = known {
            self.stated[at].until = until;
            return;
        }
        self.kept[kind as usize].told();
        let new = Stated { from, until, kind, came: false };
        if usize::from(self.n_stated) < KEPT {
            self.stated[usize::from(self.n_stated)] = new;
            self.n_stated += 1;
        } else if let Some(first) = self.stated.iter_mut().min_by_key(|stated| stated.until)
            && first.until < until
        {
            *first = new;
        }
    }

    fn retain(&mut self, keeps: impl Fn(&Stated) -> bool) {
        let mut n = 0;
        for at in 0..usize::from(self.n_stated) {
            if keeps(&self.stated[at]) {
                self.stated[n] = self.stated[at];
                n += 1;
            }
        }
        self.stated[n..].fill(Stated::NOTHING);
        self.n_stated = n as u8;
    }

    /// A login: what announced it came true.
    pub(crate) fn login(&mut self, at: Time) {
        if !self.any {
            return;
        }
        for kind in 0..EVENTS {
            let announced = time(self.told[kind]).is_some_and(|told| told <= at && at - told <= FOLLOWS);
            if announced && self.followed >> kind & 1 == 0 {
                self.followed |= 1 << kind;
                self.kept[kind].came();
            }
        }
        for stated in &mut self.stated[..usize::from(self.n_stated)] {
            if !stated.came && stated.from() <= at && at < stated.until() {
                stated.came = true;
                self.kept[stated.kind as usize].came();
            }
        }
    }

    /// The clock that all this is told by goes another way by so much.
    pub(crate) fn moved(&mut self, by: Span) {
        let moved = |at: u32| time(at).map_or(0, |at| seconds(at + by));
        self.told = self.told.map(moved);
        self.until = self.until.map(moved);
        self.last = self.last.map(moved);
        self.news = moved(self.news);
        for stated in &mut self.stated[..usize::from(self.n_stated)] {
            (stated.from, stated.until) = (moved(stated.from), moved(stated.until));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MONDAY: i64 = 1_267_401_600; // 2010-03-01T00:00:00Z

    fn at(day: i64, hour: i64) -> Time {
        Time::from_unix(MONDAY + day * 86_400 + hour * 3600)
    }

    fn clock() -> Clock {
        Clock::Fixed(jiff::tz::Offset::UTC)
    }

    fn event(kind: Kind, told: Time) -> Hint {
        Hint::new(kind, told, None, None).unwrap()
    }

    fn stated(kind: Kind, told: Time, from: Time, until: Time) -> Hint {
        Hint::new(kind, told, Some(from), Some(until)).unwrap()
    }

    #[test]
    fn what_an_event_announced_is_counted_by_day() {
        let mut hints = Hints::default();
        for day in 0..4 {
            for hour in [8, 13] {
                hints.tell(&event(Kind::Badge, at(day, hour)), &clock());
                if day != 2 {
                    hints.login(at(day, hour) + Span::minutes(9));
                }
            }
        }
        assert_eq!(hints.kept(Kind::Badge), Kept { told: 4, came: 3 });
        assert_eq!(hints.event(Kind::Badge).unwrap().0, at(3, 13));
        assert_eq!(hints.event(Kind::Vpn), None);
        assert!(hints.is_usual(Kind::Badge, at(20, 0)) && !hints.is_usual(Kind::Badge, at(30, 0)));
        for day in 4..200 {
            hints.tell(&event(Kind::Badge, at(day, 8)), &clock());
        }
        assert!(hints.kept(Kind::Badge).share() < 0.1, "old times fade");
    }

    #[test]
    fn a_statement_is_corrected_taken_back_and_forgotten() {
        let mut hints = Hints::default();
        let shift = stated(Kind::Shift, at(0, 0), at(1, 6), at(1, 14));
        hints.tell(&shift, &clock());
        hints.tell(&shift, &clock());
        assert_eq!((hints.stated().len(), hints.kept(Kind::Shift).told), (1, 1));
        hints.tell(&stated(Kind::Shift, at(0, 9), at(1, 6), at(1, 12)), &clock());
        assert_eq!(hints.stated()[0].until(), at(1, 12));
        hints.login(at(1, 6));
        hints.login(at(1, 9));
        assert_eq!(hints.kept(Kind::Shift), Kept { told: 1, came: 1 });
        hints.tell(&stated(Kind::Shift, at(1, 9), at(2, 6), at(2, 14)), &clock());
        hints.tell(&stated(Kind::Shift, at(1, 10), at(2, 6), at(2, 6)), &clock());
        assert_eq!((hints.stated().len(), hints.kept(Kind::Shift)), (1, Kept { told: 1, came: 1 }));
        hints.tell(&stated(Kind::Leave, at(4, 0), at(5, 0), at(9, 0)), &clock());
        assert_eq!(hints.stated().iter().map(|stated| stated.kind).collect::<Vec<_>>(), [Kind::Leave]);
    }

    #[test]
    fn a_flood_of_statements_keeps_those_that_end_last() {
        let mut hints = Hints::default();
        for hour in 0..24 {
            hints.tell(&stated(Kind::Booking, at(0, 0), at(0, hour), at(0, hour + 1)), &clock());
        }
        assert_eq!(hints.stated().len(), KEPT);
        assert_eq!(hints.stated().iter().map(Stated::until).min().unwrap(), at(0, 13));
    }

    #[test]
    fn another_clock_moves_everything_alike() {
        let (mut here, mut there) = (Hints::default(), Hints::default());
        let by = Span::hours(-1);
        for hint in [event(Kind::Vpn, at(0, 8)), stated(Kind::Leave, at(0, 9), at(1, 0), at(2, 0))] {
            here.tell(&hint, &clock());
            there.tell(&hint.moved(by), &clock());
        }
        here.moved(by);
        assert_eq!(here, there);
    }
}
