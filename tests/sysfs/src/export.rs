//! The tree as plain files, for benchmarks that must not pay for FUSE.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::command;
use crate::sketch::{File, Leaf};
use crate::tree::Tree;

pub(crate) fn write(tree: &Tree, folder: &Path) -> io::Result<()> {
    // The stub programs would find nobody to speak with.
    for (path, leaf) in tree.leaves().filter(|(path, _)| !command::is_program(path)) {
        let path = folder.join(path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        match leaf {
            Leaf::Folder => fs::create_dir_all(&path)?,
            Leaf::Link(text) => symlink(text, &path)?,
            Leaf::Device => fs::write(&path, "")?,
            // A file that answers reads with an errno has nothing that a plain file could say.
            Leaf::File(File { content: Err(_), .. }) => {}
            Leaf::File(File { content: Ok(content), .. }) => fs::write(&path, content)?,
        }
    }
    Ok(())
}
