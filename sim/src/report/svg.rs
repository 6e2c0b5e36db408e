//! Draws plots as SVG that stands in a page: colours are the page's, so that they follow its theme.

use std::fmt::Write as _;

use super::page::escape;
use super::plot::{Colour, LayerKind, Plot, PlotLayer, PlotPoint};
use super::scale::{AxisScale, LaidAxis};
use crate::stats::float;

/// Width of every plot; the page scales it.
const WIDTH: f64 = 480.0;
const HEIGHT: f64 = 310.0;
/// For the title of the y axis.
const TOP: f64 = 30.0;
/// For the ticks and the title of the x axis.
const BOTTOM: f64 = 46.0;
/// Height of a name on an axis of names.
const NAME_HEIGHT: f64 = 30.0;
/// A letter is about so wide.
const LETTER: f64 = 8.1;
/// Longest name in letters, on an axis or beside a line.
const NAME_LETTERS: usize = 18;
/// Names are at least so far apart.
const LINE_HEIGHT: f64 = 15.0;
/// Most names beside lines; more are in a legend.
const ENDS_MAX: usize = 5;
/// Colours of the palette.
const COLOURS: usize = 7;

/// A plot as it lies on the page.
struct Sheet<'a> {
    plot: &'a Plot,
    x: LaidAxis,
    y: LaidAxis,
    height: f64,
    svg: String,
}

/// A plot as a figure: title, legend, drawing, and what it shows.
pub(super) fn figure(plot: &Plot) -> String {
    let legend = match has_ends(plot) {
        true => String::new(),
        false => legend(plot),
    };
    format!(
        "<figure>\n<figcaption>{}</figcaption>\n{legend}{}\n<p>{}</p>\n</figure>\n",
        escape(&plot.title),
        drawing(plot),
        escape(&plot.about)
    )
}

/// Whether every line has its name beside its end.
fn has_ends(plot: &Plot) -> bool {
    let named = || plot.layers.iter().filter(|layer| !layer.name.is_empty());
    let fits =
        |layer: &PlotLayer| layer.kind.has_end() && layer.name.chars().count() <= NAME_LETTERS;
    named().count() <= ENDS_MAX && named().all(fits)
}

fn drawing(plot: &Plot) -> String {
    let mut sheet = Sheet::lay(plot);
    let _ = writeln!(
        sheet.svg,
        "<svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"{}\">",
        sheet.height,
        escape(&plot.title)
    );
    sheet.axes();
    for (place, layer) in plot.layers.iter().enumerate() {
        sheet.layer(place, layer);
    }
    sheet.rules();
    if has_ends(plot) {
        sheet.ends();
    }
    sheet.svg.push_str("</svg>");
    sheet.svg
}

fn legend(plot: &Plot) -> String {
    let mut html = String::new();
    for (place, layer) in plot.layers.iter().enumerate() {
        if layer.name.is_empty() {
            continue;
        }
        let swatch = match layer.kind {
            LayerKind::Area | LayerKind::Bars => {
                "<rect class=\"area\" x=\"1\" y=\"2\" width=\"22\" height=\"10\"/>".to_owned()
            }
            LayerKind::Cells(shade) => {
                format!(
                    "<rect class=\"cell s{shade}\" x=\"1\" y=\"2\" width=\"22\" height=\"10\"/>"
                )
            }
            LayerKind::Dots | LayerKind::Ranges => mark(place, 12.0, 7.0, "dot"),
            LayerKind::Circles => mark(place, 12.0, 7.0, "circle"),
            LayerKind::Line | LayerKind::Steps | LayerKind::Intervals => {
                format!("<path class=\"line {}\" d=\"M0 7H24\"/>", dash(plot, place))
            }
        };
        let _ = write!(
            html,
            "<li><svg class=\"{}\" viewBox=\"0 0 24 14\" aria-hidden=\"true\">{swatch}</svg>\
             {}</li>",
            class_of(layer.colour),
            escape(&layer.name)
        );
    }
    match html.is_empty() {
        true => html,
        false => format!("<ul class=\"legend\">{html}</ul>\n"),
    }
}

impl<'a> Sheet<'a> {
    fn lay(plot: &'a Plot) -> Self {
        let ends = plot.layers.iter().map(|layer| layer.name.chars().count());
        let right = match has_ends(plot) {
            true => 14.0 + LETTER * float(ends.max().unwrap_or(0)),
            false => 16.0,
        };
        let (left, height) = match &plot.y.scale {
            AxisScale::Named(names) => {
                let longest = names.iter().map(|name| name.chars().count()).max();
                let longest = longest.unwrap_or(0).min(NAME_LETTERS);
                let rows = float(names.len()) * NAME_HEIGHT;
                (16.0 + LETTER * float(longest), TOP + rows + BOTTOM)
            }
            _ => (54.0, HEIGHT),
        };
        let all = || plot.layers.iter();
        let lying = |layer: &&PlotLayer| layer.kind.lies();
        let ends_of = |point: &PlotPoint| [point.low, point.high].into_iter().flatten();
        let points = |layer: &'a PlotLayer| layer.points.iter();
        let x = all().flat_map(points).map(|point| point.x);
        let x = x.chain(all().filter(lying).flat_map(points).flat_map(ends_of));
        let x = x.chain(plot.rules.iter().map(|rule| rule.x));
        let y = all().flat_map(points).map(|point| point.y);
        let is_map = |layer: &PlotLayer| matches!(layer.kind, LayerKind::Cells(_));
        let upright = all().filter(|layer| !layer.kind.lies() && !is_map(layer));
        let y = y.chain(upright.flat_map(points).flat_map(ends_of));
        Self {
            plot,
            x: plot.x.lay(x, left, WIDTH - right.max(16.0)),
            y: plot.y.lay(y, height - BOTTOM, TOP),
            height,
            svg: String::new(),
        }
    }

    /// Grid, ticks and titles.
    fn axes(&mut self) {
        let (left, right) = (self.x.from, self.x.to);
        let (bottom, top) = (self.y.from, self.y.to);
        let mut grid = String::new();
        let mut ticks = String::new();
        for (value, text) in self.x.ticks() {
            let x = self.x.at(value);
            let _ = write!(grid, "M{x:.1} {bottom:.1}V{top:.1}");
            let _ = write!(
                ticks,
                "<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{text}</text>",
                bottom + 17.0
            );
        }
        for (value, text) in self.y.ticks() {
            let y = self.y.at(value);
            let _ = write!(grid, "M{left:.1} {y:.1}H{right:.1}");
            let _ = write!(
                ticks,
                "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                left - 7.0,
                y + 4.5,
                escape(&shortened(&text))
            );
        }
        let _ = writeln!(self.svg, "<path class=\"grid\" d=\"{grid}\"/>");
        let _ = writeln!(self.svg, "<g class=\"ticks\">{ticks}</g>");
        let _ = writeln!(
            self.svg,
            "<path class=\"axis\" d=\"M{left:.1} {top:.1}V{bottom:.1}H{right:.1}\"/>"
        );
        let _ = writeln!(
            self.svg,
            "<text class=\"y title\" x=\"4\" y=\"16\">{}</text>\n\
             <text class=\"x title\" x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            escape(&self.plot.y.title()),
            f64::midpoint(left, right),
            self.height - 8.0,
            escape(&self.plot.x.title())
        );
    }

    fn layer(&mut self, place: usize, layer: &PlotLayer) {
        let _ = writeln!(self.svg, "<g class=\"{}\">", class_of(layer.colour));
        match layer.kind {
            LayerKind::Line | LayerKind::Steps => {
                self.band(layer, "band");
                self.line(place, layer);
            }
            LayerKind::Area => self.band(layer, "area"),
            LayerKind::Dots => self.marks(place, layer, "dot"),
            LayerKind::Circles => self.marks(place, layer, "circle"),
            LayerKind::Intervals => {
                self.line(place, layer);
                self.intervals(layer);
                self.marks(place, layer, "dot");
            }
            LayerKind::Ranges => {
                self.intervals(layer);
                self.marks(place, layer, "dot");
            }
            LayerKind::Bars => self.bars(layer),
            LayerKind::Cells(shade) => self.cells(layer, shade),
        }
        self.svg.push_str("</g>\n");
    }

    /// A path through points, each value to the next point where there are steps.
    fn path(&self, kind: LayerKind, points: impl Iterator<Item = (f64, f64)>) -> String {
        let mut path = String::new();
        for (x, y) in points {
            let (x, y) = (self.x.at(x), self.y.at(y));
            let _ = match (path.is_empty(), kind) {
                (true, _) => write!(path, "M{x:.1} {y:.1}"),
                (false, LayerKind::Steps) => write!(path, "H{x:.1}V{y:.1}"),
                (false, _) => write!(path, "L{x:.1} {y:.1}"),
            };
        }
        path
    }

    fn line(&mut self, place: usize, layer: &PlotLayer) {
        let points = layer.points.iter().map(|point| (point.x, point.y));
        let path = self.path(layer.kind, points);
        let dash = dash(self.plot, place);
        let _ = writeln!(self.svg, "<path class=\"line {dash}\" d=\"{path}\"/>");
    }

    /// What is between low and high ends.
    fn band(&mut self, layer: &PlotLayer, class: &str) {
        let ends = |point: &PlotPoint| Some((point.x, point.low?, point.high?));
        let ends: Vec<(f64, f64, f64)> = layer.points.iter().filter_map(ends).collect();
        if ends.len() < 2 {
            return;
        }
        let mut highs: Vec<(f64, f64)> = Vec::new();
        let mut lows: Vec<(f64, f64)> = Vec::new();
        for (x, low, high) in ends {
            if layer.kind == LayerKind::Steps
                && let (Some(before), Some(below)) = (highs.last().copied(), lows.last().copied())
            {
                highs.push((x, before.1));
                lows.push((x, below.1));
            }
            highs.push((x, high));
            lows.push((x, low));
        }
        let around = highs.into_iter().chain(lows.into_iter().rev());
        let path = self.path(LayerKind::Line, around);
        let _ = writeln!(self.svg, "<path class=\"{class}\" d=\"{path}Z\"/>");
    }

    fn marks(&mut self, place: usize, layer: &PlotLayer, class: &str) {
        for point in &layer.points {
            let (x, y) = (self.x.at(point.x), self.y.at(point.y));
            self.svg.push_str(&mark(place, x, y, class));
        }
        self.svg.push('\n');
    }

    fn intervals(&mut self, layer: &PlotLayer) {
        let mut path = String::new();
        for point in &layer.points {
            let (Some(low), Some(high)) = (point.low, point.high) else {
                continue;
            };
            let _ = if layer.kind.lies() {
                let (low, high, y) = (self.x.at(low), self.x.at(high), self.y.at(point.y));
                write!(
                    path,
                    "M{low:.1} {y:.1}H{high:.1}M{low:.1} {:.1}v8M{high:.1} {:.1}v8",
                    y - 4.0,
                    y - 4.0
                )
            } else {
                let (low, high, x) = (self.y.at(low), self.y.at(high), self.x.at(point.x));
                write!(
                    path,
                    "M{x:.1} {low:.1}V{high:.1}M{:.1} {low:.1}h8M{:.1} {high:.1}h8",
                    x - 4.0,
                    x - 4.0
                )
            };
        }
        let _ = writeln!(self.svg, "<path class=\"interval\" d=\"{path}\"/>");
    }

    fn bars(&mut self, layer: &PlotLayer) {
        for point in &layer.points {
            let (Some(low), Some(high)) = (point.low, point.high) else {
                continue;
            };
            let (low, high, y) = (self.x.at(low), self.x.at(high), self.y.at(point.y));
            let _ = writeln!(
                self.svg,
                "<rect class=\"area\" x=\"{low:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"18\"/>",
                y - 9.0,
                (high - low).max(0.0)
            );
        }
    }

    fn cells(&mut self, layer: &PlotLayer, shade: usize) {
        let mut path = String::new();
        for point in &layer.points {
            let side = point.high.unwrap_or_default();
            let [left, right] = [point.x, point.x + side].map(|x| self.x.at(x));
            let [bottom, top] = [point.y, point.y + side].map(|y| self.y.at(y));
            let _ = write!(
                path,
                "M{left:.1} {bottom:.1}H{right:.1}V{top:.1}H{left:.1}Z"
            );
        }
        let _ = writeln!(self.svg, "<path class=\"cell s{shade}\" d=\"{path}\"/>");
    }

    fn rules(&mut self) {
        for (place, rule) in self.plot.rules.iter().enumerate() {
            let (x, bottom, top) = (self.x.at(rule.x), self.y.from, self.y.to);
            // To the side where there is room.
            let (side, anchor) = match x > f64::midpoint(self.x.from, self.x.to) {
                true => (-5.0, "end"),
                false => (5.0, "start"),
            };
            let _ = writeln!(
                self.svg,
                "<path class=\"rule\" d=\"M{x:.1} {bottom:.1}V{top:.1}\"/>\n<text class=\"rule\" \
                 x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
                x + side,
                top + 12.0 + LINE_HEIGHT * float(place),
                escape(&rule.name)
            );
        }
    }

    /// Names beside the ends of lines, apart from each other.
    fn ends(&mut self) {
        let last = |layer: &'a PlotLayer| {
            let named = !layer.name.is_empty();
            layer
                .points
                .last()
                .filter(|_| named)
                .map(|point| (layer, point.y))
        };
        let ends = self.plot.layers.iter().filter_map(last);
        let mut ends: Vec<(&PlotLayer, f64)> =
            ends.map(|(layer, y)| (layer, self.y.at(y) + 4.5)).collect();
        ends.sort_by(|a, b| a.1.total_cmp(&b.1));
        let mut places: Vec<f64> = ends.iter().map(|(_, y)| *y).collect();
        spread(&mut places, self.y.to + 4.0, self.y.from + 4.0);
        for ((layer, _), y) in ends.iter().zip(places) {
            let _ = writeln!(
                self.svg,
                "<text class=\"end {}\" x=\"{:.1}\" y=\"{y:.1}\">{}</text>",
                class_of(layer.colour),
                self.x.to + 8.0,
                escape(&layer.name)
            );
        }
    }
}

/// Moves ordered places apart, within these bounds as far as there is room.
fn spread(places: &mut [f64], top: f64, bottom: f64) {
    let mut least = top;
    for place in places.iter_mut() {
        *place = place.max(least);
        least = *place + LINE_HEIGHT;
    }
    let mut most = bottom;
    for place in places.iter_mut().rev() {
        *place = place.min(most);
        most = *place - LINE_HEIGHT;
    }
}

/// A mark; each layer of a plot has another shape.
fn mark(place: usize, x: f64, y: f64, class: &str) -> String {
    match place % 4 {
        0 => format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.4\"/>"),
        1 => format!(
            "<path class=\"{class}\" d=\"M{x:.1} {:.1}l3.9 6.8h-7.8z\"/>",
            y - 4.3
        ),
        2 => format!(
            "<path class=\"{class}\" d=\"M{:.1} {:.1}h6v6h-6z\"/>",
            x - 3.0,
            y - 3.0
        ),
        _ => format!(
            "<path class=\"{class}\" d=\"M{x:.1} {:.1}l4.3 4.3l-4.3 4.3l-4.3 -4.3z\"/>",
            y - 4.3
        ),
    }
}

fn class_of(colour: Colour) -> String {
    match colour {
        Colour::Of(number) => format!("c{}", number % COLOURS),
        Colour::Reference => "reference".to_owned(),
    }
}

/// Lines of one plot differ in their dashes too.
fn dash(plot: &Plot, place: usize) -> String {
    if plot.layers[place].name.is_empty() {
        // Pieces of one line, with gaps between.
        return "d0".to_owned();
    }
    let is_reference = |layer: &&PlotLayer| layer.colour == Colour::Reference;
    match plot.layers[place].colour {
        Colour::Of(_) => {
            let before = plot.layers[..place].iter().filter(is_reference).count();
            format!("d{}", (place - before) % 4)
        }
        Colour::Reference => "d1".to_owned(),
    }
}

/// A name that fits on an axis.
fn shortened(name: &str) -> String {
    if name.chars().count() <= NAME_LETTERS {
        return name.to_owned();
    }
    let begin: String = name.chars().take(NAME_LETTERS - 1).collect();
    format!("{begin}…")
}

#[cfg(test)]
mod tests {
    use super::super::scale::PlotAxis;
    use super::*;

    #[test]
    fn names_beside_lines_do_not_overlap() {
        let mut places = [100.0, 101.0, 102.0, 290.0];
        spread(&mut places, 30.0, 284.0);
        assert_eq!(format!("{places:?}"), "[100.0, 115.0, 130.0, 284.0]");
        let mut crowded = [284.0, 284.0, 284.0];
        spread(&mut crowded, 30.0, 284.0);
        assert_eq!(format!("{crowded:?}"), "[254.0, 269.0, 284.0]");
    }

    #[test]
    fn long_names_are_in_a_legend_and_short_ones_beside_their_lines() {
        let mut plot = Plot::new("t", "", PlotAxis::percent("x"), PlotAxis::percent("y"));
        let points = [PlotPoint::at(0.0, 0.0), PlotPoint::at(1.0, 1.0)];
        plot.draw("short", Colour::Of(0), LayerKind::Line, points);
        assert!(!figure(&plot).contains("class=\"legend\""));
        assert!(figure(&plot).contains("class=\"end c0\""));
        let long = "a name of more letters than fit";
        plot.draw(long, Colour::Of(1), LayerKind::Line, points);
        assert!(figure(&plot).contains("class=\"legend\""));
        assert!(figure(&plot).contains(long));
        assert_eq!(shortened(long).chars().count(), NAME_LETTERS);
    }
}
