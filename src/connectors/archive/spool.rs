//! Rows on their way into an archive: one JSON object a line, compressed into an unnamed temporary file.
//!
//! The file has no name from the start, so that a crash leaves no personal data on the disk. The same rows give the
//! same bytes: the server's text of each row, no times, no names, one compression level.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use sha2::{Digest, Sha256};
use zstd::stream::write::Encoder;

/// The library's default: about a fifth of the size, at a speed far above the database's.
const COMPRESSION_LEVEL: i32 = 3;
/// Rows are compressed in lots of this size: about a millisecond of work, so that other tasks get their turn.
const LOT_BYTES: usize = 256 * 1024;
/// The disk of a worker is not for one target alone, and an upload has no more than 50 GiB.
const SPOOL_MAX_BYTES: u64 = 48 * 1024 * 1024 * 1024;

/// What an archive holds, however it is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) rows: u64,
    pub(super) bytes: u64,
    digest: [u8; 32],
}

impl Content {
    pub(super) fn sha256(&self) -> String {
        hex(&self.digest)
    }
}

pub(super) struct Spooled {
    pub(super) content: Content,
    pub(super) file: File,
}

pub(super) struct Spool {
    encoder: Encoder<'static, File>,
    tally: Tally,
    lot: Vec<u8>,
}

impl Spool {
    pub(super) fn new() -> io::Result<Self> {
        let mut encoder = Encoder::new(tempfile::tempfile()?, COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        Ok(Spool {
            encoder,
            tally: Tally::default(),
            lot: Vec::with_capacity(LOT_BYTES),
        })
    }

    pub(super) fn row(&mut self, mut json: String) -> io::Result<()> {
        // Inside JSON texts a line break is escaped; a bare one is white space of a `json` column, and would break the
        // one-line-a-row form.
        if json.contains(['\n', '\r']) {
            json = json.replace(['\n', '\r'], " ");
        }
        self.lot.extend_from_slice(json.as_bytes());
        self.lot.push(b'\n');
        if self.lot.len() >= LOT_BYTES {
            self.flush()
        } else {
            Ok(())
        }
    }

    pub(super) fn finish(mut self) -> io::Result<Spooled> {
        self.flush()?;
        let mut file = self.encoder.finish()?;
        file.flush()?;
        file.seek(SeekFrom::Start(0))?;
        Ok(Spooled {
            content: self.tally.finish(),
            file,
        })
    }

    fn flush(&mut self) -> io::Result<()> {
        self.tally.write_all(&self.lot)?;
        if self.tally.bytes > SPOOL_MAX_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.encoder.write_all(&self.lot)?;
        self.lot.clear();
        Ok(())
    }
}

/// Counts and digests what is written to it, and keeps nothing.
#[derive(Default)]
pub(super) struct Tally {
    rows: u64,
    bytes: u64,
    digest: Sha256,
}

impl Tally {
    pub(super) fn finish(self) -> Content {
        Content {
            rows: self.rows,
            bytes: self.bytes,
            digest: self.digest.finalize().into(),
        }
    }
}

impl Write for Tally {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.rows += bytes.iter().filter(|&&byte| byte == b'\n').count() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn spooled(rows: &[&str]) -> (Content, Vec<u8>) {
        let mut spool = Spool::new().expect("a temporary file");
        for row in rows {
            spool.row((*row).to_owned()).expect("room for a row");
        }
        let mut spooled = spool.finish().expect("the end");
        let mut bytes = Vec::new();
        spooled.file.read_to_end(&mut bytes).expect("its bytes");
        (spooled.content, bytes)
    }

    #[test]
    fn the_same_rows_are_the_same_bytes_and_one_line_each() {
        let long = format!("{{\"body\":\"{}\"}}", "x".repeat(LOT_BYTES));
        let rows = ["{\"a\":{\n\"b\":\r\n1}}", &long, "{}"];
        let (content, bytes) = spooled(&rows);
        assert_eq!(spooled(&rows), (content.clone(), bytes.clone()));
        assert_eq!(content.rows, 3);
        let text = zstd::decode_all(bytes.as_slice()).expect("what was compressed");
        assert_eq!(text.len() as u64, content.bytes);
        assert!(text.starts_with(b"{\"a\":{ \"b\":  1}}\n{\"body\""));
        assert_eq!(hex(&Sha256::digest(&text)), content.sha256());
        assert_ne!(spooled(&rows[..2]).0, content);
    }
}
