//! Builds a chapter with cargo, shows rustc's messages, and tells three results apart: a
//! program, the student's mistake, or a problem of this machine.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anstream::{eprint, eprintln};
use anyhow::{Context, Result};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Command;

use process::Group;
use terminal::{BAD, TYPE, user_error};

/// What to build of a chapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// The checks, and with them the program under check.
    Checks,
    /// The search, and with it the program that is searched.
    Search,
    /// Only the program.
    Program,
}

/// How a build ended when the machine did its part.
#[derive(Debug)]
pub enum Built {
    /// The program is here.
    Program(PathBuf),
    /// The chapter's sources do not compile; rustc has said why.
    CompileError,
}

/// The part of cargo's messages that matters here.
#[derive(Debug, Deserialize)]
#[serde(tag = "reason")]
enum Message {
    #[serde(rename = "compiler-message")]
    Said { target: Target, message: Diagnostic },
    #[serde(rename = "compiler-artifact")]
    Made {
        target: Target,
        executable: Option<PathBuf>,
    },
    #[serde(other)]
    Other,
}

#[derive(Debug, Deserialize)]
struct Target {
    name: String,
    src_path: PathBuf,
}

#[derive(Debug, Deserialize)]
struct Diagnostic {
    level: String,
    rendered: Option<String>,
}

/// What rustc says when the machine fails, not the code.
const MACHINE: [&str; 5] = [
    "No space left on device",
    "Read-only file system",
    "Permission denied",
    "linker `cc` not found",
    "Cannot allocate memory",
];

/// Builds `product` of a chapter. Dropping the future ends cargo.
///
/// # Errors
/// Problems that are not the student's: no cargo, no crates, no room.
pub async fn build(
    paths: &Paths,
    chapter: &Chapter,
    variant: Variant,
    product: Product,
) -> Result<Built> {
    let package = chapter.package(variant);
    let mut cargo = command(paths, &package, product);
    let mut group = Group::spawn(&mut cargo).map_err(|error| {
        user_error(
            format!("cargo cannot be started: {error}"),
            "install Rust, https://rustup.rs, and open a new terminal",
        )
    })?;
    let child = group.child();
    let stdout = child.stdout.take().context("cargo has no output")?;
    let stderr = child.stderr.take().context("cargo has no error output")?;
    let (heard, relayed) = tokio::join!(listen(stdout, chapter, &package), relay(stderr));
    let (heard, ()) = (heard?, relayed?);
    let status = group.wait().await.context("cargo went away")?;

    let name = match product {
        Product::Checks => "checks",
        Product::Search => "search",
        Product::Program => package.as_str(),
    };
    match (status.success(), heard) {
        (true, Heard { executables, .. }) => executables
            .into_iter()
            .find(|(target, _)| target == name)
            .map(|(_, path)| Built::Program(path))
            .with_context(|| format!("cargo built no `{name}` in package {package}")),
        (false, heard) if heard.machine.is_some() => {
            let what = heard.machine.unwrap_or_default();
            Err(user_error(
                format!("{package} could not be built on this machine: {what}"),
                "just doctor",
            ))
        }
        (false, heard) if heard.in_chapter => Ok(Built::CompileError),
        (false, _) => Err(user_error(
            format!(
                "{package} could not be built, but its own sources are not the cause: see cargo above"
            ),
            "just doctor",
        )),
    }
}

/// Prints the last line under rustc's messages; `again` is what to type after correcting them.
pub fn does_not_compile(chapter: &Chapter, variant: Variant, again: Option<&str>) {
    let number = &chapter.number;
    let then = again.map_or(String::new(), |again| {
        format!(", then: {TYPE}just {again} {number}{TYPE:#}")
    });
    eprintln!("{BAD}✘{BAD:#} {variant} {number} does not compile: see rustc above{then}");
}

fn command(paths: &Paths, package: &str, product: Product) -> Command {
    let mut cargo = Command::new("cargo");
    cargo
        .current_dir(&paths.root)
        .env("CARGO_TARGET_DIR", &paths.target)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    match product {
        Product::Checks => cargo.args(["test", "--no-run", "--test", "checks"]),
        Product::Search => cargo.args([
            "test",
            "--no-run",
            "--test",
            "search",
            "--features",
            "search",
        ]),
        // Together with `check`, as the checks are built: cargo unites the features of what it
        // builds, and would otherwise compile tokio and others once more.
        Product::Program => cargo.args(["build", "-p", "check", "--bin", package]),
    };
    cargo.args(["-p", package]);
    if terminal::colour_on_stderr() {
        // Cargo writes into our pipe, so it does not know that a terminal comes after.
        cargo
            .args(["--color", "always"])
            .arg("--message-format=json-diagnostic-rendered-ansi")
            .env("CARGO_TERM_PROGRESS_WHEN", "always")
            .env("CARGO_TERM_PROGRESS_WIDTH", "78");
    } else {
        cargo.arg("--message-format=json");
    }
    cargo
}

/// What cargo's messages said.
#[derive(Debug, Default)]
struct Heard {
    /// Programs by the name of their target.
    executables: Vec<(String, PathBuf)>,
    /// Whether rustc found an error in the chapter's own sources.
    in_chapter: bool,
    /// The machine's own error, if one was among them.
    machine: Option<&'static str>,
}

async fn listen(stdout: impl AsyncRead + Unpin, chapter: &Chapter, package: &str) -> Result<Heard> {
    let mut heard = Heard::default();
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await.context("cargo's messages")? {
        match serde_json::from_str(&line) {
            Ok(Message::Said { target, message }) => {
                let text = message.rendered.unwrap_or_default();
                eprint!("{}{text}", clear_line());
                if message.level == "error" {
                    heard.in_chapter |= of_chapter(&target.src_path, chapter);
                    let machine = MACHINE.iter().find(|words| text.contains(*words));
                    heard.machine = heard.machine.or(machine.copied());
                }
            }
            Ok(Message::Made {
                target,
                executable: Some(path),
            }) if of_chapter(&target.src_path, chapter) => {
                heard.executables.push((target.name, path));
            }
            Ok(_) => {}
            // Cargo writes only JSON here, but a build script may print.
            Err(_) => log::debug!("{package}: {line}"),
        }
    }
    Ok(heard)
}

fn of_chapter(source: &Path, chapter: &Chapter) -> bool {
    // Cargo writes `solutions/02-x/../../labs/02-x/tests/checks.rs` for the shared checks.
    source.starts_with(&chapter.lab) || source.starts_with(&chapter.solution)
}

/// Passes cargo's own messages on, except those that report success.
async fn relay(mut stderr: impl AsyncRead + Unpin) -> Result<()> {
    let mut out = std::io::stderr();
    let mut pending = Vec::new();
    loop {
        let read = stderr
            .read_buf(&mut pending)
            .await
            .context("cargo's words")?;
        for piece in pieces(&mut pending, read == 0) {
            let shown = if reports_success(&piece) {
                clear_line().as_bytes()
            } else {
                &piece
            };
            out.write_all(shown).context("standard error")?;
        }
        out.flush().context("standard error")?;
        if read == 0 {
            return Ok(());
        }
    }
}

/// Clears a progress bar from the line before other text.
fn clear_line() -> &'static str {
    if terminal::colour_on_stderr() {
        "\r\x1b[K"
    } else {
        ""
    }
}

/// Takes the complete lines from `pending`, and the progress bars, which end with a carriage
/// return. At the end, everything is complete.
fn pieces(pending: &mut Vec<u8>, at_end: bool) -> Vec<Vec<u8>> {
    let mut pieces = Vec::new();
    while let Some(end) = pending
        .iter()
        .position(|byte| matches!(byte, b'\n' | b'\r'))
    {
        pieces.push(pending.drain(..=end).collect());
    }
    if at_end && !pending.is_empty() {
        pieces.push(std::mem::take(pending));
    }
    pieces
}

fn reports_success(piece: &[u8]) -> bool {
    let text = String::from_utf8_lossy(piece);
    let text = anstream::adapter::strip_str(&text).to_string();
    let text = text.trim_start();
    text.starts_with("Finished ") || text.starts_with("Executable ")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proof::Scratch;

    /// A workspace of one chapter without dependencies, whose source is `main`.
    fn built(manifest: &str, main: &str) -> Result<Built> {
        let scratch = Scratch::new("build");
        let root = scratch.path().canonicalize().unwrap();
        let package = "[package]\nname = \"lab-01\"\nedition = \"2024\"\n[workspace]\n";
        let lab = "labs/01-http";
        scratch.write(
            &format!("{lab}/Cargo.toml"),
            &format!("{package}{manifest}"),
        );
        scratch.write(&format!("{lab}/src/main.rs"), main);
        scratch.write(&format!("{lab}/tests/checks.rs"), "");
        let chapter = Chapter::resolve(&root, "1").unwrap();
        let paths = Paths {
            root: root.join(lab),
            target: root.join("target"),
        };
        let work = build(&paths, &chapter, Variant::Lab, Product::Checks);
        actix_web::rt::System::new().block_on(work)
    }

    #[test]
    fn a_build_is_a_program_the_students_mistake_or_an_error() {
        match built("", "fn main() {}") {
            Ok(Built::Program(path)) => {
                let name = path.file_name().unwrap().to_string_lossy();
                assert!(name.starts_with("checks-"), "{}", path.display());
            }
            other => panic!("{other:?}"),
        }
        let mistake = built("", "fn main() { 1 }");
        assert!(matches!(mistake, Ok(Built::CompileError)), "{mistake:?}");
        assert!(built("this is no manifest", "fn main() {}").is_err());
    }

    #[test]
    fn progress_is_passed_on_and_success_is_silent() {
        let mut pending = b"  Building [=> ] 1/2\r\x1b[K  Finished `dev`\nerror: x".to_vec();
        let got = pieces(&mut pending, false);
        assert_eq!(got.len(), 2);
        assert!(!reports_success(&got[0]));
        assert!(reports_success(&got[1]));
        assert_eq!(pending, b"error: x");
        assert_eq!(pieces(&mut pending, true), [b"error: x".to_vec()]);
    }

    #[test]
    fn cargos_messages_are_understood() {
        let artifact = r#"{"reason":"compiler-artifact","package_id":"x","target":{"kind":["test"],
            "name":"checks","src_path":"/x/checks.rs"},"executable":"/t/checks-1","fresh":true}"#;
        assert!(matches!(
            serde_json::from_str(artifact),
            Ok(Message::Made {
                executable: Some(_),
                ..
            })
        ));
        let other = r#"{"reason":"build-finished","success":true}"#;
        assert!(matches!(serde_json::from_str(other), Ok(Message::Other)));
    }
}
