//! The figures in texts and slides are those of `results.json`, which a whole measurement of this program
//! has written. A text says so by a line `<!-- figures: CHART… -->` before a table, a slide by a line
//! `figures: CHART…` in its notes. Then each number there that has a fraction or three digits and more is
//! one that these charts show; a table with the head of a chart's own is that table.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use course::paths::Paths;

use super::chart::{Chart, number};
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
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        for (mark, told) in marked(&text) {
            let at = format!("{}, figures of {mark}", path.display());
            let charts = named(&results, mark).context(at.clone())?;
            let (head, rows) = told.split_once("\n|---").unwrap_or(("", &told));
            let whole = charts.iter().map(|chart| chart.table());
            if let Some(table) = whole
                .into_iter()
                .find(|table| table.lines().next() == Some(head))
            {
                ensure!(table.trim_end() == told, "{at}: the table is\n{table}");
                continue;
            }
            let (shown, figures) = (shown(&charts), figures(rows));
            ensure!(!figures.is_empty(), "{at}: there are none");
            let wrong = figures.iter().find(|figure| !shown.contains(*figure));
            ensure!(wrong.is_none(), "{at}: {wrong:?} is none of {shown:?}");
        }
    }
    Ok(())
}

/// A text that tells of a measurement has its command and its date.
#[test]
fn a_text_that_tells_of_a_measurement_says_which() -> Result<()> {
    let root = Paths::find()?.root;
    let mut found = 0;
    for path in texts(&root)? {
        let text = fs::read_to_string(&path)?;
        let lines: Vec<&str> = text.lines().collect();
        for (place, line) in lines.iter().enumerate() {
            let near = &lines[place.saturating_sub(NEAR)..lines.len().min(place + NEAR)];
            let dated = near
                .iter()
                .any(|line| line.contains("202") && line.contains("-1"));
            if !(line.contains("just bench ") && dated) {
                continue;
            }
            found += 1;
            let says = near.iter().any(|line| charts(line).is_some());
            ensure!(says, "{}: no `{MARK}…` near: {line}", path.display());
        }
    }
    ensure!(found > 3, "only {found} texts tell of a measurement");
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
                    table.take_while(|line| line.starts_with('|')).collect()
                }
            };
            found.push((charts, told.join("\n")));
        }
    }
    found
}

/// The charts of these names.
fn named<'a>(results: &'a [Measured], names: &str) -> Result<Vec<&'a Chart>> {
    let chart = |name| {
        let one = results.iter().find(|one| one.chart.name == name);
        Ok(&one
            .with_context(|| format!("results.json has no {name}"))?
            .chart)
    };
    names.split_whitespace().map(chart).collect()
}

/// What the charts show, as texts write it.
fn shown(charts: &[&Chart]) -> BTreeSet<String> {
    let lines = charts.iter().flat_map(|chart| &chart.lines);
    let points = lines.flat_map(|line| &line.points);
    points
        .flat_map(|point| [point.y, point.low, point.high].map(number))
        .collect()
}

/// The numbers that a measurement gave: those with a fraction, or of three digits and more.
fn figures(told: &str) -> Vec<String> {
    let words = told.split(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
    let numbers = words.map(|word| word.trim_matches(['.', ',']).replace(',', ""));
    let meant = |number: &String| number.contains('.') || number.len() > 2;
    numbers.filter(meant).collect()
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
