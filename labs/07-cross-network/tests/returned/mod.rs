//! The check of a message that is returned while others are in flight.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Error};
use check::wiretap::{ConfirmRelay, Frame, Method, Side};
use check::{Exit, Lab, Outcome, Seen, Service, expect, fate};
use lapin::Channel;
use lapin::types::{FieldTable, ShortString};

use super::net::{
    MESSAGES, PRODUCER, TOPOLOGY, all_confirmed, client, producer, time_passes, tries,
};

/// How many messages are in flight at once.
const WINDOW: u64 = 64;

/// How long it takes until all of them are due, at 1,000 a second.
const DUE: Duration = Duration::from_millis(150);

pub async fn returned(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    refused(&lab).await?;
    // Twice: a producer that trusts the confirm into which lapin puts a returned message is
    // right by chance one time in 64.
    for name in ["producer-2", "producer-3"] {
        let count = WINDOW.to_string();
        let arguments = ["producer", "--rate", "1000", "--count", &count];
        let producer = client(&lab, name, &arguments, PRODUCER).await?;
        let relay = ConfirmRelay::open(producer.tap().port())?;
        let producer = producer.through(relay.port());
        relay.pass(0);
        relay.hold_acks();
        all_due(&lab, &producer).await?;
        first_returned(&lab, &producer, &relay).await?;
        window_confirmed(&lab, &relay).await?;
        relay.release_acks();
        let exit = producer.finished().await?;
        none_lost(&lab, &producer, exit).await?;
    }
    Ok(())
}

/// The queue is full for a while, so the broker nacks; then one confirm takes its time.
async fn refused(lab: &Lab) -> Outcome {
    lab.refuse(MESSAGES).await?;
    let producer = producer(lab, 1000, &["--count", "5"]).await?;
    producer.begin().await?;
    let name = producer.name();
    let nacked = || !lab.journal().methods(&name, Method::BasicNack).is_empty();
    claims_nothing(
        lab,
        &producer,
        "the full queue refuses it (basic.nack)",
        nacked,
    )
    .await?;
    let held = producer.tap().hold(Side::Server, Method::BasicAck);
    lab.accept(MESSAGES).await?;
    let again = "the refused messages are published again";
    claims_nothing(lab, &producer, again, || held.reached()).await?;
    held.release();
    all_confirmed(lab, &producer).await.map(drop)
}

/// Waits until the broker has answered, as `answered` says. The producer may not have ended by then:
/// no message of its is confirmed.
async fn claims_nothing(
    lab: &Lab,
    producer: &Service,
    expected: &str,
    answered: impl Fn() -> bool,
) -> Outcome {
    let why = "a nacked message is in no queue: only its producer has it";
    lab.eventually(expected, why, async || {
        let exit = producer.exit();
        let seen = exit.map_or(String::new(), |exit| format!("it ended without: {exit}"));
        expect(exit.is_none())
            .or(
                "the producer waits for the confirms of its 5 messages (basic.ack)",
                seen,
            )
            .because(why)?;
        Ok(Seen::when(answered(), || "not yet".to_owned()))
    })
    .await
}

/// Waits until the broker has sent the producer this method.
async fn seen(lab: &Lab, producer: &Service, method: Method, expected: &str) -> Outcome {
    let name = producer.name();
    let why = "the broker answers each published message";
    lab.eventually(expected, why, async || {
        let came = !lab.journal().methods(&name, method).is_empty();
        Ok(Seen::when(came, || format!("no {method} yet")))
    })
    .await
}

/// Has the broker answer the producer only when all its messages are due.
async fn all_due(lab: &Lab, producer: &Service) -> Outcome {
    producer.tap().black_hole(Side::Server);
    producer.begin().await?;
    tries(lab, producer, 1).await?;
    time_passes(lab, DUE).await?;
    producer.tap().restore();
    Ok(())
}

/// Has the first message of the window find no queue, and be returned.
async fn first_returned(lab: &Lab, producer: &Service, relay: &ConfirmRelay) -> Outcome {
    lab.eventually("a message is sent", "it is due", async || {
        Ok(Seen::when(relay.waits(), || "not yet".to_owned()))
    })
    .await?;
    let connection = lab.connect().await?;
    let channel = connection.create_channel().await.map_err(Error::from)?;
    unbind(lab, &channel).await?;
    relay.pass(1);
    seen(
        lab,
        producer,
        Method::BasicReturn,
        "that message is returned (basic.return)",
    )
    .await?;
    bind(lab, &channel).await
}

/// Lets the others pass, which find the queue, until the broker has confirmed the window.
async fn window_confirmed(lab: &Lab, relay: &ConfirmRelay) -> Outcome {
    relay.pass(u64::MAX);
    let expected = format!("the broker confirms {WINDOW} messages");
    let why = "they are in flight together: none waits for the confirm of another";
    lab.eventually(&expected, why, async || {
        let held = relay.held();
        Ok(Seen::when(held == WINDOW, || format!("{held} confirmed")))
    })
    .await
}

async fn bind(lab: &Lab, channel: &Channel) -> Outcome {
    let ([queue, exchange, key], options) = (names(), Default::default());
    let bound = channel.queue_bind(queue, exchange, key, options, FieldTable::default());
    bound.await.context("the check cannot bind")?;
    lab.journal().note(format!("queue `{MESSAGES}` bound"));
    Ok(())
}

async fn unbind(lab: &Lab, channel: &Channel) -> Outcome {
    let [queue, exchange, key] = names();
    let unbound = channel.queue_unbind(queue, exchange, key, FieldTable::default());
    unbound.await.context("the check cannot unbind")?;
    lab.journal().note(format!("queue `{MESSAGES}` unbound"));
    Ok(())
}

/// Queue, exchange and routing key.
fn names() -> [ShortString; 3] {
    [MESSAGES; 3].map(Into::into)
}

/// Each message that the producer published is in the queue.
async fn none_lost(lab: &Lab, producer: &Service, exit: Exit) -> Outcome {
    let taken = lab.take(MESSAGES).await?;
    let ids = taken.iter().map(|message| message.properties.message_id());
    let arrived: BTreeSet<&str> = ids.flatten().map(ShortString::as_str).collect();
    let name = producer.name();
    let published = lab.journal().methods(&name, Method::BasicPublish);
    let mut published = published.iter().filter_map(Frame::message_id);
    let lost = published.find(|id| !arrived.contains(id));
    let lost_fate = lost.map_or(String::new(), |id| {
        format!("; one of them: {}", fate(lab.journal(), id).observed)
    });
    let (count, words) = (arrived.len(), producer.last_words(1).join(""));
    expect(lost.is_none() && exit == Exit::Code(0))
        .or(
            format!(
                "one of {WINDOW} messages in flight is returned, and sent again: all in the queue"
            ),
            format!("{count} in the queue; {exit}; it logged last: {words}{lost_fate}"),
        )
        .because("lapin may put a returned message into another one's confirm: only its id tells")
}
