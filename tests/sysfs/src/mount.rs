//! Mounting as root without a helper program, and leaving nothing mounted behind.
//!
//! A process that is killed while one of its threads waits for its own file system does not die: that thread waits for an answer that
//! nobody gives any more, and holds open what would end the wait. So a small shell watches each mount and aborts it when its process is
//! a corpse; and each mount begins with clearing away what earlier processes left.

use std::fmt;
use std::fs::OpenOptions;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use fuser::{Config, MountOption, Session};
use nix::mount::{MntFlags, umount2};
use tempfile::TempDir;

use crate::fuse::Files;
use crate::state::Shared;

/// How mount points are called, so that those of killed tests are found again; the owner's process id follows.
const PREFIX: &str = "headstart-simsysfs-";
/// Set where a test that cannot mount must fail and not be skipped, as in CI.
pub(crate) const REQUIRED: &str = "HEADSTART_REQUIRE_FUSE";
/// Waits for process $1 to be gone or a zombie, then aborts the mount $2.
const WATCHDOG: &str = "\
    while read -r line 2>/dev/null <\"/proc/$1/stat\"; do \
        case ${line##*) } in [ZX]*) break ;; esac; \
        sleep 1; \
    done; \
    umount -i -c -f -l \"$2\" && rmdir \"$2\"";

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
    folder: TempDir,
    watchdog: Option<Child>,
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
        let own = std::process::id();
        let prefix = format!("{PREFIX}{own}-");
        let folder = tempfile::Builder::new().prefix(&prefix).tempdir().map_err(fail(&temporary))?;
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
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "sh", &own.to_string()])
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        // Without a shell the next mount clears up.
        Ok(Self { folder, watchdog: watchdog.ok() })
    }

    pub(crate) fn path(&self) -> &Path {
        self.folder.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            // It can only have ended already.
            let _ = watchdog.kill();
            let _ = watchdog.wait();
        }
        // Nothing better than the folder's own removal failing could be said if this does.
        let _ = abort(self.folder.path());
    }
}

/// Ends the file system whoever uses it: open requests fail, the mount point is free.
fn abort(path: &Path) -> nix::Result<()> {
    umount2(path, MntFlags::MNT_FORCE | MntFlags::MNT_DETACH)
}

/// Unmounts what processes left behind that are dead. Their mounts must not be touched otherwise: whoever looks into one may hang.
fn sweep() {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mounts") else { return };
    for path in mounts.lines().filter_map(|line| line.split(' ').nth(1)).map(Path::new) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split_once('-'));
        if owner.is_some_and(|(pid, _)| is_dead(pid)) && abort(path).is_ok() {
            // Gone all the same if another test was faster.
            let _ = std::fs::remove_dir(path);
        }
    }
}

/// Whether no process has this id, or only a zombie.
fn is_dead(pid: &str) -> bool {
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return true };
    stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X']))
}
