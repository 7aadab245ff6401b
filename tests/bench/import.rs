//! A million sessions into an empty history on disk, against reading and parsing them only.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::ensure;
use headstartd::trace_file::{self, Rows};

use crate::scene::Scene;
use crate::table::{Figure, Table, Target};

const SESSIONS: usize = 1_000_000;

pub(crate) fn measure(scene: &Scene, table: &mut Table) -> anyhow::Result<()> {
    let trace = million(scene)?;
    let began = Instant::now();
    let mut rows = Rows::new(trace_file::open(File::open(&trace)?)?)?;
    let mut read = 0;
    while let Some(row) = rows.next()? {
        std::hint::black_box(row?);
        read += 1;
    }
    let parsing = began.elapsed().as_secs_f64();
    ensure!(read == SESSIONS, "{read} sessions were invented, not {SESSIONS}");
    let began = Instant::now();
    let (_, imported) = scene.history("million.db", &trace)?;
    let importing = began.elapsed().as_secs_f64();
    ensure!(imported as usize == SESSIONS, "{imported} sessions were imported, not {SESSIONS}");
    let baseline = Some(("reading and parsing", Figure::new(parsing, "s")));
    table.row("open, import, close", Figure::new(importing, "s"), Target::Below(30.0), baseline);
    Ok(())
}

/// The first million lines of more.
fn million(scene: &Scene) -> anyhow::Result<PathBuf> {
    let more = BufReader::new(File::open(scene.trace(2000, 500)?)?);
    let path = scene.path("million.csv");
    let mut output = BufWriter::new(File::create(&path)?);
    for line in more.lines().take(SESSIONS + 1) {
        writeln!(output, "{}", line?)?;
    }
    output.flush()?;
    Ok(path)
}
