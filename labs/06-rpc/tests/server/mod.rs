//! Checks of the server: what it answers, and what it does when answers or requests go wrong.

use std::time::Duration;

use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail};
use serde_json::json;

use super::calls::{
    RPC_QUEUE, USERS, calls, client, count, is_called, logs_a_line, named, server, start_calls,
};
use super::peer::Peer;

pub async fn other_clients(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    // Confirms arrive late, so that a server that does not await them acks before them.
    server.tap().delay(Duration::from_millis(25));
    let mut caller = Peer::client(&lab, "answers").await?;
    let long = "x".repeat(255);
    let ids = [
        Some("1"),
        Some("ключ 7"),
        Some(long.as_str()),
        None,
        Some("1"),
    ];
    for (correlation_id, user) in ids.into_iter().zip(USERS.into_iter().cycle()) {
        gets_answer(&mut caller, correlation_id, user).await?;
    }
    lab.drained(RPC_QUEUE).await?;
    acked_after_confirm(&lab, &server)
}

/// Sends a request about this user; the answer must carry its correlation id, and the name.
async fn gets_answer(
    caller: &mut Peer,
    correlation_id: Option<&str>,
    (id, name): (u32, &str),
) -> Outcome {
    let body = id.to_string();
    let sent = caller.send(RPC_QUEUE, correlation_id, Some("answers"), body);
    sent.await?;
    let missing = fail(format!("an answer about user {id}"), "no answer arrived")
        .because("the caller waits for it on its reply_to queue");
    let answer = caller.next(missing).await?;
    expect(answer.correlation_id.as_deref() == correlation_id)
        .or(
            format!("correlation_id {correlation_id:?}, as in the request"),
            format!("{:?}", answer.correlation_id),
        )
        .because("only the caller knows what its id means: return it unchanged")?;
    expect(answer.json() == json!({ "name": name }))
        .or(format!("{{\"name\": \"{name}\"}}"), &answer.body)
        .because("the form of the answer is the contract between services in any language")
}

/// The server's first ack must follow the broker's first confirm.
fn acked_after_confirm(lab: &Lab, server: &Service) -> Outcome {
    let name = server.name();
    let first_ack = |from: Side| {
        let ack = |frame: &Frame| {
            frame.service == name && frame.method == Method::BasicAck && frame.from == from
        };
        lab.journal().times(ack).first().copied()
    };
    let (confirmed, acked) = (first_ack(Side::Server), first_ack(Side::Client));
    let in_order = confirmed.is_some_and(|confirmed| acked.is_some_and(|acked| confirmed < acked));
    expect(in_order)
        .or(
            "a request is acked when the broker has confirmed its answer",
            format!("{name}: first confirm at {confirmed:?} s, first ack at {acked:?} s"),
        )
        .because("the broker forgets an acked request, so its answer must be safe by then")
}

pub async fn nobody_waits(lab: Lab) -> Outcome {
    const GONE: &str = "a-queue-that-is-gone";
    let server = server(&lab).await?;
    let mut caller = Peer::client(&lab, "answers").await?;
    let lost = caller.send(RPC_QUEUE, Some("1"), Some(GONE), "1");
    logs_a_line(&lab, &server, "an answer that no queue takes", lost).await?;
    lab.drained(RPC_QUEUE).await?;
    let returned = count(&lab, &server, Method::BasicReturn);
    expect(returned == 1)
        .or(
            "the broker returns that one answer",
            format!("{returned} returned"),
        )
        .because("without `mandatory` the broker drops an unroutable answer, and confirms it")?;
    expect(server.output().contains(GONE))
        .or(
            format!("the log names the missing queue, `{GONE}`"),
            server.last_words(2).join("\n"),
        )
        .because("nothing else is known of the caller")?;
    let next = caller.send(RPC_QUEUE, Some("2"), Some("answers"), "10");
    next.await?;
    let missing = fail("the next request is answered", "no answer arrived")
        .because("one caller that has gone must not keep the others waiting");
    caller.next(missing).await?;
    Ok(())
}

/// Starts two servers that consume from the same queue.
async fn two_servers(lab: &Lab) -> Outcome<[Service; 2]> {
    let servers = [
        lab.instance("server-1", &["user-service"]).await?,
        lab.instance("server-2", &["user-service"]).await?,
    ];
    for (server, count) in servers.iter().zip(1..) {
        server.launch().await?;
        lab.consumers(RPC_QUEUE, count).await?;
    }
    Ok(servers)
}

pub async fn lost_answer(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let client = client(&lab).await?;
    let (id, name) = USERS[1];
    // The answer is lost on its way to the broker: the server must send it again.
    server.tap().cut_before(Side::Client, Method::BasicPublish);
    is_called(&client, id, name).await?;
    lab.drained(RPC_QUEUE).await?;
    // The answer arrives, and the broker's confirm is lost: the server sends it twice.
    server.tap().cut_before(Side::Server, Method::BasicAck);
    let twice = async {
        is_called(&client, id, name).await?;
        lab.delivered(&server.name(), 4).await
    };
    logs_a_line(&lab, &client, "an answer that arrives twice", twice).await?;
    let (id, name) = USERS[2];
    is_called(&client, id, name).await
}

pub async fn shared(lab: Lab) -> Outcome {
    let servers = two_servers(&lab).await?;
    let client = client(&lab).await?;
    calls(&client, 24).await?;
    for server in servers {
        let share = count(&lab, &server, Method::BasicDeliver);
        expect((4..=20).contains(&share))
            .or(
                "each of two servers gets a share of 24 requests",
                format!("{} got {share}", server.name()),
            )
            .because("both consume from one queue, and the broker delivers to them in turn")?;
    }
    Ok(())
}

pub async fn killed_server(lab: Lab) -> Outcome {
    let [killed, other] = two_servers(&lab).await?;
    let client = client(&lab).await?;
    // A frozen server is delivered requests, and answers none of them.
    killed.freeze()?;
    let calls = start_calls(&client, 6);
    lab.delivered(&killed.name(), 1).await?;
    lab.delivered(&other.name(), 1).await?;
    killed.kill().await?;
    named(&client, calls).await
}

/// What is wrong with a request, its reply_to and its body.
type Bad = (&'static str, Option<&'static str>, &'static [u8]);

const BAD: [Bad; 7] = [
    ("a request without reply_to", None, b"1"),
    ("an empty body", Some("answers"), b""),
    ("a body that is not an id", Some("answers"), b"Ada"),
    ("a negative id", Some("answers"), b"-1"),
    (
        "an id that is too large",
        Some("answers"),
        b"99999999999999999999",
    ),
    ("a body that is not text", Some("answers"), b"\xff\xfe\x00"),
    ("an empty reply_to", Some(""), b"1"),
];

pub async fn bad_requests(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let mut caller = Peer::client(&lab, "answers").await?;
    for (what, reply_to, body) in BAD {
        let sent = caller.send(RPC_QUEUE, Some("bad"), reply_to, body);
        logs_a_line(&lab, &server, what, sent).await?;
        settled_once(&lab, &server, what).await?;
    }
    let good = caller.send(RPC_QUEUE, Some("good"), Some("answers"), "10");
    good.await?;
    let mut answer = None;
    // A server may also tell the caller that its request was bad: skip such answers.
    while answer.as_deref() != Some("good") {
        let expected = "the good request behind 7 bad ones is answered";
        let missing = fail(expected, "no answer arrived")
            .because("one bad request must not block all others");
        answer = caller.next(missing).await?.correlation_id;
    }
    lab.drained(RPC_QUEUE).await
}

/// Waits until the queue is empty, after no more deliveries than there are bad requests.
async fn settled_once(lab: &Lab, server: &Service, what: &str) -> Outcome {
    let expected = "each bad request is delivered once, and settled";
    let why = "a requeued bad request is redelivered without end; an unacked one takes a place \
               in the prefetch";
    lab.eventually(expected, why, async || {
        let times = count(lab, server, Method::BasicDeliver);
        expect(times <= BAD.len())
            .or(expected, format!("{what}: {times} deliveries"))
            .because(why)?;
        let left = lab.depth(RPC_QUEUE).await?;
        Ok(Seen::when(left == 0, || {
            format!("{what}: {left} ready or unacked")
        }))
    })
    .await
}
