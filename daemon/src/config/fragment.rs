//! What one file says, and how the files together become a [`Config`]. Every key of the configuration is named here once.

use std::path::{Path, PathBuf};

use headstart_core::desktop::{NamePattern, Rule, Settings};
use headstart_core::policy::{Goal, Policy};
use headstart_core::unit::{Probability, Span};
use jiff::civil;

use super::document::{At, Document, Problem, Section};
use super::gpu::{self, GpuEntry};
use super::{Calendar, Config, Forecast, History, Whose, Zone, value};
use crate::status::Mode;

/// One file, or several merged.
#[derive(Debug, Default)]
pub(in crate::config) struct Fragment {
    mode: Option<At<Mode>>,
    path: Option<At<PathBuf>>,
    retention: Option<At<Span>>,
    time_zone: Option<At<Zone>>,
    refit_at: Option<At<civil::Time>>,
    take: Option<At<Probability>>,
    release: Option<At<Probability>>,
    idle_budget: Option<At<Span>>,
    target_hit_rate: Option<At<Probability>>,
    minimum_hold: Option<At<Span>>,
    grace: Option<At<Span>>,
    keep_spare: Option<At<bool>>,
    shut_down_after_logout: Option<At<bool>>,
    wish_valid: Option<At<Span>>,
    poll: Option<At<Span>>,
    lead_cold: Option<At<Span>>,
    lead_live: Option<At<Span>>,
    libvirt_uri: Option<At<String>>,
    desktops: Vec<Rule>,
    gpus: Vec<GpuEntry>,
    calendars: Vec<Calendar>,
}

/// A lead time longer than this is a mistake.
pub(crate) const LONGEST_LEAD: Span = headstart_core::desktop::LONGEST_LEAD;

impl Fragment {
    /// Reads a file; its mistakes are added to `problems`.
    pub(in crate::config) fn parse(file: &Path, text: &str, problems: &mut Vec<Problem>) -> Self {
        let document = Document::new(file, text);
        let fragment = document.read(Self::read).unwrap_or_default();
        problems.extend(document.into_problems());
        fragment
    }

    pub(in crate::config) fn read(top: &Section) -> Self {
        let mut it = Self { mode: top.get("mode", value::mode), ..Self::default() };
        top.section("history", |history| {
            it.path = history.get("path", value::path);
            it.retention = history.get("retention", value::span(Span::days(1)..=Span::days(36_500)));
        });
        top.section("forecast", |forecast| {
            it.time_zone = forecast.get("time-zone", value::zone);
            it.refit_at = forecast.get("refit-at", value::time_of_day);
        });
        top.section("policy", |policy| {
            it.take = policy.get("take", value::probability);
            it.release = policy.get("release", value::probability);
            it.idle_budget = policy.get("idle-budget", value::idle_budget);
            it.target_hit_rate = policy.get("target-hit-rate", value::hit_rate);
            it.minimum_hold = policy.get("minimum-hold", value::span(Span::ZERO..=Span::days(1)));
            it.keep_spare = policy.get("keep-spare", value::boolean);
            it.grace = policy.get("grace", value::span(Span::ZERO..=Span::days(1)));
            it.shut_down_after_logout = policy.get("shut-down-after-logout", value::boolean);
            it.wish_valid = policy.get("wish-valid", value::span(Span::minutes(1)..=Span::days(7)));
            it.poll = policy.get("poll", value::span(Span::seconds(1)..=Span::hours(1)));
            policy.section("lead", |lead| {
                it.lead_cold = lead.get("cold", value::span(Span::ZERO..=LONGEST_LEAD));
                it.lead_live = lead.get("live", value::span(Span::ZERO..=LONGEST_LEAD));
            });
        });
        top.section("libvirt", |libvirt| it.libvirt_uri = libvirt.get("uri", value::libvirt_uri));
        it.desktops = top.sections("desktop", desktop).into_iter().flatten().collect();
        it.gpus = top.sections("gpu", gpu::entry).into_iter().flatten().collect();
        it.calendars = top.sections("calendar", calendar).into_iter().flatten().collect();
        it
    }

    /// A later file wins, key by key; its rules and GPUs come after the earlier ones.
    pub(in crate::config) fn merge(&mut self, later: Self) {
        macro_rules! last_wins {
            ($($field:ident),*) => { $(if later.$field.is_some() { self.$field = later.$field; })* };
        }
        last_wins!(mode, path, retention, time_zone, refit_at, take, release, minimum_hold, grace);
        // The later file's goal is the goal, whichever of the two it is.
        if later.idle_budget.is_some() || later.target_hit_rate.is_some() {
            (self.idle_budget, self.target_hit_rate) = (later.idle_budget, later.target_hit_rate);
        }
        last_wins!(keep_spare, shut_down_after_logout, wish_valid, poll, lead_cold, lead_live, libvirt_uri);
        self.desktops.extend(later.desktops);
        self.gpus.extend(later.gpus);
        self.calendars.extend(later.calendars);
    }

    /// Fills in the defaults and checks what no single key can tell.
    pub(in crate::config) fn validate(self, files: Vec<PathBuf>, problems: &mut Vec<Problem>) -> Config {
        let default = Config::default();
        self.check_thresholds(&default.policy, problems);
        if let (Some(_), Some(rate)) = (&self.idle_budget, &self.target_hit_rate) {
            let what = "policy.idle-budget and policy.target-hit-rate exclude each other: expected one of them";
            problems.push(Problem::at(&rate.place, &what));
        }
        let budget = self.idle_budget.map(|at| Goal::IdleBudget(at.value));
        let goal = budget.or(self.target_hit_rate.map(|at| Goal::HitRate(at.value)));
        let mut gpus: Vec<GpuEntry> = Vec::new();
        for gpu in self.gpus {
            gpus.retain(|earlier| earlier.select != gpu.select);
            gpus.push(gpu);
        }
        let mut calendars: Vec<Calendar> = Vec::new();
        for calendar in self.calendars {
            calendars.retain(|earlier| (&earlier.path, earlier.kind) != (&calendar.path, calendar.kind));
            calendars.push(calendar);
        }
        Config {
            mode: or(self.mode, default.mode),
            history: History {
                path: or(self.path, default.history.path),
                retention: or(self.retention, default.history.retention),
            },
            forecast: Forecast {
                time_zone: or(self.time_zone, default.forecast.time_zone),
                refit_at: or(self.refit_at, default.forecast.refit_at),
            },
            policy: Policy {
                take: or(self.take, default.policy.take),
                release: or(self.release, default.policy.release),
                goal,
                minimum_hold: or(self.minimum_hold, default.policy.minimum_hold),
                grace: or(self.grace, default.policy.grace),
                keep_spare: or(self.keep_spare, default.policy.keep_spare),
                shut_down_after_logout: or(self.shut_down_after_logout, default.policy.shut_down_after_logout),
                wish_valid: or(self.wish_valid, default.policy.wish_valid),
                lead_cold: or(self.lead_cold, default.policy.lead_cold),
                lead_live: or(self.lead_live, default.policy.lead_live),
            },
            poll: or(self.poll, default.poll),
            desktop_rules: self.desktops,
            gpus,
            calendars,
            libvirt_uri: or(self.libvirt_uri, default.libvirt_uri),
            files,
        }
    }

    /// A reservation that is released below a higher threshold than it is taken at would come and go for ever.
    fn check_thresholds(&self, default: &Policy, problems: &mut Vec<Problem>) {
        let text = |at: &Option<At<Probability>>, default: Probability| match at {
            Some(at) => format!("{}", at.value.get() as f32),
            None => format!("{} by default", default.get() as f32),
        };
        let take = self.take.as_ref().map_or(default.take, |at| at.value);
        let release = self.release.as_ref().map_or(default.release, |at| at.value);
        let Some(at) = self.take.as_ref().or(self.release.as_ref()).filter(|_| release > take) else { return };
        let (take, release) = (text(&self.take, default.take), text(&self.release, default.release));
        let what = format!("policy.take ({take}) is below policy.release ({release}): expected release <= take");
        problems.push(Problem::at(&at.place, &what));
    }
}

fn or<T>(value: Option<At<T>>, default: T) -> T {
    value.map_or(default, |at| at.value)
}

fn desktop(section: &Section) -> Option<Rule> {
    // What no name may hold no pattern may either.
    let name = section.need("name", value::desktop);
    let user = section.get("user", value::user);
    let pool = section.get("pool", value::pool);
    if let (Some(_), Some(pool)) = (&user, &pool) {
        let what = "a desktop belongs to a `user` or to a `pool`, not to both; leave one out";
        section.problem(&pool.place, &what);
    }
    let profiles = profiles(section);
    let settings = Settings {
        user: user.map(|at| at.value),
        pool: pool.map(|at| at.value),
        profiles,
        attach: section.get("attach", value::attach).map(|at| at.value),
        priority: section.get("priority", value::integer(-1000..=1000)).map(|at| at.value as i32),
        time_zone: section.get("time-zone", value::zone).map(|at| at.value.rules().clone()),
        lead: section.get("lead", value::span(Span::ZERO..=LONGEST_LEAD)).map(|at| at.value),
        preallocate: section.get("preallocate", value::boolean).map(|at| at.value),
        missing_gpu: section.get("missing-gpu", value::missing_gpu).map(|at| at.value),
        presence: section.get("presence", value::presence).map(|at| at.value),
        hours: section.get("hours", value::hours).map(|at| at.value),
        group: section.get("group", value::group).map(|at| at.value),
    };
    name.map(|name| Rule { pattern: NamePattern::new(name.value.to_string()), settings })
}

fn calendar(section: &Section) -> Option<Calendar> {
    let path = section.need("path", value::path);
    let kind = section.need("kind", value::statement);
    let user = section.get("user", value::user).map(|at| (at.place, Whose::User(at.value)));
    let desktops = section.get("desktop", value::desktop);
    let desktops = desktops.map(|at| (at.place, Whose::Desktops(NamePattern::new(at.value.to_string()))));
    let pool = section.get("pool", value::pool).map(|at| (at.place, Whose::Pool(at.value)));
    let by_file_name = section.get("by-file-name", value::boolean).filter(|at| at.value);
    let by_file_name = by_file_name.map(|at| (at.place, Whose::FileName));
    let mut told = [user, desktops, pool, by_file_name].into_iter().flatten();
    let whose = told.next().map_or(Whose::All, |(_, whose)| whose);
    if let Some((place, _)) = told.next() {
        let what = "a calendar speaks of a `user`, of a `desktop`, of a `pool`, or of those its files are named after: leave one out";
        section.problem(&place, &what);
    }
    Some(Calendar { path: path?.value, kind: kind?.value, whose })
}

/// `profile` for one, `profiles` for several in order of wish.
pub(in crate::config) fn profiles(section: &Section) -> Option<Vec<headstart_core::id::ProfileName>> {
    let one = section.get("profile", value::profile);
    let several = section.get("profiles", value::profiles);
    if let (Some(_), Some(several)) = (&one, &several) {
        section.problem(&several.place, &"`profile` and `profiles` say the same thing; leave one out");
    }
    several.map(|at| at.value).or_else(|| one.map(|at| vec![at.value]))
}
