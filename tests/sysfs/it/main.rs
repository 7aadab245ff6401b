//! The rules of the reference's tables, each proved through the mount with ordinary file calls and the errno they give.

mod amd;
mod faults;
mod gpu_instances;
mod holders;
mod life;
mod manners;
mod mdev;
mod mdev_removal;
mod programs;
mod record;
mod samples;
mod sriov;
mod trees;
mod uevents;
mod vendor_vfio;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;
use std::time::Duration;

use headstart_simsysfs::{Errno, Machine};

/// Real time by which everything that must happen has happened, also on a machine that builds something else meanwhile.
const DEADLINE: Duration = Duration::from_secs(30);

/// Any UUID, the `n`th of them.
fn uuid(n: u32) -> String {
    format!("c7a1e8b0-0000-4000-8000-{n:012}")
}

/// A file's text without the newline at its end, which must be there.
#[track_caller]
fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    text.strip_suffix('\n').unwrap_or_else(|| panic!("{}: no newline ends {text:?}", path.display())).to_owned()
}

/// What a call that must fail failed with.
#[track_caller]
fn errno<T>(result: io::Result<T>) -> Errno {
    match result {
        Ok(_) => panic!("this must be refused, and was not"),
        Err(error) => {
            Errno::from_raw(error.raw_os_error().unwrap_or_else(|| panic!("{error} is none of the kernel's")))
        }
    }
}

#[track_caller]
fn write(path: impl AsRef<Path>, text: &str) {
    let path = path.as_ref();
    fs::write(path, text).unwrap_or_else(|error| panic!("{} <- {text:?}: {error}", path.display()));
}

/// The names in a folder, sorted.
#[track_caller]
fn list(path: impl AsRef<Path>) -> Vec<String> {
    let path = path.as_ref();
    let entries = fs::read_dir(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// A write on a thread of its own, which blocks in the machine.
fn blocked_write(machine: &Machine, path: PathBuf, text: &'static str) -> JoinHandle<io::Result<()>> {
    let before = machine.writes().iter().filter(|write| write.result.is_none()).count();
    let writer = std::thread::spawn(move || fs::write(path, text));
    assert!(machine.wait_for_blocked_writes(before + 1, DEADLINE), "the write did not block: {:?}", machine.writes());
    writer
}
