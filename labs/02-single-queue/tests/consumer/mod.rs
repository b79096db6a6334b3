//! What the consumer's side must be able to take.

use anyhow::Context;
use check::Exit;
use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, expect, fail, fate};
use lapin::BasicProperties;
use serde_json::json;

use super::flixtube::{
    VIEWED, all_recorded, consuming_history, delivered, views, watch, watch_all,
};

pub async fn consumer_down(lab: Lab) -> Outcome {
    let streaming = lab.start("video-streaming").await?;
    let ids = watch_all(&streaming, 10).await?;
    let depth = lab.queue(VIEWED).await?.map_or(0, |queue| queue.ready);
    expect(depth == 10)
        .or(
            "10 messages wait in queue `viewed`",
            format!("{depth} wait"),
        )
        .hole(4)
        .because("10 viewers have their 200: the broker must have confirmed each view by then")?;

    let history = lab.start("history").await?;
    let expected = "all 10 views recorded once history is up";
    let seen = all_recorded(&lab, &history, expected, &ids).await?;
    expect(seen == ids)
        .or(
            "the views in the order in which they were watched",
            "another order",
        )
        .because("one queue and one consumer that takes one at a time keep the order")?;
    lab.eventually(
        "queue `viewed` is empty again",
        "a message that is never acked comes again with the next connection",
        async || {
            let queue = lab.queue(VIEWED).await?.context("no queue")?;
            let empty = queue.ready + queue.unacked == 0;
            Ok(Seen::when(empty, || {
                let (ready, unacked) = (queue.ready, queue.unacked);
                format!("{ready} waiting in it, {unacked} delivered and not acked")
            }))
        },
    )
    .await
}

pub async fn killed_consumer(lab: Lab) -> Outcome {
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

pub async fn ack_after_record(lab: Lab) -> Outcome {
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
        Method::BasicNack,
        Method::BasicReject,
        Method::ChannelClose,
        Method::ConnectionClose,
    ];
    lab.eventually(
        "history cannot record the view, and gives it back or lets go of the channel",
        "a consumer that cannot work must leave the message to the broker",
        async || {
            let frames = lab
                .journal()
                .frames(|f| f.service == "history" && f.from == Side::Client);
            let acked = frames.iter().any(|frame| frame.method == Method::BasicAck);
            let told = fate(lab.journal(), &id).observed;
            expect(!acked)
                .or("no ack while the view cannot be recorded", told)
                .hole(6)
                .because("an ack tells the broker to forget: the work must be done by then")?;
            let gone = frames.iter().any(|frame| gave_up.contains(&frame.method))
                || lab.journal().disconnected("history");
            Ok(Seen::when(gone, || "neither".to_owned()).hole(6))
        },
    )
    .await?;
    drop(locked);
    let expected = "the view is recorded once the database can be written again";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

pub async fn prefetch(lab: Lab) -> Outcome {
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
    expect(limit.is_some_and(|limit| (1..=100).contains(&limit)))
        .or(
            "basic.qos with a prefetch from 1 to 100, before basic.consume",
            limit.map_or("no basic.qos before it".to_owned(), |n| {
                format!("a prefetch of {n}")
            }),
        )
        .because(
            "without it the broker hands over the whole queue, and a second worker gets none",
        )?;
    Ok(())
}

pub async fn broken_message(lab: Lab) -> Outcome {
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
    expect(seen == [good])
        .or("only the good view is recorded", format!("{seen:?}"))
        .because("what cannot be read cannot be recorded")?;
    for id in &ids {
        rejected(&lab, id).await?;
        expect(history.output().contains(id.as_str()))
            .or(
                format!("the log of history names {id}"),
                "not a word about it",
            )
            .because("a message that is thrown away in silence is never missed until too late")?;
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

pub async fn sigterm(lab: Lab) -> Outcome {
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
    expect(exit == Exit::Code(0))
        .or("exit code 0", exit.to_string())
        .because("whoever stopped it takes anything else for a crash")?;
    let why = "what a process has sent before it ended still arrives";
    lab.eventually("its connection ends with it", why, async || {
        let gone = lab.journal().disconnected("history");
        Ok(Seen::when(gone, || "it is still open".to_owned()))
    })
    .await?;
    let told = fate(lab.journal(), &ids[0]).observed;
    expect(lab.journal().acked("history", &ids[0]))
        .or(
            "the message in hand is recorded and acked before history ends",
            told,
        )
        .because("work that is half done at each deployment is done twice")?;
    history.start().await?;
    let expected = "the other messages are recorded after the next start";
    all_recorded(&lab, &history, expected, &ids).await?;

    let waiting = lab.service("session-management").await?;
    waiting.tap().refuse();
    waiting.start().await?;
    let exit = waiting.stop().await?;
    expect(exit == Exit::Code(0))
        .or("exit code 0 without a broker, too", exit.to_string())
        .because("who waits for the broker must hear SIGTERM while it waits")
}
