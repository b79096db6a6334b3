//! Waits for a state, as long as no service fails.

use std::path::Path;
use std::time::Duration;

use course::holes;

use super::{DEADLINE, Failure, Lab, Outcome, Seen, Service, Topic, fail};
use wiretap::{Frame, Method, Side};

/// How long to wait between two looks at a state.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(15);

impl Lab {
    /// Calls `probe` until it sees what is expected.
    ///
    /// # Errors
    /// A failure with what the probe saw last, after [`DEADLINE`]; at once when a service has
    /// ended by itself or reached an open hole. Unknown when the machine was too busy.
    pub async fn eventually<T>(
        &self,
        expected: &str,
        why: &str,
        probe: impl AsyncFnMut() -> Outcome<Seen<T>>,
    ) -> Outcome<T> {
        self.eventually_within(DEADLINE, expected, why, probe).await
    }

    /// As [`Lab::eventually`], with a deadline of its own.
    ///
    /// # Errors
    /// As [`Lab::eventually`].
    pub async fn eventually_within<T>(
        &self,
        deadline: Duration,
        expected: &str,
        why: &str,
        mut probe: impl AsyncFnMut() -> Outcome<Seen<T>>,
    ) -> Outcome<T> {
        let span = self.span();
        self.0.waits_for.replace(expected.to_owned());
        loop {
            let late = span.exceeds(deadline);
            let (instead, hole) = match probe().await? {
                Seen::Yes(value) => return Ok(value),
                Seen::NotYet(instead) => (instead, None),
                Seen::NotYetFor(hole, instead) => (instead, Some(hole)),
            };
            self.all_well()?;
            if late {
                let observed = format!("{instead}, after {} s", deadline.as_secs());
                let mut failure = fail(expected, observed).because(why);
                failure.hole = hole;
                return span.judge(Err(failure.into()));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Checks that no service has ended by itself, reached an open hole, or does something without
    /// end.
    ///
    /// # Errors
    /// A failure that says which one.
    pub fn all_well(&self) -> Outcome {
        for service in self.0.services.borrow().iter() {
            if let Some(failure) = open_hole(service)
                .or_else(|| panicked(service))
                .or_else(|| died(service))
            {
                return Err(failure.into());
            }
        }
        self.no_storm()
    }

    /// Waits until the queue has `count` consumers.
    ///
    /// # Errors
    /// A failure when it never has.
    pub async fn consumers(&self, queue: &str, count: u64) -> Outcome {
        let expected = format!("{count} consumer(s) on queue `{queue}`");
        let why = "without a consumer the messages stay in the queue";
        let no_queue = (self.0.config.hole_for)(Topic::Durability);
        self.eventually(&expected, why, async || {
            Ok(match self.queue(queue).await? {
                Some(seen) => Seen::when(seen.consumers == Some(count), || {
                    let count = seen.consumers.unwrap_or(0);
                    format!("{count} consumer(s){}", self.refused())
                }),
                None => Seen::NotYetFor(no_queue, format!("no queue `{queue}`")),
            })
        })
        .await
    }

    /// Waits until the broker has delivered `count` messages to `service`.
    ///
    /// # Errors
    /// A failure when it does not.
    pub async fn delivered(&self, service: &str, count: usize) -> Outcome {
        let expected = format!("the broker delivers {count} message(s) to {service}");
        let why = "a consumer can only work on messages that were delivered to it";
        self.eventually(&expected, why, async || {
            let seen = self.journal().methods(service, Method::BasicDeliver).len();
            Ok(Seen::when(seen >= count, || format!("{seen} delivered")))
        })
        .await
    }

    /// Waits until `queue` holds no message, ready or unacked.
    ///
    /// # Errors
    /// A failure when messages stay, or there is no such queue.
    pub async fn drained(&self, queue: &str) -> Outcome {
        self.empty(queue, None).await
    }

    /// As [`Lab::drained`]; while messages are unacked the failure points at the hole in which
    /// they are settled.
    ///
    /// # Errors
    /// As [`Lab::drained`].
    pub async fn settled(&self, queue: &str) -> Outcome {
        self.empty(queue, Some((self.0.config.hole_for)(Topic::Settle)))
            .await
    }

    async fn empty(&self, queue: &str, hole_if_unacked: Option<u32>) -> Outcome {
        let expected = format!("each message of queue `{queue}` is delivered and acked");
        let why = "the broker redelivers an unacked message";
        let no_queue = (self.0.config.hole_for)(Topic::Durability);
        self.eventually(&expected, why, async || {
            let Some(left) = self.queue(queue).await? else {
                return Ok(Seen::NotYetFor(no_queue, format!("no queue `{queue}`")));
            };
            let (ready, unacked) = (left.ready, left.unacked);
            let seen = Seen::when(ready + unacked == 0, || {
                format!("{ready} ready, {unacked} unacked")
            });
            Ok(match hole_if_unacked.filter(|_| unacked > 0) {
                Some(hole) => seen.hole(hole),
                None => seen,
            })
        })
        .await
    }

    /// Whose channel the broker closed last, and why, in brackets; empty when it closed none.
    /// A service that retries says so only in its log.
    fn refused(&self) -> String {
        let refusal =
            |frame: &Frame| frame.from == Side::Server && frame.method == Method::ChannelClose;
        let refusals = self.journal().frames(refusal);
        refusals.last().map_or_else(String::new, |frame| {
            let why = frame.args["reply_text"]
                .as_str()
                .unwrap_or("without a reason");
            format!(" ({} was refused: {why})", frame.service)
        })
    }
}

/// The failure of a service that printed the panic of an open hole.
fn open_hole(service: &Service) -> Option<Failure> {
    let output = service.output();
    let found = output
        .split_once("not yet implemented: HOLE ")
        .map(|(_, rest)| rest.lines().next().unwrap_or(rest).to_owned())?;
    let (number, task) = found.split_once(':').unwrap_or((&found, ""));
    let hole = number.trim().parse().ok()?;
    Some(
        fail(
            format!("{} does its work", service.name()),
            format!("it reached HOLE {hole}, which is still open"),
        )
        .because(format!("to do:{task}"))
        .hole(hole),
    )
}

/// The failure of a service that has panicked: in a task of its own, the rest may still run.
fn panicked(service: &Service) -> Option<Failure> {
    let output = service.output();
    // thread 'main' (1234) panicked at labs/02-single-queue/src/consumer.rs:65:14:
    let (_, rest) = output.split_once(" panicked at ")?;
    let mut lines = rest.lines();
    let place = lines.next()?;
    let message = service.masked(lines.next().unwrap_or_default());
    let (file, line) = place.rsplit_once(':').unwrap_or((place, ""));
    let (file, line) = match file.rsplit_once(':') {
        Some((file, line)) => (file, line),
        None => (file, line),
    };
    let short = file.rsplit_once("/src/").map_or(file, |(_, name)| name);
    let mut failure = fail(
        format!("{} does its work", service.name()),
        format!("it panicked at src/{short}:{line}: {message}"),
    )
    .because("a panic ends its task at once, and what the task had begun stays undone");
    failure.hole = hole_at(&service.source(file), line.parse().ok()?);
    Some(failure)
}

/// The hole in which this line of a source file stands.
fn hole_at(file: &Path, line: usize) -> Option<u32> {
    let source = std::fs::read_to_string(file).ok()?;
    let holes = holes::parse(&source).ok()?;
    let mut inside = holes
        .iter()
        .filter(|hole| hole.first_line < line && line < hole.last_line);
    inside.next().map(|hole| hole.number)
}

/// The failure of a service that has ended although no check stopped it.
fn died(service: &Service) -> Option<Failure> {
    let exit = service.died()?;
    let words = service.last_words(3).join("\n");
    Some(
        fail(
            format!("{} keeps running", service.name()),
            format!("it ended by itself: {exit}; it printed last:\n{words}"),
        )
        .because("a service that has ended does no work until somebody restarts it"),
    )
}
