//! Mounting as root without a helper program, and leaving nothing mounted behind.

use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fuser::{Config, MountOption, Session};
use nix::errno::Errno;
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::fuse::Files;
use crate::state::Shared;

/// How mount points are called, so that those of killed tests are found again.
const PREFIX: &str = "headstart-simsysfs-";
/// Set where a test that cannot mount must fail and not be skipped, as in CI.
pub(crate) const REQUIRED: &str = "HEADSTART_REQUIRE_FUSE";

/// Why no machine could be mounted here.
#[derive(Debug)]
pub struct MountError {
    path: PathBuf,
    source: std::io::Error,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; a simulated sysfs needs root and FUSE (modprobe fuse)", self.path.display(), self.source)
    }
}

impl std::error::Error for MountError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// A mounted tree. Dropped, it is gone at once, whoever still has files of it open.
#[derive(Debug)]
pub(crate) struct Mount {
    folder: Option<TempDir>,
}

impl Mount {
    pub(crate) fn new(shared: &Arc<Shared>) -> Result<Self, MountError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| MountError { path, source }
        };
        // Asked first, since fuser would look for fusermount and name that in its error.
        let device = Path::new("/dev/fuse");
        OpenOptions::new().read(true).write(true).open(device).map_err(fail(device))?;
        sweep();
        let temporary = std::env::temp_dir();
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir().map_err(fail(&temporary))?;
        let mut config = Config::default();
        config.mount_options = vec![
            MountOption::FSName("simsysfs".to_owned()),
            MountOption::NoDev,
            MountOption::NoSuid,
            MountOption::Exec,
        ];
        let session = Session::new(Files(Arc::clone(shared)), folder.path(), &config).map_err(fail(folder.path()))?;
        // The session ends when the mount does; nobody needs to wait for its thread. Its own handle would unmount with an error if
        // a file were still open, so it is not kept.
        std::mem::forget(session.spawn().map_err(fail(folder.path()))?);
        Ok(Self { folder: Some(folder) })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.as_ref().map_or(Path::new(""), TempDir::path)
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(folder) = self.folder.take() {
            // Nothing better than the folder's own removal failing could be said if this does.
            let _ = umount2(folder.path(), MntFlags::MNT_DETACH);
        }
    }
}

/// Unmounts what tests left behind that were killed. Their mounts answer nothing but `ENOTCONN`.
fn sweep() {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new) {
        let ours = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX));
        let dead = || std::fs::metadata(path).is_err_and(|error| error.raw_os_error() == Some(Errno::ENOTCONN as i32));
        if ours && dead() && umount2(path, MntFlags::MNT_DETACH).is_ok() {
            let _ = std::fs::remove_dir(path);
        }
    }
}
