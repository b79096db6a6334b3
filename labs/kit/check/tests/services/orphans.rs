//! When a check is killed, for whatever reason, its services end: guard, service and its child.

use std::fs;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::Process;

use super::process::{Fixture, alive, pids, state};
use proof::{Scratch, until, until_within};

/// The hidden first argument of the process that starts the services, in the folder that
/// follows.
pub const PARENT: &str = "__parent";

/// Writes the process ids of its guard and its own, and starts a child that writes its own.
const SERVICE: &str = "echo $PPID >> \"$PIDS\"; echo $$ >> \"$PIDS\"
    trap '' INT TERM HUP
    sh -c 'echo $$ >> \"$PIDS\"; exec sleep 60' &
    wait";

/// Starts two services, freezes the second, and waits for its own death.
pub fn parent(arguments: &[String]) -> ExitCode {
    let folder = Path::new(&arguments[0]);
    let wait = async {
        let fixture = Fixture::open()?;
        let mut running = Vec::new();
        for name in ["one", "two"] {
            let mut launch = fixture.launch(SERVICE)?;
            let file = folder.join(name);
            launch
                .environment
                .insert("PIDS".into(), file.display().to_string());
            running.push(Process::start(&launch, |_| ()).await?);
            pids(&file, 3).await?;
        }
        running[1].freeze()?;
        fs::write(folder.join("ready"), "")?;
        std::future::pending::<Result<()>>().await
    };
    let error = actix_web::rt::System::new().block_on(wait);
    eprintln!("{error:?}");
    ExitCode::FAILURE
}

/// The parent, and the six processes that depend on it.
struct Family {
    parent: Child,
    others: Vec<i32>,
    scratch: Scratch,
}

impl Drop for Family {
    fn drop(&mut self) {
        // Also after a failed test: nothing may outlive it.
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }
}

impl Family {
    async fn start() -> Result<Self> {
        let scratch = Scratch::new("orphans");
        let parent = Command::new(std::env::current_exe()?)
            .arg(PARENT)
            .arg(scratch.path())
            // A separate process group, as a shell does: Ctrl-C signals a group.
            .process_group(0)
            .stdin(Stdio::null())
            .spawn()?;
        let mut family = Self {
            parent,
            others: Vec::new(),
            scratch,
        };
        let scratch = &family.scratch;
        let ready = scratch.path().join("ready");
        until("the services are there", || ready.exists()).await?;
        let others = pids(&scratch.path().join("one"), 3).await?;
        let frozen = pids(&scratch.path().join("two"), 3).await?;
        until("the second is frozen", || state(frozen[1]).starts_with('T')).await?;
        family.others = [others, frozen].concat();
        ensure!(family.others.iter().all(|&pid| alive(pid)));
        Ok(family)
    }

    async fn dies_by(mut self, signal: &str, whom: String) -> Result<()> {
        let sent = Command::new("kill").args([signal, "--", &whom]).status()?;
        ensure!(sent.success());
        let status = self.parent.wait()?;
        status.signal().context("the parent ended by itself")?;
        let others = &self.others;
        until_within(Duration::from_secs(2), "all are gone", || {
            !others.iter().any(|&pid| alive(pid))
        })
        .await
    }
}

pub async fn parent_killed() -> Result<()> {
    let family = Family::start().await?;
    let parent = family.parent.id().to_string();
    family.dies_by("-KILL", parent).await
}

pub async fn parent_interrupted() -> Result<()> {
    let family = Family::start().await?;
    let group = format!("-{}", family.parent.id());
    family.dies_by("-INT", group).await
}
