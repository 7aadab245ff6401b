//! The list of types that a VF shows.

/// Reads `creatable_vgpu_types`: numbers and names, with or without the line of headings. Lines that are neither are named.
///
/// ```text
/// ID    : vGPU Name
/// 557   : NVIDIA A40-1B
/// ```
///
/// # Errors
/// The first line that is not understood.
pub(crate) fn parse_creatable(text: &str) -> Result<Vec<(u32, String)>, String> {
    let mut types = Vec::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let parsed = line.split_once(':').and_then(|(number, name)| {
            let name = name.trim();
            (!name.is_empty()).then_some((number.trim().parse().ok()?, name.to_owned()))
        });
        match parsed {
            Some(it) => types.push(it),
            None if line.trim_start().starts_with("ID") => {}
            None => return Err(line.to_owned()),
        }
    }
    Ok(types)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn with_and_without_headings() {
        let two = [(557, "NVIDIA A40-1B".to_owned()), (1561, "NVIDIA RTX Pro 6000 Blackwell DC-12Q".to_owned())];
        let lines = "557   : NVIDIA A40-1B\n1561  : NVIDIA RTX Pro 6000 Blackwell DC-12Q\n";
        assert_eq!(parse_creatable(lines).unwrap(), two);
        assert_eq!(parse_creatable(&format!("ID    : vGPU Name\n{lines}")).unwrap(), two);
        assert_eq!(parse_creatable("ID    : vGPU Name\n").unwrap(), []);
        assert_eq!(parse_creatable("").unwrap(), []);
        for bad in ["what?", "x : NVIDIA A40-1B", "557 :", "-1 : NVIDIA A40-1B"] {
            assert_eq!(parse_creatable(bad).unwrap_err(), bad);
        }
    }
}
