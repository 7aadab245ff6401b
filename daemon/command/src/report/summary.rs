//! The result in words, and the tables.

use std::fmt::{self, Write};

use headstart_core::backtest::result::{BacktestResult, Point, PolicyResult};

use super::svg::{Escaped, date, number, percent, thousands, wait};

/// What the words and the first table compare at: idle GPU-hours per user and day. Two hours is what a generous keep-alive costs.
const BUDGET: f64 = 2.0;

/// headstart's dearest point within [`BUDGET`], or its cheapest if all are dearer.
pub(super) fn chosen(policy: &PolicyResult, budget: f64) -> Option<&Point> {
    let affordable = policy.points.iter().filter(|p| p.idle_gpu_hours_per_user_day <= budget + 1e-9);
    let best = affordable.max_by(|a, b| a.hit_rate.total_cmp(&b.hit_rate));
    best.or_else(|| {
        policy.points.iter().min_by(|a, b| a.idle_gpu_hours_per_user_day.total_cmp(&b.idle_gpu_hours_per_user_day))
    })
}

/// What all compare against: the idle hours of headstart's chosen point.
fn reference(result: &BacktestResult) -> Option<(&PolicyResult, &Point)> {
    let us = result.policies.first()?;
    Some((us, chosen(us, BUDGET)?))
}

/// The first paragraph: what came out.
pub(super) fn words(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let Some((us, point)) = reference(result) else {
        return out.write_str("<p class=\"lead\">Nothing was scored: the trace holds no login after its first four weeks, which only train.</p>");
    };
    if point.cold_logins == 0 {
        return out.write_str("<p class=\"lead\">Nothing was scored: no login after the first four weeks, which only train, needed a GPU.</p>");
    }
    let budget = point.idle_gpu_hours_per_user_day;
    write!(
        out,
        "<p class=\"lead\">With <strong>{}</strong> idle GPU-hours per user and day, {} had the GPU ready for <strong>{}</strong> of logins",
        number(budget),
        Escaped(&us.name),
        percent(point.hit_rate)
    )?;
    let baselines = || result.policies.iter().skip(1).flat_map(|policy| policy.points.iter().map(move |p| (policy, p)));
    let within = baselines().filter(|(_, p)| p.idle_gpu_hours_per_user_day <= budget + 1e-9);
    match within.max_by(|a, b| a.1.hit_rate.total_cmp(&b.1.hit_rate)) {
        Some((policy, p)) => write!(
            out,
            "; the best baseline that costs no more, {} ({}), for <strong>{}</strong>.",
            Escaped(&policy.name),
            number(p.idle_gpu_hours_per_user_day),
            percent(p.hit_rate)
        )?,
        None if result.policies.len() > 1 => out.write_str("; no baseline costs as little.")?,
        None => out.write_str(".")?,
    }
    let as_good = baselines().filter(|(_, p)| p.hit_rate >= point.hit_rate && p.idle_gpu_hours_per_user_day > budget);
    if let Some((policy, p)) =
        as_good.min_by(|a, b| a.1.idle_gpu_hours_per_user_day.total_cmp(&b.1.idle_gpu_hours_per_user_day))
    {
        write!(
            out,
            " To do as well without headstart takes {} GPU-hours per user and day ({}).",
            number(p.idle_gpu_hours_per_user_day),
            Escaped(&policy.name)
        )?;
    }
    out.write_str("</p>")
}

/// What was replayed.
pub(super) fn facts(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let gpus = result.gpus.map_or_else(|| "as many GPUs as wanted".to_owned(), |n| format!("{n} GPUs to share"));
    let fact = |out: &mut String, value: &str, name: &str| {
        write!(out, "<div><dt>{name}</dt><dd>{}</dd></div>", Escaped(value))
    };
    out.write_str("<dl class=\"facts\">")?;
    fact(out, &thousands(result.users), "people")?;
    fact(out, &thousands(result.sessions), "sessions in the trace")?;
    fact(out, &format!("{} – {}", date(result.scored.0), date(result.scored.1)), "scored")?;
    fact(out, &thousands(result.managed_user_days.max(0.0).round() as u64), "user-days under management")?;
    fact(out, &gpus, "hardware")?;
    out.write_str("</dl>")
}

/// One row for each policy, at about the same cost.
pub(super) fn policies(out: &mut String, result: &BacktestResult) -> fmt::Result {
    let Some((_, point)) = reference(result) else { return Ok(()) };
    let budget = point.idle_gpu_hours_per_user_day;
    head(
        out,
        "Each policy at its best within the idle GPU-hours that headstart used; at its cheapest, if it always needs more.",
    )?;
    for (n, policy) in result.policies.iter().enumerate() {
        if let Some(point) = chosen(policy, budget) {
            row(out, n, policy, point)?;
        }
    }
    out.write_str("</tbody></table>")
}

/// Every point of every policy.
pub(super) fn points(out: &mut String, result: &BacktestResult) -> fmt::Result {
    out.write_str("<details><summary>All points as a table</summary>")?;
    head(out, "Every policy at every threshold.")?;
    for (n, policy) in result.policies.iter().enumerate() {
        for point in &policy.points {
            row(out, n, policy, point)?;
        }
    }
    out.write_str("</tbody></table></details>")
}

const COLUMNS: [&str; 7] =
    ["Setting", "GPU ready", "Idle h / user-day", "Wrong / login", "Attaches / login", "Mean wait", "Cold logins"];

fn head(out: &mut String, caption: &str) -> fmt::Result {
    write!(out, "<table class=\"policies\"><caption>{caption}</caption><thead><tr><th scope=\"col\">Policy</th>")?;
    for column in COLUMNS {
        write!(out, "<th scope=\"col\" class=\"n\">{column}</th>")?;
    }
    out.write_str("</tr></thead><tbody>")
}

fn row(out: &mut String, n: usize, policy: &PolicyResult, point: &Point) -> fmt::Result {
    let setting = match (n, point.threshold) {
        (_, 0.0) => "–".to_owned(),
        (0, threshold) => percent(threshold),
        (_, threshold) => number(threshold),
    };
    let values = [
        setting,
        percent(point.hit_rate),
        number(point.idle_gpu_hours_per_user_day),
        number(point.wrong_per_login),
        number(point.attaches_per_login),
        wait(point.mean_wait_s),
        thousands(point.cold_logins),
    ];
    let class = if n == 0 { " class=\"ours\"" } else { "" };
    write!(out, "<tr{class}><th scope=\"row\">{}</th>", Escaped(&policy.name))?;
    for (column, value) in COLUMNS.iter().zip(values) {
        write!(out, "<td class=\"n\" data-label=\"{column}\">{value}</td>")?;
    }
    out.write_str("</tr>")
}

/// The reliability diagram's numbers.
pub(super) fn bins(out: &mut String, result: &BacktestResult) -> fmt::Result {
    out.write_str("<details><summary>As a table</summary><table class=\"plain\"><thead><tr>")?;
    out.write_str("<th scope=\"col\" class=\"n\">Forecast</th><th scope=\"col\" class=\"n\">Came true</th><th scope=\"col\" class=\"n\">Forecasts</th></tr></thead><tbody>")?;
    for bin in &result.reliability {
        write!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            percent(bin.predicted),
            percent(bin.seen),
            thousands(bin.n)
        )?;
    }
    out.write_str("</tbody></table></details>")
}

/// The heat map's numbers: hours down, weekdays across, so that it fits a phone.
pub(super) fn logins(out: &mut String, result: &BacktestResult) -> fmt::Result {
    out.write_str(
        "<details><summary>As a table</summary><table class=\"plain\"><thead><tr><th scope=\"col\">Hour</th>",
    )?;
    for day in ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"] {
        write!(out, "<th scope=\"col\" class=\"n\">{day}</th>")?;
    }
    out.write_str("</tr></thead><tbody>")?;
    for hour in 0..24 {
        write!(out, "<tr><th scope=\"row\">{hour:02}</th>")?;
        for day in &result.heat {
            write!(out, "<td class=\"n\">{}</td>", thousands(u64::from(day[hour])))?;
        }
        out.write_str("</tr>")?;
    }
    out.write_str("</tbody></table></details>")
}
