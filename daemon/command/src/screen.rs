//! The terminal: how wide, whether in color, which characters; and putting text on it.

use std::io::{IsTerminal, Write};

use comfy_table::{Cell, Color, ColumnConstraint, ContentArrangement, Row, Table};
use jiff::tz::TimeZone;
use serde::Serialize;

use crate::clock::WallClock;

/// Where output goes, and how it may look.
pub(crate) struct Screen {
    /// Print JSON.
    pub(crate) json: bool,
    /// Columns: those of `COLUMNS`, else of the terminal; none if it is no terminal, so that nothing is wrapped.
    pub(crate) width: Option<usize>,
    /// Block characters may be used.
    pub(crate) unicode: bool,
    color: bool,
    /// The wall clock of whoever reads.
    pub(crate) clock: WallClock,
}

/// What a text means; its color says so, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    /// As it should be.
    Good,
    /// Under way.
    Busy,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Unimportant.
    Faint,
    /// A heading.
    Heading,
}

impl Screen {
    /// Standard output as it is.
    pub(crate) fn of_stdout(json: bool) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let set = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let locale = set("LC_ALL").or_else(|| set("LC_CTYPE")).or_else(|| set("LANG")).unwrap_or_default();
        let utf8 = ["utf-8", "utf8"].iter().any(|name| locale.to_lowercase().ends_with(name));
        let columns = set("COLUMNS").and_then(|columns| columns.parse().ok()).filter(|columns| *columns > 0);
        let width = columns.or_else(|| terminal.then(|| Table::new().width().map_or(80, usize::from)));
        Self {
            json,
            width,
            unicode: utf8,
            color: terminal && set("NO_COLOR").is_none() && set("TERM").is_none_or(|term| term != "dumb"),
            clock: WallClock::new(TimeZone::system()),
        }
    }

    /// Puts text on the screen.
    #[expect(clippy::unused_self, reason = "a screen is what text is put on")]
    pub(crate) fn put(&self, text: &str) -> anyhow::Result<()> {
        let mut out = std::io::stdout().lock();
        out.write_all(text.as_bytes())?;
        Ok(out.flush()?)
    }

    /// Puts a value as JSON, on several lines.
    pub(crate) fn put_json(&self, value: &impl Serialize) -> anyhow::Result<()> {
        self.put(&format!("{}\n", serde_json::to_string_pretty(value)?))
    }

    /// Colors a text.
    pub(crate) fn tint(&self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Good => "32",
            Tone::Busy => "36",
            Tone::Warn => "33",
            Tone::Bad => "1;31",
            Tone::Faint => "2",
            Tone::Heading => "1",
        };
        if self.color { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }

    /// A bar of `cells` characters, `share` of it full.
    pub(crate) fn bar(&self, share: f64, cells: usize) -> String {
        let eighths = (share.clamp(0.0, 1.0) * cells as f64 * 8.0).round() as usize;
        if self.unicode {
            let mut bar = "█".repeat(eighths / 8);
            bar.extend(['▏', '▎', '▍', '▌', '▋', '▊', '▉'].get((eighths % 8).wrapping_sub(1)));
            let length = bar.chars().count();
            bar + &"░".repeat(cells - length)
        } else {
            let full = (eighths + 4) / 8;
            format!("{}{}", "#".repeat(full), ".".repeat(cells - full))
        }
    }

    /// A table without lines, as wide as the screen.
    pub(crate) fn table(&self, head: &[&str]) -> Table {
        let mut table = Table::new();
        table.load_style(comfy_table::presets::NOTHING);
        if !self.color {
            table.force_no_tty();
        }
        table.set_truncation_indicator(if self.unicode { "…" } else { "..." });
        if let Some(width) = self.width {
            table
                .set_content_arrangement(ContentArrangement::Dynamic)
                .set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        table.set_header(head.iter().map(|name| Cell::new(name).add_attribute(comfy_table::Attribute::Bold)));
        // What does not fit is wrapped in the last column, which is the one of sentences.
        let columns = table.column_count() - 1;
        table.set_constraints(vec![ColumnConstraint::ContentWidth; columns]);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        table
    }
}

/// A cell of a table in the color of its meaning.
pub(crate) fn cell(tone: Option<Tone>, text: impl ToString) -> Cell {
    let cell = Cell::new(text);
    match tone {
        Some(Tone::Good) => cell.fg(Color::Green),
        Some(Tone::Busy) => cell.fg(Color::Cyan),
        Some(Tone::Warn) => cell.fg(Color::Yellow),
        Some(Tone::Bad) => cell.fg(Color::Red),
        Some(Tone::Faint) => cell.add_attribute(comfy_table::Attribute::Dim),
        Some(Tone::Heading) => cell.add_attribute(comfy_table::Attribute::Bold),
        None => cell,
    }
}

/// A row that is cut rather than wrapped.
pub(crate) fn one_line(cells: Vec<Cell>) -> Row {
    let mut row = Row::from(cells);
    row.max_height(1);
    row
}

/// What the state of a desktop means.
pub(crate) fn tone_of(state: &str) -> Tone {
    match state {
        "ready" | "in-use" => Tone::Good,
        "preparing" | "releasing" | "grace" => Tone::Busy,
        "waiting" => Tone::Warn,
        "off" | "running" => Tone::Faint,
        _ => Tone::Bad,
    }
}

/// `73 %`, `0.4 %`.
pub(crate) fn percent(p: f64) -> String {
    headstart_core::unit::Probability::clamped(p).to_string()
}

/// The text of a table, blanks at line ends cut, each line ended.
pub(crate) fn lines_of(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}
