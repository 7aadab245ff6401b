//! Who has a device open, as `/proc` shows it: process, program, the guest of a QEMU, and the device's file; nothing else that a process
//! is or does.

use std::fs;
use std::path::Path;

use super::{Entry, Tree};

/// Device files that headstart looks for: VFIO groups and cdevs, render nodes, NVIDIA's.
const DEVICES: [&str; 3] = ["/dev/vfio/", "/dev/dri/", "/dev/nvidia"];

/// What stands before the name of a guest in the command that libvirt starts its QEMU with.
pub(super) const GUEST: &str = "-name\0guest=";

/// Reads all processes.
pub(super) fn read(root: &Path, tree: &mut Tree) {
    let Ok(entries) = fs::read_dir(root.join("proc")) else { return };
    tree.entries.insert("proc".to_owned(), Entry::Folder);
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut shut = 0;
    for process in names.filter(|name| name.bytes().all(|byte| byte.is_ascii_digit())) {
        match files(root, &process) {
            Ok(files) if files.is_empty() => {}
            Ok(files) => {
                tree.entries.extend(files);
                let comm = format!("proc/{process}/comm");
                let name = fs::read(root.join(&comm)).unwrap_or_default();
                tree.entries.insert(comm, Entry::File(name));
                let command = format!("proc/{process}/cmdline");
                if let Some(guest) = guest(&fs::read(root.join(&command)).unwrap_or_default()) {
                    tree.entries.insert(command, Entry::File(format!("{GUEST}{guest}\0").into_bytes()));
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(_) => shut += 1,
        }
    }
    if shut > 0 {
        tree.unread.push(format!("the open files of {shut} processes: run it as root to have them"));
    }
}

/// The guest that a command starts.
fn guest(command: &[u8]) -> Option<String> {
    let command = String::from_utf8_lossy(command);
    let (_, name) = command.split_once(GUEST)?;
    name.split(['\0', ',']).next().map(str::to_owned)
}

/// The devices that a process has open.
fn files(root: &Path, process: &str) -> std::io::Result<Vec<(String, Entry)>> {
    let folder = format!("proc/{process}/fd");
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join(&folder))? {
        let entry = entry?;
        // It was closed meanwhile.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        let target = target.to_string_lossy().into_owned();
        if DEVICES.iter().any(|device| target.starts_with(device)) {
            files.push((format!("{folder}/{}", entry.file_name().to_string_lossy()), Entry::Link(target)));
        }
    }
    Ok(files)
}
