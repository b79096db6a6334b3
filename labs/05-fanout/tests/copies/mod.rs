//! Who gets a copy.

use std::time::Duration;

use check::Exit;
use check::wiretap::{ConnectionEvent, Method};
use check::{Lab, Outcome, Seen, expect};
use lapin::{BasicProperties, ExchangeKind};
use rand::RngExt;
use serde_json::json;

use super::events::{VIEWED, about, both, instance, listening, mailbox, named, sell, watch};

pub async fn wrong_type(lab: Lab) -> Outcome {
    mailbox(&lab, VIEWED, ExchangeKind::Topic, "check").await?;
    let history = lab.service("history").await?;
    let expected = "history ends at once, with an error";
    let why = "asked again, the broker says the same again: only a person can mend this";
    history.begin().await?;
    let exit = lab.eventually(expected, why, async || {
        let tries = lab
            .journal()
            .connection_count("history", &ConnectionEvent::Opened);
        expect(tries <= 2)
            .or(
                expected,
                format!("it connects again and again: {tries} times by now"),
            )
            .because(why)?;
        Ok(match history.exit() {
            Some(exit) => Seen::Yes(exit),
            None => Seen::NotYet("it still runs".to_owned()),
        })
    });
    let exit = exit.await?;
    lab.all_well()?;
    expect(exit != Exit::Code(0))
        .or("an exit code other than 0", exit.to_string())
        .because("whoever started it goes by the exit code")?;
    let output = history.output();
    let told = [VIEWED, "fanout", "topic"];
    expect(told.iter().all(|word| output.contains(word)))
        .or(
            format!("it names exchange `{VIEWED}`, fanout as it should be, topic as it is"),
            format!("it said last: {}", history.last_words(1).join("")),
        )
        .because("the broker says it; passed on, it saves somebody an hour")
}

pub async fn other_clients(lab: Lab) -> Outcome {
    mailbox(&lab, VIEWED, ExchangeKind::Fanout, "check").await?;
    let history = listening(&lab, "history").await?;
    // As the Node.js forerunner does it: without any property. The key is nobody's.
    let path = "./videos/from-node.mp4";
    let key = lab.random(|chance| format!("key.{}", chance.random_range(0..1000)));
    let body = json!({ "videoPath": path }).to_string();
    let message = (key, body, BasicProperties::default());
    lab.publish_to(VIEWED, [message]).await?;
    let expected = "a view that another client publishes is recorded, whatever its key";
    let why = "a fanout exchange reads no keys: all who are bound get all";
    lab.eventually(expected, why, async || {
        let seen = history.values()?;
        Ok(Seen::when(seen == [path], || format!("{seen:?}")))
    })
    .await?;
    // Some clients send an empty id where they have none.
    let nameless = ["./videos/one.mp4", "./videos/two.mp4"].map(|path| {
        let body = json!({ "videoPath": path }).to_string();
        ("", body, named(""))
    });
    lab.publish_to(VIEWED, nameless).await?;
    let expected = "two views with an empty message_id are recorded, as two without an id";
    let why = "an empty id names nothing: the second view would pass for the first one";
    lab.eventually(expected, why, async || {
        let seen = history.values()?.len();
        Ok(Seen::when(seen == 3, || format!("{} of 2", seen - 1)))
    })
    .await?;
    let streaming = lab.start("video-streaming").await?;
    let id = watch(&streaming, 1).await?.remove(0);
    let there = lab.take("check").await?;
    let ours = there.iter().find(|message| {
        let given = message.properties.message_id().as_ref();
        given.is_some_and(|given| given.as_str() == id)
    });
    let body = ours.map(|message| String::from_utf8_lossy(&message.data).into_owned());
    let right = json!({ "videoPath": "./videos/flixtube.mp4" }).to_string();
    expect(body.as_deref() == Some(right.as_str()))
        .or(
            format!("a queue of another client's has the view too: {right}"),
            format!("{body:?}"),
        )
        .hole(2)
        .because("field names and exchange are the contract between services, not the language")
}

pub async fn views(lab: Lab) -> Outcome {
    let history = listening(&lab, "history").await?;
    let streaming = lab.start("video-streaming").await?;
    let ids = watch(&streaming, 3).await?;
    let expected = "all 3 views recorded under the ids that their viewers were given";
    history.gets_only(&lab, expected, &ids).await?;
    for frame in lab
        .journal()
        .methods("video-streaming", Method::BasicPublish)
    {
        let message = frame.message.clone().unwrap_or_default();
        let (exchange, kind) = (&frame.args["exchange"], message.content_type.as_deref());
        expect(exchange == VIEWED && kind == Some("application/json") && message.persistent)
            .or(
                format!("a persistent message of JSON to exchange `{VIEWED}`"),
                format!(
                    "exchange {exchange}, content_type {kind:?}, persistent: {}",
                    message.persistent
                ),
            )
            .hole(2)
            .because(
                "the queues that it comes to are durable: a restart must not lose it either",
            )?;
    }
    Ok(())
}

pub async fn catch_up(lab: Lab) -> Outcome {
    let history = listening(&lab, "history").await?;
    let streaming = lab.start("video-streaming").await?;
    let mut ids = watch(&streaming, 1).await?;
    history.gets_only(&lab, "the first view", &ids).await?;
    history.stops().await?;
    ids.extend(about(3, watch(&streaming, 5).await)?);
    history.listen(&lab).await?;
    let expected = "the 5 views of the time in which it was down, too";
    history.gets_only(&lab, expected, &ids).await?;
    expect(history.ids()? == ids)
        .or(
            "the views in the order in which they were watched",
            "another order",
        )
        .because("a queue keeps the order, and so does who takes one at a time")
}

pub async fn ready(lab: Lab) -> Outcome {
    let history = instance(&lab, "history", "history").await?;
    // The way to the broker and back takes long enough to see who does not wait for it.
    history.tap().delay(Duration::from_millis(15));
    history.launch().await?;
    history.says("consuming").await?;
    let bindings = lab.bindings(&history.queue(&lab)?).await?;
    expect(bindings.iter().any(|binding| binding.source == VIEWED))
        .or(
            format!("its queue is bound to `{VIEWED}` once it says `consuming`"),
            format!("{} binding(s)", bindings.len()),
        )
        .because("what is published before a queue is bound is lost for that queue")
}

pub async fn broadcast(lab: Lab) -> Outcome {
    let [history, recommendations] = both(&lab, ["history", "recommendations"]).await?;
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    let (streaming, shop) = (
        lab.start("video-streaming").await?,
        lab.start("shop").await?,
    );
    let views = watch(&streaming, 4).await?;
    let sales = sell(&shop, 4).await?;
    history.gets_only(&lab, "all 4 views", &views).await?;
    recommendations.recommends(&lab, "all 4 views", 4).await?;
    for listener in [&finance, &payment] {
        listener.gets_only(&lab, "all 4 sales", &sales).await?;
    }
    for (listener, path) in [(&finance, "/bookings"), (&payment, "/payments")] {
        let answer = listener.get(path).await?;
        let shown = answer.json()[&path[1..]].as_array().map_or(0, Vec::len);
        expect(shown == 4)
            .or(format!("GET {path} shows the 4 sales"), answer.summary())
            .because("what a service knows is of use when somebody can ask for it")?;
    }
    Ok(())
}

pub async fn newcomer(lab: Lab) -> Outcome {
    let history = listening(&lab, "history").await?;
    let streaming = lab.start("video-streaming").await?;
    let mut views = watch(&streaming, 2).await?;
    let recommendations = listening(&lab, "recommendations").await?;
    views.extend(watch(&streaming, 3).await?);
    history.gets_only(&lab, "all 5 views", &views).await?;
    let expected = "the 3 views since it was first started";
    recommendations.recommends(&lab, expected, 3).await?;
    let connections = lab
        .journal()
        .connection_count("video-streaming", &ConnectionEvent::Opened);
    expect(connections == 1)
        .or(
            "the producer keeps its one connection",
            format!("{connections} connections"),
        )
        .hole(2)
        .because("who joins in is no concern of the producer's")
}

pub async fn replicas(lab: Lab) -> Outcome {
    let payment = listening(&lab, "payment").await?;
    let mut finance = Vec::new();
    for name in ["finance-1", "finance-2"] {
        let one = instance(&lab, name, "finance").await?;
        one.listen(&lab).await?;
        finance.push(one);
    }
    let shop = lab.start("shop").await?;
    let sales = sell(&shop, 20).await?;
    payment.gets_only(&lab, "all 20 sales", &sales).await?;
    finance[0]
        .gets_only(&lab, "all 20 sales between the two", &sales)
        .await?;
    for id in &sales {
        let times: Vec<_> = finance
            .iter()
            .map(|one| lab.journal().deliveries(&one.name(), id))
            .collect();
        expect(times.iter().sum::<usize>() == 1)
            .or(
                "each sale goes to one of the two instances of finance",
                format!(
                    "sale {id}: {} time(s) to one, {} to the other",
                    times[0], times[1]
                ),
            )
            .because(
                "instances that share a queue share the work; with a queue each, both do all",
            )?;
    }
    for one in &finance {
        let part = lab
            .journal()
            .methods(&one.name(), Method::BasicDeliver)
            .len();
        expect((3..=17).contains(&part))
            .or(
                "each of the two gets a part of the 20 sales",
                format!("{} got {part}", one.name()),
            )
            .because("a second instance is started because one is not enough")?;
    }
    Ok(())
}
