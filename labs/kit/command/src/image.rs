//! Builds a chapter's image with `compose/Dockerfile`, and shows what cargo prints in there.

use std::path::Path;
use std::process::Stdio;

use anstream::eprintln;
use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

use crate::credentials;
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use crate::project::{Project, explain};

use process::{Group, first_line};
use terminal::DIM;

/// Cargo's profile for an image that is built again and again; see `Cargo.toml`.
pub const QUICK: &str = "container";

/// How a build ended when the machine did its part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Image {
    /// The image exists.
    Made,
    /// The chapter's sources do not compile; rustc has said why.
    CompileError,
}

impl Project {
    /// Builds the image, which has this project's name. `profile` is cargo's.
    ///
    /// # Errors
    /// Problems that are not the student's.
    pub async fn build(&self, profile: &str) -> Result<Image> {
        let image = ["image", "inspect", "--format", "{{.Id}}", &self.name];
        if first_line("docker", &image).await.is_none() {
            let name = &self.name;
            eprintln!(
                "{DIM}·{DIM:#} building image {name}: it downloads and compiles, for minutes"
            );
        }
        let mut build = self.command_with(Path::new("base.yml"));
        build
            .args(["--progress", "plain", "build", "service"])
            .env("PROFILE", profile)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut group = Group::spawn(&mut build).context("cannot start docker")?;
        let child = group.child();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (out, err) = tokio::join!(listen(out), listen(err));
        let status = group.wait().await.context("docker went away")?;
        // Compose's versions differ in what they write to which of the two.
        let heard = [out, err].concat();
        if status.success() {
            Ok(Image::Made)
        } else if does_not_compile(&heard, &self.name) {
            Ok(Image::CompileError)
        } else {
            Err(explain(&format!("{} cannot be built", self.name), &heard))
        }
    }
}

/// Passes on what cargo prints; gives all that was printed.
async fn listen(pipe: Option<impl AsyncRead + Unpin>) -> String {
    let mut heard = String::new();
    let Some(pipe) = pipe else { return heard };
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Some(words) = cargos_words(&line) {
            eprintln!("{words}");
        }
        heard += &line;
        heard.push('\n');
    }
    heard
}

/// What a step of the build printed, `#12 3.456 error: …`, without the numbers; nothing for
/// a line that reports success.
fn cargos_words(line: &str) -> Option<&str> {
    let (step, rest) = line.strip_prefix('#')?.split_once(' ')?;
    let (seconds, words) = rest.split_once(' ').unwrap_or((rest, ""));
    let number = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_digit());
    let (whole, part) = seconds.split_once('.')?;
    let success = words.trim_start().starts_with("Finished ");
    (number(step) && number(whole) && number(part) && !success).then_some(words)
}

fn does_not_compile(heard: &str, package: &str) -> bool {
    let verdict = format!("error: could not compile `{package}`");
    heard.lines().any(|line| line.contains(&verdict))
}

/// Builds the image of a chapter's program, with the quick profile, under its package's name.
///
/// # Errors
/// Problems that are not the student's.
pub async fn make_image(paths: &Paths, chapter: &Chapter, variant: Variant) -> Result<Image> {
    credentials::ensure(paths, &[credentials::BROKER_PASSWORD])?;
    Project::of(paths, chapter, variant).build(QUICK).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_cargos_lines_of_a_build_are_shown() {
        let heard = |line| cargos_words(line);
        assert_eq!(
            heard("#10 0.8    Compiling x v1"),
            Some("   Compiling x v1")
        );
        assert_eq!(heard("#12 3.456 error[E0425]: y"), Some("error[E0425]: y"));
        assert_eq!(heard("#12 3.456 "), Some(""));
        for engine in [
            "#10 DONE 0.0s",
            "#9 CACHED",
            "#1 [internal] load",
            "",
            "#1 2.1  Finished `x`",
        ] {
            assert_eq!(heard(engine), None, "{engine}");
        }
    }

    #[test]
    fn the_students_mistake_is_recognized() {
        let line = "#12 4.2 error: could not compile `lab-02` (bin \"lab-02\") due to 1 error";
        assert!(does_not_compile(line, "lab-02"));
        assert!(!does_not_compile(line, "lab-03"));
    }
}
