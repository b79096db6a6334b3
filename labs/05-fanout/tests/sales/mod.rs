//! What the shop's 200 is worth.

use std::time::Duration;

use awc::http;
use check::Exit;
use check::wiretap::{ConnectionEvent, Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, expect};
use serde_json::json;

use super::events::{about, both, listening, new_id, order, sell, sold, told};

pub async fn promise(lab: Lab) -> Outcome {
    let shop = lab.start("shop").await?;
    let mut promised = Vec::new();
    // The day of the first deployment: nobody but the shop has ever been started.
    promised.extend(sold(&shop.post("/sales", &order(None)).await?));
    let finance = listening(&lab, "finance").await?;
    promised.extend(sold(&shop.post("/sales", &order(None)).await?));
    let payment = listening(&lab, "payment").await?;
    promised.extend(sell(&shop, 1).await?);
    for listener in [&finance, &payment] {
        let expected = format!("all {} sales that were answered with 200", promised.len());
        about(6, listener.gets_only(&lab, &expected, &promised).await)?;
    }
    Ok(())
}

pub async fn sold_once(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    let shop = lab.start("shop").await?;
    let ours = new_id(&lab);
    // The first answer got lost on its way, so the client asks again.
    for _ in 0..2 {
        let answer = shop.post("/sales", &order(Some(&ours))).await?;
        expect(sold(&answer).as_ref() == Some(&ours))
            .or(
                format!("200 with the saleId that was given, {ours}"),
                answer.summary(),
            )
            .because("by its id the client knows what it has bought, and we what we have sold")?;
    }
    let mut sales = vec![ours];
    sales.extend(sell(&shop, 2).await?);
    for listener in [&finance, &payment] {
        let expected = "1 sale that was ordered twice, and 2 others";
        about(7, listener.gets_only(&lab, expected, &sales).await)?;
    }
    Ok(())
}

pub async fn shop_cut(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    let shop = lab.start("shop").await?;
    let mut sales = sell(&shop, 1).await?;
    let traps = [
        (Side::Client, Method::BasicPublish),
        (Side::Server, Method::BasicAck),
    ];
    for (from, method) in traps {
        let (tap, ours) = (shop.tap(), new_id(&lab));
        tap.cut_before(from, method);
        let expected = "the shop sells again after the cut";
        let why = "a network fails now and then; a service has to get over it by itself";
        lab.eventually_within(PATIENCE, expected, why, async || {
            let answer = shop.post("/sales", &order(Some(&ours))).await?;
            Ok(Seen::when(sold(&answer).is_some(), || told(&shop, &answer)))
        })
        .await?;
        sales.push(ours);
    }
    for listener in [&finance, &payment] {
        let expected = "each sale that was answered with 200, once";
        about(7, listener.gets_only(&lab, expected, &sales).await)?;
    }
    Ok(())
}

pub async fn shop_sigterm(lab: Lab) -> Outcome {
    let [finance, payment] = both(&lab, ["finance", "payment"]).await?;
    let shop = lab.start("shop").await?;
    // So long that the shop is still connecting when it is told to stop.
    shop.tap().delay(Duration::from_millis(15));
    let body = order(None);
    let stopping = async {
        let why = "only an order that is under way can be finished";
        lab.eventually("the shop connects to publish the sale", why, async || {
            let there = lab
                .journal()
                .connection_count("shop", &ConnectionEvent::Opened);
            Ok(Seen::when(there > 0, || "it has not, so far".to_owned()))
        })
        .await?;
        shop.stop().await
    };
    let (answer, exit) = tokio::join!(shop.post("/sales", &body), stopping);
    let (answer, exit) = (answer?, exit?);
    expect(exit == Exit::Code(0))
        .or("SIGTERM: exit code 0", exit.to_string())
        .because("whoever stopped it takes anything else for a crash")?;
    let sales: Vec<String> = sold(&answer).into_iter().collect();
    for listener in [&finance, &payment] {
        let expected = "the sale, if it was answered with 200";
        about(7, listener.gets_only(&lab, expected, &sales).await)?;
    }
    Ok(())
}

pub async fn bad_order(lab: Lab) -> Outcome {
    let shop = lab.start("shop").await?;
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
        let kind = "application/json";
        let answer = shop.send(http::Method::POST, "/sales", kind, body).await?;
        let shown: String = body.chars().take(60).collect();
        expect((400..500).contains(&answer.status))
            .or(
                format!("POST /sales with `{shown}` answers 4xx"),
                answer.summary(),
            )
            .because("the client made the mistake, and has to hear of it")?;
    }
    sell(&shop, 1).await?;
    let expected = "1 sale published, the good one";
    let why = "two services would each have to sort out what the shop let in";
    lab.eventually(expected, why, async || {
        let sent = lab.journal().methods("shop", Method::BasicPublish).len();
        expect(sent <= 1)
            .or(expected, format!("{sent} published"))
            .because(why)?;
        Ok(Seen::when(sent == 1, || "none, so far".to_owned()))
    })
    .await
}
