//! `setup`: installs what a new machine lacks, after listing it, and builds all chapters.

use std::path::Path;
use std::process::{Command, ExitCode};

use anstream::println;
use anyhow::{Context, Result};
use broker::{self, Candidate, NEWEST, OLDEST};
use course::chapter::{Chapter, Variant};
use course::paths::Paths;

use command::cargo::does_not_compile;
use command::cargo::{Built, Product, build};
use process::stop::{Ended, until_stopped};
use process::{on_path, port};
use terminal::{BOLD, DIM, GOOD, NOTE, TYPE};
use terminal::{labelled, user_error};

/// RabbitMQ's own port, where a packaged service listens.
const AMQP_PORT: u16 = 5672;

pub fn run(paths: &Paths) -> Result<ExitCode> {
    if let Some(stopped) = get_broker(paths)? {
        return Ok(stopped);
    }
    println!("{BOLD}Building{BOLD:#} the chapters and their checks");
    step("cargo", &["fetch"], Some(&paths.root))?;
    if let Ended::Stopped(code) = until_stopped(build_all(paths))? {
        return Ok(code);
    }
    println!("{GOOD}✔{GOOD:#} ready · next: {TYPE}just lab 02{TYPE:#}");
    Ok(ExitCode::SUCCESS)
}

/// Builds each chapter with the command that `lab` and `solution` use, so that they find it
/// built.
async fn build_all(paths: &Paths) -> Result<()> {
    for chapter in Chapter::all(&paths.root)? {
        for variant in [Variant::Lab, Variant::Solution] {
            // A student's unfinished lab may not compile; the rest is built all the same.
            if let Built::CompileError = build(paths, &chapter, variant, Product::Checks).await? {
                does_not_compile(&chapter, variant, Some(&variant.to_string()));
            }
        }
    }
    Ok(())
}

/// Finds or installs a broker; gives an exit code when it is stopped meanwhile.
fn get_broker(paths: &Paths) -> Result<Option<ExitCode>> {
    let survey = || until_stopped(async { Ok(broker::survey(paths).await) });
    let candidates = match survey()? {
        Ended::Stopped(code) => return Ok(Some(code)),
        Ended::Done(candidates) => candidates,
    };
    if let Some(found) = candidates.iter().find(|candidate| candidate.chosen) {
        println!(
            "{BOLD}Broker{BOLD:#}: {} ({}), so nothing needs to be installed",
            found.name, found.detail
        );
        return Ok(None);
    }
    if std::env::var_os("AMQP_URL").is_some_and(|url| !url.is_empty()) {
        let why = candidates.first().map_or("", |given| given.detail.as_str());
        return Err(user_error(
            format!("AMQP_URL is set, but: {why}"),
            "correct AMQP_URL, or unset it to let the lab find a broker",
        ));
    }
    println!("{BOLD}Broker{BOLD:#}: none found");
    for Candidate { name, detail, .. } in &candidates {
        let label = format!("  {DIM}{name}{DIM:#}");
        println!("{}", labelled(&label, 26, detail));
    }
    install()?;
    match survey()? {
        Ended::Stopped(code) => Ok(Some(code)),
        Ended::Done(found) if found.iter().any(|candidate| candidate.chosen) => Ok(None),
        Ended::Done(_) => Err(user_error(
            "RabbitMQ was installed, but the lab does not find it",
            "just doctor",
        )),
    }
}

fn install() -> Result<()> {
    let by_hand = format!(
        "install RabbitMQ {NEWEST} ({OLDEST} at least), or start Docker, or set AMQP_URL; \
         then: just setup"
    );
    if cfg!(target_os = "macos") {
        if !on_path("brew") {
            return Err(user_error(
                "no Homebrew to install RabbitMQ with (https://brew.sh)",
                &by_hand,
            ));
        }
        println!("It will install RabbitMQ, with Erlang, by Homebrew; no service is started.");
        return step("brew", &["install", "rabbitmq"], None);
    }
    if !on_path("apt-get") {
        return Err(user_error(
            "the lab knows no package manager of this machine",
            &by_hand,
        ));
    }
    let root = is_root();
    if !root && !on_path("sudo") {
        return Err(user_error(
            "installing RabbitMQ needs root or sudo",
            "as root: apt-get install -y --no-install-recommends rabbitmq-server",
        ));
    }
    println!("It will install the package rabbitmq-server, with Erlang (about 100 MB on disk),");
    println!("by apt-get{}.", if root { "" } else { " with sudo" });
    let systemd = Path::new("/run/systemd/system").is_dir();
    println!("The package brings a system service on port {AMQP_PORT}. The lab does not use it");
    println!("(it runs nodes of its own), so the service is stopped and disabled again.");
    let was_free = port::is_free(AMQP_PORT);
    let as_root = |args: &[&str]| {
        if root {
            let (program, args) = args.split_first().context("no program")?;
            step(program, args, None)
        } else {
            step("sudo", args, None)
        }
    };
    // Without questions: debconf would wait for answers.
    let apt = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get"];
    as_root(&[apt.as_slice(), &["update"]].concat())?;
    let package = [
        "install",
        "-y",
        "--no-install-recommends",
        "rabbitmq-server",
    ];
    as_root(&[apt.as_slice(), &package].concat())?;
    if systemd {
        as_root(&["systemctl", "disable", "--now", "rabbitmq-server"])?;
    } else if was_free && !port::is_free(AMQP_PORT) {
        as_root(&["service", "rabbitmq-server", "stop"])?;
    }
    Ok(())
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output();
    id.is_ok_and(|id| id.stdout.trim_ascii() == b"0")
}

/// Prints a command, then runs it.
fn step(program: &str, args: &[&str], dir: Option<&Path>) -> Result<()> {
    println!("{NOTE}${NOTE:#} {program} {}", args.join(" "));
    let mut command = Command::new(program);
    if let Some(dir) = dir {
        command.current_dir(dir);
    }
    let status = command
        .args(args)
        .status()
        .with_context(|| format!("{program} cannot be started"))?;
    if status.success() {
        return Ok(());
    }
    Err(user_error(
        format!(
            "`{program} {}` failed: see its messages above",
            args.join(" ")
        ),
        "correct that, then: just setup",
    ))
}
