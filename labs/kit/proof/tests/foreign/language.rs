//! The languages: what each needs, and how to install its library under `target/`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, bail, ensure};

/// A language of a foreign program.
#[derive(Debug, Clone, Copy)]
pub enum Language {
    Node,
    Python,
}

impl Language {
    pub fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python",
        }
    }

    /// What this machine lacks for this language, and how to get it.
    pub fn missing(self) -> Option<String> {
        let (tools, get) = match self {
            Self::Node => (
                &["node", "npm"][..],
                "install Node.js 18 or later, https://nodejs.org",
            ),
            Self::Python => (
                &["python3"][..],
                "install Python 3.8 or later, https://python.org",
            ),
        };
        let runs = |tool: &&str| Command::new(tool).arg("--version").output().is_ok();
        let tool = tools.iter().find(|tool| !runs(tool))?;
        Some(format!("`{tool}` is not installed; {get}"))
    }

    /// The program and its first argument, with the library installed in a folder under `data`.
    pub fn program(self, data: &Path) -> Result<(PathBuf, PathBuf)> {
        // Trials run in parallel; only one may install.
        static ONE: Mutex<()> = Mutex::new(());
        let _one = ONE.lock();
        if let Some(what) = self.missing() {
            bail!(what);
        }
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/foreign");
        let folder = data.join("foreign").join(self.name());
        fs::create_dir_all(&folder)?;
        let (program, script, needs) = match self {
            Self::Node => ("node".into(), "join.mjs", "package.json"),
            Self::Python => (folder.join("bin/python"), "join.py", "requirements.txt"),
        };
        // Node.js looks for modules beside the script, so copy the script to its library.
        fs::copy(sources.join(script), folder.join(script))?;
        let wanted = fs::read_to_string(sources.join(needs))?;
        let installed = folder.join("installed");
        if fs::read_to_string(&installed).unwrap_or_default() != wanted {
            fs::write(folder.join(needs), &wanted)?;
            self.install(&folder)?;
            fs::write(installed, wanted)?;
        }
        Ok((program, folder.join(script)))
    }

    fn install(self, folder: &Path) -> Result<()> {
        match self {
            Self::Node => run(
                Command::new("npm").args(["install", "--no-audit", "--no-fund"]),
                folder,
                "can this machine reach the npm registry?",
            ),
            Self::Python => {
                let venv = ["-m", "venv", "."];
                let get = "on Debian and Ubuntu: sudo apt-get install python3-venv";
                run(Command::new("python3").args(venv), folder, get)?;
                let pip = ["-m", "pip", "install", "--quiet", "-r", "requirements.txt"];
                let mut pip_of_venv = Command::new(folder.join("bin/python"));
                run(
                    pip_of_venv.args(pip),
                    folder,
                    "can this machine reach PyPI?",
                )
            }
        }
    }
}

fn run(command: &mut Command, folder: &Path, hint: &str) -> Result<()> {
    let output = command.current_dir(folder).output();
    let output = output.with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "{command:?} fails ({hint}):\n{said}"
    );
    Ok(())
}
