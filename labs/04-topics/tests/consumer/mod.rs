//! Which faults a consumer must survive.

use std::time::Duration;

use check::wiretap::{Frame, Method};
use check::{Lab, Outcome, PATIENCE, Seen, expect, fail};

use super::logs::{LOGS, Listener, Open, consumer, identified, listening, open};

/// How long a consumer may retry in place before it gives a message back.
const A_WHILE: Duration = Duration::from_millis(1200);

/// The least time between two attempts to connect: a fifth of our own shortest pause.
const TWO_ATTEMPTS: Duration = Duration::from_millis(20);

/// The least time for three deliveries of a message that cannot be recorded: a tenth of our own.
const THREE_DELIVERIES: Duration = Duration::from_millis(60);

const STORM: &str =
    "without a pause, one failure keeps the broker, the network and the logs of all services busy";

pub async fn recorded_first(lab: Lab) -> Outcome {
    let ops = consumer(&lab, "ops", "ops", &["log.held"]).await?;
    let ops = ops.with_setting("DATABASE_TIMEOUT_MS", "5");
    ops.listen(&lab).await?;
    let locked = ops.lock_database()?;
    lab.publish_to(LOGS, [("log.held", "disk full", identified("held"))])
        .await?;
    tried_three_times(&lab).await?;
    let settled = lab.journal().frames(|frame| {
        frame.method == Method::BasicAck || (discards(frame.method) && !frame.flag("requeue"))
    });
    let how = settled.first().map_or("", |frame| frame.method.name());
    expect(settled.is_empty())
        .or(
            "no message is acked or rejected while the database is locked",
            format!("{how} of a message that is not recorded"),
        )
        .because("after an ack the broker forgets the message: record it first")?;
    drop(locked);
    let why = "a failure that passes must not lose a message";
    ops.records(&lab, &["log.held disk full"], why).await?;
    lab.settled("ops").await
}

fn discards(method: Method) -> bool {
    matches!(method, Method::BasicNack | Method::BasicReject)
}

/// Waits until the message was delivered three times, or for a while: a consumer may retry in place.
async fn tried_three_times(lab: &Lab) -> Outcome {
    let span = lab.span();
    let why = "a consumer that cannot record a message tries again";
    let times = lab
        .eventually("the message is delivered", why, async || {
            let delivered = |frame: &Frame| {
                frame.method == Method::BasicDeliver && frame.message_id() == Some("held")
            };
            let times = lab.journal().times(delivered);
            let enough = times.len() >= 3 || (!times.is_empty() && span.exceeds(A_WHILE));
            let seen = format!("delivered {} times", times.len());
            Ok(Seen::some(enough.then_some(times), || seen))
        })
        .await?;
    let [first, _, third, ..] = times[..] else {
        return Ok(());
    };
    let span = lab.between(first, third);
    let storm = format!("delivered 3 times within {} ms", span.elapsed().as_millis());
    let failure = fail("a pause before a message is tried again", storm).because(STORM);
    span.at_least(THREE_DELIVERIES, failure)
}

pub async fn resumes(lab: Lab) -> Outcome {
    let ops = listening(&lab, "ops", &["log.debug"]).await?;
    let (before, had) = (open(&lab, "ops"), subscriptions(&lab));
    reconnects_with_pauses(&lab, &ops).await?;
    consumes_again(&lab, &ops, had, "its link was cut").await?;
    let had = subscriptions(&lab);
    lab.delete_queue("ops").await?;
    consumes_again(&lab, &ops, had, "its queue was deleted").await?;
    lab.publish_to(LOGS, [("log.debug", "hello", identified("hello"))])
        .await?;
    let why = "a consumer that is back gets messages";
    ops.records(&lab, &["log.debug hello"], why).await?;
    leaves_none_open(&lab, before).await
}

/// How many subscriptions the broker has given it.
fn subscriptions(lab: &Lab) -> usize {
    lab.journal().methods("ops", Method::BasicConsumeOk).len()
}

/// Cuts the consumer's link and turns it away twice.
async fn reconnects_with_pauses(lab: &Lab, ops: &Listener) -> Outcome {
    let before = lab.journal().calls("ops").len();
    ops.tap().turn_away();
    let expected = "a consumer whose link is cut connects again, until it succeeds";
    let why = "a network that fails is back some time later, and nobody restarts each service";
    let calls = lab
        .eventually_within(PATIENCE, expected, why, async || {
            let calls = lab.journal().calls("ops").split_off(before);
            let seen = format!("{} attempt(s)", calls.len());
            Ok(Seen::some((calls.len() >= 2).then_some(calls), || seen))
        })
        .await?;
    let span = lab.between(calls[0], calls[1]);
    let storm = format!("2 attempts within {} ms", span.elapsed().as_millis());
    let failure = fail("a pause before a consumer connects again", storm).because(STORM);
    span.at_least(TWO_ATTEMPTS, failure)?;
    ops.tap().restore();
    Ok(())
}

/// Waits until the consumer has a subscription more than it `had`, and its queue its bindings.
async fn consumes_again(lab: &Lab, ops: &Listener, had: usize, after: &str) -> Outcome {
    let expected = format!("ops consumes again after {after}");
    let why =
        "a subscription ends with its queue or its connection, and only the consumer can renew it";
    lab.eventually_within(PATIENCE, &expected, why, async || {
        Ok(Seen::when(subscriptions(lab) > had, || {
            "its queue has no consumer (no basic.consume)".to_owned()
        }))
    })
    .await?;
    let why = "the broker deletes a queue's bindings with the queue: bind the new one";
    ops.is_bound(lab, why).await
}

/// Whether the subscription before left nothing open: no more is open than at the start.
async fn leaves_none_open(lab: &Lab, before: Open) -> Outcome {
    let expected = "a consumer that begins again closes what it had open";
    let why = "what stays open adds up, until the broker or the machine refuses more";
    lab.eventually(expected, why, async || {
        let now = open(lab, "ops");
        let grown = now.connections > before.connections || now.channels > before.channels;
        let (connections, channels) = (now.connections, now.channels);
        Ok(Seen::when(!grown, || {
            format!("after one more subscription {connections} connection(s) and {channels} channel(s) are open")
        }))
    })
    .await
}
