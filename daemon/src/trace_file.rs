//! Opening a trace, plain or gzipped, and reading it line by line in constant memory.
//!
//! What a line means is `headstart_core::trace`'s business; here a line only gets its number.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use headstart_core::trace::{BadRow, Row, check_header, parse_row};

/// Longer lines are no trace; without a limit a wrong file could fill the memory.
const LONGEST_LINE: usize = 64 * 1024;

/// Opens a file that may be gzipped; its first bytes tell, not its name.
///
/// # Errors
/// It cannot be read, or it is compressed in another way.
pub fn open(file: File) -> io::Result<Box<dyn BufRead + Send>> {
    let mut plain = BufReader::with_capacity(1 << 16, file);
    let magic = plain.fill_buf()?;
    let other = |tool: &str| {
        let text = format!("it is compressed with {tool}, and only gzip is read: unpack it first");
        Err(io::Error::new(io::ErrorKind::InvalidData, text))
    };
    match magic {
        [0x1f, 0x8b, ..] => Ok(Box::new(BufReader::with_capacity(1 << 16, MultiGzDecoder::new(plain)))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => other("zstd"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => other("xz"),
        [b'B', b'Z', b'h', ..] => other("bzip2"),
        _ => Ok(Box::new(plain)),
    }
}

/// Why a line of a trace cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadLine {
    /// Its content.
    #[error(transparent)]
    Row(#[from] BadRow),
    /// Its bytes.
    #[error("the line is not UTF-8 text")]
    Encoding,
    /// Its length.
    #[error("the line is longer than {LONGEST_LINE} bytes")]
    Long,
}

/// A trace that cannot be read at all; lines count from 1.
#[derive(Debug, thiserror::Error)]
pub enum TraceError {
    /// The first line is not the header.
    #[error("line 1: {0}")]
    Header(BadLine),
    /// Reading failed.
    #[error("line {line}: the file cannot be read further")]
    Read {
        /// The line at which it failed.
        line: u64,
        /// Why.
        source: io::Error,
    },
}

/// Rows of a trace, in the order of the file. Empty lines are skipped, but counted.
pub struct Rows<R> {
    input: R,
    line: u64,
    buffer: Vec<u8>,
}

impl<R: BufRead> Rows<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// The first line is something else, or cannot be read.
    pub fn new(input: R) -> Result<Self, TraceError> {
        let mut rows = Self { input, line: 0, buffer: Vec::new() };
        let header = rows.next_line().map_err(|source| TraceError::Read { line: 1, source })?.unwrap_or(Ok(""));
        header.and_then(|line| Ok(check_header(line)?)).map_err(TraceError::Header)?;
        Ok(rows)
    }

    /// The number of the line that was read last.
    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next row, or why it cannot be used; none at the end.
    ///
    /// # Errors
    /// The file cannot be read further.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator could not tell a bad row from the end of all reading"
    )]
    pub fn next(&mut self) -> Result<Option<Result<Row, BadLine>>, TraceError> {
        loop {
            let line = self.line + 1;
            match self.next_line().map_err(|source| TraceError::Read { line, source })? {
                None => return Ok(None),
                Some(Ok(text)) if text.trim().is_empty() => {}
                Some(text) => return Ok(Some(text.and_then(|text| Ok(parse_row(text)?)))),
            }
        }
    }

    fn next_line(&mut self) -> io::Result<Option<Result<&str, BadLine>>> {
        self.buffer.clear();
        let n = self.input.by_ref().take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut self.buffer)?;
        if n == 0 {
            return Ok(None);
        }
        self.line += 1;
        if n > LONGEST_LINE {
            self.skip_rest_of_line()?;
            return Ok(Some(Err(BadLine::Long)));
        }
        Ok(Some(std::str::from_utf8(&self.buffer).map_err(|_| BadLine::Encoding)))
    }

    fn skip_rest_of_line(&mut self) -> io::Result<()> {
        while self.buffer.last() != Some(&b'\n') {
            self.buffer.clear();
            if self.input.by_ref().take(LONGEST_LINE as u64).read_until(b'\n', &mut self.buffer)? == 0 {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;
    use std::io::{Seek, Write};

    use super::*;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file.rewind().unwrap();
        file
    }

    fn gzip(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text.as_bytes()).unwrap();
        encoder.finish().unwrap()
    }

    /// `line: user` of the good rows, `line! why` of the bad ones.
    fn picture(bytes: &[u8]) -> String {
        let mut rows = Rows::new(open(file(bytes)).unwrap()).unwrap();
        let mut text = String::new();
        while let Some(row) = rows.next().unwrap() {
            match row {
                Ok(row) => writeln!(text, "{}: {}", rows.line(), row.user).unwrap(),
                Err(bad) => writeln!(text, "{}! {bad}", rows.line()).unwrap(),
            }
        }
        text
    }

    const TRACE: &str = "user,vm,start,end\na,v,2010-03-29T08:00:00Z,\n\r\nb,v,2010-03-29T09:00:00Z,";

    #[test]
    fn plain_and_gzip_read_the_same() {
        assert_eq!(picture(TRACE.as_bytes()), "2: a\n4: b\n");
        assert_eq!(picture(&gzip(TRACE)), "2: a\n4: b\n");
        let (first, second) = TRACE.split_at(40);
        assert_eq!(picture(&[gzip(first), gzip(second)].concat()), "2: a\n4: b\n", "members of a gzip file follow on");
    }

    #[test]
    fn bad_bytes_and_endless_lines_are_bad_rows() {
        let mut bytes = b"user,vm,start,end\n\xff,v,2010-03-29T08:00:00Z,\n".to_vec();
        bytes.extend(std::iter::repeat_n(b'x', 200_000));
        bytes.extend(b"\na,v,2010-03-29T08:00:00Z,\n");
        assert_eq!(picture(&bytes), "2! the line is not UTF-8 text\n3! the line is longer than 65536 bytes\n4: a\n");
    }

    #[test]
    fn what_is_no_trace_is_refused() {
        let refused = |bytes: &[u8]| Rows::new(open(file(bytes)).unwrap()).err().unwrap().to_string();
        assert_eq!(refused(b""), "line 1: the first line must be `user,vm,start,end`, not \"\"");
        assert_eq!(refused(b"a,b\n"), "line 1: the first line must be `user,vm,start,end`, not \"a,b\"");
        let error = open(file(&[0x28, 0xb5, 0x2f, 0xfd, 0, 0])).err().unwrap().to_string();
        assert_eq!(error, "it is compressed with zstd, and only gzip is read: unpack it first");
    }

    #[test]
    fn a_gzip_file_cut_short_is_an_error_at_its_line() {
        let long = (0..5000).map(|i| format!("u{i},v,2010-03-29T08:00:00Z,")).collect::<Vec<_>>().join("\n");
        let bytes = gzip(&format!("user,vm,start,end\n{long}"));
        let mut rows = Rows::new(open(file(&bytes[..bytes.len() / 2])).unwrap()).unwrap();
        let error = loop {
            match rows.next() {
                Ok(Some(_)) => {}
                Ok(None) => panic!("read to the end of half a file"),
                Err(error) => break error.to_string(),
            }
        };
        assert!(error.ends_with("the file cannot be read further"), "{error}");
    }
}
