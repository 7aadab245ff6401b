//! How far a goal was kept lately, and how much more or less is therefore asked of the price list.
//!
//! The price list says what thresholds would have cost and brought by the forecasts of the last weeks. What came true since differs: other
//! weeks come, and room is short. Only what is over is counted. Deliberately not here: the list ([`crate::forecast::Price`]).

use std::fmt;

use crate::policy::Goal;
use crate::unit::{Probability, Span, Time};

/// What is so long ago counts half.
const HALF_LIFE: Span = Span::days(7);
/// User-days and logins that the goal is taken to have been kept for before anything was counted.
const TRUST: f64 = 100.0;
/// How strongly what was missed is made up for: 2 leaves a third of it, and does not swing.
const GAIN: f64 = 2.0;
/// The asked changes by this factor at most, in either direction.
const MOST: f64 = 2.0;
const HOUR: f64 = 3600.0;

/// What was spent and reached, fading with time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Kept {
    idle_hours: f64,
    user_days: f64,
    hits: f64,
    logins: f64,
    at: Time,
}

impl Kept {
    fn fade(&mut self, at: Time) {
        if at <= self.at {
            return;
        }
        let left = 0.5_f64.powf((at - self.at).as_seconds() as f64 / HALF_LIFE.as_seconds() as f64);
        for sum in [&mut self.idle_hours, &mut self.user_days, &mut self.hits, &mut self.logins] {
            *sum *= left;
        }
        self.at = at;
    }

    /// Up to `at`, users were managed for `managed` altogether, and GPUs held for `idle` for those not logged in.
    pub fn spent(&mut self, at: Time, managed: Span, idle: Span) {
        self.fade(at);
        self.user_days += managed.as_seconds() as f64 / (24.0 * HOUR);
        self.idle_hours += idle.as_seconds() as f64 / HOUR;
    }

    /// A user came for whom a GPU had to be there, and was or was not.
    pub fn came(&mut self, at: Time, hit: bool) {
        self.fade(at);
        self.logins += 1.0;
        self.hits += f64::from(u8::from(hit));
    }

    /// What to ask of the price list so that the goal is kept from now on: less than the goal if more was spent, and the other way round.
    pub fn asked(&self, goal: Goal) -> Goal {
        let factor = |is: f64, wanted: f64| (wanted / is.max(1e-9)).powf(GAIN).clamp(1.0 / MOST, MOST);
        match goal {
            Goal::IdleBudget(budget) => {
                let wanted = budget.as_seconds() as f64 / HOUR;
                let is = (self.idle_hours + wanted * TRUST) / (self.user_days + TRUST);
                Goal::IdleBudget(Span::seconds((wanted * factor(is, wanted) * HOUR) as i64))
            }
            Goal::HitRate(rate) => {
                let wanted = 1.0 - rate.get();
                let is = (self.logins - self.hits + wanted * TRUST) / (self.logins + TRUST);
                Goal::HitRate(Probability::clamped(1.0 - wanted * factor(is, wanted)))
            }
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.user_days < 1.0 {
            return f.write_str("nothing to tell yet");
        }
        write!(f, "{:.1} h per user-day lately", self.idle_hours / self.user_days)?;
        if self.logins < 1.0 {
            return Ok(());
        }
        write!(f, ", {:.0} % of logins ready", 100.0 * self.hits / self.logins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BUDGET: Goal = Goal::IdleBudget(Span::hours(2));

    fn asked_hours(kept: &Kept) -> f64 {
        let Goal::IdleBudget(budget) = kept.asked(BUDGET) else { unreachable!("a budget stays one") };
        budget.as_hours()
    }

    #[test]
    fn who_knows_nothing_or_kept_it_asks_for_the_goal() {
        let mut kept = Kept::default();
        assert_eq!(kept.asked(BUDGET), BUDGET);
        assert_eq!(kept.to_string(), "nothing to tell yet");
        kept.spent(Time::from_unix(1_000_000), Span::days(300), Span::hours(600));
        assert_eq!(kept.asked(BUDGET), BUDGET);
        assert_eq!(kept.to_string(), "2.0 h per user-day lately");
    }

    #[test]
    fn what_is_spent_too_much_is_saved_and_forgotten_after_weeks() {
        let mut kept = Kept::default();
        kept.spent(Time::from_unix(1_000_000), Span::days(900), Span::hours(2700));
        let soon = asked_hours(&kept);
        assert!((0.9..1.1).contains(&soon), "{soon}");
        kept.spent(Time::from_unix(1_000_000) + Span::days(70), Span::ZERO, Span::ZERO);
        assert!((asked_hours(&kept) - 2.0).abs() < 0.1, "{kept:?}");
        kept.spent(Time::from_unix(1_000_000) + Span::days(71), Span::days(9000), Span::ZERO);
        assert!((asked_hours(&kept) - 4.0).abs() < 1e-6, "twice the goal at most");
    }

    #[test]
    fn misses_above_the_goal_ask_for_more_hits() {
        let goal = Goal::HitRate(Probability::clamped(0.8));
        let mut kept = Kept::default();
        for n in 0..1000 {
            kept.came(Time::from_unix(1_000_000), n % 10 < 7);
        }
        let Goal::HitRate(rate) = kept.asked(goal) else { unreachable!("a rate stays one") };
        assert!((0.89..0.91).contains(&rate.get()), "{rate}");
    }

    /// The list promises a budget of which 1.4 times as much is spent.
    #[test]
    fn it_settles_near_the_goal() {
        let (mut kept, mut days) = (Kept::default(), Vec::new());
        for day in 0..200 {
            let spent = 1.4 * asked_hours(&kept);
            kept.spent(Time::from_unix(day * 86_400), Span::days(50), Span::seconds((50.0 * spent * HOUR) as i64));
            days.push(spent);
        }
        assert!(days[0] > 2.7 && days[100..].iter().all(|spent| (1.9..2.4).contains(spent)), "{days:?}");
    }
}
