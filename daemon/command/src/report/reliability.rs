//! The reliability diagram: whether forecasts come true as often as they say.

use std::fmt::{self, Write};

use headstart_core::backtest::result::{BacktestResult, ReliabilityBin};

use super::svg::{self, Px, Scale, Spread, percent, short_count, thousands};

/// In words, for whoever does not see it.
const DESCRIPTION: &str = "Forecast probability across, share that came true upwards. Marks on the diagonal are forecasts that hold what \
                           they promise.";
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 440.0;
const LEFT: f64 = 62.0;
const RIGHT: f64 = 454.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 330.0;

/// Draws the diagram, and under it how many forecasts each mark stands for.
pub(super) fn chart(out: &mut String, bins: &[ReliabilityBin]) -> fmt::Result {
    write!(out, "<svg class=\"chart\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\">")?;
    write!(
        out,
        "<title>Reliability of the forecasts</title><desc>{DESCRIPTION} The table below has the numbers.</desc>"
    )?;
    draw(out, bins)?;
    out.write_str("</svg>")
}

/// The same as a file of its own.
pub(super) fn picture(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let title = format!("Reliability of the forecasts, {}", result.trace);
    svg::picture(out, (WIDTH, HEIGHT), &title, DESCRIPTION, |out| draw(out, &result.reliability))
}

fn draw(out: &mut String, bins: &[ReliabilityBin]) -> fmt::Result {
    let (low, ticks, spread) = range(bins);
    let high = *ticks.last().unwrap_or(&1.0);
    let x = Scale { spread, values: (low, high), px: (LEFT, RIGHT) };
    let y = Scale { spread, values: (low, high), px: (BOTTOM, TOP + 6.0) };
    // Four decades leave too little room across for the threes.
    let every = if ticks.len() > 8 { 2 } else { 1 };
    for (i, tick) in ticks.iter().enumerate() {
        let (tx, ty) = (x.at(*tick), y.at(*tick));
        write!(out, "<path class=\"grid\" d=\"M{LEFT} {}H{RIGHT}M{} {TOP}V{BOTTOM}\"/>", Px(ty), Px(tx))?;
        write!(
            out,
            "<text class=\"tick end\" x=\"{}\" y=\"{}\">{}</text>",
            Px(LEFT - 7.0),
            Px(ty + 4.0),
            percent(*tick)
        )?;
        if i % every == 0 {
            write!(
                out,
                "<text class=\"tick mid\" x=\"{}\" y=\"{}\">{}</text>",
                Px(tx),
                Px(BOTTOM + 17.0),
                percent(*tick)
            )?;
        }
    }
    write!(out, "<path class=\"axis\" d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\"/>")?;
    write!(
        out,
        "<path class=\"ideal\" d=\"M{} {}L{} {}\"/>",
        Px(x.at(low)),
        Px(y.at(low)),
        Px(x.at(high)),
        Px(y.at(high))
    )?;
    let scale = if matches!(spread, Spread::Log) { " (log scales)" } else { "" };
    write!(
        out,
        "<text class=\"name mid\" x=\"{}\" y=\"{}\">forecast probability{scale}</text>",
        Px(f64::midpoint(LEFT, RIGHT)),
        Px(BOTTOM + 37.0)
    )?;
    write!(out, "<text class=\"name\" x=\"{}\" y=\"{}\">came true</text>", Px(LEFT + 8.0), Px(TOP + 18.0))?;
    counts(out, bins, x)?;
    for bin in bins.iter().filter(|bin| bin.n > 0) {
        let (at, seen) = (x.at(bin.predicted), y.at(bin.seen));
        let (from, to) = wilson(bin.seen, bin.n);
        write!(
            out,
            "<g class=\"us\"><title>forecast {}, came true {} ({} forecasts)</title>",
            percent(bin.predicted),
            percent(bin.seen),
            thousands(bin.n)
        )?;
        write!(out, "<path class=\"whisker\" d=\"M{} {}V{}\"/>", Px(at), Px(y.at(from)), Px(y.at(to)))?;
        // What never came true has no place on a log axis: an open mark at its lower end.
        let open = if bin.seen <= low && matches!(spread, Spread::Log) { " open" } else { "" };
        write!(out, "<circle class=\"dot{open}\" cx=\"{}\" cy=\"{}\" r=\"5\"/></g>", Px(at), Px(seen))?;
    }
    Ok(())
}

/// Bars under the diagram, on a log scale: a bin may hold ten or a million forecasts.
fn counts(out: &mut String, bins: &[ReliabilityBin], x: Scale) -> fmt::Result {
    let base = HEIGHT - 6.0;
    let most = bins.iter().map(|bin| bin.n).max().unwrap_or(0).max(10) as f64;
    let mut last = f64::NEG_INFINITY;
    for bin in bins.iter().filter(|bin| bin.n > 0) {
        let (at, height) = (x.at(bin.predicted), 30.0 * (bin.n as f64 + 1.0).log10() / (most + 1.0).log10());
        write!(
            out,
            "<rect class=\"count\" x=\"{}\" y=\"{}\" width=\"9\" height=\"{}\"/>",
            Px(at - 4.5),
            Px(base - height),
            Px(height)
        )?;
        let text = short_count(bin.n);
        let half = text.chars().count() as f64 * 3.0 + 3.0;
        if at - half > last {
            last = at + half;
            write!(out, "<text class=\"small mid\" x=\"{}\" y=\"{}\">{text}</text>", Px(at), Px(base - height - 4.0))?;
        }
    }
    write!(out, "<path class=\"axis\" d=\"M{LEFT} {}H{RIGHT}\"/>", Px(base))?;
    write!(out, "<text class=\"small end\" x=\"{}\" y=\"{}\">forecasts</text>", Px(LEFT - 7.0), Px(base - 4.0))
}

/// Lower end, ticks up to the upper end, and the spread: logarithmic when most bins are small forecasts.
fn range(bins: &[ReliabilityBin]) -> (f64, Vec<f64>, Spread) {
    let mut predicted: Vec<f64> = bins.iter().filter(|bin| bin.n > 0).map(|bin| bin.predicted).collect();
    predicted.sort_by(f64::total_cmp);
    let median = predicted.get(predicted.len() / 2).copied().unwrap_or(1.0);
    if median >= 0.12 {
        return (0.0, vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0], Spread::Linear);
    }
    let least = bins.iter().flat_map(|bin| [bin.predicted, bin.seen]).filter(|p| *p > 0.0).fold(0.1, f64::min);
    let decades = (-least.log10()).ceil().clamp(1.0, 4.0) as i32;
    let ticks =
        (-decades..=0).flat_map(|e| [1.0, 3.0].map(|m| m * 10_f64.powi(e))).filter(|tick| *tick <= 1.0).collect();
    (10_f64.powi(-decades), ticks, Spread::Log)
}

/// Wilson's interval: where the true share lies, 19 times of 20.
fn wilson(share: f64, n: u64) -> (f64, f64) {
    let (n, z) = (n.max(1) as f64, 1.96_f64);
    let middle = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z / (1.0 + z * z / n) * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).max(0.0).sqrt();
    (middle - half, middle + half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_interval_is_wilsons() {
        let (low, high) = wilson(0.5, 100);
        assert!((low - 0.4038).abs() < 1e-3 && (high - 0.5962).abs() < 1e-3, "{low} {high}");
        let (low, high) = wilson(0.0, 10);
        assert!(low.abs() < 1e-9 && (high - 0.2775).abs() < 1e-3, "{low} {high}");
    }
}
