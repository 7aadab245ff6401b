//! What the files of an mdev type say. Each driver has a form of its own; anything may be missing.

use headstart_core::unit::FramebufferMib;

/// What a description tells of one device of the type.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Description {
    /// Framebuffer of one.
    pub framebuffer: Option<FramebufferMib>,
    /// Most of this type on one GPU.
    pub max_instances: Option<u16>,
    /// What one takes of the parent's stores, in an order that all types of the driver share.
    pub needs: Option<Vec<u32>>,
}

/// Reads a description, whatever the order of its parts, and whatever else is there:
///
/// - NVIDIA: `num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=12`
/// - i915 GVT-g, a line each: `low_gm_size: 128MB`, `high_gm_size: 512MB`, `fence: 4`, `resolution: 1920x1200`, `weight: 4`
/// - mbochs: `virtual display, 16 MB video memory`
pub(crate) fn parse_description(text: &str) -> Description {
    let mut it = Description::default();
    let (mut low, mut high, mut fence) = (None, None, None);
    for part in text.split([',', '\n']) {
        if let Some(megabytes) = part.trim().strip_suffix("video memory").and_then(mebibytes) {
            it.framebuffer = Some(FramebufferMib::new(megabytes));
            it.needs = Some(vec![megabytes]);
        }
        let Some((key, value)) = part.split_once(['=', ':']) else { continue };
        match key.trim() {
            "framebuffer" => it.framebuffer = mebibytes(value).map(FramebufferMib::new),
            "max_instance" => it.max_instances = value.trim().parse().ok(),
            "low_gm_size" => low = mebibytes(value),
            "high_gm_size" => high = mebibytes(value),
            "fence" => fence = value.trim().parse().ok(),
            _ => {}
        }
    }
    if let (Some(low), Some(high), Some(fence)) = (low, high, fence) {
        it.needs = Some(vec![low, high, fence]);
        // The part of graphics memory that the guest's CPU reaches; the rest is address space, not memory of its own.
        it.framebuffer = Some(FramebufferMib::new(low));
    }
    it
}

/// `2048M`, `128MB`, `16 MB`: a number of MiB.
fn mebibytes(text: &str) -> Option<u32> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let unit = text[digits..].trim();
    matches!(unit, "M" | "MB" | "MiB").then(|| text[..digits].parse().ok()).flatten()
}

/// What one device of a type takes, by drivers that tell it in no file: `samples/vfio-mdev/{mtty,mdpy}.c` of the kernel. mtty has a
/// number of ports, of which a type takes as many as its name says; mdpy counts devices.
pub(crate) fn known_needs(type_id: &str) -> Option<Vec<u32>> {
    match type_id.split_once('-')? {
        ("mtty", ports) => ports.parse().ok().filter(|ports| *ports > 0).map(|ports| vec![ports]),
        ("mdpy", _) => Some(vec![1]),
        _ => None,
    }
}

/// The number of an NVIDIA type: `nvidia-558`.
pub(crate) fn number(type_id: &str) -> Option<u32> {
    type_id.rsplit_once('-')?.1.parse().ok()
}

/// The VM of `nvidia/vm_name`: the argument of QEMU's `-name`, of which options may follow; none while nobody has the device open.
pub(crate) fn vm_name(text: &str) -> Option<&str> {
    let name = text.split(',').next().unwrap_or_default().trim();
    let name = name.strip_prefix("guest=").unwrap_or(name);
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn descriptions_in_any_order() {
        let it = parse_description(
            "num_heads=4, frl_config=60, framebuffer=2048M, max_resolution=7680x4320, max_instance=12",
        );
        assert_eq!((it.framebuffer.map(FramebufferMib::get), it.max_instances, it.needs), (Some(2048), Some(12), None));
        let it = parse_description("max_instance = 3 ,new_key=1,framebuffer= 8192M");
        assert_eq!((it.framebuffer.map(FramebufferMib::get), it.max_instances), (Some(8192), Some(3)));
        let it =
            parse_description("low_gm_size: 128MB\nhigh_gm_size: 512MB\nfence: 4\nresolution: 1920x1200\nweight: 4");
        assert_eq!((it.framebuffer.map(FramebufferMib::get), it.needs), (Some(128), Some(vec![128, 512, 4])));
        let it = parse_description("virtual display, 64 MB video memory");
        assert_eq!((it.framebuffer.map(FramebufferMib::get), it.needs), (Some(64), Some(vec![64])));
        for text in ["", "virtual display, 640x480 framebuffer", "framebuffer=lots, max_instance=-1", "a=b=c,,,=", "MB"]
        {
            assert_eq!(parse_description(text), Description::default(), "{text}");
        }
    }

    #[test]
    fn what_drivers_tell_in_no_file() {
        assert_eq!(known_needs("mtty-1"), Some(vec![1]));
        assert_eq!(known_needs("mtty-2"), Some(vec![2]));
        assert_eq!(known_needs("mdpy-hd"), Some(vec![1]));
        assert_eq!(known_needs("mtty-x"), None);
        assert_eq!(known_needs("other-1"), None);
        assert_eq!(number("nvidia-558"), Some(558));
        assert_eq!(number("i915-GVTg_V5_4"), None);
    }

    #[test]
    fn the_name_of_the_vm_loses_its_options() {
        assert_eq!(vm_name(""), None);
        assert_eq!(vm_name("  "), None);
        assert_eq!(vm_name("guest=win10,debug-threads=on"), Some("win10"));
        assert_eq!(vm_name("win10,debug-threads=on"), Some("win10"));
    }
}
