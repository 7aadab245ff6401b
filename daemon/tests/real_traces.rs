//! Real traces through import and export: what goes in comes out again, row by row. Skipped where there are none.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Seek};
use std::path::PathBuf;

use headstart_core::trace::format_row;
use headstart_core::unit::Span;
use headstartd::store::{ImportOptions, Store};
use headstartd::trace_file::{self, Rows};

/// `*.csv.gz` of the folder named by `HEADSTART_TRACES`, or of `../shared/data/logins` beside the repository.
fn traces() -> Vec<PathBuf> {
    let folder = std::env::var_os("HEADSTART_TRACES")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../shared/data/logins"), PathBuf::from);
    let Ok(entries) = std::fs::read_dir(&folder) else {
        eprintln!("skipped: no traces in {}", folder.display());
        return Vec::new();
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("the folder can be listed").path()).collect();
    files.retain(|file| file.to_string_lossy().ends_with(".csv.gz"));
    files.sort();
    files
}

#[tokio::test]
async fn what_goes_in_comes_out() {
    for trace in traces() {
        let mut rows = Rows::new(trace_file::open(File::open(&trace).unwrap()).unwrap()).unwrap();
        let mut expected = BTreeSet::new();
        while let Some(row) = rows.next().unwrap() {
            expected.insert(format_row(&row.unwrap()));
        }

        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("history.db"), Span::days(36_500)).unwrap();
        let name = trace.display().to_string();
        let input = File::open(&trace).unwrap();
        let report = store.import(input, name.clone(), ImportOptions::default()).await.unwrap();
        assert_eq!(report.bad, 0, "{name}: {:?}", report.first_errors);

        let mut output = tempfile::tempfile().unwrap();
        store.export(output.try_clone().unwrap(), None).await.unwrap();
        output.rewind().unwrap();
        let exported: Vec<String> = BufReader::new(output).lines().skip(1).map(Result::unwrap).collect();
        assert_eq!(exported.len() as u64, report.imported, "{name}");
        // A session without an end is left out beside one of the same instant that has it: nothing else may differ.
        let lost: Vec<String> = expected.difference(&exported.into_iter().collect()).cloned().collect();
        assert!(lost.iter().all(|row| row.ends_with(',')), "{name}: {lost:?}");
        eprintln!("{name}: {report:?}, {} without an end left out", lost.len());
        store.close().await;
    }
}
