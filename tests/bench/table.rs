//! The table: figure, target, baseline and their ratio, a row each.

use std::fmt;
use std::time::Instant;

/// A figure with its unit, for comparison and for people.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figure {
    value: f64,
    unit: &'static str,
}

impl Figure {
    pub(crate) fn new(value: f64, unit: &'static str) -> Self {
        Self { value, unit }
    }
}

impl fmt::Display for Figure {
    /// Three significant digits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = match self.value.abs() {
            v if v >= 100.0 => 0,
            v if v >= 10.0 => 1,
            v if v >= 0.1 || v == 0.0 => 2,
            _ => 4,
        };
        write!(f, "{:.digits$}{}{}", self.value, if self.unit.is_empty() { "" } else { " " }, self.unit)
    }
}

/// What a row claims.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    /// Nothing: it is there to be read.
    None,
    /// The figure is below this, in its own unit.
    Below(f64),
    /// The figure is at most so many times the baseline.
    Times(f64),
}

struct Row {
    what: String,
    figure: Figure,
    target: Target,
    baseline: Option<(String, Figure)>,
}

impl Row {
    fn ratio(&self) -> Option<f64> {
        self.baseline.as_ref().map(|(_, baseline)| self.figure.value / baseline.value)
    }

    /// Whether it keeps its target; none if it has none.
    fn kept(&self) -> Option<bool> {
        match self.target {
            Target::None => None,
            Target::Below(most) => Some(self.figure.value < most),
            Target::Times(most) => self.ratio().map(|ratio| ratio <= most),
        }
    }

    fn cells(&self) -> [String; 6] {
        let target = match self.target {
            Target::None => String::new(),
            Target::Below(most) => format!("< {}", Figure::new(most, self.figure.unit)),
            Target::Times(most) => format!("<= {most} x"),
        };
        let (named, baseline) = match &self.baseline {
            Some((name, figure)) => (name.clone(), figure.to_string()),
            None => (String::new(), String::new()),
        };
        let verdict = match self.kept() {
            None => "",
            Some(true) => "ok",
            Some(false) => "MISSED",
        };
        let ratio = self.ratio().map_or_else(String::new, |ratio| Figure::new(ratio, "x").to_string());
        let named = if baseline.is_empty() { named } else { format!("{named}: {baseline}") };
        [format!("  {}", self.what), self.figure.to_string(), target, verdict.to_owned(), ratio, named]
    }
}

/// All rows, in sections.
#[derive(Default)]
pub(crate) struct Table {
    sections: Vec<(String, Vec<Row>)>,
}

impl Table {
    /// Measures one section; says on standard error how long that took.
    pub(crate) fn section<T>(
        &mut self,
        title: &str,
        measure: impl FnOnce(&mut Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        eprint!("{title} ... ");
        let began = Instant::now();
        self.sections.push((title.to_owned(), Vec::new()));
        let result = measure(self);
        eprintln!("{:.0} s", began.elapsed().as_secs_f64());
        result
    }

    /// A row of the section that is being measured.
    pub(crate) fn row(&mut self, what: &str, figure: Figure, target: Target, baseline: Option<(&str, Figure)>) {
        if let Some((_, rows)) = self.sections.last_mut() {
            let baseline = baseline.map(|(name, figure)| (name.to_owned(), figure));
            rows.push(Row { what: what.to_owned(), figure, target, baseline });
        }
    }

    /// How many targets are missed.
    pub(crate) fn missed(&self) -> usize {
        self.sections.iter().flat_map(|(_, rows)| rows).filter(|row| row.kept() == Some(false)).count()
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["", "figure", "target", "", "ratio", "baseline"].map(str::to_owned);
        let rows: Vec<[String; 6]> = self.sections.iter().flat_map(|(_, rows)| rows).map(Row::cells).collect();
        let mut widths = [0; 6];
        for cells in rows.iter().chain([&head]) {
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut line = |cells: &[String; 6]| {
            let [w0, w1, w2, w3, w4, _] = widths;
            let [what, figure, target, verdict, ratio, baseline] = cells;
            let text = format!("{what:<w0$}  {figure:>w1$}  {target:>w2$}  {verdict:<w3$}  {ratio:>w4$}  {baseline}");
            writeln!(f, "{}", text.trim_end())
        };
        line(&head)?;
        let mut rows = rows.iter();
        for (title, own) in &self.sections {
            line(&[title.clone(), String::new(), String::new(), String::new(), String::new(), String::new()])?;
            for cells in rows.by_ref().take(own.len()) {
                line(cells)?;
            }
        }
        Ok(())
    }
}
