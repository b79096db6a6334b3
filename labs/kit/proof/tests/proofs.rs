//! Proves the chapters. Each solution passes every check. Each rung of the ladder (the lab as committed,
//! with its first holes filled) passes the checks of these holes, fails those of the next, and leads
//! there. Each right answer in another style passes every check. Each mutant fails the check that it names,
//! on the words that it names, and leads to its hole; with `LAB_TABLE` set, all checks look at each
//! mutant, and a table of their catches is printed. A search finds each timing mutant. Each prediction's run shows its answer. One chapter: `cargo test -p proof --test proofs -- 02`.
//!
//! `plan` lists the proofs and what to build for them; `run` builds and proves.

#[path = "proofs/checks.rs"]
mod checks;
#[path = "proofs/crates.rs"]
mod crates;
#[path = "proofs/history.rs"]
mod history;
#[path = "proofs/merged.rs"]
mod merged;
#[path = "proofs/plan.rs"]
mod plan;
#[path = "proofs/program.rs"]
mod program;
#[path = "proofs/run.rs"]
mod run;
#[path = "proofs/rungs.rs"]
mod rungs;
#[path = "proofs/screen.rs"]
mod screen;
#[path = "proofs/search.rs"]
mod search;
#[path = "proofs/table.rs"]
mod table;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;
use course::paths::Paths;
use libtest_mimic::{Arguments, Trial};
use process::parent;

use history::History;
use plan::Plan;

/// How much load at once: three whole runs, or six checks. Of four whole runs, one in twenty had no verdict.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    broker::dispatch();
    // `just` passes its process id: this program ends when `just` does.
    std::thread::spawn(|| {
        actix_web::rt::System::new().block_on(parent::parent_gone());
        std::process::exit(143);
    });
    prove(&Arguments::from_args()).unwrap_or_else(|error| {
        eprintln!("the proofs cannot be set up: {error:#}");
        ExitCode::FAILURE
    })
}

fn prove(arguments: &Arguments) -> Result<ExitCode> {
    let paths = Paths::find()?;
    let wanted = |name: &str| wanted(arguments, name);
    let plan = Plan::new(&paths, wanted)?;
    if arguments.list {
        let listed = plan
            .proofs
            .iter()
            .map(|proof| Trial::test(&*proof.name, || Ok(())));
        return Ok(libtest_mimic::run(arguments, listed.collect()).exit_code());
    }
    let folder = paths.data().join("proofs");
    let history = History::read(&folder.join("history.json"));
    let at_once = arguments.test_threads.unwrap_or(AT_ONCE);
    let table = plan.table.clone();
    let code = run::run(plan, history, at_once);
    print!("{}", table.map_or(String::new(), |table| table.text()));
    let all = arguments.filter.is_none() && arguments.skip.is_empty();
    if all && code == ExitCode::SUCCESS {
        keep_reports_only(&folder)?;
    }
    Ok(code)
}

/// Deletes the journals and databases of the runs, 700 MB: nobody asks what happened when all is proved.
fn keep_reports_only(folder: &Path) -> Result<()> {
    for run in fs::read_dir(folder)? {
        let run = run?.path();
        if !run.join("report.json").exists() {
            continue;
        }
        for check in fs::read_dir(run)? {
            let check = check?.path();
            if check.is_dir() {
                fs::remove_dir_all(check)?;
            }
        }
    }
    Ok(())
}

/// Whether the command line selects this proof, as in libtest. A filter may list several names,
/// separated by commas.
fn wanted(arguments: &Arguments, name: &str) -> bool {
    let meant = |words: &String| {
        words.split(',').any(|word| match arguments.exact {
            true => name == word,
            false => name.contains(word),
        })
    };
    !arguments.ignored
        && arguments.filter.as_ref().is_none_or(meant)
        && !arguments.skip.iter().any(meant)
}
