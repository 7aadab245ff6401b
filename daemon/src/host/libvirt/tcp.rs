//! Who is connected to which TCP port of this host, as `/proc/net/tcp` and `tcp6` tell: the one thing about a screen that can be read
//! at any time. libvirt tells of clients that come and go and has no list of them.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;

/// `TCP_ESTABLISHED` of `include/net/tcp_states.h`.
const ESTABLISHED: &str = "01";

/// Clients by the port of this host that they are connected to.
pub(super) type Connected = BTreeMap<u16, BTreeSet<SocketAddr>>;

/// Reads both tables below `proc`.
///
/// # Errors
/// A table cannot be read; without IPv6 its table is not there, and that is none.
pub(super) fn read(proc: &Path) -> Result<Connected, String> {
    let mut connected = Connected::new();
    for table in ["net/tcp", "net/tcp6"] {
        let path = proc.join(table);
        match std::fs::read_to_string(&path) {
            Ok(text) => parse(&text, &mut connected),
            Err(error) if table == "net/tcp6" && error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(format!("{}: {error}", path.display())),
        }
    }
    Ok(connected)
}

/// One table: a heading, then lines of `sl local_address rem_address st ...`.
fn parse(text: &str, connected: &mut Connected) {
    for line in text.lines().skip(1) {
        let mut words = line.split_ascii_whitespace().skip(1);
        let (Some(local), Some(remote), Some(ESTABLISHED)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if let (Some(local), Some(remote)) = (address(local), address(remote)) {
            connected.entry(local.port()).or_default().insert(remote);
        }
    }
}

/// Words of 32 bits as this machine stores them, then the port: `0100007F:170C` is 127.0.0.1:5900 on x86.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words = address.as_bytes().chunks(8).map(|word| {
        let word = str::from_utf8(word).ok().filter(|word| word.len() == 8)?;
        u32::from_str_radix(word, 16).ok().map(u32::to_ne_bytes)
    });
    let bytes: Vec<u8> = words.collect::<Option<Vec<_>>>()?.concat();
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => return None,
    };
    Some(SocketAddr::new(address.to_canonical(), u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn tables_are_read() {
        let mut connected = Connected::new();
        parse(
            "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
             0: 0100007F:170C 00000000:0000 0A 00000000:00000000 00:00000000 00000000 107 0 1 1 0 100 0 0 10 0\n\
             1: 0100007F:170C 0200000A:C350 01 00000000:00000000 00:00000000 00000000 107 0 2 1 0 20 4 30 10 -1\n\
             2: 0100007F:170C 0200000A:C351 06 00000000:00000000 00:00000000 00000000 0 0 0 3 0\n\
             3: garbage\n 4: 00:1 01:2 01\n",
            &mut connected,
        );
        parse(
            "heading\n0: 0000000000000000FFFF00000100007F:170C 0000000000000000FFFF00000300000A:C350 01 0 0 0\n\
             1: B80D0120000000000000000001000000:170D B80D0120000000000000000002000000:0001 01 0 0 0\n",
            &mut connected,
        );
        let found: Vec<String> = connected
            .iter()
            .flat_map(|(port, clients)| clients.iter().map(move |client| format!("{port} {client}")))
            .collect();
        assert_eq!(found, ["5900 10.0.0.2:50000", "5900 10.0.0.3:50000", "5901 [2001:db8::2]:1"]);
    }

    #[test]
    fn this_kernel_writes_them_so() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = server.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let _served = server.accept().unwrap();
        let connected = read(Path::new("/proc")).unwrap();
        assert!(connected[&port].contains(&client.local_addr().unwrap()));
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let error = read(folder.path()).unwrap_err();
        assert_eq!(
            error.replace(&*folder.path().to_string_lossy(), ""),
            "/net/tcp: No such file or directory (os error 2)"
        );
    }
}
