//! What chapter 02's services must be able to take.

use anyhow::Context;
use awc::http::Method;
use kit::check;
use kit::check::{
    Checks, Lab, Outcome, PATIENCE, Response, Seen, Service, Stop, Topic, fail, fate,
};
use kit::guard::Exit;
use kit::wiretap::Side;
use lapin::BasicProperties;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use rand::RngExt;
use serde_json::{Value, json};

kit::main!(Checks {
    broker: true,
    hole_for: |topic| match topic {
        Topic::Durability => 2,
        Topic::Confirm => 3,
        Topic::Publish | Topic::Routing => 4,
        Topic::NoAck => 5,
        Topic::Settle => 6,
        Topic::Consume => 7,
    },
    all: vec![
        check!(recorded, HOLE 4, "a watched video reaches the history"),
        check!(saved_user, HOLE 4, "a saved user reaches the session service"),
        check!(other_clients, HOLE 2, "a service in another language can join in"),
        check!(consumer_down, HOLE 6, "messages wait for a stopped consumer, in order"),
        check!(killed_consumer, HOLE 5, "a killed consumer loses nothing"),
        check!(ack_after_record, HOLE 7, "no message is acked before it is recorded"),
        check!(prefetch, HOLE 5, "a consumer takes no more than it can carry"),
        check!(broken_message, HOLE 6, "a broken message does not block the next one"),
        check!(link_cut, HOLE 4, "a success is never a message that was lost"),
        check!(queue_gone, HOLE 4, "a message that no queue takes is no success"),
        check!(late_broker, HOLE 1, "services started before the broker wait for it").early(),
        check!(broker_restart, HOLE 7, "a restarted broker: both go on, nothing is lost").early(),
        check!(bad_request, HOLE 4, "a bad request publishes nothing"),
        check!(sigterm, HOLE 7, "SIGTERM: the message in hand is finished first"),
    ],
});

/// The queue from `video-streaming` to `history`.
const VIEWED: &str = "viewed";

/// `history` with its consumer at the queue.
async fn consuming_history(lab: &Lab) -> Outcome<Service> {
    let history = lab.start("history").await?;
    lab.consumers(VIEWED, 1).await?;
    Ok(history)
}

/// Watches one video and gives the id of the view.
async fn watch(streaming: &Service) -> Outcome<String> {
    let answer = streaming.get("/video").await?;
    let expected = "GET /video answers 200 with the film and its view-id";
    let id = answer.view_id.clone().filter(|_| answer.ok());
    id.ok_or_else(|| {
        fail(expected, told(streaming, &answer))
            .because("the broker is there, so the view can be published")
            .hole(4)
            .into()
    })
}

/// An answer, with what the service logged last: why it is not the one that was expected.
fn told(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// Saves a user and gives their id.
async fn save(users: &Service, name: &str) -> Outcome<String> {
    let answer = users.post("/users/save", &json!({ "name": name })).await?;
    let id = answer.json()["userId"].as_str().map(str::to_owned);
    let expected = "POST /users/save answers 200 with a userId";
    id.ok_or_else(|| {
        fail(expected, told(users, &answer))
            .because("the broker is there, so the user can be published")
            .hole(4)
            .into()
    })
}

/// Waits until the session service knows each of these users, once, with one of the names.
async fn all_known(
    lab: &Lab,
    sessions: &Service,
    expected: &str,
    names: &[&str],
    ids: &[String],
) -> Outcome {
    let look = async || {
        let rows = sessions.get("/users").await?.json()["users"].take();
        let rows = rows.as_array().cloned().unwrap_or_default();
        let whole = rows.iter().filter(|row| {
            let name = row["name"].as_str().unwrap_or_default();
            names.contains(&name)
        });
        Ok(whole
            .map(|row| row["userId"].as_str().unwrap_or("?").to_owned())
            .collect())
    };
    lab.each_once(expected, Some("users"), ids, look).await?;
    Ok(())
}

/// Watches `count` videos, one after the other.
async fn watch_all(streaming: &Service, count: usize) -> Outcome<Vec<String>> {
    let mut views = Vec::new();
    for _ in 0..count {
        views.push(watch(streaming).await?);
    }
    Ok(views)
}

/// The ids of the recorded views, in order.
async fn views(history: &Service) -> Outcome<Vec<String>> {
    let answer = history.get("/history?limit=1000").await?.json();
    let rows = answer["history"].as_array().cloned().unwrap_or_default();
    let id = |row: &Value| row["viewId"].as_str().unwrap_or("?").to_owned();
    Ok(rows.iter().map(id).collect())
}

/// Waits until each of the views is recorded, once, and gives all that is recorded.
async fn all_recorded(
    lab: &Lab,
    history: &Service,
    expected: &str,
    ids: &[String],
) -> Outcome<Vec<String>> {
    lab.each_once(expected, Some(VIEWED), ids, async || views(history).await)
        .await
}

async fn recorded(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let ids = watch_all(&streaming, 3).await?;
    let expected = "all 3 views recorded under the ids that their viewers were given";
    all_recorded(&lab, &history, expected, &ids).await?;

    let published = lab.journal().methods("video-streaming", "basic.publish");
    for message in published.iter().filter_map(|frame| frame.message.as_ref()) {
        let kind = message.content_type.as_deref();
        fail(
            "each message says that it is JSON and is persistent (delivery_mode 2)",
            format!("content_type {kind:?}, persistent: {}", message.persistent),
        )
        .because("who reads it must know what it is, and a restart must not lose it")
        .unless(kind == Some("application/json") && message.persistent)?;
    }
    Ok(())
}

async fn saved_user(lab: Lab) -> Outcome {
    let sessions = lab.start("session-management").await?;
    let users = lab.start("user-management").await?;
    let number = lab.random(|chance| chance.random::<u32>());
    let names = [
        "Ada",
        "Zoë \"O'Brien\" 🎬",
        "a\u{0}b\n\\",
        &format!("user {number}"),
    ];
    let mut ids = Vec::new();
    for name in names {
        ids.push(save(&users, name).await?);
    }
    let expected = "all saved users known to the session service";
    all_known(&lab, &sessions, expected, &names, &ids).await
}

async fn other_clients(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let queue = lab.queue(VIEWED).await?.context("no queue")?;
    let bare = queue.arguments.as_object().is_none_or(|all| all.is_empty());
    let described = format!(
        "durable: {}, auto_delete: {}, exclusive: {}, arguments: {}",
        queue.durable, queue.auto_delete, queue.exclusive, queue.arguments
    );
    fail("queue `viewed` is durable and nothing else", described)
        .because("who declares it otherwise gets 406 PRECONDITION_FAILED and a closed channel")
        .unless(queue.durable && !queue.auto_delete && !queue.exclusive && bare)?;

    // As the Node.js forerunner does it: declare, and publish without any property.
    let channel = lab.connect().await?.create_channel().await;
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = channel.map_err(anyhow::Error::from)?;
    let declared = channel
        .queue_declare(VIEWED.into(), options, FieldTable::default())
        .await;
    declared.map_err(anyhow::Error::from)?;
    let body = json!({ "videoPath": "./videos/from-node.mp4" }).to_string();
    lab.publish(VIEWED, [(body, BasicProperties::default())])
        .await?;
    lab.eventually(
        "a view that another client publishes is recorded",
        "field names and queue are the contract between services, not the language",
        async || {
            let seen = history.get("/history").await?.json();
            let path = &seen["history"][0]["videoPath"];
            Ok(Seen::when(path == "./videos/from-node.mp4", || {
                seen.to_string()
            }))
        },
    )
    .await
}

async fn consumer_down(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    let ids = watch_all(&streaming, 10).await?;
    let depth = lab.queue(VIEWED).await?.map_or(0, |queue| queue.ready);
    fail(
        "10 messages wait in queue `viewed`",
        format!("{depth} wait"),
    )
    .because("10 viewers have their 200: the broker must have confirmed each view by then")
    .hole(4)
    .unless(depth == 10)?;

    let history = lab.start("history").await?;
    let expected = "all 10 views recorded once history is up";
    let seen = all_recorded(&lab, &history, expected, &ids).await?;
    fail(
        "the views in the order in which they were watched",
        "another order",
    )
    .because("one queue and one consumer that takes one at a time keep the order")
    .unless(seen == ids)?;
    lab.eventually(
        "queue `viewed` is empty again",
        "a message that is never acked comes again with the next connection",
        async || {
            let queue = lab.queue(VIEWED).await?;
            let left = queue.map_or(0, |queue| queue.ready + queue.unacked);
            Ok(Seen::when(left == 0, || format!("{left} messages in it")))
        },
    )
    .await
}

async fn killed_consumer(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    // While its database is locked, history cannot finish what it is handed.
    let locked = history.lock_database()?;
    let ids = watch_all(&streaming, 20).await?;
    delivered(&lab, "history", 1).await?;
    history.kill().await?;
    drop(locked);

    history.start().await?;
    let expected = "all 20 views recorded after history was killed and restarted";
    all_recorded(&lab, &history, expected, &ids).await?;
    Ok(())
}

/// Waits until `count` messages have been delivered to the service.
async fn delivered(lab: &Lab, service: &str, count: usize) -> Outcome {
    let why = "only what is delivered can be worked on";
    let expected = format!("the broker delivers {count} message(s) to {service}");
    lab.eventually(&expected, why, async || {
        let seen = lab.journal().methods(service, "basic.deliver").len();
        Ok(Seen::when(seen >= count, || format!("{seen} delivered")))
    })
    .await
}

async fn ack_after_record(lab: Lab) -> Outcome {
    let history = lab
        .service("history")
        .await?
        .with("DATABASE_TIMEOUT_MS", 300);
    history.start().await?;
    lab.consumers(VIEWED, 1).await?;
    let streaming = lab.start("video-streaming").await?;
    let locked = history.lock_database()?;
    let id = watch(&streaming).await?;
    delivered(&lab, "history", 1).await?;
    let gave_up = [
        "basic.nack",
        "basic.reject",
        "channel.close",
        "connection.close",
    ];
    lab.eventually(
        "history cannot record the view, and gives it back or lets go of the channel",
        "a consumer that cannot work must leave the message to the broker",
        async || {
            let frames = lab
                .journal()
                .frames(|f| f.service == "history" && f.from == Side::Client);
            let acked = frames.iter().any(|frame| frame.method == "basic.ack");
            let told = fate(lab.journal(), &id).observed;
            fail("no ack while the view cannot be recorded", told)
                .because("an ack tells the broker to forget: the work must be done by then")
                .hole(6)
                .unless(!acked)?;
            let gone = frames.iter().any(|frame| gave_up.contains(&frame.method))
                || lab.journal().disconnected("history");
            Ok(Seen::when(gone, || "neither".to_owned()))
        },
    )
    .await
    .map_err(|stop| match stop {
        Stop::Failed(failure) if failure.observed.starts_with("neither") => failure.hole(6).into(),
        other => other,
    })?;
    drop(locked);
    let expected = "the view is recorded once the database can be written again";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

async fn prefetch(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&streaming).await?;
    let body = json!({ "videoPath": "./videos/flixtube.mp4" }).to_string();
    let many = (0..300).map(|number| {
        let id = format!("view-{number}");
        (&body, BasicProperties::default().with_message_id(id.into()))
    });
    lab.publish(VIEWED, many).await?;
    let history = lab
        .service("history")
        .await?
        .with("DATABASE_TIMEOUT_MS", 5000);
    history.start().await?;
    delivered(&lab, "history", 1).await?;

    let limit = lab.journal().prefetch("history");
    fail(
        "basic.qos with a prefetch from 1 to 100, before basic.consume",
        limit.map_or("no basic.qos before it".to_owned(), |n| {
            format!("a prefetch of {n}")
        }),
    )
    .because("without it the broker hands over the whole queue, and a second worker gets none")
    .unless(limit.is_some_and(|limit| (1..=100).contains(&limit)))?;
    Ok(())
}

async fn broken_message(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let broken: [&[u8]; 6] = [
        b"",
        b"viewed",
        b"{\"videoPath\": 5}",
        b"{\"path\": \"a.mp4\"}",
        b"{\"videoPath\": \"a.mp4\"",
        b"\xff\xfe\x00",
    ];
    let ids: Vec<String> = (1..=broken.len()).map(|n| format!("broken-{n}")).collect();
    let named = broken.iter().zip(&ids).map(|(body, id)| {
        let properties = BasicProperties::default();
        (body, properties.with_message_id(id.as_str().into()))
    });
    lab.publish(VIEWED, named).await?;
    let good = watch(&streaming).await?;
    let expected = "the good message behind 6 broken ones is recorded";
    let again = |id: &String| lab.journal().deliveries("history", id) > 3;
    lab.eventually(
        expected,
        "one broken message must not stop all others",
        async || {
            if let Some(id) = ids.iter().find(|id| again(id)) {
                let observed = format!(
                    "{id} came {} times",
                    lab.journal().deliveries("history", id)
                );
                return Err(
                    fail("a broken message is rejected without requeue", observed)
                        .because("what is broken stays broken: requeued, it comes for ever")
                        .into(),
                );
            }
            let seen = views(&history).await?;
            Ok(Seen::when(seen.contains(&good), || {
                format!("recorded: {}", seen.len())
            }))
        },
    )
    .await?;

    let seen = views(&history).await?;
    fail("only the good view is recorded", format!("{seen:?}"))
        .because("what cannot be read cannot be recorded")
        .unless(seen == [good])?;
    for id in &ids {
        rejected(&lab, id).await?;
        fail(
            format!("the log of history names {id}"),
            "not a word about it",
        )
        .because("a message that is thrown away in silence is never missed until too late")
        .unless(history.output().contains(id.as_str()))?;
    }
    Ok(())
}

/// Waits until `history` has rejected this message without requeue.
async fn rejected(lab: &Lab, id: &str) -> Outcome {
    let expected = format!("{id} is rejected without requeue");
    let why = "a reject says that it was not done; a dead-letter queue could then keep it";
    lab.eventually(&expected, why, async || {
        if lab.journal().acked("history", id) {
            return Err(fail(&expected, "it was acked").because(why).into());
        }
        let seen = lab.journal().rejected("history", id);
        Ok(Seen::when(seen, || "it was kept".to_owned()))
    })
    .await
}

async fn link_cut(lab: Lab) -> Outcome {
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = vec![watch(&streaming).await?];
    let confirms = !lab
        .journal()
        .methods("video-streaming", "confirm.select")
        .is_empty();
    for round in 0..6 {
        // The message lost on its way there, or the confirm on its way back, if there is one.
        let lost = round < 2 || (round > 3 && lab.random(|chance| chance.random::<bool>()));
        let lost = lost || !confirms;
        let tap = streaming.tap();
        if lost {
            tap.cut_before(Side::Client, "basic.publish");
        } else {
            tap.cut_before(Side::Server, "basic.ack");
        }
        let answer = streaming.get("/video").await?;
        if answer.ok() {
            promised.extend(answer.view_id);
        }
        lab.eventually_within(
            PATIENCE,
            "after a cut, video-streaming connects again and publishes",
            "a network fails now and then; a service has to get over it by itself",
            async || {
                let answer = streaming.get("/video").await?;
                let ok = answer.ok() && tap.sprung();
                if answer.ok() {
                    promised.extend(answer.view_id.clone());
                }
                Ok(Seen::when(ok, || answer.summary()))
            },
        )
        .await?;
    }
    let expected = "each view that was answered with 200 is recorded";
    all_recorded(&lab, &history, expected, &promised).await?;
    Ok(())
}

async fn queue_gone(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    watch(&streaming).await?;
    let connection = lab.connect().await?;
    let deleted = async {
        let channel = connection.create_channel().await?;
        let options = QueueDeleteOptions::default();
        channel.queue_delete(VIEWED.into(), options).await
    };
    deleted.await.map_err(anyhow::Error::from)?;
    lab.journal().note(format!("queue `{VIEWED}` deleted"));

    let answer = streaming.get("/video").await?;
    let kept = lab.queue(VIEWED).await?.is_some_and(|q| q.ready == 1);
    let id = answer.view_id.clone().unwrap_or_default();
    let observed = match answer.ok() {
        true => format!(
            "{}; {}",
            answer.summary(),
            fate(lab.journal(), &id).observed
        ),
        false => answer.summary(),
    };
    fail("no 200 for a view that no queue takes", observed)
        .because(
            "a message without a queue is confirmed too; with `mandatory` it is sent back first",
        )
        .unless(!answer.ok() || kept)?;
    lab.eventually(
        "video-streaming declares the queue again and publishes",
        "somebody deletes the wrong queue sooner or later",
        async || {
            let answer = streaming.get("/video").await?;
            Ok(Seen::when(answer.ok(), || told(&streaming, &answer)))
        },
    )
    .await
}

async fn bad_request(lab: Lab) -> Outcome {
    let users = lab.start("user-management").await?;
    let huge = json!({ "name": "x".repeat(100_000) }).to_string();
    let bad = [
        "",
        "name",
        "[]",
        "{}",
        r#"{"name": 5}"#,
        r#"{"name": ""}"#,
        &huge,
    ];
    for body in bad {
        let path = "/users/save";
        let answer = users
            .send(Method::POST, path, "application/json", body)
            .await?;
        let shown: String = body.chars().take(20).collect();
        fail(
            format!("POST {path} with `{shown}` answers 4xx"),
            answer.summary(),
        )
        .because("the caller made the mistake, and has to hear of it")
        .unless((400..500).contains(&answer.status))?;
    }
    let good = users.post("/users/save", &json!({ "name": "Ada" })).await?;
    fail("a good request after them answers 200", told(&users, &good))
        .because("nobody's bad request may harm the next caller")
        .unless(good.ok())?;
    let published = lab
        .journal()
        .methods("user-management", "basic.publish")
        .len();
    fail(
        "1 message published, for the good one",
        format!("{published} published"),
    )
    .because("consumers should not have to sort out what the producer let in")
    .unless(published == 1)
}

async fn sigterm(lab: Lab) -> Outcome {
    let history = lab
        .service("history")
        .await?
        .with("DATABASE_TIMEOUT_MS", 8000)
        .with("RUST_LOG", "debug");
    history.start().await?;
    lab.consumers(VIEWED, 1).await?;
    let streaming = lab.start("video-streaming").await?;
    let locked = history.lock_database()?;
    let ids = watch_all(&streaming, 3).await?;
    let why = "only a message that was taken up can be finished";
    lab.eventually("history takes up the first message", why, async || {
        let taken = history.output().contains("is in hand");
        Ok(Seen::when(taken, || "it has not yet".to_owned()))
    })
    .await?;
    history.terminate()?;
    lab.eventually(
        "history says that it heard SIGTERM",
        "see common::shutdown",
        async || {
            let heard = history.output().contains("SIGTERM");
            Ok(Seen::when(heard, || "not a word".to_owned()))
        },
    )
    .await?;
    drop(locked);

    let exit = history.ended().await?;
    fail("exit code 0", exit.to_string())
        .because("whoever stopped it takes anything else for a crash")
        .unless(exit == Exit::Code(0))?;
    let why = "what a process has sent before it ended still arrives";
    lab.eventually("its connection ends with it", why, async || {
        let gone = lab.journal().disconnected("history");
        Ok(Seen::when(gone, || "it is still open".to_owned()))
    })
    .await?;
    let told = fate(lab.journal(), &ids[0]).observed;
    fail(
        "the message in hand is recorded and acked before history ends",
        told,
    )
    .because("work that is half done at each deployment is done twice")
    .unless(lab.journal().acked("history", &ids[0]))?;
    history.start().await?;
    let expected = "the other messages are recorded after the next start";
    all_recorded(&lab, &history, expected, &ids).await?;

    let waiting = lab.service("session-management").await?;
    waiting.tap().refuse();
    waiting.start().await?;
    let exit = waiting.stop().await?;
    fail("exit code 0 without a broker, too", exit.to_string())
        .because("who waits for the broker must hear SIGTERM while it waits")
        .unless(exit == Exit::Code(0))
}

async fn late_broker(lab: Lab) -> Outcome {
    let (history, streaming) = (
        lab.service("history").await?,
        lab.service("video-streaming").await?,
    );
    for service in [&history, &streaming] {
        service.tap().refuse();
        service.start().await?;
    }
    history.tap().turn_away();
    lab.eventually(
        "history tries again and again while there is no broker",
        "services are started in any order, and brokers are restarted",
        async || {
            let tries = lab.journal().link_count("history", "turned away");
            Ok(Seen::when(tries >= 2, || format!("{tries} tries")))
        },
    )
    .await?;
    let early = streaming.get("/video").await?;
    fail("GET /video without a broker answers 503", early.summary())
        .because("a success promises that the view will be recorded")
        .unless(early.status == 503)?;
    let tries = lab.journal().link_count("history", "turned away");
    fail(
        "a few tries in that time, with longer and longer pauses",
        format!("{tries} tries"),
    )
    .because("a broker that starts has other things to do than to turn away a storm")
    .unless(tries < 40)?;
    for service in [&history, &streaming] {
        service.tap().restore();
    }
    lab.consumers(VIEWED, 1).await?;
    let id = watch(&streaming).await?;
    let expected = "a view is recorded once the broker is there";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = watch_all(&streaming, 5).await?;
    // Some messages are in hand when the broker dies, others wait in a queue.
    let locked = history.lock_database()?;
    promised.extend(watch_all(&streaming, 5).await?);
    let users = lab.start("user-management").await?;
    let names = ["Ada", "Grace", "Edsger"];
    let mut saved = Vec::new();
    for name in names {
        saved.push(save(&users, name).await?);
    }
    lab.kill_broker().await?;
    drop(locked);
    lab.broker_is_back().await?;
    lab.eventually_within(
        PATIENCE,
        "video-streaming publishes again after the restart",
        "a broker is restarted for each upgrade; nobody wants to restart all services then",
        async || {
            let answer = streaming.get("/video").await?;
            if answer.ok() {
                promised.extend(answer.view_id.clone());
            }
            Ok(Seen::when(answer.ok(), || answer.summary()))
        },
    )
    .await?;
    lab.consumers(VIEWED, 1).await?;
    let expected = "all views that were answered with 200 are recorded after the restart";
    all_recorded(&lab, &history, expected, &promised).await?;
    let sessions = lab.start("session-management").await?;
    let expected = "3 users who waited in queue `users` are still there after the restart";
    all_known(&lab, &sessions, expected, &names, &saved).await
}
