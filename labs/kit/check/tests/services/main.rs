//! Tests services under check as real processes, and whole runs of checks as a student starts them. This
//! program is the tests, the run, and the tiny service of its checks.

#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

mod checks;
mod load;
mod orphans;
mod process;
mod run;

use std::process::ExitCode;

use libtest_mimic::Arguments;
use proof::trial;

fn main() -> ExitCode {
    // A guard is this same program.
    broker::dispatch();
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.get(1).map(String::as_str) {
        Some(checks::SERVICE) => return checks::serve(),
        Some(orphans::PARENT) => return orphans::parent(&arguments[2..]),
        _ => {}
    }
    if std::env::var_os(checks::AS_CHECKS).is_some() {
        return checks::main();
    }
    let trials = vec![
        trial("exit_codes", process::exit_codes),
        trial("memory", process::memory),
        trial("killed", process::killed),
        trial("frozen", process::frozen),
        trial("terminated", process::terminated),
        trial("output", process::output),
        trial("cannot_be_started", process::cannot_be_started),
        trial("strange_path", process::strange_path),
        trial("dropped", process::dropped),
        trial("takes_its_children", process::takes_its_children),
        trial("ended_before_told", process::ended_before_told),
        trial("parent_killed", orphans::parent_killed),
        trial("parent_interrupted", orphans::parent_interrupted),
        trial("list", run::list),
        trial("only", run::only),
        trial("exact", run::exact),
        trial("verdicts", run::verdicts),
        trial("optional", run::optional),
        trial("json", run::json),
        trial("eighty_columns", run::eighty_columns),
        trial("colours", run::colours),
        trial("endless", run::endless),
        trial("two_at_a_time", run::two_at_a_time),
        trial("no_broker", run::no_broker),
        trial("unwritable", run::unwritable),
        trial("seeded", run::seeded),
        trial("panicking_check", run::panicking_check),
        trial("parent_gone", run::parent_gone),
    ];
    let arguments = Arguments::from_args();
    let mut others = libtest_mimic::run(&arguments, trials);
    // Alone, because it starves every other test.
    let starved =
        vec![trial("starved", load::starved).with_ignored_flag(!cfg!(target_os = "linux"))];
    let starved = libtest_mimic::run(&arguments, starved);
    others.num_failed += starved.num_failed;
    others.exit_code()
}
