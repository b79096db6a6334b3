//! The lecture's demonstration, `just demo`: told to a class, on the best testbed that this
//! machine can run. Start reading at [`story`].

mod narrator;
mod queue_bar;
mod story;
mod summary;

use std::process::ExitCode;

use anstream::println;
use anyhow::Result;
use check::Failure;
use course::chapter::Variant;
use course::paths::Paths;

use crate::prepare::{AnyTestbed, Prepared, ProgramArgs, prepare};
use crate::testbed::{HEARTBEAT_S, Kind, RATE, Testbed, last_lines};
use hosts::give_files_back;
use narrator::Narrator;
use process::stop::asked;
use terminal::{BOLD, DIM, tell};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Go on without waiting for Enter
    #[arg(long)]
    auto: bool,
    /// Use relays instead of hosts: needs no root, and no Linux
    #[arg(long)]
    local: bool,
    #[command(flatten)]
    programs: ProgramArgs,
}

/// Runs `demo`.
///
/// # Errors
/// Trouble of this machine.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    actix_web::rt::System::new().block_on(async {
        let local = args.local.then_some(Kind::Local);
        let prepared = match prepare(paths, &args.programs, local).await? {
            Ok(prepared) => prepared,
            Err(code) => return Ok(code),
        };
        let narrator = Narrator::new(args.auto);
        let told = match &prepared.testbed {
            AnyTestbed::Containers(testbed) => show(&**testbed, &narrator, &prepared).await,
            AnyTestbed::Programs(testbed) => show(&**testbed, &narrator, &prepared).await,
            AnyTestbed::Local(testbed) => show(&**testbed, &narrator, &prepared).await,
        };
        give_files_back(paths).await;
        told
    })
}

/// Tells the story on this testbed, and tears the testbed down whatever happened.
async fn show(
    testbed: &impl Testbed,
    narrator: &Narrator,
    prepared: &Prepared,
) -> Result<ExitCode> {
    announce(testbed, prepared.variant);
    let story = async {
        testbed.set_up().await?;
        story::tell_story(testbed, narrator).await
    };
    let ended = tokio::select! {
        biased;
        code = asked() => Err(code?),
        told = story => Ok(told),
    };
    let code = match ended {
        Ok(Ok(true)) => ExitCode::SUCCESS,
        Ok(Ok(false)) => ExitCode::FAILURE,
        Ok(Err(error)) => {
            let number = &prepared.chapter.number;
            explain(testbed, narrator, number, &error).await
        }
        Err(code) => {
            narrator.remark("stopped; everything that was made is removed");
            ExitCode::from(code)
        }
    };
    testbed.tear_down().await?;
    Ok(code)
}

fn announce(testbed: &impl Testbed, variant: Variant) {
    println!("{BOLD}One queue across a network that fails{BOLD:#}");
    let [a, b, cable] = testbed.describe();
    for (label, what) in [("VM A", a), ("VM B", b), ("cable", cable)] {
        println!("  {DIM}{label:<9}{DIM:#} {what}");
    }
    let whose = match variant {
        Variant::Lab => "yours",
        Variant::Solution => "the solution's",
    };
    println!(
        "  {DIM}programs{DIM:#}  {whose}; {RATE} messages a second, heartbeat {HEARTBEAT_S} s"
    );
}

/// Prints why the story did not go as told, with the last lines of the programs.
async fn explain(
    testbed: &impl Testbed,
    narrator: &Narrator,
    chapter: &str,
    error: &anyhow::Error,
) -> ExitCode {
    let code = match error.downcast_ref::<Failure>() {
        Some(failure) => {
            narrator.report_bad("this did not go as expected");
            narrator.print_part("expected", &failure.expected);
            narrator.print_part("observed", &failure.observed);
            ExitCode::FAILURE
        }
        None => {
            narrator.remark("this machine has trouble");
            tell(error)
        }
    };
    for last in last_lines(testbed).await {
        narrator.print_part(last.role.name(), &last.text);
        if let Some(hole) = last.open_hole {
            narrator.print_part("hint", &format!("just hint {chapter} {hole}"));
        }
    }
    code
}
