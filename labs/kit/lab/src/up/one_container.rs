//! `up NN ROLE`: runs one program of the chapter on this terminal, in a container of its own
//! beside the others; the container is removed when the program ends.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::process::{ExitCode, Stdio};

use anstream::eprintln;
use anyhow::{Context, Result, bail};
use course::manifest::ServiceEntry;
use tokio::process::Command;

use super::Containers;
use command::cargo::does_not_compile;
use command::credentials;
use command::image::{Image, QUICK};
use command::project::require_engine;
use process::port;
use process::stop::{Ended, until_stopped};
use terminal::DIM;

impl Containers<'_> {
    /// Builds, runs the program as `role` with `args`, and gives its exit code.
    pub fn one_role(&self, role: &str, args: &[OsString]) -> Result<ExitCode> {
        let name = format!("{}-{role}-run-{}", self.project.name, std::process::id());
        let ended = until_stopped(async {
            require_engine(self.paths, &self.natively()).await?;
            credentials::ensure(self.paths, &[credentials::BROKER_PASSWORD])?;
            if self.project.build(QUICK).await? == Image::CompileError {
                does_not_compile(&self.chapter, self.variant, None);
                return Ok(ExitCode::FAILURE);
            }
            let mut run = self.command_for(role, args, &name).await?;
            let mut run = run.spawn().context("cannot start docker")?;
            // Ctrl-C at the terminal reaches the program, whose end ends this command.
            let status = run.wait().await.context("docker went away")?;
            let code = status.code().and_then(|code| u8::try_from(code).ok());
            Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
        });
        if let Ok(Ended::Stopped(_)) = &ended {
            // Compose leaves the container running when it is asked to end.
            for words in [&["stop"][..], &["rm", "--force"]] {
                let mut docker = std::process::Command::new("docker");
                // The container may have been removed already, or never made.
                let _ = docker.args(words).arg(&name).output();
            }
        }
        ended.map(Ended::code)
    }

    async fn command_for(&self, role: &str, args: &[OsString], name: &str) -> Result<Command> {
        // The program itself knows all its roles and refuses an unknown one.
        let service = self.manifest.find(role, args);
        let service = service.unwrap_or_else(|| ServiceEntry::of_role(role));
        let named = |one: &&ServiceEntry| one.name == service.name;
        let services = &self.manifest.services;
        let Some(like) = services.iter().find(named).or(services.first()) else {
            bail!("chapter {} names no services", self.chapter.number);
        };
        let ports = self.ports().await?;
        let mut run = self.project.command_with(&self.file);
        run.args(["--progress", "quiet", "run", "--rm", "--name", name])
            .envs(&ports.variables);
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            run.arg("--no-TTY");
        }
        if service.database != like.database {
            run.arg("--env")
                .arg(format!("DATABASE=/data/{}.sqlite", service.database));
        }
        if let Some(inside) = service.port {
            let port = port::choose(&self.manifest.wished_ports())?[&service.name];
            eprintln!("{DIM}· {role} gets http://127.0.0.1:{port}{DIM:#}");
            run.arg("--publish")
                .arg(format!("127.0.0.1:{port}:{inside}"));
        }
        run.arg(&like.name)
            .arg(role)
            .args(args)
            .stdin(Stdio::inherit());
        Ok(run)
    }
}
