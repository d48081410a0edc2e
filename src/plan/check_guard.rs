//! The rules for a step's guard: what it looks at must still be so when the statement comes, so it locks it; it waits for
//! whoever has it, and it looks at this target only.

use super::Guard;
use super::check::Check;
use super::check_names::{Scope, query, waits};
use super::columns::Columns;
use super::source::Part;

/// It is told to whoever asked, and stands in every event about it.
const OTHERWISE_MAX_CHARS: usize = 200;

pub(super) fn check(check: &mut Check<'_>, part: Part, guard: &Guard, scope: &Scope<'_>) {
    const KEY: &str = "guard.sql";
    query(check, part, KEY, &guard.sql, scope);
    // It would see no row, and the statement would then wait for the same row and take it unseen.
    waits(check, part, KEY, &guard.sql);
    if !guard.sql.locks() {
        let text = "guard.sql does not lock the row it looks at, which may change before the statement comes; wanted `… for \
                    update` at its end";
        check.found(part, KEY, text);
    }
    if let Some(count) = Columns::count(&guard.sql)
        && count != 1
    {
        let text = format!("guard.sql gives {count} columns; wanted one, a boolean");
        check.found(part, KEY, text);
    }
    let said = guard.otherwise.chars().count();
    if said > OTHERWISE_MAX_CHARS {
        let text =
            format!("guard.otherwise is longer than {OTHERWISE_MAX_CHARS} characters; wanted a sentence");
        check.found(part, "guard.otherwise", text);
    }
    if guard.otherwise.contains(char::is_control) || guard.otherwise.trim().is_empty() {
        let text = "guard.otherwise is no line that can be told; wanted a sentence without line breaks";
        check.found(part, "guard.otherwise", text);
    }
}
