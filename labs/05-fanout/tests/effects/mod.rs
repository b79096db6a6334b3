//! What becomes of a copy, whatever happens to the others.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, expect, fail};
use serde_json::json;

use super::events::{
    Listener, SALES, SHARED, VIEWED, about, both, listening, named, new_id, order, sell, sold,
    watch,
};

pub async fn poison_for_one(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    // An older shop: who pays was not its concern.
    let old = json!({ "item": "chair", "pence": 4000 }).to_string();
    lab.publish_to(SALES, [("", old, named("old-shop"))])
        .await?;
    rejected(&lab, &payment, "old-shop").await?;
    let shop = lab.start("shop").await?;
    let mut sales = sell(&shop, 2).await?;
    payment
        .gets_only(&lab, "the 2 sales with a customer", &sales)
        .await?;
    sales.push("old-shop".to_owned());
    let expected = "all 3 sales, for it needs no customer";
    finance.gets_only(&lab, expected, &sales).await
}

pub async fn poison(lab: Lab) -> Outcome {
    let listeners = both(&lab, ["history", "recommendations"]).await?;
    let streaming = lab.start("video-streaming").await?;
    let broken: [&[u8]; 5] = [
        b"",
        b"viewed",
        b"{\"videoPath\": 5}",
        b"{\"path\": \"a.mp4\"}",
        b"\xff\xfe\x00",
    ];
    let ids: Vec<String> = (1..=broken.len()).map(|n| format!("broken-{n}")).collect();
    let all = broken
        .iter()
        .zip(&ids)
        .map(|(body, id)| ("", body, named(id)));
    lab.publish_to(VIEWED, all).await?;
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

/// Waits until this service has rejected the message without requeue, and said so.
async fn rejected(lab: &Lab, listener: &Listener, id: &str) -> Outcome {
    let name = listener.name();
    let expected = format!("{name} rejects {id} without requeue, and logs its id");
    let why = "what is broken stays broken: what is not rejected comes for ever, or in silence";
    lab.eventually(&expected, why, async || {
        if let Some(with) = listener.shares(lab)? {
            return Err(fail(&expected, with).because(SHARED).hole(4).into());
        }
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
    let [history, recommendations] = both(&lab, ["history", "recommendations"]).await?;
    recommendations.stops().await?;
    let recommendations = recommendations.impatient();
    recommendations.listen(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let locked = recommendations.lock_database()?;
    let ids = watch(&streaming, 2).await?;
    let expected = "both views, whatever the other one does";
    history.gets_only(&lab, expected, &ids).await?;
    let expected = "recommendations cannot count the view, and it is delivered again";
    let why = "the view is fine: what is rejected or acked now is never counted";
    lab.eventually(expected, why, async || {
        let journal = lab.journal();
        let settled = journal.settlement("recommendations", &ids[0]);
        expect(settled.is_none())
            .or(expected, "it was settled")
            .because(why)?;
        let times = journal.deliveries("recommendations", &ids[0]);
        Ok(Seen::when(times >= 2, || format!("{times} time(s)")))
    })
    .await?;
    drop(locked);
    let expected = "both views, once the database can be written again";
    recommendations.recommends(&lab, expected, 2).await
}

pub async fn counts(lab: Lab) -> Outcome {
    let recommendations = listening(&lab, "recommendations").await?;
    let watched = ["b", "c", "a", "c", "a", "c"];
    let views = watched.iter().enumerate().map(|(number, film)| {
        let body = json!({ "videoPath": film, "seconds": 90 }).to_string();
        ("", body, named(&format!("view-{number}")))
    });
    lab.publish_to(VIEWED, views).await?;
    let right = json!({ "recommendations": [
        { "videoPath": "c", "views": 3 },
        { "videoPath": "a", "views": 2 },
        { "videoPath": "b", "views": 1 },
    ]});
    let expected = "GET /recommendations: c 3 times, a twice, b once";
    let why = "what most people watch, the next one may like";
    lab.eventually(expected, why, async || {
        let seen = recommendations.get("/recommendations").await?.json();
        Ok(Seen::when(seen == right, || seen.to_string()))
    })
    .await
}

pub async fn once(lab: Lab) -> Outcome {
    let recommendations = listening(&lab, "recommendations").await?;
    let streaming = lab.start("video-streaming").await?;
    let tap = recommendations.tap();
    tap.cut_before(Side::Client, Method::BasicAck);
    let ids = watch(&streaming, 1).await?;
    let why = "a view whose ack was lost is delivered again";
    lab.eventually("the view is delivered twice", why, async || {
        let times = lab.journal().deliveries("recommendations", &ids[0]);
        Ok(Seen::when(times >= 2, || format!("{times} time(s)")))
    })
    .await?;
    let expected = "the view that was delivered twice";
    recommendations.gets(&lab, expected, &ids).await?;
    let seen = recommendations.get("/recommendations").await?.json();
    let views = &seen["recommendations"][0]["views"];
    expect(views == 1)
        .or("GET /recommendations says: 1 view", seen.to_string())
        .because("delivered at least once is what the broker promises; the rest is ours")
}

pub async fn killed(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    let shop = lab.start("shop").await?;
    finance.stops().await?;
    // While its database is locked, payment cannot finish what it is handed.
    let locked = payment.lock_database()?;
    let mut sales = sell(&shop, 3).await?;
    let why = "only what is delivered can be in hand";
    lab.eventually("a sale is delivered to payment", why, async || {
        let seen = lab.journal().methods("payment", Method::BasicDeliver).len();
        Ok(Seen::when(seen > 0, || format!("{seen} delivered")))
    })
    .await?;
    // Each has a queue of its own, so the one that hangs is no concern of the other's.
    finance.listen(&lab).await?;
    finance
        .gets_only(&lab, "the 3 sales of the time in which it was down", &sales)
        .await?;
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
    let mut views = Vec::new();
    let mut sales = Vec::new();
    let viewers = both(&lab, ["history", "recommendations"]).await?;
    let sellers = both(&lab, ["finance", "payment"]).await?;
    let (streaming, shop) = (
        lab.start("video-streaming").await?,
        lab.start("shop").await?,
    );
    // Some messages are in hand when the broker dies, others wait for a service that is down.
    sellers[0].stops().await?;
    let locked = [viewers[1].lock_database()?, sellers[1].lock_database()?];
    views.extend(watch(&streaming, 3).await?);
    sales.extend(sell(&shop, 3).await?);
    lab.kill_broker().await?;
    drop(locked);
    lab.broker_is_back().await?;
    sellers[0].listen(&lab).await?;
    let expected = "both producers publish again after the restart";
    let why = "a broker is restarted for each upgrade; nobody wants to restart all services then";
    let again = new_id(&lab);
    let (mut watched, mut bought) = (None, None);
    lab.eventually_within(PATIENCE, expected, why, async || {
        if watched.is_none() {
            let answer = streaming.get("/video").await?;
            watched = answer.view_id.clone().filter(|_| answer.ok());
        }
        if bought.is_none() {
            bought = sold(&shop.post("/sales", &order(Some(&again))).await?);
        }
        Ok(Seen::when(watched.is_some() && bought.is_some(), || {
            format!(
                "video-streaming: {}, shop: {}",
                watched.is_some(),
                bought.is_some()
            )
        }))
    })
    .await?;
    views.extend(watched);
    sales.extend(bought);
    for viewer in &viewers {
        viewer
            .gets(&lab, "each view that was answered with 200", &views)
            .await?;
    }
    for seller in &sellers {
        about(
            7,
            seller
                .gets_only(&lab, "each sale that was answered with 200, once", &sales)
                .await,
        )?;
    }
    Ok(())
}
