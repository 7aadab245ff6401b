//! How long before a login the work must start, learned per desktop from how long it really took.

use std::collections::{BTreeMap, VecDeque};

use crate::desktop::{AttachMode, Desktop};
use crate::id::{DesktopName, DomainUuid};
use crate::policy::Policy;
use crate::policy::READY_BEFORE;
use crate::unit::Span;

/// Measurements that are kept per desktop.
const KEPT: usize = 20;
/// Below so many measurements the configured time stands.
const ENOUGH: usize = 3;
/// Lead times are rounded up to this, so that desktops whose decision falls into the same half minute share one round.
const GRAIN: Span = Span::seconds(30);

/// Lead times of all desktops.
#[derive(Clone, Debug, Default)]
pub struct Leads {
    taken: BTreeMap<DesktopName, VecDeque<Span>>,
}

impl Leads {
    /// From the first step until ready it took this long.
    pub fn record(&mut self, desktop: &DesktopName, took: Span) {
        let taken = self.taken.entry(desktop.clone()).or_default();
        if taken.len() == KEPT {
            taken.pop_front();
        }
        taken.push_back(took);
    }

    /// How long before a login the work must start: 9 of 10 times it took no longer, and it shall be ready a minute ahead.
    pub fn lead(&self, desktop: &Desktop, policy: &Policy) -> Span {
        let fixed = desktop.lead.unwrap_or(match desktop.attach {
            AttachMode::Live => policy.lead_live,
            AttachMode::Cold | AttachMode::Request => policy.lead_cold,
        });
        let learned = self.taken.get(&desktop.name).filter(|taken| desktop.lead.is_none() && taken.len() >= ENOUGH);
        let takes = learned.map_or(fixed, |taken| {
            let mut sorted: Vec<Span> = taken.iter().copied().collect();
            sorted.sort_unstable();
            sorted[(sorted.len() * 9).div_ceil(10) - 1]
        });
        let (lead, grain) = ((takes + READY_BEFORE).as_seconds(), GRAIN.as_seconds());
        Span::seconds((lead + grain - 1) / grain * grain)
    }

    /// All of them.
    pub fn all(&self, desktops: &BTreeMap<DomainUuid, Desktop>, policy: &Policy) -> BTreeMap<DomainUuid, Span> {
        desktops.iter().map(|(uuid, desktop)| (*uuid, self.lead(desktop, policy))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Subject;

    #[test]
    fn nine_of_ten_are_ready_a_minute_ahead() {
        let name: crate::id::DesktopName = "vm1".parse().unwrap();
        let desktop = Desktop {
            uuid: "11111111-2222-3333-4444-555555555555".parse().unwrap(),
            subject: Subject::Desktop(name.clone()),
            name,
            user: None,
            attach: AttachMode::Cold,
            priority: 0,
            profiles: vec!["A40-4Q".parse().unwrap()],
            time_zone: jiff::tz::TimeZone::UTC,
            lead: None,
            preallocate: true,
            missing_gpu: crate::desktop::MissingGpu::Start,
            presence: crate::presence::Presence::Agent,
            hours: None,
            group: None,
        };
        let (mut leads, policy) = (Leads::default(), Policy::default());
        assert_eq!(leads.lead(&desktop, &policy), Span::minutes(3));
        for seconds in [30, 31, 32, 33, 34, 35, 36, 37, 38, 300] {
            leads.record(&desktop.name, Span::seconds(seconds));
        }
        assert_eq!(leads.lead(&desktop, &policy), Span::seconds(120));
        leads.record(&desktop.name, Span::seconds(300));
        assert_eq!(leads.lead(&desktop, &policy), Span::seconds(360));
        let fixed = Desktop { lead: Some(Span::minutes(5)), ..desktop };
        assert_eq!(leads.lead(&fixed, &policy), Span::minutes(6));
    }
}
