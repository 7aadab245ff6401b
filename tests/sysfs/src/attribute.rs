//! What a write to a file means, and how the kernel reads numbers out of it.

use nix::errno::Errno;

/// The writable files of a machine. The file's owner knows which device is meant.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Attribute {
    /// `sriov_numvfs` of the PF.
    NumVfs,
    /// `sriov_drivers_autoprobe` of the PF.
    Autoprobe,
    /// `driver_override` of a function.
    DriverOverride { function: String },
    /// `bind` of a driver; the text is the function's address.
    Bind { driver: String },
    /// `unbind` of a driver; the text is the function's address.
    Unbind { driver: String },
    /// `drivers_probe` of the PCI bus; the text is the function's address.
    Probe,
    /// `create` of an mdev type below a parent.
    Create { parent: String, mdev_type: String },
    /// `remove` of an mdev.
    Remove { uuid: String },
    /// `nvidia/vgpu_params` of an mdev or VF.
    VgpuParams { device: String },
    /// `nvidia/placement_id` of an mdev or VF.
    PlacementId { device: String },
    /// `nvidia/gpu_instance_id` of an mdev or VF.
    GpuInstanceId { device: String },
    /// `nvidia/current_vgpu_type` of a VF.
    CurrentVgpuType { function: String },
    /// `unbindLock` below `/proc/driver/nvidia/gpus`.
    UnbindLock,
    /// `memory_partition_mode` of an AMD PF.
    MemoryPartition,
    /// Takes any text and gives it back, without any further meaning.
    Stored { path: String },
    /// The stream through which the stub programs speak with the machine.
    Commands,
}

/// The kernel's `kstrto…` with base 0: an optional plus, 0x or 0 as prefix, at most one newline behind.
pub(crate) fn number(text: &[u8], max: u64) -> Result<u64, Errno> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_prefix('+').unwrap_or(text);
    let lower = text.to_ascii_lowercase();
    let (digits, base) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None if lower.len() > 1 && lower.starts_with('0') => (&lower[1..], 8),
        None => (lower.as_str(), 10),
    };
    if digits.is_empty() || !digits.chars().all(|digit| digit.is_digit(base)) {
        return Err(Errno::EINVAL);
    }
    u64::from_str_radix(digits, base).ok().filter(|number| *number <= max).ok_or(Errno::ERANGE)
}

/// A word and at most one newline behind it.
pub(crate) fn word(text: &[u8]) -> Result<String, Errno> {
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    Ok(text.strip_suffix('\n').unwrap_or(text).to_owned())
}

/// The UUID in a write to `create`: 36 characters, at most one more.
pub(crate) fn uuid(text: &[u8]) -> Result<String, Errno> {
    if !(36..=37).contains(&text.len()) {
        return Err(Errno::EINVAL);
    }
    let text = std::str::from_utf8(text).map_err(|_| Errno::EINVAL)?;
    let well_formed = text.bytes().take(36).enumerate().all(|(at, byte)| match at {
        8 | 13 | 18 | 23 => byte == b'-',
        _ => byte.is_ascii_hexdigit(),
    });
    // The kernel names the device by the number it read, so in lower case.
    if well_formed { Ok(text[..36].to_ascii_lowercase()) } else { Err(Errno::EINVAL) }
}
