//! What was measured: rows while it runs, the figures as JSON beside the build, and at the end the ratios and the bars.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::json;

use crate::Fail;
use crate::plot::{self, Line, Row, Spread};
use crate::scenarios::Scenario;

/// Whoever reads may leave; the servers are stopped all the same, and the exit code tells.
pub(crate) fn tell(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// One figure of all runs, ours and the base's.
#[derive(Clone, Debug, Serialize)]
struct Figure {
    name: &'static str,
    ours: Vec<f64>,
    base: Vec<f64>,
}

/// What a figure should be. An aim is what the best would have.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) enum Wanted {
    AtLeast { bar: f64, aim: f64 },
    AtMost { bar: f64, aim: f64 },
}

#[derive(Clone, Debug, Serialize)]
struct Judged {
    name: String,
    value: f64,
    wanted: Wanted,
}

#[derive(Default)]
pub(crate) struct Report {
    /// Of the scenario that is being measured.
    figures: Vec<Figure>,
    columns: [String; 2],
    /// By their unit.
    panels: Vec<(String, Vec<Line>)>,
    judged: Vec<Judged>,
    kept: usize,
    ratios: Vec<(String, f64)>,
}

impl Report {
    pub(crate) fn begin_table(&mut self, ours: &str, base: &str) {
        self.columns = [ours.to_owned(), base.to_owned()];
        tell(&format!(
            "\n  {:<30}{ours:>12}{:>18}{base:>12}{:>18}{:>8}",
            "median (least - most)", "", "", "ratio"
        ));
    }

    /// Prints both with their spread; gives the ratio of the medians.
    pub(crate) fn compare(&mut self, name: &'static str, digits: usize, ours: &[f64], base: &[f64]) -> f64 {
        let of = |all: &[f64]| {
            if all.is_empty() {
                return format!("{:>12}{:>18}", "", "");
            }
            let (least, most) = (percentile(all, 0.0), percentile(all, 1.0));
            // One run has none.
            let spread = if all.len() > 1 {
                format!("({least:.digits$} - {most:.digits$})")
            } else {
                String::new()
            };
            format!("{:>12.digits$}{spread:>18}", median(all))
        };
        let ratio = median(ours) / median(base);
        let shown = if ratio.is_finite() {
            format!("{ratio:.2}")
        } else {
            String::new()
        };
        tell(&format!("  {name:<30}{}{}{shown:>8}", of(ours), of(base)));
        self.figures.push(Figure {
            name,
            ours: ours.to_vec(),
            base: base.to_vec(),
        });
        ratio
    }

    /// Something that went on in time.
    pub(crate) fn lines(&mut self, unit: &str, lines: Vec<Line>) {
        self.panels.push((unit.to_owned(), lines));
    }

    pub(crate) fn ratio(&mut self, name: &str, value: f64) {
        self.ratios.push((name.to_owned(), value));
    }

    pub(crate) fn bar(&mut self, name: &str, value: f64, wanted: Wanted) {
        self.judged.push(Judged {
            name: name.to_owned(),
            value,
            wanted,
        });
    }

    /// The scenario is over: its figures go into a file of their own, and into pictures.
    pub(crate) fn keep(&mut self, scenario: Scenario) -> Result<(), Fail> {
        let file = folder()?.join(format!("{}.json", scenario.name()));
        let judged = &self.judged[self.kept..];
        let text = serde_json::to_string_pretty(&json!({
            "scenario": scenario.name(),
            "what": scenario.what(),
            "unix_time": sexton::clock::now().unix_timestamp(),
            "columns": self.columns,
            "figures": self.figures,
            "lines": self.panels,
            "bars": judged,
        }))?;
        std::fs::write(&file, text + "\n")?;
        let title = [scenario.name(), scenario.what()];
        if !self.figures.is_empty() {
            std::fs::write(file.with_extension("svg"), self.bars(title))?;
        }
        if !self.panels.is_empty() {
            let picture = plot::lines(title, &self.panels);
            std::fs::write(file.with_extension("over-time.svg"), picture)?;
        }
        tell(&format!("  in {}\n", file.display()));
        self.kept = self.judged.len();
        self.figures.clear();
        self.panels.clear();
        Ok(())
    }

    fn bars(&self, title: [&str; 2]) -> String {
        let spread = |all: &[f64]| {
            (!all.is_empty()).then(|| Spread {
                least: percentile(all, 0.0),
                median: median(all),
                most: percentile(all, 1.0),
            })
        };
        let rows: Vec<Row> = self
            .figures
            .iter()
            .map(|figure| Row {
                name: figure.name,
                both: [spread(&figure.ours), spread(&figure.base)],
            })
            .collect();
        plot::bars(title, [&self.columns[0], &self.columns[1]], &rows)
    }

    /// A bar that is missed is said; it is no failure of the measuring.
    pub(crate) fn judge(&self) -> ExitCode {
        for judged in &self.judged {
            let Judged { name, value, wanted } = judged;
            tell(&format!(
                "{:<7} {name}: {value:.3}; {}",
                wanted.word(*value),
                wanted.said()
            ));
        }
        tell("");
        for (name, value) in &self.ratios {
            tell(&format!("ratio {name} {value:.3}"));
        }
        ExitCode::SUCCESS
    }
}

impl Wanted {
    fn word(self, value: f64) -> &'static str {
        let (kept, reached) = match self {
            Wanted::AtLeast { bar, aim } => (value >= bar, value >= aim),
            Wanted::AtMost { bar, aim } => (value <= bar, value <= aim),
        };
        match (kept, reached) {
            (_, true) => "aim",
            (true, false) => "bar",
            (false, false) => "MISSED",
        }
    }

    fn said(self) -> String {
        match self {
            Wanted::AtLeast { bar, aim } => format!("wanted at least {bar}, better {aim}"),
            Wanted::AtMost { bar, aim } => format!("wanted at most {bar}, better {aim}"),
        }
    }
}

/// Beside the build that was measured.
pub(crate) fn folder() -> Result<PathBuf, Fail> {
    let exe = std::env::current_exe()?;
    let target = exe
        .ancestors()
        .nth(2)
        .ok_or("the program stands in no folder of a build")?;
    let folder = target.join("bench");
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}

pub(crate) fn median(all: &[f64]) -> f64 {
    percentile(all, 0.5)
}

/// Between two that are there, in proportion. Of none, not a number.
pub(crate) fn percentile(all: &[f64], share: f64) -> f64 {
    let mut sorted = all.to_vec();
    sorted.sort_by(f64::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else {
        return f64::NAN;
    };
    let place = share * last as f64;
    let (below, above) = (sorted[place.floor() as usize], sorted[place.ceil() as usize]);
    below + (above - below) * place.fract()
}
