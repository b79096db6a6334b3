//! Every fault at every message: runs a chapter's scenario once without a fault, then once for each
//! fault at each frame that crossed, and tells the smallest one that loses something.
//!
//! It knows no chapter. Start reading at [`Scenario`], then [`search`].

mod arguments;
pub mod fault;
mod frames;
mod injection;
mod judge;
mod plan;
mod published;
mod report;
mod run;
mod runner;
mod scenario;
mod searching;
mod shrink;
pub mod slow_writes;
mod start;
mod telling;

use std::process::ExitCode;

use check::run::{Package, Status};
use futures_lite::FutureExt;
use process::parent;

use arguments::Arguments;
pub use plan::Trouble;
pub use run::Run;
pub use scenario::{Answer, Operation, Promised, Role, Scenario};
pub use searching::search;

/// The `main` of a `tests/search.rs`: searches with this [`Scenario`] in the package that it is
/// compiled for.
#[macro_export]
macro_rules! main {
    ($scenario:expr) => {
        fn main() -> std::process::ExitCode {
            $crate::run(
                check::run::Package {
                    name: env!("CARGO_PKG_NAME"),
                    folder: env!("CARGO_MANIFEST_DIR"),
                    program: env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))),
                    longest: check::LONGEST,
                },
                $scenario,
            )
        }
    };
}

/// Searches, and gives the exit code: 0 nothing found, 1 something found, 2 nothing can be said, 130
/// Ctrl-C.
#[must_use]
pub fn run(package: Package, scenario: Scenario) -> ExitCode {
    broker::dispatch();
    let arguments = Arguments::typed(package.name);
    let code = actix_web::rt::System::new().block_on(async {
        let follow = async {
            parent::parent_gone().await;
            Ok(Status::Unknown.code())
        };
        search(package, scenario, &arguments).or(follow).await
    });
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => terminal::tell(&error),
    }
}
