//! What `cargo test` runs of a lab: an error. The checks need what `just lab NN` prepares, so a success
//! would mean only that nothing was checked.

use std::process::ExitCode;

fn main() -> ExitCode {
    let number = env!("CARGO_PKG_NAME").trim_start_matches("lab-");
    eprintln!("error: `cargo test` does not run the checks of chapter {number}; `just` does");
    eprintln!("  do   just lab {number}");
    ExitCode::FAILURE
}
