//! Two hosts on one Linux machine: network namespaces joined by a cable that can be pulled,
//! each with a Docker engine of its own where Docker is installed.
//!
//! It knows hosts, cables and engines; it knows no chapter and nothing of what runs on them.
//! Start reading at [`create`]; `hosts_guard` is the process that removes everything again.

mod cleanup;
pub mod docker;
pub mod host;
mod host_proxy;
mod hosts_guard;
pub mod images;
pub mod network;
mod processes;
mod status;
pub mod tool;
pub mod two_hosts;

use std::path::PathBuf;

use anstream::println;
use anyhow::{Context, Result};
use course::paths::Paths;

pub use cleanup::has_leftovers;
use host::{Host, HostsDir};
use hosts_guard::HostsGuard;
pub use status::print_status;
use terminal::{GOOD, user_error};

/// What to type before a command, so that root finds this user's tools.
pub const AS_ROOT: &str = "sudo env \"PATH=$PATH\" \"HOME=$HOME\"";

/// Runs the hidden subcommand of this crate, if this process was asked for one.
pub fn dispatch() {
    let mut args = std::env::args_os().skip(1);
    let main = match args.next() {
        Some(name) if name == hosts_guard::ARGUMENT => hosts_guard::main,
        Some(name) if name == host_proxy::ARGUMENT => host_proxy::main,
        _ => return,
    };
    let rest: Vec<_> = args.collect();
    std::process::exit(main(&rest));
}

/// Checks that this machine can have hosts and that this user may create them.
///
/// # Errors
/// When not: why, and what to do instead.
pub fn check_possible() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(user_error(
            "the hosts are network namespaces, which only Linux has",
            "just demo --local, which needs none of them",
        ));
    }
    if !is_root() {
        return Err(user_error(
            "making network namespaces and pulling cables takes root",
            format!("{AS_ROOT} just hosts up (or, without root: just demo --local)"),
        ));
    }
    Ok(())
}

/// Gives what root made in the target folder to the user who called `sudo`, who otherwise
/// could not build there any more. A failure is not reported: that user's next build names the
/// file it cannot write.
pub async fn give_files_back(paths: &Paths) {
    let ids = ["SUDO_UID", "SUDO_GID"].map(|name| std::env::var(name).unwrap_or_default());
    let is_number = |id: &String| id.parse::<u32>().is_ok();
    if is_root() && ids.iter().all(is_number) {
        let mut chown = tool::command(["chown", "--recursive", "--from=root", &ids.join(":")]);
        chown.arg(&paths.target);
        let _ = tool::run(chown).await;
    }
}

/// Whether this process runs as root, by its effective user id.
fn is_root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // The real id comes first, then the effective one.
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

/// Creates both hosts for `just hosts up`, unless they exist, and leaves them running.
///
/// # Errors
/// When the system refuses, or another command uses them.
pub async fn up(dir: &HostsDir) -> Result<()> {
    let guard = HostsGuard::start(dir).await?;
    if are_complete(dir).await {
        guard.leave_hosts().await?;
        println!("The hosts are up already.");
        return print_status(dir).await;
    }
    let created = create(dir).await.and_then(|()| mark_made_by_hand(dir));
    match created {
        Ok(()) => guard.leave_hosts().await?,
        Err(error) => {
            guard.remove_hosts().await?;
            return Err(error);
        }
    }
    println!("{GOOD}✔{GOOD:#} two hosts, joined by a cable");
    print_status(dir).await
}

/// Creates both hosts and, where Docker is installed, starts an engine on each. First removes
/// what a killed command left behind.
///
/// # Errors
/// When the system refuses: the command that failed, and its output.
pub async fn create(dir: &HostsDir) -> Result<()> {
    cleanup::clean_up(dir).await?;
    network::create().await?;
    if docker::check_installed().await.is_ok() {
        for host in Host::ALL {
            docker::start(dir, host).await?;
        }
    }
    Ok(())
}

/// The file that says that `just hosts up` made the hosts, for a person to use.
fn made_by_hand_file(dir: &HostsDir) -> PathBuf {
    dir.path.join("by-hand")
}

fn mark_made_by_hand(dir: &HostsDir) -> Result<()> {
    std::fs::create_dir_all(&dir.path)
        .and_then(|()| std::fs::write(made_by_hand_file(dir), ""))
        .with_context(|| format!("cannot write to {}", dir.path.display()))
}

/// Whether `just hosts up` made these hosts, for a person to use.
fn made_by_hand(dir: &HostsDir) -> bool {
    made_by_hand_file(dir).exists() && Host::ALL.into_iter().any(network::exists)
}

/// Whether everything exists that [`create`] makes.
async fn are_complete(dir: &HostsDir) -> bool {
    if !Host::ALL.into_iter().all(network::exists) {
        return false;
    }
    let engines = docker::check_installed().await.is_ok();
    for host in Host::ALL {
        if network::is_plugged_in(host).await.is_err() {
            return false;
        }
        if engines && docker::version(dir, host).await.is_err() {
            return false;
        }
    }
    true
}

/// Removes the hosts for `just hosts down`, with all that runs on them.
///
/// # Errors
/// When something cannot be removed: what, and why.
pub async fn down(dir: &HostsDir) -> Result<()> {
    let existed = has_leftovers(dir);
    HostsGuard::start(dir).await?.remove_hosts().await?;
    match existed {
        true => println!("{GOOD}✔{GOOD:#} the hosts are gone, with all that ran on them"),
        false => println!("No hosts are up."),
    }
    Ok(())
}
