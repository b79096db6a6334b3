//! What becomes of a message.

use std::time::Duration;

use check::Exit;
use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, Span, expect, fail, fate};
use lapin::BasicProperties;

use super::net::{DEAD, MESSAGES, TOPOLOGY, arrived, cleared, consumer, consuming, effects, sent};

/// A message with this id, as a foreign producer would send it.
fn message(id: &str) -> (String, BasicProperties) {
    let properties = BasicProperties::default().with_message_id(id.into());
    (format!("text of {id}"), properties)
}

pub async fn consumer_away(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let ids = sent(&lab, 20).await?;
    let queue = lab.queue(MESSAGES).await?;
    let ready = queue.map_or(0, |queue| queue.ready);
    expect(ready == 20)
        .or("20 messages wait in the queue", format!("{ready} do"))
        .because("that is what the queue is for: one of the two may be away")?;
    let consumer = consuming(&lab).await?;
    let expected = "the consumer starts, and each of the 20 messages has its effect, once";
    arrived(&lab, &consumer, expected, &ids).await
}

pub async fn duplicate(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let twice = ["one", "two", "one", "three", "one"].map(message);
    lab.publish(MESSAGES, twice).await?;
    let ids = ["one", "two", "three"].map(str::to_owned);
    arrived(
        &lab,
        &consumer,
        "3 messages, one of them three times: 3 effects",
        &ids,
    )
    .await?;
    counts(&lab, &consumer, "received 5, duplicates 2, effects 3").await?;

    // The same between two lives of the consumer, who remembers nothing but what it committed.
    consumer.stop().await?;
    lab.publish(MESSAGES, [message("two")]).await?;
    consumer.launch().await?;
    counts(&lab, &consumer, "received 1, duplicates 1, effects 0").await?;
    cleared(&lab).await
}

/// Waits until the consumer says so, and nothing after it.
async fn counts(lab: &Lab, consumer: &Service, words: &str) -> Outcome {
    let expected = format!("the consumer says last `{words}`");
    let why = "at least once means twice now and then; that it did no harm has to be seen";
    lab.eventually(&expected, why, async || {
        let last = consumer.last_words(1).join("");
        Ok(Seen::when(last.ends_with(words), || {
            format!("it said last: {last}")
        }))
    })
    .await
}

pub async fn effect_first(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer.with("DATABASE_TIMEOUT_MS", 300);
    consumer.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let locked = consumer.lock_database()?;
    lab.publish(MESSAGES, [message("one")]).await?;
    let why = "an ack tells the broker to forget: the effect must be there by then";
    let expected = "the consumer cannot commit, and gives the message back";
    lab.eventually(expected, why, async || {
        let acks = lab.journal().methods("consumer", Method::BasicAck);
        let told = fate(lab.journal(), "one").observed;
        expect(acks.is_empty())
            .or("no ack while the effect cannot be committed", &told)
            .because(why)?;
        let gone = lab.journal().disconnected("consumer")
            || !lab
                .journal()
                .methods("consumer", Method::BasicNack)
                .is_empty();
        Ok(Seen::when(gone, || told))
    })
    .await?;
    drop(locked);
    let expected = "it has its effect once the database can be written again";
    arrived(&lab, &consumer, expected, &["one".to_owned()]).await?;

    // Now it is committed, and the ack gets lost.
    consumer.tap().cut_before(Side::Client, Method::BasicAck);
    lab.publish(MESSAGES, [message("two")]).await?;
    let ids = ["one", "two"].map(str::to_owned);
    let expected = "a message whose ack was lost comes again, and makes no difference";
    let why = "who has lost the broker has to find it again by itself";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let settled = consumer.tap().sprung() && lab.journal().acked("consumer", "two");
        let times = lab.journal().deliveries("consumer", "two");
        Ok(Seen::when(settled && times > 1, || {
            format!("delivered {times} time(s)")
        }))
    })
    .await?;
    arrived(&lab, &consumer, expected, &ids).await
}

pub async fn no_id(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let nameless = ("nameless".to_owned(), BasicProperties::default());
    // Some clients send an empty id where they have none.
    lab.publish(MESSAGES, [nameless, message(""), message("one")])
        .await?;
    arrived(
        &lab,
        &consumer,
        "the message behind two without an id",
        &["one".to_owned()],
    )
    .await?;
    let rows = consumer.rows("messages")?.len();
    expect(rows == 1)
        .or("1 effect", format!("{rows}"))
        .because("without an id nobody can tell it from its double")?;
    let why = "whoever sent it has a mistake to mend, and has to see it somewhere";
    let expected = "the two without an id are in `messages.dead`";
    lab.eventually(expected, why, async || {
        let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
        Ok(Seen::when(dead == 2, || format!("{dead} in there")))
    })
    .await
}

/// As many messages as show what a prefetch does, and how long the work for each takes.
const MANY: usize = 150;
const WORK_MS: &str = "5";

/// How long the messages may take without a delay, on a machine that does much else.
const NEAR: Duration = Duration::from_secs(8);

pub async fn far_away(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    sent(&lab, MANY).await?;
    let near = consumer(&lab, "near", &["--work-ms", WORK_MS]).await?;
    let expected = format!("{MANY} messages are worked off");
    let took = worked_off(&lab, &near, &expected, NEAR).await?.elapsed();
    near.stop().await?;

    let properties = |number: usize| message(&format!("far {number}"));
    lab.publish(MESSAGES, (0..MANY).map(properties)).await?;
    let far = consumer(&lab, "far", &["--work-ms", WORK_MS]).await?;
    far.tap().delay(Duration::from_millis(100));
    let expected = format!(
        "with 100 ms each way, {MANY} messages take at most twice as long as with none, {took:.1?}"
    );
    let again = worked_off(&lab, &far, &expected, 2 * took).await?;
    let slow = fail(expected, format!("{:.1?}", again.elapsed())).because(PREFETCH);
    again.at_most(2 * took, slow)?;
    let asked = lab.journal().prefetch("far");
    let told = asked.map_or("without a limit".to_owned(), |count| count.to_string());
    expect(asked.is_some_and(|count| count <= 1000))
        .or("a prefetch of at most 1,000", told)
        .because("all that one consumer holds goes round again when its connection is lost")
}

const PREFETCH: &str = "no more than prefetch / round trip messages get here in a second";

/// Starts the consumer, and gives how long it took from the first effect to the last.
async fn worked_off(
    lab: &Lab,
    consumer: &Service,
    expected: &str,
    limit: Duration,
) -> Outcome<Span> {
    consumer.launch().await?;
    effects(lab, consumer, 1).await?;
    let span = lab.span();
    lab.eventually_within(limit, expected, PREFETCH, async || {
        let seen = consumer.rows("messages")?.len();
        let prefetch = lab.journal().prefetch(&consumer.name());
        Ok(match seen {
            MANY.. => Seen::Yes(span.clone().end()),
            _ => Seen::NotYet(format!("{seen} are done; prefetch {prefetch:?}")),
        })
    })
    .await
}

pub async fn sigterm(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &["--work-ms", "400"]).await?;
    let consumer = consumer.with("RUST_LOG", "debug");
    consumer.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let batch = ["one", "two", "three", "four"].map(message);
    lab.publish(MESSAGES, batch).await?;
    consumer.says("in hand: text of two").await?;
    let exit = consumer.stop().await?;
    expect(exit == Exit::Code(0))
        .or("the consumer ends with exit code 0", exit)
        .because("whoever stopped it takes anything else for a crash")?;
    let done = consumer.rows("messages")?.len();
    let left = lab.queue(MESSAGES).await?;
    let left = left.map_or(0, |queue| queue.ready + queue.unacked);
    expect(done == 2 && left == 2)
        .or(
            "the second one, in hand, is finished and acked; two are left to others",
            format!("{done} effect(s), {left} left"),
        )
        .because("each deployment stops all consumers")
}
