//! Draws a chart as SVG that can be read without the text beside it.

use std::ops::Range;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{
    AsRangedCoord, DefaultFormatting, KeyPointHint, Ranged, ValueFormatter,
};
use plotters::prelude::*;

use super::chart::{Chart, Scale, number};

/// The size of a picture in pixels, with the names of the lines at its right.
const SIZE: (u32, u32) = (800, 380);
const NAMES: u32 = 190;
/// How many marks an axis has, at most.
const MARKS: usize = 10;
/// Colours that the colour-blind can tell apart, too (Okabe and Ito).
const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
];
const IDEAL: RGBColor = RGBColor(140, 140, 140);

/// The picture of a chart: bars over names, else lines.
pub fn svg(chart: &Chart) -> Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        let (x, y) = (Marked::of(chart), range_of_y(chart));
        match chart.y.scale {
            Scale::Log => draw(&root, chart, x, Marked::log(y)),
            _ => draw(&root, chart, x, y),
        }
        .map_err(|error| anyhow!("cannot draw {}: {error}", chart.name))?;
    }
    Ok(text)
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

fn draw<Y>(root: &DrawingArea<SVGBackend<'_>, Shift>, chart: &Chart, x: Marked, y: Y) -> Drawn
where
    Y: AsRangedCoord<Value = f64>,
    Y::CoordDescType: ValueFormatter<f64> + Ranged<ValueType = f64>,
{
    let bars = matches!(chart.x.scale, Scale::Names(_));
    let (picture, right) = root.split_horizontally(SIZE.0 - NAMES);
    let mut area = ChartBuilder::on(&picture)
        .margin(12)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(x, y)?;
    area.configure_mesh()
        .x_desc(&chart.x.label)
        .y_desc(&chart.y.label)
        .x_labels(MARKS)
        .x_label_formatter(&|x| chart.x.text(*x))
        .y_label_formatter(&|y| number(*y))
        .light_line_style(WHITE)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    let floor = range_of_y(chart).start;
    let width = 0.8 / chart.lines.len() as f64;
    for (place, (line, &colour)) in chart.lines.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let colour = if line.ideal { IDEAL } else { colour };
        let points = || line.points.iter().map(|point| (point.x, point.y));
        let left = width * place as f64 - 0.4;
        if bars {
            area.draw_series(points().map(|(x, y)| {
                let corners = [(x + left, floor), (x + left + width * 0.9, y)];
                Rectangle::new(corners, colour.filled())
            }))?;
        } else {
            area.draw_series(LineSeries::new(points(), colour.stroke_width(2)))?;
        }
        if !bars && !line.ideal {
            area.draw_series(points().map(|at| Circle::new(at, 4, colour.filled())))?;
        }
        // From the lowest to the highest run.
        let beside = if bars { left + width * 0.45 } else { 0.0 };
        let spread = if bars {
            BLACK.mix(0.6)
        } else {
            colour.mix(0.5)
        };
        area.draw_series(line.points.iter().map(|point| {
            let x = point.x + beside;
            PathElement::new([(x, point.low), (x, point.high)], spread.stroke_width(1))
        }))?;
        let at = 24 * (place as i32 + 1);
        right.draw(&PathElement::new(
            [(0, at), (18, at)],
            colour.stroke_width(3),
        ))?;
        let font = ("sans-serif", 15);
        right.draw(&Text::new(line.name.as_str(), (24, at - 8), font))?;
    }
    root.present()?;
    Ok(())
}

/// An axis with marks of our own: on that of x they are where something was measured.
struct Marked {
    range: Range<f64>,
    marks: Vec<f64>,
    log: bool,
}

impl Marked {
    fn of(chart: &Chart) -> Self {
        let xs = chart.xs();
        let first = xs.first().copied().unwrap_or(0.1);
        let last = xs.last().copied().unwrap_or(1.0);
        let range = match chart.x.scale {
            Scale::Log => first / 1.3..last * 1.3,
            Scale::Linear => 0.0..last * 1.05,
            Scale::Names(_) => -0.5..last + 0.5,
        };
        let marks = match chart.x.scale {
            Scale::Linear if xs.len() > MARKS => {
                let step = (last / MARKS as f64).ceil();
                (0..=MARKS).map(|mark| step * mark as f64).collect()
            }
            _ => xs,
        };
        let log = chart.x.scale == Scale::Log;
        Self { range, marks, log }
    }

    /// A logarithmic axis: a mark for each power of ten, and for 2 and 5 of them where there are few.
    fn log(range: Range<f64>) -> Self {
        let marks = |digits: &[f64]| -> Vec<f64> {
            let powers = range.start.log10().floor() as i32..=range.end.log10().ceil() as i32;
            let all =
                powers.flat_map(|power| digits.iter().map(move |digit| digit * 10_f64.powi(power)));
            all.filter(|mark| range.contains(mark)).collect()
        };
        let all = marks(&[1.0, 2.0, 5.0]);
        let few = all.len() <= MARKS;
        Self {
            marks: if few { all } else { marks(&[1.0]) },
            range,
            log: true,
        }
    }
}

impl Ranged for Marked {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (left, right): (i32, i32)) -> i32 {
        let along = |value: f64| if self.log { value.ln() } else { value };
        let (start, end) = (along(self.range.start), along(self.range.end));
        let part = (along(*value) - start) / (end - start);
        left + (part * f64::from(right - left)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        let within = self.marks.iter().filter(|mark| self.range.contains(mark));
        within.copied().collect()
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

/// From the lowest to the highest run, with some room.
fn range_of_y(chart: &Chart) -> Range<f64> {
    let points = || chart.lines.iter().flat_map(|line| &line.points);
    let low = points().map(|point| point.low).fold(f64::MAX, f64::min);
    let high = points().map(|point| point.high).fold(1e-6, f64::max);
    match chart.y.scale {
        Scale::Log => low.min(high).max(high / 1e6) / 1.5..high * 1.3,
        _ => 0.0..high * 1.1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_logarithmic_axis_always_has_marks_and_few() {
        assert_eq!(Marked::log(11_000.0..64_000.0).marks, [20_000.0, 50_000.0]);
        assert_eq!(
            Marked::log(0.4..30.0).marks,
            [0.5, 1.0, 2.0, 5.0, 10.0, 20.0]
        );
        assert_eq!(
            Marked::log(7.0..40_000.0).marks,
            [10.0, 100.0, 1_000.0, 10_000.0]
        );
    }
}
