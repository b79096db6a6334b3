//! `up NN ROLE`: one program of the chapter in a container of its own, beside the others, on
//! this terminal. It is gone when it ends.

use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::process::{ExitCode, Stdio};

use anstream::eprintln;
use anyhow::{Context, Result, bail};
use kit::manifest::Role;

use super::image::Image;
use super::{Boxes, QUICK, engine};
use crate::cast;
use crate::check::does_not_compile;
use crate::credentials;
use crate::stop::{Ended, until_stopped};
use crate::term::DIM;

impl Boxes<'_> {
    /// Builds, and becomes `docker compose run`: its exit code, its signals.
    pub fn solo(&self, role: &str, args: &[OsString]) -> Result<ExitCode> {
        let ready = until_stopped(async {
            engine::present(self.paths, &self.natively()).await?;
            credentials::ensure(self.paths, &[credentials::BROKER_PASSWORD])?;
            if self.project.build(QUICK).await? == Image::CompileError {
                does_not_compile(&self.chapter, self.variant, None);
                return Ok(None);
            }
            self.command_for(role, args).await.map(Some)
        })?;
        match ready {
            Ended::Stopped(code) => Ok(code),
            Ended::Done(None) => Ok(ExitCode::FAILURE),
            Ended::Done(Some(command)) => {
                let error = command.into_std().exec();
                Err(error).context("cannot start docker")
            }
        }
    }

    async fn command_for(&self, role: &str, args: &[OsString]) -> Result<tokio::process::Command> {
        // The program itself knows best which roles there are; an unknown one is its to refuse.
        let service = self.scene.like(role, args);
        let service = service.unwrap_or_else(|| Role::plain(role));
        let named = |one: &&Role| one.name == service.name;
        let services = &self.scene.services;
        let Some(like) = services.iter().find(named).or(services.first()) else {
            bail!("chapter {} names no services", self.chapter.number);
        };
        let ports = self.ports().await?;
        let mut run = self.project.command_with(&self.file);
        run.args(["--progress", "quiet", "run", "--rm"])
            .envs(&ports.variables);
        if !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
            run.arg("--no-TTY");
        }
        if service.database != like.database {
            run.arg("--env")
                .arg(format!("DATABASE=/data/{}.sqlite", service.database));
        }
        if let Some(inside) = service.port {
            let port = cast::ports(&self.wished())?[&service.name];
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
