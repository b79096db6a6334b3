//! The figures in texts and slides are those of `results.json`, which is a whole measurement of this
//! program. A table of them follows a line `<!-- figures: CHART… -->`, and each number with a fraction or
//! of three digits and more in it is one that these charts show.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use course::paths::Paths;

use super::chart::number;
use super::report::Measured;

const MARK: &str = "<!-- figures: ";
/// How many lines after `just bench` in a text a mark must come.
const NEAR: usize = 12;

#[test]
fn each_figure_in_a_text_was_measured() -> Result<()> {
    let root = Paths::find()?.root;
    let results = fs::read(root.join("labs/kit/bench/results.json"))?;
    let results: Vec<Measured> = serde_json::from_slice(&results)?;
    ensure!(
        results.iter().all(|one| !one.stamp.quick),
        "results.json is of a quick measurement"
    );
    let mut marks = 0;
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let Some(names) = line.strip_prefix(MARK) else {
                continue;
            };
            marks += 1;
            let names = names.trim_end_matches("-->").split_whitespace();
            let shown = shown(&results, names).with_context(|| path.display().to_string())?;
            let table = lines[place + 1..].iter().skip_while(|line| line.is_empty());
            let table: Vec<&&str> = table.take_while(|line| line.starts_with('|')).collect();
            ensure!(table.len() > 2, "{}: no table after {line}", path.display());
            for figure in table[2..].iter().flat_map(|row| figures(row)) {
                let place = format!("{}, after {line}", path.display());
                ensure!(
                    shown.contains(&figure),
                    "{place}: {figure} was not measured; measured: {shown:?}"
                );
            }
        }
    }
    ensure!(marks > 3, "the texts with figures are not found");
    Ok(())
}

#[test]
fn a_text_that_tells_of_a_measurement_shows_its_figures() -> Result<()> {
    let root = Paths::find()?.root;
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        let told = |line: &str| line.contains("`just bench ") && line.contains("edian");
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| told(line)) {
            let near = &lines[place.saturating_sub(NEAR)..lines.len().min(place + NEAR)];
            let marked = near.iter().any(|line| line.starts_with(MARK));
            ensure!(marked, "{}: {line}: no `{MARK}…` near it", path.display());
        }
    }
    Ok(())
}

/// What the charts of these names show, as texts write it.
fn shown<'a>(
    results: &[Measured],
    names: impl Iterator<Item = &'a str>,
) -> Result<BTreeSet<String>> {
    let mut shown = BTreeSet::new();
    for name in names {
        let chart = results.iter().find(|one| one.chart.name == name);
        let chart = &chart
            .with_context(|| format!("results.json has no chart {name}"))?
            .chart;
        let points = chart.lines.iter().flat_map(|line| &line.points);
        shown.extend(points.map(|point| number(point.y)));
    }
    Ok(shown)
}

/// The numbers in a row that a measurement gave: those with a fraction, or of three digits and more.
fn figures(row: &str) -> Vec<String> {
    let cells = row
        .split('|')
        .map(str::trim)
        .filter(|cell| cell.starts_with(|c: char| c.is_ascii_digit()));
    let numbers = cells.map(|cell| {
        let number = cell.split(' ').next().unwrap_or_default();
        number.replace(',', "")
    });
    numbers
        .filter(|number| number.contains('.') || number.len() > 2)
        .collect()
}

/// The texts that tell of measurements.
fn texts(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("README.md")];
    let mut folders = vec![root.join("labs"), root.join("slides")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            if path.is_dir() && name != "node_modules" && name != "target" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
