//! NVIDIA's types: names, sizes read from names, and what follows from a table of types.
//!
//! One spelling serves all generations and both back ends: the name without the brand that the driver puts before it (`GRID T4-4Q`,
//! `NVIDIA A40-8Q`). The way back goes through the table of the card at hand, never through a list of ours: numbers are absent on some
//! drivers and names differ between boards.

use headstart_core::gpu::Profile;
use headstart_core::id::ProfileName;
use headstart_core::unit::FramebufferMib;

/// A type that a card offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NvidiaType {
    /// The driver's number for it, the same on every card.
    pub number: u32,
    /// Its name without the brand.
    pub name: ProfileName,
    /// Framebuffer of one.
    pub framebuffer: FramebufferMib,
    /// Most on one GPU; none if no source tells.
    pub max_instances: Option<u16>,
    /// Slots it takes and where it may begin, with mixed sizes.
    pub placement: Option<(u16, Vec<u16>)>,
}

impl NvidiaType {
    /// Whether it is for computing (series C).
    pub(crate) fn is_compute(&self) -> bool {
        size_and_series(self.name.as_str()).is_some_and(|(_, series)| series == 'C')
    }
}

/// A driver's name without its brand.
pub(super) fn without_brand(name: &str) -> &str {
    let name = name.trim();
    ["NVIDIA ", "GRID "].iter().find_map(|brand| name.strip_prefix(brand)).unwrap_or(name).trim_start()
}

/// The profile that a driver's name means.
///
/// # Errors
/// It is no acceptable name.
pub(crate) fn type_name(name: &str) -> Result<ProfileName, headstart_core::id::BadId> {
    ProfileName::new(without_brand(name))
}

/// Size and series of a name, from its last part: `8Q`, `2B4`, `10CME`.
fn size_and_series(name: &str) -> Option<(u32, char)> {
    let (_, last) = name.rsplit_once('-')?;
    let digits = last.find(|c: char| !c.is_ascii_digit())?;
    let size: u32 = last.get(..digits)?.parse().ok()?;
    let series = last[digits..].chars().next()?;
    matches!(series, 'A' | 'B' | 'C' | 'Q').then_some((size, series))
}

/// The framebuffer that a name tells: GiB before the letter of the series, 0 for 512 MiB.
pub(crate) fn framebuffer_by_name(name: &str) -> Option<FramebufferMib> {
    let (size, _) = size_and_series(name)?;
    Some(FramebufferMib::new(if size == 0 { 512 } else { size.checked_mul(1024)? }))
}

/// MIG slices of a name: `A100-1-5C` has one. None for a time-sliced type.
pub(crate) fn slices(name: &str) -> Option<u32> {
    size_and_series(name)?;
    let mut parts = name.rsplitn(3, '-');
    let (_, slices, board) = (parts.next()?, parts.next()?, parts.next()?);
    slices.parse().ok().filter(|_| !board.is_empty())
}

/// The whole framebuffer of the board: the largest type's, or what the most of any type take together.
pub(crate) fn board_framebuffer(types: &[NvidiaType]) -> FramebufferMib {
    let all = types.iter().map(|it| it.framebuffer.get().saturating_mul(u32::from(it.max_instances.unwrap_or(1))));
    FramebufferMib::new(all.max().unwrap_or(0))
}

/// Profiles in order of their numbers. Where no source tells how many there may be, the framebuffer decides.
pub(crate) fn profiles(types: &[NvidiaType], board: FramebufferMib) -> Vec<Profile> {
    let mut sorted: Vec<&NvidiaType> = types.iter().collect();
    sorted.sort_by_key(|it| it.number);
    let profile = |it: &&NvidiaType| {
        let by_size = board.get().checked_div(it.framebuffer.get()).unwrap_or(0);
        let (slots, starts) = it.placement.clone().unwrap_or_default();
        Profile {
            name: it.name.clone(),
            framebuffer: it.framebuffer,
            max_instances: it.max_instances.unwrap_or(by_size.min(u32::from(u16::MAX)) as u16),
            compute: it.is_compute(),
            slots,
            starts,
        }
    };
    sorted.iter().map(profile).collect()
}

/// Whether types of one size and several series may stand side by side, from what is still offered on a card that has vGPUs of
/// `taken` types and room. `offered`: types and whether one more could be made now.
///
/// A card that may mix offers every other type of that size (RM lists none that it would refuse), but those for computing, which stand
/// beside no others on any card; one that may not offers the same type only. None where the card shows neither: it is full, is bound to
/// computing, or has no other series of that size.
pub(crate) fn series_may_mix(taken: &[&NvidiaType], offered: &[(&NvidiaType, bool)]) -> Option<bool> {
    let first = taken.first()?;
    if taken.iter().any(|it| it.is_compute()) {
        return None;
    }
    if taken.iter().any(|it| it.framebuffer == first.framebuffer && it.number != first.number) {
        return Some(true);
    }
    let same_size = offered.iter().filter(|(it, _)| it.framebuffer == first.framebuffer && !it.is_compute());
    let (same, others): (Vec<_>, Vec<_>) = same_size.partition(|(it, _)| it.number == first.number);
    if others.is_empty() || !same.iter().any(|(_, open)| *open) {
        return None;
    }
    Some(others.iter().all(|(_, open)| *open))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(number: u32, name: &str, max: Option<u16>) -> NvidiaType {
        NvidiaType {
            number,
            name: type_name(name).unwrap(),
            framebuffer: framebuffer_by_name(name).unwrap(),
            max_instances: max,
            placement: None,
        }
    }

    #[test]
    fn names_of_all_generations() {
        // From the user guides 17 and 18 and the captures named in the reference.
        let rows: Vec<(&str, Option<u32>, Option<u32>)> = [
            "GRID M60-0Q",
            "GRID T4-4Q",
            "GRID P100-2B4",
            "NVIDIA A40-8Q",
            "NVIDIA RTXA6000-2Q",
            "NVIDIA L40S-48A",
            "NVIDIA A100-1-5C",
            "NVIDIA A100-1-5CME",
            "NVIDIA H200X-1-18C",
            "NVIDIA RTX Pro 6000 Blackwell DC-12Q",
            "NVIDIA RTX Pro 6000 Blackwell DC-1-24QGFX",
            "mtty-1",
            "NVIDIA A40",
            "8Q",
            "",
        ]
        .into_iter()
        .map(|name| (without_brand(name), framebuffer_by_name(name).map(FramebufferMib::get), slices(name)))
        .collect();
        assert_eq!(
            rows,
            [
                ("M60-0Q", Some(512), None),
                ("T4-4Q", Some(4096), None),
                ("P100-2B4", Some(2048), None),
                ("A40-8Q", Some(8192), None),
                ("RTXA6000-2Q", Some(2048), None),
                ("L40S-48A", Some(49_152), None),
                ("A100-1-5C", Some(5120), Some(1)),
                ("A100-1-5CME", Some(5120), Some(1)),
                ("H200X-1-18C", Some(18_432), Some(1)),
                ("RTX Pro 6000 Blackwell DC-12Q", Some(12_288), None),
                ("RTX Pro 6000 Blackwell DC-1-24QGFX", Some(24_576), Some(1)),
                ("mtty-1", None, None),
                ("A40", None, None),
                ("8Q", None, None),
                ("", None, None),
            ]
        );
    }

    #[test]
    fn the_board_is_as_large_as_its_types_together() {
        let types = [of(558, "A40-2Q", Some(24)), of(561, "A40-48Q", Some(1)), of(557, "A40-1Q", None)];
        assert_eq!(board_framebuffer(&types).get(), 49_152);
        let listed: Vec<(String, u16)> = profiles(&types, board_framebuffer(&types))
            .into_iter()
            .map(|profile| (profile.name.to_string(), profile.max_instances))
            .collect();
        assert_eq!(listed, [("A40-1Q".into(), 48), ("A40-2Q".into(), 24), ("A40-48Q".into(), 1)]);
    }

    #[test]
    fn whether_series_mix_is_shown_by_a_card_with_room() {
        let (q, b, large) = (of(1, "A40-2Q", None), of(2, "A40-2B", None), of(3, "A40-8Q", None));
        let c = of(4, "A40-2C", None);
        let mixes = |taken: &[&NvidiaType], open: [bool; 3]| {
            series_may_mix(taken, &[(&q, open[0]), (&b, open[1]), (&large, open[2]), (&c, false)])
        };
        assert_eq!(mixes(&[], [true, true, true]), None, "an empty card offers all");
        assert_eq!(mixes(&[&q], [true, true, false]), Some(true));
        assert_eq!(mixes(&[&q], [true, false, false]), Some(false));
        assert_eq!(mixes(&[&q], [false, false, false]), None, "a full card offers nothing");
        assert_eq!(mixes(&[&large], [false, false, true]), None, "it has no other series of that size");
        assert_eq!(mixes(&[&c], [false, false, false]), None, "computing says nothing of the others");
        assert_eq!(mixes(&[&q, &b], [false, false, false]), Some(true), "two series stand there");
    }
}
