//! Whole runs of checks, started as `cargo test`, an editor or `lab` starts them.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::checks::{AS_CHECKS, GO_ON};
use super::process::alive;
use proof::{Scratch, json_lines, soon, until, until_within};

/// A folder for runs.
pub struct Fixture(Scratch);

impl Fixture {
    pub fn open() -> Result<Self> {
        Ok(Self(Scratch::new("run")))
    }

    fn dir(&self) -> PathBuf {
        self.0.path().join("99")
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = std::env::current_exe()?;
        let mut command = Command::new(&program);
        command
            .args(arguments)
            .env(AS_CHECKS, "1")
            .env("LAB_RUN_DIR", self.dir())
            .env("LAB_PROGRAM", &program)
            .env(GO_ON, self.0.path().join("go"))
            .env_remove("LAB_PARENT")
            .env_remove("NO_COLOR")
            .env_remove("CLICOLOR_FORCE")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    pub async fn run(&self, arguments: &[&str]) -> Result<Run> {
        finished(self.command(arguments)?).await
    }

    pub fn report(&self) -> Result<Value> {
        let text = fs::read_to_string(self.dir().join("report.json"))?;
        Ok(serde_json::from_str(&text)?)
    }
}

#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    err: String,
}

async fn finished(mut command: Command) -> Result<Run> {
    let child = command.spawn()?;
    let output = tokio::task::spawn_blocking(move || child.wait_with_output());
    let output: Output = soon("the run ends", output).await???;
    Ok(Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout)?,
        err: String::from_utf8(output.stderr)?,
    })
}

pub async fn list() -> Result<()> {
    let fixture = Fixture::open()?;
    let run = fixture.run(&["--list"]).await?;
    ensure!(run.code == Some(0), "{run:?}");
    ensure!(run.out.lines().count() == 17, "{run:?}");
    let first = format!("{:<24} a check that passes", "passes");
    ensure!(run.out.starts_with(&first), "{run:?}");
    // As cargo-nextest and editors ask.
    let run = fixture
        .run(&["--list", "--format", "terse", "fails"])
        .await?;
    ensure!(
        run.out == "fails-at-length: test\nfails-shortly: test\n",
        "{run:?}"
    );
    ensure!(!fixture.dir().exists(), "a list has left files");
    Ok(())
}

pub async fn only() -> Result<()> {
    let fixture = Fixture::open()?;
    let run = fixture.run(&["--only", "wrong"]).await?;
    ensure!(run.code == Some(2) && run.out.is_empty(), "{run:?}");
    ensure!(run.err.contains("no check is called `wrong`"), "{run:?}");
    ensure!(
        run.err.contains("\n  passes\n  fails-at-length\n"),
        "{run:?}"
    );
    ensure!(!run.err.contains("backtrace"), "{run:?}");
    let run = fixture
        .run(&["--only", "unknown", "--only", "passes"])
        .await?;
    ensure!(run.code == Some(2), "{run:?}");
    let report = fixture.report()?;
    let names: Vec<_> = report["checks"]
        .as_array()
        .context("no checks")?
        .iter()
        .map(|check| check["check"].as_str().unwrap_or("?"))
        .collect();
    ensure!(names == ["passes", "unknown"], "{names:?}");
    Ok(())
}

pub async fn exact() -> Result<()> {
    let fixture = Fixture::open()?;
    let run = fixture.run(&["passes", "--exact", "--nocapture"]).await?;
    ensure!(run.code == Some(0), "{run:?}");
    ensure!(run.out.contains("\n  1 of 1 checks pass"), "{run:?}");
    // Part of a name matches nothing: the verdict is unknown.
    let run = fixture.run(&["pass", "--exact"]).await?;
    ensure!(run.code == Some(2), "{run:?}");
    ensure!(run.out.contains("no check of that name"), "{run:?}");
    let run = fixture.run(&["--no-such-flag"]).await?;
    ensure!(
        run.code == Some(2) && run.err.contains("--no-such-flag"),
        "{run:?}"
    );
    Ok(())
}

pub async fn verdicts() -> Result<()> {
    let fixture = Fixture::open()?;
    let names = [
        "passes",
        "unknown",
        "open-hole",
        "dies",
        "dies-before-a-fault",
    ];
    let only = names.map(|name| ["--only", name]).concat();
    let run = fixture.run(&only).await?;
    ensure!(run.code == Some(1), "{run:?}");
    let out = &run.out;
    for words in [
        "  ✔ a check that passes  ",
        "  ? a check without a verdict  ",
        "      reason    the moon is in the way\n",
        "      expected  tiny-service does its work\n",
        "      observed  it reached HOLE 3, which is still open\n",
        "      why       to do: publish and wait for the broker's confirm\n",
        "      hint      just hint 99 3\n",
        "      observed  it ended by itself: exit code 3; it printed last:\n",
        "                the one but last\n",
        "  1 of 5 checks pass, 1 unknown\n",
    ] {
        ensure!(out.contains(words), "no {words:?} in\n{out}");
    }
    ensure!(!out.contains("listening"), "{out}");
    let report = fixture.report()?;
    let status = |at: usize| report["checks"][at]["status"].as_str().unwrap_or("?");
    ensure!(
        [0, 1, 2, 3, 4].map(status) == ["pass", "unknown", "fail", "fail", "fail"],
        "{report:#}"
    );
    Ok(())
}

/// A service that never stops printing, and waits that never end together.
pub async fn endless() -> Result<()> {
    let fixture = Fixture::open()?;
    let run = fixture
        .run(&["--only", "chatters", "--only", "dawdles"])
        .await?;
    ensure!(run.code == Some(1), "{run:?}");
    let out = &run.out;
    for words in [
        "      observed  tiny-service has printed ",
        "      expected  some time passes\n",
        "      observed  not yet, when the run had taken 5 s\n",
    ] {
        ensure!(out.contains(words), "no {words:?} in\n{out}");
    }
    let log = fixture.dir().join("chatters/tiny-service.log");
    let printed = fs::metadata(&log).with_context(|| format!("{}", log.display()))?;
    ensure!(printed.len() < 20_000_000, "{} bytes", printed.len());
    Ok(())
}

pub async fn optional() -> Result<()> {
    let fixture = Fixture::open()?;
    let only = |names: &[&'static str]| names.iter().flat_map(|&n| ["--only", n]).collect();
    let names: Vec<&str> = only(&["passes", "optional"]);
    let run = fixture.run(&names).await?;
    ensure!(run.code == Some(0), "{run:?}");
    for words in [
        "  · a check of an optional hole  ",
        "  optional · 0.",
        "      observed  less\n",
        "  1 of 1 checks pass · ",
    ] {
        ensure!(run.out.contains(words), "no {words:?} in\n{}", run.out);
    }
    let report = fixture.report()?;
    ensure!(report["status"] == "pass" && report["passed"] == 1);
    let [first, last] = [0, 1].map(|at: usize| &report["checks"][at]);
    ensure!(last["status"] == "fail" && last["optional"] == true);
    ensure!(first["optional"].is_null(), "{report:#}");
    let names: Vec<&str> = only(&["passes", "fails-shortly", "optional"]);
    let run = fixture.run(&names).await?;
    ensure!(run.code == Some(1), "{run:?}");
    ensure!(run.out.contains("  1 of 2 checks pass\n"), "{run:?}");
    let run = fixture.run(&["--only", "optional"]).await?;
    ensure!(run.code == Some(0), "{run:?}");
    ensure!(run.out.contains("  0 of 0 checks pass · "), "{run:?}");
    Ok(())
}

pub async fn json() -> Result<()> {
    let fixture = Fixture::open()?;
    let file = fixture.0.path().join("verdict.json");
    let to = file.display().to_string();
    let names = ["--only", "fails-shortly", "--only", "passes"];
    let run = fixture
        .run(&[&["--seed", "1734", "--json", &to], &names[..]].concat())
        .await?;
    ensure!(run.code == Some(1), "{run:?}");
    let written: Value = serde_json::from_str(&fs::read_to_string(&file)?)?;
    ensure!(written == fixture.report()?, "{written:#}");
    let failed = &written["checks"][1];
    ensure!(
        failed["failure"]
            == json!({"expected": "this", "observed": "that", "why": "reasons", "hole": 7, "explained": true,
                "again": "just lab 99 --only fails-shortly --seed 1734"}),
        "{written:#}"
    );
    ensure!(written["report"] == 1 && written["status"] == "fail" && written["passed"] == 1);
    ensure!(written["seed"] == 1734 && written["broker"].is_null());
    ensure!(
        failed["trace"]
            .as_str()
            .is_some_and(|t| t.ends_with("fails-shortly/journal.jsonl"))
    );
    let journal = json_lines(&fixture.dir().join("passes/journal.jsonl"))?;
    ensure!(journal[0]["check"] == "passes" && journal[0]["seed"] == 1734);
    let run = fixture
        .run(&["--json", "/dev/full", "--only", "passes"])
        .await?;
    ensure!(
        run.err.starts_with("cannot write /dev/full: No space left"),
        "{run:?}"
    );
    // A verdict that cannot be written is an error, not lost silently.
    let run = fixture
        .run(&["--json", "/nowhere/verdict.json", "--only", "passes"])
        .await?;
    ensure!(run.code == Some(2), "{run:?}");
    ensure!(
        run.err.starts_with("cannot write /nowhere/verdict.json: "),
        "{run:?}"
    );
    Ok(())
}

pub async fn eighty_columns() -> Result<()> {
    let fixture = Fixture::open()?;
    let seed = u64::MAX.to_string();
    let names = [
        "--only",
        "fails-at-length",
        "--only",
        "dies",
        "--only",
        "unknown",
    ];
    let run = fixture
        .run(&[&["--seed", &seed], &names[..]].concat())
        .await?;
    for line in run.out.lines() {
        let wide = line.chars().count();
        // A path or a command is not wrapped: a student copies it.
        let whole = line.contains("/journal.jsonl") || line.contains("just lab ");
        ensure!(wide <= 80 || whole, "{wide} columns: {line}");
        ensure!(line.trim_end() == line, "space at the end of {line:?}");
    }
    ensure!(run.out.matches("antidisestablishmentarianism,").count() == 16);
    Ok(())
}

pub async fn colours() -> Result<()> {
    let fixture = Fixture::open()?;
    let names = ["--only", "fails-shortly", "--only", "dies"];
    let run = fixture.run(&names).await?;
    ensure!(
        !run.out.contains('\x1b') && !run.err.contains('\x1b'),
        "{run:?}"
    );
    let mut forced = fixture.command(&names)?;
    forced.env("CLICOLOR_FORCE", "1");
    let forced = finished(forced).await?;
    ensure!(forced.out.contains("\x1b["), "{forced:?}");
    let mut never = fixture.command(&names)?;
    never.env("CLICOLOR_FORCE", "1").env("NO_COLOR", "1");
    let never = finished(never).await?;
    ensure!(!never.out.contains('\x1b'), "{never:?}");
    Ok(())
}

pub async fn two_at_a_time() -> Result<()> {
    let fixture = Fixture::open()?;
    let first = fixture.command(&["--only", "waits"])?.spawn()?;
    let journal = fixture.dir().join("waits/journal.jsonl");
    until("the first is under way", || {
        fs::read_to_string(&journal).is_ok_and(|text| text.contains("started"))
    })
    .await?;
    let second = fixture.run(&["--only", "passes"]).await?;
    ensure!(
        second.code == Some(2) && second.out.is_empty(),
        "{second:?}"
    );
    ensure!(
        second
            .err
            .starts_with("another run of these checks is going on in ")
            && second.err.lines().count() == 1,
        "{second:?}"
    );
    // The second run did not disturb the first one.
    fs::write(fixture.0.path().join("go"), "")?;
    let ended = tokio::task::spawn_blocking(move || first.wait_with_output());
    let ended = soon("the first ends", ended).await???;
    ensure!(ended.status.code() == Some(0), "{ended:?}");
    let third = fixture.run(&["--only", "passes"]).await?;
    ensure!(third.code == Some(0), "{third:?}");
    Ok(())
}

pub async fn unwritable() -> Result<()> {
    let fixture = Fixture::open()?;
    // Permissions do not stop root, but a file in the folder's place does, and so does /proc.
    fs::write(fixture.dir(), "no folder")?;
    let run = fixture.run(&["--only", "passes"]).await?;
    one_clear_line(&run, "cannot write to ")?;
    let mut command = fixture.command(&["--only", "passes"])?;
    command.env("LAB_RUN_DIR", "/proc/self/fdinfo/99");
    one_clear_line(
        &finished(command).await?,
        "cannot write to /proc/self/fdinfo/99",
    )?;
    // A folder whose lock cannot be created.
    fs::remove_file(fixture.dir())?;
    fs::create_dir_all(fixture.dir().join("lock"))?;
    let run = fixture.run(&["--only", "passes"]).await?;
    one_clear_line(&run, "cannot write to ")?;
    // Only one check's folder is blocked: that check is unknown, the others run.
    fs::remove_dir(fixture.dir().join("lock"))?;
    fs::write(fixture.dir().join("unknown"), "no folder")?;
    let run = fixture
        .run(&["--only", "passes", "--only", "unknown"])
        .await?;
    ensure!(run.code == Some(2), "{run:?}");
    ensure!(run.out.contains("✔ a check that passes"), "{run:?}");
    ensure!(run.out.contains("reason    cannot clear"), "{run:?}");
    Ok(())
}

fn one_clear_line(run: &Run, beginning: &str) -> Result<()> {
    ensure!(run.code == Some(2) && run.out.is_empty(), "{run:?}");
    ensure!(run.err.starts_with(beginning), "{run:?}");
    ensure!(run.err.lines().count() == 1, "{run:?}");
    ensure!(run.err.contains("write access"), "{run:?}");
    Ok(())
}

pub async fn seeded() -> Result<()> {
    let fixture = Fixture::open()?;
    let mut drawn = Vec::new();
    // The seed decides what it draws, whichever checks run beside it.
    for arguments in [
        &["--seed", "5", "--only", "draws"][..],
        &["--seed", "5", "--only", "draws", "--only", "passes"],
        &["--seed", "6", "--only", "draws"],
    ] {
        fixture.run(arguments).await?;
        let report = fixture.report()?;
        let checks = report["checks"].as_array().context("no checks")?.clone();
        let check = checks.iter().find(|check| check["check"] == "draws");
        let observed = &check.context("not run")?["failure"]["observed"];
        drawn.push(observed.as_str().context("nothing observed")?.to_owned());
    }
    ensure!(drawn[0] == drawn[1] && drawn[0] != drawn[2], "{drawn:?}");
    Ok(())
}

/// Without a broker every verdict is unknown. Without a check to run, the lab does not look for a broker.
pub async fn no_broker() -> Result<()> {
    let fixture = Fixture::open()?;
    let with_broker = |arguments: &[&str]| {
        let mut command = fixture.command(arguments)?;
        command.env(AS_CHECKS, "broker");
        command.env("AMQP_URL", "amqp://me:s3cret@127.0.0.1:1/");
        Ok::<_, anyhow::Error>(command)
    };
    let run = finished(with_broker(&["--only", "passes", "--only", "dies"])?).await?;
    ensure!(run.code == Some(2), "{run:?}");
    ensure!(run.out.matches("not run").count() == 2, "{run:?}");
    ensure!(run.out.contains("      reason    "), "{run:?}");
    ensure!(run.out.contains("      do        "), "{run:?}");
    ensure!(
        !run.out.contains("s3cret") && !run.err.contains("s3cret"),
        "{run:?}"
    );
    let report = fixture.report()?;
    ensure!(report["status"] == "unknown" && report["broker"].is_null());
    ensure!(!report.to_string().contains("s3cret"), "{report:#}");
    for line in run.out.lines() {
        ensure!(line.chars().count() <= 80, "{line}");
    }
    // Editors run ignored tests like this.
    let run = finished(with_broker(&["--ignored"])?).await?;
    ensure!(run.out.contains("no check of that name"), "{run:?}");
    ensure!(
        !run.out.contains("reason"),
        "the lab looked for a broker: {run:?}"
    );
    Ok(())
}

/// A check that panics is the lab's mistake; the other checks still get their verdicts.
pub async fn panicking_check() -> Result<()> {
    let fixture = Fixture::open()?;
    let run = fixture
        .run(&["--only", "panics", "--only", "passes"])
        .await?;
    ensure!(run.code == Some(2), "{run:?}");
    ensure!(run.out.contains("✔ a check that passes"), "{run:?}");
    ensure!(run.out.contains("? a check that panics"), "{run:?}");
    ensure!(run.out.contains("the lab's mistake"), "{run:?}");
    Ok(())
}

/// When the process of `LAB_PARENT` ends, the run ends, with its services.
pub async fn parent_gone() -> Result<()> {
    let fixture = Fixture::open()?;
    let mut parent = Command::new("sleep").arg("60").spawn()?;
    let mut command = fixture.command(&["--only", "waits"])?;
    command.env("LAB_PARENT", parent.id().to_string());
    let mut run = command.spawn()?;
    let journal = fixture.dir().join("waits/journal.jsonl");
    until("it is under way", || {
        fs::read_to_string(&journal).is_ok_and(|text| text.contains("started"))
    })
    .await?;
    let children = Command::new("pgrep")
        .args(["-P", &run.id().to_string()])
        .output()?;
    let guard: i32 = String::from_utf8(children.stdout)?.trim().parse()?;
    parent.kill()?;
    parent.wait()?;
    until_within(Duration::from_secs(3), "the run ends", || {
        run.try_wait().is_ok_and(|status| status.is_some())
    })
    .await?;
    until_within(Duration::from_secs(2), "its guard is gone", || {
        !alive(guard)
    })
    .await?;
    Ok(())
}
