//! `doctor`: prints what is installed, what is missing and what to do; it changes nothing.

use std::collections::BTreeMap;
use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use broker::{self, Candidate};
use course::chapter::Chapter;
use course::manifest::ServiceManifest;
use course::paths::Paths;

use process::stop::until_stopped;
use process::{first_line, on_path, port};
use terminal::{BAD, BOLD, DIM, GOOD, NOTE, TYPE};
use terminal::{UNKNOWN, labelled};

/// What cargo needs at least; the manifests say the same.
const RUST: &str = env!("CARGO_PKG_RUST_VERSION");

/// The column at which the texts begin.
const TEXT: usize = 28;

pub fn run(paths: &Paths) -> Result<ExitCode> {
    until_stopped(async {
        let mut doctor = Doctor::default();
        doctor.tools().await;
        let broker = doctor.broker(&broker::survey(paths).await);
        doctor.ports(paths);
        let folder = doctor.folder(paths).await;
        doctor.print_to_do();
        let well = broker && folder;
        if well {
            println!("{GOOD}✔{GOOD:#} a broker is available · next: {TYPE}just lab 02{TYPE:#}");
        }
        Ok(if well {
            ExitCode::SUCCESS
        } else {
            ExitCode::from(UNKNOWN)
        })
    })
    .map(|ended| ended.code())
}

/// What is missing so far.
#[derive(Default)]
struct Doctor {
    to_do: Vec<String>,
}

impl Doctor {
    async fn tools(&mut self) {
        println!("{BOLD}Tools{BOLD:#}");
        let rustc = first_line("rustc", &["--version"]).await;
        let new_enough = rustc.as_deref().is_some_and(|line| {
            let version = line.split_whitespace().nth(1).unwrap_or_default();
            numbers(version) >= numbers(RUST)
        });
        self.tool("rustc", rustc, "install Rust: https://rustup.rs");
        if !new_enough {
            self.to_do
                .push(format!("Rust {RUST} or later is needed: rustup update"));
        }
        let cargo = first_line("cargo", &["--version"]).await;
        self.tool("cargo", cargo, "install Rust: https://rustup.rs");
        let cc = first_line("cc", &["--version"]).await;
        let get_cc = if cfg!(target_os = "macos") {
            "install a C compiler: xcode-select --install"
        } else {
            "install a C compiler: sudo apt-get install gcc libc6-dev"
        };
        self.tool("cc", cc, get_cc);
        let just = first_line("just", &["--version"]).await;
        self.tool("just", just, "put just on your PATH (README.md, Set up)");
        let git = first_line("git", &["--version"]).await;
        self.tool(
            "git",
            git,
            "install git: `just diff` and `just reset` need it",
        );
        let curl = first_line("curl", &["--version"]).await;
        self.tool(
            "curl",
            curl,
            "install curl: the chapters' lines to try need it",
        );
        for (name, needed) in [
            ("jq", "to read traces by hand"),
            ("sqlite3", "to read databases by hand"),
        ] {
            match first_line(name, &["--version"]).await {
                found @ Some(_) => self.tool(name, found, ""),
                None => row("·", name, &format!("not installed; only {needed}")),
            }
        }
        // Some versions ask the engine for their own version, too.
        let (docker, engine) = tokio::join!(
            first_line("docker", &["--version"]),
            first_line("docker", &["info", "--format", "{{.ServerVersion}}"]),
        );
        let docker = match (docker, engine) {
            (Some(client), Some(engine)) => format!("{client}, engine {engine}"),
            (Some(client), None) => format!("{client}; no engine answers"),
            (None, _) if on_path("docker") => "installed, but it does not answer".to_owned(),
            (None, _) => "not installed; not needed where RabbitMQ is".to_owned(),
        };
        row("·", "docker", &docker);
    }

    fn tool(&mut self, name: &str, found: Option<String>, mend: &str) {
        match found {
            // Some tools add every library that they were built with.
            Some(version) => row("✔", name, &version.chars().take(50).collect::<String>()),
            None => {
                row("✘", name, "not found");
                self.to_do.push(mend.to_owned());
            }
        }
    }

    /// Prints the brokers; gives whether one can be used.
    fn broker(&mut self, candidates: &[Candidate]) -> bool {
        println!("{BOLD}Broker{BOLD:#}, in the order in which the lab looks for one");
        for candidate in candidates {
            let mark = if candidate.available { "✔" } else { "·" };
            row(mark, candidate.name, &candidate.detail);
            if candidate.chosen {
                println!("{:TEXT$}{NOTE}this one would be used{NOTE:#}", "");
                if let Some(told) = &candidate.support {
                    println!("  {NOTE}{told}{NOTE:#}");
                }
            }
        }
        let found = candidates.iter().any(|candidate| candidate.chosen);
        if !found {
            let given = std::env::var_os("AMQP_URL").is_some_and(|url| !url.is_empty());
            self.to_do.push(if given {
                "correct AMQP_URL, or unset it to let the lab find a broker".to_owned()
            } else {
                "get a broker: just setup".to_owned()
            });
        }
        found
    }

    /// Prints whether the ports are free that `just run` tries first.
    fn ports(&mut self, paths: &Paths) {
        let chapters = Chapter::all(&paths.root).unwrap_or_default();
        let mut ports: BTreeMap<u16, Vec<String>> = BTreeMap::new();
        for chapter in &chapters {
            for service in ServiceManifest::of(&paths.root, chapter)
                .unwrap_or_default()
                .services
            {
                if let Some(port) = service.port {
                    let user = format!("{} {}", chapter.number, service.name);
                    ports.entry(port).or_default().push(user);
                }
            }
        }
        if ports.is_empty() {
            return;
        }
        println!("{BOLD}Ports{BOLD:#} that `just run` tries first");
        for (port, users) in ports {
            let users = users.join(", ");
            match port::is_free(port) {
                true => row("✔", &port.to_string(), &format!("free · {users}")),
                false => row(
                    "·",
                    &port.to_string(),
                    &format!("taken; the next is used · {users}"),
                ),
            }
        }
    }

    /// Prints whether the lab can write its files; gives that, too.
    async fn folder(&mut self, paths: &Paths) -> bool {
        println!("{BOLD}Folder{BOLD:#}");
        let data = paths.data();
        let name = paths.short(&data);
        let trial = data.join(format!("doctor-{}", std::process::id()));
        let written = std::fs::create_dir_all(&data)
            .and_then(|()| std::fs::write(&trial, [0; 4096]))
            .and_then(|()| std::fs::remove_file(&trial));
        let room = match free_megabytes(&data.display().to_string()).await {
            Some(mb) if mb < 2048 => {
                self.to_do
                    .push("make room: builds take about 2 GB".to_owned());
                format!("{mb} MB free")
            }
            Some(mb) => format!("{} GB free", mb / 1024),
            None => "room unknown".to_owned(),
        };
        match &written {
            Ok(()) => row("✔", &name, &format!("can be written · {room}")),
            Err(error) => {
                row("✘", &name, &format!("{error} · {room}"));
                self.to_do.push(format!(
                    "make {name} writable, or: export CARGO_TARGET_DIR=/another/folder"
                ));
            }
        }
        written.is_ok()
    }

    fn print_to_do(&self) {
        if !self.to_do.is_empty() {
            println!("{BOLD}To do{BOLD:#}");
        }
        for line in &self.to_do {
            println!("  {TYPE}{line}{TYPE:#}");
        }
    }
}

fn row(mark: &str, name: &str, text: &str) {
    let style = match mark {
        "✔" => GOOD,
        "✘" => BAD,
        _ => DIM,
    };
    let label = format!("  {style}{mark}{style:#} {name}");
    println!("{}", labelled(&label, TEXT, text));
}

/// `1.95.0` as numbers that compare.
fn numbers(version: &str) -> Vec<u32> {
    version
        .split(['.', '-'])
        .map_while(|part| part.parse().ok())
        .collect()
}

async fn free_megabytes(folder: &str) -> Option<u64> {
    // POSIX fixes this form: a heading, then a line whose fourth field is the free space.
    let table = tokio::process::Command::new("df")
        .args(["-Pk", folder])
        .output()
        .await
        .ok()?;
    let text = String::from_utf8_lossy(&table.stdout).into_owned();
    let kilobytes: u64 = text
        .lines()
        .nth(1)?
        .split_whitespace()
        .nth(3)?
        .parse()
        .ok()?;
    Some(kilobytes / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(numbers("1.100.0") > numbers("1.95.0"));
        assert!(numbers("1.95.0-nightly") >= numbers("1.95"));
        assert!(numbers("1.89.0") < numbers("1.90"));
    }
}
