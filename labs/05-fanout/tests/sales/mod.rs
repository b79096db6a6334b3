//! What the shop's 200 promises.

use std::cell::Cell;
use std::time::Duration;

use awc::http;
use check::wiretap::{ConnectionEvent, Frame, Held, Method, Side};
use check::{Exit, Lab, Outcome, PATIENCE, Response, Seen, Service, expect};
use serde_json::json;

use super::events::{
    AUDIENCE, Listener, SHOP, at_hole, both, each_gets_only, listening, new_id, order, sell, sold,
    sold_as, with_log,
};
use super::wire::{is_disconnected, refusal};

/// How many sales in a row show what the shop keeps of each.
const MANY: usize = 40;
/// How many connections the shop may open for them.
const FEW: usize = 4;
/// How long a confirm is held back: longer than the shop waits for it.
const LATE: Duration = Duration::from_secs(5);
/// A shop that still runs this long after SIGTERM waits for a confirm.
const WAITS: Duration = Duration::from_millis(400);

pub async fn promise(lab: Lab) -> Outcome {
    let shop = lab.start("shop").await?;
    // The day of the first deployment: only the shop has ever been started.
    let first = shop.post("/sales", &order(None)).await?;
    let finance = listening(&lab, "finance").await?;
    let second = shop.post("/sales", &order(None)).await?;
    let payment = listening(&lab, "payment").await?;
    let mut promised: Vec<String> = [&first, &second].into_iter().filter_map(sold).collect();
    promised.extend(sell(&lab, &shop, 1).await?);
    let expected = format!("all {} sales that were answered with 200", promised.len());
    each_gets_only(&lab, [&finance, &payment], AUDIENCE, &expected, &promised).await?;
    let mut early = [first, second].into_iter();
    early.try_for_each(|answer| is_sold_early(&lab, &answer))
}

fn is_sold_early(lab: &Lab, answer: &Response) -> Outcome {
    expect(answer.ok())
        .or(
            "the shop sells before finance and payment were ever started",
            answer.summary() + &refusal(lab, "shop"),
        )
        .hole(AUDIENCE)
        .because("the shop declares and binds their queues, which keep each sale for them")
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
    let services: [&Service; 3] = [&shop, &listeners[0], &listeners[1]];
    let many = async |count| {
        sales.extend(sell(&lab, &shop, count).await?);
        let expected = "1 sale that was ordered twice, and all others";
        each_gets_only(&lab, &listeners, SHOP, expected, &sales).await
    };
    lab.frugal(&services, MANY, "sales", many).await?;
    opens_few_connections(&lab)
}

fn opens_few_connections(lab: &Lab) -> Outcome {
    let opened = lab
        .journal()
        .connection_count("shop", &ConnectionEvent::Opened);
    expect(opened <= FEW)
        .or(
            "the shop publishes its sales over one connection",
            format!("it opened {opened} connections for {} sales", 2 * MANY),
        )
        .because("a new connection costs more than ten round trips, and the broker a process")
}

pub async fn shop_cut(lab: Lab) -> Outcome {
    let ([finance, payment], shop) = audience_and_shop(&lab).await?;
    let mut sales = sell(&lab, &shop, 1).await?;
    sales.extend(sold_after_a_nack(&lab, &finance, &shop).await?);
    let expected = "each sale that was answered with 200, once";
    each_gets_only(&lab, [&finance, &payment], SHOP, expected, &sales).await?;
    // From here on only the shop's next channel can give payment a queue.
    payment.stops_well().await?;
    lab.delete_queue(&payment.queue(&lab)?).await?;
    let traps = [
        (Side::Client, Method::BasicPublish),
        (Side::Server, Method::BasicAck),
    ];
    for (from, method) in traps {
        let (tap, ours) = (shop.tap(), new_id(&lab));
        tap.cut_before(from, method);
        sells_again(&lab, &shop, &ours).await?;
        sales.push(ours);
    }
    payment.listen(&lab).await?;
    at_hole(SHOP, finance.gets_only(&lab, expected, &sales).await)?;
    let expected = "each sale on a new channel, though its queue was deleted before";
    at_hole(AUDIENCE, payment.gets_only(&lab, expected, &sales).await)
}

/// The queue of finance takes nothing for a while: the broker nacks the sale, and payment has it.
/// The client retries with the id that came with the 503. `None` for a quorum queue, which takes
/// messages as long as its consumer does (3.10.8).
async fn sold_after_a_nack(
    lab: &Lab,
    finance: &Listener,
    shop: &Service,
) -> Outcome<Option<String>> {
    let queue = finance.queue(lab)?;
    if lab
        .queue(&queue)
        .await?
        .is_none_or(|queue| queue.is_quorum())
    {
        return Ok(None);
    }
    lab.refuse(&queue).await?;
    let before = lab.journal().methods("shop", Method::BasicPublish).len();
    let answer = shop.post("/sales", &order(None)).await?;
    let published = lab.journal().methods("shop", Method::BasicPublish);
    let tries = published.iter().skip(before);
    let ids: Vec<&str> = tries.filter_map(Frame::message_id).collect();
    let ours = ids.last().copied().unwrap_or_default();
    says_that_it_failed(&answer, ours)?;
    is_one_sale(&ids)?;
    lab.accept(&queue).await?;
    sells_again(lab, shop, ours).await?;
    Ok(Some(ours.to_owned()))
}

/// A client retries its order until it is told 200.
async fn sells_again(lab: &Lab, shop: &Service, ours: &str) -> Outcome {
    let expected = "the shop sells again, under the id of the order";
    let why = "a client that retries with its id must succeed in the end";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let answer = shop.post("/sales", &order(Some(ours))).await?;
        let sold = sold_as(ours, &answer)?;
        Ok(Seen::when(sold, || with_log(shop, &answer)))
    })
    .await
}

fn says_that_it_failed(answer: &Response, ours: &str) -> Outcome {
    expect(answer.status == 503)
        .or(
            "503 for a sale that the broker does not take (basic.nack)",
            answer.summary(),
        )
        .hole(SHOP)
        .because("a nack says that a queue has not written the message")?;
    let body = String::from_utf8_lossy(&answer.body);
    expect(!ours.is_empty() && body.contains(ours))
        .or(
            format!("the 503 has the id that the sale was published under, {ours}"),
            answer.summary(),
        )
        .hole(SHOP)
        .because("payment has the sale: a retry under another id would collect the money twice")
}

/// Whether all tries to publish one order have one id.
fn is_one_sale(ids: &[&str]) -> Outcome {
    expect(ids.windows(2).all(|pair| pair[0] == pair[1]))
        .or(
            "one order is published under one id, however often the shop tries",
            format!("the shop published it under {}", ids.join(" and ")),
        )
        .hole(SHOP)
        .because("payment has the sale already: under another id it collects the money twice")
}

pub async fn unconfirmed(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    let ours = new_id(&lab);
    let order = order(Some(&ours));
    let held = shop.tap().hold(Side::Server, Method::BasicAck);
    // Without an answer in this time it is right as well: it waits for the confirm.
    let answer = lab.span().limit(LATE, shop.post("/sales", &order)).await;
    let answer = answer.transpose()?;
    let lied = answer.as_ref().is_some_and(Response::ok) && !is_confirmed_elsewhere(&lab);
    expect(!lied)
        .or(
            "no 200 while the confirm (basic.ack) is held back",
            answer.map_or_else(String::new, |answer| answer.summary()),
        )
        .because("however late it is, only a confirm says that both queues have the sale")?;
    held.release();
    sells_again(&lab, &shop, &ours).await?;
    each_gets_only(&lab, &listeners, SHOP, "the sale, once", &[ours]).await
}

/// Whether the shop published the sale again, on another connection, where its ack is not held back.
fn is_confirmed_elsewhere(lab: &Lab) -> bool {
    let acks = lab.journal().methods("shop", Method::BasicAck);
    acks.iter().any(|ack| ack.connection != acks[0].connection)
}

pub async fn shop_sigterm(lab: Lab) -> Outcome {
    let (listeners, shop) = audience_and_shop(&lab).await?;
    let held = shop.tap().hold(Side::Client, Method::BasicPublish);
    let order = order(None);
    let answered = Cell::new(false);
    let asked = async {
        let answer = shop.post("/sales", &order).await;
        answered.set(true);
        answer
    };
    let stopped = stopped_while_publishing(&lab, &shop, held, &answered);
    let (answer, exit) = tokio::join!(asked, stopped);
    let (answer, exit) = (answer?, exit?);
    expect(exit == Exit::Code(0))
        .or("SIGTERM: exit code 0", exit)
        .because("an operator takes any other exit code after SIGTERM for a crash")?;
    let sales: Vec<String> = sold(&answer).into_iter().collect();
    let expected = "the sale, if it was answered with 200";
    each_gets_only(&lab, &listeners, SHOP, expected, &sales).await
}

/// Sends SIGTERM while the sale is on its way to the broker. If the shop then waits for the
/// confirm, the sale arrives; if it has answered already, or ends, the sale is lost.
async fn stopped_while_publishing(
    lab: &Lab,
    shop: &Service,
    held: Held,
    answered: &Cell<bool>,
) -> Outcome<Exit> {
    let why = "the check needs an order that the shop has not finished yet";
    lab.eventually("the shop publishes the sale", why, async || {
        Ok(Seen::when(held.reached(), || {
            format!("no basic.publish{}", refusal(lab, "shop"))
        }))
    })
    .await?;
    shop.terminate()?;
    let gave_up = || answered.get() || shop.exit().is_some();
    let span = lab.span();
    lab.eventually("the shop ends, or waits for the confirm", why, async || {
        let over = gave_up() || span.exceeds(WAITS);
        Ok(Seen::when(over, String::new))
    })
    .await?;
    if gave_up() {
        shop.tap().cut();
        is_disconnected(lab, shop).await?;
    }
    held.release();
    shop.ended().await
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
    let good = sell(&lab, &shop, 1).await?;
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
