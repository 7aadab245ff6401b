//! A tree on disk: as a folder, or as a tar archive. Both say the same to whoever unpacks the second.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::{Entry, Tree};

/// Writes a folder that must not be there yet.
///
/// # Errors
/// It cannot be written.
pub(super) fn folder(tree: &Tree, path: &Path) -> io::Result<()> {
    fs::create_dir(path)?;
    for (name, entry) in &tree.entries {
        let at = path.join(name);
        if let Some(parent) = at.parent() {
            fs::create_dir_all(parent)?;
        }
        match entry {
            Entry::Folder => fs::create_dir_all(&at)?,
            Entry::File(bytes) => fs::write(&at, bytes)?,
            Entry::Link(text) => std::os::unix::fs::symlink(text, &at)?,
        }
    }
    Ok(())
}

/// Writes an archive that must not be there yet. It bears no date and no owner.
///
/// # Errors
/// It cannot be written.
pub(super) fn tar(tree: &Tree, path: &Path) -> io::Result<()> {
    let mut archive = tar::Builder::new(File::create_new(path)?);
    for (name, entry) in &tree.entries {
        let mut header = tar::Header::new_gnu();
        header.set_mode(0o644);
        match entry {
            Entry::Folder => {
                header.set_entry_type(tar::EntryType::Directory);
                header.set_mode(0o755);
                header.set_size(0);
                archive.append_data(&mut header, format!("{name}/"), io::empty())?;
            }
            Entry::File(bytes) => {
                header.set_size(bytes.len() as u64);
                archive.append_data(&mut header, name, bytes.as_slice())?;
            }
            Entry::Link(text) => {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_size(0);
                archive.append_link(&mut header, name, text)?;
            }
        }
    }
    archive.finish()
}
