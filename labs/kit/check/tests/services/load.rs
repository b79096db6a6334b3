//! Runs of checks on a machine that is busy with other programs.

use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::run::Fixture;

/// Programs that only spin. Dropping this value kills them; each also ends after 30 s of processor time.
struct Load(Vec<Child>);

impl Load {
    /// Starts four for each core, so that nothing else gets much time.
    fn start() -> Result<Self> {
        let cores = std::thread::available_parallelism()?.get();
        let mut load = Self(Vec::new());
        for _ in 0..4 * cores {
            let mut program = Command::new("sh");
            program.args(["-c", "ulimit -t 30; while :; do :; done"]);
            load.0.push(program.stdin(Stdio::null()).spawn()?);
        }
        Ok(load)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        for program in &mut self.0 {
            let _ = program.kill();
            let _ = program.wait();
        }
    }
}

/// The status of a run of one check, and what the run printed.
async fn verdict(fixture: &Fixture, check: &str) -> Result<(String, String)> {
    let run = fixture.run(&["--only", check]).await?;
    let report = fixture.report()?;
    let status = report["checks"][0]["status"].as_str();
    Ok((status.context("no verdict")?.to_owned(), run.out))
}

/// As `verdict`, on an idle machine. Other tests may load this machine, so try several times.
async fn verdict_when_idle(fixture: &Fixture, check: &str) -> Result<(String, String)> {
    for _ in 0..20 {
        let (status, printed) = verdict(fixture, check).await?;
        if status != "unknown" {
            return Ok((status, printed));
        }
    }
    verdict(fixture, check).await
}

pub async fn starved() -> Result<()> {
    let fixture = Fixture::open()?;
    for (check, expected) in [
        ("works", "pass"),
        ("never-works", "fail"),
        ("spins", "fail"),
    ] {
        let (status, printed) = verdict_when_idle(&fixture, check).await?;
        ensure!(status == expected, "idle, {check}: {printed}");
    }
    let load = Load::start()?;
    // It takes several seconds instead of one.
    let (status, printed) = verdict(&fixture, "works").await?;
    ensure!(status == "pass", "{printed}");
    let (status, printed) = verdict(&fixture, "never-works").await?;
    ensure!(status == "unknown", "{printed}");
    let (status, flaw) = verdict(&fixture, "flawed").await?;
    ensure!(status == "fail", "{flaw}");
    for words in [
        "reason    this machine was too busy: of ",
        " s for a processor and ",
        "Expected: it works. Observed: not a word, after 1 s.",
        "again     just lab 99 --only never-works --seed ",
    ] {
        let flat = printed.split_whitespace().collect::<Vec<_>>().join(" ");
        let words = words.split_whitespace().collect::<Vec<_>>().join(" ");
        ensure!(flat.contains(&words), "no `{words}` in:\n{printed}");
    }
    drop(load);
    Ok(())
}
