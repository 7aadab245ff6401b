//! The backtest against a judge that shares no code with it: the program that states the rules of the replay, `eval_policies.py`.
//!
//! It is found by `HEADSTART_JUDGE`, or as `../shared/tools/eval_policies.py` beside the repository, and needs python3 with numpy in
//! `PATH`; where one of them is missing the tests say so and prove nothing.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

/// Both count seconds; what differs is the order of sums.
const ROUNDING: f64 = 1e-9;

/// Takes spans that touch for one, in every policy, as the judge itself does with the spans of another program: a device that stays
/// is not attached anew. Its own sliding windows give such spans, and it would count the second as attached at its start.
const TOUCHING_IS_ONE: &str = r"
import importlib.util, sys
spec = importlib.util.spec_from_file_location('judge', sys.argv[1])
judge = importlib.util.module_from_spec(spec)
spec.loader.exec_module(judge)
score = judge.score

def merged(plan):
    def of(user):
        spans = []
        for a, b in zip(*plan(user)):
            if spans and a <= spans[-1][1]:
                spans[-1][1] = max(b, spans[-1][1])
            else:
                spans.append([a, b])
        return [a for a, _ in spans], [b for _, b in spans]
    return of

judge.score = lambda trace, plan: score(trace, merged(plan))
del sys.argv[0]
judge.main()
";

/// What generated people do not do, or not within a few weeks.
const HARD_CASES: &str = "\
u901,vm901,2026-01-12T08:00:00+01:00,2026-01-12T12:00:00+01:00
u901,vm901,2026-01-12T09:00:00+01:00,2026-01-12T10:00:00+01:00
u901,vm901,2026-02-04T08:00:00+01:00,2026-02-04T09:00:00+01:00
u901,vm901,2026-02-04T09:10:00+01:00,2026-02-04T10:00:00+01:00
u901,vm901,2026-02-04T10:10:01+01:00,2026-02-04T11:00:00+01:00
u901,vm901,2026-03-20T08:00:00+01:00,2026-03-20T09:00:00+01:00
u902,vm902,2026-02-10T23:50:00-05:00,
u902,vm902,2026-02-11T23:50:00-05:00,2026-02-12T00:20:00-05:00
u902,vm902,2026-02-13T09:00:00+09:00,2026-02-13T17:00:00+09:00
u902,vm902,2026-02-14T09:00:00+09:00,2026-02-14T09:00:00+09:00
u902,vm902,2026-03-08T01:30:00-05:00,2026-03-08T04:00:00-04:00
u902,vm902,2026-03-10T01:30:00-04:00,2026-03-10T04:00:00-04:00
u903,vm903,2026-03-29T01:50:00+01:00,2026-03-29T03:20:00+02:00
";

/// A trace that both read, in a folder of its own.
struct Bench {
    judge: PathBuf,
    folder: TempDir,
}

impl Bench {
    /// None, with a message, where there is no judge.
    fn new() -> Option<Self> {
        let judge = std::env::var_os("HEADSTART_JUDGE").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/tools/eval_policies.py"),
            PathBuf::from,
        );
        let numpy = Command::new("python3").args(["-c", "import numpy"]).output();
        if !judge.is_file() || !numpy.is_ok_and(|output| output.status.success()) {
            eprintln!("skipped: {} or python3 with numpy is missing", judge.display());
            return None;
        }
        let bench = Self { judge, folder: TempDir::new().expect("a scratch folder") };
        bench.write_trace();
        Some(bench)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Eight people from January to April, across the change to summer time, and the hard cases.
    fn write_trace(&self) {
        let output = headstart(&["generate-trace", "--seed", "7", "--users", "8", "--days", "90"]);
        let invented = String::from_utf8(output.stdout).expect("it prints UTF-8");
        let (header, rows) = invented.split_once('\n').expect("there is a header");
        let mut rows: Vec<&str> = rows.lines().chain(HARD_CASES.lines()).collect();
        rows.sort_by_key(|row| row.split(',').nth(2).map(str::to_owned));
        std::fs::write(self.path("trace.csv"), format!("{header}\n{}\n", rows.join("\n"))).expect("our own folder");
    }

    fn trace(&self) -> String {
        self.path("trace.csv").to_string_lossy().into_owned()
    }

    /// Our replay at this threshold, and the spans file it wrote.
    fn replay(&self, threshold: &str) -> (Value, PathBuf) {
        let spans = self.path("spans.csv");
        let file = spans.to_string_lossy();
        let trace = self.trace();
        // Fewer models than usual, for the test's sake: the rules are the same.
        let mut arguments = vec!["backtest", &trace, "--json", "--refit-days", "28"];
        arguments.extend(["--reservations", &file, "--threshold", threshold]);
        let result = serde_json::from_slice(&headstart(&arguments).stdout).expect("it prints JSON");
        (result, spans)
    }

    /// The judge's result. `script`: run instead of the judge, which becomes its first argument.
    fn judge(&self, script: Option<&str>, arguments: &[&str]) -> Value {
        let json = self.path("judged.json");
        let mut command = Command::new("python3");
        if let Some(script) = script {
            command.args(["-c", script]);
        }
        command.arg(&self.judge).arg(self.trace()).args(arguments).arg("--json").arg(&json);
        done(&command.output().expect("python3 was there a moment ago"), "the judge");
        serde_json::from_slice(&std::fs::read(json).expect("it was written")).expect("it is JSON")
    }
}

fn headstart(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_headstart")).args(arguments).output().expect("it was built");
    done(&output, "headstart");
    output
}

fn done(output: &Output, who: &str) {
    assert!(output.status.success(), "{who}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Hit rate, idle hours per user and day, attaches per login.
type Figures = [f64; 3];

fn figures(of: &Value, names: [&str; 3]) -> Figures {
    names.map(|name| of[name].as_f64().unwrap_or_else(|| panic!("there is a number {name} in {of}")))
}

/// Ours of one point.
fn ours(point: &Value) -> Figures {
    figures(point, ["hit_rate", "idle_gpu_hours_per_user_day", "attaches_per_login"])
}

/// The judge's of the policies whose name begins so.
fn theirs(judged: &Value, name: &str) -> Vec<Figures> {
    let policies = judged["results"].as_array().expect("a list").iter();
    let named = policies.filter(|policy| policy["policy"].as_str().is_some_and(|policy| policy.starts_with(name)));
    named.map(|policy| figures(policy, ["hit", "idle_h_user_day", "attach_per_login"])).collect()
}

/// Our points of a policy.
fn points(result: &Value, name: &str) -> Vec<Value> {
    let policies = result["policies"].as_array().expect("a list");
    let policy = policies.iter().find(|policy| policy["name"] == name).unwrap_or_else(|| panic!("we have {name}"));
    policy["points"].as_array().expect("a list").clone()
}

fn same(a: &Figures, b: &Figures) -> bool {
    a.iter().zip(b).all(|(a, b)| (a - b).abs() < ROUNDING)
}

#[test]
fn our_spans_are_worth_to_the_judge_what_we_say() {
    let Some(bench) = Bench::new() else { return };
    for threshold in ["0.02", "0.2"] {
        let (result, spans) = bench.replay(threshold);
        let judged = bench.judge(None, &["--spans", &spans.to_string_lossy()]);
        let wanted: f64 = threshold.parse().expect("it is a number");
        let point = points(&result, "headstart")
            .into_iter()
            .find(|point| point["threshold"].as_f64().is_some_and(|at| (at - wanted).abs() < ROUNDING))
            .expect("the threshold that was asked for is there");
        let theirs = theirs(&judged, "spans").remove(0);
        assert!(same(&ours(&point), &theirs), "at {threshold}: {point} {theirs:?}");
        assert!(theirs[0] > 0.2 && theirs[1] > 0.05, "too little was held to prove anything: {theirs:?}");
        let (info, days) = (&judged["info"], result["managed_user_days"].as_f64().expect("a number"));
        assert_eq!(info["users"], result["users"]);
        assert_eq!(info["sessions"], result["sessions"]);
        assert_eq!(info["cold_logins_scored"], point["cold_logins"]);
        assert!((info["managed_user_days"].as_f64().expect("a number") - days).abs() <= 0.05, "{info} {days}");
    }
}

#[test]
fn the_baselines_are_the_judges() {
    let Some(bench) = Bench::new() else { return };
    let (result, _) = bench.replay("0.05");
    let arguments = ["--policies", "simple,hist,prorp"];
    let (judged, merged) = (bench.judge(None, &arguments), bench.judge(Some(TOUCHING_IS_ONE), &arguments));
    for (name, of_judge, n) in [
        ("always-on", "always-on", 1),
        ("on-demand", "on-demand", 1),
        ("weekdays 08-18", "fixed weekdays 08-18", 1),
        ("keep-alive 10 min", "keep-alive 10 min", 1),
        ("keep-alive 60 min", "keep-alive 60 min", 1),
        ("histogram", "histogram", 7),
        ("sliding window", "prorp", 14),
    ] {
        // Spans of the others never touch, so that they must be the same as the judge prints them.
        let mut left = theirs(if of_judge == "prorp" { &merged } else { &judged }, of_judge);
        let points = points(&result, name);
        assert_eq!((points.len(), left.len()), (n, n), "{name}");
        for point in &points {
            let found = left.iter().position(|figures| same(&ours(point), figures));
            let found = found.unwrap_or_else(|| panic!("{name}: {point} is not among {left:?}"));
            left.remove(found);
        }
    }
    // What touching changes is how often a device is attached and with it some hits, never what is held.
    for (apart, one) in theirs(&judged, "prorp").iter().zip(&theirs(&merged, "prorp")) {
        assert!((apart[1] - one[1]).abs() < ROUNDING && apart[0] <= one[0] && apart[2] >= one[2], "{apart:?} {one:?}");
    }
}
