//! One process under check: a shell script, so that the test decides exactly what it does.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::{Change, Exit, Launch, Process, read_log};

use proof::{PATIENCE, Scratch, soon, until};

/// Sleeps for longer than any test takes, and leaves no process when it is killed.
pub const IDLE: &str = "exec sleep 60";

/// A folder for scripts, and the reported changes of their processes.
pub struct Fixture {
    pub scratch: Scratch,
    changes: Rc<RefCell<Vec<Change>>>,
}

impl Fixture {
    pub fn open() -> Result<Self> {
        Ok(Self {
            scratch: Scratch::new("process"),
            changes: Rc::default(),
        })
    }

    pub fn launch(&self, script: &str) -> Result<Launch> {
        let path = self.scratch.path().join("script.sh");
        fs::write(&path, script)?;
        Ok(Launch {
            program: "/bin/sh".into(),
            name: "script".to_owned(),
            arguments: vec![path.into()],
            environment: BTreeMap::new(),
            log: Some(self.scratch.path().join("service.log")),
        })
    }

    async fn start(&self, script: &str) -> Result<Process> {
        let launch = self.launch(script)?;
        let changes = self.changes.clone();
        let tell = move |change| changes.borrow_mut().push(change);
        soon("it starts", Process::start(&launch, tell)).await?
    }

    fn reported(&self, wanted: Change) -> bool {
        self.changes.borrow().contains(&wanted)
    }
}

/// The state of a process in the words of `ps`; empty when it does not exist. A zombie counts as not
/// existing: its parent has not collected it yet.
pub fn state(pid: i32) -> String {
    let output = Command::new("ps")
        .args(["-o", "stat=", "-p", &pid.to_string()])
        .output();
    let state = String::from_utf8_lossy(&output.unwrap().stdout)
        .trim()
        .to_owned();
    if state.starts_with('Z') {
        return String::new();
    }
    state
}

pub fn alive(pid: i32) -> bool {
    !state(pid).is_empty()
}

/// Waits until scripts have written `count` process ids to a file, and returns them.
pub async fn pids(file: &Path, count: usize) -> Result<Vec<i32>> {
    let read = || -> Vec<i32> {
        let text = fs::read_to_string(file).unwrap_or_default();
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole.filter_map(|line| line.trim().parse().ok()).collect()
    };
    until("the processes are there", || read().len() >= count).await?;
    Ok(read())
}

pub async fn exit_codes() -> Result<()> {
    for (script, exit) in [
        ("exit 0", Exit::Code(0)),
        ("exit 101", Exit::Code(101)),
        ("kill -ABRT $$", Exit::Signal(6)),
    ] {
        let fixture = Fixture::open()?;
        let process = fixture.start(script).await?;
        ensure!(process.end(PATIENCE).await? == exit, "{script}");
        ensure!(process.ended() == Some(exit));
        ensure!(fixture.reported(Change::Started) && fixture.reported(Change::Ended(exit)));
    }
    ensure!(Exit::Signal(6).to_string() == "SIGABRT");
    Ok(())
}

pub async fn memory() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture.start("sleep 60; exit 0").await?;
    let bytes = process.memory().await?;
    // A shell uses more than a page, and less than a database.
    ensure!((50_000..200_000_000).contains(&bytes), "{bytes}");
    process.kill().await?;
    ensure!(process.memory().await.is_err());
    Ok(())
}

pub async fn killed() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture
        .start("trap '' TERM; echo $$; while :; do sleep 60; done")
        .await?;
    let pid = pids(&fixture.scratch.path().join("service.log"), 1).await?[0];
    ensure!(process.ended().is_none());
    let still = process.end(Duration::from_millis(20)).await;
    ensure!(still.is_err(), "{still:?}");
    ensure!(process.kill().await? == Exit::Signal(9));
    ensure!(!alive(pid));
    // A second time does nothing.
    ensure!(process.kill().await? == Exit::Signal(9));
    ensure!(fixture.reported(Change::Killed) && fixture.reported(Change::Ended(Exit::Signal(9))));
    Ok(())
}

pub async fn frozen() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture.start(&format!("echo $$; {IDLE}")).await?;
    let pid = pids(&fixture.scratch.path().join("service.log"), 1).await?[0];
    process.freeze()?;
    until("it is stopped", || state(pid).starts_with('T')).await?;
    process.thaw()?;
    until("it goes on", || !state(pid).starts_with('T')).await?;
    process.freeze()?;
    until("it is stopped again", || state(pid).starts_with('T')).await?;
    ensure!(process.kill().await? == Exit::Signal(9));
    Ok(())
}

pub async fn terminated() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture
        .start("trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done")
        .await?;
    until("it is ready", || process.output().contains("ready")).await?;
    process.terminate()?;
    ensure!(process.end(PATIENCE).await? == Exit::Code(3));
    let output = process.output();
    ensure!(output.ends_with("bye\n"), "{output}");
    Ok(())
}

pub async fn output() -> Result<()> {
    let fixture = Fixture::open()?;
    let mut launch = fixture.launch("echo out $WORD; echo err >&2; printf '\\377 no newline'")?;
    launch.environment = BTreeMap::from([("WORD".into(), "häßlich $HOME".into())]);
    for _ in 0..2 {
        let process = Process::start(&launch, |_| ()).await?;
        process.end(PATIENCE).await?;
    }
    let once = "out häßlich $HOME\nerr\n\u{fffd} no newline";
    let output = read_log(launch.log.as_deref().context("no log")?);
    ensure!(output == once.repeat(2), "{output}");
    ensure!(read_log(Path::new("/nowhere")).is_empty());
    Ok(())
}

pub async fn cannot_be_started() -> Result<()> {
    let fixture = Fixture::open()?;
    let text = fixture.scratch.path().join("text");
    fs::write(&text, "no program")?;
    for (program, words) in [
        (
            PathBuf::from("/nowhere/program"),
            "cannot start /nowhere/program: No such file",
        ),
        (text.clone(), "Permission denied"),
    ] {
        let mut launch = fixture.launch(IDLE)?;
        launch.program = program;
        let error = Process::start(&launch, |_| ()).await;
        let error = format!("{:#}", error.err().context("it was started")?);
        ensure!(
            error.contains(words) && error.lines().count() == 1,
            "{error}"
        );
    }
    let mut launch = fixture.launch(IDLE)?;
    launch.log = Some("/nowhere/service.log".into());
    let error = Process::start(&launch, |_| ()).await;
    let error = format!("{:#}", error.err().context("it was started")?);
    ensure!(
        error.contains("cannot write /nowhere/service.log"),
        "{error}"
    );
    Ok(())
}

/// A clone may be in a folder whose name is not UTF-8.
pub async fn strange_path() -> Result<()> {
    let fixture = Fixture::open()?;
    let folder = fixture
        .scratch
        .path()
        .join(OsStr::from_bytes(b"sp ace \xff"));
    fs::create_dir(&folder)?;
    let program = folder.join("prog\n'ram");
    std::os::unix::fs::symlink("/bin/sh", &program)?;
    let mut launch = fixture.launch("exit 5")?;
    launch.program = program;
    let process = Process::start(&launch, |_| ()).await?;
    ensure!(process.end(PATIENCE).await? == Exit::Code(5));
    Ok(())
}

pub async fn dropped() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture.start(&format!("echo $$; {IDLE}")).await?;
    let pid = pids(&fixture.scratch.path().join("service.log"), 1).await?[0];
    drop(process);
    until("it is gone", || !alive(pid)).await?;
    until("its end is reported", || {
        fixture.reported(Change::Ended(Exit::Signal(9)))
    })
    .await
}

/// The children of a service end with it, however it ends.
pub async fn takes_its_children() -> Result<()> {
    for ending in ["exit 0", "while :; do sleep 60; done"] {
        let fixture = Fixture::open()?;
        let script = format!("sleep 60 >/dev/null 2>&1 & echo $!; {ending}");
        let process = fixture.start(&script).await?;
        let child = pids(&fixture.scratch.path().join("service.log"), 1).await?[0];
        if ending == "exit 0" {
            process.end(PATIENCE).await?;
        } else {
            process.kill().await?;
        }
        until("its child is gone", || !alive(child)).await?;
    }
    Ok(())
}

/// A signal to a service that has just ended by itself is not an error of the kit.
pub async fn ended_before_told() -> Result<()> {
    let fixture = Fixture::open()?;
    let process = fixture.start("exit 4").await?;
    process.end(PATIENCE).await?;
    ensure!(process.kill().await? == Exit::Code(4));
    for outcome in [process.freeze(), process.thaw(), process.terminate()] {
        let error = format!("{:#}", outcome.err().context("no error was reported")?);
        ensure!(error.contains("has ended (exit code 4)"), "{error}");
    }
    // It is dead, but its guard has not reported it yet: killing it has the same result.
    for _ in 0..20 {
        let process = fixture.start("exit 4").await?;
        tokio::task::yield_now().await;
        process.kill().await?;
    }
    Ok(())
}
