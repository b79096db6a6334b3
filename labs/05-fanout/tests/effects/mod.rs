//! What becomes of each copy of a message, whatever happens to the others.

use std::time::Duration;

use check::wiretap::{Held, Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect};
use serde_json::json;

use super::events::{
    BOUND, JUDGED, Listener, ROW, SALES, SHOP, VIEWED, at_hole, both, each_gets_only, identified,
    instance, listening, new_id, order, sell, sold_as, watch, watched,
};
use super::wire::{is_disconnected, open_connections, refusal};

/// How long a database stays locked, so that a view waits through several deliveries.
const LOCKED: Duration = Duration::from_millis(1300);
/// More deliveries in that time are made without a pause.
const MOST_TRIES: usize = 40;
/// RabbitMQ writes the name of a new quorum queue to disk up to 3 s late. Killed before that, it
/// finds the queue again, but never a leader for it (3.10.8, 2026-11-26).
const QUORUM_IS_WRITTEN: Duration = Duration::from_millis(3500);

pub async fn poison_for_one(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    // An older shop published no customer.
    let old = json!({ "item": "chair", "pence": 4000 }).to_string();
    lab.publish_to(SALES, [("", old, identified("old-shop"))])
        .await?;
    rejected(&lab, &payment, "old-shop").await?;
    let shop = lab.start("shop").await?;
    let mut sales = sell(&lab, &shop, 2).await?;
    payment
        .gets_only(&lab, "the 2 sales with a customer", &sales)
        .await?;
    sales.push("old-shop".to_owned());
    let expected = "all 3 sales, because it needs no customer";
    finance.gets_only(&lab, expected, &sales).await
}

pub async fn poison(lab: Lab) -> Outcome {
    let listeners = both(&lab, ["history", "recommendations"]);
    let (listeners, streaming) = tokio::try_join!(listeners, lab.start("video-streaming"))?;
    let broken: [&[u8]; 5] = [
        b"",
        b"viewed",
        b"{\"videoPath\": 5}",
        b"{\"path\": \"a.mp4\"}",
        b"\xff\xfe\x00",
    ];
    let ids: Vec<String> = (1..=broken.len()).map(|n| format!("broken-{n}")).collect();
    let messages = broken.iter().zip(&ids);
    let messages = messages.map(|(body, id)| ("", body, identified(id)));
    lab.publish_to(VIEWED, messages).await?;
    let good = watch(&lab, &streaming, 1).await?;
    for listener in &listeners {
        for id in &ids {
            rejected(&lab, listener, id).await?;
        }
        let expected = "the good view behind 5 broken messages";
        listener.gets_only(&lab, expected, &good).await?;
    }
    Ok(())
}

/// Waits until this service has rejected the message without requeue, and has logged its id.
async fn rejected(lab: &Lab, listener: &Listener, id: &str) -> Outcome {
    let name = listener.name();
    let expected = format!("{name} rejects {id} without requeue, and logs its id");
    let why = "a broken message stays broken: requeued it returns for ever, acked it is lost \
               in silence";
    lab.eventually(&expected, why, async || {
        listener.owns_its_queue(lab, &expected)?;
        let times = lab.journal().deliveries(&name, id);
        expect(times <= 3)
            .or(&expected, format!("{id} came {times} times"))
            .because(why)?;
        expect(!lab.journal().acked(&name, id))
            .or(&expected, "it was acked")
            .because("an ack says that the work is done")?;
        let rejected = lab.journal().rejected(&name, id);
        Ok(match (rejected, listener.output().contains(id)) {
            (true, true) => Seen::Yes(()),
            (true, false) => Seen::NotYet(format!("it rejects {id}, and its log does not say so")),
            (false, _) if times == 0 => Seen::NotYet(format!("{id} was not delivered to it")),
            (false, _) => Seen::NotYet(format!("{id} was delivered to it, and not rejected")),
        })
    })
    .await
}

pub async fn waits(lab: Lab) -> Outcome {
    let recommendations = instance(&lab, "recommendations", "recommendations").await?;
    let recommendations = recommendations.impatient();
    let (history, streaming, ()) = tokio::try_join!(
        listening(&lab, "history"),
        lab.start("video-streaming"),
        recommendations.listen(&lab),
    )?;
    let locked = recommendations.lock_database()?;
    let ids = watch(&lab, &streaming, 2).await?;
    let expected = "both views, while recommendations cannot work";
    history.gets_only(&lab, expected, &ids).await?;
    waits_its_turn(&lab, &ids[0]).await?;
    drop(locked);
    let expected = "both views, once the database is unlocked";
    recommendations.recommends(&lab, expected, 2).await?;
    lab.settled(&recommendations.queue(&lab)?).await
}

/// Waits until recommendations was delivered the view at least twice over a [`LOCKED`] time, and has
/// not settled it for good.
async fn waits_its_turn(lab: &Lab, id: &str) -> Outcome {
    let expected = "recommendations cannot count the view now, and it is redelivered after a pause";
    let why = "a locked database is free again soon: until then the view must wait";
    lab.eventually(expected, why, async || {
        is_not_given_up(lab, id, expected)?;
        let times = delivery_times(lab, id);
        let tries = times.len();
        expect(tries <= MOST_TRIES)
            .or(
                expected,
                format!("it was delivered {tries} times without a pause"),
            )
            .because("a view that is requeued at once keeps broker and consumer busy")?;
        let first = times.first().map(|t| lab.journal().moment(*t));
        let over = first.is_some_and(|first| first.elapsed() > LOCKED);
        Ok(Seen::when(over && tries > 1, || told_of_tries(lab, tries)))
    })
    .await
}

fn is_not_given_up(lab: &Lab, id: &str, expected: &str) -> Outcome {
    let settled = lab.journal().settlement("recommendations", id);
    let given_up =
        settled.filter(|frame| frame.method == Method::BasicAck || !frame.flag("requeue"));
    let acked = lab.journal().acked("recommendations", id);
    // The first delivery had to wait: HOLE 5 is right, and something remembers the view.
    let again = acked && lab.journal().deliveries("recommendations", id) == 2;
    let (how, hole) = match (again, acked) {
        (true, _) => ("it acked the redelivered view, and has no row of it", ROW),
        (false, true) => ("it acked the view (basic.ack)", JUDGED),
        (false, false) => ("it discarded the view (requeue false)", JUDGED),
    };
    let why = match again {
        true => "a view that is remembered before its row is written is never counted",
        false => "the view is not broken: acked or rejected for good now, it is never counted",
    };
    expect(given_up.is_none())
        .or(expected, how)
        .hole(hole)
        .because(why)
}

/// How often the view was delivered; and whether an earlier session still holds it.
fn told_of_tries(lab: &Lab, tries: usize) -> String {
    let open = open_connections(lab, "recommendations");
    let held = match open {
        0 | 1 => String::new(),
        _ => format!(": {open} of its connections are open, and the view is unacked on an old one"),
    };
    format!("it was delivered {tries} time(s){held}")
}

/// When the view was delivered to recommendations, in seconds since the check began.
fn delivery_times(lab: &Lab, id: &str) -> Vec<f64> {
    lab.journal().times(|frame| {
        frame.method == Method::BasicDeliver
            && frame.service == "recommendations"
            && frame.message_id() == Some(id)
    })
}

pub async fn counts(lab: Lab) -> Outcome {
    let recommendations = listening(&lab, "recommendations").await?;
    let films = ["b", "c", "a", "c", "a", "c"];
    let views = films.iter().enumerate().map(|(number, film)| {
        let body = json!({ "videoPath": film, "seconds": 90 }).to_string();
        ("", body, identified(&format!("view-{number}")))
    });
    lab.publish_to(VIEWED, views).await?;
    let right = json!({ "recommendations": [
        { "videoPath": "c", "views": 3 },
        { "videoPath": "a", "views": 2 },
        { "videoPath": "b", "views": 1 },
    ]});
    let expected = "GET /recommendations: c 3 times, a twice, b once";
    let why = "the service recommends the most watched film first";
    lab.eventually(expected, why, async || {
        let seen = recommendations.get("/recommendations").await?.json();
        reads_tolerantly(&lab, expected)?;
        let none = seen["recommendations"].as_array().is_none_or(Vec::is_empty);
        let hole = if none { BOUND } else { ROW };
        Ok(Seen::when(seen == right, || seen.to_string()).hole(hole))
    })
    .await
}

/// Each view of `counts` has a field that recommendations does not need.
fn reads_tolerantly(lab: &Lab, expected: &str) -> Outcome {
    expect(!lab.journal().rejected("recommendations", "view-0"))
        .or(
            expected,
            "it rejected a view (basic.reject) that has one field more, `seconds`",
        )
        .hole(JUDGED)
        .because("a producer may add a field: a tolerant reader ignores what it does not need")
}

pub async fn once(lab: Lab) -> Outcome {
    let recommendations = listening(&lab, "recommendations");
    let (recommendations, streaming) =
        tokio::try_join!(recommendations, lab.start("video-streaming"))?;
    let mut ids = watch(&lab, &streaming, 1).await?;
    let expected = "the view";
    at_hole(ROW, recommendations.gets(&lab, expected, &ids).await)?;
    let held = recommendations.tap().hold(Side::Client, Method::BasicAck);
    ids.extend(watch(&lab, &streaming, 1).await?);
    killed_before_ack(&lab, &recommendations, held).await?;
    recommendations.listen(&lab).await?;
    ids.extend(watch(&lab, &streaming, 1).await?);
    let expected = "3 views, of which one was delivered twice: before a kill and after it";
    at_hole(ROW, recommendations.gets(&lab, expected, &ids).await)?;
    recommendations.recommends(&lab, expected, 3).await
}

/// Kills it when it has counted the view; the ack never arrives.
async fn killed_before_ack(lab: &Lab, recommendations: &Listener, held: Held) -> Outcome {
    let expected = "recommendations counts the view, and acks it";
    let why = "the broker redelivers a view whose ack was lost";
    lab.eventually(expected, why, async || {
        Ok(Seen::when(held.reached(), || {
            "no ack (basic.ack)".to_owned()
        }))
    })
    .await?;
    recommendations.tap().turn_away();
    is_disconnected(lab, recommendations).await?;
    recommendations.kill().await?;
    recommendations.tap().restore();
    Ok(())
}

pub async fn killed(lab: Lab) -> Outcome {
    let listeners = both(&lab, ["finance", "payment"]);
    let ([finance, payment], shop) = tokio::try_join!(listeners, lab.start("shop"))?;
    finance.stops_well().await?;
    // While its database is locked, payment cannot finish the sales that it is delivered.
    let locked = payment.lock_database()?;
    let mut sales = sell(&lab, &shop, 3).await?;
    lab.delivered("payment", 1).await?;
    // Payment is stuck; finance has a queue of its own, so it is not.
    finance.listen(&lab).await?;
    let expected = "the 3 sales that were published while it was down";
    finance.owns_its_queue(&lab, expected)?;
    finance.gets_only(&lab, expected, &sales).await?;
    payment.kill().await?;
    drop(locked);
    sales.extend(sell(&lab, &shop, 2).await?);
    payment.listen(&lab).await?;
    for listener in [&finance, &payment] {
        listener.gets_only(&lab, "all 5 sales", &sales).await?;
    }
    Ok(())
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    let (viewers, payment, streaming, shop) = tokio::try_join!(
        both(&lab, ["history", "recommendations"]),
        listening(&lab, "payment"),
        lab.start("video-streaming"),
        lab.start("shop"),
    )?;
    // The broker dies with some messages unacked, and others ready for a service that never ran.
    let finance = instance(&lab, "finance", "finance").await?;
    let locked = [viewers[1].lock_database()?, payment.lock_database()?];
    let published = tokio::try_join!(watch(&lab, &streaming, 3), sell(&lab, &shop, 3));
    let (mut views, mut sales) = published?;
    quorum_queues_are_written(&lab).await?;
    lab.kill_broker().await?;
    drop(locked);
    lab.broker_is_back().await?;
    let publish = both_publish(&lab, &streaming, &shop);
    let ((view, sale), ()) = tokio::try_join!(publish, finance.listen(&lab))?;
    views.push(view);
    sales.push(sale);
    for viewer in &viewers {
        let expected = "each view that was answered with 200";
        viewer.gets(&lab, expected, &views).await?;
    }
    let expected = "each sale that was answered with 200, once";
    each_gets_only(&lab, [&finance, &payment], SHOP, expected, &sales).await
}

/// Waits, if a service has declared a quorum queue, until the broker would find it after a kill.
async fn quorum_queues_are_written(lab: &Lab) -> Outcome {
    let quorum = lab.journal().times(|frame| {
        frame.method == Method::QueueDeclare && frame.args["arguments"]["x-queue-type"] == "quorum"
    });
    let Some(last) = quorum.last().map(|t| lab.journal().moment(*t)) else {
        return Ok(());
    };
    let why = "a broker that is killed before has the queue's name, and not the queue";
    lab.eventually("the broker writes its quorum queues", why, async || {
        let over = last.elapsed() > QUORUM_IS_WRITTEN;
        Ok(Seen::when(over, || "they are too new".to_owned()))
    })
    .await
}

/// Waits until both producers publish again, and gives the ids of their view and their sale.
async fn both_publish(lab: &Lab, streaming: &Service, shop: &Service) -> Outcome<(String, String)> {
    let expected = "both producers publish again after the restart";
    let why = "each upgrade restarts the broker; no operator should have to restart the services";
    let ours = new_id(lab);
    let order = order(Some(&ours));
    let (mut view, mut sold) = (None, false);
    lab.eventually_within(PATIENCE, expected, why, async || {
        if view.is_none() {
            view = watched(&streaming.get("/video").await?);
        }
        if !sold {
            sold = sold_as(&ours, &shop.post("/sales", &order).await?)?;
        }
        let published = view.clone().filter(|_| sold);
        let published = published.map(|view| (view, ours.clone()));
        Ok(Seen::some(published, || match (view.is_some(), sold) {
            (true, _) => format!("only video-streaming does{}", refusal(lab, "shop")),
            (false, true) => format!("only shop does{}", refusal(lab, "video-streaming")),
            (false, false) => "none of the two does".to_owned(),
        }))
    })
    .await
}
