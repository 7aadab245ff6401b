use super::*;
use crate::hint::{Hint, Kind};
use crate::history::Clock;
use crate::id::{DesktopName, GroupName, PoolName};

const MONDAY: i64 = 1_267_401_600; // 2010-03-01T00:00:00Z

fn desktop(name: &str) -> Subject {
    Subject::Desktop(DesktopName::new(name).unwrap())
}

/// Nine to five in a zone on the weekdays of `weeks` weeks.
fn office(zone: &str, weeks: i64) -> (History, Subject) {
    let zone = jiff::tz::TimeZone::get(zone).unwrap();
    let mut history = History::new(Span::days(28));
    let subject = desktop("a");
    history.set_clock(&subject, Clock::Zone(zone.clone()));
    for day in (0..7 * weeks).filter(|day| day % 7 < 5) {
        let local = jiff::civil::date(2010, 3, 1).at(9, 5, 0, 0) + jiff::Span::new().days(day);
        let start = Time::from_timestamp(zone.to_timestamp(local).unwrap());
        history.session_started(&subject, start, None);
        history.session_ended(&subject, start + Span::hours(8));
    }
    (history, subject)
}

fn utc(text: &str) -> Time {
    Time::from_timestamp(text.parse().unwrap())
}

#[test]
fn without_a_model_the_frequency_of_the_slot_counts() {
    let (mut history, subject) = office("Europe/Warsaw", 3);
    let now = utc("2010-03-22T05:00:00Z");
    history.advance(now);
    let forecast = forecast(&history, &Model::default(), now);
    let slot = forecast.subjects[&subject].likeliest.unwrap();
    assert_eq!(slot, 12, "nine o'clock in Warsaw is eight UTC in winter");
    assert!(matches!(forecast.subjects[&subject].basis, Basis::Frequency { .. }));
    assert!(forecast.at(&subject, utc("2010-03-22T08:10:00Z")) > forecast.at(&subject, utc("2010-03-22T12:00:00Z")));
    assert_eq!(forecast.at(&subject, utc("2010-03-23T08:10:00Z")), Probability::ZERO, "a day later");
    assert_eq!(forecast.at(&desktop("stranger"), now), Probability::ZERO);
}

#[test]
fn daylight_saving_moves_the_day_with_the_wall_clock() {
    // Warsaw: 2010-03-28 01:00 UTC the clock goes from 2 to 3; 2010-10-31 01:00 UTC from 3 to 2.
    for (zone, weeks, now, nine) in [
        ("Europe/Warsaw", 4, "2010-03-28T20:00:00Z", "2010-03-29T07:05:00Z"),
        ("Europe/Warsaw", 35, "2010-10-31T20:00:00Z", "2010-11-01T08:05:00Z"),
        // Across the change itself: 23 and 25 hours.
        ("America/New_York", 36, "2010-11-06T23:00:00Z", "2010-11-07T14:05:00Z"),
    ] {
        let (mut history, subject) = office(zone, weeks);
        let now = utc(now);
        history.advance(now);
        let forecast = forecast_one(&history, &Model::default(), &subject, now);
        let at_nine = forecast.at(now, utc(nine));
        assert!(forecast.slots.iter().all(|p| *p <= at_nine), "{zone} {now}: {at_nine}");
    }
}

#[test]
fn on_the_short_day_slots_are_skipped_and_on_the_long_day_told_twice() {
    let (mut history, subject) = office("Europe/Warsaw", 1);
    let entry = history.entries.get_mut(&subject).unwrap();
    // Marks each local slot by its own frequency.
    entry.pattern.weekday = [[pattern::Short::default(); SLOTS / 2]; 7];
    for class in &mut entry.pattern.class {
        for (slot, value) in class.iter_mut().enumerate() {
            *value = slot as f32;
        }
    }
    entry.pattern.recent = [0.0; SLOTS];
    let clock = entry.clock.clone();
    for (now, skipped, twice) in [("2010-03-27T23:00:00Z", 8..12, 0..0), ("2010-10-30T22:00:00Z", 0..0, 8..12)] {
        let now = utc(now);
        let slots: Vec<usize> =
            (0..SLOTS as i64).map(|i| pattern::slot_of(clock.wall(now + Span::seconds(i * 900)))).collect();
        for slot in 0..SLOTS {
            let n = slots.iter().filter(|s| **s == slot).count();
            // The forecast is 24 real hours long, whatever the length of the local day.
            let want = if skipped.contains(&slot) {
                0
            } else if twice.contains(&slot) {
                2
            } else {
                1
            };
            assert!(n == want || !(4..92).contains(&slot), "{now} slot {slot}: {n} times");
        }
    }
}

#[test]
fn a_pool_is_always_at_risk_and_the_forgotten_are_new() {
    let mut history = History::new(Span::days(28));
    let pool = Subject::Pool(PoolName::new("p").unwrap());
    for day in 0..10 {
        history.session_started(&pool, Time::from_unix(MONDAY + day * 86_400 + 32_400), None);
    }
    let now = Time::from_unix(MONDAY + 10 * 86_400);
    history.advance(now);
    let open = forecast_one(&history, &Model::default(), &pool, now);
    assert!(open.slots[36].get() > 0.1, "{}", open.slots[36]);
    let (mut history, subject) = office("UTC", 1);
    let later = utc("2010-06-01T00:00:00Z");
    history.advance(later);
    assert_eq!(forecast_one(&history, &Model::default(), &subject, later).basis, Basis::New);
}

#[test]
fn within_joins_slots() {
    let slots: Slots = (0..SLOTS).map(|slot| Probability::clamped(if slot < 2 { 0.5 } else { 0.0 })).collect();
    assert!((slots.within(0, Span::minutes(30)).get() - 0.75).abs() < 1e-6);
    assert!((slots.within(1, Span::minutes(16)).get() - 0.5).abs() < 1e-6);
    assert_eq!(slots.within(0, Span::ZERO), Probability::ZERO);
    assert_eq!(slots.likeliest(), Some(0));
    assert_eq!(slots, slots.iter().copied().collect());
    assert_ne!(slots, Slots::default());
}

#[test]
fn what_still_holds_is_taken_over_and_nothing_else() {
    let (mut history, subject) = office("Europe/Warsaw", 4);
    let model = Model::default();
    let now = utc("2010-03-29T06:31:00Z");
    history.advance(now);
    let before = forecast(&history, &model, now);
    let same = |after: &Forecast| Arc::ptr_eq(&before.subjects[&subject], &after.subjects[&subject]);
    let later = now + Span::minutes(10);
    assert!(same(&forecast_after(Some(&before), &history, &model, later)), "the slot passes");
    assert!(!same(&forecast_after(Some(&before), &history, &model, now + Span::minutes(15))), "the slot has passed");
    history.session_started(&subject, later, None);
    let here = forecast_after(Some(&before), &history, &model, later);
    assert!(!same(&here), "there is news");
    let same = |after: &Forecast| Arc::ptr_eq(&here.subjects[&subject], &after.subjects[&subject]);
    assert!(same(&forecast_after(Some(&here), &history, &model, later + Span::minutes(3))), "nobody has left");
    let next = later + Span::minutes(15);
    let after = forecast_after(Some(&here), &history, &model, next);
    assert_eq!(after.subjects, forecast(&history, &model, next).subjects, "as if the logout came in the next slot");
    history.session_ended(&subject, later + Span::minutes(3));
    assert!(!same(&forecast_after(Some(&here), &history, &model, later + Span::minutes(3))), "somebody has left");
}

#[test]
fn a_hint_is_news_for_its_subject_alone() {
    let (mut history, subject) = office("Europe/Warsaw", 4);
    let stranger = desktop("b");
    let now = utc("2010-03-29T06:31:00Z");
    history.advance(now);
    let before = forecast(&history, &Model::default(), now);
    let later = now + Span::minutes(3);
    let hint = Hint::new(Kind::Badge, later, None, None).unwrap();
    history.hint(&stranger, &hint);
    history.advance(later);
    let same = |after: &Forecast| Arc::ptr_eq(&before.subjects[&subject], &after.subjects[&subject]);
    assert!(same(&forecast_after(Some(&before), &history, &Model::default(), later)));
    history.hint(&subject, &hint);
    history.advance(later);
    let after = forecast_after(Some(&before), &history, &Model::default(), later);
    assert!(!same(&after));
    assert!(
        (after.subjects[&subject].left - 0.7333).abs() < 0.001,
        "judged when it was told, 11 minutes before the end of the slot"
    );
    history.session_started(&stranger, later + Span::minutes(9), None);
    assert_eq!(history.entries[&stranger].hints.kept(Kind::Badge).came, 1, "what is told of a stranger is kept");
}

/// A model that listens to everything.
fn listening() -> Model {
    let weights = (0..feature::LINEAR).map(|n| 0.01 * (n % 7) as f32 - 0.02).collect();
    let mut forest = forest::Forest::default();
    for n in 0..feature::TREE {
        let root = forest.plant(0.0);
        forest.split(root, n, n as f32 / 8.0, (-0.1, 0.1));
    }
    Model::fitted(model::Fitted {
        linear: linear::Linear { weights, intercept: -2.0, means: vec![0.0; feature::LINEAR] },
        forest,
        blend: blend::Blend::default(),
        prices: Vec::new(),
        until: utc("2010-03-27T00:00:00Z"),
        rows: 1,
        logins: 1,
    })
}

#[test]
fn many_slots_at_once_are_judged_as_each_alone() {
    let (history, subject) = office("Europe/Warsaw", 4);
    let (model, entry) = (listening(), &history.entries[&subject]);
    let now = utc("2010-03-29T06:31:00Z");
    let mut made = history.clone();
    made.advance(now);
    let together = forecast_one(&made, &model, &subject, now);
    let (fitted, mut days) = (model.usable().unwrap(), Days::default());
    for (i, p) in together.slots.iter().enumerate() {
        let at = decided_at(entry, slot_start(now) + Span::seconds(i as i64 * SLOT.as_seconds()), now);
        let wall = entry.clock.wall(at);
        let mut row = [0.0; feature::FEATURES];
        let entry = &made.entries[&subject];
        feature::fill(
            days.profile(entry, pattern::day_of(wall)),
            &moment(entry, wall, at, now, others(&made, entry, at, now)),
            &mut row,
        );
        assert_eq!(*p, Probability::clamped(fitted.blend.probability(&fitted.said(&row))), "slot {i}");
    }
}

proptest::proptest! {
    /// Whoever comes and goes when, and whatever is told: a forecast that takes over what holds is the one made from nothing.
    #[test]
    fn a_forecast_after_another_is_as_one_from_nothing(
        steps in proptest::collection::vec((0_usize..4, 0_i64..5400, 0_u8..4), 1..60)
    ) {
        let zone = jiff::tz::TimeZone::get("Europe/Warsaw").unwrap();
        let mut subjects: Vec<Subject> = ["a", "b", "c"].into_iter().map(desktop).collect();
        subjects.push(Subject::Pool(PoolName::new("p").unwrap()));
        let mut history = History::new(Span::days(28));
        for subject in &subjects {
            history.set_clock(subject, Clock::Zone(zone.clone()));
        }
        let group = GroupName::new("design").unwrap();
        for subject in &subjects[1..3] {
            history.set_group(subject, Some(&group));
        }
        for (subject, day) in subjects.iter().flat_map(|subject| (14..26).map(move |day| (subject, day))) {
            let start = utc("2010-03-01T08:00:00Z") + Span::days(day);
            history.session_started(subject, start, None);
            history.session_ended(subject, start + Span::hours(8));
        }
        let model = listening();
        // Up to the evening before the clocks change.
        let mut now = utc("2010-03-27T20:00:00Z");
        let mut before: Option<Forecast> = None;
        for (who, seconds, what) in steps {
            now = now + Span::seconds(seconds);
            let hint = |kind, from, until| Hint::new(kind, now, from, until).unwrap();
            match what {
                0 => history.session_ended(&subjects[who], now),
                1 => drop(history.session_started(&subjects[who], now, None)),
                2 => history.hint(&subjects[who], &hint(Kind::Badge, None, None)),
                _ => {
                    let from = now + Span::hours(seconds % 40);
                    history.hint(&subjects[who], &hint(Kind::Leave, Some(from), Some(from + Span::hours(9))));
                }
            }
            history.advance(now);
            let fresh = forecast(&history, &model, now);
            let after = forecast_after(before.as_ref(), &history, &model, now);
            for (subject, made) in &fresh.subjects {
                proptest::prop_assert_eq!(made, &after.subjects[subject]);
            }
            before = Some(after);
        }
    }
}
