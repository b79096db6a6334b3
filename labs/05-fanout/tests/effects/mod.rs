//! What becomes of each copy of a message, whatever happens to the others.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect};
use serde_json::json;

use super::events::{
    BOUND, Listener, ROW, SALES, SHOP, VIEWED, at_hole, both, each_gets_only, identified, instance,
    listening, new_id, order, sell, sold_as, watch, watched,
};

pub async fn poison_for_one(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    // An older shop published no customer.
    let old = json!({ "item": "chair", "pence": 4000 }).to_string();
    lab.publish_to(SALES, [("", old, identified("old-shop"))])
        .await?;
    rejected(&lab, &payment, "old-shop").await?;
    let shop = lab.start("shop").await?;
    let mut sales = sell(&shop, 2).await?;
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
    let good = watch(&streaming, 1).await?;
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
        let done = lab.journal().rejected(&name, id) && listener.output().contains(id);
        Ok(Seen::when(done, || format!("it came {times} time(s)")))
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
    let ids = watch(&streaming, 2).await?;
    let expected = "both views, while recommendations cannot work";
    history.gets_only(&lab, expected, &ids).await?;
    requeued(&lab, &ids[0]).await?;
    drop(locked);
    let expected = "both views, once the database is unlocked";
    recommendations.recommends(&lab, expected, 2).await
}

/// Waits until recommendations was delivered the view twice, and has neither acked nor rejected it.
async fn requeued(lab: &Lab, id: &str) -> Outcome {
    let expected = "recommendations cannot count the view, and it is redelivered";
    let why = "the view is not broken: rejected or acked now, it is never counted";
    lab.eventually(expected, why, async || {
        let settled = lab.journal().settlement("recommendations", id);
        expect(settled.is_none())
            .or(expected, "it was settled")
            .because(why)?;
        Ok(delivered_twice(lab, id))
    })
    .await
}

fn delivered_twice(lab: &Lab, id: &str) -> Seen {
    let times = lab.journal().deliveries("recommendations", id);
    Seen::when(times >= 2, || format!("delivered {times} time(s)"))
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
        let none = seen["recommendations"].as_array().is_none_or(Vec::is_empty);
        let hole = if none { BOUND } else { ROW };
        Ok(Seen::when(seen == right, || seen.to_string()).hole(hole))
    })
    .await
}

pub async fn once(lab: Lab) -> Outcome {
    let recommendations = listening(&lab, "recommendations");
    let (recommendations, streaming) =
        tokio::try_join!(recommendations, lab.start("video-streaming"))?;
    let tap = recommendations.tap();
    tap.cut_before(Side::Client, Method::BasicAck);
    let ids = watch(&streaming, 1).await?;
    let why = "the broker redelivers a view whose ack was lost";
    lab.eventually("the view is delivered twice", why, async || {
        Ok(delivered_twice(&lab, &ids[0]))
    })
    .await?;
    let expected = "the view that was delivered twice";
    at_hole(ROW, recommendations.gets(&lab, expected, &ids).await)?;
    let seen = recommendations.get("/recommendations").await?.json();
    let views = &seen["recommendations"][0]["views"];
    expect(views == 1)
        .or("GET /recommendations shows 1 view", seen.to_string())
        .because("the broker delivers at least once; counting once is the service's part")
}

pub async fn killed(lab: Lab) -> Outcome {
    let listeners = both(&lab, ["finance", "payment"]);
    let ([finance, payment], shop) = tokio::try_join!(listeners, lab.start("shop"))?;
    finance.stops_well().await?;
    // While its database is locked, payment cannot finish the sales that it is delivered.
    let locked = payment.lock_database()?;
    let mut sales = sell(&shop, 3).await?;
    lab.delivered("payment", 1).await?;
    // Payment is stuck; finance has a queue of its own, so it is not.
    finance.listen(&lab).await?;
    let expected = "the 3 sales that were published while it was down";
    finance.owns_its_queue(&lab, expected)?;
    finance.gets_only(&lab, expected, &sales).await?;
    payment.kill().await?;
    drop(locked);
    sales.extend(sell(&shop, 2).await?);
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
    let published = tokio::try_join!(watch(&streaming, 3), sell(&shop, 3));
    let (mut views, mut sales) = published?;
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
        Ok(Seen::some(published, || {
            format!("video-streaming: {}, shop: {sold}", view.is_some())
        }))
    })
    .await
}
