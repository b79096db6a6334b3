//! Checks of the client: each call ends, with the answer that belongs to it.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::Method;
use check::{Lab, Outcome, Seen, Service, Stop, expect};
use rand::seq::SliceRandom;
use serde_json::Value;

use super::calls::{
    RPC_QUEUE, RawCall, USERS, ask, at_hole, calls, client, count, direct_client, has_name,
    has_status, is_called, logs_a_line, named_client, none_pending, own_names, server,
};
use super::peer::{Peer, Request};

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

pub async fn quick_answers(lab: Lab) -> Outcome {
    const AT_ONCE: usize = 100;
    let server = server(&lab).await?;
    let client = client(&lab).await?;
    let both = [&client, &server];
    let frugal = lab.frugal(&both, 200, "calls", async |calls| {
        for _ in 0..calls / AT_ONCE {
            at_hole(5, burst(&lab, &client, AT_ONCE).await)?;
        }
        Ok(())
    });
    at_hole(6, frugal.await)?;
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
