//! Checks of the deadline: each call ends, and leaves nothing behind.

use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail};
use serde_json::json;

use super::calls::{
    RPC_QUEUE, SOON, USERS, ask, at_hole, client_with_deadline, count, has_name, has_status,
    idle_client, is_called, logs_a_line, named_client, none_pending, ready, server,
};
use super::faults::works_again;
use super::peer::{Peer, Request};
use super::relay::Relay;

pub async fn deadline(lab: Lab) -> Outcome {
    let client = idle_client(&lab, "user-client").await?;
    let (relay, client) = Relay::before(client.with("RPC_TIMEOUT_MS", 400)).await?;
    let client = ready(&lab, client).await?;
    // No server consumes the queue; then the broker answers nothing, and takes nothing.
    ends_at_deadline(&lab, &client).await?;
    sent_once(&lab, &client)?;
    client.tap().black_hole(Side::Server);
    ends_at_deadline(&lab, &client).await?;
    relay.block(&lab).await?;
    // The first call may be sent before the client has read that the broker takes nothing.
    ends_at_deadline(&lab, &client).await?;
    ends_at_deadline(&lab, &client).await
}

/// The one call so far has published one request.
fn sent_once(lab: &Lab, client: &Service) -> Outcome {
    let sent = count(lab, client, Method::BasicPublish);
    expect(sent == 1)
        .or(
            "1 request for 1 call",
            format!("{sent} requests (basic.publish)"),
        )
        .because("a silent server may be overloaded: the caller decides whether and when to retry")
}

async fn ends_at_deadline(lab: &Lab, client: &Service) -> Outcome {
    let span = lab.span();
    let answer = ask(client, 1).answer_soon(lab).await?;
    let took = span.elapsed();
    let why = "the caller can only react to an answer that comes in time";
    has_status(client, &answer, 504, why)?;
    let failure = fail(
        "an answer after 0.4 s, as RPC_TIMEOUT_MS says",
        format!("after {took:.1?}"),
    )
    .because("the client's own caller has a deadline, too");
    failure.clone().unless(took >= Duration::from_millis(350))?;
    span.at_most(Duration::from_millis(1800), failure)
}

pub async fn late_answer(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client_with_deadline(&lab, 800).await?;
    let call = ask(&client, 1);
    let old = peer.request().await?;
    // Answers to nobody must not put off the deadline.
    let stray = async || {
        let stray = r#"{"name": "Nobody"}"#;
        peer.send(&old.reply_to, Some("stray"), None, stray).await
    };
    let given_up = at_hole(5, call.answer_amid(&lab, stray).await)?;
    has_status(&client, &given_up, 504, "the check has not answered")?;
    // On a busy machine a new call may end before the check has answered it: then one more.
    for _ in 0..4 {
        let call = ask(&client, 1);
        let new = peer.request().await?;
        let late = peer.answer(&old, "user 1 under an earlier name");
        logs_a_line(&lab, &client, "an answer that came too late", late).await?;
        peer.answer(&new, "user 1").await?;
        let answer = call.answer().await?;
        if answer.status != 504 {
            return has_name(&lab, &client, &answer, 1, "user 1");
        }
    }
    let timed_out = fail("an answer to one of 4 calls", "504 each time");
    Err(timed_out.because("the check answered each call").into())
}

pub async fn no_leak(lab: Lab) -> Outcome {
    const AT_ONCE: usize = 250;
    let mut peer = Peer::server(&lab).await?;
    let client = client_with_deadline(&lab, 120).await?;
    let _waiting = ask(&client, 1);
    let reply_to = peer.request().await?.reply_to;
    peer.leave().await?;
    lab.frugal(
        &[&client],
        500,
        "calls that nobody answers",
        async |calls| {
            for _ in 0..calls / AT_ONCE {
                unanswered_calls(&client, AT_ONCE).await?;
            }
            Ok(())
        },
    )
    .await?;
    none_pending(&lab, &client).await?;
    late_answers_leave_nothing(&lab, &client, &reply_to).await
}

/// Large answers that no call waits for, or waits for any longer.
async fn late_answers_leave_nothing(lab: &Lab, client: &Service, queue: &str) -> Outcome {
    let peer = Peer::client(lab, "late").await?;
    let body = json!({ "name": "x".repeat(128 * 1024) }).to_string();
    let come = async |answers| {
        let before = count(lab, client, Method::BasicDeliver);
        for number in 0..answers {
            let id = format!("late {before} {number}");
            peer.send(queue, Some(&id), None, &body).await?;
        }
        lab.delivered(&client.name(), before + answers).await
    };
    let services = [client];
    let kept = lab.frugal(&services, 60, "answers that no call waits for", come);
    at_hole(4, kept.await)
}

pub async fn lost_reply_queue(lab: Lab) -> Outcome {
    server(&lab).await?;
    let client = idle_client(&lab, "user-client").await?;
    let (relay, client) = Relay::before(client).await?;
    let client = ready(&lab, client).await?;
    let (id, name) = USERS[0];
    is_called(&lab, &client, id, name).await?;
    relay.cancel(&lab, &client).await?;
    works_again(&lab, &client).await
}

/// Makes `count` calls at once, which all end at their deadline.
async fn unanswered_calls(client: &Service, count: usize) -> Outcome {
    let calls: Vec<_> = (1..).take(count).map(|id| ask(client, id)).collect();
    for call in calls {
        has_status(client, &call.answer().await?, 504, "there is no server")?;
    }
    Ok(())
}

pub async fn expired(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client_with_deadline(&lab, 400).await?;
    let _first = ask(&client, 1);
    expires_with_its_call(&peer.request().await?)?;
    peer.leave().await?;
    let calls: Vec<_> = (1..=3).map(|id| ask(&client, id)).collect();
    requests_sent(&lab, &client, 4).await?;
    for call in calls {
        has_status(
            &client,
            &call.answer_soon(&lab).await?,
            504,
            "there is no server",
        )?;
    }
    dropped(&lab).await?;
    let server = server(&lab).await?;
    let patient = named_client(&lab, "patient-client").await?;
    let (id, name) = USERS[0];
    is_called(&lab, &patient, id, name).await?;
    let served = count(&lab, &server, Method::BasicDeliver);
    expect(served == 1)
        .or("1 request reaches the server that starts later", served)
        .because("a server that was down for an hour must not serve that hour's requests first")
}

/// The request of a call with a deadline of 400 ms says so to the broker.
fn expires_with_its_call(request: &Request) -> Outcome {
    let expiration = request.expiration.as_deref();
    let millis = expiration.and_then(|text| text.parse().ok());
    expect(millis.is_some_and(|millis: u32| (200..=450).contains(&millis)))
        .or(
            "a request with the expiration `400`, as RPC_TIMEOUT_MS says",
            expiration.map_or("no expiration".to_owned(), |text| format!("`{text}`")),
        )
        .because("the broker must drop a request, in milliseconds, when its caller gives up")
}

/// Waits until the client has published `expected` requests, each to [`RPC_QUEUE`].
async fn requests_sent(lab: &Lab, client: &Service, expected: usize) -> Outcome {
    let why = "requests wait in the queue while no server runs";
    lab.eventually(&format!("{expected} requests are sent"), why, async || {
        let sent = count(lab, client, Method::BasicPublish);
        Ok(Seen::when(sent == expected, || format!("{sent} sent")))
    })
    .await?;
    let sent = lab.journal().methods(&client.name(), Method::BasicPublish);
    let elsewhere = sent
        .iter()
        .find(|frame| frame.args["routing_key"] != RPC_QUEUE);
    expect(elsewhere.is_none())
        .or(
            "they are published to queue `rpc_queue`",
            elsewhere.map_or_else(String::new, |frame| {
                let [exchange, key] = ["exchange", "routing_key"].map(|name| &frame.args[name]);
                format!("one to exchange {exchange} with routing key {key}")
            }),
        )
        .hole(1)
        .because("the default exchange routes a message to the queue that its key names")
}

/// Waits until the broker has dropped the requests, whose callers have given up.
async fn dropped(lab: &Lab) -> Outcome {
    let expected = "the broker drops each request at its expiration";
    let why = "a request without an expiration waits for a server without end";
    lab.eventually_within(SOON, expected, why, async || {
        let left = lab.depth(RPC_QUEUE).await?;
        Ok(Seen::when(left == 0, || {
            format!("{left} still in the queue")
        }))
    })
    .await
}
