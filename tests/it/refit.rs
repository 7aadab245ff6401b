//! A refit that is killed leaves the model of the day before in place: in the daemon, and on disk for the next start.

use headstart_tests::until;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::scene::{DEADLINE, DEMO_HOST, Scene, eventually, start};

/// After the trace, and long before a night.
const BEGINS: &str = "2026-04-06T10:00:00Z";

/// The process of this daemon that fits, once it is past `nice`.
fn fitting(daemon: Pid) -> Option<Pid> {
    let fits = |pid: &i32| {
        let read = |file: &str| std::fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        let parent = read("stat").rsplit(')').next().and_then(|rest| rest.split_whitespace().nth(1)?.parse().ok());
        parent == Some(daemon.as_raw()) && read("cmdline").contains("headstartd\0--fit\0")
    };
    let all = std::fs::read_dir("/proc").expect("it is there").flatten();
    all.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(fits).map(Pid::from_raw)
}

#[test]
fn a_refit_that_is_killed_leaves_the_model_as_it_was() {
    let scene = Scene::new();
    for (name, seed) in [("first.csv", "1"), ("second.csv", "2")] {
        scene.headstart(&["generate-trace", "--users", "30", "--days", "90", "--seed", seed, "--out", name]).ok();
    }
    let mut command = scene.simulated("mode = \"shadow\"\n", DEMO_HOST);
    command.args(["--speed", "0.001", "--start", BEGINS]);
    let daemon = start(&mut command);
    let model = || scene.property("/host", "Host", "Model").as_str().expect("a text").to_owned();
    let log = |what: &str| daemon.log().find(what, DEADLINE, |line| line.contains(what)).expect("it says so");
    log("the model stays as it is");

    scene.headstart(&["import", "first.csv"]);
    eventually("a model is fitted", || model().contains("trees on").then_some(()).ok_or_else(model));
    let (yesterday, file) = (model(), std::fs::read(scene.path("model")).expect("it is kept"));

    scene.headstart(&["import", "second.csv"]);
    let fit =
        until("it fits again", DEADLINE, || Ok(fitting(daemon.process().pid()))).expect("an import is learned from");
    kill(fit, Signal::SIGKILL).expect("it lives");
    log("the model stays as it is: the fitting process ended with signal: 9");
    scene.settle();
    assert_eq!(model(), yesterday);
    assert_eq!(std::fs::read(scene.path("model")).expect("it is still kept"), file);
}
