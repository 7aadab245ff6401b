//! A model as bytes: one line that says what it is and its checksum, then JSON.
//!
//! So it lies beside the history, and so the fitting process hands it over. What is cut off, altered, of another version or not
//! walkable is refused in words: the model is then fitted anew. Deliberately not here: what is in it.

use std::io::Write;
use std::path::Path;

use headstart_core::forecast::{MODEL_VERSION, Model};

/// First word of the file.
const MAGIC: &str = "headstart-model";

/// Why bytes are no model.
#[derive(Debug, thiserror::Error)]
pub enum ModelFileError {
    /// Another file, or one of before models had a first line.
    #[error("it does not begin with `{MAGIC} VERSION CHECKSUM`")]
    Header,
    /// Of an older or newer program.
    #[error("it is of version {0}, this program has {MODEL_VERSION}")]
    Version(String),
    /// Cut off or altered.
    #[error("its checksum is {found:08x}, its first line says {said}")]
    Checksum {
        /// By the first line.
        said: String,
        /// By the bytes.
        found: u32,
    },
    /// The checksum is right, the text is not.
    #[error("its text cannot be read")]
    Json(#[from] serde_json::Error),
    /// Numbers that no fit makes.
    #[error("its numbers lead nowhere")]
    Unsound,
}

/// Makes bytes of a model.
///
/// # Errors
/// A number in it has no JSON.
pub fn encode(model: &Model) -> serde_json::Result<Vec<u8>> {
    let body = serde_json::to_vec(model)?;
    let mut bytes = format!("{MAGIC} {MODEL_VERSION} {:08x}\n", checksum(&body)).into_bytes();
    bytes.extend(body);
    Ok(bytes)
}

/// Makes a model of bytes.
///
/// # Errors
/// They are not a whole, sound model of this program's version.
pub fn decode(bytes: &[u8]) -> Result<Model, ModelFileError> {
    let end = bytes.iter().position(|byte| *byte == b'\n').ok_or(ModelFileError::Header)?;
    let (header, body) = (&bytes[..end], &bytes[end + 1..]);
    let mut words = std::str::from_utf8(header).map_err(|_| ModelFileError::Header)?.split(' ');
    let (Some(MAGIC), Some(version), Some(said), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(ModelFileError::Header);
    };
    if version != MODEL_VERSION.to_string() {
        return Err(ModelFileError::Version(version.to_owned()));
    }
    let found = checksum(body);
    if said != format!("{found:08x}") {
        return Err(ModelFileError::Checksum { said: said.to_owned(), found });
    }
    let model: Model = serde_json::from_slice(body)?;
    if model.is_sound() { Ok(model) } else { Err(ModelFileError::Unsound) }
}

/// The model that was kept beside the history, if it is there and whole.
pub fn kept(path: &Path) -> Option<Model> {
    let bytes = std::fs::read(path).ok()?;
    match decode(&bytes) {
        Ok(model) => Some(model),
        Err(error) => {
            tracing::warn!("{}: not used, the model is fitted anew: {error}", path.display());
            None
        }
    }
}

/// Keeps a model for the next start; whole or not at all.
///
/// # Errors
/// It cannot be written.
pub fn keep(path: &Path, model: &Model) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(&encode(model)?)?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn checksum(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(bytes: &[u8]) -> String {
        decode(bytes).unwrap_err().to_string()
    }

    #[test]
    fn what_is_not_whole_is_refused_in_words() {
        let bytes = encode(&Model::default()).unwrap();
        assert_eq!(decode(&bytes).unwrap(), Model::default());
        assert!(refused(&bytes[..bytes.len() - 1]).contains("its first line says"));
        let mut altered = bytes.clone();
        *altered.last_mut().unwrap() ^= 1;
        assert!(refused(&altered).contains("checksum"));
        assert!(refused(b"{}").starts_with("it does not begin with"));
        let text = String::from_utf8(bytes).unwrap();
        let old = text.replacen(&format!(" {MODEL_VERSION} "), " 1 ", 1);
        assert_eq!(refused(old.as_bytes()), format!("it is of version 1, this program has {MODEL_VERSION}"));
    }

    #[test]
    fn a_file_that_cannot_be_read_is_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        assert!(kept(&path).is_none());
        keep(&path, &Model::default()).unwrap();
        assert_eq!(kept(&path), Some(Model::default()));
        std::fs::write(&path, "headstart-model 2 00000000\n{}").unwrap();
        assert!(kept(&path).is_none());
    }
}
