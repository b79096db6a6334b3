//! The hidden subcommands: how one program of the lab re-executes itself as a helper
//! process, so that a check binary run by plain `cargo test` needs no other binary.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

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
