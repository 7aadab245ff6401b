//! The definition on standard input, and whether headstartd has to do with it.

use std::path::Path;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// libvirt's own protocol lets no text be longer (`REMOTE_STRING_MAX`), so no definition is.
const LONGEST: usize = 4 << 20;
/// The beginning of the alias of each device that headstart attaches.
const ALIAS: &str = "ua-headstart-";
/// The namespace of the metadata by which a domain opts in.
const NAMESPACE: &str = "https://headstart.dev/xmlns/desktop/1";
/// In the run-time folder: headstartd has desktops that only its configuration knows and that must not start without a GPU.
const ASK_ABOUT_ALL: &str = "ask-about-all";
/// Where headstartd keeps it. libvirt gives a hook no variable of ours; tests do.
const FOLDER: (&str, &str) = ("HEADSTART_RUN", "/run/headstart");

/// Reads it to its end.
///
/// # Errors
/// It is too long, no text, not there, or does not end in time.
pub(crate) fn read(deadline: Instant) -> Result<String, String> {
    let stdin = rustix::stdio::stdin();
    let (mut xml, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|why| why.to_string())?;
        // Hung up and in error are for the read to tell.
        match poll(&mut [PollFd::new(&stdin, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(crate::late()),
            Ok(_) | Err(Errno::INTR) => {}
            Err(why) => return Err(format!("its XML cannot be waited for on standard input: {why}")),
        }
        match rustix::io::read(stdin, &mut chunk) {
            Ok(0) => break,
            Ok(n) => xml.extend_from_slice(chunk.get(..n).unwrap_or_default()),
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(why) => return Err(format!("its XML cannot be read from standard input: {why}")),
        }
        if xml.len() > LONGEST {
            return Err(format!("its XML is longer than {} MiB, which libvirt itself does not allow", LONGEST >> 20));
        }
    }
    let xml = String::from_utf8(xml).map_err(|_| "its XML is not UTF-8 text".to_owned())?;
    if xml.trim().is_empty() {
        return Err("there is no XML on standard input".into());
    }
    Ok(xml)
}

/// Whether headstartd is to be asked at all: about a domain that bears a mark of it, and about every domain if its configuration
/// cannot be obeyed otherwise. So the others do not depend on it in any way.
pub(crate) fn is_ours(xml: &str) -> bool {
    xml.contains(ALIAS) || xml.contains(NAMESPACE) || {
        let (variable, default) = FOLDER;
        let folder = std::env::var_os(variable).unwrap_or_else(|| default.into());
        Path::new(&folder).join(ASK_ABOUT_ALL).exists()
    }
}
