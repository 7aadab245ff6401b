//! The real daemon on a private bus: what it costs while nothing happens, and then how soon it answers.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::ensure;
use headstart_core::unit::Span;
use headstart_tests::bus::Bus;
use headstart_tests::process::Guarded;
use headstart_tests::{daemon, program};

use crate::request;
use crate::rest::Walk;
use crate::scene::Scene;
use crate::table::{Figure, Table, Target};

/// Time between two looks of a daemon to which nothing happens: `poll` of the packaged configuration.
const POLL: Duration = Duration::from_secs(30);
/// Looks while it is watched.
const LOOKS: u32 = 2;
/// MiB of the loop it is compared with: no more than the daemon touches in a look.
const TOUCHED: usize = 8;
/// It has to be up, and to have trained, by then.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// A daemon and the bus it is on.
struct Daemon {
    // Ends first.
    daemon: daemon::Daemon,
    bus: Bus,
}

pub(crate) fn measure(scene: &Scene, table: &mut Table) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // The history was made for the forecast: the same 500 people.
    let full = scene.path("daemon");
    ensure!(full.join("history.db").exists(), "the history of 500 people was not made");
    let empty = scene.path("daemon-empty");
    std::fs::create_dir_all(&empty)?;
    let full = runtime.block_on(Daemon::start(&full, true))?;
    let empty = runtime.block_on(Daemon::start(&empty, false))?;
    let mut walk = Walk::new(TOUCHED);
    let mut walked = Duration::ZERO;
    let before = (full.daemon.process().processor_time()?, empty.daemon.process().processor_time()?);
    let began = Instant::now();
    // On real hardware it looks even if nobody calls; here nothing but a call makes it look.
    for _ in 0..LOOKS {
        std::thread::sleep(POLL);
        walked += walk.walk();
        runtime.block_on(async {
            request::look_again(full.bus.address()).await?;
            request::look_again(empty.bus.address()).await
        })?;
    }
    let watched = began.elapsed().as_secs_f64();
    let percent = |daemon: &Daemon, before: Duration| -> anyhow::Result<Figure> {
        let spent = daemon.daemon.process().processor_time()?.saturating_sub(before).as_secs_f64();
        Ok(Figure::new(spent / watched * 100.0, "% of a core"))
    };
    let resident = |process: &Guarded| anyhow::Ok(Figure::new(process.resident()?, "MB"));
    let memory = resident(full.daemon.process())?;
    table.row(
        "resident memory",
        memory,
        Target::Below(40.0),
        Some(("with an empty history", resident(empty.daemon.process())?)),
    );
    table.row("resident memory", memory, Target::None, Some(("its dbus-daemon", resident(full.bus.process())?)));
    let load = percent(&full, before.0)?;
    let other = percent(&empty, before.1)?;
    table.row("processor, idle", load, Target::Below(0.2), Some(("with an empty history", other)));
    let walked = Figure::new(walked.as_secs_f64() / watched * 100.0, "% of a core");
    // Of a guest's memory that rested, a hypervisor may charge every page anew.
    table.row("processor, idle", load, Target::None, Some(("a loop that touches 8 MiB as often", walked)));
    drop(empty);
    runtime.block_on(request::measure(full.bus.address(), table))
}

impl Daemon {
    /// Starts a bus and a daemon whose history is in `folder`, and waits until it serves; `trains`: and has its model.
    async fn start(folder: &Path, trains: bool) -> anyhow::Result<Self> {
        let bus = Bus::start()?;
        let config = folder.join("headstart.toml");
        std::fs::write(&config, "mode = \"armed\"\n[forecast]\ntime-zone = \"Europe/Berlin\"\n")?;
        let simulation = write_simulation(folder)?;
        let mut command = Command::new(program("headstartd")?);
        command.arg("--config").arg(&config).arg("--simulate").arg(simulation);
        command.arg("--history").arg(folder.join("history.db")).args(["--bus", bus.address()]);
        let daemon = Self { daemon: daemon::Daemon::start(&mut command)?, bus };
        let began = Instant::now();
        let model = folder.join("model");
        while trains && !model.exists() {
            let late = || daemon.daemon.log().text();
            ensure!(began.elapsed() < START_DEADLINE, "headstartd has no model after {START_DEADLINE:?}: {}", late());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        // What training set off, such as reservations, comes to an end: everybody's boot takes less.
        tokio::time::sleep(Duration::from_secs(3)).await;
        Ok(daemon)
    }
}

/// 500 desktops and 16 GPUs, at night after the invented year.
fn write_simulation(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("host.toml");
    let mut file = std::fs::File::create(&path)?;
    let start = Scene::year_ends() + Span::hours(2);
    writeln!(file, "[simulation]\nstart = \"{start}\"")?;
    for n in 1..=16 {
        writeln!(
            file,
            "[[gpu]]\naddress = \"0000:{n:02x}:00.0\"\nname = \"NVIDIA A40\"\nframebuffer-mib = 49152\n\
             interface = \"vfio-variant\"\npartitioning = \"equal-size\"\nvfs = 32\nprofiles = [\n  \
             {{ name = \"A40-2Q\", framebuffer-mib = 2048, max-instances = 24, series = \"Q\" }},\n  \
             {{ name = \"A40-4Q\", framebuffer-mib = 4096, max-instances = 12, series = \"Q\" }},\n]"
        )?;
    }
    writeln!(file, "[[domain]]\nname = \"vm001\"\ncount = 500\nuser = \"u001\"\nprofile = \"A40-4Q\"")?;
    Ok(path)
}
