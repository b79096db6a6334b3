//! Keeps what was measured in `target/bench`: `results.json` for programs, `report.html` for people.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::chart::Chart;
use super::plot;

/// Where, when and how something was measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stamp {
    /// Cores, processor, system and compiler.
    pub machine: String,
    /// Such as `RabbitMQ 3.10.8`.
    pub broker: String,
    /// Such as `2026-11-27`.
    pub date: String,
    /// With fewer points and runs than a whole measurement.
    pub quick: bool,
}

/// A chart with its stamp, as `results.json` has it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Measured {
    pub stamp: Stamp,
    pub chart: Chart,
}

/// All that was measured here, by this command and by earlier ones.
#[derive(Debug)]
pub struct Report {
    dir: PathBuf,
    all: Vec<Measured>,
}

impl Report {
    /// Reads what earlier commands have measured. A file that cannot be read is begun anew.
    pub fn open(dir: PathBuf) -> Result<Self> {
        fs::create_dir_all(&dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let text = fs::read(dir.join("results.json")).unwrap_or_default();
        let all = serde_json::from_slice(&text).unwrap_or_default();
        Ok(Self { dir, all })
    }

    /// Puts the chart in the place of an earlier one of this name, and writes both files: what is
    /// measured is kept if the command is stopped.
    pub fn keep(&mut self, stamp: Stamp, chart: Chart) -> Result<()> {
        let place = self.all.iter().position(|had| had.chart.name == chart.name);
        let measured = Measured { stamp, chart };
        match place {
            Some(place) => self.all[place] = measured,
            None => self.all.push(measured),
        }
        let json = serde_json::to_vec_pretty(&self.all)?;
        let page = page(&self.all)?;
        for (name, content) in [("results.json", json), ("report.html", page.into_bytes())] {
            let path = self.dir.join(name);
            fs::write(&path, content)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// The page for people.
    pub fn page(&self) -> PathBuf {
        self.dir.join("report.html")
    }
}

fn page(all: &[Measured]) -> Result<String> {
    let mut text = HEAD.to_owned();
    for Measured { stamp, chart } in all {
        let quick = if stamp.quick { " · quick" } else { "" };
        write!(
            text,
            "<section id=\"{}\">\n<h2>{}</h2>\n{}\n<p>{}</p>\n<details><summary>The figures</summary>\n\
             <pre>{}</pre></details>\n<p class=stamp>{} · {} · {}{quick}</p>\n</section>\n",
            chart.name,
            escaped(&chart.title),
            plot::svg(chart)?,
            escaped(&chart.note),
            escaped(&chart.table()),
            escaped(&stamp.broker),
            escaped(&stamp.machine),
            stamp.date,
        )?;
    }
    Ok(text + "</main>\n")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

const HEAD: &str = "<!doctype html>\n<html lang=en><meta charset=utf-8>\n<title>just bench</title>\n\
    <meta name=viewport content=\"width=device-width\">\n<style>\n\
    body { font: 16px/1.45 system-ui, sans-serif; margin: 0 1rem; color: #222 }\n\
    main { max-width: 50rem; margin: 2rem auto }\n\
    h2 { margin: 3rem 0 .5rem; font-size: 1.15rem }\n\
    svg { max-width: 100%; height: auto; font-family: inherit }\n\
    pre { overflow-x: auto; font-size: .85rem }\n\
    .stamp { color: #666; font-size: .85rem }\n</style>\n<main>\n<h1>What messaging costs here</h1>\n\
    <p>A dot is the median of some runs; a thin line goes from the lowest to the highest of them.\n\
    Measured by <code>just bench</code>.</p>\n";
