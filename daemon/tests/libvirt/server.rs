//! A libvirtd of one's own.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use headstart_core::id::DomainUuid;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};
use tempfile::TempDir;

/// Everything that is waited for comes within this, on a slow machine too.
pub(crate) const DEADLINE: Duration = Duration::from_secs(60);
/// `nobody`: libvirtd as root would be the host's own, with its folders and networks.
const NOBODY: u32 = 65534;

/// A libvirtd, its folder and its domains. All go with it.
pub(crate) struct Server {
    folder: TempDir,
    daemon: Option<Child>,
}

/// A domain to define.
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    /// The last digit of its UUID.
    pub(crate) digit: u8,
    /// More XML of devices.
    pub(crate) devices: &'a str,
    /// How many spare root ports it has.
    pub(crate) ports: usize,
    /// A folder with the kernel and initrd that it boots; none: there is nothing to boot.
    pub(crate) system: Option<&'a Path>,
}

impl Spec<'_> {
    pub(crate) fn uuid(&self) -> DomainUuid {
        format!("11111111-2222-3333-4444-55555555555{:x}", self.digit).parse().unwrap()
    }

    fn xml(&self) -> String {
        format!(
            "<domain type='qemu'><name>{}</name><uuid>{}</uuid><memory unit='MiB'>{}</memory><vcpu>1</vcpu>\
             <os><type arch='x86_64' machine='q35'>hvm</type>{}</os><features><acpi/></features>\
             <devices><emulator>{}</emulator><controller type='pci' model='pcie-root'/>{}{}\
             <memballoon model='none'/>{}</devices></domain>",
            self.name,
            self.uuid(),
            if self.system.is_some() { 256 } else { 16 },
            self.system.map_or_else(String::new, |folder| {
                let folder = folder.display();
                format!("<kernel>{folder}/vmlinuz</kernel><initrd>{folder}/initrd.gz</initrd><cmdline>quiet</cmdline>")
            }),
            program("qemu-system-x86_64").unwrap().display(),
            "<controller type='pci' model='pcie-root-port'/>".repeat(self.ports),
            if self.devices.contains("type='usb'") { "" } else { "<controller type='usb' model='none'/>" },
            self.devices
        )
    }
}

/// Where a program is, if it is.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    // libvirtd lives among the administrator's programs.
    let folders = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/bin".into()]);
    folders.map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// Gives a file or folder to whoever libvirtd runs as.
fn give(path: &Path) {
    if Uid::effective().is_root() {
        chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        if path.is_dir() {
            for entry in std::fs::read_dir(path).unwrap() {
                give(&entry.unwrap().path());
            }
        }
    }
}

impl Server {
    /// Starts one. None, said aloud, where there cannot be one.
    pub(crate) fn start() -> Option<Self> {
        let missing = ["libvirtd", "virsh", "qemu-system-x86_64"].into_iter().find(|name| program(name).is_none());
        if let Some(missing) = missing {
            let required = std::env::var("HEADSTART_TEST_LIBVIRT").is_ok_and(|value| value == "required");
            assert!(!required, "{missing} is missing, and HEADSTART_TEST_LIBVIRT=required");
            eprintln!("skipped: {missing} is missing");
            return None;
        }
        // Paths of sockets are short.
        let folder = tempfile::Builder::new().prefix("hs").tempdir_in("/tmp").unwrap();
        for name in ["run", "conf/libvirt", "cache", "data"] {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        // No virtlogd to start and to end.
        std::fs::write(folder.path().join("conf/libvirt/qemu.conf"), "stdio_handler = \"file\"\n").unwrap();
        std::fs::write(folder.path().join("libvirtd.conf"), "log_level = 4\n").unwrap();
        let mut server = Self { folder, daemon: None };
        give(server.folder.path());
        server.launch();
        Some(server)
    }

    /// Starts libvirtd and waits until it says that it is ready, as systemd does.
    pub(crate) fn launch(&mut self) {
        let notify = self.path("notify");
        let _ = std::fs::remove_file(&notify);
        let ready = UnixDatagram::bind(&notify).unwrap();
        std::fs::set_permissions(&notify, std::fs::Permissions::from_mode(0o777)).unwrap();
        ready.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut command = Command::new(program("libvirtd").unwrap());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        for (name, folder) in
            [("HOME", "data"), ("XDG_RUNTIME_DIR", "run"), ("XDG_CONFIG_HOME", "conf"), ("XDG_CACHE_HOME", "cache")]
        {
            command.env(name, self.path(folder));
        }
        command.env("NOTIFY_SOCKET", &notify).current_dir(self.folder.path());
        command.args(["--config", "libvirtd.conf", "--pid-file"]).arg(self.path("run/libvirtd.pid"));
        let log = std::fs::File::create(self.path("log")).unwrap();
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        if Uid::effective().is_root() {
            // Root's other groups go with `uid`.
            command.uid(NOBODY).gid(NOBODY);
        }
        self.daemon = Some(command.spawn().unwrap());
        let mut text = [0; 256];
        let n = ready.recv(&mut text).unwrap_or_else(|error| {
            panic!("libvirtd is not ready: {error}: {}", std::fs::read_to_string(self.path("log")).unwrap())
        });
        assert!(str::from_utf8(&text[..n]).unwrap().contains("READY=1"));
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn uri(&self) -> String {
        format!("qemu+unix:///session?socket={}", self.path("run/libvirt/libvirt-sock").display())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(self.daemon.as_ref().expect("it runs").id() as i32)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill(self.pid(), signal).unwrap();
    }

    /// Ends libvirtd, by a signal; domains run on.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        self.daemon.take().unwrap().wait().unwrap();
    }

    /// What virsh says, or what it complains of.
    pub(crate) fn try_virsh(&self, args: &[&str]) -> Result<String, String> {
        let mut command = Command::new(program("virsh").unwrap());
        let output = command.args(["--quiet", "--connect", &self.uri()]).args(args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub(crate) fn virsh(&self, args: &[&str]) -> String {
        self.try_virsh(args).unwrap_or_else(|error| panic!("virsh {args:?}: {error}"))
    }

    /// A file for virsh to read, which libvirtd's user may read too.
    pub(crate) fn file(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        give(&path);
        path.display().to_string()
    }

    pub(crate) fn define(&self, spec: &Spec) -> DomainUuid {
        let file = self.file("domain.xml", &spec.xml());
        self.virsh(&["define", &file]);
        spec.uuid()
    }

    /// Starts a domain that has no definition.
    pub(crate) fn create(&self, spec: &Spec) -> DomainUuid {
        let file = self.file("domain.xml", &spec.xml());
        self.virsh(&["create", &file]);
        spec.uuid()
    }

    /// The process of a running domain.
    pub(crate) fn qemu(&self, name: &str) -> Pid {
        let text = std::fs::read_to_string(self.path(&format!("run/libvirt/qemu/run/{name}.pid"))).unwrap();
        Pid::from_raw(text.trim().parse().unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let domains = std::fs::read_dir(self.path("run/libvirt/qemu/run")).into_iter().flatten().flatten();
        for file in domains.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|it| it == "pid")) {
            let pid = std::fs::read_to_string(&file).ok().and_then(|text| text.trim().parse().ok());
            if let Some(pid) = pid.filter(|_| !file.ends_with("driver.pid")) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
        }
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            let _ = daemon.wait();
        }
    }
}
