//! The report of a backtest: one HTML file that needs nothing else, neither network nor script nor font.
//!
//! It is also well-formed XML, so that a test can read it. Colours are CSS custom properties; light, dark and paper differ in them
//! only. Every chart has its numbers in a table or in tooltips.
//!
//! Not here: what the numbers are; `headstart_core::backtest` found them.

mod heat;
mod reliability;
mod summary;
mod svg;
mod tradeoff;
mod week;

use std::fmt::{self, Write as _};
use std::io::Write;

use anyhow::Context;
use headstart_core::backtest::result::BacktestResult;

use self::svg::{Escaped, number, percent};

/// Writes the report.
///
/// # Errors
/// Writing failed.
pub(crate) fn write_html(result: &BacktestResult, out: &mut dyn Write) -> anyhow::Result<()> {
    let mut page = String::new();
    compose(&mut page, result).context("cannot compose the report")?;
    out.write_all(page.as_bytes()).context("cannot write the report")?;
    out.flush().context("cannot write the report")
}

/// Writes the reliability diagram alone, as a picture for a page of somebody else's: light or dark as its reader has it.
///
/// # Errors
/// Writing failed, or no forecast was scored.
pub(crate) fn write_reliability(result: &BacktestResult, out: &mut dyn Write) -> anyhow::Result<()> {
    anyhow::ensure!(
        result.reliability.iter().any(|bin| bin.n > 0),
        "no forecast was scored, so there is nothing to draw"
    );
    write_picture(reliability::picture, result, out)
}

/// The same of the trade-off of all policies.
///
/// # Errors
/// Writing failed.
pub(crate) fn write_trade_off(result: &BacktestResult, out: &mut dyn Write) -> anyhow::Result<()> {
    write_picture(tradeoff::picture, result, out)
}

fn write_picture(
    draw: fn(&mut String, &BacktestResult) -> fmt::Result,
    result: &BacktestResult,
    out: &mut dyn Write,
) -> anyhow::Result<()> {
    let mut picture = String::new();
    draw(&mut picture, result).context("cannot compose the picture")?;
    out.write_all(picture.as_bytes()).context("cannot write the picture")
}

/// The whole page.
fn compose(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let trace = Escaped(&result.trace);
    write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/><title>headstart backtest: {trace}</title>"
    )?;
    out.write_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/><meta name=\"color-scheme\" content=\"light dark\"/>")?;
    write!(
        out,
        "<style>\n{}</style></head>\n<body><main>",
        concat!(include_str!("report/chart.css"), include_str!("report/page.css"))
    )?;
    write!(
        out,
        "<header><h1>Is the GPU there before its user?</h1><p class=\"trace\">headstart backtest of {trace}</p></header>"
    )?;

    out.write_str("<section>")?;
    summary::words(out, result)?;
    summary::facts(out, result)?;
    out.write_str("</section>\n")?;

    if result.policies.iter().any(|policy| !policy.points.is_empty()) {
        out.write_str("<section><h2>Policies</h2>")?;
        summary::policies(out, result)?;
        out.write_str("</section>\n<section><h2>Trade-off</h2><p class=\"note\">Every policy pays for ready GPUs with idle ones. Up and to the left is better. The marks of headstart carry the forecast at which it reserves.</p>")?;
        tradeoff::chart(out, result, 1100.0, 500.0, "wide")?;
        tradeoff::chart(out, result, 400.0, 430.0, "narrow")?;
        summary::points(out, result)?;
        out.write_str("</section>\n")?;
    }

    out.write_str("<section><h2>One week</h2>")?;
    match result.week.as_ref().filter(|week| !week.rows.is_empty()) {
        Some(week) => {
            write!(
                out,
                "<p class=\"note\">{} to {}, replayed with reservations from a forecast of {} on. Times are each user’s wall clock.</p>",
                svg::date(week.start),
                svg::date(headstart_core::unit::Time::from_unix(week.end.unix() - 1)),
                week.threshold
            )?;
            week::legend(out)?;
            out.write_str("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Timeline of one week\">")?;
            week::chart(out, week)?;
            out.write_str("</div>")?;
        }
        None => {
            out.write_str("<p class=\"note\">The scored part of the trace holds no whole week with sessions.</p>")?;
        }
    }
    out.write_str("</section>\n<div class=\"pair\"><section><h2>Do forecasts come true?</h2>")?;
    reliability_part(out, result)?;
    out.write_str("</section>\n<section><h2>When people log in</h2>")?;
    if result.heat.iter().flatten().all(|n| *n == 0) {
        out.write_str("<p class=\"note\">The trace holds no logins.</p>")?;
    } else {
        out.write_str("<p class=\"note\">All logins of the trace, by weekday and hour of the user’s wall clock.</p>")?;
        heat::chart(out, &result.heat)?;
        summary::logins(out, result)?;
    }
    out.write_str("</section></div>\n")?;
    out.write_str("<footer><p>A <em>cold login</em> is one that needs a GPU: more than ten minutes after the same user’s last session. It counts as ready if the GPU was attached for at least 60 seconds before it. The first four weeks of the trace only train; every decision used the past alone.</p></footer>")?;
    out.write_str("</main></body></html>\n")
}

/// The reliability diagram and what it says.
fn reliability_part(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let scored = result.reliability.iter().map(|bin| bin.n).sum::<u64>();
    if scored == 0 {
        return out.write_str("<p class=\"note\">No forecasts were scored.</p>");
    }
    let ratio = result.predicted_over_seen;
    let verdict = match ratio {
        r if !r.is_finite() || r <= 0.0 => "None of them came true.".to_owned(),
        r if r > 1.005 => format!("Together they promised {} more logins than came.", percent(r - 1.0)),
        r if r < 0.995 => format!("Together they promised {} fewer logins than came.", percent(1.0 - r)),
        r => format!("Together they promised {} times the logins that came.", number(r)),
    };
    write!(
        out,
        "<p class=\"note\">{} forecasts for 15 minutes each, grouped by what they said. On the dashed line they hold what they promise. {verdict}</p>",
        svg::thousands(scored)
    )?;
    reliability::chart(out, &result.reliability)?;
    summary::bins(out, result)
}

#[cfg(test)]
mod tests;
