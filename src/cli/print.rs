//! Words on the terminal: aligned tables, moments a person can place, and JSON.
//!
//! Much of what is shown was written by strangers: ids, headers, whole bodies. A terminal obeys control characters, so
//! all that leaves here has them spelt out.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

/// Foreign ids can be half a page; what is cut here stands whole in `--json` and in `show`.
const CELL_MAX_CHARS: usize = 48;

/// To stdout, lines and all.
pub(super) fn out(text: &str) {
    write(std::io::stdout().lock(), &harmless(text));
}

/// One line: what comes from outside cannot make two of it.
pub(super) fn line(text: &str) {
    write(std::io::stdout().lock(), &format!("{}\n", one_line(text)));
}

/// To stderr, for what went wrong or belongs to no answer.
pub(super) fn trouble(text: &str) {
    write(std::io::stderr().lock(), &format!("{}\n", harmless(text)));
}

pub(super) fn json(value: &impl Serialize) {
    // Maps with text for keys, numbers and text: these always have a JSON form.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    write(std::io::stdout().lock(), &format!("{}\n", spelt_in_json(&text)));
}

/// The one place that writes to a terminal. Whoever reads may have left (`| head`): that is no error of ours, and the
/// exit code still tells.
fn write(mut to: impl Write, text: &str) {
    let _ = to.write_all(text.as_bytes()).and_then(|()| to.flush());
}

/// Beside the control characters there are those that turn the direction of writing, so that a line reads as another.
fn is_obeyed(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn spelt(text: &str, kept: &[char]) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_obeyed(letter) && !kept.contains(&letter) {
            safe.extend(letter.escape_default());
        } else {
            safe.push(letter);
        }
    }
    safe
}

fn harmless(text: &str) -> String {
    spelt(text, &['\n', '\t'])
}

pub(super) fn one_line(text: &str) -> String {
    spelt(text, &[])
}

/// JSON spells out the first 32 by itself; the others can stand only inside its strings, where `\u` means the same.
fn spelt_in_json(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if is_obeyed(letter) && letter != '\n' {
            safe.push_str(&format!("\\u{:04x}", u32::from(letter)));
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Columns as wide as their widest cell; the last one may run on.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    out(&shown(head, rows));
}

fn shown(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(|name| (*name).to_owned()).collect()];
    all.extend(rows.iter().map(|row| {
        let last = row.len().saturating_sub(1);
        row.iter()
            .enumerate()
            .map(|(at, cell)| (at, one_line(cell)))
            .map(|(at, cell)| if at == last { cell } else { cut(&cell) })
            .collect()
    }));
    aligned(&all)
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut written = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            written.push_str(&format!("{cell:<width$}  "));
        }
        text.push_str(written.trim_end());
        text.push('\n');
    }
    text
}

fn cut(cell: &str) -> String {
    if cell.chars().count() <= CELL_MAX_CHARS {
        return cell.to_owned();
    }
    let kept: String = cell.chars().take(CELL_MAX_CHARS - 1).collect();
    format!("{kept}…")
}

/// `2030-01-31 12:00:05Z`
pub(super) fn moment(at: OffsetDateTime) -> String {
    let form = format_description!("[year]-[month]-[day] [hour]:[minute]:[second]Z");
    at.to_offset(time::UtcOffset::UTC)
        .format(&form)
        .unwrap_or_else(|_| at.unix_timestamp().to_string())
}

/// With its distance: `2030-01-31 12:00:05Z (3m ago)`.
pub(super) fn placed(at: OffsetDateTime, now: OffsetDateTime) -> String {
    let away = (now - at).unsigned_abs();
    if at > now {
        format!("{} (in {})", moment(at), span(away))
    } else {
        format!("{} ({} ago)", moment(at), span(away))
    }
}

/// The two largest units, which is as much as anybody reads.
pub(super) fn span(span: Duration) -> String {
    let seconds = span.as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m {}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h {}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d {}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn columns_are_aligned_and_nothing_trails() {
        let rows = [["id", "why"], ["käse", ""], ["b", "long"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(aligned(&rows), "id    why\nkäse\nb     long\n");
        assert_eq!(cut(&"é".repeat(100)).chars().count(), CELL_MAX_CHARS);
    }

    #[test]
    fn what_a_terminal_would_obey_is_spelt_out() {
        let foreign = "a\u{1b}[2Jb\r\n\tc\u{9b}1m\u{7f}d\u{202e}e";
        let spelt = "a\\u{1b}[2Jb\\r\\n\\tc\\u{9b}1m\\u{7f}d\\u{202e}e";
        assert_eq!(one_line(foreign), spelt);
        assert_eq!(harmless("two\nlines\u{7}\n"), "two\nlines\\u{7}\n");
        let rows = [vec![foreign.to_owned(), foreign.to_owned()]];
        assert_eq!(shown(&["id", "why"], &rows).lines().count(), 2);
        let json = serde_json::to_string_pretty(&[foreign]).unwrap();
        let safe = spelt_in_json(&json);
        assert!(!safe.chars().any(|letter| letter.is_control() && letter != '\n'));
        assert_eq!(serde_json::from_str::<[String; 1]>(&safe).unwrap(), [foreign]);
    }

    #[test]
    fn a_moment_says_how_far_away_it_is() {
        let now = datetime!(2030-01-31 12:00 UTC);
        let earlier = datetime!(2030-01-31 13:56:30 +2);
        assert_eq!(placed(earlier, now), "2030-01-31 11:56:30Z (3m 30s ago)");
        assert_eq!(
            placed(now + Duration::from_secs(90_000), now),
            "2030-02-01 13:00:00Z (in 1d 1h)"
        );
    }
}
