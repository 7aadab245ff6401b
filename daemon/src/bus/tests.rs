//! The service on a private bus, over a hand-made status: what a caller sees, and what reaches the loop.

mod calls;
mod desktops;
mod files;
mod holds;
mod hook;
mod interface;
mod name;
mod policy;
pub(crate) mod private_bus;
mod properties;
pub(crate) mod sample;
pub(crate) mod service;

impl service::Running {
    /// A client of its own.
    pub(crate) async fn client(&self) -> zbus::Connection {
        zbus::connection::Builder::address(self.bus.address().as_str()).build().await.expect("the private bus runs")
    }
}
