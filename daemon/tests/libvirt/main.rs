//! The libvirt adapter against a real libvirtd with real QEMU domains, and against libvirt's own test driver.
//!
//! Every test starts a libvirtd of its own in a scratch folder, unprivileged (`qemu:///session`), and asks it with virsh, as an
//! administrator does. Domains are emulated (TCG), tiny, and have no system inside. This kernel may have no VFIO, so real devices are
//! attached in the lab, and definitions are changed here. Where libvirtd, virsh or QEMU are missing the tests say that they were
//! skipped; with `HEADSTART_TEST_LIBVIRT=required` in the environment they fail instead.

#![expect(clippy::unwrap_used, reason = "helpers of tests stand outside of them")]

mod connection;
mod driver;
mod guest;
mod look;
mod people;
mod server;
mod steps;
mod watch;
