//! A plot: what is drawn on which axes. `svg` draws it.

use super::scale::PlotAxis;

/// A plot, with what has to be known to read it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Plot {
    pub(super) title: String,
    /// What is shown and how it was made, in a sentence or two.
    pub(super) about: String,
    pub(super) x: PlotAxis,
    pub(super) y: PlotAxis,
    pub(super) layers: Vec<PlotLayer>,
    pub(super) rules: Vec<PlotRule>,
}

/// What is drawn in one colour.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlotLayer {
    /// What it is called; nothing, if it needs no name.
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) kind: LayerKind,
    pub(super) points: Vec<PlotPoint>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    /// One of the palette, which begins anew after its last.
    Of(usize),
    /// For what others are compared with.
    Reference,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LayerKind {
    /// A line through the points, and a band from the low ends to the high ends.
    Line,
    /// The same, each value to the next point.
    Steps,
    /// What is between the low and the high ends, filled.
    Area,
    /// A mark at each point.
    Dots,
    /// An empty one.
    Circles,
    /// A mark and an interval along y at each point, and a line through them.
    Intervals,
    /// A mark and an interval along x at each point.
    Ranges,
    /// A bar along x, from the low to the high end.
    Bars,
    /// A square from each [`PlotPoint::cell`], of so many of [`SHADES`].
    Cells(usize),
}

/// Shades of a colour, from the lightest.
pub(super) const SHADES: usize = 5;

/// A point; `low` and `high` are along x for ranges and bars, otherwise along y.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct PlotPoint {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) low: Option<f64>,
    pub(super) high: Option<f64>,
}

/// A line across the plot.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct PlotRule {
    pub(super) x: f64,
    pub(super) name: String,
}

impl Plot {
    /// Nothing on it yet.
    pub(super) fn new(title: &str, about: &str, x: PlotAxis, y: PlotAxis) -> Self {
        Self {
            title: title.to_owned(),
            about: about.to_owned(),
            x,
            y,
            layers: Vec::new(),
            rules: Vec::new(),
        }
    }

    /// One more layer; of one without a point that has a place nothing is kept.
    pub(super) fn draw(
        &mut self,
        name: &str,
        colour: Colour,
        kind: LayerKind,
        points: impl IntoIterator<Item = PlotPoint>,
    ) {
        let has_place = |point: &PlotPoint| self.x.has(point.x) && self.y.has(point.y);
        let points: Vec<PlotPoint> = points.into_iter().filter(has_place).collect();
        if !points.is_empty() {
            self.layers.push(PlotLayer {
                name: name.to_owned(),
                colour,
                kind,
                points,
            });
        }
    }

    /// Whether there is anything to see, apart from what others are compared with.
    pub(super) fn is_empty(&self) -> bool {
        let says = |layer: &PlotLayer| matches!(layer.colour, Colour::Of(_));
        !self.layers.iter().any(says)
    }
}

impl PlotPoint {
    pub(super) const fn at(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            low: None,
            high: None,
        }
    }

    /// A square of a map: its lower left corner and its side, which is kept as the high end.
    pub(super) const fn cell(x: f64, y: f64, side: f64) -> Self {
        Self {
            x,
            y,
            low: None,
            high: Some(side),
        }
    }

    /// With the ends of an interval; one that is not finite is none.
    pub(super) fn between(self, low: f64, high: f64) -> Self {
        let is_one = low.is_finite() && high.is_finite();
        Self {
            low: is_one.then_some(low),
            high: is_one.then_some(high),
            ..self
        }
    }
}

impl LayerKind {
    /// Whether its intervals are along x.
    pub(super) const fn lies(self) -> bool {
        matches!(self, Self::Ranges | Self::Bars)
    }

    /// Whether its name fits beside its last point.
    pub(super) const fn has_end(self) -> bool {
        matches!(self, Self::Line | Self::Steps | Self::Intervals)
    }
}

/// At most so many of these, evenly chosen, with the first and the last.
pub(super) fn thinned<T: Copy>(all: &[T], most: usize) -> Vec<T> {
    if all.len() <= most {
        return all.to_vec();
    }
    let last = all.len() - 1;
    (0..most)
        .map(|place| all[place * last / (most - 1)])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinning_keeps_both_ends() {
        let all: Vec<usize> = (0..1_000).collect();
        let few = thinned(&all, 7);
        assert_eq!((few.len(), few[0], few[6]), (7, 0, 999));
        assert_eq!(thinned(&all, 2_000), all);
    }

    #[test]
    fn what_has_no_place_is_not_drawn() {
        let mut plot = Plot::new("a", "b", PlotAxis::percent("x"), PlotAxis::percent("y"));
        let point = PlotPoint::at(f64::NAN, 1.0);
        plot.draw("none", Colour::Of(0), LayerKind::Dots, [point]);
        assert!(plot.is_empty());
        let point = PlotPoint::at(1.0, 1.0).between(f64::NEG_INFINITY, 2.0);
        assert_eq!(point.low, None);
    }
}
