//! The heat map: when people log in, by weekday and hour of their wall clock.

use std::fmt::{self, Write};

use super::svg::{Px, short_count, thousands};

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const LEFT: f64 = 38.0;
const TOP: f64 = 22.0;
const CELL: (f64, f64) = (18.0, 32.0);
const WIDTH: f64 = LEFT + 24.0 * CELL.0 + 6.0;

/// Draws the map with its key.
pub(super) fn chart(out: &mut String, heat: &[[u32; 24]; 7]) -> fmt::Result {
    let most = heat.iter().flatten().copied().max().unwrap_or(0);
    let bottom = TOP + 7.0 * CELL.1;
    write!(out, "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\">", Px(WIDTH), Px(bottom + 50.0))?;
    out.write_str("<title>Logins by weekday and hour</title><desc>The stronger the colour, the more logins. The table below has the numbers.</desc>")?;
    for hour in (0..24).step_by(3) {
        let at = LEFT + f64::from(hour) * CELL.0;
        write!(out, "<text class=\"tick\" x=\"{}\" y=\"14\">{hour:02}</text>", Px(at))?;
    }
    for (day, (name, hours)) in DAYS.iter().zip(heat).enumerate() {
        let y = TOP + day as f64 * CELL.1;
        write!(out, "<text class=\"tick end\" x=\"{}\" y=\"{}\">{name}</text>", Px(LEFT - 6.0), Px(y + 20.0))?;
        for (hour, n) in hours.iter().enumerate() {
            write!(
                out,
                "<rect class=\"cell\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\"/>",
                Px(LEFT + hour as f64 * CELL.0),
                Px(y),
                Px(CELL.0 - 2.0),
                Px(CELL.1 - 2.0)
            )?;
            let plural = if *n == 1 { "" } else { "s" };
            write!(
                out,
                "<rect class=\"heat\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\" rx=\"2\" fill-opacity=\"{:.3}\"><title>{name} {hour:02}:00 to {:02}:00: {} login{plural}</title></rect>",
                Px(LEFT + hour as f64 * CELL.0),
                Px(y),
                Px(CELL.0 - 2.0),
                Px(CELL.1 - 2.0),
                strength(*n, most),
                hour + 1,
                thousands(u64::from(*n))
            )?;
        }
    }
    key(out, most, bottom + 14.0)
}

/// Five steps of colour with the numbers they stand for; closes the picture.
fn key(out: &mut String, most: u32, y: f64) -> fmt::Result {
    for (i, quarter) in (0..=4).enumerate() {
        let n = (u64::from(most) * quarter / 4) as u32;
        let x = LEFT + i as f64 * 56.0;
        for class in ["cell", "heat"] {
            let opacity =
                if class == "heat" { format!(" fill-opacity=\"{:.3}\"", strength(n, most)) } else { String::new() };
            write!(
                out,
                "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"16\" height=\"14\" rx=\"2\"{opacity}/>",
                Px(x),
                Px(y)
            )?;
        }
        write!(
            out,
            "<text class=\"tick\" x=\"{}\" y=\"{}\">{}</text>",
            Px(x + 20.0),
            Px(y + 11.5),
            short_count(u64::from(n))
        )?;
    }
    write!(
        out,
        "<text class=\"tick\" x=\"{}\" y=\"{}\">logins in the hour</text></svg>",
        Px(LEFT + 5.0 * 56.0 + 6.0),
        Px(y + 11.5)
    )
}

/// How strong the colour is. The root keeps quiet hours visible beside the morning rush.
fn strength(n: u32, most: u32) -> f64 {
    if most == 0 { 0.0 } else { (f64::from(n) / f64::from(most)).sqrt() }
}
