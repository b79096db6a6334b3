//! Checks of the pauses between attempts to connect.

use std::time::Duration;

use check::wiretap::{Frame, Method};
use check::{Lab, Outcome, Seen, Span, fail};

use super::net::{MESSAGES, TOPOLOGY, attempts, consumer, pauses, time_passes, tries};

/// No pause may be longer.
const CEILING: Duration = Duration::from_secs(2);
/// From the end of a pause to the attempt that the relay sees.
const SLACK: Duration = Duration::from_millis(600);

pub async fn late_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let span = lab.span();
    let pauses = pauses_of_three(&lab).await?;
    pauses.grow(&span)?;
    pauses.have_ceiling()?;
    pauses.differ(&span)
}

/// The pauses of several consumers that found no broker.
struct Pauses(Vec<Vec<Span>>);

/// Turns three consumers away five times each, then lets them in.
async fn pauses_of_three(lab: &Lab) -> Outcome<Pauses> {
    let mut consumers = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let consumer = consumer(lab, name, &[]).await?;
        consumer.tap().turn_away();
        consumer.launch().await?;
        consumers.push(consumer);
    }
    for consumer in &consumers {
        tries(lab, consumer, 5).await?;
        consumer.tap().restore();
    }
    lab.consumers(MESSAGES, 3).await?;
    let pauses = consumers.iter().map(|one| pauses(lab, one));
    Ok(Pauses(pauses.collect()))
}

impl Pauses {
    /// The longest of the consumers' pauses with this number, measured by `of`.
    fn longest(&self, number: usize, of: fn(&Span) -> Duration) -> Duration {
        let all = self.0.iter().map(|one| of(&one[number]));
        all.max().unwrap_or_default()
    }

    /// The shortest, likewise.
    fn shortest(&self, number: usize, of: fn(&Span) -> Duration) -> Duration {
        let all = self.0.iter().map(|one| of(&one[number]));
        all.min().unwrap_or_default()
    }

    fn grow(&self, span: &Span) -> Outcome {
        let failure = fail("the fourth pause is longer than the first", self.shown())
            .because("a broker that starts is slowed down by each attempt to connect");
        let first = self.longest(0, Span::took).max(Duration::from_millis(400));
        let [surely, possibly] = [Span::took, Span::elapsed].map(|of| self.longest(3, of) > first);
        span.decide(surely, possibly, failure)
    }

    fn have_ceiling(&self) -> Outcome {
        let expected = format!("no pause is longer than {CEILING:?}");
        let failure = fail(expected, self.shown())
            .because("the broker may be back long before the pause ends");
        let mut pauses = self.0.iter().flatten();
        pauses.try_for_each(|pause| pause.at_most(CEILING + SLACK, failure.clone()))
    }

    fn differ(&self, span: &Span) -> Outcome {
        let expected = "three consumers wait for times that differ (jitter)";
        let failure = fail(expected, self.shown())
            .because("clients that lost the broker together must not reconnect together");
        let margins = [40, 200].map(Duration::from_millis);
        // A pause that is longer only because the machine was busy does not differ. Our own relay,
        // which sees the attempts, may have been as late as the consumers.
        let lost = |pause: &Span| pause.elapsed().saturating_sub(pause.took());
        let surely = |number| {
            let margin = margins[0] + self.longest(number, lost);
            self.longest(number, Span::took) > self.shortest(number, Span::elapsed) + margin
        };
        let possibly = |number| {
            self.longest(number, Span::elapsed) > self.shortest(number, Span::took) + margins[1]
        };
        // A busy machine makes one pause late, but not most of them by a fifth.
        let apart = |&number: &usize| {
            let shortest = self.shortest(number, Span::elapsed);
            self.longest(number, Span::took) > shortest.mul_f64(1.2)
        };
        let surely = (0..5).any(surely) || (0..5).filter(apart).count() >= 3;
        span.decide(surely, (0..5).any(possibly), failure)
    }

    fn shown(&self) -> String {
        let all: Vec<_> = self.0.iter().map(|one| seconds(one)).collect();
        format!("{all:.2?} s")
    }
}

fn seconds(pauses: &[Span]) -> Vec<f64> {
    let seconds = pauses.iter().map(|pause| pause.elapsed().as_secs_f64());
    seconds.collect()
}

pub async fn late_queue(lab: Lab) -> Outcome {
    let span = lab.span();
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.launch().await?;
    let why = "an administrator may be about to declare it: this is no reason to end";
    let expected = "the consumer finds no queue (404), four times";
    lab.eventually(expected, why, async || {
        let seen = refusals(&lab).len();
        Ok(Seen::when(seen >= 4, || format!("{seen} time(s)")))
    })
    .await?;
    lab.topology(TOPOLOGY).await?;
    lab.consumers(MESSAGES, 1).await?;
    let pauses = pauses_after_refusals(&lab);
    let sum = |of: fn(&Span) -> Duration| -> Duration { pauses.iter().take(4).map(of).sum() };
    let [surely, possibly] =
        [Span::took, Span::elapsed].map(|of| sum(of) > Duration::from_millis(1200));
    let short = fail(
        "no queue yet (404): the pauses grow, although each login succeeds",
        format!("{:.2?} s", seconds(&pauses)),
    )
    .because("a connection that ends at once counts as a failed attempt")
    .hole(7);
    span.decide(surely, possibly, short)
}

/// When the broker told the consumer that its queue does not exist.
fn refusals(lab: &Lab) -> Vec<f64> {
    let missing = |frame: &Frame| frame.args["reply_code"] == 404;
    lab.journal()
        .times(|frame| frame.method == Method::ChannelClose && missing(frame))
}

/// The pauses, each from a refusal to the next attempt: not from the end of the connection,
/// because how long closing takes is up to the machine.
fn pauses_after_refusals(lab: &Lab) -> Vec<Span> {
    let attempts = lab.journal().calls("consumer");
    let next = |refusal: f64| attempts.iter().find(|attempt| **attempt > refusal);
    let refusals = refusals(lab).into_iter();
    let pauses = refusals.filter_map(|refusal| Some(lab.between(refusal, *next(refusal)?)));
    pauses.collect()
}

pub async fn new_trouble(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.tap().turn_away();
    consumer.launch().await?;
    tries(&lab, &consumer, 3).await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    // Long enough for a connection to count as one that worked.
    time_passes(&lab, Duration::from_millis(2200)).await?;
    let before = attempts(&lab, &consumer);
    consumer.tap().cut();
    let pause = lab.span();
    tries(&lab, &consumer, before + 1).await?;
    let late = fail(
        "cut after 2 s that went well, it reconnects at once, as after its first failure",
        format!("after {:.2?}", pause.elapsed()),
    )
    .because("a program that runs for months sees many failures that are unrelated")
    .hole(7);
    pause.at_most(Duration::from_millis(900), late)
}
