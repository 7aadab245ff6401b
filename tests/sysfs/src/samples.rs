//! The kernel's sample mdev drivers: `mbochs`, `mdpy`, `mtty`. Their parents are virtual devices and no PCI functions.

use std::collections::BTreeMap;
use std::time::Duration;

use nix::errno::Errno;

use crate::blueprint::Part;
use crate::budget::{BudgetBoard, BudgetType, Exhausted};

/// A loaded sample driver, as a part of a [`Blueprint`](crate::Blueprint).
#[derive(Clone, Debug)]
#[must_use]
pub struct Sample {
    name: &'static str,
    /// Type, name, description, cost.
    types: Vec<(&'static str, &'static str, Option<String>, u32)>,
    budget: u32,
    exhausted: Errno,
    slow_start: Duration,
}

impl Sample {
    /// `mbochs`: 64, 16 or 4 MB of video memory out of one budget (module parameter `max_mbytes`, 256 by default).
    pub fn mbochs() -> Self {
        let size = |id, mbytes| {
            let description = format!("virtual display, {mbytes} MB video memory");
            (id, id, Some(description), mbytes)
        };
        let types = vec![size("mbochs-small", 4), size("mbochs-medium", 16), size("mbochs-large", 64)];
        Self::new("mbochs", types, 256, Errno::ENOSPC)
    }

    /// `mdpy`: 4 displays of any type; the mdev core counts them and answers `EUSERS`.
    pub fn mdpy() -> Self {
        let size = |id, name, resolution| (id, name, Some(format!("virtual display, {resolution} framebuffer")), 1);
        let types = vec![
            size("mdpy-vga", "vga", "640x480"),
            size("mdpy-xga", "xga", "1024x768"),
            size("mdpy-hd", "hd", "1920x1080"),
        ];
        Self::new("mdpy", types, 4, Errno::EUSERS)
    }

    /// `mtty`: serial ports, one or two of 24. It has no `description`.
    pub fn mtty() -> Self {
        let types = vec![("mtty-1", "Single port serial", None, 1), ("mtty-2", "Dual port serial", None, 2)];
        Self::new("mtty", types, 24, Errno::ENOSPC)
    }

    fn new(
        name: &'static str,
        types: Vec<(&'static str, &'static str, Option<String>, u32)>,
        budget: u32,
        exhausted: Errno,
    ) -> Self {
        Self { name, types, budget, exhausted, slow_start: Duration::ZERO }
    }

    /// Another budget: MB for `mbochs`, devices for `mdpy`, ports for `mtty`.
    pub fn budget(self, budget: u32) -> Self {
        Self { budget, ..self }
    }

    /// The parent is registered this long after the machine was switched on.
    pub fn slow_start(self, time: Duration) -> Self {
        Self { slow_start: time, ..self }
    }
}

impl From<Sample> for Part {
    fn from(sample: Sample) -> Self {
        let one = |(id, name, description, cost): (&str, &str, Option<String>, u32)| BudgetType {
            id: id.to_owned(),
            name: name.to_owned(),
            description,
            costs: vec![cost],
        };
        Self(Box::new(BudgetBoard {
            name: Some(sample.name.to_owned()),
            pf: None,
            driver: match sample.name {
                "mbochs" => "vfio_mbochs",
                "mdpy" => "vfio_mdpy",
                _ => "vfio_mtty",
            },
            types: sample.types.into_iter().map(one).collect(),
            budget: vec![sample.budget],
            exhausted: Exhausted(sample.exhausted),
            mdevs: BTreeMap::new(),
            slow_start: sample.slow_start,
            registered: false,
        }))
    }
}
