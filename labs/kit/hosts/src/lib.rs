//! Two hosts on one Linux machine: network namespaces joined by a cable that can be pulled,
//! each with a Docker engine of its own where there is one.
//!
//! It knows hosts, cables and engines; it knows no chapter and nothing of what runs on them.
//! Start reading at [`raise`]; `keeper` is what takes everything away again.

pub mod door;
pub mod engine;
pub mod images;
pub mod keeper;
pub mod net;
pub mod place;
mod processes;
pub mod site;
mod status;
pub mod sweep;
pub mod tool;

use std::path::PathBuf;

use anstream::println;
use anyhow::{Context, Result};
use course::paths::Paths;

use keeper::Keeper;
use place::{Host, Place};
pub use status::status;
use terminal::{GOOD, user_error};

/// What to type before a command, so that root finds this user's tools.
pub const AS_ROOT: &str = "sudo env \"PATH=$PATH\" \"HOME=$HOME\"";

/// Runs the hidden subcommand of this crate, if this process was asked for one.
pub fn dispatch() {
    let mut args = std::env::args_os().skip(1);
    let main = match args.next() {
        Some(name) if name == keeper::ARGUMENT => keeper::main,
        Some(name) if name == door::ARGUMENT => door::main,
        _ => return,
    };
    let rest: Vec<_> = args.collect();
    std::process::exit(main(&rest));
}

/// Whether this machine can have hosts, and this user may make them.
///
/// # Errors
/// When not: why, and what to do instead.
pub fn possible() -> Result<()> {
    if !cfg!(target_os = "linux") {
        return Err(user_error(
            "the hosts are network namespaces, which only Linux has",
            "just demo --local, which needs none of them",
        ));
    }
    if !root() {
        return Err(user_error(
            "making network namespaces and pulling cables takes root",
            format!("{AS_ROOT} just hosts up (or, without root: just demo --local)"),
        ));
    }
    Ok(())
}

/// Gives what root made in the target folder to the user who called `sudo`, who could not
/// build there any more. What stays root's is said by their next command.
pub async fn give_back(paths: &Paths) {
    let ids = ["SUDO_UID", "SUDO_GID"].map(|name| std::env::var(name).unwrap_or_default());
    let number = |id: &String| id.parse::<u32>().is_ok();
    if root() && ids.iter().all(number) {
        let mut chown = tool::command(["chown", "--recursive", "--from=root", &ids.join(":")]);
        chown.arg(&paths.target);
        let _ = tool::tool(chown).await;
    }
}

/// Whether this process may do anything.
fn root() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ids = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    // Real, then effective.
    ids.and_then(|ids| ids.split_whitespace().nth(1)) == Some("0")
}

/// Makes both hosts, unless they are there, and leaves them to a person.
///
/// # Errors
/// When the system refuses, or another command uses them.
pub async fn up(place: &Place) -> Result<()> {
    let keeper = Keeper::start(place).await?;
    if whole(place).await {
        keeper.keep().await?;
        println!("The hosts are up already.");
        return status(place).await;
    }
    let raised = raise(place).await.and_then(|()| sign(place));
    match raised {
        Ok(()) => keeper.keep().await?,
        Err(error) => {
            keeper.sweep().await?;
            return Err(error);
        }
    }
    println!("{GOOD}✔{GOOD:#} two hosts, joined by a cable");
    status(place).await
}

/// Makes both hosts and, where Docker's engine is installed, starts one on each. What a
/// command that was killed has left behind goes first.
///
/// # Errors
/// When the system refuses: the command that failed, and its words.
pub async fn raise(place: &Place) -> Result<()> {
    sweep::sweep(place).await?;
    net::build().await?;
    if engine::installed().await.is_ok() {
        for host in Host::ALL {
            engine::start(place, host).await?;
        }
    }
    Ok(())
}

/// The file that says that a person made the hosts, to use them by hand.
fn signature(place: &Place) -> PathBuf {
    place.dir.join("by-hand")
}

fn sign(place: &Place) -> Result<()> {
    std::fs::create_dir_all(&place.dir)
        .and_then(|()| std::fs::write(signature(place), ""))
        .with_context(|| format!("cannot write to {}", place.dir.display()))
}

/// Whether a person made these hosts, to use them by hand.
pub fn by_hand(place: &Place) -> bool {
    signature(place).exists() && Host::ALL.into_iter().any(net::exists)
}

/// Whether nothing is missing of what [`raise`] makes.
async fn whole(place: &Place) -> bool {
    if !Host::ALL.into_iter().all(net::exists) {
        return false;
    }
    let engines = engine::installed().await.is_ok();
    for host in Host::ALL {
        if net::plugged(host).await.is_err() {
            return false;
        }
        if engines && engine::version(place, host).await.is_err() {
            return false;
        }
    }
    true
}

/// Takes the hosts away, with all that runs on them.
///
/// # Errors
/// When something stays: what, and why.
pub async fn down(place: &Place) -> Result<()> {
    let there = sweep::anything(place);
    Keeper::start(place).await?.sweep().await?;
    match there {
        true => println!("{GOOD}✔{GOOD:#} the hosts are gone, with all that ran on them"),
        false => println!("No hosts are up."),
    }
    Ok(())
}
