//! `headstart desktops`: all desktops in a table.

use crate::client::Client;
use crate::screen::{Screen, Tone, cell, lines_of, one_line, percent, tone_of};
use crate::snapshot::Snapshot;

/// From this width on there is a column for the reason.
const ROOM_FOR_WHY: usize = 110;

/// Shows all desktops.
pub(crate) async fn run(client: &Client, screen: &Screen) -> anyhow::Result<()> {
    let snapshot = client.snapshot().await?;
    if screen.json { screen.put_json(&snapshot.desktops) } else { screen.put(&draw(&snapshot, screen)) }
}

/// The table.
pub(crate) fn draw(snapshot: &Snapshot, screen: &Screen) -> String {
    if snapshot.desktops.is_empty() {
        return "No desktop is managed: opt one in by its metadata or a name pattern.\n".to_owned();
    }
    // A sentence in a narrow column takes a screen per desktop; `explain` has it.
    let with_why = screen.width.is_none_or(|width| width >= ROOM_FOR_WHY);
    let mut head = vec!["Desktop", "State", "Next login", "Today", "GPU", "Profile"];
    head.extend(with_why.then_some("Why"));
    let mut table = screen.table(&head);
    for desktop in &snapshot.desktops {
        let login = desktop.next_login.filter(|_| !desktop.is_in_use());
        let mut cells = vec![
            cell(None, &desktop.name),
            cell(Some(tone_of(&desktop.state)), &desktop.state),
            cell(None, login.map_or("-".to_owned(), |login| screen.clock.near(login, snapshot.host.clock))),
            cell(None, percent(desktop.today)),
            cell(None, desktop.gpu.as_deref().unwrap_or("-")),
            cell(None, desktop.profile.as_deref().unwrap_or("-")),
        ];
        cells.extend(with_why.then(|| cell(Some(Tone::Faint), &desktop.reason)));
        table.add_row(one_line(cells));
    }
    let mut text = lines_of(&table);
    for desktop in &snapshot.desktops {
        for problem in &desktop.problems {
            let line = screen.tint(Tone::Bad, &format!("{}: {problem}", desktop.name));
            text = format!("{text}{line}\n");
        }
    }
    text
}
