//! The checks of `just hosts check`: what a wiretap on one machine cannot show. They run in the
//! kit's runner, on two hosts, one after the other.

mod network_faults;
mod permissions;

use std::cell::OnceCell;
use std::path::PathBuf;
use std::process::ExitCode;
use std::rc::Rc;

use anstream::println;
use anyhow::Result;
use broker::Broker;
use check::run::{Arguments, NO_HOLE, one_by_one};
use check::{Check, Failure, Outcome, Stop};
use course::paths::Paths;

use crate::prepare::{AnyTestbed, Prepared, ProgramArgs, prepare};
use crate::testbed::{HostTestbed, last_lines};
use hosts::give_files_back;
use hosts::host::Host;
use network_faults::Fault;
use process::stop::asked;
use terminal::{BOLD, DIM, tell, user_error};

#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    programs: ProgramArgs,
    /// Run this check only (may be given again)
    #[arg(long, value_name = "CHECK")]
    only: Vec<String>,
    /// Write the verdict to this file as JSON, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What a check tries.
#[derive(Debug, Clone, Copy)]
enum Trial {
    LateBroker,
    Cut(Fault),
    LateName,
    WrongPassword,
    LeastPrivilege,
}

/// Each check: what it tries, its name, its sentence, and why it matters.
const CHECKS: [(Trial, &str, &str, &str); 7] = [
    (
        Trial::LateBroker,
        "late-broker",
        "a consumer that starts 20 s before the broker finds it",
        "nobody can choose the order in which machines come up",
    ),
    (
        Trial::Cut(Fault::CablePulled),
        "cable-pulled",
        "the cable pulled for two heartbeats loses nothing",
        "no packet says that none will come: only a missing heartbeat does",
    ),
    (
        Trial::Cut(Fault::DropsIncoming(Host::B)),
        "deaf-consumer",
        "a consumer that hears nothing, and is heard, resumes",
        ONE_DIRECTION,
    ),
    (
        Trial::Cut(Fault::DropsIncoming(Host::A)),
        "deaf-broker",
        "a broker that hears nothing, and is heard, resumes",
        ONE_DIRECTION,
    ),
    (
        Trial::LateName,
        "late-name",
        "a broker whose name resolves late is found",
        "names become known after machines are up, and they move: resolve them at each try",
    ),
    (
        Trial::WrongPassword,
        "wrong-password",
        "a wrong password ends the consumer, after one login",
        "a wrong password stays wrong, and repeated logins load the broker for all",
    ),
    (
        Trial::LeastPrivilege,
        "least-privilege",
        "the producer's user cannot read, the consumer's cannot write",
        "an intruder on one machine must not get the whole broker",
    ),
];
const ONE_DIRECTION: &str = "a firewall or a route may fail in one direction only";

/// Runs `hosts check`.
///
/// # Errors
/// When this machine cannot have hosts, or has trouble.
pub fn run(paths: &Paths, args: &Args) -> Result<ExitCode> {
    actix_web::rt::System::new().block_on(async {
        let prepared = match prepare(paths, &args.programs, None).await? {
            Ok(prepared) => prepared,
            Err(code) => return Ok(code),
        };
        let checked = match &prepared.testbed {
            AnyTestbed::Containers(testbed) => check(testbed, &prepared, args).await,
            AnyTestbed::Programs(testbed) => check(testbed, &prepared, args).await,
            AnyTestbed::Local(_) => Err(user_error(
                "these checks need hosts, and a broker on one of them",
                format!(
                    "see above what is missing; or: just lab {}, whose checks need none",
                    prepared.chapter.number
                ),
            )),
        };
        give_files_back(paths).await;
        checked
    })
}

/// Runs the checks on this testbed, and tears the testbed down whatever happened.
async fn check<T: HostTestbed + 'static>(
    testbed: &Rc<T>,
    prepared: &Prepared,
    args: &Args,
) -> Result<ExitCode> {
    let checks = Arguments::only(&args.only).wanted(list(testbed))?;
    println!("{BOLD}Two hosts{BOLD:#}");
    let [a, b, _] = testbed.describe();
    println!("  {DIM}{a}{DIM:#}\n  {DIM}{b}{DIM:#}");
    let subject = (&prepared.chapter, prepared.variant);
    let work = async {
        testbed.set_up().await?;
        one_by_one("hosts check", subject, checks, args.json.as_deref()).await
    };
    let code = tokio::select! {
        biased;
        code = asked() => ExitCode::from(code?),
        done = work => match done {
            Ok(status) => ExitCode::from(status.code()),
            Err(error) => tell(&error),
        },
    };
    testbed.tear_down().await?;
    Ok(code)
}

fn list<T: HostTestbed + 'static>(testbed: &Rc<T>) -> Vec<Check> {
    let shared = Rc::new(HostChecks {
        testbed: testbed.clone(),
        broker: OnceCell::new(),
    });
    let checks = CHECKS.into_iter().map(|(trial, name, says, why)| {
        let shared = shared.clone();
        Check::new(name, says, NO_HOLE, move |_| {
            let shared = shared.clone();
            async move { shared.run(trial, why).await }
        })
    });
    checks.collect()
}

/// What the checks share: the testbed, and the broker once it is up.
struct HostChecks<T> {
    testbed: Rc<T>,
    broker: OnceCell<Broker>,
}

impl<T: HostTestbed> HostChecks<T> {
    /// Runs one check, and clears the testbed for the next one.
    async fn run(&self, trial: Trial, why: &str) -> Outcome {
        let done = match trial {
            Trial::LateBroker => self.late_broker().await,
            Trial::Cut(fault) => self.cut(fault).await,
            Trial::LateName => self.late_name().await,
            Trial::WrongPassword => self.wrong_password().await,
            Trial::LeastPrivilege => self.least_privilege().await,
        };
        let outcome = match done {
            Ok(()) => Ok(()),
            Err(error) => Err(self.explain(error, why).await),
        };
        // What the check found comes first.
        outcome.and(self.testbed.clear().await.map_err(Stop::from))
    }

    /// The broker, started where no check has started it yet.
    async fn broker(&self) -> Result<&Broker> {
        if let Some(broker) = self.broker.get() {
            return Ok(broker);
        }
        let broker = self.testbed.start_broker().await?;
        Ok(self.broker.get_or_init(|| broker))
    }

    /// The failure, or the trouble, with the last lines of both programs.
    async fn explain(&self, error: anyhow::Error, why: &str) -> Stop {
        let mut stop = match error.downcast::<Failure>() {
            Ok(failure) => Stop::from(failure.because(why)),
            Err(trouble) => Stop::from(trouble),
        };
        for last in last_lines(&*self.testbed).await {
            let join = match last.open_hole {
                Some(_) => " ",
                None => " printed last:\n",
            };
            let text = format!("\nthe {}{join}{}", last.role.name(), last.text);
            match &mut stop {
                Stop::Failed(failure) => {
                    failure.observed += &text;
                    failure.hole = failure.hole.or(last.open_hole);
                }
                Stop::Unknown(reason) => *reason += &text,
            }
        }
        stop
    }
}
