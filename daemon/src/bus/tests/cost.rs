//! What it costs to keep 500 desktops in step, and to answer a request.

use std::collections::BTreeMap;
use std::sync::Arc;

use headstart_core::request::Way;
use headstart_core::unit::Time;
use headstartd::status::Status;

use super::private_bus::PrivateBus;
use super::{sample, service};
use crate::bus::mirror::Mirror;

/// A host of 500 desktops.
fn large() -> Status {
    let desktop = |n: i64| {
        let name = sample::desktop_name(&format!("vm{n:03}"));
        (name, sample::desktop("off", 0.3, Some(480 + n % 60), None, Way::OnDemand))
    };
    Status { desktops: (0..500).map(desktop).collect(), gpus: BTreeMap::new(), ..sample::status() }
}

#[tokio::test]
async fn a_round_that_changes_little_costs_little() {
    let service = service::serve(PrivateBus::session(), sample::status()).await;
    let client = service.client().await;
    let (mut mirror, _shown) = Mirror::new(client);
    let mut status = large();
    mirror.show(Arc::new(status.clone())).await.unwrap();
    let rounds = 50;
    let mut spent = std::time::Duration::ZERO;
    for round in 0..rounds {
        status.now = Time::from_unix(sample::NOW.unix() + round);
        for desktop in status.desktops.values_mut().skip(round as usize).take(3) {
            desktop.state = format!("round {round}");
        }
        let new = Arc::new(status.clone());
        let clock = std::time::Instant::now();
        mirror.show(new).await.unwrap();
        spent += clock.elapsed();
    }
    let each = spent / rounds as u32;
    eprintln!("{each:?} for a round of 500 desktops of which 3 changed");
    // At one round a second, 1 ms is a thousandth of a core. This bound only finds blunders: tests are not optimised and
    // their machine is busy.
    assert!(each.as_millis() < 20, "{each:?}");
}
