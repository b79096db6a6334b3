//! Which service gets a copy of which message.

use std::time::Duration;

use check::wiretap::{ConnectionEvent, Frame, Method};
use check::{Lab, Outcome, Seen, Service, expect};
use lapin::{BasicProperties, ExchangeKind};
use rand::RngExt;
use serde_json::json;

use super::events::{
    BOUND, Listener, VIEWED, at_hole, both, identified, instance, listening, sell, watch,
};

/// The check's own queue.
const CHECK: &str = "check";

/// Binds the check's own queue, which a client in another language could have made. A fanout
/// exchange ignores the key.
async fn bind_check(lab: &Lab, kind: ExchangeKind) -> Outcome {
    lab.bind_queue(CHECK, VIEWED, kind, "some.key").await
}

/// The body of a view, in the contract's field names.
fn view_of(path: &str) -> String {
    json!({ "videoPath": path }).to_string()
}

pub async fn wrong_type(lab: Lab) -> Outcome {
    bind_check(&lab, ExchangeKind::Topic).await?;
    let history = lab.service("history").await?;
    let output = history.gives_up().await?;
    let parts = [VIEWED, "fanout", "topic"];
    expect(parts.iter().all(|word| output.contains(word)))
        .or(
            format!("the error names exchange `{VIEWED}`, the type `fanout` and the type `topic`"),
            format!("it said last: {}", history.last_words(1).join("")),
        )
        .because("the broker's answer names them; logged, it saves a person an hour")
}

pub async fn other_clients(lab: Lab) -> Outcome {
    bind_check(&lab, ExchangeKind::Fanout).await?;
    let history = listening(&lab, "history").await?;
    takes_bare_views(&lab, &history).await?;
    takes_empty_ids(&lab, &history).await?;
    let streaming = lab.start("video-streaming").await?;
    gives_a_copy(&lab, &streaming).await
}

/// The Node.js forerunner sets no property. A random key: no service may depend on it.
async fn takes_bare_views(lab: &Lab, history: &Listener) -> Outcome {
    let path = "./videos/from-node.mp4";
    let key = lab.random(|chance| format!("key.{}", chance.random_range(0..1000)));
    let message = (key, view_of(path), BasicProperties::default());
    lab.publish_to(VIEWED, [message]).await?;
    let expected = "a view that another client publishes is recorded, whatever its key";
    let why = "a fanout exchange ignores keys: each bound queue gets each message";
    lab.eventually(expected, why, async || {
        let seen = history.values()?;
        Ok(Seen::when(seen == [path], || format!("{seen:?}")))
    })
    .await
}

/// Some clients send an empty id where they have none.
async fn takes_empty_ids(lab: &Lab, history: &Listener) -> Outcome {
    let nameless = ["./videos/one.mp4", "./videos/two.mp4"];
    let nameless = nameless.map(|path| ("", view_of(path), identified("")));
    lab.publish_to(VIEWED, nameless).await?;
    let expected = "two views with an empty message_id are recorded, as two without an id";
    let why = "an empty id identifies nothing: the second view would look like the first";
    lab.eventually(expected, why, async || {
        let seen = history.values()?.len();
        Ok(Seen::when(seen == 3, || format!("{} of 2", seen - 1)))
    })
    .await
}

async fn gives_a_copy(lab: &Lab, streaming: &Service) -> Outcome {
    let id = watch(streaming, 1).await?.remove(0);
    let there = lab.take(CHECK).await?;
    let ours = there.iter().find(|message| {
        let given = message.properties.message_id().as_ref();
        given.is_some_and(|given| given.as_str() == id)
    });
    let body = ours.map(|message| String::from_utf8_lossy(&message.data));
    let right = view_of("./videos/flixtube.mp4");
    expect(body.as_deref() == Some(right.as_str()))
        .or(
            format!("another client's queue gets the view, too: {right}"),
            format!("{body:?}"),
        )
        .hole(2)
        .because("exchange and field names are the contract between services, not the language")
}

pub async fn views(lab: Lab) -> Outcome {
    let history = listening(&lab, "history");
    let (history, streaming) = tokio::try_join!(history, lab.start("video-streaming"))?;
    let ids = watch(&streaming, 3).await?;
    let expected = "all 3 views, recorded under the ids that the viewers got";
    history.gets_only(&lab, expected, &ids).await?;
    let published = lab
        .journal()
        .methods("video-streaming", Method::BasicPublish);
    published.iter().try_for_each(is_persistent_json)
}

fn is_persistent_json(publish: &Frame) -> Outcome {
    let message = publish.message.clone().unwrap_or_default();
    let (exchange, kind) = (&publish.args["exchange"], message.content_type.as_deref());
    let persistent = message.persistent;
    expect(exchange == VIEWED && kind == Some("application/json") && persistent)
        .or(
            format!("a persistent message of JSON to exchange `{VIEWED}`"),
            format!("exchange {exchange}, content_type {kind:?}, persistent: {persistent}"),
        )
        .because("a durable queue keeps only persistent messages over a broker restart")
}

pub async fn catch_up(lab: Lab) -> Outcome {
    let history = listening(&lab, "history");
    let (history, streaming) = tokio::try_join!(history, lab.start("video-streaming"))?;
    let mut ids = watch(&streaming, 1).await?;
    history.gets_only(&lab, "the first view", &ids).await?;
    history.stops_well().await?;
    ids.extend(at_hole(BOUND, watch(&streaming, 5).await)?);
    history.listen(&lab).await?;
    let expected = "the 5 views that were published while it was down, too";
    history.gets_only(&lab, expected, &ids).await?;
    expect(history.ids()? == ids)
        .or(
            "the views in the order in which they were watched",
            "another order",
        )
        .because("a queue keeps the order; a consumer that takes one message at a time keeps it")
}

pub async fn ready(lab: Lab) -> Outcome {
    let history = instance(&lab, "history", "history").await?;
    // Slow enough that a service which doesn't wait for the broker's answer is too early.
    history.tap().delay(Duration::from_millis(15));
    history.launch().await?;
    history.says("consuming").await?;
    let bindings = lab.bindings(&history.queue(&lab)?).await?;
    expect(bindings.iter().any(|binding| binding.source == VIEWED))
        .or(
            format!("its queue is bound to `{VIEWED}` once it says `consuming`"),
            format!("{} binding(s)", bindings.len()),
        )
        .because("a queue never gets a message that was published before it was bound")
}

pub async fn broadcast(lab: Lab) -> Outcome {
    let ([history, recommendations], [finance, payment], streaming, shop) = tokio::try_join!(
        both(&lab, ["history", "recommendations"]),
        both(&lab, ["finance", "payment"]),
        lab.start("video-streaming"),
        lab.start("shop"),
    )?;
    let views = watch(&streaming, 4).await?;
    let sales = sell(&shop, 4).await?;
    history.gets_only(&lab, "all 4 views", &views).await?;
    recommendations.recommends(&lab, "all 4 views", 4).await?;
    for listener in [&finance, &payment] {
        listener.gets_only(&lab, "all 4 sales", &sales).await?;
    }
    shows_4_sales(&finance, "bookings").await?;
    shows_4_sales(&payment, "payments").await
}

async fn shows_4_sales(service: &Service, what: &str) -> Outcome {
    let answer = service.get(&format!("/{what}")).await?;
    let shown = answer.json()[what].as_array().map_or(0, Vec::len);
    expect(shown == 4)
        .or(format!("GET /{what} shows the 4 sales"), answer.summary())
        .because("other programs read what a service has recorded through its HTTP interface")
}

pub async fn newcomer(lab: Lab) -> Outcome {
    let history = listening(&lab, "history");
    let (history, streaming) = tokio::try_join!(history, lab.start("video-streaming"))?;
    let mut views = watch(&streaming, 2).await?;
    let recommendations = listening(&lab, "recommendations").await?;
    views.extend(watch(&streaming, 3).await?);
    history.gets_only(&lab, "all 5 views", &views).await?;
    let expected = "the 3 views since its first start";
    recommendations.recommends(&lab, expected, 3).await?;
    let opened = &ConnectionEvent::Opened;
    let connections = lab.journal().connection_count("video-streaming", opened);
    expect(connections == 1)
        .or(
            "the producer keeps its one connection",
            format!("{connections} connections"),
        )
        .because("a producer does not know its consumers: a new one changes nothing for it")
}

pub async fn replicas(lab: Lab) -> Outcome {
    let finance = [
        instance(&lab, "finance-1", "finance").await?,
        instance(&lab, "finance-2", "finance").await?,
    ];
    let (payment, shop, (), ()) = tokio::try_join!(
        listening(&lab, "payment"),
        lab.start("shop"),
        finance[0].listen(&lab),
        finance[1].listen(&lab),
    )?;
    let sales = sell(&shop, 20).await?;
    payment.gets_only(&lab, "all 20 sales", &sales).await?;
    finance[0]
        .gets_only(&lab, "all 20 sales between the two", &sales)
        .await?;
    for id in &sales {
        delivered_to_one(&lab, &finance, id)?;
    }
    finance.iter().try_for_each(|one| has_a_part(&lab, one))
}

fn delivered_to_one(lab: &Lab, finance: &[Listener; 2], id: &str) -> Outcome {
    let times = |one: &Listener| lab.journal().deliveries(&one.name(), id);
    let (one, other) = (times(&finance[0]), times(&finance[1]));
    expect(one + other == 1)
        .or(
            "each sale goes to one of the two instances of finance",
            format!("sale {id}: {one} time(s) to one, {other} to the other"),
        )
        .because("instances that share a queue share the work; with a queue each, both do all")
}

/// Whether this instance, one of two, was delivered some of the 20 sales.
fn has_a_part(lab: &Lab, one: &Listener) -> Outcome {
    let name = one.name();
    let part = lab.journal().methods(&name, Method::BasicDeliver).len();
    expect((3..=17).contains(&part))
        .or(
            "each of the two gets a part of the 20 sales",
            format!("{name} got {part}"),
        )
        .because("operators start a second instance because one is too slow")
}
