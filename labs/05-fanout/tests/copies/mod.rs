//! Which service gets a copy of which message.

use std::time::Duration;

use check::wiretap::{ConnectionEvent, Frame, Method};
use check::{DEADLINE, Lab, Outcome, Seen, Service, expect};
use lapin::{BasicProperties, ExchangeKind};
use rand::RngExt;
use serde_json::json;

use super::events::{
    AUDIENCE, BOUND, Listener, VIEWED, at_hole, both, identified, instance, listening, sell, watch,
};
use super::wire::{declares_a_durable_fanout, keeps_its_messages, serves_all_instances, text};

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
    let gave_up = history.gives_up().await;
    declares_a_durable_fanout(&lab, "history")?;
    let output = gave_up?;
    expect([VIEWED, "fanout"].iter().all(|word| output.contains(word)))
        .or(
            format!("its log names the exchange `{VIEWED}` and the type `fanout`, which it wanted"),
            format!("it said last: {}", history.last_words(1).join("")),
        )
        .because("a person who reads the log must know which exchange to mend, and how")
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
        Ok(Seen::when(seen == [path], || match seen.is_empty() {
            true => "history has recorded nothing".to_owned(),
            false => format!("history has recorded {}", seen.join(", ")),
        }))
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
        let seen = seen.saturating_sub(1);
        Ok(Seen::when(seen == 2, || format!("{seen} of 2 recorded")))
    })
    .await
}

async fn gives_a_copy(lab: &Lab, streaming: &Service) -> Outcome {
    let id = watch(lab, streaming, 1).await?.remove(0);
    let there = lab.take(CHECK).await?;
    let ours = there.iter().find(|message| {
        let given = message.properties.message_id().as_ref();
        given.is_some_and(|given| given.as_str() == id)
    });
    let body = ours.map(|message| String::from_utf8_lossy(&message.data));
    let body = body.unwrap_or("its queue does not have it".into());
    let right = view_of("./videos/flixtube.mp4");
    expect(body == right)
        .or(
            format!("another client's queue gets the view, too: {right}"),
            body,
        )
        .hole(2)
        .because("exchange and field names are the contract between services, not the language")
}

pub async fn views(lab: Lab) -> Outcome {
    let history = listening(&lab, "history");
    let (history, streaming) = tokio::try_join!(history, lab.start("video-streaming"))?;
    let ids = watch(&lab, &streaming, 3).await?;
    let expected = "all 3 views, recorded under the ids that the viewers got";
    history.gets_only(&lab, expected, &ids).await?;
    let published = lab
        .journal()
        .methods("video-streaming", Method::BasicPublish);
    published.iter().try_for_each(is_persistent_json)
}

fn is_persistent_json(publish: &Frame) -> Outcome {
    let message = publish.message.clone().unwrap_or_default();
    let (exchange, persistent) = (text(publish, "exchange"), message.persistent);
    let kind = message.content_type.as_deref().unwrap_or("none");
    let mode = if persistent {
        "persistent"
    } else {
        "transient"
    };
    expect(exchange == VIEWED && kind == "application/json" && persistent)
        .or(
            format!("a persistent message of JSON to exchange `{VIEWED}`"),
            format!("a {mode} message to exchange `{exchange}`, content_type {kind}"),
        )
        .because("a durable queue keeps only persistent messages over a broker restart")
}

pub async fn catch_up(lab: Lab) -> Outcome {
    let history = listening(&lab, "history");
    let (history, streaming) = tokio::try_join!(history, lab.start("video-streaming"))?;
    let mut ids = watch(&lab, &streaming, 1).await?;
    history.gets_only(&lab, "the first view", &ids).await?;
    history.stops_well().await?;
    ids.extend(at_hole(BOUND, watch(&lab, &streaming, 5).await)?);
    history.listen(&lab).await?;
    let expected = "the 5 views that were published while it was down, too";
    history.gets_only(&lab, expected, &ids).await
}

pub async fn ready(lab: Lab) -> Outcome {
    let history = instance(&lab, "history", "history").await?;
    // Slow enough that a service which doesn't wait for the broker's answer is too early.
    history.tap().delay(Duration::from_millis(15));
    history.launch().await?;
    history.says("consuming").await?;
    keeps_its_messages(&lab, "history")?;
    let queue = history.queue(&lab)?;
    let bindings = lab.bindings(&queue).await?;
    expect(bindings.iter().any(|binding| binding.source == VIEWED))
        .or(
            format!("its queue is bound to `{VIEWED}` once it says `consuming`"),
            format!("queue `{queue}` is not bound"),
        )
        .because("a queue never gets a message that was published before it was bound")?;
    consumes_again(&lab, &queue).await
}

/// An operator deletes its queue, and the broker cancels its consumer (basic.cancel).
async fn consumes_again(lab: &Lab, queue: &str) -> Outcome {
    let consuming = || {
        let consumes = lab.journal().methods("history", Method::BasicConsumeOk);
        consumes.len()
    };
    let before = consuming();
    lab.delete_queue(queue).await?;
    let expected = "history declares its deleted queue again, and consumes from it";
    let why = "a service that runs without a consumer looks healthy and does nothing";
    lab.eventually_within(DEADLINE / 2, expected, why, async || {
        let bound = !lab.bindings(queue).await.unwrap_or_default().is_empty();
        Ok(Seen::when(bound && consuming() > before, || {
            "it does not consume any more".to_owned()
        }))
    })
    .await
}

pub async fn broadcast(lab: Lab) -> Outcome {
    let ([history, recommendations], [finance, payment], streaming, shop) = tokio::try_join!(
        both(&lab, ["history", "recommendations"]),
        both(&lab, ["finance", "payment"]),
        lab.start("video-streaming"),
        lab.start("shop"),
    )?;
    let views = watch(&lab, &streaming, 4).await?;
    let sales = sell(&lab, &shop, 4).await?;
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
    let mut views = watch(&lab, &streaming, 2).await?;
    declares_no_queue(&lab)?;
    let recommendations = listening(&lab, "recommendations").await?;
    views.extend(watch(&lab, &streaming, 3).await?);
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

/// The producer leaves the queues to the services that want them.
fn declares_no_queue(lab: &Lab) -> Outcome {
    let declared = lab
        .journal()
        .methods("video-streaming", Method::QueueDeclare);
    let queue = declared.first().map_or("", |frame| text(frame, "queue"));
    expect(declared.is_empty())
        .or(
            "video-streaming knows an exchange, and no queue",
            format!("it declares queue `{queue}` (queue.declare)"),
        )
        .hole(AUDIENCE)
        .because("a view is promised to no service; a queue without a service fills up")
}

pub async fn replicas(lab: Lab) -> Outcome {
    let finance = [
        instance(&lab, "finance-1", "finance").await?,
        instance(&lab, "finance-2", "finance").await?,
    ];
    let (payment, shop, ()) = tokio::try_join!(
        listening(&lab, "payment"),
        lab.start("shop"),
        finance[0].listen(&lab),
    )?;
    // Not side by side: SQLite lets one of two fail that make the file at the same moment.
    finance[1].listen(&lab).await?;
    let sales = sell(&lab, &shop, 20).await?;
    payment.gets_only(&lab, "all 20 sales", &sales).await?;
    finance[0]
        .gets_only(&lab, "all 20 sales between the two", &sales)
        .await?;
    let expected = "each sale goes to one of the two instances of finance";
    finance[0].owns_its_queue(&lab, expected)?;
    finance.iter().try_for_each(|one| has_a_part(&lab, one))
}

/// Whether this instance, one of two, was delivered some of the 20 sales.
fn has_a_part(lab: &Lab, one: &Listener) -> Outcome {
    let name = one.name();
    let part = lab.journal().methods(&name, Method::BasicDeliver).len();
    serves_all_instances(lab, &name)?;
    expect((3..=17).contains(&part))
        .or(
            "each of the two gets a part of the 20 sales",
            format!("{name} got {part}"),
        )
        .because("operators start a second instance because one is too slow")
}
