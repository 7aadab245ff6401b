use expect_test::{Expect, expect};
use headstart_core::policy::Goal;
use headstart_core::unit::Probability;

use super::document::Document;
use super::*;

mod manual;
mod simulation;

const PACKAGED: &str = include_str!("../../../config/headstart.toml");

fn parse(text: &str) -> Result<Config, ConfigErrors> {
    let mut problems = Vec::new();
    let fragment = Fragment::parse(Path::new("h.toml"), text, &mut problems);
    let config = fragment.validate(Vec::new(), &mut problems);
    if problems.is_empty() { Ok(config) } else { Err(ConfigErrors(problems)) }
}

fn refused(text: &str, what: &Expect) {
    what.assert_eq(&parse(text).unwrap_err().to_string());
}

/// The packaged file with every setting in force.
fn uncommented() -> String {
    let set = |line: &str| {
        line.strip_prefix('#').filter(|rest| !rest.is_empty() && !rest.starts_with(' ')).map(str::to_owned)
    };
    PACKAGED.lines().map(|line| set(line).unwrap_or_else(|| line.to_owned()) + "\n").collect()
}

#[test]
fn nothing_said_is_the_default() {
    assert_eq!(parse("").unwrap(), Config::default());
    assert_eq!(parse("\u{feff}# only a comment\r\n").unwrap(), Config::default());
}

#[test]
fn the_packaged_file_shows_the_defaults_and_changes_nothing() {
    assert_eq!(parse(PACKAGED).unwrap(), Config::default());
    let shown = parse(&uncommented()).unwrap();
    assert_eq!(
        (shown.desktop_rules.len(), shown.gpus.len(), shown.calendars.len()),
        (1, 2, 1),
        "the examples are good"
    );
    let shown = Config { desktop_rules: Vec::new(), gpus: Vec::new(), calendars: Vec::new(), ..shown };
    assert_eq!(shown, Config::default());
}

/// Every key that the reader knows, with its section.
fn keys() -> Vec<String> {
    let text = uncommented();
    let document = Document::new(Path::new("h.toml"), &text);
    document.read(Fragment::read);
    document.asked().into_iter().collect()
}

#[test]
fn the_packaged_file_names_every_key() {
    let missing: Vec<String> = keys()
        .into_iter()
        .filter(|key| {
            let last = key.rsplit('.').next().unwrap();
            let shown = |line: &str| {
                let line = line.trim_start_matches(['#', ' ']);
                line.starts_with(&format!("{last} =")) || line == format!("[{key}]") || line == format!("[[{key}]]")
            };
            // The short form of `profiles` stands in its comment.
            !PACKAGED.lines().any(shown) && !PACKAGED.contains(&format!("`{last} ="))
        })
        .collect();
    assert_eq!(missing, [""; 0]);
    assert_eq!(keys().len(), 7 + 1 + 2 + 2 + 10 + 3 + 14 + 6 + 1 + 9 + 5, "a key came or went: {:?}", keys());
}

/// Line by line of the packaged file: the key misspelt, then a value of the wrong kind; both must be refused by name.
#[test]
fn every_key_refuses_a_wrong_name_and_a_wrong_kind() {
    let text = uncommented();
    let settings: Vec<(usize, &str)> =
        text.lines().enumerate().filter(|(_, line)| !line.starts_with(['#', '[']) && line.contains(" = ")).collect();
    assert!(settings.len() >= 23, "{settings:?}");
    for (n, setting) in settings {
        let key = setting.split(" = ").next().unwrap();
        let with = |line: String| {
            let lines: Vec<String> = text
                .lines()
                .enumerate()
                .map(|(m, other)| if m == n { line.clone() } else { other.to_owned() })
                .collect();
            parse(&lines.join("\n")).unwrap_err().to_string()
        };
        let place = format!("h.toml:{}:", n + 1);
        let misspelt = with(setting.replacen(key, &format!("{key}s"), 1));
        let hint = format!("unknown key `{key}s`");
        let found = misspelt.lines().find(|line| line.starts_with(&place)).unwrap_or_else(|| panic!("{misspelt}"));
        assert!(found.contains(&hint) && found.contains(&format!("did you mean `{key}`?")), "{found}");
        for wrong in ["[[]]", "{ x = 1 }", "\"\\n\""] {
            let error = with(format!("{key} = {wrong}"));
            let found = error.lines().find(|line| line.starts_with(&place)).unwrap_or_else(|| panic!("{error}"));
            assert!(found.contains(key) && (found.contains("expected ") || found.contains("is not valid")), "{found}");
        }
    }
}

#[test]
fn out_of_range_is_refused() {
    refused(
        "mode = \"armd\"\n[history]\npath = \"history.db\"\nretention = \"5 h\"\n[forecast]\ntime-zone = \"Europe/Atlantis\"\nrefit-at = \"25:00\"\n",
        &expect![[r#"
            h.toml:1:8: mode: expected "shadow" or "armed", found "armd"; did you mean `armed`?
            h.toml:3:8: history.path: expected an absolute path, found "history.db"
            h.toml:4:13: history.retention: expected a length of time from "1 day" to "36500 days", such as "1 h 30 min", found "5 h"
            h.toml:6:13: forecast.time-zone: expected a time zone such as "Europe/Berlin", or "system" (tzdata must be installed), found "Europe/Atlantis"
            h.toml:7:12: forecast.refit-at: expected a time of day such as "03:00", found "25:00""#]],
    );
    refused(
        "[policy]\ntake = 6\nrelease = -0.1\nminimum-hold = 600\ngrace = \"10 fortnights\"\nshut-down-after-logout = \"yes\"\nwish-valid = \"8 days\"\npoll = \"0 s\"\n[policy.lead]\ncold = \"3 h\"\nlive = 30.5\n",
        &expect![[r#"
            h.toml:2:8: policy.take: expected a probability from 0 to 1, found 6
            h.toml:3:11: policy.release: expected a probability from 0 to 1, found -0.1
            h.toml:4:16: policy.minimum-hold: expected a length of time from "0 s" to "1 day", such as "1 h 30 min", found 600
            h.toml:5:9: policy.grace: expected a length of time from "0 s" to "1 day", such as "1 h 30 min", found "10 fortnights"
            h.toml:6:26: policy.shut-down-after-logout: expected true or false, found "yes"
            h.toml:7:14: policy.wish-valid: expected a length of time from "1 min" to "7 days", such as "1 h 30 min", found "8 days"
            h.toml:8:8: policy.poll: expected a length of time from "1 s" to "1 h", such as "1 h 30 min", found "0 s"
            h.toml:10:8: policy.lead.cold: expected a length of time from "0 s" to "2 h", such as "1 h 30 min", found "3 h"
            h.toml:11:8: policy.lead.live: expected a length of time from "0 s" to "2 h", such as "1 h 30 min", found 30.5"#]],
    );
}

#[test]
fn desktops_and_gpus_are_checked() {
    refused(
        "[[desktop]]\nname = \"a\"\nuser = \"u\"\npool = \"p\"\nprofile = \"x\"\nprofiles = [\"y\"]\npriority = 5000\n\n[[desktop]]\nattach = \"warm\"\nprofiles = []\nmissing-gpu = \"wait\"\n[[gpu]]\naddress = \"3b:00.0\"\n[[gpu]]\n",
        &expect![[r#"
            h.toml:4:8: a desktop belongs to a `user` or to a `pool`, not to both; leave one out
            h.toml:6:12: `profile` and `profiles` say the same thing; leave one out
            h.toml:7:12: desktop.priority: expected a whole number from -1000 to 1000, found 5000
            h.toml:9:1: [desktop] lacks the key `name`
            h.toml:10:10: desktop.attach: expected "cold", "live" or "request", found "warm"
            h.toml:11:12: desktop.profiles: expected a list of profiles in order of wish, such as ["A40-8Q", "A40-4Q"], found a list
            h.toml:12:15: desktop.missing-gpu: expected "start" or "block", found "wait"
            h.toml:14:11: gpu.address: PCI address "3b:00.0" is not valid: expected domain:bus:slot.function in hexadecimal, as lspci -D prints it, e.g. 0000:3b:00.0
            h.toml:15:1: [gpu] lacks the key `address`, or `vendor`, `device` and `driver` of those that are meant"#]],
    );
}

#[test]
fn gpus_are_named_or_described() {
    let select = |text: &str| parse(text).unwrap().gpus.into_iter().map(|gpu| gpu.select).collect::<Vec<_>>();
    let one = |text: &str| Select::One(text.parse().unwrap());
    assert_eq!(
        select("[[gpu]]\naddress = \"00000000:3B:00.0\"\n[[gpu]]\naddress = \"mbochs\"\n[[gpu]]\nvendor = 0x10DE\n"),
        [one("0000:3b:00.0"), one("mbochs"), Select::Like { vendor: Some(0x10de), device: None, driver: None }]
    );
    let twice = "[[gpu]]\naddress = \"0000:3b:00.0\"\nvfs = 4\n[[gpu]]\naddress = \"0000:3b:00.0\"\n";
    let gpus = parse(twice).unwrap().gpus;
    assert_eq!((gpus.len(), gpus[0].vfs), (1, None), "the last entry about a GPU is the one in force");
    refused(
        "[[gpu]]\naddress = \"mbochs\"\nvendor = 0x10de\n[[gpu]]\ndevice = 0x2235\n[[gpu]]\nvendor = 0x10deb\ndriver = \"\"\nvfs = 0\nvgpu-params = \"frame_rate_limiter\"\nframebuffer-mib = \"8 GiB\"\n[[gpu.profiles]]\nslots = 0\n[libvirt]\nuri = \"qemu\"\n",
        &expect![[r#"
            h.toml:3:10: `address` names one GPU; leave `vendor` out
            h.toml:5:10: `device` says nothing without `vendor`; every vendor has its own
            h.toml:7:10: gpu.vendor: expected a PCI id from 0x0000 to 0xffff, such as 0x10de, found 0x10deb
            h.toml:8:10: gpu.driver: expected a name of at most 255 bytes, found ""
            h.toml:9:7: gpu.vfs: expected a whole number from 1 to 65535, found 0
            h.toml:10:15: gpu.vgpu-params: expected parameters such as "frame_rate_limiter=0, disable_vnc=1", found "frame_rate_limiter"
            h.toml:11:19: gpu.framebuffer-mib: expected a whole number from 1 to 16777216, found "8 GiB"
            h.toml:12:1: [gpu.profiles] lacks the key `name`
            h.toml:13:9: gpu.profiles.slots: expected a whole number from 1 to 65535, found 0
            h.toml:15:7: libvirt.uri: expected a libvirt URI such as "qemu:///system", found "qemu""#]],
    );
}

#[test]
fn unknown_keys_name_the_key_that_was_probably_meant() {
    refused(
        "mod = \"armed\"\nshut_down_after_logout = true\n[polici]\ntake = 0.5\n[policy]\nmininum-hold = \"1 h\"\nxyzzy = 1\n[policy.lead]\nwarm = \"1 s\"\n",
        &expect![[r"
            h.toml:1:1: unknown key `mod`; did you mean `mode`?
            h.toml:2:1: unknown key `shut_down_after_logout`; known are `calendar`, `desktop`, `forecast`, `gpu`, `history`, `libvirt`, `mode` and `policy`
            h.toml:3:2: unknown key `polici`; did you mean `policy`?
            h.toml:6:1: unknown key `mininum-hold` in [policy]; did you mean `minimum-hold`?
            h.toml:7:1: unknown key `xyzzy` in [policy]; known are `grace`, `idle-budget`, `keep-spare`, `lead`, `minimum-hold`, `poll`, `release`, `shut-down-after-logout`, `take`, `target-hit-rate` and `wish-valid`
            h.toml:9:1: unknown key `warm` in [policy.lead]; known are `cold` and `live`"]],
    );
}

#[test]
fn what_is_no_toml_is_refused_at_its_place() {
    refused("mode = \"armed\"\nmode = \"shadow\"\n", &expect!["h.toml:2:1: duplicate key"]);
    refused("[policy]\ntake = \n", &expect!["h.toml:2:8: string values must be quoted, expected literal string"]);
    refused(
        "policy = 5\ndesktop = { name = \"x\" }\n",
        &expect![[r"
        h.toml:1:10: policy: expected a table, found a whole number
        h.toml:2:11: desktop: expected tables, each under [[desktop]], found a table"]],
    );
}

#[test]
fn thresholds_must_not_cross() {
    refused(
        "[policy]\ntake = 0.01\n",
        &expect!["h.toml:2:8: policy.take (0.01) is below policy.release (0.022 by default): expected release <= take"],
    );
    refused(
        "[policy]\nrelease = 0.5\ntake = 0.4\n",
        &expect!["h.toml:3:8: policy.take (0.4) is below policy.release (0.5): expected release <= take"],
    );
    assert!(parse("[policy]\nrelease = 0.4\ntake = 0.4\n").is_ok());
}

/// Writes files below a root; returns what is loaded from there, or the errors with the root cut off.
#[test]
fn one_goal_at_a_time() {
    let goal = |text: &str| parse(&format!("[policy]\n{text}\n")).unwrap().policy.goal;
    assert_eq!(goal("idle-budget = \"2 h per user-day\""), Some(Goal::IdleBudget(Span::hours(2))));
    assert_eq!(goal("target-hit-rate = 0.9"), Some(Goal::HitRate(Probability::clamped(0.9))));
    assert_eq!(goal(""), None);
    refused(
        "[policy]\ntarget-hit-rate = 0.9\nidle-budget = \"2 h per user-day\"\n",
        &expect!["h.toml:2:19: policy.idle-budget and policy.target-hit-rate exclude each other: expected one of them"],
    );
    refused(
        "[policy]\nidle-budget = \"2 h\"\n",
        &expect![[
            r#"h.toml:2:15: policy.idle-budget: expected from "1 min per user-day" to "1 day per user-day", such as "2 h per user-day", found "2 h""#
        ]],
    );
    refused(
        "[policy]\ntarget-hit-rate = 1\n",
        &expect![
            "h.toml:2:19: policy.target-hit-rate: expected a share of the logins above 0 and below 1, such as 0.9, found 1"
        ],
    );
    let (one, other) = ("[policy]\nidle-budget = \"1 h per user-day\"\n", "[policy]\ntarget-hit-rate = 0.8\n");
    let both = load(&[("usr/lib/headstart/headstart.toml", one), ("etc/headstart/headstart.toml", other)]).unwrap();
    assert_eq!(both.policy.goal, Some(Goal::HitRate(Probability::clamped(0.8))));
}

#[test]
fn a_goal_that_is_printed_reads_back() {
    for text in ["idle-budget = \"90 min per user-day\"", "target-hit-rate = 0.75"] {
        let config = parse(&format!("[policy]\n{text}\n")).unwrap();
        assert_eq!(parse(&config.to_toml()).unwrap().policy, config.policy);
    }
}

fn load(files: &[(&str, &str)]) -> Result<Config, String> {
    let root = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = root.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    Config::load(root.path()).map_err(|errors| errors.to_string().replace(&*root.path().to_string_lossy(), ""))
}

#[test]
fn later_files_win_key_by_key() {
    let poll = |n: u32| format!("[policy]\npoll = \"{n} s\"\n");
    let files = [
        ("usr/lib/headstart/headstart.toml", &*(poll(1) + "grace = \"1 min\"\n[[desktop]]\nname = \"1\"\n")),
        ("usr/lib/headstart/headstart.toml.d/90.toml", &poll(2)),
        ("run/headstart/headstart.toml", &poll(3)),
        ("run/headstart/headstart.toml.d/10.toml", &poll(4)),
        ("etc/headstart/headstart.toml", &(poll(5) + "[[desktop]]\nname = \"2\"\n")),
        ("etc/headstart/headstart.toml.d/10.toml", &poll(6)),
        ("etc/headstart/headstart.toml.d/20.toml", &(poll(7) + "[[desktop]]\nname = \"3\"\n")),
    ];
    for n in 1..=files.len() {
        let config = load(&files[..n]).unwrap();
        assert_eq!(config.poll, Span::seconds(n as i64), "after {}", files[n - 1].0);
        assert_eq!(config.policy.grace, Span::minutes(1), "keys nobody overrides stay");
        assert_eq!(config.files.len(), n);
    }
    let config = load(&files).unwrap();
    let names: Vec<String> = config.desktop_rules.iter().map(|rule| rule.pattern.to_string()).collect();
    assert_eq!(names, ["1", "2", "3"], "rules add up in order");
}

#[test]
fn no_file_at_all_is_fine_and_only_toml_counts() {
    assert_eq!(load(&[]).unwrap(), Config::default());
    let ignored =
        [("etc/headstart/headstart.toml.d/a.toml.bak", "x"), ("etc/headstart/headstart.toml.d/.#a.toml", "x")];
    assert_eq!(load(&ignored).unwrap(), Config::default());
}

#[test]
fn mistakes_of_all_files_are_told_at_once() {
    let error = load(&[
        ("usr/lib/headstart/headstart.toml", "mode = 1\n"),
        ("etc/headstart/headstart.toml", "[policy]\ntake = 2\n"),
        ("etc/headstart/headstart.toml.d/a.toml", "mode =\n"),
    ])
    .unwrap_err();
    expect![[r#"
        /usr/lib/headstart/headstart.toml:1:8: mode: expected "shadow" or "armed", found 1
        /etc/headstart/headstart.toml:2:8: policy.take: expected a probability from 0 to 1, found 2
        /etc/headstart/headstart.toml.d/a.toml:1:7: string values must be quoted, expected literal string"#]]
    .assert_eq(&error);
}

#[test]
fn calendars_are_checked() {
    refused(
        "[[calendar]]\npath = \"leave\"\nkind = \"badge\"\n[[calendar]]\nuser = \"ada\"\nby-file-name = true\n",
        &expect![[r#"
            h.toml:2:8: calendar.path: expected an absolute path, found "leave"
            h.toml:3:8: calendar.kind: expected one of `leave`, `holiday`, `maintenance`, `shift`, `booking` and `hours`, found "badge"
            h.toml:4:1: [calendar] lacks the key `path`
            h.toml:4:1: [calendar] lacks the key `kind`
            h.toml:6:16: a calendar speaks of a `user`, of a `desktop`, of a `pool`, or of those its files are named after: leave one out"#]],
    );
    let same =
        "[[calendar]]\npath = \"/a\"\nkind = \"leave\"\n[[calendar]]\npath = \"/a\"\nkind = \"leave\"\npool = \"p\"\n";
    let config = parse(same).unwrap();
    assert_eq!(config.calendars.len(), 1);
    assert!(matches!(config.calendars[0].whose, Whose::Pool(_)));
    assert_eq!(parse(&config.to_toml()).unwrap(), config);
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("missing.toml");
    let error = Config::load_file(&missing).unwrap_err().to_string().replace(&*folder.path().to_string_lossy(), "");
    expect!["/missing.toml: cannot be read: No such file or directory (os error 2)"].assert_eq(&error);
    let file = folder.path().join("h.toml");
    std::fs::write(&file, "mode = \"armed\"\n").unwrap();
    assert_eq!(Config::load_file(&file).unwrap().mode, Mode::Armed);
}

#[test]
fn what_is_printed_reads_back() {
    let mut config = parse(&uncommented()).unwrap();
    config.desktop_rules[0].settings.preallocate = Some(false);
    let text = config.to_toml();
    assert_eq!(parse(&text).unwrap(), config);
    expect![[r#"
        mode = "shadow"

        [history]
        path = "/var/lib/headstart/history.db"
        retention = "400 days"

        [forecast]
        time-zone = "system"
        refit-at = "03:00"

        [policy]
        take = 0.03
        release = 0.022
        minimum-hold = "10 min"
        keep-spare = false
        grace = "10 min"
        shut-down-after-logout = true
        wish-valid = "30 min"
        poll = "30 s"

        [policy.lead]
        cold = "2 min"
        live = "30 s"

        [libvirt]
        uri = "qemu:///system"

        [[desktop]]
        name = "win-*"
        user = "ada"
        attach = "cold"
        presence = "agent"
        group = "design"
        hours = "Mon-Fri 08:00-17:00, Sat 09:00-12:00"
        missing-gpu = "start"
        time-zone = "America/New_York"
        lead = "1 min 30 s"
        profiles = ["A40-8Q", "A40-4Q"]
        priority = 10
        preallocate = false

        [[calendar]]
        path = "/etc/headstart/leave"
        kind = "leave"
        by-file-name = true

        [[gpu]]
        address = "0000:3b:00.0"
        board = "V710"
        vfs = 7
        framebuffer-mib = 28672
        vgpu-params = "frame_rate_limiter=0"

        [[gpu.profiles]]
        name = "A40-8Q"
        number = 562
        framebuffer-mib = 8192
        max-instances = 6
        slots = 1

        [[gpu]]
        vendor = 0x10de
        device = 0x2235
        driver = "nvidia"
    "#]]
    .assert_eq(&text);
}
