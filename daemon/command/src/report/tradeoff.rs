//! The trade-off curve: what each policy pays in idle GPU-hours, and how many logins find their GPU for it.

use std::fmt::{self, Write};

use headstart_core::backtest::result::{BacktestResult, Point};

use super::svg::{self, Escaped, Px, Scale, Spread, number, percent};

/// Colours of the baselines in the style sheet; more policies start over.
const N_COLOURS: usize = 9;

/// Where a label may stand beside its point, the best first: so far away, in this direction.
const DISTANCES: [f64; 6] = [8.0, 16.0, 28.0, 42.0, 60.0, 80.0];
const DIRECTIONS: [(f64, f64); 10] = [
    (1.0, 0.0),
    (1.0, 0.8),
    (1.0, -0.8),
    (0.0, 1.0),
    (0.0, -1.0),
    (-1.0, 0.8),
    (-1.0, -0.8),
    (-1.0, 0.0),
    (1.0, -0.35),
    (-1.0, 0.35),
];

/// In words, for whoever does not see it.
const DESCRIPTION: &str = "One line or mark for each policy. Up and to the left is better.";
/// How large it is as a file of its own.
const SIZE: (f64, f64) = (1100.0, 500.0);

/// Draws the chart `width` by `height` user units large; `class` decides when the page shows it.
pub(super) fn chart(out: &mut String, result: &BacktestResult, width: f64, height: f64, class: &str) -> fmt::Result {
    write!(out, "<svg class=\"chart {class}\" viewBox=\"0 0 {} {}\" role=\"img\">", Px(width), Px(height))?;
    out.write_str("<title>Trade-off: GPU ready at login against idle GPU-hours</title>")?;
    write!(out, "<desc>{DESCRIPTION} The table below has the numbers.</desc>")?;
    draw(out, result, width, height)?;
    out.write_str("</svg>")
}

/// The same as a file of its own.
pub(super) fn picture(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let title = format!("GPU ready at login against idle GPU-hours, {}", result.trace);
    svg::picture(out, SIZE, &title, DESCRIPTION, |out| draw(out, result, SIZE.0, SIZE.1))
}

fn draw(out: &mut String, result: &BacktestResult, width: f64, height: f64) -> fmt::Result {
    let plot = Area { left: 48.0, top: 12.0, right: width - 14.0, bottom: height - 46.0 };
    let most = result.policies.iter().flat_map(|policy| &policy.points).map(|p| p.idle_gpu_hours_per_user_day);
    let most = most.filter(|hours| hours.is_finite()).fold(1.0, f64::max) * 1.05;
    let x = Scale { spread: Spread::SquareRoot, values: (0.0, most), px: (plot.left + 12.0, plot.right) };
    let y = Scale { spread: Spread::Linear, values: (0.0, 1.0), px: (plot.bottom - 16.0, plot.top + 6.0) };

    axes(out, plot, x, y)?;

    let series: Vec<Series> = result
        .policies
        .iter()
        .enumerate()
        .filter(|(_, policy)| !policy.points.is_empty())
        .map(|(n, policy)| Series::new(n, &policy.name, &policy.points, x, y))
        .collect();
    for series in series.iter().rev() {
        series.draw(out)?; // the first, headstart, on top
    }
    let mut labels = Labels::new(plot, &series);
    // Lines can be labelled at any of their points, so those with one point choose first.
    let (single, lines): (Vec<&Series>, Vec<&Series>) = series.iter().partition(|series| series.points.len() == 1);
    for series in single.into_iter().chain(lines) {
        labels.place_name(out, series)?;
    }
    if let Some(first) = series.first() {
        labels.place_thresholds(out, first)?;
    }
    Ok(())
}

/// A rectangle in user units.
#[derive(Clone, Copy)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn overlaps(&self, other: &Area) -> bool {
        self.left < other.right && other.left < self.right && self.top < other.bottom && other.top < self.bottom
    }

    fn holds(&self, (x, y): (f64, f64)) -> bool {
        (self.left..=self.right).contains(&x) && (self.top..=self.bottom).contains(&y)
    }
}

/// Grid, ticks and names of the axes.
fn axes(out: &mut String, plot: Area, x: Scale, y: Scale) -> fmt::Result {
    for step in 0..=5 {
        let share = f64::from(step) / 5.0;
        let at = y.at(share);
        write!(out, "<path class=\"grid\" d=\"M{} {}H{}\"/>", Px(plot.left), Px(at), Px(plot.right))?;
        write!(out, "<text class=\"tick end\" x=\"{}\" y=\"{}\">", Px(plot.left - 7.0), Px(at + 4.0))?;
        write!(out, "{}</text>", percent(share))?;
    }
    let mut last = f64::NEG_INFINITY;
    for hours in [0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0, 20.0, 24.0, 48.0, 96.0, 192.0] {
        let at = x.at(hours);
        if hours > x.values.1 || at - last < 38.0 {
            continue;
        }
        last = at;
        write!(out, "<path class=\"grid\" d=\"M{} {}V{}\"/>", Px(at), Px(plot.top), Px(plot.bottom))?;
        write!(out, "<text class=\"tick mid\" x=\"{}\" y=\"{}\">{hours}</text>", Px(at), Px(plot.bottom + 17.0))?;
    }
    write!(
        out,
        "<path class=\"axis\" d=\"M{} {}V{}H{}\"/>",
        Px(plot.left),
        Px(plot.top),
        Px(plot.bottom),
        Px(plot.right)
    )?;
    let middle = f64::midpoint(plot.left, plot.right);
    write!(
        out,
        "<text class=\"name mid\" x=\"{}\" y=\"{}\">idle GPU-hours per user and day (square-root scale)</text>",
        Px(middle),
        Px(plot.bottom + 38.0)
    )
}

/// One policy in user units.
struct Series<'a> {
    name: &'a str,
    /// Position among the policies; 0 is headstart.
    n: usize,
    /// By ascending idle hours.
    points: Vec<(&'a Point, (f64, f64))>,
}

impl<'a> Series<'a> {
    fn new(n: usize, name: &'a str, points: &'a [Point], x: Scale, y: Scale) -> Self {
        let mut points: Vec<_> =
            points.iter().map(|p| (p, (x.at(p.idle_gpu_hours_per_user_day), y.at(p.hit_rate)))).collect();
        points.sort_by(|a, b| a.1.0.total_cmp(&b.1.0));
        Self { name, n, points }
    }

    /// Class of its colour.
    fn class(&self) -> String {
        if self.n == 0 { "us".to_owned() } else { format!("c{}", (self.n - 1) % N_COLOURS) }
    }

    fn draw(&self, out: &mut String) -> fmt::Result {
        write!(out, "<g class=\"{}\">", self.class())?;
        if self.points.len() > 1 {
            out.write_str("<path class=\"line\" d=\"")?;
            for (i, (_, (x, y))) in self.points.iter().enumerate() {
                write!(out, "{}{} {}", if i == 0 { 'M' } else { 'L' }, Px(*x), Px(*y))?;
            }
            out.write_str("\"/>")?;
        }
        let r = match (self.n, self.points.len()) {
            (0, _) => 4.5,
            (_, 1) => 5.0,
            _ => 3.0,
        };
        for (point, (x, y)) in &self.points {
            write!(out, "<circle class=\"dot\" cx=\"{}\" cy=\"{}\" r=\"{r}\"><title>", Px(*x), Px(*y))?;
            write!(
                out,
                "{}{}: GPU ready for {} of logins, {} idle GPU-hours per user and day</title></circle>",
                Escaped(self.name),
                Escaped(&threshold_in_words(self.n, point.threshold)),
                percent(point.hit_rate),
                number(point.idle_gpu_hours_per_user_day)
            )?;
        }
        out.write_str("</g>")
    }
}

/// ` at 30 %`, or nothing for a policy without a threshold.
fn threshold_in_words(n: usize, threshold: f64) -> String {
    match (n, threshold) {
        (_, 0.0) => String::new(),
        (0, threshold) => format!(" at {}", percent(threshold)),
        (_, threshold) => format!(" at {}", number(threshold)),
    }
}

/// Finds a free place for each label: tries positions around the points and takes the one that covers least.
struct Labels {
    plot: Area,
    /// Labels that stand already.
    placed: Vec<Area>,
    /// Points on lines and marks, every few units.
    ink: Vec<(f64, f64)>,
}

impl Labels {
    fn new(plot: Area, series: &[Series]) -> Self {
        let mut ink = Vec::new();
        for series in series {
            for (_, (x, y)) in &series.points {
                ink.extend([(0.0, 0.0), (4.0, 0.0), (-4.0, 0.0), (0.0, 4.0), (0.0, -4.0)].map(|(a, b)| (x + a, y + b)));
            }
            for pair in series.points.windows(2) {
                let ((_, (x0, y0)), (_, (x1, y1))) = (pair[0], pair[1]);
                let n = ((x1 - x0).abs().max((y1 - y0).abs()) / 3.0).ceil().max(1.0);
                ink.extend((0..n as u32).map(|i| f64::from(i) / n).map(|t| (x0 + t * (x1 - x0), y0 + t * (y1 - y0))));
            }
        }
        Self { plot, placed: Vec::new(), ink }
    }

    /// The place beside one of `anchors` that covers least, with what it covers.
    fn best(&self, anchors: &[(f64, f64)], width: f64, height: f64) -> Option<(f64, Area)> {
        let mut best: Option<(f64, Area)> = None;
        for (i, (x, y)) in anchors.iter().enumerate() {
            for distance in DISTANCES {
                for (j, (dx, dy)) in DIRECTIONS.into_iter().enumerate() {
                    let (cx, cy) = (x + dx * (distance + width / 2.0), y + dy * (distance + height / 2.0));
                    let area = Area {
                        left: cx - width / 2.0,
                        top: cy - height / 2.0,
                        right: cx + width / 2.0,
                        bottom: cy + height / 2.0,
                    };
                    if !self.plot.holds((area.left, area.top)) || !self.plot.holds((area.right, area.bottom)) {
                        continue;
                    }
                    let over_labels = self.placed.iter().filter(|other| area.overlaps(other)).count();
                    let over_ink = self.ink.iter().filter(|point| area.holds(**point)).count();
                    let cost = over_labels as f64 * 1000.0
                        + over_ink as f64 * 10.0
                        + distance * 0.4
                        + j as f64 * 0.3
                        + i as f64 * 0.5;
                    if best.as_ref().is_none_or(|(least, _)| cost < *least) {
                        best = Some((cost, area));
                    }
                }
            }
        }
        best
    }

    /// The policy's name, beside its line.
    fn place_name(&mut self, out: &mut String, series: &Series) -> fmt::Result {
        let size = if series.n == 0 { 15.0 } else { 12.5 };
        let anchors: Vec<_> = series.points.iter().rev().map(|(_, at)| *at).collect();
        let width = series.name.chars().count() as f64 * size * 0.57 + 4.0;
        let Some((cost, area)) = self.best(&anchors, width, size + 3.0) else { return Ok(()) };
        if cost >= 1000.0 {
            return Ok(()); // it would cover another name; the mark's tooltip and the table still have it
        }
        let middle = (f64::midpoint(area.left, area.right), f64::midpoint(area.top, area.bottom));
        let distance = |(x, y): &(f64, f64)| {
            let (dx, dy) = (x.clamp(area.left, area.right) - x, y.clamp(area.top, area.bottom) - y);
            dx.hypot(dy)
        };
        let nearest = anchors.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)));
        if let Some((x, y)) = nearest.filter(|at| distance(at) > 14.0) {
            let end = (x.clamp(area.left, area.right), y.clamp(area.top, area.bottom));
            let class = series.class();
            write!(out, "<path class=\"leader {class}\" d=\"M{} {}L{} {}\"/>", Px(*x), Px(*y), Px(end.0), Px(end.1))?;
        }
        self.placed.push(area);
        write!(
            out,
            "<text class=\"label mid {}\" x=\"{}\" y=\"{}\">{}</text>",
            series.class(),
            Px(middle.0),
            Px(middle.1 + size * 0.36),
            Escaped(series.name)
        )
    }

    /// Thresholds beside headstart's points, where there is room.
    fn place_thresholds(&mut self, out: &mut String, series: &Series) -> fmt::Result {
        for (point, at) in series.points.iter().filter(|(point, _)| point.threshold > 0.0) {
            let text = percent(point.threshold);
            let Some((cost, area)) = self.best(&[*at], text.chars().count() as f64 * 6.0 + 2.0, 12.0) else { continue };
            if cost > 8.0 {
                continue;
            }
            self.placed.push(Area { left: area.left - 8.0, right: area.right + 8.0, ..area });
            let (x, y) = (f64::midpoint(area.left, area.right), area.bottom - 2.5);
            write!(out, "<text class=\"small mid us\" x=\"{}\" y=\"{}\">{text}</text>", Px(x), Px(y))?;
        }
        Ok(())
    }
}
