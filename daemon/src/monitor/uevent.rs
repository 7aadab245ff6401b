//! Events of devices by netlink: udev's, which come after its rules and bear the tag of `udev/60-headstart.rules`; where no udev runs,
//! the kernel's own, of the kinds that the rules name.
//!
//! Many come at once (a PF with 32 VFs says a hundred things), so a burst is one wake-up. An event can come before all the files it
//! is about are there; whoever looks must not take "not yet" for "not there". Not here: what the events mean.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, setsockopt, socket, sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// The tag of our rules.
const TAG: &str = "headstart";
/// Where udev listens if it runs, as libudev finds out.
const UDEV: &str = "/run/udev/control";
/// Multicast groups of `NETLINK_KOBJECT_UEVENT`.
const KERNEL_GROUP: u32 = 1;
const UDEV_GROUP: u32 = 2;
/// A burst is over when nothing came for so long ...
const QUIET: Duration = Duration::from_millis(150);
/// ... and is told after this even if it goes on.
const LONGEST_BURST: Duration = Duration::from_secs(2);
/// The kernel's events are at most 2 KiB (`UEVENT_BUFFER_SIZE`), udev's may have more properties; longer ones are cut.
const LONGEST: usize = 16 << 10;
/// Room for a burst, as far as the kernel gives it.
const RECEIVE_BUFFER: usize = 1 << 20;

/// Which events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// udev's, after its rules.
    Udev,
    /// The kernel's.
    Kernel,
}

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Event<'a> {
    /// `add`, `remove`, `change`, `bind`, `unbind` ...
    pub action: &'a str,
    /// Below `/sys`.
    pub path: &'a str,
    /// `pci`, `mdev` ...
    pub subsystem: &'a str,
    /// An mdev parent has become ready, or no longer is.
    pub mdev_state: &'a str,
    /// `:tag:tag:`, from udev only.
    pub tags: &'a str,
}

impl<'a> Event<'a> {
    /// Reads a message of either kind; none if it is neither.
    pub fn parse(message: &'a [u8]) -> Option<Self> {
        let properties = match message.strip_prefix(b"libudev\0") {
            Some(_) => udev_properties(message)?,
            // `change@/devices/...`, then the properties say the same.
            None => message
                .split(|byte| *byte == 0)
                .next()
                .filter(|head| head.contains(&b'@'))
                .map(|head| message.get(head.len() + 1..).unwrap_or_default())?,
        };
        let mut event = Self::default();
        for property in properties.split(|byte| *byte == 0) {
            let Some((key, value)) = std::str::from_utf8(property).ok().and_then(|text| text.split_once('=')) else {
                continue;
            };
            match key {
                "ACTION" => event.action = value,
                "DEVPATH" => event.path = value,
                "SUBSYSTEM" => event.subsystem = value,
                "MDEV_STATE" => event.mdev_state = value,
                "TAGS" => event.tags = value,
                _ => {}
            }
        }
        (!event.action.is_empty() && !event.path.is_empty()).then_some(event)
    }

    /// Whether it may have changed what a look at the host shows.
    pub fn concerns_us(&self, source: Source) -> bool {
        match source {
            Source::Udev => self.tags.split(':').any(|tag| tag == TAG),
            // As in `udev/60-headstart.rules`; a test compares them.
            Source::Kernel => {
                !self.mdev_state.is_empty()
                    || matches!(self.subsystem, "mdev" | "pci" | "vfio" | "vfio-dev")
                    || (self.subsystem == "drivers"
                        && (self.path.starts_with("/bus/pci/drivers/") || self.path.starts_with("/bus/mdev/drivers/")))
            }
        }
    }
}

/// The properties of a message of udev: behind a header that says where they are (`struct monitor_netlink_header` of systemd).
fn udev_properties(message: &[u8]) -> Option<&[u8]> {
    const MAGIC: u32 = 0xfeed_cafe;
    let number = |at: usize| message.get(at..at + size_of::<u32>()).and_then(|bytes| bytes.try_into().ok());
    if u32::from_be_bytes(number(8)?) != MAGIC {
        return None;
    }
    let at = u32::from_ne_bytes(number(16)?) as usize;
    let length = u32::from_ne_bytes(number(20)?) as usize;
    message.get(at..at.checked_add(length)?)
}

/// The socket.
#[derive(Debug)]
pub struct Uevents {
    socket: AsyncFd<OwnedFd>,
    source: Source,
    buffer: Vec<u8>,
}

impl Uevents {
    /// Listens to udev if it runs, else to the kernel. Only root can send to either group, and whoever does only wakes us.
    ///
    /// # Errors
    /// No such socket, or not here: outside the host's network namespace there are no events of udev.
    pub fn open() -> io::Result<Self> {
        Self::listen(if Path::new(UDEV).exists() { Source::Udev } else { Source::Kernel })
    }

    fn listen(source: Source) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let socket = socket(AddressFamily::Netlink, SockType::Datagram, flags, SockProtocol::NetlinkKObjectUEvent)?;
        // Less room only means that a large burst may say that it overflowed, which is a wake-up, too.
        let _ = setsockopt(&socket, sockopt::RcvBuf, &RECEIVE_BUFFER);
        let group = match source {
            Source::Udev => UDEV_GROUP,
            Source::Kernel => KERNEL_GROUP,
        };
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, group))?;
        Self::over(socket, source)
    }

    #[expect(
        deprecated,
        reason = "its successor is unsafe for types whose descriptor may change; an OwnedFd's does not"
    )]
    fn over(socket: OwnedFd, source: Source) -> io::Result<Self> {
        Ok(Self { socket: AsyncFd::new(socket)?, source, buffer: vec![0; LONGEST] })
    }

    /// Waits for the next burst of events that concern us; says what began it, for the log.
    ///
    /// # Errors
    /// The socket failed.
    pub async fn burst(&mut self) -> io::Result<String> {
        let first = self.next().await?;
        let end = Instant::now() + LONGEST_BURST;
        let mut more = 0_u32;
        loop {
            let quiet = (Instant::now() + QUIET).min(end);
            match tokio::time::timeout_at(quiet, self.next()).await {
                Ok(event) => {
                    event?;
                    more += 1;
                    if Instant::now() >= end {
                        break;
                    }
                }
                Err(_) => break,
            }
        }
        Ok(if more == 0 { first } else { format!("{first}, and {more} more") })
    }

    /// The next event that concerns us, in words.
    async fn next(&mut self) -> io::Result<String> {
        let Self { socket, source, buffer } = self;
        loop {
            let read = |socket: &OwnedFd| Ok(recv(socket.as_raw_fd(), buffer, MsgFlags::empty())?);
            match socket.async_io(tokio::io::Interest::READABLE, read).await {
                Ok(n) => {
                    let event = buffer.get(..n).and_then(Event::parse);
                    if let Some(event) = event.filter(|event| event.concerns_us(*source)) {
                        return Ok(format!("{} {} ({})", event.action, event.path, event.subsystem));
                    }
                }
                // More came than there was room for: what was lost may have concerned us.
                Err(error) if error.raw_os_error() == Some(Errno::ENOBUFS as i32) => {
                    return Ok("events were lost".to_owned());
                }
                Err(error) => return Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests;
