//! One message over a message bus, for a process that has nothing else to do.
//!
//! Greeting, `Hello` and the message leave in one write, since none of them depends on an answer to another, and answers are waited
//! for where they are read: libvirt waits for each wake-up that this saves. Not here: what is said (`answer`); how a message and an
//! address are written (zbus). The greeting is that of <https://dbus.freedesktop.org/doc/dbus-specification.html#auth-protocol>.

use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
use zbus::Address;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::socket::ReadHalf;
use zbus::export::async_trait::async_trait;
use zbus::message::{Message, Type};

/// The bus' own name, and that of its interface.
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";
/// How the answer to a greeting begins that is accepted, and how it ends.
const ACCEPTED: &[u8] = b"OK ";
const LINE_END: &[u8] = b"\r\n";
/// Longer than any answer to a greeting.
const LONGEST_LINE: usize = 1024;

/// Sends the message, and waits for its answer.
///
/// # Errors
/// No bus, or one that does not let us in; the answer is an error; `io::ErrorKind::TimedOut` when the deadline has passed.
pub(crate) fn call(address: &Address, message: &Message, deadline: Instant) -> zbus::Result<Message> {
    let mut connection = Connection::greet(address, message, deadline)?;
    connection.answer_to(message)
}

/// Sends the message, and waits until the bus has let us in: it reads on what it has from then, whoever is gone.
///
/// # Errors
/// As [`call`].
pub(crate) fn tell(address: &Address, message: &Message, deadline: Instant) -> zbus::Result<()> {
    Connection::greet(address, message, deadline).map(drop)
}

/// To a bus that knows us.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// What came with something else.
    received: Vec<u8>,
    deadline: Instant,
}

impl Connection {
    /// Says who we are and all that we have to say, and waits until the bus has taken us.
    fn greet(address: &Address, message: &Message, deadline: Instant) -> zbus::Result<Self> {
        let hello = Message::method_call(BUS_PATH, "Hello").destination(BUS).interface(BUS).build(&())?;
        // In hexadecimal: the digit 7 is the character 0x37.
        let uid: String =
            rustix::process::geteuid().as_raw().to_string().chars().flat_map(|digit| ['3', digit]).collect();
        let mut text = format!("\0AUTH EXTERNAL {uid}\r\nBEGIN\r\n").into_bytes();
        text.extend_from_slice(hello.data());
        text.extend_from_slice(message.data());
        let mut connection = Self { stream: open(address, deadline)?, received: Vec::new(), deadline };
        connection.write(&text)?;
        connection.read_acceptance()?;
        connection.answer_to(&hello)?;
        Ok(connection)
    }

    fn write(&mut self, mut text: &[u8]) -> io::Result<()> {
        while !text.is_empty() {
            self.stream.set_write_timeout(Some(left(self.deadline)?))?;
            match self.stream.write(text) {
                Ok(written) => text = text.get(written..).unwrap_or_default(),
                Err(error) => again_or(error)?,
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            self.stream.set_read_timeout(Some(left(self.deadline)?))?;
            match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::new(ErrorKind::UnexpectedEof, "the bus hung up")),
                Ok(read) => return Ok(read),
                Err(error) => again_or(error)?,
            }
        }
    }

    fn read_acceptance(&mut self) -> zbus::Result<()> {
        let end = loop {
            if let Some(end) = self.received.windows(LINE_END.len()).position(|part| part == LINE_END) {
                break end;
            }
            let mut chunk = [0; 256];
            let read = self.read(&mut chunk)?;
            self.received.extend_from_slice(chunk.get(..read).unwrap_or_default());
            if self.received.len() > LONGEST_LINE {
                return Err(zbus::Error::Handshake("what answers is no message bus".into()));
            }
        };
        let line: Vec<u8> = self.received.drain(..end + LINE_END.len()).collect();
        if !line.starts_with(ACCEPTED) {
            let line = String::from_utf8_lossy(&line).trim_end().to_owned();
            return Err(zbus::Error::Handshake(format!("the bus does not let us in: {line}")));
        }
        Ok(())
    }

    /// Whatever else comes before it is not for us.
    fn answer_to(&mut self, message: &Message) -> zbus::Result<Message> {
        let serial = message.primary_header().serial_num();
        let mut received = std::mem::take(&mut self.received);
        loop {
            // Nothing of this waits but the reads, and those wait where they stand.
            let answer = zbus::block_on(self.receive_message(0, &mut received, &mut Vec::new()))?;
            if answer.header().reply_serial() != Some(serial) {
                continue;
            }
            self.received = received;
            return match answer.message_type() {
                Type::Error => Err(answer.into()),
                _ => Ok(answer),
            };
        }
    }
}

#[async_trait]
impl ReadHalf for Connection {
    async fn recvmsg(&mut self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        // The greeting did not ask for file descriptors, so none come.
        Ok((self.read(buffer)?, Vec::new()))
    }
}

/// A connection on which nothing was said.
fn open(address: &Address, deadline: Instant) -> zbus::Result<UnixStream> {
    let Transport::Unix(unix) = address.transport() else {
        return Err(zbus::Error::Address(format!("{address} is no Unix socket")));
    };
    let path = match unix.path() {
        UnixSocket::File(path) => SocketAddrUnix::new(path),
        UnixSocket::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_encoded_bytes()),
        _ => return Err(zbus::Error::Address(format!("{address} is where a bus would listen, not where one does"))),
    };
    let connected = || -> io::Result<UnixStream> {
        let (path, kind) = (path?, SocketType::STREAM);
        let socket = socket_with(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)?;
        // A bus that accepts nobody keeps us waiting here.
        set_socket_timeout(&socket, Timeout::Send, Some(left(deadline)?))?;
        while let Err(error) = connect(&socket, &path) {
            again_or(error.into())?;
        }
        Ok(socket.into())
    };
    let named =
        |error: io::Error| io::Error::new(error.kind(), format!("there is no connection to {address}: {error}"));
    Ok(connected().map_err(named)?)
}

/// The time that is left; an error if none is.
fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// Nothing for an interruption; the kernel's word for a wait that was too long becomes ours.
fn again_or(error: io::Error) -> io::Result<()> {
    match error.kind() {
        ErrorKind::Interrupted => Ok(()),
        ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
        _ => Err(error),
    }
}
