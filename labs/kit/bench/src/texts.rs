//! Writes the figures of `results.json` into texts and slides, for `just bench --texts`. A test sees that none
//! of them is another.
//!
//! A text takes a chart whole between `<!-- results: CHART -->` and `<!-- end -->`; `machine` there is what
//! they were measured on. Where the words around the figures are a person's, a line `figures: CHART… at
//! LINE/POINT…` says whose they are, in order: for each line and point, counted from 0, one of each chart. It
//! is a comment before a table, or stands in a slide's notes. A figure is a number that has a fraction, or
//! three digits and more.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use course::paths::Paths;
use terminal::wrap;

use super::chart::{Chart, number};
use super::report::Measured;

const WHOLE: &str = "<!-- results: ";
const END: &str = "<!-- end -->";
const MARK: &str = "figures: ";
/// How wide the words below a table may be.
const WIDTH: usize = 90;

/// Keeps the figures in `target/bench` as those of the texts, and writes them there.
pub fn write(paths: &Paths) -> Result<()> {
    let measured = paths.target.join("bench/results.json");
    let results = fs::read(&measured).context("nothing is measured yet; do  just bench")?;
    let of_texts: Vec<Measured> = serde_json::from_slice(&results)?;
    if let Some(one) = of_texts.iter().find(|one| one.stamp.quick) {
        bail!(
            "`{}` was measured with --quick; do  just bench",
            one.chart.name
        );
    }
    // All texts first: one that needs a chart which is not there leaves everything as it was.
    let mut written = vec![(kept(paths), String::from_utf8(results)?)];
    for path in texts(&paths.root)? {
        let text = fs::read_to_string(&path)?;
        let new = filled(&text, &of_texts).with_context(|| path.display().to_string())?;
        if new != text {
            written.push((path, new));
        }
    }
    for (path, text) in written {
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        anstream::println!("{}", paths.short(&path));
    }
    Ok(())
}

/// The figures of the texts.
fn kept(paths: &Paths) -> PathBuf {
    paths.root.join("labs/kit/bench/results.json")
}

/// The text with these figures in it.
fn filled(text: &str, results: &[Measured]) -> Result<String> {
    let slides = text.split("\n---\n").map(|part| {
        let part = with_charts(part, results)?;
        let mut lines: Vec<String> = part.split('\n').map(str::to_owned).collect();
        for (told, figures) in marked(&lines) {
            let figures = figures
                .iter()
                .map(|mark| cells(mark, results))
                .collect::<Result<Vec<_>>>()?;
            with_figures(&mut lines[told], &figures.concat())?;
        }
        Ok(lines.join("\n"))
    });
    Ok(slides.collect::<Result<Vec<_>>>()?.join("\n---\n"))
}

fn with_charts(text: &str, results: &[Measured]) -> Result<String> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(WHOLE) {
        let (name, after) = after
            .split_once(" -->\n")
            .context("a mark without its end")?;
        let (_, after) = after
            .split_once(END)
            .with_context(|| format!("no {END} after {name}"))?;
        let told = match name {
            "machine" => machine(results)?,
            name => whole(&chart(results, name)?.chart),
        };
        filled += &format!("{before}{WHOLE}{name} -->\n{told}\n{END}");
        rest = after;
    }
    Ok(filled + rest)
}

fn machine(results: &[Measured]) -> Result<String> {
    let stamp = &results.last().context("results.json is empty")?.stamp;
    let told = format!("On {}, {}, {}.", stamp.machine, stamp.broker, stamp.date);
    Ok(wrap(&told, WIDTH).join("\n"))
}

/// A chart in words: its question, its figures, and how they were measured.
fn whole(chart: &Chart) -> String {
    let note = wrap(&chart.note, WIDTH).join("\n");
    let told = format!(
        "**{}** ({})\n\n{}\n{note}",
        chart.title,
        chart.y.label,
        chart.table()
    );
    told.trim_end().to_owned()
}

/// The lines that tell figures, with the marks that say which: of a slide all before its notes, or a table.
fn marked(lines: &[String]) -> Vec<(std::ops::Range<usize>, Vec<String>)> {
    let mut found = Vec::new();
    let notes = lines.iter().position(|line| line == "<!--").unwrap_or(0);
    let in_notes: Vec<String> = lines
        .iter()
        .filter_map(|line| line.strip_prefix(MARK))
        .map(str::to_owned)
        .collect();
    if !in_notes.is_empty() {
        found.push((0..notes, in_notes));
    }
    for (place, line) in lines.iter().enumerate() {
        let comment = line
            .strip_prefix("<!-- ")
            .and_then(|line| line.strip_suffix(" -->"));
        let Some(mark) = comment.and_then(|line| line.strip_prefix(MARK)) else {
            continue;
        };
        let table = lines[place + 1..]
            .iter()
            .take_while(|line| line.starts_with('|'));
        found.push((place + 1..place + 1 + table.count(), vec![mark.to_owned()]));
    }
    found
}

/// The figures that a mark names, in order.
fn cells(mark: &str, results: &[Measured]) -> Result<Vec<String>> {
    let (charts, places) = mark
        .split_once(" at ")
        .with_context(|| format!("no `at` in {mark:?}"))?;
    let mut found = Vec::new();
    for place in places.split(' ') {
        for name in charts.split(' ') {
            let chart = &chart(results, name)?.chart;
            let point = place.split_once('/').and_then(|(line, point)| {
                let line = chart.lines.get(line.parse::<usize>().ok()?)?;
                line.points.get(point.parse::<usize>().ok()?)
            });
            let point = point.with_context(|| format!("{name} has no {place}"))?;
            found.push(number(point.y));
        }
    }
    Ok(found)
}

/// Puts the figures in the places of those that these lines tell.
fn with_figures(lines: &mut [String], figures: &[String]) -> Result<()> {
    let mut next = figures.iter();
    for line in lines.iter_mut() {
        let mut told = String::new();
        let mut rest = line.as_str();
        while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
            let end = rest[start..].find(|c: char| !c.is_ascii_digit() && c != '.' && c != ',');
            let word = &rest[start..end.map_or(rest.len(), |end| start + end)];
            let word = word.trim_end_matches(['.', ',']);
            told += &rest[..start];
            rest = &rest[start + word.len()..];
            let old = word.replace(',', "");
            if old.contains('.') || old.len() > 2 {
                let figure = next.next().with_context(|| format!("whose is {word}?"))?;
                told += &match word.contains(',') {
                    true => with_commas(figure),
                    false => figure.clone(),
                };
            } else {
                told += word;
            }
        }
        *line = told + rest;
    }
    ensure!(
        next.len() == 0,
        "{} figures more than the text has",
        next.len()
    );
    Ok(())
}

fn with_commas(figure: &str) -> String {
    match figure.len() {
        long if long > 3 && !figure.contains('.') => {
            format!("{},{}", &figure[..long - 3], &figure[long - 3..])
        }
        _ => figure.to_owned(),
    }
}

fn chart<'a>(results: &'a [Measured], name: &str) -> Result<&'a Measured> {
    let found = results.iter().find(|one| one.chart.name == name);
    found.with_context(|| format!("results.json has no chart {name:?}"))
}

/// The texts that may tell of measurements.
fn texts(root: &Path) -> Result<Vec<PathBuf>> {
    let mut found = vec![root.join("README.md"), root.join(".github/CONTRIBUTING.md")];
    let mut folders = vec![root.join("labs"), root.join("slides")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("node_modules") {
                folders.push(path);
            } else if path.extension().is_some_and(|end| end == "md") {
                found.push(path);
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was measured once, and not by the bench: the file, and a word of the paragraph.
    const MEASURED_ONCE: [(&str, &str); 6] = [
        (".github/CONTRIBUTING.md", "`just test`"),
        ("labs/kit/README.md", "faults tried"),
        ("labs/kit/bench/README.md", "instead of 8"),
        ("labs/02-single-queue/README.md", "strace"),
        (
            "labs/03-competing-consumers/README.md",
            "returns on RabbitMQ",
        ),
        ("labs/05-fanout/README.md", "that view to disk"),
    ];

    #[test]
    fn each_figure_in_a_text_was_measured() -> Result<()> {
        let paths = Paths::find()?;
        let results: Vec<Measured> = serde_json::from_slice(&fs::read(kept(&paths))?)?;
        let quick = results.iter().filter(|one| one.stamp.quick).count();
        ensure!(quick == 0, "{quick} charts in results.json are quick ones");
        let mut told = 0;
        for path in texts(&paths.root)? {
            let text = fs::read_to_string(&path)?;
            let measured = filled(&text, &results).with_context(|| path.display().to_string())?;
            told += text.matches(WHOLE).count() + text.matches(MARK).count();
            let lines = text.lines().zip(measured.lines());
            let other = lines
                .enumerate()
                .find(|(_, (line, measured))| line != measured);
            if let Some((place, (line, measured))) = other {
                let at = format!("{}:{}", path.display(), place + 1);
                bail!("{at} says\n{line}\nmeasured is\n{measured}\ndo  just bench --texts");
            }
            ensure!(
                text == measured,
                "{}: do  just bench --texts",
                path.display()
            );
        }
        ensure!(told > 15, "only {told} texts tell of a measurement");
        Ok(())
    }

    /// A paragraph or slide with a date tells of a measurement, and says which.
    #[test]
    fn a_text_that_tells_of_a_measurement_says_which() -> Result<()> {
        let root = Paths::find()?.root;
        for path in texts(&root)? {
            let text = fs::read_to_string(&path)?;
            let slides = path.starts_with(root.join("slides"));
            let parts = text.split(if slides { "\n---\n" } else { "\n## " });
            for part in parts.filter(|part| part.contains(" 2026-") || part.contains("\n2026-")) {
                let says = part.contains(MARK) || part.contains(WHOLE);
                let once = MEASURED_ONCE
                    .iter()
                    .any(|(file, word)| path.ends_with(file) && part.contains(word));
                ensure!(says || once, "{}: no `{MARK}…` in:\n{part}", path.display());
            }
        }
        Ok(())
    }

    #[test]
    fn figures_replace_those_of_the_text_in_order() -> Result<()> {
        let mut lines = ["| 03 | 2,140 | **1.5** ms, for 64 |".to_owned()];
        with_figures(&mut lines, &["13000".to_owned(), "0.71".to_owned()])?;
        assert_eq!(lines, ["| 03 | 13,000 | **0.71** ms, for 64 |"]);
        let few = with_figures(&mut lines, &["1".to_owned()]).expect_err("it has other figures");
        assert_eq!(few.to_string(), "whose is 0.71?");
        let many = with_figures(&mut ["none".to_owned()], &["1".to_owned()])
            .expect_err("it has other figures");
        assert_eq!(many.to_string(), "1 figures more than the text has");
        Ok(())
    }
}
