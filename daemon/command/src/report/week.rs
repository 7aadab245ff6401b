//! One real week as a timeline: who sat at the desktop, when a GPU was held ahead, and which logins found it.

use std::fmt::{self, Write};

use headstart_core::backtest::result::{Week, WeekRow};
use headstart_core::unit::Time;

use super::svg::{Escaped, Px, Scale, Spread, wall_clock};

const LEFT: f64 = 78.0;
const TOP: f64 = 34.0;
const ROW: f64 = 21.0;
const WIDTH: f64 = 1096.0;

/// Names longer than this are cut; the tooltip has all of it.
const NAME: usize = 10;

/// Draws the timeline.
pub(super) fn chart(out: &mut String, week: &Week) -> fmt::Result {
    let height = TOP + ROW * week.rows.len() as f64 + 6.0;
    let (start, end) = (week.start.unix() as f64, week.end.unix().max(week.start.unix() + 1) as f64);
    let x = Scale { spread: Spread::Linear, values: (start, end), px: (LEFT, WIDTH - 6.0) };
    write!(
        out,
        "<svg class=\"week\" viewBox=\"0 0 {WIDTH} {}\" width=\"{WIDTH}\" height=\"{}\" role=\"img\">",
        Px(height),
        Px(height)
    )?;
    out.write_str("<title>One week of sessions and held GPUs</title><desc>One row for each user, Monday to Sunday. ")?;
    out.write_str("Dark bars are sessions, pale bars are GPUs held ahead; dots are logins that found their GPU, crosses those that did not.</desc>")?;

    for (i, row) in week.rows.iter().enumerate().filter(|(i, _)| i % 2 == 0) {
        let _ = row;
        write!(
            out,
            "<rect class=\"stripe\" x=\"0\" y=\"{}\" width=\"{WIDTH}\" height=\"{ROW}\"/>",
            Px(TOP + ROW * i as f64)
        )?;
    }
    let n_days = ((end - start) / 86_400.0).ceil().clamp(1.0, 31.0) as i64;
    for day in 0..n_days {
        let midnight = week.start.unix() + day * 86_400;
        let date = wall_clock(Time::from_unix(midnight)).strftime("%a %-d %b").to_string();
        let (left, noon) = (x.at(midnight as f64), x.at((midnight + 43_200) as f64));
        write!(out, "<path class=\"day\" d=\"M{} 6V{}\"/>", Px(left), Px(height))?;
        write!(out, "<path class=\"grid\" d=\"M{} {TOP}V{}\"/>", Px(noon), Px(height))?;
        write!(out, "<text class=\"tick mid\" x=\"{}\" y=\"17\">{date}</text>", Px(noon))?;
        write!(out, "<text class=\"hour mid\" x=\"{}\" y=\"29\">12:00</text>", Px(noon))?;
    }
    for (i, row) in week.rows.iter().enumerate() {
        draw_row(out, row, TOP + ROW * i as f64, x)?;
    }
    out.write_str("</svg>")
}

/// One user's bars and marks.
fn draw_row(out: &mut String, row: &WeekRow, top: f64, x: Scale) -> fmt::Result {
    let name = row.user.to_string();
    let shown = if name.chars().count() > NAME {
        name.chars().take(NAME - 1).chain(['…']).collect::<String>()
    } else {
        name.clone()
    };
    write!(
        out,
        "<text class=\"user\" x=\"8\" y=\"{}\">{}<title>{}</title></text>",
        Px(top + 15.0),
        Escaped(&shown),
        Escaped(&name)
    )?;
    for (class, spans, inset, words) in
        [("held", &row.held, 3.0, "GPU held ahead"), ("session", &row.sessions, 6.0, "session")]
    {
        for (start, end) in spans {
            let (left, right) = (x.at(start.unix() as f64), x.at(end.unix() as f64));
            write!(
                out,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"1.5\"><title>{}: {words} {} to {}</title></rect>",
                Px(left),
                Px(top + inset),
                Px((right - left).max(1.5)),
                Px(ROW - 2.0 * inset),
                Escaped(&name),
                clock(*start),
                clock(*end)
            )?;
        }
    }
    let middle = top + ROW / 2.0;
    for (time, is_hit) in &row.logins {
        let at = x.at(time.unix() as f64);
        let (class, words) = if *is_hit { ("hit", "found its GPU") } else { ("miss", "had to wait for a GPU") };
        write!(out, "<g class=\"{class}\"><title>{}: login {} {words}</title>", Escaped(&name), clock(*time))?;
        mark(out, at, middle, *is_hit)?;
        out.write_str("</g>")?;
    }
    Ok(())
}

/// A dot for a hit, a cross for a miss: told apart without colour.
fn mark(out: &mut String, x: f64, y: f64, is_hit: bool) -> fmt::Result {
    if is_hit {
        write!(out, "<circle cx=\"{}\" cy=\"{}\" r=\"3.4\"/>", Px(x), Px(y))
    } else {
        let (l, r, t, b) = (x - 3.6, x + 3.6, y - 3.6, y + 3.6);
        let d = format!("M{} {}L{} {}M{} {}L{} {}", Px(l), Px(t), Px(r), Px(b), Px(l), Px(b), Px(r), Px(t));
        write!(out, "<path class=\"halo\" d=\"{d}\"/><path d=\"{d}\"/>")
    }
}

/// The key to bars and marks.
pub(super) fn legend(out: &mut String) -> fmt::Result {
    out.write_str("<p class=\"legend\">")?;
    for (class, words) in [("session", "session"), ("held", "GPU held ahead")] {
        write!(
            out,
            "<span><svg width=\"26\" height=\"12\" aria-hidden=\"true\"><rect class=\"{class}\" x=\"0\" y=\"1\" width=\"26\" height=\"10\" rx=\"2\"/></svg> {words}</span> "
        )?;
    }
    for (is_hit, class, words) in [(true, "hit", "login that found its GPU"), (false, "miss", "login that had to wait")]
    {
        write!(out, "<span><svg width=\"14\" height=\"12\" aria-hidden=\"true\"><g class=\"{class}\">")?;
        mark(out, 7.0, 6.0, is_hit)?;
        write!(out, "</g></svg> {words}</span> ")?;
    }
    out.write_str("</p>")
}

/// `Mon 08:15`.
fn clock(time: Time) -> String {
    wall_clock(time).strftime("%a %H:%M").to_string()
}
