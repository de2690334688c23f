//! Plots as SVG: axes, lines with marks, bars. Colours come from the page's style, so that one drawing serves light and
//! dark.

use std::fmt::Write as _;

use super::table::escaped;
use crate::number;

/// Lines over two axes.
pub(super) struct Plot {
    /// Unique in the page.
    pub(super) id: String,
    pub(super) title: String,
    /// For who cannot see it.
    pub(super) about: String,
    pub(super) x: Axis,
    pub(super) y: Axis,
    pub(super) series: Vec<Series>,
}

/// From a value to a place.
pub(super) struct Axis {
    pub(super) label: String,
    pub(super) is_log: bool,
    pub(super) from: f64,
    pub(super) to: f64,
    /// Where the lines of the grid are, and what they say.
    pub(super) ticks: Vec<(f64, String)>,
    /// A value in the tip of a mark.
    pub(super) says: fn(f64) -> String,
}

pub(super) struct Series {
    pub(super) label: String,
    /// A place in the palette, and the mark's shape.
    pub(super) colour: usize,
    pub(super) kind: Kind,
    /// Where a part ends there is no value: nothing is drawn across.
    pub(super) parts: Vec<Vec<(f64, f64)>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A line with marks.
    Main,
    /// A thin line without: another run of the same.
    Faint,
    /// A dotted line with marks.
    Dotted,
    /// A thin line that is no measurement.
    Guide,
    /// Crosses without a line: what may not be used.
    Bad,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 74.0;
const RIGHT: f64 = 686.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 310.0;
/// In a picture of its own: over the plot, and under it for each row of names.
const HEAD: f64 = 36.0;
const NAME_ROW: f64 = 22.0;
const NAMES_IN_A_ROW: usize = 2;
/// More would hide the line.
const MARKS_MAX: usize = 150;
const COLOURS: usize = 6;

impl Axis {
    pub(super) fn log(label: &str, values: impl Iterator<Item = f64>, says: fn(f64) -> String) -> Self {
        let (least, greatest) = values
            .filter(|it| *it > 0.0 && it.is_finite())
            .fold((f64::INFINITY, 0.0), |(least, greatest), it| (it.min(least), it.max(greatest)));
        let (least, greatest) = if greatest > 0.0 { (least, greatest) } else { (1.0, 10.0) };
        let low = (least.log10() + 1e-9).floor() as i32;
        let high = ((greatest.log10() - 1e-9).ceil() as i32).max(low + 1);
        let steps: &[f64] = if high - low <= 2 { &[1.0, 2.0, 5.0] } else { &[1.0] };
        let to = 10f64.powi(high);
        let values = (low..=high).flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)));
        let ticks = values.filter(|it| *it <= to * 1.001).map(|it| (it, says(it))).collect();
        Self { label: label.to_owned(), is_log: true, from: 10f64.powi(low), to, ticks, says }
    }

    /// From nothing on.
    pub(super) fn linear(label: &str, greatest: f64, says: fn(f64) -> String) -> Self {
        let greatest = if greatest > 0.0 && greatest.is_finite() { greatest } else { 1.0 };
        let rough = greatest / 5.0;
        let decade = 10f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|it| it * decade).into_iter().find(|it| *it >= rough * 0.999);
        let step = step.unwrap_or(decade * 10.0);
        let count = (greatest / step - 1e-9).ceil().max(1.0);
        let ticks = (0..=count as u32).map(|n| f64::from(n) * step).map(|it| (it, says(it))).collect();
        Self { label: label.to_owned(), is_log: false, from: 0.0, to: step * count, ticks, says }
    }

    /// Percentiles: each step to the right leaves a tenth of the records.
    pub(super) fn nines(end: f64) -> Self {
        let end = end.max(1.0);
        let mut ticks = vec![(0.0, "0 %".to_owned()), (2f64.log10(), "50 %".to_owned())];
        ticks.extend((1..=end as u32).map(|nines| (f64::from(nines), percentile(f64::from(nines)))));
        Self {
            label: "percentile of records".to_owned(),
            is_log: false,
            from: 0.0,
            to: end,
            ticks,
            says: percentile,
        }
    }

    /// 0 to 1, or beyond where the axis does not reach.
    fn share(&self, value: f64) -> f64 {
        match self.is_log {
            true => (value / self.from).log10() / (self.to / self.from).log10(),
            false => (value - self.from) / (self.to - self.from),
        }
    }
}

fn percentile(nines: f64) -> String {
    let left = 100.0 * 10f64.powf(-nines);
    let decimals = (nines - 2.0 - 1e-9).ceil().max(0.0) as usize;
    format!("{:.decimals$} %", 100.0 - left)
}

impl Plot {
    pub(super) fn svg(&self) -> String {
        let id = escaped(&self.id);
        let mut out = format!(
            "<figure class=\"plot\" id=\"{id}\">\n<figcaption>{}</figcaption>\n\
             <svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>\n",
            escaped(&self.title),
            escaped(&self.title),
            escaped(&self.about)
        );
        self.draw(&mut out);
        out.push_str("</svg>\n");
        self.legend(&mut out);
        out.push_str("</figure>\n");
        out
    }

    /// The same as a picture of its own, title and legend in it, in the light or the dark that its viewer prefers.
    pub(super) fn file(&self, style: &str) -> String {
        let named: Vec<_> = self.series.iter().filter(|it| it.kind != Kind::Faint).collect();
        let rows = named.len().div_ceil(NAMES_IN_A_ROW) as f64;
        let height = HEAD + HEIGHT + rows * NAME_ROW;
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 -{HEAD} {WIDTH} {height}\" width=\"{WIDTH}\" \
             height=\"{height}\" role=\"img\" font-family=\"system-ui, sans-serif\">\n<title>{}</title><desc>{}</desc>\n\
             <style>\n{style}</style>\n<rect class=\"paper\" y=\"-{HEAD}\" width=\"{WIDTH}\" height=\"{height}\" rx=\"6\"/>\n\
             <text class=\"title\" x=\"{:.1}\" y=\"-10\" text-anchor=\"middle\">{}</text>\n",
            escaped(&self.title),
            escaped(&self.about),
            WIDTH / 2.0,
            escaped(&self.title)
        );
        self.draw(&mut out);
        let step = (RIGHT - LEFT) / NAMES_IN_A_ROW as f64;
        for (at, series) in named.into_iter().enumerate() {
            let x = LEFT + step * (at % NAMES_IN_A_ROW) as f64;
            let y = HEIGHT + NAME_ROW * (at / NAMES_IN_A_ROW) as f64;
            let _ = writeln!(
                out,
                "<g class=\"{}\" transform=\"translate({x:.1} {y:.1})\">{}<text class=\"label\" x=\"34\" y=\"10.5\">{}</text></g>",
                class_of(series),
                sample(series),
                escaped(&series.label)
            );
        }
        out.push_str("</svg>\n");
        out
    }

    fn draw(&self, out: &mut String) {
        self.grid(out);
        for series in self.series.iter().filter(|it| it.kind != Kind::Main) {
            self.one(series, out);
        }
        for series in self.series.iter().filter(|it| it.kind == Kind::Main) {
            self.one(series, out);
        }
    }

    /// How many marks are drawn.
    #[cfg(test)]
    pub(super) fn marks(&self) -> usize {
        self.svg().matches("class=\"pt\"").count()
    }

    fn grid(&self, out: &mut String) {
        for (value, says) in &self.x.ticks {
            let x = self.x_of(*value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{x:.1} {TOP}V{BOTTOM}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{}</text>",
                BOTTOM + 18.0,
                escaped(says)
            );
        }
        for (value, says) in &self.y.ticks {
            let y = self.y_of(*value);
            let _ = writeln!(
                out,
                "<path class=\"grid\" d=\"M{LEFT} {y:.1}H{RIGHT}\"/><text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\" \
                 text-anchor=\"end\">{}</text>",
                LEFT - 8.0,
                y + 4.0,
                escaped(says)
            );
        }
        let _ = writeln!(
            out,
            "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text class=\"label\" transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, RIGHT),
            HEIGHT - 8.0,
            escaped(&self.x.label),
            f64::midpoint(TOP, BOTTOM),
            escaped(&self.y.label)
        );
    }

    fn one(&self, series: &Series, out: &mut String) {
        let count: usize = series.parts.iter().map(Vec::len).sum();
        let class = match series.kind {
            Kind::Main => "main",
            Kind::Faint => "faint",
            Kind::Dotted => "dotted",
            Kind::Guide => "guide",
            Kind::Bad => "crosses",
        };
        let _ = writeln!(
            out,
            "<g class=\"s c{} {class}\" data-series=\"{}\" data-points=\"{count}\">",
            series.colour % COLOURS,
            escaped(&series.label)
        );
        if series.kind != Kind::Bad {
            for part in series.parts.iter().filter(|part| part.len() > 1) {
                let places: Vec<String> =
                    part.iter().map(|(x, y)| format!("{:.1} {:.1}", self.x_of(*x), self.y_of(*y))).collect();
                let _ = writeln!(out, "<path class=\"ln\" d=\"M{}\"/>", places.join("L"));
            }
        }
        let has_marks = !matches!(series.kind, Kind::Faint | Kind::Guide);
        for part in series.parts.iter().filter(|part| has_marks && (count <= MARKS_MAX || part.len() == 1)) {
            for (x, y) in part {
                self.mark(series, *x, *y, out);
            }
        }
        out.push_str("</g>\n");
    }

    fn mark(&self, series: &Series, x: f64, y: f64, out: &mut String) {
        let _ = writeln!(
            out,
            "<path class=\"pt\" d=\"M{:.1} {:.1}{}\"><title>{}: {}, {}</title></path>",
            self.x_of(x),
            self.y_of(y),
            shape(series),
            escaped(&series.label),
            escaped(&(self.x.says)(x)),
            escaped(&(self.y.says)(y))
        );
    }

    fn legend(&self, out: &mut String) {
        out.push_str("<ul class=\"legend\">\n");
        for series in self.series.iter().filter(|it| it.kind != Kind::Faint) {
            let _ = writeln!(
                out,
                "<li class=\"{}\"><svg viewBox=\"0 0 26 12\" aria-hidden=\"true\">{}</svg>{}</li>",
                class_of(series),
                sample(series),
                escaped(&series.label)
            );
        }
        out.push_str("</ul>\n");
    }

    fn x_of(&self, value: f64) -> f64 {
        LEFT + self.x.share(value).clamp(0.0, 1.0) * (RIGHT - LEFT)
    }

    fn y_of(&self, value: f64) -> f64 {
        BOTTOM - self.y.share(value).clamp(0.0, 1.0) * (BOTTOM - TOP)
    }
}

/// Of what stands for a series in a legend.
fn class_of(series: &Series) -> String {
    let class = match series.kind {
        Kind::Dotted => "dotted",
        Kind::Guide => "guide",
        Kind::Bad => "crosses",
        _ => "main",
    };
    format!("c{} {class}", series.colour % COLOURS)
}

/// What stands for a series in a legend: 26 wide, 12 high.
fn sample(series: &Series) -> String {
    let line = if series.kind == Kind::Bad { "" } else { "<path class=\"ln\" d=\"M0 6H26\"/>" };
    match series.kind {
        Kind::Guide => line.to_owned(),
        _ => format!("{line}<path class=\"sample\" d=\"M13 6{}\"/>", shape(series)),
    }
}

/// Colour is not the only difference.
fn shape(series: &Series) -> &'static str {
    if series.kind == Kind::Bad {
        return "m-4 -4l8 8m0 -8l-8 8";
    }
    match series.colour % COLOURS {
        0 => "m-3 0a3 3 0 1 0 6 0a3 3 0 1 0 -6 0",
        1 => "m-3 -3h6v6h-6z",
        2 => "m0 -4l4 4l-4 4l-4 -4z",
        3 => "m0 -4l4 7h-8z",
        4 => "m0 4l-4 -7h8z",
        _ => "m-4 -1h3v-3h2v3h3v2h-3v3h-2v-3h-3z",
    }
}

/// One bar of two parts, lying.
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) colour: usize,
    /// Name and length.
    pub(super) parts: [(&'static str, f64); 2],
    /// The least and the greatest of the whole over all runs.
    pub(super) range: (f64, f64),
}

pub(super) fn bars(id: &str, title: &str, about: &str, unit: &str, bars: &[Bar]) -> String {
    const ROW: f64 = 54.0;
    let greatest =
        bars.iter().map(|bar| bar.range.1.max(bar.parts[0].1 + bar.parts[1].1)).fold(0.0, f64::max);
    let axis = Axis::linear(unit, greatest, number::count);
    let height = ROW * bars.len() as f64 + 50.0;
    let end = height - 44.0;
    let place = |value: f64| LEFT + axis.share(value).clamp(0.0, 1.0) * (RIGHT - LEFT - 60.0);
    let (id, title) = (escaped(id), escaped(title));
    let mut out = format!(
        "<figure class=\"plot\" id=\"{id}\">\n<figcaption>{title}</figcaption>\n\
         <svg viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\n\
         <title id=\"{id}-t\">{title}</title><desc id=\"{id}-d\">{}</desc>\n",
        escaped(about)
    );
    for (value, says) in &axis.ticks {
        let x = place(*value);
        let _ = writeln!(
            out,
            "<path class=\"grid\" d=\"M{x:.1} 4V{end:.1}\"/><text class=\"tick\" x=\"{x:.1}\" y=\"{:.1}\" \
             text-anchor=\"middle\">{says}</text>",
            end + 16.0
        );
    }
    for (row, bar) in bars.iter().enumerate() {
        one_bar(bar, ROW * row as f64, place, &mut out);
    }
    let _ = writeln!(
        out,
        "<text class=\"label\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n</svg>\n</figure>",
        f64::midpoint(LEFT, RIGHT),
        height - 8.0,
        escaped(unit)
    );
    out
}

fn one_bar(bar: &Bar, top: f64, place: impl Fn(f64) -> f64, out: &mut String) {
    let [(first, user), (second, system)] = bar.parts;
    let (start, middle, stop) = (place(0.0), place(user), place(user + system));
    let total = user + system;
    let _ = writeln!(
        out,
        "<g class=\"s c{}\"><text class=\"tick\" x=\"{start:.1}\" y=\"{:.1}\">{}</text>\n\
         <rect class=\"pt bar\" x=\"{start:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\"><title>{first}: {}</title></rect>\n\
         <rect class=\"pt bar second\" x=\"{middle:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\"><title>{second}: {}</title></rect>",
        bar.colour % COLOURS,
        top + 18.0,
        escaped(&bar.label),
        top + 25.0,
        (middle - start).max(0.0),
        number::plain(user),
        top + 25.0,
        (stop - middle).max(0.0),
        number::plain(system),
    );
    let (least, greatest) = (place(bar.range.0), place(bar.range.1));
    let y = top + 34.0;
    let _ = writeln!(
        out,
        "<path class=\"range\" d=\"M{least:.1} {y:.1}H{greatest:.1}m0 -4v8M{least:.1} {:.1}v8\"/>\
         <text class=\"tick\" x=\"{:.1}\" y=\"{:.1}\">{}</text></g>",
        y - 4.0,
        greatest.max(stop) + 6.0,
        y + 4.0,
        number::plain(total)
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_axes_reach_over_all_values_and_no_further_than_a_decade() {
        let axis = Axis::log("t", [12.0, 0.0, 3400.0].into_iter(), number::time);
        assert_eq!((axis.from, axis.to), (10.0, 10_000.0));
        let says: Vec<&str> = axis.ticks.iter().map(|(_, says)| says.as_str()).collect();
        assert_eq!(says, ["10 µs", "100 µs", "1 ms", "10 ms"]);
        assert!((axis.share(10.0)).abs() < 1e-9 && (axis.share(10_000.0) - 1.0).abs() < 1e-9);
        let narrow = Axis::log("t", [100.0].into_iter(), number::time);
        assert_eq!((narrow.from, narrow.to), (100.0, 1000.0));
        assert_eq!(narrow.ticks.len(), 4);
        let nothing = Axis::log("t", std::iter::empty(), number::time);
        assert_eq!((nothing.from, nothing.to), (1.0, 10.0));
    }

    #[test]
    fn linear_axes_have_round_steps() {
        let check = |greatest: f64, to: f64, ticks: usize| {
            let axis = Axis::linear("n", greatest, number::count);
            assert!((axis.to - to).abs() < to * 1e-9, "{greatest}: {}", axis.to);
            assert_eq!(axis.ticks.len(), ticks, "{greatest}");
        };
        check(100_000.0, 100_000.0, 6);
        check(73.0, 80.0, 5);
        check(0.0, 1.0, 6);
        check(1.0, 1.0, 6);
    }

    #[test]
    fn percentiles_are_named_by_their_nines() {
        for (nines, expected) in
            [(0.0, "0 %"), (1.0, "90 %"), (2.0, "99 %"), (3.0, "99.9 %"), (4.5, "99.997 %")]
        {
            assert_eq!(percentile(nines), expected);
        }
    }

    #[test]
    fn nothing_is_drawn_across_a_gap_and_every_mark_lies_inside() {
        let parts = vec![vec![(0.0, 10.0), (1.0, 20.0)], vec![(3.0, 1e9)]];
        let series = Series { label: "a <b>".into(), colour: 7, kind: Kind::Main, parts };
        let plot = Plot {
            id: "p".into(),
            title: "t & u".into(),
            about: "d".into(),
            x: Axis::linear("x", 3.0, number::plain),
            y: Axis::log("y", [10.0, 100.0].into_iter(), number::time),
            series: vec![series],
        };
        let svg = plot.svg();
        assert_eq!((plot.marks(), svg.matches("class=\"ln\" d=\"M74").count()), (3, 1));
        assert!(
            svg.contains("a &lt;b&gt;") && svg.contains("t &amp; u") && svg.contains("class=\"s c1 main\"")
        );
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert!(
            svg.contains(&format!("M{RIGHT:.1} {TOP:.1}")),
            "what is beyond an axis sticks to its end:\n{svg}"
        );
    }
}
