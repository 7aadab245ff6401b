//! The service running on a private bus, with the test in the place of the loop.

use std::io::{Read, Write};
use std::sync::Arc;

use headstart_core::desktop::{Change, Settings};
use headstart_core::gpu::Interface;
use headstart_core::hint::{Hint, Kind};
use headstart_core::id::DesktopName;
use headstart_core::unit::Time;
use headstartd::bus::{self, BusChoice, Candidate, Decision, HistoryPort, HostPort, Import, Imported, Pending, Ports};
use headstartd::message::Message;
use headstartd::status::Status;
use tokio::sync::{broadcast, mpsc, watch};

use super::private_bus::PrivateBus;
use super::sample;

/// How many messages may wait for the loop here.
pub(crate) const QUEUE: usize = 8;

/// A running service; ends with the test.
pub(crate) struct Running {
    pub(crate) bus: PrivateBus,
    pub(crate) status: watch::Sender<Arc<Status>>,
    pub(crate) messages: mpsc::Receiver<Message>,
    pub(crate) decisions: broadcast::Sender<Decision>,
}

/// Serves this status on that bus; from the return on, callers are served.
pub(crate) async fn serve(bus: PrivateBus, status: Status) -> Running {
    let (status, status_reader) = watch::channel(Arc::new(status));
    let (sender, told) = mpsc::channel(QUEUE);
    let (forward, messages) = mpsc::channel(QUEUE);
    tokio::spawn(explain(told, forward, status.subscribe()));
    let (decisions, decisions_reader) = broadcast::channel(16);
    let ports = Ports {
        status: status_reader,
        messages: sender,
        history: Arc::new(FakeHistory),
        host: Arc::new(FakeHost::default()),
        decisions: decisions_reader,
    };
    let connection = bus::connect(&BusChoice::Address(bus.address())).await.expect("the private bus runs");
    let service = bus::publish(connection, ports).await.expect("the name is free");
    tokio::spawn(service.run());
    Running { bus, status, messages, decisions }
}

/// In the place of the loop: explains; everything else is the test's to take. A message goes on only when there is room for it, so
/// that a full queue is full for the service too.
async fn explain(
    mut told: mpsc::Receiver<Message>,
    forward: mpsc::Sender<Message>,
    status: watch::Receiver<Arc<Status>>,
) {
    while let Ok(room) = forward.reserve().await {
        match told.recv().await {
            None => return,
            Some(Message::Explain { desktop, reply }) => {
                let shown = status.borrow().desktops.get(&desktop).map(|desktop| {
                    let percent = desktop.confidence.get() * 100.0;
                    format!("This desktop is {}.\nThe forecast says {percent:.0} %.", desktop.state)
                });
                let _ = reply.send(shown);
            }
            Some(message) => room.send(message),
        }
    }
}

/// The sample on a fresh bus.
pub(crate) async fn sample() -> Running {
    serve(PrivateBus::session(), sample::status()).await
}

impl Running {
    /// Changes the status.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| change(Arc::make_mut(status)));
    }
}

/// In the place of the host: one domain that opts in and one that does not.
#[derive(Default)]
pub(crate) struct FakeHost(std::sync::Mutex<std::collections::BTreeMap<DesktopName, Settings>>);

impl HostPort for FakeHost {
    fn candidates(&self) -> Pending<'_, Vec<Candidate>> {
        let candidate = |id: &str, name: &str, driver: &str, interface, vfs, owned, note: &str| Candidate {
            id: id.parse().expect("written here"),
            name: name.to_owned(),
            driver: Some(driver.to_owned()).filter(|driver| !driver.is_empty()),
            interface,
            vfs,
            owned,
            note: Some(note.to_owned()).filter(|note| !note.is_empty()),
        };
        let all = vec![
            candidate("0000:3b:00.0", "NVIDIA A40", "nvidia", Some(Interface::VfioVariant), 32, true, ""),
            candidate("0000:5e:00.0", "AMD V710", "gim", Some(Interface::Vf), 12, false, ""),
            candidate(
                "0000:86:00.0",
                "GeForce RTX 3080",
                "nouveau",
                None,
                0,
                false,
                "it cannot be partitioned as it is",
            ),
            candidate("mbochs", "mbochs", "", Some(Interface::Mdev), 0, false, "a sample of the kernel's"),
        ];
        Box::pin(async move { Ok(all) })
    }

    fn settings(&self, domain: DesktopName) -> Pending<'_, Option<Settings>> {
        let kept = self.0.lock().expect("no test panics within").get(&domain).cloned();
        let settings = kept.or_else(|| {
            let own = Settings { user: Some("anna".parse().expect("written here")), ..Settings::default() };
            (domain.as_str() == "design-01").then_some(own)
        });
        Box::pin(async move {
            if domain.as_str() == "nobody" {
                Err("there is no domain nobody on this host".to_owned())
            } else {
                Ok(settings)
            }
        })
    }

    fn change_settings(&self, domain: DesktopName, change: Change) -> Pending<'_, Settings> {
        Box::pin(async move {
            let before = self.settings(domain.clone()).await?.unwrap_or_default();
            let after = change.apply(before).map_err(|why| format!("{domain}: {why}"))?;
            self.0.lock().expect("no test panics within").insert(domain, after.clone());
            Ok(after)
        })
    }
}

/// In the place of the store: takes what it is given, and says so.
pub(crate) struct FakeHistory;

impl HistoryPort for FakeHistory {
    fn import(&self, mut import: Import) -> Pending<'_, Imported> {
        Box::pin(async move {
            let mut text = String::new();
            import.file.read_to_string(&mut text).map_err(|error| format!("{}: {error}", import.name))?;
            let rows = text.lines().count().saturating_sub(1) as u64;
            if text.contains("bad") && !import.skip_bad {
                return Err(format!("{}:2: 1 columns where 4 are needed", import.name));
            }
            let problems =
                if text.contains("bad") { vec![format!("{}:2: 1 columns", import.name)] } else { Vec::new() };
            let bad = problems.len() as u64;
            Ok(Imported { sessions: rows - bad, duplicates: 0, bad, problems })
        })
    }

    fn export(&self, mut file: std::fs::File, since: Option<Time>) -> Pending<'_, u64> {
        Box::pin(async move {
            writeln!(file, "user,vm,start,end").map_err(|error| error.to_string())?;
            writeln!(file, "anna,design-01,2026-11-20T08:03:00+01:00,").map_err(|error| error.to_string())?;
            Ok(u64::from(since.is_none()))
        })
    }

    fn hints(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<(DesktopName, Hint)>> {
        let name = desktop.unwrap_or_else(|| DesktopName::new("office-01").expect("a name"));
        let hint = Hint::new(Kind::Shift, sample::NOW, Some(sample::NOW), None).expect("a hint");
        Box::pin(async move { Ok(vec![(name, hint)].into_iter().take(most as usize).collect()) })
    }

    fn decisions(&self, desktop: Option<DesktopName>, most: u32) -> Pending<'_, Vec<Decision>> {
        let decision = Decision {
            time: sample::NOW,
            desktop,
            what: "reserve A40-4Q on 0000:3b:00.0".to_owned(),
            why: "86 % within its lead time of 2 min".to_owned(),
        };
        Box::pin(async move { Ok(vec![decision].into_iter().take(most as usize).collect()) })
    }
}
