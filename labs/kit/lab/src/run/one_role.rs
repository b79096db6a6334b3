//! `run NN ROLE`: runs one program of the chapter on this terminal, beside the others.

use std::ffi::OsString;
use std::future::Future;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::pin::{Pin, pin};
use std::process::{ExitCode, ExitStatus};

use anstream::eprintln;
use anyhow::{Context, Result};
use course::manifest::ServiceEntry;

use crate::run::{Run, TOUCH};
use crate::shared_broker;
use command::cargo::Built;
use command::cargo::does_not_compile;
use command::environment::Environment;
use process::stop::asked;
use process::{Front, GRACE, output_of, port};
use terminal::user_error;
use terminal::{DIM, NOTE};

impl Run<'_> {
    /// Builds, runs the program as `role` with `args` and gives its exit code.
    pub async fn one_role(&self, role: &str, args: &[OsString]) -> Result<ExitCode> {
        let mut stop = pin!(asked());
        let started = tokio::select! {
            biased;
            code = &mut stop => return Ok(ExitCode::from(code?)),
            started = self.start(role, args) => started?,
        };
        match started {
            Some((mut program, environment)) => {
                wait_or_stop(&mut program, &environment, role, stop).await
            }
            None => {
                does_not_compile(&self.chapter, self.variant, None);
                Ok(ExitCode::FAILURE)
            }
        }
    }

    /// Starts the program; gives nothing when it does not compile.
    async fn start(&self, role: &str, args: &[OsString]) -> Result<Option<(Front, Environment)>> {
        let Built::Program(program) = self.build().await? else {
            return Ok(None);
        };
        let service = self.manifest.find(role, args);
        // The program itself knows all its roles, also those that only a person starts. An
        // unknown role is refused before a broker is started.
        if service.is_none() {
            self.refuse_unless_listed(&program, role).await?;
        }
        let service = service.unwrap_or_else(|| ServiceEntry::of_role(role));
        let broker = match self.manifest.broker {
            true => Some(shared_broker::acquire(self.paths, &self.chapter, self.variant).await?),
            false => None,
        };
        let environment = self.environment(&program, broker).await?;
        if let Some(broker) = &environment.broker {
            let (label, vhost) = (broker.label(), &environment.vhost);
            eprintln!("{DIM}· {role} uses {label}, vhost {vhost}{DIM:#}");
        }
        // The other services have their usual ports, unless those were taken.
        let mut ports = self.manifest.ports();
        if service.port.is_some() {
            let port = port::choose(&self.manifest.wished_ports())?[&service.name];
            eprintln!("{DIM}· {role} gets http://127.0.0.1:{port}{DIM:#}");
            ports.insert(service.name.clone(), port);
        }
        let address = environment.broker.as_ref().map(|broker| &broker.address);
        let mut launch = environment.launch(&service, &ports, address)?;
        launch.arguments = vec![role.into()];
        launch.arguments.extend_from_slice(args);
        let front = Front::start(&launch)
            .with_context(|| format!("cannot start {} {role}", program.display()))?;
        Ok(Some((front, environment)))
    }

    /// An error with the program's own list of roles, unless it names this one there.
    async fn refuse_unless_listed(&self, program: &Path, role: &str) -> Result<()> {
        let Ok(output) = output_of(program, &[], GRACE).await else {
            return Ok(()); // it doesn't list its roles: run it
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        let of_a_name = |c: char| c.is_ascii_alphanumeric() || c == '-';
        if said.split(|c| !of_a_name(c)).any(|word| word == role) {
            return Ok(());
        }
        let (number, said) = (&self.chapter.number, said.trim_end());
        Err(user_error(
            format!("chapter {number} has no role `{role}`"),
            format!("name one of its roles; the program says:\n\n{said}"),
        ))
    }
}

/// Waits until the program ends, or asks it to end when `stop` says so. A program that still
/// runs [`GRACE`] later is killed.
async fn wait_or_stop(
    program: &mut Front,
    environment: &Environment,
    role: &str,
    mut stop: Pin<&mut impl Future<Output = Result<u8>>>,
) -> Result<ExitCode> {
    let mut touch = tokio::time::interval(TOUCH);
    loop {
        tokio::select! {
            biased;
            code = &mut stop => {
                code?;
                break;
            }
            status = program.wait() => return Ok(exit_code(status?)),
            _ = touch.tick() => environment.touch_broker(),
        }
    }
    if let Some(status) = program.terminate(GRACE).await? {
        return Ok(exit_code(status));
    }
    let grace = GRACE.as_secs();
    eprintln!("{NOTE}· {role} has not ended in {grace} s: killed{NOTE:#}");
    Ok(exit_code(program.kill().await?))
}

/// The guard's exit code, which is the program's.
fn exit_code(status: ExitStatus) -> ExitCode {
    let code = status.code().or_else(|| Some(128 + status.signal()?));
    // No system of ours has exit codes above 255.
    ExitCode::from(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
