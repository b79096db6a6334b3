//! A message is returned while others are in flight.

use std::collections::BTreeSet;
use std::time::Duration;

use check::Exit;
use check::wiretap::{ConfirmRelay, Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fate};
use lapin::Channel;
use lapin::types::FieldTable;

use super::net::{MESSAGES, PRODUCER, TOPOLOGY, called, party};

/// How many messages are in flight at once.
const WINDOW: u64 = 64;

/// How long it takes until all of them are due, at 1,000 a second.
const DUE: Duration = Duration::from_millis(150);

pub async fn returned(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    // A producer that trusts the confirm into which lapin puts a returned message is right by
    // chance one time in 64.
    for name in ["producer", "producer-2"] {
        let count = WINDOW.to_string();
        let words = ["producer", "--rate", "1000", "--count", &count];
        let producer = party(&lab, name, &words, PRODUCER).await?;
        let relay = ConfirmRelay::open(producer.tap().port()).await?;
        let producer = producer.through(relay.port());
        relay.pass(0);
        relay.hold_acks();
        first_returned(&lab, &producer, &relay).await?;
        relay.release_acks();
        let exit = producer.finished().await?;
        all_there(&lab, &producer, exit).await?;
    }
    Ok(())
}

/// Has the first message of a window find no queue, and the others find one; waits until the
/// broker has confirmed them all.
async fn first_returned(lab: &Lab, producer: &Service, relay: &ConfirmRelay) -> Outcome {
    let name = producer.name();
    all_due(lab, producer).await?;
    lab.eventually("a message is sent", "it is due", async || {
        Ok(Seen::when(relay.waits(), || "not yet".to_owned()))
    })
    .await?;
    let connection = lab.connect().await?;
    let channel = connection.create_channel().await;
    let channel = channel.map_err(anyhow::Error::from)?;
    bind(&channel, false).await?;
    lab.journal().note(format!("queue `{MESSAGES}` unbound"));
    relay.pass(1);
    let expected = "that message is returned (basic.return)";
    let why = "with `mandatory` the broker returns what no queue takes";
    lab.eventually(expected, why, async || {
        let returned = !lab.journal().methods(&name, Method::BasicReturn).is_empty();
        Ok(Seen::when(returned, || "it is not".to_owned()))
    })
    .await?;
    bind(&channel, true).await?;
    lab.journal().note(format!("queue `{MESSAGES}` bound"));
    relay.pass(u64::MAX);
    let expected = format!("the broker confirms {WINDOW} messages");
    let why = "they are in flight together: none waits for the confirm of another";
    lab.eventually(&expected, why, async || {
        let held = relay.held();
        Ok(Seen::when(held == WINDOW, || format!("{held} confirmed")))
    })
    .await
}

/// Has the broker answer the producer only when all its messages are due.
async fn all_due(lab: &Lab, producer: &Service) -> Outcome {
    producer.tap().black_hole(Side::Server);
    producer.begin().await?;
    called(lab, producer, 1).await?;
    let span = lab.span();
    lab.eventually("all messages are due", "time passes", async || {
        Ok(Seen::when(span.exceeds(DUE), || "not yet".to_owned()))
    })
    .await?;
    producer.tap().restore();
    Ok(())
}

/// Binds the queue to its exchange, or takes the binding away.
async fn bind(channel: &Channel, bound: bool) -> Outcome {
    let [queue, exchange, key] = [MESSAGES; 3].map(Into::into);
    let none = FieldTable::default();
    let done = match bound {
        true => {
            let options = Default::default();
            channel
                .queue_bind(queue, exchange, key, options, none)
                .await
        }
        false => channel.queue_unbind(queue, exchange, key, none).await,
    };
    Ok(done.map_err(anyhow::Error::from)?)
}

/// Each message that the producer counts as confirmed is in the queue.
async fn all_there(lab: &Lab, producer: &Service, exit: Exit) -> Outcome {
    let waiting = lab.take(MESSAGES).await?;
    let ids = waiting
        .iter()
        .filter_map(|one| one.properties.message_id().as_ref());
    let there: BTreeSet<&str> = ids.map(|id| id.as_str()).collect();
    let published = lab
        .journal()
        .methods(&producer.name(), Method::BasicPublish);
    let mut published = published.iter().filter_map(Frame::message_id);
    let lost = published.find(|id| !there.contains(id));
    let told = lost.map(|id| format!("; one of them: {}", fate(lab.journal(), id).observed));
    let words = producer.last_words(1).join("");
    expect(lost.is_none() && exit == Exit::Code(0))
        .or(
            format!(
                "one of {WINDOW} messages in flight is returned, and sent again: all in the queue"
            ),
            format!(
                "{} in the queue; {exit}; it said last: {words}{}",
                there.len(),
                told.unwrap_or_default()
            ),
        )
        .because(
            "lapin puts a returned message into another one's confirm: its id names the message",
        )?;
    expect(words.ends_with(&format!("sent {WINDOW}, confirmed {WINDOW}")))
        .or(
            format!("the producer says last `sent {WINDOW}, confirmed {WINDOW}`"),
            &words,
        )
        .because("a message that was returned counts when it is confirmed, and once")
}
