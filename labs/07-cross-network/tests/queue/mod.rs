//! Checks of what the consumer does with a message.

use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, Span, expect, fail, fate};
use lapin::BasicProperties;

use super::net::{
    DEAD, MESSAGES, TOPOLOGY, consumer, consumes, consuming, each_once, effects, one_connection,
    sent, working,
};

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
        .or("20 messages are ready in the queue", ready)
        .because("the queue keeps messages for a consumer that is not connected")?;
    let consumer = consuming(&lab).await?;
    let expected = "the consumer starts, and each of the 20 messages has its effect once";
    each_once(&lab, &consumer, expected, &ids).await?;
    one_connection(&lab, &["producer", "consumer"])
}

pub async fn duplicate(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let batch = ["one", "two", "one", "three", "one"].map(message);
    lab.publish(MESSAGES, batch).await?;
    let ids = ["one", "two", "three"].map(str::to_owned);
    let expected = "3 messages, one of them three times: 3 effects";
    each_once(&lab, &consumer, expected, &ids).await?;
    counts(&lab, &consumer, "received 5, duplicates 2, effects 3").await?;

    // The same after a restart: the consumer remembers nothing but what it has committed.
    consumer.stop().await?;
    lab.publish(MESSAGES, [message("two")]).await?;
    consumer.launch().await?;
    counts(&lab, &consumer, "received 1, duplicates 1, effects 0").await?;
    lab.settled(MESSAGES).await
}

/// Waits until the consumer has counted as many messages, which must be its last line.
async fn counts(lab: &Lab, consumer: &Service, counts: &str) -> Outcome {
    let expected = format!("the consumer logs last `{counts}`");
    let why = "at-least-once delivery means duplicates: an operator must see that they did no harm";
    let received = counts.split(',').next().unwrap_or_default();
    lab.eventually(&expected, why, async || {
        let last = consumer.last_words(1).join("");
        let observed = format!("it logged last: {last}");
        let counted = last.contains(received);
        expect(!counted || last.ends_with(counts))
            .or(&expected, &observed)
            .because(why)?;
        Ok(Seen::when(counted, || observed))
    })
    .await
}

pub async fn commit_first(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = hasty_consumer(&lab).await?;
    // Until HOLE 8 it ends with its session.
    consumer.begin().await?;
    lab.consumers(MESSAGES, 1).await?;
    let _locked = consumer.lock_database()?;
    lab.publish(MESSAGES, [message("one")]).await?;
    requeued(&lab).await
}

/// A consumer that does not wait long for its database.
async fn hasty_consumer(lab: &Lab) -> Outcome<Service> {
    let consumer = consumer(lab, "consumer", &[]).await?;
    Ok(consumer.with("DATABASE_TIMEOUT_MS", 300))
}

pub async fn effect_first(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = hasty_consumer(&lab).await?;
    consumes(&lab, &consumer).await?;
    locked_database(&lab, &consumer).await?;
    lost_ack(&lab, &consumer).await
}

/// The effect cannot be committed at first: no ack until it is.
async fn locked_database(lab: &Lab, consumer: &Service) -> Outcome {
    let locked = consumer.lock_database()?;
    lab.publish(MESSAGES, [message("one")]).await?;
    requeued(lab).await?;
    drop(locked);
    let expected = "the message has its effect once the database can be written again";
    each_once(lab, consumer, expected, &["one".to_owned()]).await
}

/// Waits until the consumer, which cannot commit `one`, has requeued it without an ack.
async fn requeued(lab: &Lab) -> Outcome {
    let why = "the broker forgets an acked message, so its effect must be committed by then";
    let expected = "the consumer cannot commit, and requeues the message";
    lab.eventually(expected, why, async || {
        let frames = |method| lab.journal().methods("consumer", method).len();
        let told = fate(lab.journal(), "one").observed;
        expect(frames(Method::BasicAck) == 0)
            .or("no ack while the effect cannot be committed", &told)
            .hole(4)
            .because(why)?;
        let requeued = lab.journal().disconnected("consumer") || frames(Method::BasicNack) > 0;
        let again = frames(Method::BasicConsume) > 1;
        let kept = "consumed again, and kept the connection on which the message is unacked";
        Ok(match again {
            true => Seen::when(requeued, || format!("the consumer {kept}")).hole(8),
            false => Seen::when(requeued, || told),
        })
    })
    .await
}

/// The effect is committed, and the ack is lost: the redelivered message has no second effect.
async fn lost_ack(lab: &Lab, consumer: &Service) -> Outcome {
    consumer.tap().cut_before(Side::Client, Method::BasicAck);
    lab.publish(MESSAGES, [message("two")]).await?;
    let ids = ["one", "two"].map(str::to_owned);
    let expected = "a message whose ack was lost is redelivered, and has no second effect";
    let why = "a consumer that has lost its connection must reconnect by itself";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let settled = consumer.tap().sprung() && lab.journal().acked("consumer", "two");
        let times = lab.journal().deliveries("consumer", "two");
        Ok(Seen::when(settled && times > 1, || {
            format!("delivered {times} time(s)")
        }))
    })
    .await?;
    each_once(lab, consumer, expected, &ids).await
}

pub async fn no_id(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let nameless = ("nameless".to_owned(), BasicProperties::default());
    // Some clients send an empty id instead of none.
    let batch = [nameless, message(""), message("one")];
    lab.publish(MESSAGES, batch).await?;
    let expected = "the message behind two without an id has its effect";
    each_once(&lab, &consumer, expected, &["one".to_owned()]).await?;
    let seen = effects(&consumer)?;
    expect(seen == 1)
        .or("1 effect", seen)
        .because("a duplicate of a message without an id cannot be recognised")?;
    let why = "only a message that is kept shows its sender's mistake";
    let expected = "the two without an id are in `messages.dead`";
    lab.eventually(expected, why, async || {
        let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
        Ok(Seen::when(dead == 2, || format!("{dead} in there")))
    })
    .await
}

/// Enough messages to show what a prefetch does, and how long the work for each takes.
const MANY: usize = 100;
const WORK_MS: &str = "5";

/// How long the messages may take without a delay, on a busy machine.
const NEAR: Duration = Duration::from_secs(8);

/// Why a small prefetch is slow over a long way.
const PREFETCH: &str = "at most prefetch / round trip messages arrive in a second";

/// Ten round trips: a consumer that works on many messages at once is so quick that three times its
/// time may be less than the machine's noise. One message a round trip takes 20 s.
const ROUND_TRIPS: Duration = Duration::from_secs(2);

pub async fn far_away(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    sent(&lab, MANY).await?;
    let near = consumer(&lab, "near", &["--work-ms", WORK_MS]).await?;
    let expected = format!("{MANY} messages have their effect");
    let took = all_done(&lab, &near, &expected, NEAR).await?.elapsed();
    near.stop().await?;

    let far_message = |number: usize| message(&format!("far {number}"));
    lab.publish(MESSAGES, (0..MANY).map(far_message)).await?;
    let far = consumer(&lab, "far", &["--work-ms", WORK_MS]).await?;
    far.tap().delay(Duration::from_millis(100));
    // Twice as long would do; but the machine may be busier now.
    let limit = (3 * took).max(took + ROUND_TRIPS);
    let expected = format!(
        "with 100 ms each way, {MANY} messages take hardly longer than without: {:.1} s at most",
        limit.as_secs_f64()
    );
    let span = all_done(&lab, &far, &expected, limit).await?;
    let seconds = span.elapsed().as_secs_f64();
    let slow = fail(expected, format!("{seconds:.1} s")).because(PREFETCH);
    span.at_most(limit, slow)?;
    sensible_prefetch(&lab, &far)
}

/// Starts the consumer, and returns the time from its first effect to its last.
async fn all_done(lab: &Lab, consumer: &Service, expected: &str, limit: Duration) -> Outcome<Span> {
    consumer.launch().await?;
    working(lab, consumer, 1).await?;
    let span = lab.span();
    lab.eventually_within(limit, expected, PREFETCH, async || {
        let done = effects(consumer)?;
        let prefetch = lab.journal().prefetch(&consumer.name());
        let end = (done >= MANY).then(|| span.clone().end());
        Ok(Seen::some(end, || {
            let prefetch = prefetch.map_or("none".to_owned(), |count| count.to_string());
            format!("{done} are done; prefetch {prefetch}")
        }))
    })
    .await
}

/// What the lesson counts for work of 5 ms: 200 messages a second, and a round trip of 0.2 s. A
/// slow disk would hide a smaller prefetch from the time that all messages take.
const IN_FLIGHT: u64 = 40;

fn sensible_prefetch(lab: &Lab, consumer: &Service) -> Outcome {
    let name = consumer.name();
    let prefetch = lab.journal().prefetch(&name);
    let observed = prefetch.map_or("no limit".to_owned(), |count| count.to_string());
    expect(prefetch.is_some_and(|count| count <= 1000))
        .or("a prefetch of at most 1,000", &observed)
        .because("all unacked messages are redelivered when the consumer's connection is lost")?;
    // Each subscription has its own.
    let subscriptions = lab.journal().methods(&name, Method::BasicConsume).len() as u64;
    expect(prefetch.is_some_and(|count| count * subscriptions >= IN_FLIGHT))
        .or(
            "a prefetch of at least 40, for 200 messages a second and a round trip of 0.2 s",
            &observed,
        )
        .because("a message comes 100 ms, and its ack goes back 100 ms: both ways count")
}

/// How long a message takes while SIGTERM arrives, and how many wait.
const BUSY_MS: &str = "400";
const BATCH: u64 = 20;

/// A consumer has finished by then what it has begun; all messages one after the other take longer.
const BEGUN: Duration = Duration::from_secs(3);

pub async fn sigterm(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &["--work-ms", BUSY_MS]).await?;
    let consumer = consumer.with("RUST_LOG", "debug");
    consumes(&lab, &consumer).await?;
    let numbered = |number: u64| message(&number.to_string());
    lab.publish(MESSAGES, (1..=BATCH).map(numbered)).await?;
    second_begun(&lab, &consumer).await?;
    let span = lab.span();
    consumer.stops_well().await?;
    let span = span.end();
    let (done, left) = (effects(&consumer)? as u64, lab.depth(MESSAGES).await?);
    let took = span.elapsed();
    let failure = fail(
        format!(
            "of {BATCH} messages each that is begun, the second at least, is finished and acked; the \
             others are requeued"
        ),
        format!("{done} effect(s), {left} in the queue, after {:.1} s", took.as_secs_f64()),
    )
    .hole(8)
    .because("each deployment stops all consumers");
    failure.clone().unless(done >= 2 && done + left == BATCH)?;
    span.at_most(BEGUN, failure)
}

/// Waits until the consumer works on the second message, as its log says, or has done it.
async fn second_begun(lab: &Lab, consumer: &Service) -> Outcome {
    let why = "SIGTERM must hit a consumer that works";
    lab.eventually("the second message is begun", why, async || {
        let done = effects(consumer)?;
        let begun = done >= 2 || consumer.output().contains("begun: text of 2");
        Ok(Seen::when(begun, || format!("{done} effect(s)")))
    })
    .await
}
