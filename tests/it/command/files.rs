//! Import and export: all or nothing, each bad row by name, and what goes in comes out.

use std::fmt::Write as _;
use std::io::Write as _;

use headstart_tests::daemon::Daemon;
use serde_json::json;

use crate::scene::{DEMO_HOST, Scene, start};

const HEADER: &str = "user,vm,start,end\n";
const ADA: &str = "ada,vm001,2026-02-02T08:00:00+01:00,2026-02-02T16:00:00+01:00\n";
const BOB: &str = "bob,vm002,2026-02-02T09:00:00+01:00,\n";

fn daemon(scene: &Scene) -> Daemon {
    start(scene.simulated("", DEMO_HOST).args(["--start", "2026-02-10T00:00:00Z", "--speed", "0.001"]))
}

/// Users and starts in the history, read past the daemon.
fn sessions(scene: &Scene) -> Vec<(String, i64)> {
    let history = rusqlite::Connection::open(scene.path("history.db")).expect("it can be read meanwhile");
    let mut rows =
        history.prepare("SELECT text, start FROM session JOIN name ON id = user ORDER BY 2, 1").expect("its tables");
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("its columns");
    rows.collect::<Result<_, _>>().expect("its rows")
}

#[test]
fn a_good_file_goes_in_once() {
    let scene = Scene::new();
    let _daemon = daemon(&scene);
    let good = scene.write("good.csv", format!("{HEADER}{ADA}{BOB}{ADA}"));
    let good = good.to_str().expect("a plain path");
    assert_eq!(
        scene.headstart(&["import", good]).ok(),
        format!("{good}: 2 sessions imported, 1 were there already\n"),
        "a repeated row counts once"
    );
    let (eight, nine) = (1_770_015_600, 1_770_019_200);
    assert_eq!(sessions(&scene), [("ada".to_owned(), eight), ("bob".to_owned(), nine)]);
    let again = scene.headstart(&["import", good, "--json"]).json();
    assert_eq!(again, json!({ "sessions": 0, "duplicates": 3, "bad": 0, "problems": [] }));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let eve = ADA.replace("ada", "eve");
    gzip.write_all(format!("{HEADER}{eve}").as_bytes()).expect("memory");
    let packed = scene.write("packed", gzip.finish().expect("memory"));
    assert_eq!(scene.headstart(&["import", packed.to_str().expect("plain"), "--json"]).json()["sessions"], 1);
    // The loop learns at once: whoever is at vm001 is expected again.
    crate::scene::eventually("the forecast knows", || {
        let forecast = scene.headstart(&["forecast", "vm001", "--json"]).json();
        if forecast["today"].as_f64() > Some(0.0) { Ok(()) } else { Err(forecast.to_string()) }
    });
}

#[test]
fn one_bad_row_refuses_the_file_unless_bad_rows_are_left_out() {
    let scene = Scene::new();
    let _daemon = daemon(&scene);
    let bad = scene.write("bad.csv", format!("{HEADER}{ADA}bob,vm002,tomorrow,\n{BOB}eve,vm003\n"));
    let bad = bad.to_str().expect("a plain path");
    let ran = scene.headstart(&["import", bad]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(1), ""));
    let lines: Vec<&str> = ran.err.lines().collect();
    let first = "2 bad rows of 4; nothing was imported: repair them, or leave them out with --skip-bad";
    assert_eq!(lines[0], format!("headstart: {bad}: {first}"));
    assert!(lines[1].starts_with(&format!("  {bad}:3: start \"tomorrow\" is not an RFC 3339 time")), "{}", ran.err);
    assert_eq!(lines[2], format!("  {bad}:5: 2 columns where 4 are needed: user,vm,start,end"));
    assert_eq!(lines.len(), 3);
    assert_eq!(sessions(&scene), []);

    let told = scene.headstart(&["import", bad, "--skip-bad", "--json"]).json();
    assert_eq!((&told["sessions"], &told["duplicates"], &told["bad"]), (&json!(2), &json!(0), &json!(2)));
    assert_eq!(told["problems"].as_array().map(Vec::len), Some(2), "{told}");
    assert_eq!(sessions(&scene).len(), 2);
    let told = scene.headstart(&["import", bad, "--skip-bad"]).ok();
    assert!(
        told.starts_with(&format!(
            "{bad}: 0 sessions imported, 2 were there already, 2 bad rows left out\n  {bad}:3: "
        )),
        "{told}"
    );
}

#[test]
fn what_is_no_history_is_refused_in_words() {
    let scene = Scene::new();
    let _daemon = daemon(&scene);
    scene.write("other.csv", "a,b\n1,2\n");
    scene.write("packed", [0x28, 0xb5, 0x2f, 0xfd, 0, 0]);
    for (file, why) in [
        ("nowhere.csv", "headstart: cannot read nowhere.csv: No such file or directory"),
        ("other.csv", "other.csv:1: the first line must be `user,vm,start,end`, not \"a,b\""),
        ("packed", "it is compressed with zstd, and only gzip is read: unpack it first"),
        (".", ".: an import needs a regular file, not a pipe or folder"),
        ("history.db", "this is an SQLite database"),
    ] {
        let ran = scene.headstart(&["import", file]);
        assert_eq!(ran.code, Some(1), "{file}");
        assert!(ran.err.contains(why), "{file}: {}", ran.err);
    }
    assert_eq!(sessions(&scene), []);
}

#[test]
fn what_is_exported_imports_elsewhere_and_comes_out_the_same() {
    let (here, there) = (Scene::new(), Scene::new());
    let (_here, _there) = (daemon(&here), daemon(&there));
    let path = |scene: &Scene, name: &str| scene.path(name).to_str().expect("a plain path").to_owned();
    here.headstart(&["generate-trace", "--users", "5", "--days", "20", "--out", &path(&here, "invented.csv")]).ok();
    here.headstart(&["import", "invented.csv"]).ok();
    let count = sessions(&here).len();
    assert!(count > 50, "{count}");

    let told = here.headstart(&["export", &path(&here, "out.csv")]).ok();
    assert_eq!(told, format!("{}: {count} sessions exported\n", path(&here, "out.csv")));
    let told = there.headstart(&["import", &path(&here, "out.csv"), "--json"]).json();
    assert_eq!((&told["sessions"], &told["duplicates"]), (&json!(count), &json!(0)));
    let out = std::fs::read_to_string(here.path("out.csv")).expect("it was written");
    assert_eq!(there.headstart(&["export"]).ok(), out, "to standard output, byte for byte");
    assert_eq!(sessions(&there), sessions(&here));

    // The rows themselves, whatever their order.
    let sorted = |text: &str| {
        let mut rows: Vec<&str> = text.lines().collect();
        rows.sort_unstable();
        rows.into_iter().fold(String::new(), |mut all, row| {
            writeln!(all, "{row}").expect("a String takes all");
            all
        })
    };
    let invented = std::fs::read_to_string(here.path("invented.csv")).expect("it was written");
    assert_eq!(sorted(&out), sorted(&invented));

    let since = there.headstart(&["export", "--since", "2026-01-20"]).ok();
    let later =
        out.lines().skip(1).filter(|row| row.split(',').nth(2).is_some_and(|start| start >= "2026-01-20")).count();
    assert_eq!(since.lines().count() - 1, later);
    let ran = there.headstart(&["export", "/proc/nowhere/out.csv"]);
    assert!(ran.code == Some(1) && ran.err.starts_with("headstart: cannot write /proc/nowhere/out.csv: "), "{ran:?}");
}
