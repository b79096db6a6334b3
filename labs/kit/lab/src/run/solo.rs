//! `run NN ROLE`: one program of the chapter in the foreground, as in a terminal of its own,
//! beside whatever else of the chapter runs.

use std::ffi::OsString;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{ExitCode, ExitStatus, Stdio};

use anstream::eprintln;
use anyhow::{Context, Result};
use broker::Broker;
use course::manifest::Role;
use process::guard;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};

use crate::run::{Play, TOUCH};
use command::cargo::Built;
use command::cargo::does_not_compile;
use process::cast::{self, GRACE, Part};
use process::stop::asked;
use terminal::trouble;
use terminal::{DIM, NOTE};

impl Play<'_> {
    /// Builds, runs the program as `role` with `args` and gives its exit code.
    pub async fn solo(&self, role: &str, args: &[OsString]) -> Result<ExitCode> {
        let mut stop = pin!(asked());
        let started = tokio::select! {
            biased;
            code = &mut stop => return Ok(ExitCode::from(code?)),
            started = self.start(role, args) => started?,
        };
        match started {
            Some((mut guard, broker)) => watch_over(&mut guard, broker.as_ref(), role, stop).await,
            None => {
                does_not_compile(&self.chapter, self.variant, None);
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Starts the program behind its guard; gives nothing when it does not compile.
    async fn start(
        &self,
        role: &str,
        args: &[OsString],
    ) -> Result<Option<(Child, Option<Broker>)>> {
        let Built::Program(program) = self.build().await? else {
            return Ok(None);
        };
        let service = self.scene.like(role, args);
        // The program itself knows best which roles there are, also such as are only played
        // by hand. One that it does not know is refused before a broker is started.
        if service.is_none() {
            self.refuse_unless_listed(&program, role).await?;
        }
        let service = service.unwrap_or_else(|| Role::plain(role));
        let broker = match self.scene.broker {
            true => Some(self.broker().await?),
            false => None,
        };
        let place = self.place(&program, broker).await?;
        if let Some(broker) = &place.broker {
            let (label, vhost) = (broker.label(), &place.vhost);
            eprintln!("{DIM}· {role} uses {label}, vhost {vhost}{DIM:#}");
        }
        // The others are taken to be where they are when nothing is in their way.
        let mut ports = self.scene.ports();
        if service.port.is_some() {
            let port = cast::ports(&self.wished())?[&service.name];
            eprintln!("{DIM}· {role} gets http://127.0.0.1:{port}{DIM:#}");
            ports.insert(service.name.clone(), port);
        }
        let mut part = place.part(&service, &ports)?;
        part.arguments = std::iter::once(OsString::from(role))
            .chain(args.iter().cloned())
            .collect();
        let guard = spawn(&program, &part)
            .with_context(|| format!("cannot start {} {role}", program.display()))?;
        Ok(Some((guard, place.broker)))
    }

    /// An error with the program's own list of roles, unless it names this one there.
    async fn refuse_unless_listed(&self, program: &Path, role: &str) -> Result<()> {
        let mut command = Command::new(program);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let Ok(Ok(output)) = tokio::time::timeout(GRACE, command.output()).await else {
            return Ok(()); // it doesn't list its roles: let it run
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if said.split(|c| !of_a_name(c)).any(|word| word == role) {
            return Ok(());
        }
        let (number, said) = (&self.chapter.number, said.trim_end());
        Err(trouble(
            format!("chapter {number} has no role `{role}`"),
            format!("name one of its roles; the program says:\n\n{said}"),
        ))
    }
}

/// Starts the program on this terminal, behind a guard that kills it when we are gone.
fn spawn(program: &Path, part: &Part) -> std::io::Result<Child> {
    cast::guarded(guard::IN_FRONT, program, part)?
        .stdin(Stdio::piped())
        .spawn()
}

/// Waits for the program's end, asking for it when `stop` says so. A program that has not
/// ended [`GRACE`] later is killed.
async fn watch_over(
    guard: &mut Child,
    broker: Option<&Broker>,
    role: &str,
    mut stop: Pin<&mut impl Future<Output = Result<u8>>>,
) -> Result<ExitCode> {
    let mut lifeline = guard.stdin.take();
    let mut touch = tokio::time::interval(TOUCH);
    let asked = loop {
        tokio::select! {
            biased;
            code = &mut stop => break code,
            status = guard.wait() => return Ok(exit_code(status?)),
            _ = touch.tick() => if let Some(broker) = broker {
                broker.touch();
            }
        }
    };
    if let (Ok(_), Some(lifeline)) = (asked, &mut lifeline) {
        // Where this fails, the program has just ended by itself.
        let _ = lifeline.write_all(b".").await;
        if let Ok(status) = tokio::time::timeout(GRACE, guard.wait()).await {
            return Ok(exit_code(status?));
        }
        let grace = GRACE.as_secs();
        eprintln!("{NOTE}· {role} has not ended in {grace} s: killed{NOTE:#}");
    }
    // The guard kills the program when this is closed.
    drop(lifeline);
    Ok(exit_code(guard.wait().await?))
}

/// The guard's exit code, which is the program's.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    // Beyond 255 no system of ours counts.
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
