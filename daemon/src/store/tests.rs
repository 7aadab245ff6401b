use std::path::PathBuf;

use expect_test::{Expect, expect};
use headstart_core::hint::Kind;
use headstart_core::id::{GpuId, ProfileName, UserName};
use headstart_core::request::{Preallocation, Wish};
use headstart_core::unit::{FramebufferMib, Probability};
use jiff::tz::{TimeZone, offset};
use rusqlite::Connection;

use super::*;

mod import;

const DAY: i64 = 86_400;
/// 2026-11-02T08:00:00Z, a Monday.
const MONDAY: i64 = 1_793_606_400;

fn at(seconds: i64) -> Time {
    Time::from_unix(MONDAY + seconds)
}

fn desktop(name: &str) -> DesktopName {
    DesktopName::new(name).unwrap()
}

/// An empty folder and the path of a history in it.
fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/history.db");
    (folder, path)
}

fn open(path: &Path) -> Store {
    Store::open(path, Span::days(400)).unwrap()
}

fn started(name: &str, user: Option<&str>, seconds: i64) -> Record {
    let user = user.map(|user| UserName::new(user).unwrap());
    Record::SessionStarted {
        desktop: desktop(name),
        user,
        at: at(seconds),
        offset: Some(offset(1)),
        source: Source::Broker,
    }
}

fn ended(name: &str, seconds: i64) -> Record {
    Record::SessionEnded { desktop: desktop(name), at: at(seconds) }
}

fn reserved(name: &str, seconds: i64) -> Record {
    Record::ReservationStarted {
        desktop: desktop(name),
        gpu: "0000:3b:00.0".parse::<GpuId>().unwrap(),
        profile: ProfileName::new("A40-4Q").unwrap(),
        at: at(seconds),
        confidence: Probability::clamped(0.75),
    }
}

/// All sessions as `desktop user start+length offset source`, times in seconds after Monday.
fn picture(store: &Store) -> String {
    let mut lines = Vec::new();
    Store::stream_sessions(store.path(), Time::from_unix(0), |session| {
        let user = session.user.map_or("-".to_owned(), |user| user.to_string());
        let end = session.end.map_or("?".to_owned(), |end| (end - session.start).as_seconds().to_string());
        let offset = session.offset.map_or("-".to_owned(), |offset| offset.to_string());
        let start = (session.start - at(0)).as_seconds();
        lines.push(format!("{} {user} {start}+{end} {offset} {:?}\n", session.desktop, session.source));
    })
    .unwrap();
    lines.concat()
}

fn refused(path: &Path, what: &Expect) {
    let before = std::fs::read(path).unwrap();
    let error = Store::open(path, Span::days(400)).unwrap_err().to_string();
    what.assert_eq(&error.replace(&*path.to_string_lossy(), "PATH"));
    assert_eq!(std::fs::read(path).unwrap(), before, "a refused file must stay as it is");
    assert!(Store::stream_sessions(path, Time::from_unix(0), |_| {}).is_err());
}

#[tokio::test]
async fn sessions_come_back_and_stay_idempotent() {
    let store = Store::in_memory().unwrap();
    for record in [
        started("vm2", None, 60),
        started("vm1", Some("ada"), 0),
        started("vm1", Some("ada"), 0),
        started("vm2", Some("bob"), 60),
        started("vm2", None, 60),
        ended("vm1", 600),
        ended("vm1", 700),
        ended("vm9", 700),
    ] {
        store.record(record);
    }
    store.flush().await;
    expect![[r"
        vm1 ada 0+600 +01 Broker
        vm2 bob 60+? +01 Broker
    "]]
    .assert_eq(&picture(&store));
    store.close().await;
}

#[tokio::test]
async fn what_was_open_is_found_again_and_only_that() {
    let (_folder, path) = scratch();
    let store = open(&path);
    assert!(store.open_sessions().is_empty() && store.open_reservations().is_empty());
    for record in
        [started("vm1", None, 0), started("vm2", None, 0), ended("vm2", 60), reserved("vm3", 0), reserved("vm4", 0)]
    {
        store.record(record);
    }
    store.record(Record::ReservationEnded { desktop: desktop("vm4"), at: at(30), outcome: Outcome::Used });
    store.close().await;

    let store = open(&path);
    let names = |rows: Vec<&DesktopName>| rows.into_iter().map(DesktopName::as_str).collect::<Vec<_>>().join(" ");
    assert_eq!(names(store.open_sessions().iter().map(|session| &session.desktop).collect()), "vm1");
    assert_eq!(names(store.open_reservations().iter().map(|held| &held.desktop).collect()), "vm3");
    store.record(ended("vm1", 90));
    store.record(Record::ReservationEnded { desktop: desktop("vm3"), at: at(90), outcome: Outcome::Wasted });
    store.close().await;
    let store = open(&path);
    assert!(store.open_sessions().is_empty() && store.open_reservations().is_empty());
    store.close().await;
}

#[tokio::test]
async fn reservations_decisions_and_samples_come_back() {
    let store = Store::in_memory().unwrap();
    store.record(reserved("vm1", 0));
    store.record(reserved("vm1", 0));
    store.record(Record::ReservationEnded { desktop: desktop("vm1"), at: at(60), outcome: Outcome::Late });
    store.record(reserved("vm2", 10));
    for (n, desktop_of) in [Some("vm1"), None, Some("vm2"), Some("vm1")].into_iter().enumerate() {
        let what = format!("decision {n}");
        store.record(Record::Decision {
            at: at(n as i64),
            desktop: desktop_of.map(desktop),
            what,
            why: "because".into(),
        });
    }
    store.record(Record::Utilisation {
        desktop: desktop("vm1"),
        at: at(0),
        gpu: 90,
        memory: 50,
        encoder: 10,
        decoder: 0,
        framebuffer: FramebufferMib::new(2048),
    });
    let picture: Vec<String> = store
        .reservations(None, 10)
        .await
        .unwrap()
        .into_iter()
        .map(|held| {
            let length = held.end.map(|end| (end - held.start).to_string());
            format!(
                "{} {} {} {length:?} {} {}",
                held.desktop,
                held.gpu,
                held.profile,
                held.confidence,
                held.outcome.word()
            )
        })
        .collect();
    assert_eq!(
        picture,
        ["vm2 0000:3b:00.0 A40-4Q None 75 % open", "vm1 0000:3b:00.0 A40-4Q Some(\"1 min\") 75 % late"]
    );
    assert_eq!(store.reservations(Some(desktop("vm1")), 10).await.unwrap().len(), 1);
    assert_eq!(store.reservations(Some(desktop("nobody")), 10).await.unwrap(), []);
    let what = |rows: Vec<StoredDecision>| rows.into_iter().map(|row| row.what).collect::<Vec<_>>();
    assert_eq!(what(store.decisions(None, 3).await.unwrap()), ["decision 3", "decision 2", "decision 1"]);
    assert_eq!(what(store.decisions(Some(desktop("vm1")), 9).await.unwrap()), ["decision 3", "decision 0"]);
    assert_eq!(store.decisions(None, 9).await.unwrap()[2].desktop, None);
}

#[tokio::test]
async fn old_rows_and_their_names_are_deleted_for_good() {
    let (_folder, path) = scratch();
    let store = Store::open(&path, Span::days(30)).unwrap();
    for record in [
        started("vm-old", Some("Mallory-the-forgotten"), -40 * DAY),
        ended("vm-old", -40 * DAY + 60),
        started("vm-open", Some("eve"), -40 * DAY),
        started("vm-new", Some("ada"), 0),
        ended("vm-new", 60),
    ] {
        store.record(record);
    }
    let old = Record::Decision { at: at(-40 * DAY), desktop: None, what: "old".into(), why: String::new() };
    let new = Record::Decision { at: at(0), desktop: None, what: "new".into(), why: String::new() };
    store.record(old);
    store.record(new);
    store.delete_old(at(DAY));
    store.flush().await;
    expect![[r"
        vm-open eve -3456000+? +01 Broker
        vm-new ada 0+60 +01 Broker
    "]]
    .assert_eq(&picture(&store));
    assert_eq!(store.decisions(None, 9).await.unwrap().len(), 1);
    // Recording goes on with the names that were deleted.
    store.record(started("vm-old", None, DAY));
    store.close().await;
    let bytes = std::fs::read(&path).unwrap();
    let holds = |name: &str| bytes.windows(name.len()).any(|window| window == name.as_bytes());
    assert!(!holds("Mallory") && holds("ada") && holds("vm-old"));
}

#[tokio::test]
async fn folder_and_file_are_private() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, path) = scratch();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    open(&path).close().await;
    assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let store = open(&path);
    store.record(started("vm1", None, 0));
    store.flush().await;
    assert_eq!((mode(&path), mode(&path.with_extension("db-wal"))), (0o600, 0o600));
    store.close().await;
}

#[test]
fn what_is_no_database_is_refused() {
    let (folder, _) = scratch();
    let path = folder.path().join("history.db");
    std::fs::write(&path, "user,vm,start,end\n").unwrap();
    refused(
        &path,
        &expect![
            "the history PATH is damaged (it does not begin as a database does); it was left as it is: move it away to begin a new one, or restore a backup"
        ],
    );
    std::fs::write(&path, [b'x'; 5000]).unwrap();
    refused(
        &path,
        &expect![
            "the history PATH is damaged (it does not begin as a database does); it was left as it is: move it away to begin a new one, or restore a backup"
        ],
    );
}

#[test]
fn a_foreign_database_is_refused() {
    let (folder, _) = scratch();
    let path = folder.path().join("history.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE wtmp (id INTEGER)").unwrap();
    refused(
        &path,
        &expect![
            "PATH is a database of another program; it was left as it is: set `path` under [history] to another file"
        ],
    );
}

#[tokio::test]
async fn a_newer_history_is_refused() {
    let (_folder, path) = scratch();
    open(&path).close().await;
    let connection = Connection::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 7).unwrap();
    // Still in the log, where the header of the file does not show it.
    let error = Store::open(&path, Span::days(400)).unwrap_err().to_string();
    assert!(error.contains("has format 7"), "{error}");
    drop(connection);
    refused(
        &path,
        &expect![
            "the history PATH has format 7, and this headstartd knows formats up to 4; it was left as it is: install the newer headstart again, or move the file away to begin a new one"
        ],
    );
}

#[tokio::test]
async fn a_damaged_history_is_refused() {
    let (_folder, path) = scratch();
    let store = open(&path);
    for n in 0..2000 {
        store.record(started(&format!("vm{n}"), None, n));
    }
    store.close().await;
    let good = std::fs::read(&path).unwrap();

    std::fs::write(&path, &good[..good.len() / 2]).unwrap();
    let error = Store::open(&path, Span::days(400)).unwrap_err().to_string();
    assert!(error.contains("is damaged (") && error.contains("it was left as it is"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), good[..good.len() / 2]);

    let mut bytes = good.clone();
    // From page 5 on: the first two are the schema and the map of pages.
    for byte in &mut bytes[4 * 4096..8 * 4096] {
        *byte ^= 0x5a;
    }
    std::fs::write(&path, &bytes).unwrap();
    let error = Store::open(&path, Span::days(400)).unwrap_err().to_string();
    assert!(error.contains("is damaged ("), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[tokio::test]
async fn a_crash_while_creating_is_no_damage() {
    let (folder, _) = scratch();
    let path = folder.path().join("history.db");
    std::fs::write(&path, "").unwrap();
    std::fs::write(folder.path().join("history.db.new"), "half a file").unwrap();
    open(&path).close().await;
    open(&path).close().await;
    assert!(!folder.path().join("history.db.new").exists());
}

#[tokio::test]
async fn a_log_that_outlived_its_history_is_put_aside() {
    let (folder, path) = scratch();
    let store = open(&path);
    store.record(started("vm1", None, 0));
    store.flush().await;
    let log = path.with_extension("db-wal");
    std::fs::copy(&log, folder.path().join("log")).unwrap();
    store.close().await;
    // The administrator moves the file away, as a message may have told, and not the log that a crash had left.
    std::fs::rename(&path, folder.path().join("moved")).unwrap();
    std::fs::rename(folder.path().join("log"), &log).unwrap();
    let store = open(&path);
    assert_eq!(picture(&store), "");
    assert!(path.with_extension("db-wal.old").exists());
    store.close().await;
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let (folder, _) = scratch();
    let file = folder.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = Store::open(&file.join("state/history.db"), Span::days(400)).unwrap_err().to_string();
    let error = error.replace(&*folder.path().to_string_lossy(), "FOLDER");
    expect!["the history FOLDER/file/state/history.db cannot be opened; check the folder, its owner and the space on its disk"].assert_eq(&error);
}

#[tokio::test]
async fn after_closing_nothing_breaks() {
    let store = Store::in_memory().unwrap();
    let other = store.clone();
    store.close().await;
    other.record(started("vm1", None, 0));
    other.flush().await;
    assert!(matches!(other.decisions(None, 1).await, Err(StoreError::Closed { .. })));
}

#[test]
fn long_scans_sort_nothing() {
    let path = schema::memory_path();
    let connection = schema::open_memory(&path).unwrap();
    let sql = "EXPLAIN QUERY PLAN ".to_owned() + &read::sessions_sql();
    let mut statement = connection.prepare(&sql).unwrap();
    let plan: Vec<String> =
        statement.query_map([0], |row| row.get(3)).unwrap().collect::<rusqlite::Result<_>>().unwrap();
    expect![[r"
        SEARCH session USING PRIMARY KEY (start>?)
        SEARCH desktop USING INTEGER PRIMARY KEY (rowid=?)
        SEARCH user USING INTEGER PRIMARY KEY (rowid=?) LEFT-JOIN"]]
    .assert_eq(&plan.join("\n"));
}

#[tokio::test]
async fn requests_stand_until_they_are_taken_back() {
    let (_folder, path) = scratch();
    let domain = |n: u128| DomainUuid::new(uuid::Uuid::from_u128(n));
    let standing = |preallocation, profile: Option<&str>, seconds| Standing {
        wish: Wish { preallocation, profile: profile.map(|name| ProfileName::new(name).unwrap()) },
        since: at(seconds),
    };
    let wished = |n, standing: &Standing| Record::Wished { domain: domain(n), standing: standing.clone() };
    let plain = standing(Preallocation::Accept, None, 0);
    let (larger, declined) =
        (standing(Preallocation::Require, Some("A40-8Q"), 60), standing(Preallocation::Decline, None, 0));
    let store = open(&path);
    assert!(store.wishes().is_empty());
    for record in [
        wished(1, &plain),
        wished(1, &larger),
        wished(2, &plain),
        Record::WishEnded { domain: domain(2) },
        Record::WishEnded { domain: domain(9) },
        wished(3, &declined),
        wished(4, &plain),
    ] {
        store.record(record.clone());
        store.record(record);
    }
    store.close().await;
    let store = open(&path);
    assert_eq!(
        *store.wishes(),
        [(domain(1), larger.clone()), (domain(3), declined.clone()), (domain(4), plain)].into()
    );
    // What is old goes; that nothing is to be done ahead stands, and when that was said goes.
    store.delete_old(at(30) + Span::days(400));
    store.close().await;
    let timeless = Standing { since: Time::default(), ..declined };
    assert_eq!(*open(&path).wishes(), [(domain(1), larger), (domain(3), timeless)].into());
}

fn hint(kind: Kind, told: i64, from: i64, until: i64) -> Hint {
    Hint { told: at(told), kind, from: at(from), until: at(until) }
}

fn streamed(path: &Path, since: Time) -> Vec<(String, Hint)> {
    let mut hints = Vec::new();
    Store::stream_hints(path, since, |desktop, hint, _| hints.push((desktop.to_string(), hint))).unwrap();
    hints
}

#[tokio::test]
async fn hints_come_back_in_the_order_in_which_they_were_due_and_old_ones_go() {
    let (_folder, path) = scratch();
    let store = open(&path);
    let leave = hint(Kind::Leave, 0, 20 * DAY, 25 * DAY);
    let badge = hint(Kind::Badge, DAY, DAY, DAY + 43_200);
    for (name, hint) in [("a", leave), ("b", badge), ("a", leave)] {
        store.record(Record::Told { desktop: desktop(name), hint, calendar: false });
    }
    store.flush().await;
    let both = [("b".to_owned(), badge), ("a".to_owned(), leave)];
    assert_eq!(streamed(&path, at(0)), both);
    assert_eq!(streamed(&path, at(2 * DAY)), both[1..]);
    assert_eq!(store.hints(None, 10).await.unwrap(), [(desktop("b"), badge), (desktop("a"), leave)], "newest first");
    assert_eq!(store.hints(Some(desktop("a")), 10).await.unwrap(), [(desktop("a"), leave)]);
    store.delete_old(at(2 * DAY) + Span::days(400));
    store.close().await;
    assert_eq!(streamed(&path, at(0)), both[1..]);
}

#[tokio::test]
async fn a_history_from_before_there_were_hints_gets_their_table() {
    let (_folder, path) = scratch();
    open(&path).close().await;
    let connection = Connection::open(&path).unwrap();
    connection.execute_batch("DROP TABLE hint").unwrap();
    connection.pragma_update(None, "user_version", 3).unwrap();
    drop(connection);
    let store = open(&path);
    store.record(Record::Told { desktop: desktop("a"), hint: hint(Kind::Vpn, 0, 0, 60), calendar: true });
    store.close().await;
    assert_eq!(streamed(&path, at(0)).len(), 1);
}
