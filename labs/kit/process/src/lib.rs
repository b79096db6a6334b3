//! The one supervisor: starts, guards, signals and ends programs, and chooses their ports.
//!
//! The rule: no crate above this one starts a chapter's program by itself. [`Process`] runs
//! one behind a guard, [`Supervisor`] several, [`Front`] one on this terminal; all of them die
//! with us. [`output_of`] asks one a short question, such as which roles it has. Tools of the
//! machine (cargo, docker, git) are started where they are needed, and by [`Group`] where they
//! start further programs. `just lab` starts no checks: it becomes them (`exec`).
//!
//! This crate knows processes and signals; it knows no broker, no journal and no chapter.
//! Start reading at [`Process`], or at [`guard`], which stands between a program and us.

mod child;
mod front;
mod group;
pub mod guard;
mod output;
pub mod parent;
pub mod port;
pub mod pressure;
pub mod stop;
mod supervisor;

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

pub use child::{Change, Launch, Process, read_log};
pub use front::Front;
pub use group::Group;
pub use guard::Exit;
pub use output::{first_line, on_path, output_of};
pub use port::Port;
pub use supervisor::{GRACE, Heard, Supervisor};

/// Becomes a guard and never returns when this process was started as one; else returns at
/// once. A program that starts guarded programs calls it first thing in `main`: it is its
/// own helper, so that a check program run by plain `cargo test` needs no other program.
///
/// # Panics
/// When a guard is given no program.
pub fn dispatch() {
    let mut args = std::env::args_os().skip(1);
    let Some(name) = args.next() else { return };
    if name != guard::ARGUMENT && name != guard::IN_FRONT {
        return;
    }
    let rest: Vec<OsString> = args.collect();
    let (program, arguments) = rest.split_first().expect("a guard is given a program");
    std::process::exit(match name == guard::IN_FRONT {
        true => guard::main_in_front(program, arguments),
        false => guard::main(program, arguments),
    });
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
