//! The ids of a bulk, from a file or the standard input: one a line.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use super::CliError;
use crate::deletion::BULK_BODY_MAX_BYTES;

/// More is never one bulk, and a device without an end shall not fill the memory.
const READ_MAX_BYTES: u64 = BULK_BODY_MAX_BYTES as u64;

/// Lines as they are, but for their ends; empty ones are none.
pub(super) fn ids_in(file: &Path) -> Result<Vec<String>, CliError> {
    let name = file.display();
    let cannot = |error: std::io::Error| CliError::Usage(format!("--targets: cannot read {name}: {error}"));
    match file.as_os_str() == "-" {
        true => read(std::io::stdin().lock()),
        false => read(File::open(file).map_err(cannot)?),
    }
    .map_err(cannot)?
    .ok_or_else(|| {
        CliError::Usage(format!(
            "--targets: {name} has more than {READ_MAX_BYTES} bytes; wanted the ids of one bulk, and the rest in another"
        ))
    })
}

/// `None` is too much.
fn read(from: impl Read) -> std::io::Result<Option<Vec<String>>> {
    let mut text = String::new();
    from.take(READ_MAX_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > READ_MAX_BYTES {
        return Ok(None);
    }
    let ids = text.lines().filter(|line| !line.is_empty());
    Ok(Some(ids.map(str::to_owned).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_an_id() {
        let ids = |text: &str| read(text.as_bytes()).expect("text");
        let wanted = vec!["a".to_owned(), " b ".to_owned(), "c".to_owned()];
        assert_eq!(ids("a\r\n\n b \nc"), Some(wanted));
        assert_eq!(ids(""), Some(vec![]));
        assert!(read(&b"\xff\n"[..]).is_err());
    }

    #[test]
    fn what_has_no_end_is_not_read_to_it() {
        assert_eq!(read(std::io::repeat(b'x')).expect("read"), None);
    }
}
