//! What was measured: lines of points, for a table, a picture and a file.

use std::fmt::Write as _;

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::say;

/// Lines over one axis, which answer one question.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Chart {
    /// Its name in files and texts, such as `rpc-p99`.
    pub name: String,
    /// The question, or what is shown.
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    pub lines: Vec<Line>,
    /// What a reader has to know of how it was measured.
    pub note: String,
}

/// What an axis shows.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Axis {
    /// With the unit, such as `ms`.
    pub label: String,
    pub scale: Scale,
}

impl Axis {
    pub fn new(label: &str, scale: Scale) -> Self {
        Self {
            label: label.to_owned(),
            scale,
        }
    }

    /// What stands at this value of the axis.
    pub fn text(&self, value: f64) -> String {
        match &self.scale {
            Scale::Names(names) => names.get(value as usize).cloned().unwrap_or_default(),
            _ if value.fract() == 0.0 => value.to_string(),
            _ => number(value),
        }
    }
}

/// Where something is measured: the axis, and the places on it.
#[derive(Debug)]
pub struct Places {
    pub axis: Axis,
    pub values: Vec<f64>,
}

impl Places {
    pub fn new(label: &str, scale: Scale, values: &[f64]) -> Self {
        Self {
            axis: Axis::new(label, scale),
            values: values.to_vec(),
        }
    }

    pub fn named(label: &str, names: &[&str]) -> Self {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let values = (0..names.len()).map(|place| place as f64).collect();
        Self {
            axis: Axis::new(label, Scale::Names(names)),
            values,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scale {
    Linear,
    Log,
    /// The points are at 0, 1, 2 …, and this is what they stand for.
    Names(Vec<String>),
}

/// One way to do it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<Point>,
    /// It was computed, not measured, for comparison.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ideal: bool,
}

/// The median of some runs, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Point {
    pub x: f64,
    pub y: f64,
    pub low: f64,
    pub high: f64,
    pub runs: usize,
}

impl Point {
    /// The point at `x` of what was measured there, if anything was.
    pub fn of(x: f64, measured: &[f64]) -> Option<Self> {
        let least = measured.iter().copied().reduce(f64::min);
        let most = measured.iter().copied().reduce(f64::max);
        let (y, runs) = (median(measured), measured.len());
        least.zip(most).map(|(low, high)| Self {
            x,
            y,
            low,
            high,
            runs,
        })
    }
}

/// The middle one of these figures; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[middle],
        _ => (figures[middle - 1] + figures[middle]) / 2.0,
    }
}

/// Measures each line at each place, `runs` times, and gives the lines of each of the `K` figures that one
/// measurement gives. The lines take turns, so that other load on the machine slows all of them.
/// A measurement, told the numbers of line and place, may leave a point out.
pub async fn measured_lines<const K: usize>(
    names: &[&str],
    places: &Places,
    runs: usize,
    mut measure: impl AsyncFnMut(usize, usize) -> Result<Option<[f64; K]>>,
) -> Result<[Vec<Line>; K]> {
    let mut cells = vec![vec![Vec::new(); names.len()]; places.values.len()];
    for run in 1..=runs {
        for (place, row) in cells.iter_mut().enumerate() {
            for (line, cell) in row.iter_mut().enumerate() {
                let at = places.axis.text(places.values[place]);
                let what = format!("{}, {}: {at}", names[line], places.axis.label);
                say(&format!("run {run} of {runs}: {what}"));
                cell.extend(measure(line, place).await?);
            }
        }
    }
    let line = |figure: usize, line: usize| Line {
        name: names[line].to_owned(),
        points: places
            .values
            .iter()
            .zip(&cells)
            .filter_map(|(&x, row)| {
                let figures: Vec<f64> = row[line].iter().map(|all| all[figure]).collect();
                Point::of(x, &figures)
            })
            .collect(),
        ideal: false,
    };
    Ok(std::array::from_fn(|figure| {
        (0..names.len()).map(|index| line(figure, index)).collect()
    }))
}

/// The first lines with the points of the second ones behind theirs, one place further to the right.
pub fn joined(mut first: Vec<Line>, second: Vec<Line>) -> Vec<Line> {
    for (line, other) in first.iter_mut().zip(second) {
        let moved = other.points.into_iter().map(|point| Point {
            x: point.x + 1.0,
            ..point
        });
        line.points.extend(moved);
    }
    first
}

impl Chart {
    /// The figures as a Markdown table; a spread of more than a tenth stands beside its median.
    pub fn table(&self) -> String {
        let names = self.lines.iter().map(|line| format!(" {} |", line.name));
        let mut text = format!("| {} |{}\n", self.x.label, names.collect::<String>());
        text += &format!("|---|{}\n", "---|".repeat(self.lines.len()));
        for x in self.xs() {
            let _ = write!(text, "| {} |", self.x.text(x));
            for line in &self.lines {
                let point = line.points.iter().find(|point| point.x == x);
                let _ = write!(text, " {} |", point.map_or(String::new(), shown));
            }
            text.push('\n');
        }
        text
    }

    /// Where any line has a point, in order.
    pub fn xs(&self) -> Vec<f64> {
        let points = self.lines.iter().flat_map(|line| &line.points);
        let mut xs: Vec<f64> = points.map(|point| point.x).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        xs
    }
}

fn shown(point: &Point) -> String {
    let spread = (point.high - point.low) / 2.0 / point.y;
    match spread > 0.1 {
        true => format!(
            "{} ({} to {})",
            number(point.y),
            number(point.low),
            number(point.high)
        ),
        false => number(point.y),
    }
}

/// Three digits that mean something, and no more than two after the point.
pub fn number(value: f64) -> String {
    let digits = match value.abs() {
        v if v >= 100.0 || v == v.trunc() => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    let rounded = match value.abs() {
        v if v >= 10_000.0 => (value / 100.0).round() * 100.0,
        v if v >= 1000.0 => (value / 10.0).round() * 10.0,
        _ => value,
    };
    format!("{rounded:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median(&[9.0, 1.0, 5.0]), 5.0);
        assert_eq!(median(&[9.0, 1.0, 5.0, 7.0]), 6.0);
        assert_eq!(median(&[]), 0.0);
    }

    #[test]
    fn numbers_have_the_digits_that_mean_something() {
        let shown = [0.136, 12.34, 340.0, 123.4, 2_334.0, 36_490.0, 64.0].map(number);
        assert_eq!(shown, ["0.14", "12.3", "340", "123", "2330", "36500", "64"]);
    }

    #[test]
    fn a_table_shows_a_wide_spread_and_leaves_out_what_was_not_measured() {
        let point = |x, measured: &[f64]| Point::of(x, measured).expect("something was measured");
        let line = |name: &str, points| Line {
            name: name.to_owned(),
            points,
            ideal: false,
        };
        let chart = Chart {
            name: "test".to_owned(),
            title: String::new(),
            x: Axis::new(
                "in flight",
                Scale::Names(vec!["none".to_owned(), "1".to_owned()]),
            ),
            y: Axis::new("a second", Scale::Linear),
            lines: vec![
                line(
                    "narrow",
                    vec![point(0.0, &[100.0, 101.0]), point(1.0, &[7.0])],
                ),
                line("wide", vec![point(1.0, &[5.0, 10.0, 20.0])]),
            ],
            note: String::new(),
        };
        let expected = "| in flight | narrow | wide |\n|---|---|---|\n\
            | none | 100 |  |\n| 1 | 7 | 10 (5 to 20) |\n";
        assert_eq!(chart.table(), expected);
    }
}
