//! Opens traces, plain or gzip, and names file and line of what cannot be read.
//!
//! Deliberately not here: what a row means, which is [`headstart_core::trace`]'s.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use anyhow::{Context, Result, bail};
use headstart_core::id::{GroupName, UserName};
use headstart_core::trace::{self, Row};
use headstart_core::{hint, membership};

/// The rows of a trace, duplicates left out, and how many of these there were.
#[derive(Debug)]
pub(crate) struct TraceFile {
    /// In the order of the file.
    pub rows: Vec<Row>,
    /// Rows that repeated an earlier one.
    pub duplicates: usize,
}

/// Reads a whole trace.
///
/// # Errors
/// It cannot be opened or read, or a row is bad; file and line are named.
pub(crate) fn read(path: &Path) -> Result<TraceFile> {
    let mut rows = Vec::new();
    for_each(path, |row| rows.push(row))?;
    let all = rows.len();
    let mut seen = std::collections::BTreeSet::new();
    rows.retain(|row| seen.insert((row.user.clone(), row.desktop.clone(), row.start, row.end, row.offset)));
    Ok(TraceFile { duplicates: all - rows.len(), rows })
}

/// Reads a whole file of hints.
///
/// # Errors
/// It cannot be opened or read, or a row is bad; file and line are named.
pub(crate) fn read_hints(path: &Path) -> Result<Vec<hint::Row>> {
    let mut rows = Vec::new();
    lines(path, "hints", hint::HEADER, |line, first| {
        if first {
            hint::check_header(line)?;
        } else {
            rows.push(hint::parse_row(line)?);
        }
        Ok(())
    })?;
    Ok(rows)
}

/// Reads who belongs to which group.
///
/// # Errors
/// It cannot be opened or read, a row is bad, or a user is named twice; file and line are named.
pub(crate) fn read_groups(path: &Path) -> Result<BTreeMap<UserName, GroupName>> {
    let mut groups = BTreeMap::new();
    lines(path, "groups", membership::HEADER, |line, first| {
        if first {
            membership::check_header(line)?;
        } else {
            let (user, group) = membership::parse_row(line)?;
            if let Some(before) = groups.insert(user.clone(), group) {
                bail!("{user} is in group {before} already; leave one of the two lines out");
            }
        }
        Ok(())
    })?;
    Ok(groups)
}

/// Hands on row after row, without keeping the file in memory.
fn for_each(path: &Path, mut take: impl FnMut(Row)) -> Result<()> {
    lines(path, "trace", trace::HEADER, |line, first| {
        if first {
            trace::check_header(line)?;
        } else {
            take(trace::parse_row(line)?);
        }
        Ok(())
    })
}

/// Hands on line after line, and whether it is the first; empty ones only there. `what` the file is, for messages, and its first line.
fn lines(path: &Path, what: &str, header: &str, mut take: impl FnMut(&str, bool) -> Result<()>) -> Result<()> {
    let name = path.display();
    let mut file = File::open(path).with_context(|| format!("cannot open {what} {name}"))?;
    let mut magic = [0; 2];
    let n = file.read(&mut magic).with_context(|| format!("cannot read {what} {name}"))?;
    let whole = std::io::Cursor::new(magic).take(n as u64).chain(file);
    let mut lines: Box<dyn BufRead> = if magic == [0x1f, 0x8b] {
        Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(whole)))
    } else {
        Box::new(BufReader::new(whole))
    };
    let mut line = String::new();
    let mut number = 0_u64;
    loop {
        line.clear();
        number += 1;
        if lines.read_line(&mut line).with_context(|| format!("cannot read {what} {name}, line {number}"))? == 0 {
            if number == 1 {
                bail!("{what} {name} is empty; its first line should be `{header}`");
            }
            return Ok(());
        }
        if number == 1 || !line.trim().is_empty() {
            take(&line, number == 1).with_context(|| format!("{name}:{number}"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const ROW: &str = "u1,vm1,2010-03-29T08:00:00+02:00,\n";

    fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn plain_and_gzip_read_alike() {
        let text =
            format!("user,vm,start,end\n{ROW}\n{ROW}u2,vm2,2010-03-29T08:00:00+02:00,2010-03-29T09:00:00+02:00\n");
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(text.as_bytes()).unwrap();
        let (plain, packed) = (file(text.as_bytes()), file(&gzip.finish().unwrap()));
        let (plain, packed) = (read(plain.path()).unwrap(), read(packed.path()).unwrap());
        assert_eq!(plain.rows, packed.rows);
        assert_eq!((plain.rows.len(), plain.duplicates), (2, 1));
    }

    #[test]
    fn hints_are_read_and_bad_ones_named() {
        let good = file(
            b"subject,kind,told,from,until\nu1,badge,2010-03-29T08:00:00+02:00,,\n\n*,holiday,2010-03-01T08:00:00Z,,\n",
        );
        assert_eq!(read_hints(good.path()).unwrap().len(), 2);
        let bad = file(b"subject,kind,told,from,until\nu1,tea,2010-03-29T08:00:00+02:00,,\n");
        let error = format!("{:#}", read_hints(bad.path()).unwrap_err());
        assert!(error.starts_with(&format!("{}:2: \"tea\" is no kind of hint", bad.path().display())), "{error}");
        let error = format!("{:#}", read_hints(file(b"user,vm,start,end\n").path()).unwrap_err());
        assert!(error.contains(":1: the first line must be `subject,kind,told,from,until`"), "{error}");
    }

    #[test]
    fn groups_are_read_and_whoever_is_in_two_is_named() {
        let good = read_groups(file(b"user,group\nu1,design\n\nu2,design\n").path()).unwrap();
        assert_eq!(good.len(), 2);
        let bad = file(b"user,group\nu1,design\nu1,sales\n");
        let error = format!("{:#}", read_groups(bad.path()).unwrap_err());
        let said = "u1 is in group design already; leave one of the two lines out";
        assert_eq!(error, format!("{}:3: {said}", bad.path().display()));
    }

    #[test]
    fn bad_rows_are_named_by_file_and_line() {
        let bad = file(format!("user,vm,start,end\n{ROW}u1,vm1,yesterday,\n").as_bytes());
        let error = format!("{:#}", read(bad.path()).unwrap_err());
        assert!(error.starts_with(&format!("{}:3: start \"yesterday\"", bad.path().display())), "{error}");
        let error = format!("{:#}", read(file(b"").path()).unwrap_err());
        assert!(error.contains("is empty"), "{error}");
        let error = format!("{:#}", read(Path::new("/nowhere.csv")).unwrap_err());
        assert!(error.starts_with("cannot open trace /nowhere.csv"), "{error}");
    }
}
