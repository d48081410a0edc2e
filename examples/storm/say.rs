//! Words on the terminal. Whoever reads may leave (`| head`); the run goes on, ends what it started, and its exit code
//! still tells.

use std::fmt::Arguments;
use std::io::Write;

macro_rules! say {
    ($($words:tt)*) => { crate::say::to_stdout(format_args!($($words)*)) };
}
pub(crate) use say;

pub(crate) fn to_stdout(words: Arguments<'_>) {
    let _ = writeln!(std::io::stdout(), "{words}");
}

/// What went wrong.
pub(crate) fn to_stderr(words: Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}
