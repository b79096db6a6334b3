//! The hidden subcommands: how one program of the lab re-executes itself as a helper
//! process, so that a check binary run by plain `cargo test` needs no other binary.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::kill;
use nix::unistd::Pid;

use crate::guard;

/// Becomes the node's keeper: see [`crate::broker`].
pub(crate) const BROKER_KEEPER: &str = "__broker-keeper";

/// Runs the hidden subcommand this process was asked for and never returns, or returns
/// at once when there is none. Call it first thing in `main`.
pub fn dispatch() {
    let mut args = std::env::args_os().skip(1);
    let Some(name) = args.next() else { return };
    let rest: Vec<OsString> = args.collect();
    if name == BROKER_KEEPER {
        crate::broker::keeper_main(&rest);
    }
    if name == guard::ARGUMENT {
        let (program, arguments) = rest.split_first().expect("a guard is given a program");
        std::process::exit(guard::main(program, arguments));
    }
    // A further subcommand gets its own `if` here; anything else is the program's own.
}

/// The path by which this process can start its own program again, even when a rebuild
/// has replaced the file since.
///
/// On Linux that is `/proc/self/exe`, which names the running program itself; it means
/// something only to a child started directly (not to a shell in between).
///
/// # Errors
/// When the system cannot tell where the program lies.
pub fn this_program() -> io::Result<PathBuf> {
    let own = PathBuf::from("/proc/self/exe");
    if cfg!(target_os = "linux") && own.exists() {
        return Ok(own);
    }
    std::env::current_exe()
}

/// The process whose end is to end this one: `just` for `lab`, `lab` for a check program.
pub const PARENT: &str = "LAB_PARENT";

/// Waits until the process named by [`PARENT`] is gone; for ever when none is named.
pub async fn parent_gone() {
    let parent = std::env::var(PARENT).ok().and_then(|pid| pid.parse().ok());
    let Some(parent) = parent else {
        return std::future::pending().await;
    };
    while is_alive(parent) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Whether there is a process with this id.
#[must_use]
pub fn is_alive(pid: i32) -> bool {
    !matches!(
        kill(Pid::from_raw(pid), None),
        Err(nix::errno::Errno::ESRCH)
    )
}
