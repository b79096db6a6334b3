//! Checks of the client: each call ends, with the answer that belongs to it.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Service, Stop, expect, fail};
use rand::seq::SliceRandom;
use serde_json::{Value, json};

use super::calls::{
    RPC_QUEUE, RawCall, SOON, USERS, ask, at_hole, calls, client, client_with_deadline, count,
    direct_client, has_name, has_status, idle_client, is_called, logs_a_line, named_client,
    none_pending, own_names, ready, server,
};
use super::faults::works_again;
use super::peer::{Peer, Request};
use super::relay::Relay;

pub async fn known(lab: Lab) -> Outcome {
    server(&lab).await?;
    let client = client(&lab).await?;
    for (id, name) in USERS {
        is_called(&lab, &client, id, name).await?;
    }
    none_pending(&lab, &client).await?;
    lab.settled(RPC_QUEUE).await
}

pub async fn unknown(lab: Lab) -> Outcome {
    server(&lab).await?;
    let client = client(&lab).await?;
    for id in [7, 0, u32::MAX] {
        let answer = ask(&client, id).answer().await?;
        let why = "\"there is no such user\" is an answer, too, and the caller waits for it";
        has_status(&client, &answer, 404, why)?;
    }
    let (id, name) = USERS[1];
    is_called(&lab, &client, id, name).await
}

pub async fn request(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client(&lab).await?;
    let _waiting = ask(&client, 10);
    let request = peer.request().await?;
    is_for_user_10(&request)?;
    let reply_to = &request.reply_to;
    expect(lab.queue(reply_to).await?.is_some())
        .or(
            "the request's `reply_to` names a queue of the client",
            format!("there is no queue `{reply_to}`"),
        )
        .because("the server publishes the answer to the queue that `reply_to` names")
}

fn is_for_user_10(request: &Request) -> Outcome {
    expect(request.id == 10)
        .or(
            "a request for user 10",
            format!("one for user {}", request.id),
        )
        .hole(1)
        .because("the body of a request is the id that the caller asked for")
}

pub async fn one_queue(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let clients = [
        named_client(&lab, "client-1").await?,
        named_client(&lab, "client-2").await?,
    ];
    let (mut queues, mut ids) = (BTreeSet::new(), BTreeSet::new());
    let mut opened = 0;
    for (number, client) in (1..=6).zip(clients.iter().cycle()) {
        let request = one_call(&lab, client, &mut peer, &format!("user {number}")).await?;
        ids.insert((request.reply_to.clone(), request.correlation_id));
        queues.insert(request.reply_to);
        if number == clients.len() {
            opened = openings(&lab, &clients);
        }
    }
    expect(queues.len() == 2)
        .or("2 reply queues for 6 calls of 2 clients", queues.len())
        .because("a queue for each call costs a declare, a consume and a delete for each call")?;
    expect(ids.len() == 6)
        .or("another correlation id for each call of a client", {
            let count = ids.len();
            format!("{count} for 6 calls of 2 clients")
        })
        .hole(1)
        .because("a correlation id belongs to a call, not to a client or to a user's id")?;
    opened_once(&lab, &clients, opened)?;
    for queue in queues {
        no_answer_stays(&lab, &queue).await?;
    }
    Ok(())
}

/// How many connections and channels these clients have opened so far.
fn openings(lab: &Lab, clients: &[Service]) -> usize {
    let of_each = [Method::ConnectionOpen, Method::ChannelOpen].map(|method| {
        clients
            .iter()
            .map(|client| count(lab, client, method))
            .sum::<usize>()
    });
    of_each.iter().sum()
}

/// Expects that the clients have opened no more than `before`.
fn opened_once(lab: &Lab, clients: &[Service], before: usize) -> Outcome {
    let more = openings(lab, clients) - before;
    expect(more == 0)
        .or(
            "all calls use the connection and the channel of the first",
            format!("4 more calls opened {more} more connections and channels"),
        )
        .because("a connection or a channel for each call costs more round trips than the call")
}

/// Has the client ask for user 10, as it does in each call, and answers with this name.
async fn one_call(lab: &Lab, client: &Service, peer: &mut Peer, name: &str) -> Outcome<Request> {
    let call = ask(client, 10);
    let request = peer.request().await?;
    is_for_user_10(&request)?;
    let reply_to = &request.reply_to;
    let queue = lab.queue(reply_to).await?;
    expect(queue.is_some_and(|queue| queue.exclusive))
        .or(
            format!("`{reply_to}` is an exclusive queue of the client"),
            "the queue does not exist, or is not exclusive",
        )
        .because(
            "other clients could take our answers, and the queue would outlive its connection",
        )?;
    peer.answer(&request, name).await?;
    has_name(lab, client, &call.answer().await?, 10, name)?;
    Ok(request)
}

async fn no_answer_stays(lab: &Lab, queue: &str) -> Outcome {
    let why = "the broker keeps an unacked answer for as long as the client is connected";
    lab.eventually("no answer stays at the broker", why, async || {
        let left = lab.depth(queue).await?;
        Ok(Seen::when(left == 0, || {
            format!("{left} answer(s) ready or unacked")
        }))
    })
    .await
}

pub async fn shuffled(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client(&lab).await?;
    let calls: Vec<_> = (1..=50).map(|id| (id, ask(&client, id))).collect();
    let mut requests = peer.requests(calls.len()).await?;
    lab.random(|chance| requests.shuffle(chance));
    for request in requests {
        let name = format!("user {}", request.id);
        peer.answer(&request, &name).await?;
    }
    own_names(&lab, &client, calls).await?;
    none_pending(&lab, &client).await
}

pub async fn stray_answers(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client(&lab).await?;
    let answered = foreign_answers(&lab, &client, &mut peer).await?;
    repeated_answer(&lab, &client, &mut peer, &answered).await
}

/// Answers without the id of a call arrive during a call, which still gets its own answer.
async fn foreign_answers(lab: &Lab, client: &Service, peer: &mut Peer) -> Outcome<Request> {
    let call = ask(client, 1);
    let request = peer.request().await?;
    let strays = [
        ("an answer with a wrong correlation_id", Some("wrong-id")),
        ("an answer with an empty correlation_id", Some("")),
        ("an answer without correlation_id", None),
    ];
    for (what, id) in strays {
        let sent = peer.send(&request.reply_to, id, None, r#"{"name": "Nobody"}"#);
        logs_a_line(lab, client, what, sent).await?;
    }
    expect(client.output().contains("wrong-id"))
        .or("the log names `wrong-id`", client.last_words(3).join("\n"))
        .because("only by its id can an operator trace the answer")?;
    peer.answer(&request, "user 1").await?;
    has_name(lab, client, &call.answer().await?, 1, "user 1")?;
    Ok(request)
}

/// The answer to an earlier request arrives again, during the next call.
async fn repeated_answer(
    lab: &Lab,
    client: &Service,
    peer: &mut Peer,
    answered: &Request,
) -> Outcome {
    let call = ask(client, 2);
    let request = peer.request().await?;
    let again = peer.answer(answered, "user 1, repeated");
    logs_a_line(lab, client, "an answer that arrives twice", again).await?;
    peer.answer(&request, "user 2").await?;
    has_name(lab, client, &call.answer().await?, 2, "user 2")
}

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

pub async fn quick_answers(lab: Lab) -> Outcome {
    const AT_ONCE: usize = 100;
    let server = server(&lab).await?;
    let client = client(&lab).await?;
    lab.frugal(&[&client, &server], 200, "calls", async |calls| {
        for _ in 0..calls / AT_ONCE {
            burst(&lab, &client, AT_ONCE).await?;
        }
        Ok(())
    })
    .await?;
    none_pending(&lab, &client).await
}

/// Makes `count` calls at once, and answers each request while the client stands still: if it stood
/// still between sending the request and entering the call, no call waits for the answer.
async fn burst(lab: &Lab, client: &Service, count: usize) -> Outcome {
    // Before it is frozen: a signal takes a moment, in which it may meet the first calls.
    let answers = self::count(lab, client, Method::BasicDeliver) + count;
    client.freeze()?;
    let mut calls = Vec::new();
    for (id, name) in USERS.into_iter().cycle().take(count) {
        calls.push((id, name, RawCall::send(client, id).await?));
    }
    answered_in_slices(lab, client, answers).await?;
    for (id, name, call) in calls {
        let Err(Stop::Failed(failure)) = call.has_name(lab, client, id, name).await else {
            continue;
        };
        let quick = failure.hole == Some(4);
        let why = "an answer may be quicker than you: enter the call before you send it";
        return Err(match quick {
            true => failure.because(why).hole(5).into(),
            false => Stop::Failed(failure),
        });
    }
    Ok(())
}

/// Lets the client run for a moment at a time, until `all` answers have arrived.
async fn answered_in_slices(lab: &Lab, client: &Service, all: usize) -> Outcome {
    const SLICE: Duration = Duration::from_millis(1);
    let why = "a busy machine stops a program at any place, for as long as an answer takes";
    lab.eventually("each request is answered", why, async || {
        client.thaw()?;
        tokio::time::sleep(SLICE).await;
        client.freeze()?;
        let answers = count(lab, client, Method::BasicDeliver);
        let missing = || format!("{} answers are missing", all.saturating_sub(answers));
        Ok(Seen::when(answers >= all, missing))
    })
    .await?;
    client.thaw()
}

pub async fn garbled(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client(&lab).await?;
    for body in ["no JSON", "{}", r#"{"name": 7}"#, ""] {
        let call = ask(&client, 1);
        let request = peer.request().await?;
        let id = Some(&*request.correlation_id);
        peer.send(&request.reply_to, id, None, body).await?;
        let answer = call.answer_soon(&lab).await?;
        let why = "an answer came, so neither 404 nor 504 is true: the caller must know";
        has_status(&client, &answer, 502, why)?;
    }
    let call = ask(&client, 1);
    let request = peer.request().await?;
    peer.answer(&request, "user 1").await?;
    has_name(&lab, &client, &call.answer().await?, 1, "user 1")
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

pub async fn direct(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let client = direct_client(&lab).await?;
    consumes_directly(&lab, &client)?;
    calls(&lab, &client, USERS.len()).await?;
    expect(!server.output().contains("is gone"))
        .or(
            "the server does not report its answers as returned",
            server.last_words(2).join("\n"),
        )
        .because(
            "RabbitMQ 3.10 and 4.0 return mandatory answers to this name, although they arrive",
        )
}

/// The client consumes from the pseudo-queue, and declares no reply queue.
fn consumes_directly(lab: &Lab, client: &Service) -> Outcome {
    const DIRECT: &str = "amq.rabbitmq.reply-to";
    let queues = |method| {
        let frames = lab.journal().methods(&client.name(), method);
        let queues = frames.into_iter().map(|frame| frame.args["queue"].clone());
        queues.collect::<Vec<_>>()
    };
    let consumed = queues(Method::BasicConsume);
    expect(consumed == [DIRECT])
        .or(
            format!("it consumes from `{DIRECT}`"),
            format!("from {}", listed(&consumed)),
        )
        .because("this name is not a queue: the broker passes answers straight to the channel")?;
    let mut declared = queues(Method::QueueDeclare);
    declared.retain(|queue| queue != RPC_QUEUE);
    expect(declared.is_empty())
        .or("no reply queue is declared", listed(&declared))
        .because("direct reply-to saves the declare and the delete of a reply queue")
}

/// These names of queues, for a person to read.
fn listed(queues: &[Value]) -> String {
    let names = queues.iter().map(Value::to_string);
    names.collect::<Vec<_>>().join(", ")
}
