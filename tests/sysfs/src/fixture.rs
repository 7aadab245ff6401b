//! A captured tree from disk. It has no rules: what is written is read back, and nothing follows from it.

use std::fs;
use std::io;
use std::path::Path;

use crate::attribute::Attribute;
use crate::sketch::Sketch;

/// Attributes that can only be written. Neither git nor an archive keeps that from the capture.
const WRITE_ONLY: [&str; 8] = ["create", "remove", "bind", "unbind", "drivers_probe", "rescan", "reset", "new_id"];

pub(crate) fn read(folder: &Path, sketch: &mut Sketch) -> io::Result<()> {
    enter(folder, "", sketch)
}

fn enter(folder: &Path, path: &str, sketch: &mut Sketch) -> io::Result<()> {
    let name_it = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
    if !path.is_empty() {
        sketch.folder(path);
    }
    for entry in fs::read_dir(folder).map_err(name_it)? {
        let entry = entry.map_err(name_it)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
        let kind = entry.file_type().map_err(name_it)?;
        if kind.is_dir() {
            enter(&entry.path(), &path, sketch)?;
        } else if kind.is_symlink() {
            let text = fs::read_link(entry.path()).map_err(name_it)?;
            sketch.link_text(path, text.to_string_lossy());
        } else if path.starts_with("dev/vfio/") {
            sketch.device(path);
        } else {
            let content = fs::read(entry.path())
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", entry.path().display())))?;
            let mode = if WRITE_ONLY.contains(&name.as_str()) { 0o200 } else { 0o644 };
            sketch.content(path.clone(), mode, Ok(content), Some(Attribute::Stored { path }));
        }
    }
    Ok(())
}
