//! That the judge refuses: bad rounds and bad desired states made by hand.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use headstart_core::check::Judge;
use headstart_core::gpu::DeviceId;
use headstart_core::id::{GpuId, PciAddress, ProfileName};
use headstart_core::plan::Quarantine;
use headstart_core::step::{Busy, Desired, Step, Want};
use headstart_core::text::Scene;

const SCENE: &str = r"
    gpu 3b vfio-variant equal-size 12288 vfs=4
      A-4Q 4096 x3
      A-8Q 8192 x1
      + 3b.1 A-4Q open=used
      + 3b.2 A-4Q
    gpu 5e mdev equal-size 8192
      A-4Q 4096 x2
      + alien:x A-4Q
      + mdev:idle A-4Q
    desktop used cold A-4Q running has=3b.1 active=5m
    desktop idle cold A-4Q off
    desktop third cold A-4Q off
    desktop dark cold A-4Q ?
    domain other off foreign=3b.3
";

fn pf(bus: &str) -> GpuId {
    format!("0000:{bus}:00.0").parse().unwrap()
}

fn vf(n: u32) -> PciAddress {
    pf("3b").offset(n).unwrap()
}

fn small() -> ProfileName {
    "A-4Q".parse().unwrap()
}

fn judged(scene: &str, judge: impl FnOnce(&Judge<'_>) -> Vec<String>) -> String {
    let scene: Scene = scene.parse().unwrap();
    let (quarantine, busy) = (Quarantine::default(), Busy::default());
    let judge_of = Judge { observed: &scene.observed, desktops: &scene.desktops, quarantine: &quarantine, busy: &busy };
    let mut text = String::new();
    for line in judge(&judge_of) {
        text += &line;
        text.push('\n');
    }
    // UUIDs are noise here.
    for domain in scene.observed.domains.values() {
        text = text.replace(&domain.uuid.to_string(), domain.name.as_str());
        text = text.replace(&domain.uuid.mdev().to_string(), &format!("mdev:{}", domain.name));
    }
    text
}

fn check_steps(scene: &str, steps: &[Step], expected: &Expect) {
    expected.assert_eq(&judged(scene, |judge| judge.round(steps)));
}

fn detach(name: &str, n: u32, live: bool) -> Step {
    Step::DetachHostdev { gpu: Some(pf("3b")), domain: Scene::uuid(name), device: DeviceId::Vf(vf(n)), live }
}

fn set(n: u32, profile: &str) -> Step {
    Step::SetVgpuType { gpu: pf("3b"), vf: vf(n), profile: profile.parse().unwrap(), start: None }
}

#[test]
fn what_is_in_use_is_not_taken() {
    check_steps(
        SCENE,
        &[detach("used", 1, true)],
        &expect![[r"
        detach 0000:3b:00.1 from used while it runs: somebody is there, or that is not known
    "]],
    );
    check_steps(
        SCENE,
        &[Step::ShutDownDomain { domain: Scene::uuid("used") }],
        &expect![[r"
        shut down used: somebody is there, or that is not known
    "]],
    );
    check_steps(
        SCENE,
        &[Step::ClearVgpuType { gpu: pf("3b"), vf: vf(1), profile: small() }],
        &expect![[r"
        take A-4Q from VF 0000:3b:00.1 of 0000:3b:00.0: a domain names it
    "]],
    );
    check_steps(
        SCENE,
        &[detach("other", 3, false)],
        &expect![[r"
        detach 0000:3b:00.3 from other: the domain is not managed
    "]],
    );
}

#[test]
fn strangers_devices_stay() {
    let scene: Scene = SCENE.parse().unwrap();
    let idle = Scene::uuid("idle").mdev();
    let devices = scene.observed.gpus[&pf("5e")].vgpus.keys();
    let mut alien = devices.filter_map(|device| match device {
        DeviceId::Mdev(uuid) if *uuid != idle => Some(*uuid),
        _ => None,
    });
    let uuid = alien.next_back().unwrap();
    let text = judged(SCENE, |judge| judge.round(&[Step::RemoveMdev { gpu: pf("5e"), profile: small(), uuid }]));
    assert!(text.contains("a stranger made it"), "{text}");
    check_steps(
        SCENE,
        &[set(3, "A-4Q")],
        &expect![[r"
        make VF 0000:3b:00.3 of 0000:3b:00.0 a A-4Q: a domain names the VF
    "]],
    );
}

#[test]
fn one_step_for_each_pf_and_domain() {
    let clear = Step::ClearVgpuType { gpu: pf("3b"), vf: vf(2), profile: small() };
    check_steps(
        SCENE,
        &[clear.clone(), set(4, "A-4Q")],
        &expect![[r"
        make VF 0000:3b:00.4 of 0000:3b:00.0 a A-4Q: its PF has a step already
    "]],
    );
    let attach = |device, gpu| Step::AttachHostdev { gpu, domain: Scene::uuid("idle"), device, live: false };
    let both = [attach(DeviceId::Vf(vf(2)), pf("3b")), attach(DeviceId::Mdev(Scene::uuid("idle").mdev()), pf("5e"))];
    check_steps(
        SCENE,
        &both,
        &expect![[r"
        attach mdev:idle to idle: its domain has a step already
    "]],
    );
    check_steps(SCENE, &[clear], &expect![[""]]);
}

#[test]
fn what_is_made_fits() {
    check_steps(
        SCENE,
        &[set(4, "A-8Q")],
        &expect![[r"
        what is made on 0000:3b:00.0 does not fit beside all that is there: more than its framebuffer
    "]],
    );
    let create = Step::CreateMdev { gpu: pf("5e"), profile: small(), uuid: Scene::uuid("third").mdev(), start: None };
    check_steps(
        SCENE,
        &[create],
        &expect![[r"
        what is made on 0000:5e:00.0 does not fit beside all that is there: more than the profile's instances
    "]],
    );
}

#[test]
fn nothing_is_destroyed_in_the_dark() {
    let clear = Step::ClearVgpuType { gpu: pf("3b"), vf: vf(2), profile: small() };
    check_steps(
        &format!("gap domains\n{SCENE}"),
        std::slice::from_ref(&clear),
        &expect![[r"
        take A-4Q from VF 0000:3b:00.2 of 0000:3b:00.0: the list of domains was not read
    "]],
    );
    let unknown = SCENE.replace("vfs=4", "vfs=4 state=unknown");
    check_steps(
        &unknown,
        &[clear],
        &expect![[r"
        take A-4Q from VF 0000:3b:00.2 of 0000:3b:00.0: its PF is not ready
    "]],
    );
    check_steps(
        SCENE,
        &[Step::StartDomain { domain: Scene::uuid("dark") }],
        &expect![[r"
        start dark: it is not off
    "]],
    );
}

#[test]
fn what_is_desired_fits() {
    let want = |gpu: &str, profile: &str| Want {
        gpu: pf(gpu),
        profile: profile.parse().unwrap(),
        start: None,
        run: true,
        rank: 0,
    };
    let desired = |wants: &[(&str, Want)]| Desired {
        wants: wants.iter().map(|(name, want)| (Scene::uuid(name), want.clone())).collect::<BTreeMap<_, _>>(),
        ..Desired::default()
    };
    let bad = desired(&[("idle", want("3b", "A-8Q"))]);
    expect![[r"
        what is desired does not fit on 0000:3b:00.0: two sizes
    "]]
    .assert_eq(&judged(SCENE, |judge| judge.desired(&bad)));
    let bad = desired(&[("idle", want("5e", "A-4Q")), ("third", want("5e", "A-4Q"))]);
    expect![[r"
        what is desired does not fit on 0000:5e:00.0: more than the profile's instances
    "]]
    .assert_eq(&judged(SCENE, |judge| judge.desired(&bad)));
    let mut bad = desired(&[("other", want("3b", "A-4Q"))]);
    bad.shut_down.insert(Scene::uuid("used"));
    expect![[r"
        other is not managed and is to have a device
        used is to be shut down and is not idle, or is to be left alone
    "]]
    .assert_eq(&judged(SCENE, |judge| judge.desired(&bad)));
    let good = desired(&[("idle", want("3b", "A-4Q")), ("third", want("5e", "A-4Q"))]);
    expect![[""]].assert_eq(&judged(SCENE, |judge| judge.desired(&good)));
}
