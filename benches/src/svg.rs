//! SVG by hand: a page in the colours of whoever looks, light or dark, and what stands on it.

use std::fmt::Write;

pub(crate) const WIDTH: f64 = 760.0;

const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}.t{font-size:15px;font-weight:600}.end{text-anchor:end}\
.mid{text-anchor:middle}.bg{fill:#fff}.c0{fill:#1f6fb2}.c1{fill:#b9632a}.l0{stroke:#1f6fb2}.l1{stroke:#b9632a}\
.l0,.l1{fill:none;stroke-width:1.5}.axis{stroke:#888}.whisker{stroke:#222}.grid{stroke:#8884}\
@media(prefers-color-scheme:dark){text{fill:#e6e6e6}.bg{fill:#15181c}.c0{fill:#5aa9e6}.c1{fill:#e8965a}\
.l0{stroke:#5aa9e6}.l1{stroke:#e8965a}.whisker{stroke:#eee}}";

/// A name, and below it what it is.
pub(crate) fn page([name, what]: [&str; 2], height: f64, body: &str) -> String {
    let mut head = String::new();
    text(&mut head, "t", 8.0, 20.0, name);
    text(&mut head, "", 8.0, 38.0, what);
    format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {WIDTH} {height}' width='{WIDTH}' height='{height}'>\
         <style>{STYLE}</style><rect class='bg' width='100%' height='100%'/>{head}{body}</svg>\n"
    )
}

pub(crate) fn legend<'a>(names: impl Iterator<Item = &'a str>, left: f64, y: f64) -> String {
    let mut body = String::new();
    for (which, name) in names.enumerate() {
        let x = left + which as f64 * (WIDTH - left) / 2.0;
        let _ = write!(
            body,
            "<rect class='c{}' x='{x}' y='{}' width='10' height='10'/>",
            which % 2,
            y - 9.0
        );
        text(&mut body, "", x + 15.0, y, name);
    }
    body
}

pub(crate) fn line(body: &mut String, class: &str, x1: f64, y1: f64, x2: f64, y2: f64) {
    let _ = write!(
        body,
        "<line class='{class}' x1='{x1:.1}' y1='{y1:.1}' x2='{x2:.1}' y2='{y2:.1}'/>"
    );
}

pub(crate) fn text(body: &mut String, class: &str, x: f64, y: f64, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let _ = write!(body, "<text class='{class}' x='{x:.1}' y='{y:.1}'>{words}</text>");
}
