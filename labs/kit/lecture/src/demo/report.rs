//! `hosts check`: one line a check, in the shape of the chapters' reports.

use std::process::ExitCode;
use std::time::Instant;

use anstream::println;
use anyhow::Result;
use broker::Broker;
use terminal::wrap;

use super::checks::{self, Fault};
use super::failure::last_words;
use super::rig::Rig;
use super::stage::Unexpected;
use hosts::place::Host;
use process::stop::asked;
use terminal::{BAD, BOLD, DIM, GOOD};
use terminal::{UNKNOWN, tell};

/// Where the report's times stand.
const WIDTH: usize = 78;

/// What the checks need, and what they came to.
struct Run<'a, R> {
    rig: &'a R,
    number: usize,
    failed: usize,
    unknown: usize,
}

/// Checks on the hosts, and strikes them whatever came of it.
///
/// # Errors
/// When what was made cannot be taken away.
pub async fn check(rig: &impl Rig) -> Result<ExitCode> {
    println!("{BOLD}Two hosts{BOLD:#}");
    let [a, b, _] = rig.scenery();
    println!("  {DIM}{a}{DIM:#}\n  {DIM}{b}{DIM:#}");
    let mut run = Run {
        rig,
        number: 0,
        failed: 0,
        unknown: 0,
    };
    let code = tokio::select! {
        biased;
        code = asked() => ExitCode::from(code?),
        done = run.all() => match done {
            Ok(()) => run.sum(),
            Err(error) => tell(&error),
        },
    };
    rig.strike().await?;
    Ok(code)
}

impl<R: Rig> Run<'_, R> {
    async fn all(&mut self) -> Result<()> {
        let rig = self.rig;
        rig.raise().await?;
        let says = "a consumer that is there 20 s before the broker finds it";
        let why = "the order in which machines come up is nobody's choice";
        let Some(broker) = self.one(says, why, checks::late_broker(rig)).await? else {
            return Ok(());
        };
        for (fault, says, why) in [
            (
                Fault::Pulled,
                "the cable pulled for two heartbeats costs nothing",
                "no packet says that none will come: only a heartbeat that stays away does",
            ),
            (
                Fault::Deaf(Host::B),
                "a consumer that hears nothing, and is heard, resumes",
                "a firewall or a route may fail in one direction alone",
            ),
            (
                Fault::Deaf(Host::A),
                "a broker that hears nothing, and is heard, resumes",
                "a firewall or a route may fail in one direction alone",
            ),
        ] {
            let check = checks::bad_line(rig, &broker, fault);
            if self.one(says, why, check).await?.is_none() {
                checks::purge(rig, &broker).await?;
            }
        }
        self.others(&broker).await
    }

    async fn others(&mut self, broker: &Broker) -> Result<()> {
        let rig = self.rig;
        let says = "a name that starts to resolve late is found";
        let why = "names are known later than machines are up, and move: look each time";
        self.one(says, why, checks::late_name(rig, broker)).await?;
        let says = "a wrong password ends the consumer, after one login";
        let why = "no password becomes right by trying again; a storm of logins hurts all";
        self.one(says, why, checks::wrong_password(rig)).await?;
        let says = "the producer's user cannot read, the consumer's cannot write";
        let why = "who gets hold of one machine shall not have the whole broker";
        self.one(says, why, checks::least_privilege(rig, broker))
            .await?;
        Ok(())
    }

    /// Runs one check on programs that are not there yet, and tells of it. None when it did
    /// not pass.
    async fn one<T>(
        &mut self,
        says: &str,
        why: &str,
        check: impl Future<Output = Result<T>>,
    ) -> Result<Option<T>> {
        self.number += 1;
        let begun = Instant::now();
        let done = check.await;
        let took = format!("{:.1} s", begun.elapsed().as_secs_f64());
        let room = WIDTH.saturating_sub(4 + took.len());
        let line = format!("{says:<room$}{DIM}{took}{DIM:#}");
        let done = match done {
            Ok(done) => {
                println!("  {GOOD}✔{GOOD:#} {line}");
                Some(done)
            }
            Err(error) => {
                self.explain(&line, why, &error).await;
                None
            }
        };
        self.rig.clear().await?;
        Ok(done)
    }

    async fn explain(&mut self, line: &str, why: &str, error: &anyhow::Error) {
        let part = |label: &str, text: &str| {
            let mut label = label;
            for text in text.lines().flat_map(|text| wrap(text, WIDTH - 16)) {
                println!("      {DIM}{label:<9}{DIM:#} {text}");
                label = "";
            }
        };
        match error.downcast_ref::<Unexpected>() {
            Some(Unexpected { expected, observed }) => {
                self.failed += 1;
                println!("  {BAD}✘{BAD:#} {line}");
                part("expected", expected);
                part("observed", observed);
                part("why", why);
            }
            None => {
                self.unknown += 1;
                println!("  ? {line}");
                part("unknown", &format!("{error:#}"));
            }
        }
        for (name, text) in last_words(self.rig).await {
            part(name, &text);
        }
    }

    fn sum(&self) -> ExitCode {
        let passed = self.number - self.failed - self.unknown;
        println!("  {passed} of {} checks pass", self.number);
        match (self.failed, self.unknown) {
            (0, 0) => ExitCode::SUCCESS,
            (0, _) => ExitCode::from(UNKNOWN),
            _ => ExitCode::FAILURE,
        }
    }
}
