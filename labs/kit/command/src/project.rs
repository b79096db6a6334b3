//! Calls Compose for a chapter, makes sure that it can be called, and explains its errors.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Result, bail};
use broker;
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use tokio::process::Command;

use process::first_line;
use terminal::user_error;

/// The first Compose that reads all of our files (`develop.watch`).
const COMPOSE: [u32; 2] = [2, 22];

/// Makes sure that an engine answers, with a Compose that can read our files.
///
/// # Errors
/// What is missing, and `mend`, what to do about it.
pub async fn require_engine(paths: &Paths, mend: &str) -> Result<()> {
    if let Err(why) = broker::docker_engine(&paths.root.join("compose/broker.yml")).await {
        bail!(user_error(format!("no containers here: {why}"), mend));
    }
    let version = first_line("docker", &["compose", "version", "--short"]).await;
    let version = version.unwrap_or_default();
    if !reads_our_files(&version) {
        bail!(user_error(
            format!("docker's Compose is {version}, which cannot read the lab's files"),
            mend
        ));
    }
    Ok(())
}

fn reads_our_files(version: &str) -> bool {
    let numbers = version.trim_start_matches('v').split(['.', '-', '+']);
    let numbers: Vec<u32> = numbers.map_while(|part| part.parse().ok()).collect();
    numbers[..] >= COMPOSE[..]
}

/// The containers of one chapter, of the lab or of the solution: a Compose project.
#[derive(Debug, Clone)]
pub struct Project {
    root: PathBuf,
    /// Its name, which is its package's and its image's, too.
    pub name: String,
    sources: PathBuf,
}

impl Project {
    /// The project of one of the chapter's two trees.
    #[must_use]
    pub fn of(paths: &Paths, chapter: &Chapter, variant: Variant) -> Self {
        let sources = chapter.folder(variant).join("src");
        Self {
            root: paths.root.clone(),
            name: chapter.package(variant),
            sources: PathBuf::from(paths.short(&sources)),
        }
    }

    /// `docker compose` for this project as it exists: Compose knows it by its name.
    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command
            .arg("compose")
            .args(["--project-name", &self.name])
            .env_remove("COMPOSE_FILE")
            .current_dir(&self.root)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// `docker compose` with one of the files in `compose/`, and the variables that they use.
    pub fn command_with(&self, file: &Path) -> Command {
        let mut command = self.command();
        command
            .arg("--file")
            .arg(self.root.join("compose").join(file))
            .env("PACKAGE", &self.name)
            .env("SOURCES", &self.sources)
            .env("LAB_BROKER_VHOST", &self.name);
        command
    }
}

/// The last error in what an engine printed.
pub fn last_error(words: &str) -> &str {
    let errors = ["rror response from daemon: ", "failed to solve: ", "rror: "];
    let last = words.lines().map(str::trim).rfind(|line| !line.is_empty());
    let last = last.unwrap_or("it says nothing");
    let found = errors.iter().find_map(|start| last.split_once(start));
    found.map_or(last, |(_, text)| text)
}

/// The error that an engine printed when it failed at `what`, with what to do.
pub fn explain(what: &str, words: &str) -> anyhow::Error {
    const NO_PULL: [&str; 8] = [
        "dial tcp",
        "pull access denied",
        "failed to resolve source metadata",
        "failed to resolve reference",
        "toomanyrequests",
        "TLS handshake",
        "no such host",
        "manifest unknown",
    ];
    let mut last_error = last_error(words);
    if NO_PULL.iter().any(|sign| words.contains(sign)) {
        // Errors within errors: the last one names the cause.
        if words.contains("dial tcp") {
            last_error = last_error.rsplit(": ").next().unwrap_or(last_error);
        }
        return user_error(
            format!("{what}: an image cannot be pulled: {last_error}"),
            "check the network and try again. If only Debian's packages can be reached, not the \
             registry: sudo .ci/stand-in-images",
        );
    }
    for sign in ["port is already allocated", "address already in use"] {
        if words.contains(sign) {
            return user_error(
                format!("{what}: another program has just taken a port: {last_error}"),
                "try again: the next free port is used",
            );
        }
    }
    user_error(format!("{what}: {last_error}"), "docker info")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compose_must_know_what_our_files_say() {
        for version in ["2.22.0", "v2.26.1-4", "2.100", "5.0.1"] {
            assert!(reads_our_files(version), "{version}");
        }
        for version in ["", "1.29.2", "2.21.9"] {
            assert!(!reads_our_files(version), "{version}");
        }
    }

    #[test]
    fn an_engine_without_a_registry_leads_to_the_stand_ins() {
        let words = "#2 ERROR: failed to do request\nfailed to solve: rust:1.95-slim-trixie: \
            failed to resolve source metadata for x/rust:1.95: dial tcp: lookup x: no such host\n";
        let error = explain("lab-02 cannot be built", words);
        assert_eq!(
            error.to_string(),
            "lab-02 cannot be built: an image cannot be pulled: no such host"
        );
        let mend = error.downcast_ref::<terminal::UserError>();
        assert!(format!("{mend:?}").contains(".ci/stand-in-images"));
        let other = explain("x", "Error response from daemon: no space left\n");
        assert_eq!(other.to_string(), "x: no space left");
    }
}
