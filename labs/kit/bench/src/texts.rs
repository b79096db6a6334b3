//! The figures in texts and slides are those of `results.json`, which a whole measurement of this program
//! has written. A text says so by a line `<!-- figures: CHART… -->` before a table, a slide by a line
//! `figures: CHART…` in its notes. Then each number there that has a fraction or three digits and more is
//! one that these charts show.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use course::paths::Paths;

use super::chart::number;
use super::report::Measured;

const MARK: &str = "figures: ";
/// How far from the words that tell of a measurement its mark may be, in lines.
const NEAR: usize = 12;

#[test]
fn each_figure_in_a_text_was_measured() -> Result<()> {
    let root = Paths::find()?.root;
    let results = fs::read(root.join("labs/kit/bench/results.json"))?;
    let results: Vec<Measured> = serde_json::from_slice(&results)?;
    let quick = results.iter().filter(|one| one.stamp.quick).count();
    ensure!(quick == 0, "{quick} charts in results.json are quick ones");
    let mut checked = 0;
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        for (charts, told) in marked(&text) {
            let shown = shown(&results, charts).with_context(|| path.display().to_string())?;
            for figure in figures(&told) {
                let at = path.display();
                ensure!(
                    shown.contains(&figure),
                    "{at}: {charts} do not show {figure}, but {shown:?}"
                );
                checked += 1;
            }
        }
    }
    ensure!(
        checked > 20,
        "only {checked} figures are found in the texts"
    );
    Ok(())
}

#[test]
fn a_text_that_tells_of_a_measurement_says_which() -> Result<()> {
    let root = Paths::find()?.root;
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        let tells = |line: &str| line.contains("just bench ") && line.contains("easured");
        for (place, line) in lines.iter().enumerate().filter(|(_, line)| tells(line)) {
            let near = &lines[place.saturating_sub(NEAR)..lines.len().min(place + NEAR)];
            let says = near.iter().any(|line| charts(line).is_some());
            ensure!(says, "{}: no `{MARK}…` near: {line}", path.display());
        }
    }
    Ok(())
}

/// The charts that a line with a mark names.
fn charts(line: &str) -> Option<&str> {
    let line = line.strip_prefix("<!-- ").unwrap_or(line);
    Some(line.strip_prefix(MARK)?.trim_end_matches("-->").trim())
}

/// The charts of each mark, and the words that tell their figures: a slide without its notes, or a table.
fn marked(text: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    for slide in text.split("\n---\n") {
        let lines: Vec<&str> = slide.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let Some(charts) = charts(line) else { continue };
            let told: Vec<&str> = match line.starts_with(MARK) {
                true => lines[..place]
                    .iter()
                    .copied()
                    .take_while(|line| *line != "<!--")
                    .collect(),
                false => {
                    let after = lines[place + 1..].iter().copied();
                    let table = after.skip_while(|line| !line.starts_with('|'));
                    let rows = table.map_while(|line| line.strip_prefix('|')?.split_once('|'));
                    rows.skip(2).map(|(_, cells)| cells).collect()
                }
            };
            found.push((charts, told.join("\n")));
        }
    }
    found
}

/// What the charts of these names show, as texts write it.
fn shown(results: &[Measured], names: &str) -> Result<BTreeSet<String>> {
    let mut shown = BTreeSet::new();
    for name in names.split_whitespace() {
        let chart = results.iter().find(|one| one.chart.name == name);
        let chart = &chart
            .with_context(|| format!("results.json has no chart {name}"))?
            .chart;
        let points = chart.lines.iter().flat_map(|line| &line.points);
        shown.extend(points.flat_map(|point| [point.y, point.low, point.high].map(number)));
    }
    Ok(shown)
}

/// The numbers that a measurement gave: those with a fraction, or of three digits and more.
fn figures(told: &str) -> Vec<String> {
    let words = told.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    let numbers = words.map(|word| word.trim_matches(['.', ',']).replace(',', ""));
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
            if path.is_dir() && name != "node_modules" {
                folders.push(path);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}
