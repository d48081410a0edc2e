//! Words on the terminal: aligned tables, moments a person can place, and JSON.

use std::io::Write;
use std::time::Duration;

use serde::Serialize;
use time::OffsetDateTime;
use time::macros::format_description;

/// Foreign ids can be half a page; what is cut here stands whole in `--json` and in `show`.
const CELL_MAX_CHARS: usize = 48;

/// To stdout. Whoever reads may have left (`| head`); that is no error of ours.
pub(super) fn out(text: &str) {
    let mut stdout = std::io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

pub(super) fn line(text: &str) {
    out(&format!("{text}\n"));
}

pub(super) fn json(value: &impl Serialize) {
    // Maps with text for keys, numbers and text: these always have a JSON form.
    let text = serde_json::to_string_pretty(value).unwrap_or_default();
    line(&text);
}

/// Columns as wide as their widest cell; the last one may run on.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) {
    let mut all: Vec<Vec<String>> = vec![head.iter().map(|name| (*name).to_owned()).collect()];
    all.extend(rows.iter().map(|row| {
        let last = row.len().saturating_sub(1);
        row.iter()
            .enumerate()
            .map(|(at, cell)| if at == last { cell.clone() } else { cut(cell) })
            .collect()
    }));
    out(&aligned(&all));
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
