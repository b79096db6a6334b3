//! What the shop's 200 promises.

use std::time::Duration;

use awc::http;
use check::wiretap::{ConnectionEvent, Method, Side};
use check::{Exit, Lab, Outcome, PATIENCE, Seen, Service, expect};
use serde_json::json;

use super::events::{
    AUDIENCE, Listener, SHOP, both, each_gets_only, listening, new_id, order, sell, sold, sold_as,
    with_log,
};

pub async fn promise(lab: Lab) -> Outcome {
    let shop = lab.start("shop").await?;
    let mut promised = Vec::new();
    // The day of the first deployment: only the shop has ever been started.
    promised.extend(sold(&shop.post("/sales", &order(None)).await?));
    let finance = listening(&lab, "finance").await?;
    promised.extend(sold(&shop.post("/sales", &order(None)).await?));
    let payment = listening(&lab, "payment").await?;
    promised.extend(sell(&shop, 1).await?);
    let expected = format!("all {} sales that were answered with 200", promised.len());
    each_gets_only(&lab, [&finance, &payment], AUDIENCE, &expected, &promised).await
}

/// The two services that are promised each sale, and the shop, started side by side.
async fn audience_and_shop(lab: &Lab) -> Outcome<([Listener; 2], Service)> {
    tokio::try_join!(both(lab, ["finance", "payment"]), lab.start("shop"))
}

pub async fn sold_once(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    let ours = new_id(&lab);
    // The first answer was lost on its way, so the client sends the order again.
    for _ in 0..2 {
        let answer = shop.post("/sales", &order(Some(&ours))).await?;
        expect(sold(&answer).as_ref() == Some(&ours))
            .or(
                format!("200 with the saleId that was given, {ours}"),
                answer.summary(),
            )
            .because("the id tells client and shop that both orders are one sale")?;
    }
    let mut sales = vec![ours];
    sales.extend(sell(&shop, 2).await?);
    let expected = "1 sale that was ordered twice, and 2 others";
    each_gets_only(&lab, &listeners, SHOP, expected, &sales).await
}

pub async fn shop_cut(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    let mut sales = sell(&shop, 1).await?;
    let traps = [
        (Side::Client, Method::BasicPublish),
        (Side::Server, Method::BasicAck),
    ];
    for (from, method) in traps {
        let (tap, ours) = (shop.tap(), new_id(&lab));
        tap.cut_before(from, method);
        let expected = "the shop sells again after the cut";
        let why = "networks fail now and then; a service must reconnect by itself";
        lab.eventually_within(PATIENCE, expected, why, async || {
            let answer = shop.post("/sales", &order(Some(&ours))).await?;
            let sold = sold_as(&ours, &answer)?;
            Ok(Seen::when(sold, || with_log(&shop, &answer)))
        })
        .await?;
        sales.push(ours);
    }
    let expected = "each sale that was answered with 200, once";
    each_gets_only(&lab, &listeners, SHOP, expected, &sales).await
}

pub async fn shop_sigterm(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    // Slow enough that SIGTERM arrives while the shop still connects.
    shop.tap().delay(Duration::from_millis(15));
    let order = order(None);
    let stopped = stopped_while_connecting(&lab, &shop);
    let (answer, exit) = tokio::join!(shop.post("/sales", &order), stopped);
    let (answer, exit) = (answer?, exit?);
    expect(exit == Exit::Code(0))
        .or("SIGTERM: exit code 0", exit)
        .because("an operator takes any other exit code after SIGTERM for a crash")?;
    let sales: Vec<String> = sold(&answer).into_iter().collect();
    let expected = "the sale, if it was answered with 200";
    each_gets_only(&lab, &listeners, SHOP, expected, &sales).await
}

async fn stopped_while_connecting(lab: &Lab, shop: &Service) -> Outcome<Exit> {
    let why = "the check needs an order that the shop has not answered yet";
    lab.eventually("the shop connects to publish the sale", why, async || {
        let opened = &ConnectionEvent::Opened;
        let connections = lab.journal().connection_count("shop", opened);
        Ok(Seen::when(connections > 0, || {
            "it has not, so far".to_owned()
        }))
    })
    .await?;
    shop.stop().await
}

pub async fn bad_order(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    let huge = json!({ "item": "x".repeat(100_000), "pence": 1, "customer": "Ada" }).to_string();
    let bad = [
        "",
        "lamp",
        "{}",
        r#"{"item": "lamp", "pence": 1250}"#,
        r#"{"item": "lamp", "pence": 0, "customer": "Ada"}"#,
        r#"{"item": "lamp", "pence": -1, "customer": "Ada"}"#,
        r#"{"item": "lamp", "pence": 12.5, "customer": "Ada"}"#,
        r#"{"item": "lamp", "pence": 1250, "customer": " "}"#,
        r#"{"item": "lamp", "pence": 1250, "customer": "Ada", "saleId": "7"}"#,
        &huge,
    ];
    for body in bad {
        refuses(&shop, body).await?;
    }
    let good = sell(&shop, 1).await?;
    publishes_one(&lab).await?;
    for listener in &listeners {
        listener.gets_only(&lab, "the good sale", &good).await?;
    }
    Ok(())
}

async fn refuses(shop: &Service, body: &str) -> Outcome {
    let kind = "application/json";
    let answer = shop.send(http::Method::POST, "/sales", kind, body).await?;
    let shown: String = body.chars().take(60).collect();
    expect((400..500).contains(&answer.status))
        .or(
            format!("POST /sales with `{shown}` answers 4xx"),
            answer.summary(),
        )
        .because("4xx tells the client that the mistake is in its order")
}

async fn publishes_one(lab: &Lab) -> Outcome {
    let expected = "1 sale published, the good one";
    let why = "a bad order that the shop publishes must be handled by two services";
    lab.eventually(expected, why, async || {
        let sent = lab.journal().methods("shop", Method::BasicPublish).len();
        expect(sent <= 1)
            .or(expected, format!("{sent} published"))
            .because(why)?;
        Ok(Seen::when(sent == 1, || "none, so far".to_owned()))
    })
    .await
}
