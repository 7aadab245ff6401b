//! The kernel's sample mdevs and GVT-g: one budget, the same in every state.

use std::fs;

use expect_test::expect;
use headstart_core::gpu::{Partitioning, Tenant, Vgpu};
use headstart_core::step::{Applied, FailureKind};
use headstart_simsysfs::samples::Sample;
use headstart_simsysfs::{Blueprint, intel};

use super::{Rig, fails, name, picture, stranger, vgpus};

fn sample(sample: Sample, parent: &str) -> Option<Rig> {
    Rig::new(Blueprint::new().with(sample), &[parent])
}

#[test]
fn mbochs_is_a_budget_of_megabytes() {
    let Some(rig) = sample(Sample::mbochs(), "mbochs") else { return };
    expect![[r"
        mbochs mbochs, 256 MiB: mdev, any mix, budget of 64, ready
          mbochs-large: 64 MiB x4, 16 slots
          mbochs-medium: 16 MiB x16, 4 slots
          mbochs-small: 4 MiB x64, 1 slots
    "]]
    .assert_eq(&picture(&rig.gpu("mbochs")));
}

#[test]
fn mdpy_is_a_budget_of_devices() {
    let Some(rig) = sample(Sample::mdpy(), "mdpy") else { return };
    expect![[r"
        mdpy mdpy, 0 MiB: mdev, any mix, budget of 4, ready
          mdpy-hd: 0 MiB x4, 1 slots
          mdpy-vga: 0 MiB x4, 1 slots
          mdpy-xga: 0 MiB x4, 1 slots
    "]]
    .assert_eq(&picture(&rig.gpu("mdpy")));
}

#[test]
fn mtty_is_a_budget_of_ports() {
    let Some(rig) = sample(Sample::mtty(), "mtty") else { return };
    expect![[r"
        mtty mtty, 0 MiB: mdev, any mix, budget of 24, ready
          mtty-1: 0 MiB x24, 1 slots
          mtty-2: 0 MiB x12, 2 slots
    "]]
    .assert_eq(&picture(&rig.gpu("mtty")));
}

/// Fills a parent in turn with ours and with strangers' until nothing fits, and empties it again: in every state the rule is the
/// same, and what it permits is what the driver gives.
fn the_rule_holds(sample: Sample, parent: &str, turns: &[&str]) {
    let Some(mut rig) = self::sample(sample, parent) else { return };
    let rule = |rig: &Rig| {
        let gpu = rig.gpu(parent);
        (gpu.partitioning, gpu.profiles.iter().map(|it| it.slots).collect::<Vec<_>>())
    };
    let empty = rule(&rig);
    let mut made = Vec::new();
    for n in 1..200u32 {
        let profile = turns[n as usize % turns.len()];
        let gpu = rig.gpu(parent);
        let tenants: Vec<Tenant<'_>> = gpu.vgpus.values().map(Vgpu::tenant).collect();
        let room = gpu.fit(&tenants, &name(profile), None).is_ok();
        if n % 3 == 0 {
            let create = format!("sys/class/mdev_bus/{parent}/mdev_supported_types/{profile}/create");
            assert_eq!(fs::write(rig.machine.path(&create), stranger(n)).is_ok(), room, "{profile}, the {n}th");
        } else {
            let answer = rig.create(parent, profile, u128::from(n));
            assert_eq!(answer.is_ok(), room, "{profile}, the {n}th: {answer:?}");
            match answer {
                Ok(_) => made.push((n, profile)),
                Err(error) => assert_eq!(error.kind, FailureKind::Exhausted, "{error}"),
            }
        }
        if n % 5 == 0 {
            // Without memory the same comes out.
            rig.restart(&[parent]);
        }
        assert_eq!(rule(&rig), empty, "after the {n}th");
        if !room && turns.iter().all(|turn| gpu.fit(&tenants, &name(turn), None).is_err()) {
            break;
        }
    }
    assert!(!made.is_empty());
    for (n, profile) in made {
        assert_eq!(rig.remove(parent, profile, u128::from(n)), Ok(Applied::Changed));
        assert_eq!(rule(&rig), empty);
    }
}

#[test]
fn the_budget_of_mbochs_does_not_move() {
    the_rule_holds(Sample::mbochs(), "mbochs", &["mbochs-large", "mbochs-small", "mbochs-medium"]);
    the_rule_holds(Sample::mbochs().budget(70), "mbochs", &["mbochs-small", "mbochs-medium"]);
}

#[test]
fn the_budget_of_mdpy_does_not_move() {
    the_rule_holds(Sample::mdpy(), "mdpy", &["mdpy-vga", "mdpy-hd", "mdpy-xga"]);
}

#[test]
fn the_budget_of_mtty_does_not_move() {
    the_rule_holds(Sample::mtty(), "mtty", &["mtty-2", "mtty-1"]);
}

#[test]
fn gvt_is_counted_in_fractions() {
    let igpu = "0000:00:02.0";
    let Some(rig) = Rig::new(Blueprint::new().with(intel::Gvt::new(igpu)), &[igpu]) else { return };
    let empty = rig.gpu(igpu);
    assert!(matches!(empty.partitioning, Partitioning::Budget { .. }), "{}", picture(&empty));
    let smallest = empty.profiles.iter().min_by_key(|it| it.slots).unwrap().name.to_string();
    let mut n = 0;
    loop {
        let gpu = rig.gpu(igpu);
        assert_eq!((gpu.partitioning, &gpu.profiles), (empty.partitioning, &empty.profiles));
        let tenants: Vec<Tenant<'_>> = gpu.vgpus.values().map(Vgpu::tenant).collect();
        if gpu.fit(&tenants, &name(&smallest), None).is_err() {
            break;
        }
        n += 1;
        assert_eq!(rig.create(igpu, &smallest, n), Ok(Applied::Changed), "what is permitted is given");
    }
    assert_eq!(fails(rig.create(igpu, &smallest, 99)).0, FailureKind::Exhausted, "and all that is given is permitted");
}

#[test]
fn several_parents_stand_side_by_side() {
    let blueprint = Blueprint::new().with(Sample::mbochs()).with(Sample::mdpy()).with(Sample::mtty());
    let Some(rig) = Rig::new(blueprint, &["mbochs", "mdpy"]) else { return };
    rig.create("mbochs", "mbochs-medium", 1).unwrap();
    rig.create("mdpy", "mdpy-hd", 2).unwrap();
    let seen = rig.hardware.observe();
    let all: String = seen.gpus.values().map(vgpus).collect();
    assert_eq!(all, "  + mdev 1 mbochs-medium\n  + mdev 2 mdpy-hd\n");
    let (kind, text) = fails(rig.create("mtty", "mtty-1", 3));
    assert!(kind == FailureKind::Unsupported && text.contains("no [[gpu]]"), "what is not ours is not touched: {text}");
}
