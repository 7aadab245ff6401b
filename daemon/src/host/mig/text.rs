//! What `nvidia-smi mig` prints, and how its names for GPU instances and NVIDIA's names for vGPU types belong together.
//!
//! Forms as in NVIDIA's MIG user guide, "Getting started": rows of tables between bars, and one line per profile for placements.

use std::collections::BTreeMap;

/// A GPU instance that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The number of its profile.
    pub(super) profile: u32,
    /// Its own number.
    pub(super) id: u32,
    /// Its first slice.
    pub(super) start: u16,
    /// Its slices.
    pub(super) slots: u16,
}

/// The numbers and names of profiles, from `-lgip`: `|   0  MIG 1g.10gb+me     20     1/1        9.75 …|`.
pub(super) fn parse_profiles(text: &str) -> BTreeMap<u32, String> {
    let profile = |words: Vec<&str>| {
        let ["MIG", name, id, ..] = words.get(1..)? else { return None };
        Some((id.parse().ok()?, (*name).to_owned()))
    };
    rows(text).filter_map(profile).collect()
}

/// The instances that exist, from `-lgi`: `|   0  MIG 1g.10gb         19        7          4:1     |`.
///
/// # Errors
/// A row that is not understood.
pub(super) fn parse_instances(text: &str) -> Result<Vec<Row>, String> {
    let row = |words: Vec<&str>| {
        let ["MIG", _, profile, id, placement, ..] = words.get(1..)? else { return None };
        let (start, slots) = placement.split_once(':')?;
        Some(Row {
            profile: profile.parse().ok()?,
            id: id.parse().ok()?,
            start: start.parse().ok()?,
            slots: slots.parse().ok()?,
        })
    };
    rows(text).filter(|words| words.contains(&"MIG")).map(|words| row(words.clone()).ok_or(words.join(" "))).collect()
}

/// Where the instances of each profile may begin, and how many slices they take, from `-lgipp`:
/// `GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1`, `GPU  0 Profile ID  5 Placement : {0}:4`.
pub(super) fn parse_placements(text: &str) -> BTreeMap<u32, (Vec<u16>, u16)> {
    let placement = |line: &str| {
        let (_, rest) = line.split_once("Profile ID")?;
        let id = rest.split_whitespace().next()?.parse().ok()?;
        let (starts, slots) = rest.split_once('{')?.1.split_once("}:")?;
        let starts: Option<Vec<u16>> = starts.split(',').map(|start| start.trim().parse().ok()).collect();
        let slots = slots.split_whitespace().next()?.parse().ok()?;
        Some((id, (starts?, slots)))
    };
    text.lines().filter_map(placement).collect()
}

/// The words of the rows of a table that begin with the number of a GPU.
fn rows(text: &str) -> impl Iterator<Item = Vec<&str>> {
    let cells = text.lines().filter_map(|line| line.trim().strip_prefix('|')?.strip_suffix('|'));
    let words = cells.map(|cells| cells.split_whitespace().collect::<Vec<_>>());
    words.filter(|words| words.first().is_some_and(|word| word.parse::<u32>().is_ok()))
}

/// Whether an instance of the profile `1g.10gb+me` is for vGPUs of the type `H100-1-10CME`: as many slices, as much memory, and the
/// same additions.
pub(super) fn serves(instance: &str, vgpu_type: &str) -> bool {
    of_instance(instance).is_some_and(|it| of_type(vgpu_type) == Some(it))
}

/// Slices, GB, additions.
type Size = (u32, u32, String);

fn of_instance(name: &str) -> Option<Size> {
    let (slices, rest) = name.split_once("g.")?;
    let (size, additions) = rest.split_once("gb")?;
    let without = additions.strip_prefix('-');
    let letters: String = additions.chars().filter(char::is_ascii_alphanumeric).collect();
    let additions = format!("{}{}", if without.is_some() { "NO" } else { "" }, letters.to_ascii_uppercase());
    Some((slices.parse().ok()?, size.parse().ok()?, additions))
}

fn of_type(name: &str) -> Option<Size> {
    let mut parts = name.rsplitn(3, '-');
    let (size, slices, _board) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = size.find(|c: char| !c.is_ascii_digit())?;
    // Behind the size stands the letter of the series, then the additions.
    let additions = size.get(digits + 1..)?;
    Some((slices.parse().ok()?, size.get(..digits)?.parse().ok()?, additions.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_the_users_guide() {
        let profiles = "\
+-----------------------------------------------------------------------------+
| GPU instance profiles:                                                      |
| GPU   Name             ID    Instances   Memory     P2P    SM    DEC   ENC  |
|                              Free/Total   GiB              CE    JPEG  OFA  |
|=============================================================================|
|   0  MIG 1g.10gb       19     7/7        9.75       No     16     1     0   |
|                                                             1     1     0   |
+-----------------------------------------------------------------------------+
|   0  MIG 1g.10gb+me    20     1/1        9.75       No     16     1     0   |
|                                                             1     1     1   |
+-----------------------------------------------------------------------------+
";
        let both = BTreeMap::from([(19, "1g.10gb".to_owned()), (20, "1g.10gb+me".to_owned())]);
        assert_eq!(parse_profiles(profiles), both);
        let instances = "\
+-------------------------------------------------------+
| GPU instances:                                        |
| GPU   Name             Profile  Instance   Placement  |
|                          ID       ID       Start:Size |
|=======================================================|
|   0  MIG 1g.10gb         19        7          4:1     |
+-------------------------------------------------------+
|   0  MIG 3g.40gb          9        1          0:4     |
+-------------------------------------------------------+
";
        let row = |profile, id, start, slots| Row { profile, id, start, slots };
        assert_eq!(parse_instances(instances).unwrap(), [row(19, 7, 4, 1), row(9, 1, 0, 4)]);
        assert_eq!(parse_instances("No GPU instances found: Not Found\n").unwrap(), []);
        let strange = "|   0  MIG 1g.10gb         19        7          4-1     |";
        assert_eq!(parse_instances(strange).unwrap_err(), "0 MIG 1g.10gb 19 7 4-1");
        let placements =
            "GPU  0 Profile ID 19 Placements: {0,1,2,3,4,5,6}:1\nGPU  0 Profile ID  5 Placement : {0}:4\nother\n";
        assert_eq!(
            parse_placements(placements),
            BTreeMap::from([(19, (vec![0, 1, 2, 3, 4, 5, 6], 1)), (5, (vec![0], 4))])
        );
    }

    #[test]
    fn instances_and_the_types_that_they_are_for() {
        for (instance, vgpu_type) in [
            ("1g.5gb", "A100-1-5C"),
            ("7g.40gb", "A100-7-40C"),
            ("1g.10gb+me", "H100-1-10CME"),
            ("1g.24gb+gfx", "RTX Pro 6000 Blackwell DC-1-24QGFX"),
            ("1g.24gb+me.all", "RTX Pro 6000 Blackwell DC-1-24CMEALL"),
            ("1g.24gb-me", "RTX Pro 6000 Blackwell DC-1-24CNOME"),
        ] {
            assert!(serves(instance, vgpu_type), "{instance}, {vgpu_type}");
        }
        for (instance, vgpu_type) in [
            ("1g.5gb", "A100-2-5C"),
            ("1g.5gb", "A100-1-10C"),
            ("1g.5gb", "A100-5C"),
            ("1g.10gb", "H100-1-10CME"),
            ("1g.10gb+me", "H100-1-10C"),
            ("", ""),
        ] {
            assert!(!serves(instance, vgpu_type), "{instance}, {vgpu_type}");
        }
    }
}
