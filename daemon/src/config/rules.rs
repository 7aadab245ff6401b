//! What the configuration says of desktops, in the core's words.

use headstart_core::desktop::{AttachMode, Rule, Settings};

use super::{Attach, Config};

impl Config {
    /// The `[[desktop]]` entries as rules, in their order.
    pub fn rules(&self) -> Vec<Rule> {
        let rule = |rule: &super::DesktopRule| Rule {
            pattern: rule.name.to_string(),
            settings: Settings {
                user: rule.user.clone(),
                pool: rule.pool.clone(),
                profiles: rule.profiles.clone(),
                attach: rule.attach.map(AttachMode::from),
                priority: rule.priority,
                time_zone: rule.time_zone.as_ref().map(|zone| zone.rules().clone()),
                lead: rule.lead,
                preallocate: rule.preallocate,
            },
        };
        self.desktop_rules.iter().map(rule).collect()
    }
}

impl From<Attach> for AttachMode {
    fn from(attach: Attach) -> Self {
        match attach {
            Attach::Cold => Self::Cold,
            Attach::Live => Self::Live,
            Attach::Request => Self::Request,
        }
    }
}
