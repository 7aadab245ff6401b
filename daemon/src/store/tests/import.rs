//! Import and export.

use std::io::{Read, Seek, Write};
use std::os::fd::OwnedFd;

use super::*;

const GOOD: &str = "\
user,vm,start,end
u1,vm1,2026-11-02T09:00:00+01:00,2026-11-02T17:00:00+01:00
u2,vm2,2026-11-02T09:30:00+01:00,
u1,vm1,2026-11-02T12:00:00+01:00,2026-11-02T12:30:00+01:00
u1,vm1,2026-11-02T12:00:00+01:00,2026-11-02T12:30:00+01:00
";

fn file(bytes: impl AsRef<[u8]>) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes.as_ref()).unwrap();
    file.rewind().unwrap();
    file
}

fn options(skip_bad: bool) -> ImportOptions {
    ImportOptions { skip_bad, format: TraceFormat::Auto, zone: TimeZone::get("Europe/Berlin").unwrap() }
}

async fn import(store: &Store, bytes: impl AsRef<[u8]>, skip_bad: bool) -> Result<ImportReport, ImportError> {
    store.import(file(bytes), "t.csv".into(), options(skip_bad)).await
}

/// `read imported duplicates bad`.
fn counts(report: &ImportReport) -> [u64; 4] {
    [report.read, report.imported, report.duplicates, report.bad]
}

async fn exported(store: &Store, since: Option<Time>) -> String {
    let mut output = tempfile::tempfile().unwrap();
    store.export(output.try_clone().unwrap(), since).await.unwrap();
    output.rewind().unwrap();
    let mut text = String::new();
    output.read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn importing_twice_is_harmless() {
    let store = Store::in_memory().unwrap();
    assert_eq!(counts(&import(&store, GOOD, false).await.unwrap()), [4, 3, 1, 0]);
    assert_eq!(counts(&import(&store, GOOD, false).await.unwrap()), [4, 0, 4, 0]);
    expect![[r"
        vm1 u1 0+28800 +01 Import
        vm2 u2 1800+? +01 Import
        vm1 u1 10800+1800 +01 Import
    "]]
    .assert_eq(&picture(&store));
}

#[tokio::test]
async fn export_writes_what_import_reads() {
    let store = Store::in_memory().unwrap();
    import(&store, GOOD, false).await.unwrap();
    store.record(started("vm3", None, 0));
    store.record(ended("vm3", 60));
    store.record(started("a,b", None, 0));
    let text = exported(&store, None).await;
    expect![[r"
        user,vm,start,end
        u1,vm1,2026-11-02T09:00:00+01:00,2026-11-02T17:00:00+01:00
        vm3,vm3,2026-11-02T09:00:00+01:00,2026-11-02T09:01:00+01:00
        u2,vm2,2026-11-02T09:30:00+01:00,
        u1,vm1,2026-11-02T12:00:00+01:00,2026-11-02T12:30:00+01:00
    "]]
    .assert_eq(&text);
    assert_eq!(counts(&import(&store, &text, false).await.unwrap()), [4, 0, 4, 0], "all of it is there already");
    assert_eq!(exported(&store, Some(at(3600))).await.lines().count(), 2);
    let report = store.export(tempfile::tempfile().unwrap(), None).await.unwrap();
    assert_eq!(report, ExportReport { written: 4, left_out: 1, first_left_out: Some("a,b".into()) });
}

#[tokio::test]
async fn an_export_that_cannot_be_written_says_so() {
    let store = Store::in_memory().unwrap();
    import(&store, GOOD, false).await.unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    let error = store.export(full, None).await.unwrap_err().to_string();
    assert_eq!(error, "the exported trace cannot be written");
}

#[tokio::test]
async fn an_end_that_comes_later_completes_an_imported_session() {
    let store = Store::in_memory().unwrap();
    let row = |end: &str| format!("user,vm,start,end\nu,v,2026-11-02T08:00:00Z,{end}\n");
    assert_eq!(counts(&import(&store, row(""), false).await.unwrap()), [1, 1, 0, 0]);
    assert_eq!(counts(&import(&store, row("2026-11-02T09:00:00Z"), false).await.unwrap()), [1, 1, 0, 0]);
    assert_eq!(counts(&import(&store, row(""), false).await.unwrap()), [1, 0, 1, 0]);
    assert_eq!(picture(&store), "v u 0+3600 +00 Import\n");
}

#[tokio::test]
async fn a_session_under_watch_is_left_to_its_watcher() {
    let store = Store::in_memory().unwrap();
    store.record(started("v", Some("u"), 0));
    let text = "user,vm,start,end\nu,v,2026-11-02T08:00:00Z,2026-11-02T09:00:00Z\n";
    assert_eq!(counts(&import(&store, text, false).await.unwrap()), [1, 0, 1, 0]);
    assert_eq!(picture(&store), "v u 0+? +01 Broker\n");
}

#[tokio::test]
async fn bad_rows_are_named_and_nothing_goes_in() {
    let store = Store::in_memory().unwrap();
    let bad = format!("{GOOD}u3,vm3\nu3,vm3,2026-11-02T09:00:00,\nu3,vm3,2026-11-02T09:00:00Z,2026-11-02T08:00:00Z\n");
    let error = import(&store, &bad, false).await.unwrap_err();
    expect![[r#"
        t.csv: 3 bad rows of 7; nothing was imported: repair them, or leave them out with --skip-bad
          t.csv:6: 2 columns where 4 are needed: user,vm,start,end
          t.csv:7: start "2026-11-02T09:00:00" is not an RFC 3339 time with UTC offset, such as 2010-03-29T08:00:00+02:00 (it has no UTC offset)
          t.csv:8: the session ends (2026-11-02T08:00:00Z) before it starts (2026-11-02T09:00:00Z)"#]]
    .assert_eq(&error.to_string());
    assert_eq!(picture(&store), "");
    assert_eq!(counts(&import(&store, &bad, true).await.unwrap()), [7, 3, 1, 3]);
}

#[tokio::test]
async fn only_the_first_bad_rows_are_shown() {
    let store = Store::in_memory().unwrap();
    let text = format!("user,vm,start,end\n{}", "x\n".repeat(50));
    let error = import(&store, text, false).await.unwrap_err().to_string();
    assert_eq!(error.lines().count(), 1 + 20 + 1);
    assert!(error.ends_with("\n  ... and 30 more"), "{error}");
}

#[tokio::test]
async fn what_is_no_history_is_refused() {
    let store = Store::in_memory().unwrap();
    expect![[r#"
        t.csv: 1 bad row of 1; nothing was imported: repair them, or leave them out with --skip-bad
          t.csv:1: the first line must be `user,vm,start,end`, not "time,what""#]]
    .assert_eq(&import(&store, "time,what\n", true).await.unwrap_err().to_string());
    let (folder, _) = scratch();
    let other = folder.path().join("wtmp.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE wtmp (id INTEGER)").unwrap();
    expect!["t.csv: this is an SQLite database, such as wtmpdb of Debian 13 and others keeps in place of wtmp; it is not read yet: turn its sessions into the CSV form user,vm,start,end"]
        .assert_eq(&import(&store, std::fs::read(other).unwrap(), false).await.unwrap_err().to_string());
}

/// A record of `utmp` with 32-bit times, 384 bytes, as `man 5 utmp` lays it out.
fn utmp(kind: i16, line: &str, user: &str, seconds: i64) -> Vec<u8> {
    let mut bytes = vec![0; 384];
    let mut put = |at: usize, what: &[u8]| bytes[at..at + what.len()].copy_from_slice(what);
    put(0, &kind.to_ne_bytes());
    put(8, line.as_bytes());
    put(44, user.as_bytes());
    put(340, &((MONDAY + seconds) as i32).to_ne_bytes());
    bytes
}

const BOOT: i16 = 2;
const USER: i16 = 7;
const DEAD: i16 = 8;

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn logins_of_the_host_are_read_from_wtmp() {
    let store = Store::in_memory().unwrap();
    let records = [
        utmp(BOOT, "~", "reboot", 0),
        utmp(USER, "tty1", "ada", 10),
        utmp(USER, "pts/0", "bob", 20),
        utmp(DEAD, "pts/0", "", 50),
        utmp(DEAD, "pts/7", "", 55),
        utmp(BOOT, "~", "reboot", 100),
        utmp(USER, "pts/0", "bob", 120),
        utmp(USER, "pts/0", "ada", 130),
        utmp(USER, "tty2", "", 140),
        utmp(99, "tty2", "eve", 150),
    ];
    let mut bytes = records.concat();
    let error = import(&store, &bytes, false).await.unwrap_err().to_string();
    expect![[r#"
        t.csv: 2 bad rows of 6; nothing was imported: repair them, or leave them out with --skip-bad
          t.csv:record 10: unknown type 99
          t.csv:record 9: desktop name "" is not valid: it is empty"#]]
    .assert_eq(&error);
    bytes.truncate(8 * 384 + 100);
    let report = import(&store, &bytes, true).await.unwrap();
    assert_eq!(counts(&report), [5, 4, 0, 1]);
    assert_eq!(report.first_errors, ["t.csv:record 9: the file ends in the middle of the record"]);
    expect![[r"
        ada ada 10+90 +01 Import
        bob bob 20+30 +01 Import
        bob bob 120+? +01 Import
        ada ada 130+? +01 Import
    "]]
    .assert_eq(&picture(&store));
    assert_eq!(counts(&import(&store, &bytes, true).await.unwrap()), [5, 0, 4, 1]);
}

/// `n` good rows, without the header.
fn many(n: usize) -> String {
    use std::fmt::Write;
    let mut text = String::new();
    for i in 0..n {
        let (user, time) = (i % 500, MONDAY + i as i64 * 30);
        let (start, end) = (Time::from_unix(time), Time::from_unix(time + 3000));
        writeln!(text, "u{user:03},vm{user:03},{start},{end}").unwrap();
    }
    text
}

#[tokio::test]
async fn a_hundred_thousand_rows_go_in_and_records_meanwhile_are_kept() {
    let (_folder, path) = scratch();
    let store = open(&path);
    let rows = file(format!("user,vm,start,end\n{}", many(100_000)));
    let importing = store.import(rows, "t.csv".into(), options(false));
    let recording = async {
        for n in 0..1000 {
            store.record(started(&format!("live{n}"), None, n));
        }
    };
    let (report, ()) = tokio::join!(importing, recording);
    assert_eq!(counts(&report.unwrap()), [100_000, 100_000, 0, 0]);
    store.flush().await;
    let mut last = Time::from_unix(0);
    let n = Store::stream_sessions(&path, Time::from_unix(0), |session| {
        assert!(last <= session.start, "in order of time");
        last = session.start;
    });
    assert_eq!(n.unwrap(), 101_000);
    store.close().await;
    let size = path.metadata().unwrap().len();
    assert!(size < 4_000_000, "{size} bytes for 100,000 sessions");
}

#[tokio::test]
async fn an_import_that_nobody_waits_for_leaves_nothing() {
    let store = Store::in_memory().unwrap();
    let (reader, writer) = std::io::pipe().unwrap();
    let mut writer = File::from(OwnedFd::from(writer));
    let feeding = std::thread::spawn(move || {
        writer.write_all(format!("user,vm,start,end\n{}", many(20_000)).as_bytes()).unwrap();
        // The pipe is far smaller than that: by now rows have been read. The rest comes when the import was given up.
        writer
    });
    let mut importing = Box::pin(store.import(File::from(OwnedFd::from(reader)), "pipe".into(), options(false)));
    assert!(
        std::future::poll_fn(|context| std::task::Poll::Ready(importing.as_mut().poll(context))).await.is_pending()
    );
    let mut writer = feeding.join().unwrap();
    drop(importing);
    // The import may be told by a failed write: its end of the pipe is closed then.
    let _closed = writer.write_all(many(20_000).as_bytes());
    drop(writer);
    store.flush().await;
    assert_eq!(picture(&store), "");
}

#[tokio::test]
async fn a_daemon_that_stops_breaks_an_import_off() {
    let (_folder, path) = scratch();
    let store = open(&path);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut writer = File::from(OwnedFd::from(writer));
    let feeding = std::thread::spawn(move || {
        writer.write_all(format!("user,vm,start,end\n{}", many(20_000)).as_bytes()).unwrap();
        writer
    });
    let importer = store.clone();
    let input = File::from(OwnedFd::from(reader));
    let importing = tokio::spawn(async move { importer.import(input, "pipe".into(), options(false)).await });
    let writer = tokio::task::spawn_blocking(|| feeding.join().unwrap());
    let mut writer = writer.await.unwrap();
    let closing = tokio::spawn(store.close());
    tokio::task::yield_now().await;
    let _closed = writer.write_all(many(20_000).as_bytes());
    let error = importing.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "pipe: the import was broken off; nothing was imported");
    closing.await.unwrap();
    assert_eq!(picture(&open(&path)), "");
}

/// Run by the test below in a process of its own, which it kills.
#[tokio::test]
async fn helper_imports_from_a_pipe_until_killed() {
    let (Ok(database), Ok(pipe)) = (std::env::var("HEADSTART_TEST_DATABASE"), std::env::var("HEADSTART_TEST_PIPE"))
    else {
        return;
    };
    let store = open(Path::new(&database));
    let input = File::open(pipe).unwrap();
    store.import(input, "pipe".into(), options(false)).await.unwrap();
}

#[tokio::test]
async fn a_process_killed_in_the_middle_of_an_import_leaves_nothing() {
    let (folder, path) = scratch();
    open(&path).close().await;
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "store::tests::import::helper_imports_from_a_pipe_until_killed"])
        .env("HEADSTART_TEST_DATABASE", &path)
        .env("HEADSTART_TEST_PIPE", &pipe)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut writer = File::options().write(true).open(&pipe).unwrap();
    writer.write_all(format!("user,vm,start,end\n{}", many(200_000)).as_bytes()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let log = path.with_extension("db-wal").metadata().unwrap().len();
    assert!(log > 1_000_000, "the transaction was under way: {log} bytes of log");
    let store = open(&path);
    assert_eq!(picture(&store), "");
    assert_eq!(counts(&import(&store, GOOD, false).await.unwrap()), [4, 3, 1, 0]);
    store.close().await;
}
