//! The file of `--simulate`.

use std::collections::BTreeMap;

use expect_test::{Expect, expect};
use headstart_core::desktop::AttachMode;

use crate::config::Path;
use crate::config::simulation::*;

const DEMO: &str = include_str!("../../../../config/demo-host.toml");

const GPU: &str = "
[[gpu]]
address = \"0000:3b:00.0\"
name = \"NVIDIA A40\"
framebuffer-mib = 49152
interface = \"vfio-variant\"
partitioning = \"equal-size\"
vfs = 32
profiles = [
    { name = \"A40-4Q\", framebuffer-mib = 4096, max-instances = 12 },
    { name = \"A40-8Q\", framebuffer-mib = 8192, max-instances = 6 },
]
";

fn parse(text: &str) -> Result<Simulation, String> {
    Simulation::parse(Path::new("s.toml"), text).map_err(|errors| errors.to_string())
}

fn refused(text: &str, what: &Expect) {
    what.assert_eq(&parse(&format!("{GPU}{text}")).unwrap_err());
}

#[test]
fn domains_run_on_from_their_number() {
    let text = format!(
        "{GPU}[[domain]]\nname = \"vm008\"\ncount = 3\nprofile = \"A40-4Q\"\nuser = \"u98\"\nattach = \"live\"\n"
    );
    let simulation = parse(&text).unwrap();
    let names: Vec<String> =
        simulation.domains.iter().map(|domain| format!("{} {}", domain.name, domain.user.clone().unwrap())).collect();
    assert_eq!(names, ["vm008 u98", "vm009 u99", "vm010 u100"]);
    assert!(simulation.domains.iter().all(|domain| domain.attach == AttachMode::Live));
    assert_eq!(simulation.gpus[0].max_vfs, 32);
}

#[test]
fn an_unknown_profile_is_named_with_its_domain() {
    refused(
        "[[domain]]\nname = \"vm1\"\nprofiles = [\"A40-4Q\", \"A40-4C\"]\n",
        &expect![
            "s.toml:15:12: domain vm1 names profile A40-4C, which no GPU of this host offers; did you mean `A40-4Q`?"
        ],
    );
    refused(
        "[[domain]]\nname = \"vm1\"\nprofile = \"nvidia-558\"\n",
        &expect![
            "s.toml:15:11: domain vm1 names profile nvidia-558, which no GPU of this host offers; known are `A40-4Q` and `A40-8Q`"
        ],
    );
}

#[test]
fn what_no_host_could_mean_is_refused() {
    refused(
        "[[domain]]\nname = \"vm\"\ncount = 2\nprofile = \"A40-4Q\"\n",
        &expect![[
            r#"s.toml:14:8: with `count`, the name must end in a number, such as "vm001", from which the others run on"#
        ]],
    );
    refused(
        "[[domain]]\nname = \"vm1\"\ncount = 2\nprofile = \"A40-4Q\"\n[[domain]]\nname = \"vm2\"\nprofile = \"A40-4Q\"\nusr = \"x\"\n[[domain]]\nname = \"vm3\"\n",
        &expect![[r"
            s.toml:17:1: there is a domain vm2 already
            s.toml:20:1: unknown key `usr` in [domain]; did you mean `user`?
            s.toml:21:1: domain vm3 lacks `profile` or `profiles`"]],
    );
    refused(GPU, &expect!["s.toml:1:1: two [[gpu]] have the address 0000:3b:00.0"]);
    refused(
        "[[gpu]]\naddress = \"0000:5e:00.0\"\nname = \"x\"\nframebuffer-mib = 1024\ninterface = \"sriov\"\npartitioning = \"equal-size\"\nprofiles = [{ name = \"x\", framebuffer-mib = 2048, max-instances = 0 }]\nstrangers = [{ profile = \"y\" }]\n",
        &expect![[r#"
            s.toml:17:13: this interface needs VFs: set `vfs` or `max-vfs`
            s.toml:18:16: interface "sriov" goes with partitioning "fixed-vfs" or "sriov", and the other way round
            s.toml:19:67: gpu.profiles.max-instances: expected a whole number from 1 to 1000000, found 0
            s.toml:20:26: the stranger names profile y, which this GPU does not offer"#]],
    );
}

#[test]
fn faults_name_what_they_hit() {
    let text = format!(
        "[simulation]\nstart = 2026-11-02T06:00:00Z\nseed = 7\n{GPU}[[domain]]\nname = \"vm1\"\nprofile = \"A40-4Q\"\n\
         [[fault]]\nat = \"2 h\"\non = \"0000:3b:00.0\"\nstep = \"create\"\nerror = \"exhausted\"\ncount = 2\n\
         [[fault]]\nevery = \"1 day\"\non = \"vm1\"\nerror = \"hang\"\n"
    );
    let simulation = parse(&text).unwrap();
    assert_eq!(simulation.start.unwrap().to_string(), "2026-11-02T06:00:00Z");
    assert_eq!(simulation.seed, 7);
    let picture: Vec<String> =
        simulation.faults.iter().map(|fault| format!("{:?} {:?} {:?}", fault.when, fault.step, fault.error)).collect();
    assert_eq!(picture, ["At(Span(7200)) Some(Create) Exhausted", "Every(Span(86400)) None Hang"]);
    refused(
        "[[fault]]\non = \"vm9\"\nerror = \"brok\"\n",
        &expect![[r#"
            s.toml:13:1: a fault needs one of `at` and `every`, such as at = "2 h"
            s.toml:14:6: no GPU and no domain of this host is called "vm9"
            s.toml:15:9: fault.error: expected "transient", "denied", "exhausted", "conflict", "gone", "unsupported" or "hang", found "brok""#]],
    );
}

#[test]
fn the_demo_host_is_short_of_room() {
    let simulation = parse(DEMO).unwrap();
    assert_eq!((simulation.gpus.len(), simulation.domains.len()), (4, 40));
    assert_eq!(simulation.domains[0].name.as_str(), "vm001");
    assert_eq!(simulation.domains[39].name.as_str(), "vm040");
    // How many desktops each profile's GPU could hold at most if it held nothing else.
    let mut first_wishes: BTreeMap<&str, usize> = BTreeMap::new();
    for domain in &simulation.domains {
        *first_wishes.entry(domain.profiles[0].as_str()).or_default() += 1;
    }
    let room: u32 = simulation
        .gpus
        .iter()
        .map(|gpu| {
            let wished = gpu.profiles.iter().filter(|profile| first_wishes.contains_key(profile.name.as_str()));
            wished.map(|profile| profile.max_instances).max().unwrap_or(0)
        })
        .sum();
    assert!((20..=30).contains(&room), "room for {room} of 40");
    let lives = simulation.domains.iter().filter(|domain| domain.attach == AttachMode::Live).count();
    let urgent = simulation.domains.iter().filter(|domain| domain.priority > 0).count();
    assert!((1..20).contains(&lives) && (1..10).contains(&urgent), "{lives} live, {urgent} urgent");
}
