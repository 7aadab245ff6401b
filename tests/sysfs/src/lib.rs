//! A simulated `/sys`, `/proc` and `/dev` of a GPU host that behaves as drivers do: files that refuse with the right errno, counts that
//! fall, writes that block, functions that appear and vanish. Code that takes a root folder runs on it unmodified.
//!
//! Its rules are those of the engineering reference on GPU virtualization (its sections are named where they are used) and not those
//! of headstart's planner: this package depends on nothing of headstart. It does not simulate NVML, libvirt or the netlink socket.
//!
//! # Use
//! ```
//! use headstart_simsysfs::{Blueprint, Errno, Fault, amd, nvidia, samples, sriov};
//! use std::fs;
//!
//! let machine = Blueprint::new()
//!     .with(nvidia::Gpu::tesla_t4("0000:3b:00.0"))              // mdevs on the PF
//!     .with(nvidia::Gpu::a40("0000:5e:00.0").vfs_enabled())     // mdevs on VFs
//!     .with(nvidia::Gpu::l40s("0000:86:00.0").vfs_enabled())    // vendor-specific VFIO
//!     .with(amd::Mxgpu::v710("0000:c3:00.0", 4))                // GIM, 4 VFs
//!     .with(sriov::Device::flex_170("0000:4d:00.0"))            // sriov_numvfs
//!     .with(samples::Sample::mbochs())                          // the lab's mdevs
//!     .mount_or_skip();
//! let Some(machine) = machine else { return };                  // no root, no /dev/fuse: told, and skipped
//!
//! // What the code under test is given instead of "/".
//! let root = machine.root();
//!
//! // A vGPU that is an mdev.
//! let uuid = "c7a1e8b0-0000-4000-8000-000000000001";
//! fs::write(root.join("sys/class/mdev_bus/0000:3b:00.0/mdev_supported_types/nvidia-232/create"), uuid).unwrap();
//!
//! // A virtual machine takes it, and is now found below proc/<pid>/fd.
//! let pid = machine.open(uuid, "desktop-7").unwrap();
//! let fd = fs::read_link(root.join(format!("proc/{pid}/fd/3"))).unwrap();   // /dev/vfio/<group>
//! # let _ = fd;
//!
//! // Vendor-specific VFIO: too big for what is there already, so the driver says EIO.
//! let vf = machine.pci("0000:86:00.4").join("nvidia/current_vgpu_type");
//! fs::write(&vf, "1155").unwrap();
//! let sibling = machine.pci("0000:86:00.5").join("nvidia/current_vgpu_type");
//! let refused = fs::write(&sibling, "1147").unwrap_err();
//! assert_eq!(refused.raw_os_error(), Some(Errno::EIO as i32));
//!
//! // Faults by path; what was written and what came of it; how often each path was looked at.
//! machine.inject(Fault::write("**/create").errno(Errno::EIO).once());
//! for write in machine.writes() {
//!     println!("{write}");
//! }
//! assert!(machine.looks().repeated().is_empty());
//! ```
//!
//! # Time
//! The machine's seconds are a thousandth of real ones unless [`Blueprint::speed`] says otherwise, so that "EBUSY after 5 s" takes 5 ms.
//! With [`Blueprint::time_by_hand`] only [`Machine::advance`] moves it: a write that waits for time is then started on a thread, awaited
//! with [`Machine::wait_for_blocked_writes`], and let go by `advance`. No test needs to sleep.
//!
//! # Who holds what
//! [`Machine::open`] makes a process `qemu-system-x86_64` with the virtual machine's name and UUID in `proc/<pid>/cmdline` and a link
//! `proc/<pid>/fd/<n>` to `/dev/vfio/<group>` (or to `/dev/vfio/devices/vfio<n>`, see [`Vm::through_cdev`]). Link texts are absolute as
//! in a real `/proc`: read them, do not follow them. [`Machine::hold_gpu`] makes a process with `/dev/nvidia<minor>` open; the minor
//! stands in `proc/driver/nvidia/gpus/<address>/information`. IOMMU groups and VFIO devices are numbered apart on purpose.
//!
//! # Programs
//! Hosts with a GPU of NVIDIA have `usr/lib/nvidia/sriov-manage` and `usr/bin/nvidia-smi`, those with one of AMD `usr/bin/amd-smi`, to
//! be run by their path below the root. They act on the same machine; [`Machine::set_program`] makes them fail, lie or take long.
//!
//! # Without root or FUSE
//! [`Blueprint::mount_or_skip`] tells on standard error that the test is skipped; with `HEADSTART_REQUIRE_FUSE` in the environment it
//! panics instead, so that nothing is skipped where it must run.
//!
//! # Without paying for FUSE
//! [`Machine::write_tree`] leaves everything as plain files, which benchmarks read from a tmpfs. [`Blueprint::fixture`] adds a captured
//! tree of a real host, whose files take any text and follow no rule.

mod address;
pub mod amd;
mod attribute;
mod base;
mod blueprint;
mod board;
mod budget;
mod clock;
mod command;
mod export;
mod fault;
mod fixture;
mod fuse;
mod host;
pub mod intel;
mod machine;
mod mdev;
mod mount;
pub mod nvidia;
mod opening;
mod pci;
mod process;
mod record;
pub mod samples;
mod sketch;
pub mod sriov;
mod state;
mod tree;
mod uevent;

pub use blueprint::{Blueprint, Part};
pub use command::{Behavior, Program};
pub use fault::Fault;
pub use host::UnplugRequest;
pub use machine::{Gate, Machine};
pub use mount::MountError;
pub use nix::errno::Errno;
pub use process::Vm;
pub use record::{Looks, Write};
pub use uevent::Uevent;
