//! How far it is: a bar on a terminal, plain lines elsewhere.

use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};

use crate::say::say;

/// Plain lines are for logs: one for each tenth of the way.
const PLAIN_LINES: usize = 10;

pub(crate) struct Progress {
    bar: ProgressBar,
    plain: bool,
    began: Instant,
    wanted: usize,
    shown: usize,
}

impl Progress {
    pub(crate) fn new(wanted: usize) -> Self {
        let bar = ProgressBar::new(u64::try_from(wanted).unwrap_or(u64::MAX));
        if let Ok(style) =
            ProgressStyle::with_template("  {bar:40.green} {pos}/{len} outcomes  {elapsed}  {msg}")
        {
            bar.set_style(style);
        }
        Progress {
            plain: bar.is_hidden(),
            bar,
            began: Instant::now(),
            wanted,
            shown: 0,
        }
    }

    pub(crate) fn reached(&mut self, heard: usize) {
        self.bar.set_position(u64::try_from(heard).unwrap_or(u64::MAX));
        let line = heard * PLAIN_LINES / self.wanted.max(1);
        if self.plain && line > self.shown {
            self.shown = line;
            say!(
                "  {:5.1} s  {heard}/{} outcomes",
                self.began.elapsed().as_secs_f64(),
                self.wanted
            );
        }
    }

    /// Something happened that is worth a line of its own.
    pub(crate) fn say(&self, what: &str) {
        if self.plain {
            say!("  {:5.1} s  {what}", self.began.elapsed().as_secs_f64());
        } else {
            self.bar.println(format!("  {what}"));
        }
    }

    pub(crate) fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    pub(crate) fn end(&self) {
        self.bar.finish_and_clear();
    }
}
