//! What the consumer does with messages, also when it is killed, stopped or cannot record.

use std::time::Duration;

use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, Stop, expect, fail, fate};
use lapin::BasicProperties;
use serde_json::json;

use super::broker::stops_while_connecting;
use super::flixtube::{
    VIEWED, all_recorded, blame_declare, consumes, consuming_history, views, waiting, watch,
    watch_all,
};

pub async fn delivered(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&lab, &streaming).await?;
    lab.start("history").await?;
    lab.delivered("history", 1).await?;
    let consumes = lab.journal().methods("history", Method::BasicConsume);
    expect(consumes.iter().all(|consume| !consume.flag("no_ack")))
        .or("basic.consume with manual acks", "no_ack: true")
        .because("with no_ack the broker forgets a message once it is delivered")?;
    expect(consumes.iter().all(|consume| !consume.flag("exclusive")))
        .or(
            "basic.consume that lets a second consumer in",
            "exclusive: true",
        )
        .because("one day a second history must help, or take over: the broker would refuse it")
}

pub async fn consumer_down(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    // A consumer that acks only every second, fifth or tenth message leaves one unacked.
    let ids = watch_all(&lab, &streaming, 11).await?;
    let why = "11 viewers have their 200, so their views must wait for the history";
    waiting(&lab, 11, why).await?;

    let history = lab.start("history").await?;
    let expected = "all 11 views recorded once history is up";
    all_recorded(&lab, &history, expected, &ids).await?;
    lab.settled(VIEWED).await
}

pub async fn killed_consumer(lab: Lab) -> Outcome {
    let history = lab.service("history").await?;
    let history = consumes(&lab, history.with("DATABASE_TIMEOUT_MS", 8000)).await?;
    let streaming = lab.start("video-streaming").await?;
    // While its database is locked, history cannot finish a message.
    let locked = history.lock_database()?;
    let ids = watch_all(&lab, &streaming, 20).await?;
    has_its_share(&lab, 20).await?;
    history.kill().await?;
    drop(locked);

    history.start().await?;
    let expected = "all 20 views recorded after history was killed and restarted";
    all_recorded(&lab, &history, expected, &ids).await?;
    Ok(())
}

/// Waits until `history` has got all `count` messages, or as many as its prefetch allows.
async fn has_its_share(lab: &Lab, count: usize) -> Outcome {
    let limit = lab.journal().prefetch("history");
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let share = limit.map_or(count, |limit| limit.min(count));
    lab.delivered("history", share).await
}

pub async fn ack_after_record(lab: Lab) -> Outcome {
    let history = lab.service("history").await?;
    let history = consumes(&lab, history.with("DATABASE_TIMEOUT_MS", 20)).await?;
    let streaming = lab.start("video-streaming").await?;
    let locked = history.lock_database()?;
    let id = watch(&lab, &streaming).await?;
    lab.delivered("history", 1).await?;
    released_unacked(&lab, &id).await?;
    pauses_between_tries(&lab, &id).await?;
    drop(locked);
    let expected = "the view is recorded once the database can be written again";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

/// Waits until `history`, which cannot record the view, leaves it to the broker.
async fn released_unacked(lab: &Lab, id: &str) -> Outcome {
    let expected = "history cannot record the view, and requeues it or closes the channel";
    let why = "a consumer that cannot work must leave the message to the broker";
    lab.eventually(expected, why, async || {
        let methods = sent(lab, "history");
        let told = fate(lab.journal(), id).observed;
        expect(!methods.contains(&Method::BasicAck))
            .or("no ack while the view cannot be recorded", told)
            .hole(4)
            .because("an ack tells the broker to forget: the work must be done by then")?;
        let released = [
            Method::BasicNack,
            Method::BasicReject,
            Method::ChannelClose,
            Method::ConnectionClose,
        ];
        let released = methods.iter().any(|method| released.contains(method))
            || lab.journal().disconnected("history");
        Ok(Seen::when(released, || "it kept the view unacked".to_owned()).hole(4))
    })
    .await
}

/// How many tries [`pauses_between_tries`] waits for, and the shortest pause after the last of them.
/// Without one, the next try follows when the database was locked for 20 ms.
const TRIES: usize = 4;
const SHORTEST_PAUSE: Duration = Duration::from_millis(80);

/// `history`, which cannot record the view, must not try as often as it can.
async fn pauses_between_tries(lab: &Lab, id: &str) -> Outcome {
    let expected = "history tries to record the view again";
    let why = "the database can be written again one day";
    let apart = lab.eventually(expected, why, async || {
        let apart = until_next_try(lab, id);
        let enough = apart.len() >= TRIES;
        let seen = format!("{} tries so far", apart.len());
        Ok(Seen::some(enough.then_some(apart), || seen))
    });
    let mut apart = apart.await.map_err(|stop| match stop {
        Stop::Failed(failure) => lab.missing(expected, &failure.observed, id).into(),
        unknown => unknown,
    })?;
    // Pauses may begin short and grow, and a busy machine may delay one try: the median of three.
    let mut last = apart.split_off(TRIES - 3);
    last.sort_by(f64::total_cmp);
    let median = last[1];
    expect(median >= SHORTEST_PAUSE.as_secs_f64())
        .or(
            "a pause before history takes a view again that it cannot record",
            format!("the next try follows {median:.3} s after a delivery (basic.deliver)"),
        )
        .because(
            "asked as fast as the machine can, broker and database have no time for anything else",
        )
}

/// After each delivery of this view, how many seconds passed until `history` did something to get
/// it again: it connected, subscribed or requeued.
fn until_next_try(lab: &Lab, id: &str) -> Vec<f64> {
    use Method::{BasicConsume, BasicNack, BasicReject, ChannelOpen};
    let again = [BasicConsume, BasicNack, BasicReject, ChannelOpen];
    let journal = lab.journal();
    let mut tries = journal.times(|frame| {
        frame.service == "history" && frame.from == Side::Client && again.contains(&frame.method)
    });
    tries.extend(journal.calls("history"));
    tries.sort_by(f64::total_cmp);
    let delivered = journal
        .times(|frame| frame.method == Method::BasicDeliver && frame.message_id() == Some(id));
    let next = |at: &f64| tries.iter().find(|t| *t > at).map(|t| t - at);
    delivered.iter().filter_map(next).collect()
}

/// The methods that the service has sent so far.
fn sent(lab: &Lab, service: &str) -> Vec<Method> {
    let sent = lab
        .journal()
        .frames(|frame| frame.service == service && frame.from == Side::Client);
    sent.iter().map(|frame| frame.method).collect()
}

/// How often the queue of [`cancelled`] is deleted in each round.
const DELETED: usize = 3;

pub async fn cancelled(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    lab.frugal(&[&history], DELETED, "cancelled consumers", async |count| {
        for _ in 0..count {
            consumes_again(&lab).await?;
        }
        Ok(())
    })
    .await?;
    let streaming = lab.start("video-streaming").await?;
    let id = watch(&lab, &streaming).await?;
    let expected = "a view is recorded after the queue was deleted and declared again";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

/// Deletes the queue under its consumer, and waits until `history` consumes from a new one.
async fn consumes_again(lab: &Lab) -> Outcome {
    let count = |method| lab.journal().methods("history", method).len();
    let before = count(Method::BasicConsumeOk);
    lab.delete_queue(VIEWED).await?;
    let expected = "history declares the deleted queue, and consumes again";
    let why = "a consumer whose queue is gone gets basic.cancel, and its connection lives on";
    lab.eventually(expected, why, async || {
        let again = count(Method::BasicConsumeOk) > before;
        let told = count(Method::BasicCancel);
        Ok(Seen::when(again, || {
            format!("the broker cancelled its consumer (basic.cancel, {told} so far), and no basic.consume-ok followed")
        }))
    })
    .await
    .map_err(|stop| blame_declare(lab, "history", stop))?;
    lab.consumers(VIEWED, 1).await
}

/// The prefetch that the task asks for. A larger one keeps the consumer busy, too.
const PREFETCH: u64 = 20;

pub async fn prefetch(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&lab, &streaming).await?;
    let body = json!({ "videoPath": "./videos/flixtube.mp4" }).to_string();
    let many = (0..300).map(|number| {
        let id = format!("view-{number}");
        (&body, BasicProperties::default().with_message_id(id.into()))
    });
    lab.publish(VIEWED, many).await?;
    let history = lab.service("history").await?;
    let history = history.with("DATABASE_TIMEOUT_MS", 5000);
    history.start().await?;
    lab.delivered("history", 1).await?;
    asks_for_enough(&lab)
}

/// `history` sets a prefetch before it consumes, and one that keeps it busy.
fn asks_for_enough(lab: &Lab) -> Outcome {
    let asked = lab.journal().methods("history", Method::BasicQos);
    let mut counts = asked.iter().map(|qos| &qos.args["prefetch_count"]);
    let observed = match counts.next_back() {
        None => "no basic.qos before it".to_owned(),
        Some(count) if count == 0 => "a prefetch of 0, which is no limit".to_owned(),
        Some(count) => format!("no basic.qos before it on its channel (one of {count} elsewhere)"),
    };
    let limit = lab.journal().prefetch("history");
    expect(limit.is_some())
        .or("basic.qos with a prefetch, before basic.consume", observed)
        .because(
            "without it the broker delivers the whole queue at once: a second worker gets nothing",
        )?;
    expect(limit >= Some(PREFETCH))
        .or(
            format!("a prefetch of {PREFETCH}, as in `PREFETCH`, or more"),
            format!("a prefetch of {} (basic.qos)", limit.unwrap_or_default()),
        )
        .because("with so few, history waits for the next message while its ack is on the way to the broker")
}

/// Bodies that are not a view.
const BROKEN: [&[u8]; 6] = [
    b"",
    b"viewed",
    b"{\"videoPath\": 5}",
    b"{\"path\": \"a.mp4\"}",
    b"{\"videoPath\": \"a.mp4\"",
    b"\xff\xfe\x00",
];

pub async fn broken_message(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let ids = (1..=BROKEN.len()).map(|number| format!("broken-{number}"));
    let ids: Vec<String> = ids.collect();
    let messages = BROKEN.iter().zip(&ids).map(|(body, id)| {
        let properties = BasicProperties::default();
        (body, properties.with_message_id(id.as_str().into()))
    });
    lab.publish(VIEWED, messages).await?;
    let good = watch(&lab, &streaming).await?;
    recorded_behind(&lab, &history, &good, &ids).await?;

    let seen = views(&history).await?;
    expect(seen == [good])
        .or(
            "only the good view is recorded",
            format!("{} views", seen.len()),
        )
        .because("a message that cannot be read cannot be recorded")?;
    for id in &ids {
        rejected(&lab, id).await?;
        expect(history.output().contains(id.as_str()))
            .or(
                format!("the log of history names {id}"),
                "no line of the log names it",
            )
            .because(
                "nobody misses a message that is discarded in silence, until it is too late",
            )?;
    }
    Ok(())
}

/// Waits until the `good` message is recorded; none of the `broken` ones may be requeued.
async fn recorded_behind(lab: &Lab, history: &Service, good: &str, broken: &[String]) -> Outcome {
    let expected = "the good message behind 6 broken ones is recorded";
    let why = "one broken message must not stop all others";
    lab.eventually(expected, why, async || {
        for id in broken {
            delivered_once(lab, id)?;
        }
        let seen = views(history).await?;
        let recorded = seen.iter().any(|id| id == good);
        Ok(Seen::when(recorded, || format!("{} recorded", seen.len())))
    })
    .await
}

/// Nothing fails in this run, so a second delivery is the work of `history`.
fn delivered_once(lab: &Lab, id: &str) -> Outcome {
    let times = lab.journal().deliveries("history", id);
    let (how, why) = match requeued(lab, id) {
        Some(method) => (
            format!("history requeued it ({method}, requeue true)"),
            "a broken message stays broken: requeued each time, it is redelivered for ever",
        ),
        None => (
            "history did not settle its first delivery".to_owned(),
            "a broken message must not end the subscription: the next one meets it again",
        ),
    };
    expect(times <= 1)
        .or(
            "a broken message is rejected without requeue",
            format!("{id} was delivered {times} times: {how}"),
        )
        .because(why)
}

/// The method with which `history` gave a delivery of this message back to its queue.
fn requeued(lab: &Lab, id: &str) -> Option<Method> {
    let frames = lab.journal().frames(|frame| frame.service == "history");
    let given_back = |(at, delivery): (usize, &Frame)| {
        let mut later = frames[at..]
            .iter()
            .take_while(|frame| !frame.reopens(delivery));
        let settled = later.find(|frame| frame.settles(delivery))?;
        settled.flag("requeue").then_some(settled.method)
    };
    let deliveries = frames.iter().enumerate().filter(|(_, frame)| {
        frame.method == Method::BasicDeliver && frame.message_id() == Some(id)
    });
    deliveries.filter_map(given_back).next()
}

/// Waits until `history` has rejected this message without requeue, at its first delivery.
async fn rejected(lab: &Lab, id: &str) -> Outcome {
    let expected = format!("{id} is rejected without requeue");
    let why =
        "a reject says that the work was not done; a dead-letter queue could then keep the message";
    lab.eventually(&expected, why, async || {
        if lab.journal().acked("history", id) {
            return Err(fail(&expected, "it was acked").because(why).into());
        }
        let seen = lab.journal().rejected("history", id);
        Ok(Seen::when(seen, || "it was kept unacked".to_owned()))
    })
    .await?;
    delivered_once(lab, id)
}

pub async fn sigterm(lab: Lab) -> Outcome {
    let (finished, stopped) = tokio::join!(finishes(&lab), stops_without_broker(&lab));
    finished?;
    stopped
}

async fn finishes(lab: &Lab) -> Outcome {
    let history = lab.service("history").await?;
    let history = consumes(lab, history.with("DATABASE_TIMEOUT_MS", 8000)).await?;
    let streaming = lab.start("video-streaming").await?;
    let locked = history.lock_database()?;
    let ids = watch_all(lab, &streaming, 3).await?;
    has_its_share(lab, 3).await?;
    records(lab, &history).await?;
    history.terminate()?;
    let hole = match drops_its_message(lab, &history).await? {
        true => 7,
        false => 4,
    };
    drop(locked);
    history.stopped_well().await?;
    finished_before_the_end(lab, &ids[0], hole).await?;

    history.start().await?;
    let expected = "the other messages are recorded after the next start";
    all_recorded(lab, &history, expected, &ids).await?;
    Ok(())
}

/// How long the list of views takes at most while nothing is being recorded.
const LISTED: Duration = Duration::from_millis(250);

/// Waits until `history` waits for its locked database: it has begun to record a message. Its
/// store then answers no other question, so the list of views takes as long.
async fn records(lab: &Lab, history: &Service) -> Outcome {
    let why = "a message that was delivered must be worked on";
    lab.eventually("history begins to record a view", why, async || {
        let listing = history.try_get("/history");
        let listed = lab.span().limit(LISTED, listing).await;
        Ok(Seen::when(listed.is_none(), || "it records nothing".into()).hole(4))
    })
    .await
}

/// How soon a service that drops its message at SIGTERM has left the broker.
const DROPS: Duration = Duration::from_millis(300);

/// Whether `history` leaves the broker at SIGTERM, while its message is under way.
async fn drops_its_message(lab: &Lab, history: &Service) -> Outcome<bool> {
    // The log line of `common::shutdown`.
    history.says("SIGTERM").await?;
    let span = lab.span();
    let gone = || {
        let closes = lab.journal().methods("history", Method::ConnectionClose);
        !closes.is_empty() || lab.journal().disconnected("history")
    };
    let why = "history drops the message under way, or goes on with it";
    lab.eventually(why, why, async || {
        let over = gone() || span.elapsed() > DROPS;
        Ok(Seen::when(over, || "it is not decided".to_owned()))
    })
    .await?;
    Ok(gone())
}

/// Waits until everything that the ended `history` has sent is in the journal: also the ack of
/// this message.
async fn finished_before_the_end(lab: &Lab, id: &str, hole: u32) -> Outcome {
    let why = "the connection carries what a process sent before it ended";
    lab.eventually("history's connection ends with it", why, async || {
        let gone = lab.journal().disconnected("history");
        Ok(Seen::when(gone, || "it is still open".to_owned()))
    })
    .await?;
    expect(lab.journal().acked("history", id))
        .or(
            "the message under way is recorded and acked before history ends",
            fate(lab.journal(), id).observed,
        )
        .hole(hole)
        .because("work that each deployment interrupts is done twice")
}

async fn stops_without_broker(lab: &Lab) -> Outcome {
    let sessions = lab.service("session-management").await?;
    sessions.tap().refuse();
    sessions.start().await?;
    stops_while_connecting(lab, &sessions).await
}
