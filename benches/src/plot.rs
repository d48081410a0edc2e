//! Figures as pictures: bars where two are compared, lines where something goes on in time.

use std::fmt::Write;

use crate::svg::{WIDTH, legend, line, page, text};

/// Where bars and axes begin; left of it stand names and numbers.
const LEFT: f64 = 230.0;
const RIGHT: f64 = 90.0;
const TITLE: f64 = 78.0;
const ROW: f64 = 46.0;
const BAR: f64 = 13.0;
const PANEL: f64 = 190.0;
/// Of a panel: the rest is for the axis below it.
const CANVAS: f64 = 130.0;
const TICKS: usize = 4;

/// The median of some runs, with the least and the most.
#[derive(Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) least: f64,
    pub(crate) median: f64,
    pub(crate) most: f64,
}

pub(crate) struct Row<'a> {
    /// With its unit.
    pub(crate) name: &'a str,
    pub(crate) both: [Option<Spread>; 2],
}

/// Points over seconds.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Line {
    name: String,
    points: Vec<(f64, f64)>,
}

impl Line {
    pub(crate) fn of(name: &str, points: Vec<(f64, f64)>) -> Line {
        let name = name.to_owned();
        Line { name, points }
    }
}

/// Each row has a scale of its own, since each has another unit.
pub(crate) fn bars(title: [&str; 2], names: [&str; 2], rows: &[Row<'_>]) -> String {
    let mut body = legend(
        names.into_iter().filter(|name| !name.is_empty()),
        LEFT,
        TITLE - 18.0,
    );
    for (nth, row) in rows.iter().enumerate() {
        let top = TITLE + nth as f64 * ROW;
        text(&mut body, "end", LEFT - 10.0, top + 20.0, row.name);
        let most = row.both.iter().flatten().map(|one| one.most).fold(0.0, f64::max);
        let scale = (WIDTH - LEFT - RIGHT) / most.max(f64::MIN_POSITIVE);
        for (which, one) in row.both.iter().enumerate() {
            let Some(Spread { least, median, most }) = *one else {
                continue;
            };
            let y = top + 4.0 + which as f64 * (BAR + 3.0);
            let _ = write!(
                body,
                "<rect class='c{which}' x='{LEFT}' y='{y:.1}' width='{:.1}' height='{BAR}'/>",
                median * scale
            );
            let whisker = [LEFT + least * scale, LEFT + most * scale];
            line(
                &mut body,
                "whisker",
                whisker[0],
                y + BAR / 2.0,
                whisker[1],
                y + BAR / 2.0,
            );
            text(&mut body, "", whisker[1] + 6.0, y + 11.0, &short(median));
        }
        line(&mut body, "axis", LEFT, top, LEFT, top + ROW);
    }
    page(title, TITLE + rows.len() as f64 * ROW + 12.0, &body)
}

/// A panel for each unit, one below the other, over the same time.
pub(crate) fn lines(title: [&str; 2], panels: &[(String, Vec<Line>)]) -> String {
    let mut body = String::new();
    for (nth, (unit, lines)) in panels.iter().enumerate() {
        let top = TITLE + nth as f64 * PANEL;
        let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
        body += &legend(names.into_iter(), LEFT, top - 10.0);
        let points = || lines.iter().flat_map(|line| &line.points);
        let longest = points().map(|point| point.0).fold(1.0, f64::max);
        let highest = round_above(points().map(|point| point.1).fold(f64::MIN_POSITIVE, f64::max));
        let left = LEFT / 2.0;
        let x = |at: f64| left + at / longest * (WIDTH - left - RIGHT / 2.0);
        let y = |value: f64| top + CANVAS - value / highest * CANVAS;
        for tick in 0..=TICKS {
            let share = tick as f64 / TICKS as f64;
            let (at, value) = (share * longest, share * highest);
            line(&mut body, "grid", left, y(value), x(longest), y(value));
            text(&mut body, "end", left - 6.0, y(value) + 4.0, &short(value));
            text(
                &mut body,
                "mid",
                x(at),
                top + CANVAS + 18.0,
                &format!("{} s", short(at)),
            );
        }
        text(&mut body, "", 8.0, top - 10.0, unit);
        line(&mut body, "axis", left, y(0.0), x(longest), y(0.0));
        line(&mut body, "axis", left, y(0.0), left, top);
        for (which, one) in lines.iter().enumerate() {
            let path: Vec<String> = one
                .points
                .iter()
                .map(|(at, value)| format!("{:.1},{:.1}", x(*at), y(*value)))
                .collect();
            let _ = write!(
                body,
                "<polyline class='l{}' points='{}'/>",
                which % 2,
                path.join(" ")
            );
        }
    }
    page(title, TITLE + panels.len() as f64 * PANEL, &body)
}

/// So that each tick is a number that people like.
fn round_above(highest: f64) -> f64 {
    let step = highest / TICKS as f64;
    let power = 10.0_f64.powf(step.log10().floor());
    let rounds = [1.0, 2.0, 2.5, 5.0, 10.0].map(|digit| digit * power);
    let round = rounds.into_iter().find(|round| *round >= step);
    round.unwrap_or(step) * TICKS as f64
}

/// Three digits that count, or all that stand before the point.
fn short(value: f64) -> String {
    let digits = match value.abs() {
        big if big >= 100.0 => 0,
        some if some >= 10.0 => 1,
        0.0 => 0,
        few if few >= 0.1 => 2,
        _ => 4,
    };
    format!("{value:.digits$}")
}
