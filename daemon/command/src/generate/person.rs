//! Who the people are: what kind of work they do and which habits they have. Drawn once per person.
//!
//! Not here: what they do on a given day, which is `day`.

use super::random::{About, Random};

/// Hours and minutes in seconds of a day, for the tables below.
pub(super) const HOUR: f64 = 3600.0;
pub(super) const MINUTE: f64 = 60.0;

/// People who share an office, a shift plan and meetings: so many, by number.
const COHORT: u64 = 60;

/// What kind of work somebody does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Monday to Friday, the team's hours.
    Office,
    /// Early and late shift in turn, by week; some Saturdays.
    Shift,
    /// The office, on two to four fixed weekdays, mornings only for some.
    PartTime,
    /// Keeps systems running: office hours, evenings, and every fourth week on call, nights and weekends included.
    OnCall,
    /// Comes when it suits, several times a day, often late.
    Researcher,
}

/// One person's habits. Times are seconds of the local day.
pub(super) struct Person {
    /// Position in the trace, from 0.
    pub(super) number: u64,
    /// What kind of work.
    pub(super) kind: Kind,
    /// Whom they share hours and meetings with.
    pub(super) team: Team,
    /// Days after the start of the trace on which they join and leave.
    pub(super) employed: (i64, i64),
    /// Weekdays they work, Monday first.
    pub(super) workdays: [bool; 7],
    /// Usual arrival, and how far it spreads.
    pub(super) arrival: (f64, f64),
    /// Usual time between arrival and going home.
    pub(super) presence: f64,
    /// How much earlier they go home on Fridays.
    pub(super) friday: f64,
    /// Seconds by which the arrival moves in 30 days.
    pub(super) drift: f64,
    /// From this day on, another habit: arrival moved by so much.
    pub(super) change: (i64, f64),
    /// Usual start of lunch, its length, and how often they log out for it.
    pub(super) lunch: (f64, f64, f64),
    /// Meetings and other absences with a log-out, per day.
    pub(super) breaks: f64,
    /// How often they work from home, by weekday.
    pub(super) home: [f64; 5],
}

/// What a team has in common.
#[derive(Clone, Copy)]
pub(super) struct Team {
    /// Core hour of arrival.
    arrival: f64,
    /// Weekly meeting: weekday, time of day.
    pub(super) meeting: (usize, f64),
    /// Which shift it has in even weeks.
    pub(super) phase: i64,
}

impl Team {
    fn new(seed: u64, kind: Kind, cohort: u64) -> Self {
        let mut random = Random::new(seed, About::Team, kind as u64, cohort as i64);
        Self {
            arrival: random.whole(28, 36) as f64 * HOUR / 4.0, // 7:00 to 9:00
            meeting: (random.whole(0, 4) as usize, random.whole(19, 30) as f64 * HOUR / 2.0),
            phase: random.whole(0, 1),
        }
    }
}

impl Person {
    /// Name of the user.
    pub(super) fn name(&self) -> String {
        format!("u{:03}", self.number + 1)
    }

    /// The people of the same kind of work who share hours and meetings.
    pub(super) fn group(&self) -> String {
        let kind = match self.kind {
            Kind::Office => "office",
            Kind::Shift => "shift",
            Kind::PartTime => "part-time",
            Kind::OnCall => "on-call",
            Kind::Researcher => "research",
        };
        format!("{kind}-{}", self.number / COHORT + 1)
    }

    /// Draws the habits of person `number` (from 0).
    pub(super) fn new(seed: u64, number: u64) -> Self {
        let mut random = Random::new(seed, About::Person, number, 0);
        let kind = match random.unit() {
            u if u < 0.42 => Kind::Office,
            u if u < 0.57 => Kind::Shift,
            u if u < 0.72 => Kind::PartTime,
            u if u < 0.82 => Kind::OnCall,
            _ => Kind::Researcher,
        };
        let team = Team::new(seed, kind, number / COHORT);
        // A shift's hour is added on the day; what is drawn here is how long before it somebody comes.
        let arrival = match kind {
            Kind::Shift => (random.normal(-8.0 * MINUTE, 4.0 * MINUTE), random.between(2.0, 7.0) * MINUTE),
            Kind::Researcher => (random.between(8.5, 12.0) * HOUR, random.between(35.0, 100.0) * MINUTE),
            _ => {
                let mean = team.arrival + random.normal(0.0, 25.0 * MINUTE);
                // Some come by a train, others when the children are at school, others when they like.
                let spread = if random.chance(0.35) { random.between(3.0, 7.0) } else { random.between(8.0, 28.0) };
                (mean, spread * MINUTE)
            }
        };
        let presence = match kind {
            Kind::PartTime if random.chance(0.6) => random.between(4.0, 5.5) * HOUR,
            Kind::Shift => 8.0 * HOUR,
            Kind::Researcher => random.between(5.5, 9.0) * HOUR,
            _ => random.between(8.0, 9.3) * HOUR,
        };
        let logs_out_for_lunch = match random.unit() {
            u if u < 0.3 => random.between(0.8, 0.98),
            u if u < 0.65 => random.between(0.0, 0.08),
            _ => random.between(0.25, 0.7),
        };
        let works_at_home = random.chance(0.5) && kind != Kind::Shift;
        let joins = if random.chance(0.15) { random.whole(1, 75) } else { 0 };
        let leaves = if random.chance(0.14) { joins + random.whole(35, 400) } else { i64::MAX };
        let changes = if random.chance(0.35) { random.whole(20, 300) } else { i64::MAX };
        let shift = random.between(20.0, 80.0) * MINUTE * if random.chance(0.5) { 1.0 } else { -1.0 };
        Self {
            number,
            kind,
            team,
            employed: (joins, leaves),
            workdays: workdays(kind, &mut random),
            arrival,
            presence,
            friday: if random.chance(0.6) { random.between(0.5, 3.0) * HOUR } else { 0.0 },
            drift: if kind == Kind::Shift { 0.0 } else { random.normal(0.0, 5.0 * MINUTE) },
            change: (changes, if kind == Kind::Shift { 0.0 } else { shift }),
            lunch: (random.normal(12.2 * HOUR, 22.0 * MINUTE), random.between(25.0, 60.0) * MINUTE, logs_out_for_lunch),
            breaks: if random.chance(0.45) { random.between(0.4, 2.2) } else { random.between(0.0, 0.4) },
            home: std::array::from_fn(|_| {
                if works_at_home && random.chance(0.4) { random.between(0.6, 0.95) } else { 0.04 }
            }),
        }
    }
}

/// The weekdays of a contract.
fn workdays(kind: Kind, random: &mut Random) -> [bool; 7] {
    let mut days = [true, true, true, true, true, false, false];
    if kind == Kind::PartTime {
        for _ in 0..random.whole(1, 3) {
            days[random.whole(0, 4) as usize] = false;
        }
    }
    days
}
