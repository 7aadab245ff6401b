//! Tables of vGPU types.
//!
//! Numbers of the A40 (558 on), T4 (232) and L40S are confirmed in the reference; the others follow public listings as remembered and
//! are not. No rule depends on a number.

/// A vGPU type of a GPU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VgpuType {
    /// Its number: `nvidia-558`.
    pub number: u32,
    /// Its name: `NVIDIA A40-2Q`.
    pub name: String,
    /// Its share of the framebuffer.
    pub framebuffer_mib: u32,
    /// How many fit on the GPU in equal-size mode, or on a GPU instance.
    pub max: u32,
    /// For MIG-backed types, the profile of the GPU instance.
    pub gpu_instance_profile: Option<u32>,
}

impl VgpuType {
    /// `Q`, `B`, `A` or `C`.
    pub fn series(&self) -> char {
        let tail = self.name.rsplit('-').next().unwrap_or_default();
        tail.chars().find(char::is_ascii_uppercase).unwrap_or('Q')
    }

    /// The text of `description`.
    pub fn description(&self) -> String {
        let (heads, limit, resolution) = match self.series() {
            'B' => (4, 45, "5120x2880"),
            'A' => (1, 60, "1280x1024"),
            'C' => (1, 60, "4096x2160"),
            _ if self.framebuffer_mib <= 1024 => (4, 60, "5120x2880"),
            _ => (4, 60, "7680x4320"),
        };
        format!(
            "num_heads={heads}, frl_config={limit}, framebuffer={}M, max_resolution={resolution}, max_instance={}",
            self.framebuffer_mib, self.max
        )
    }
}

/// Types of a board from numbers and short names like `2Q`, with the maximum that its framebuffer and `most` allow.
///
/// # Panics
/// A short name does not begin with a number of GB.
#[track_caller]
pub fn types(board: &str, framebuffer_mib: u32, most: u32, list: &[(u32, &str)]) -> Vec<VgpuType> {
    let one = |&(number, short): &(u32, &str)| {
        let digits: String = short.chars().take_while(char::is_ascii_digit).collect();
        let gigabytes: u32 = digits.parse().expect("a type's short name begins with its size in GB");
        // Zero is the name of half a GB.
        let size = if gigabytes == 0 { 512 } else { gigabytes * 1024 };
        let max = (framebuffer_mib / size).min(most);
        VgpuType { number, name: format!("{board}-{short}"), framebuffer_mib: size, max, gpu_instance_profile: None }
    };
    list.iter().map(one).collect()
}

/// MIG-backed types: number, slices and size like `1-5C`, profile of the GPU instance.
fn mig_types(board: &str, list: &[(u32, &str, u32)]) -> Vec<VgpuType> {
    let one = |&(number, short, profile): &(u32, &str, u32)| {
        let (_, size) = short.split_once('-').expect("slices, then size");
        let mut types = types(board, u32::MAX, 1, &[(number, size)]);
        let found = types.remove(0);
        VgpuType { name: format!("{board}-{short}"), gpu_instance_profile: Some(profile), ..found }
    };
    list.iter().map(one).collect()
}

pub(crate) fn tesla_t4() -> Vec<VgpuType> {
    let list = [
        (222, "1B"),
        (223, "2B"),
        (225, "1A"),
        (226, "2A"),
        (227, "4A"),
        (228, "8A"),
        (229, "16A"),
        (230, "1Q"),
        (231, "2Q"),
        (232, "4Q"),
        (233, "8Q"),
        (234, "16Q"),
        (319, "4C"),
        (320, "8C"),
        (321, "16C"),
    ];
    types("GRID T4", 16_384, 32, &list)
}

pub(crate) fn tesla_p100() -> Vec<VgpuType> {
    let list = [
        (83, "1Q"),
        (84, "2Q"),
        (85, "4Q"),
        (86, "8Q"),
        (87, "16Q"),
        (88, "1A"),
        (89, "2A"),
        (90, "4A"),
        (91, "8A"),
        (92, "16A"),
        (93, "1B"),
        (288, "4C"),
        (289, "8C"),
        (290, "16C"),
    ];
    types("GRID P100", 16_384, 32, &list)
}

pub(crate) fn a2() -> Vec<VgpuType> {
    let list = [
        (745, "1B"),
        (746, "2B"),
        (747, "1Q"),
        (748, "2Q"),
        (749, "4Q"),
        (750, "8Q"),
        (751, "16Q"),
        (752, "1A"),
        (753, "2A"),
        (754, "4A"),
        (755, "8A"),
        (756, "16A"),
        (757, "4C"),
        (758, "8C"),
        (759, "16C"),
    ];
    types("NVIDIA A2", 16_384, 16, &list)
}

pub(crate) fn a40() -> Vec<VgpuType> {
    let list = [
        (555, "1B"),
        (556, "2B"),
        (557, "1Q"),
        (558, "2Q"),
        (559, "3Q"),
        (560, "4Q"),
        (561, "6Q"),
        (562, "8Q"),
        (563, "12Q"),
        (564, "16Q"),
        (565, "24Q"),
        (566, "48Q"),
        (567, "1A"),
        (568, "2A"),
        (569, "3A"),
        (570, "4A"),
        (571, "6A"),
        (572, "8A"),
        (573, "12A"),
        (574, "16A"),
        (575, "24A"),
        (576, "48A"),
        (577, "4C"),
        (578, "6C"),
        (579, "8C"),
        (580, "12C"),
        (581, "16C"),
        (582, "24C"),
        (583, "48C"),
    ];
    types("NVIDIA A40", 49_152, 32, &list)
}

pub(crate) fn l40s() -> Vec<VgpuType> {
    let list = [
        (1145, "1B"),
        (1146, "2B"),
        (1147, "1Q"),
        (1148, "2Q"),
        (1149, "3Q"),
        (1150, "4Q"),
        (1151, "6Q"),
        (1152, "8Q"),
        (1153, "12Q"),
        (1154, "16Q"),
        (1155, "24Q"),
        (1156, "48Q"),
        (1157, "1A"),
        (1158, "2A"),
        (1159, "3A"),
        (1160, "4A"),
        (1161, "6A"),
        (1162, "8A"),
        (1163, "12A"),
        (1164, "16A"),
        (1165, "24A"),
        (1166, "48A"),
        (2164, "3B"),
    ];
    types("NVIDIA L40S", 49_152, 32, &list)
}

pub(crate) fn a100() -> Vec<VgpuType> {
    let list = [(468, "4C"), (469, "5C"), (470, "8C"), (471, "10C"), (472, "20C"), (473, "40C")];
    let mut all = types("GRID A100", 40_960, 16, &list);
    let mig = [(474, "1-5C", 19), (475, "2-10C", 14), (476, "3-20C", 9), (477, "4-20C", 5), (478, "7-40C", 0)];
    all.extend(mig_types("GRID A100", &mig));
    all
}

pub(crate) fn h100() -> Vec<VgpuType> {
    let list =
        [(821, "4C"), (822, "5C"), (823, "8C"), (824, "10C"), (825, "16C"), (826, "20C"), (827, "40C"), (828, "80C")];
    let mut all = types("NVIDIA H100", 81_920, 20, &list);
    let mig = [
        (829, "1-10C", 19),
        (830, "1-20C", 15),
        (831, "2-20C", 14),
        (832, "3-40C", 9),
        (833, "4-40C", 5),
        (834, "7-80C", 0),
    ];
    all.extend(mig_types("NVIDIA H100", &mig));
    all
}
