//! How long libvirt waits for the hook, against `busctl call` of the same method on the same bus and against a process that does nothing.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};
use headstart_tests::bus::Bus;
use headstart_tests::{daemon, program};

use crate::request;
use crate::scene::Scene;
use crate::table::{Figure, Table, Target};

/// Runs of each kind, in turn.
const RUNS: usize = 300;
/// A definition as libvirt hands it over, with devices, controllers and addresses, is about so long.
const LENGTH: usize = 12_000;
const DEMO_HOST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../config/demo-host.toml");

pub(crate) fn measure(scene: &Scene, table: &mut Table) -> anyhow::Result<()> {
    let folder = scene.path("hook");
    std::fs::create_dir_all(&folder)?;
    let bus = Bus::start()?;
    let config = folder.join("headstart.toml");
    std::fs::write(&config, "mode = \"armed\"\n")?;
    let mut command = Command::new(program("headstartd")?);
    command.arg("--config").arg(&config).args(["--simulate", DEMO_HOST, "--speed", "0.001"]);
    command.arg("--history").arg(folder.join("history.db")).args(["--bus", bus.address()]);
    let _daemon = daemon::Daemon::start(&mut command)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let connection = runtime.block_on(request::connect(bus.address()))?;

    let xml = definition();
    let file = folder.join("vm001.xml");
    std::fs::write(&file, &xml)?;
    let arguments = ["vm001", "prepare", "begin", "-"];
    let hook = || {
        let mut command = Command::new(program("headstart-qemu-hook")?);
        command.args(arguments).env("HEADSTART_BUS", bus.address());
        anyhow::Ok(command)
    };
    let busctl = || {
        let mut command = Command::new("busctl");
        command.arg(format!("--address={}", bus.address()));
        command.args(["call", "org.headstart1", "/org/headstart1", "org.headstart1.Hook", "Ask", "sssss"]);
        command.args(arguments).arg(&xml);
        anyhow::Ok(command)
    };
    let nothing = || anyhow::Ok(Command::new("/bin/true"));
    let plain = || {
        let mut command = Command::new(program("headstart-qemu-hook")?);
        command.args(["vm001", "reconnect", "begin", "-"]);
        anyhow::Ok(command)
    };
    let mut times: [Vec<f64>; 4] = Default::default();
    for _ in 0..RUNS {
        let commands = [nothing()?, hook()?, busctl()?, plain()?];
        for (mut command, times) in commands.into_iter().zip(&mut times) {
            // Each finds the daemon at rest, as a start of a domain does.
            runtime.block_on(request::rest(&connection))?;
            times.push(run(&mut command, &file)?);
        }
    }
    let [nothing, hook, busctl, plain] =
        times.map(|mut times| [0.5, 0.9].map(|share| Figure::new(request::percentile(&mut times, share) * 1e3, "ms")));
    for (at, name) in ["p50", "p90"].into_iter().enumerate() {
        let target = if at == 0 { Target::Times(0.35) } else { Target::None };
        table.row(&format!("prepare, {name}"), hook[at], target, Some((&format!("busctl call {name}"), busctl[at])));
        table.row(
            &format!("prepare, {name}"),
            hook[at],
            Target::None,
            Some((&format!("/bin/true {name}"), nothing[at])),
        );
    }
    table.row("an operation that is not asked about, p50", plain[0], Target::None, Some(("/bin/true p50", nothing[0])));
    Ok(())
}

/// Seconds from start to end.
fn run(command: &mut Command, input: &Path) -> anyhow::Result<f64> {
    command.stdin(File::open(input)?).stdout(Stdio::null()).stderr(Stdio::null());
    let began = Instant::now();
    let status = command.status().with_context(|| format!("{} cannot be started", command.get_program().display()))?;
    let took = began.elapsed().as_secs_f64();
    ensure!(status.success(), "{} ended with {status}", command.get_program().display());
    Ok(took)
}

/// A domain that names a VF of ours, and that is none of our desktops, so that nothing is to be done for it.
fn definition() -> String {
    let mut xml = "<domain type='kvm'><name>vm001</name><uuid>11111111-2222-3333-4444-555555555555</uuid><devices><hostdev mode='subsystem' type='pci' managed='no'>\
         <source><address domain='0x0000' bus='0x3b' slot='0x00' function='0x4'/></source>\
         <alias name='ua-headstart-0000-3b-00-4'/></hostdev>"
        .to_owned();
    let controller =
        "<controller type='pci' index='1' model='pcie-root-port'><target chassis='1' port='0x10'/></controller>";
    while xml.len() < LENGTH {
        xml.push_str(controller);
    }
    xml + "</devices></domain>"
}
