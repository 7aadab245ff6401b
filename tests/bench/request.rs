//! How soon `RequestGpu` is answered, against a ping of the same daemon on the same connection.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use anyhow::Context;
use zbus::Connection;
use zbus::wire::Variant;

use crate::table::{Figure, Table, Target};

const NAME: &str = "org.headstart1";
const ROOT: &str = "/org/headstart1";
const MANAGER: &str = "org.headstart1.Manager";
/// Calls of each kind and way.
const CALLS: usize = 2_000;
/// A ping that comes back so soon found the daemon at rest.
const AT_REST: Duration = Duration::from_micros(400);

pub(crate) async fn connect(address: &str) -> anyhow::Result<Connection> {
    zbus::connection::Builder::address(address).build().await.context("the private bus cannot be reached")
}

/// Wakes the loop; an error if the daemon is not there yet.
pub(crate) async fn look_again(address: &str) -> anyhow::Result<()> {
    connect(address).await?.call_method(Some(NAME), ROOT, Some(MANAGER), "Reconcile", &()).await?;
    Ok(())
}

pub(crate) async fn measure(address: &str, table: &mut Table) -> anyhow::Result<()> {
    let connection = connect(address).await?;
    let mut at_rest = Pair::default();
    let mut in_a_row = Pair::default();
    for n in 0..CALLS {
        // A request makes the loop work. Here both kinds find it at rest ...
        rest(&connection).await?;
        at_rest.ping.push(ping(&connection).await?);
        rest(&connection).await?;
        at_rest.request.push(request(&connection, n).await?);
    }
    for n in 0..CALLS / 2 {
        // ... and here each kind follows a request as often as the other does, without a pause.
        in_a_row.ping.push(ping(&connection).await?);
        in_a_row.request.push(request(&connection, n).await?);
        in_a_row.request.push(request(&connection, n + CALLS).await?);
        in_a_row.ping.push(ping(&connection).await?);
    }
    at_rest.rows("found at rest", table);
    in_a_row.rows("one after the other", table);
    Ok(())
}

/// Times in seconds.
#[derive(Default)]
struct Pair {
    ping: Vec<f64>,
    request: Vec<f64>,
}

impl Pair {
    fn rows(mut self, how: &str, table: &mut Table) {
        for (name, share, target) in [("p50", 0.5, Target::None), ("p99", 0.99, Target::Times(2.0))] {
            let ping = Figure::new(percentile(&mut self.ping, share) * 1e6, "us");
            let figure = Figure::new(percentile(&mut self.request, share) * 1e6, "us");
            table.row(&format!("RequestGpu {name}, {how}"), figure, target, Some((&format!("Ping {name}"), ping)));
        }
    }
}

pub(crate) fn percentile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

/// Waits until the daemon does nothing: two pings in a row come back at once.
pub(crate) async fn rest(connection: &Connection) -> anyhow::Result<()> {
    let mut quick = 0;
    for _ in 0..1000 {
        quick = if ping(connection).await? < AT_REST.as_secs_f64() { quick + 1 } else { 0 };
        if quick == 2 {
            return Ok(());
        }
    }
    Ok(())
}

async fn ping(connection: &Connection) -> anyhow::Result<f64> {
    let began = Instant::now();
    connection.call_method(Some(NAME), ROOT, Some("org.freedesktop.DBus.Peer"), "Ping", &()).await?;
    Ok(began.elapsed().as_secs_f64())
}

async fn request(connection: &Connection, n: usize) -> anyhow::Result<f64> {
    let desktop = format!("vm{:03}", n % 500 + 1);
    let options: HashMap<&str, Variant<'_>> = HashMap::new();
    let began = Instant::now();
    let reply = connection.call_method(Some(NAME), ROOT, Some(MANAGER), "RequestGpu", &(desktop, options)).await?;
    let took = began.elapsed().as_secs_f64();
    // A refusal would be the answer to another question.
    let answer: HashMap<String, zbus::wire::OwnedVariant> = reply.body().deserialize()?;
    anyhow::ensure!(answer.contains_key("way"), "RequestGpu did not say which way it went");
    Ok(took)
}
