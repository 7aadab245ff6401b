//! headstartd(8) against the program: the same options, and the exit status it tells.

use std::collections::BTreeSet;
use std::process::{Command, Output};

const MANUAL: &str = include_str!("../../packaging/man/headstartd.8");

fn headstartd(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_headstartd"));
    command.args(arguments).env_remove("HEADSTART_BUS").output().expect("it was built")
}

#[test]
fn the_manual_has_every_option_and_no_other() {
    let help = String::from_utf8(headstartd(&["--help"]).stdout).expect("it prints UTF-8");
    // The long name is the first word of its line, or follows the short one.
    let long = |line: &str| line.split_whitespace().take(2).find_map(|word| word.strip_prefix("--")).map(str::to_owned);
    let options: BTreeSet<String> =
        help.lines().filter(|line| line.trim_start().starts_with('-')).filter_map(long).collect();
    assert!(options.contains("simulate") && options.contains("version"), "{help}");
    let told: BTreeSet<String> = MANUAL
        .lines()
        .filter_map(|line| line.strip_prefix(".It Fl "))
        .map(|item| item.replace("\\-", "-"))
        .filter_map(|item| item.split(' ').find_map(|word| word.strip_prefix('-')).map(str::to_owned))
        .collect();
    assert_eq!(told, options);
}

#[test]
fn the_exit_status_is_as_the_manual_says() {
    let folder = tempfile::tempdir().expect("a scratch folder");
    let good = folder.path().join("good.toml");
    let bad = folder.path().join("bad.toml");
    std::fs::write(&good, "mode = \"armed\"\n").expect("our own folder");
    std::fs::write(&bad, "mod = \"armed\"\n").expect("our own folder");
    let (good, bad) = (good.to_string_lossy(), bad.to_string_lossy());
    for (arguments, status, said) in [
        (&["--config", &*good, "--check-config"][..], 0, ""),
        (&["--config", &good, "--bus", "unix:path=/nonexistent/bus"], 1, "cannot connect to"),
        (&["--config", &good, "--speed", "1"], 2, "--simulate <FILE>"),
        (&["--config", &bad, "--check-config"], 78, "did you mean `mode`?"),
        (&["--config", &good, "--simulate", &bad], 78, "unknown key `mod`"),
    ] {
        let output = headstartd(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {error}");
        assert!(error.contains(said), "{arguments:?}: {error}");
        assert!(MANUAL.contains(&format!("\n.It {status}\n")), "the manual does not tell {status}");
    }
}
