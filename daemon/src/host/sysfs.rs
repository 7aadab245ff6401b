//! The only opener of `/sys`, `/proc` and `/dev`, and of what vendors install beside them: everything lies below a root folder, so that
//! tests put a tree of their own in its place.
//!
//! A read is bounded, a write is one `write(2)`, and an error keeps its errno and names the path. Deliberately not here: what the texts
//! mean, and any retry.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;

/// An attribute of sysfs is at most one page (`Documentation/filesystems/sysfs.rst`).
const PAGE: usize = 4096;
/// Descriptions and lists of types are longer than anything met so far would need.
const LONG: usize = 64 * 1024;
/// The table of types that NVIDIA's host driver installs holds a few hundred kilobytes.
const TABLE: usize = 16 * 1024 * 1024;
/// So much of a text that is not understood is shown.
const SHOWN: usize = 80;

/// What went wrong with a path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SysfsError {
    /// The system refused.
    #[error("{path}: cannot be {act}: {}", .errno.desc())]
    Refused {
        /// As it is on the host.
        path: String,
        /// `read`, `written`, `listed`.
        act: &'static str,
        /// Why.
        errno: Errno,
    },
    /// It was read and makes no sense.
    #[error("{path}: expected {expected}, found {found:?}")]
    Garbage {
        /// As it is on the host.
        path: String,
        /// What would have made sense.
        expected: &'static str,
        /// The beginning of what was there.
        found: String,
    },
}

impl SysfsError {
    /// The errno, if the system refused.
    pub fn errno(&self) -> Option<Errno> {
        match self {
            Self::Refused { errno, .. } => Some(*errno),
            Self::Garbage { .. } => None,
        }
    }

    /// The file is not there: it never was, or its device went while we looked (an open attribute of a device that is gone reads
    /// `ENODEV`, see `fs/kernfs/file.c`).
    pub fn is_absent(&self) -> bool {
        matches!(self.errno(), Some(Errno::ENOENT | Errno::ENODEV | Errno::ENOTDIR))
    }
}

/// `None` for what is not there.
///
/// # Errors
/// What else went wrong.
pub fn optional<T>(result: Result<T, SysfsError>) -> Result<Option<T>, SysfsError> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_absent() => Ok(None),
        Err(error) => Err(error),
    }
}

/// What changes when a file does; none if it is not there.
pub type Stamp = Option<(u64, std::time::SystemTime)>;

/// The folder that stands for `/`. Paths are given without the leading slash: `sys/class/mdev_bus`.
#[derive(Clone, Debug)]
pub struct SysfsRoot {
    root: PathBuf,
}

impl Default for SysfsRoot {
    fn default() -> Self {
        Self::new("/")
    }
}

impl SysfsRoot {
    /// The host below this folder.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// Where a path of the host really is, for programs that are started.
    pub fn locate(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    /// The text of an attribute, without the newline at its end.
    ///
    /// # Errors
    /// It cannot be read, is longer than a page, or is no text.
    pub fn read(&self, path: &str) -> Result<String, SysfsError> {
        self.read_bounded(path, PAGE)
    }

    /// The text of an attribute that may be long, such as a description.
    ///
    /// # Errors
    /// As `read`, with a wider bound.
    pub fn read_long(&self, path: &str) -> Result<String, SysfsError> {
        self.read_bounded(path, LONG)
    }

    /// A file that a package installed.
    ///
    /// # Errors
    /// As `read`, with a much wider bound.
    pub fn read_table(&self, path: &str) -> Result<String, SysfsError> {
        self.read_bounded(path, TABLE)
    }

    fn read_bounded(&self, path: &str, most: usize) -> Result<String, SysfsError> {
        let refused = |error| refused(path, "read", &error);
        let file = File::open(self.locate(path)).map_err(refused)?;
        let mut bytes = Vec::new();
        // One more than allowed, so that too long is told from just fitting.
        file.take(most as u64 + 1).read_to_end(&mut bytes).map_err(refused)?;
        if bytes.len() > most {
            return Err(garbage(path, "a shorter text", &String::from_utf8_lossy(&bytes[..SHOWN])));
        }
        let mut text = String::from_utf8(bytes)
            .map_err(|error| garbage(path, "text in UTF-8", &String::from_utf8_lossy(error.as_bytes())))?;
        text.truncate(text.trim_end_matches('\n').len());
        Ok(text)
    }

    /// A decimal number.
    ///
    /// # Errors
    /// It cannot be read or is none.
    pub fn number(&self, path: &str) -> Result<u32, SysfsError> {
        let text = self.read(path)?;
        text.trim().parse().map_err(|_| garbage(path, "a decimal number", &text))
    }

    /// A hexadecimal number, with or without `0x`.
    ///
    /// # Errors
    /// It cannot be read or is none.
    pub fn hexadecimal(&self, path: &str) -> Result<u32, SysfsError> {
        let text = self.read(path)?;
        let digits = text.trim().trim_start_matches("0x");
        u32::from_str_radix(digits, 16).map_err(|_| garbage(path, "a hexadecimal number", &text))
    }

    /// Writes a text with one `write(2)`, as attributes want it. Opens neither a new file nor a cut one.
    ///
    /// # Errors
    /// What the driver answers, or that it took a part only.
    pub fn write(&self, path: &str, text: &str) -> Result<(), SysfsError> {
        let refused = |error| refused(path, "written", &error);
        let mut file = OpenOptions::new().write(true).open(self.locate(path)).map_err(refused)?;
        let written = file.write(text.as_bytes()).map_err(refused)?;
        if written == text.len() {
            return Ok(());
        }
        Err(SysfsError::Refused { path: shown(path), act: "written", errno: Errno::EIO })
    }

    /// The names in a directory, in order.
    ///
    /// # Errors
    /// It cannot be listed.
    pub fn list(&self, path: &str) -> Result<Vec<String>, SysfsError> {
        let refused = |error| refused(path, "listed", &error);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.locate(path)).map_err(refused)? {
            names.push(entry.map_err(refused)?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        Ok(names)
    }

    /// What a link says, without following it.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn link(&self, path: &str) -> Result<PathBuf, SysfsError> {
        std::fs::read_link(self.locate(path)).map_err(|error| refused(path, "read", &error))
    }

    /// The last part of what a link says: the name of a driver, an IOMMU group, a PCI function.
    ///
    /// # Errors
    /// As `link`, or it ends in no name.
    pub fn link_name(&self, path: &str) -> Result<String, SysfsError> {
        let target = self.link(path)?;
        name_of(&target).ok_or_else(|| garbage(path, "a link that ends in a name", &target.to_string_lossy()))
    }

    /// By what a change of an installed file shows.
    pub fn stamp(&self, path: &str) -> Stamp {
        let metadata = self.locate(path).metadata().ok()?;
        Some((metadata.len(), metadata.modified().ok()?))
    }

    /// Whether something is there. A path that cannot be asked about is not.
    pub fn exists(&self, path: &str) -> bool {
        self.locate(path).symlink_metadata().is_ok()
    }
}

/// The last part of a path.
pub fn name_of(path: &Path) -> Option<String> {
    path.file_name().map(|name| name.to_string_lossy().into_owned())
}

/// Something that was read and is not understood.
pub fn garbage(path: &str, expected: &'static str, found: &str) -> SysfsError {
    SysfsError::Garbage { path: shown(path), expected, found: found.chars().take(SHOWN).collect() }
}

fn refused(path: &str, act: &'static str, error: &std::io::Error) -> SysfsError {
    SysfsError::Refused { path: shown(path), act, errno: Errno::from_raw(error.raw_os_error().unwrap_or(0)) }
}

fn shown(path: &str) -> String {
    format!("/{path}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree() -> (tempfile::TempDir, SysfsRoot) {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(folder.path().join("sys/d")).unwrap();
        let root = SysfsRoot::new(folder.path());
        (folder, root)
    }

    #[test]
    fn texts_are_bounded_and_errors_name_the_path() {
        let (folder, root) = tree();
        let put = |name: &str, bytes: &[u8]| std::fs::write(folder.path().join(name), bytes).unwrap();
        put("sys/d/n", b"16\n");
        put("sys/d/hex", b"0x10de\n");
        put("sys/d/bad", b"sixteen\n");
        put("sys/d/page", &[b'a'; PAGE]);
        put("sys/d/more", &[b'a'; PAGE + 1]);
        put("sys/d/bytes", &[0xff, 0xfe]);
        assert_eq!(root.number("sys/d/n").unwrap(), 16);
        assert_eq!(root.hexadecimal("sys/d/hex").unwrap(), 0x10de);
        assert_eq!(root.read("sys/d/page").unwrap().len(), PAGE);
        assert_eq!(root.read_long("sys/d/more").unwrap().len(), PAGE + 1);
        let error = |result: Result<u32, SysfsError>| result.unwrap_err().to_string();
        assert_eq!(error(root.number("sys/d/bad")), r#"/sys/d/bad: expected a decimal number, found "sixteen""#);
        assert!(root.read("sys/d/more").unwrap_err().to_string().starts_with("/sys/d/more: expected a shorter text"));
        assert!(root.read("sys/d/bytes").unwrap_err().to_string().contains("UTF-8"));
        let absent = root.read("sys/d/none").unwrap_err();
        assert_eq!((absent.errno(), absent.is_absent()), (Some(Errno::ENOENT), true));
        assert_eq!(absent.to_string(), "/sys/d/none: cannot be read: No such file or directory");
    }

    #[test]
    fn a_write_makes_no_file() {
        let (folder, root) = tree();
        std::fs::write(folder.path().join("sys/d/file"), "longer than that").unwrap();
        root.write("sys/d/file", "1").unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("sys/d/file")).unwrap(), "1onger than that");
        assert!(root.write("sys/d/other", "1").unwrap_err().is_absent());
        assert!(!root.exists("sys/d/other"));
    }

    #[test]
    fn links_are_read_and_not_followed() {
        let (folder, root) = tree();
        std::os::unix::fs::symlink("../../devices/gone/0000:3b:00.0", folder.path().join("sys/d/physfn")).unwrap();
        assert_eq!(root.link_name("sys/d/physfn").unwrap(), "0000:3b:00.0");
        assert!(root.exists("sys/d/physfn"));
        assert_eq!(optional(root.link_name("sys/d/driver")), Ok(None));
    }
}
