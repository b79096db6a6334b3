//! Checks of the server: what it answers, and what it does when answers or requests go wrong.

use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail};
use serde_json::json;
use tokio::time::sleep;

use super::calls::{
    RPC_QUEUE, USERS, calls, client, count, is_called, logs_a_line, named, server, serves,
    start_calls,
};
use super::peer::Peer;

pub async fn other_clients(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
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
    lab.settled(RPC_QUEUE).await?;
    acks_after_confirm(&lab, &server, &mut caller).await
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
            format!("{}, as in the request", named_id(correlation_id)),
            named_id(answer.correlation_id.as_deref()),
        )
        .because("only the caller knows what its id means: return it unchanged")?;
    expect(answer.json() == json!({ "name": name }))
        .or(format!("{{\"name\": \"{name}\"}}"), &answer.body)
        .because("the form of the answer is the contract between services in any language")
}

fn named_id(id: Option<&str>) -> String {
    id.map_or("no correlation_id".to_owned(), |id| {
        format!("correlation_id `{id}`")
    })
}

/// While the broker's confirm of the answer is held back, the request must stay unacked.
async fn acks_after_confirm(lab: &Lab, server: &Service, caller: &mut Peer) -> Outcome {
    const EXPECTED: &str = "a request is acked when the broker has confirmed its answer";
    let acks = || {
        let acks = lab.journal().methods(&server.name(), Method::BasicAck);
        acks.iter().filter(|ack| ack.from == Side::Client).count()
    };
    let before = acks();
    let held = server.tap().hold(Side::Server, Method::BasicAck);
    gets_answer(caller, Some("held"), USERS[0]).await?;
    let why = "the broker forgets an acked request, so its answer must be safe by then";
    lab.eventually(EXPECTED, why, async || {
        Ok(Seen::when(held.reached(), || {
            "the broker confirms nothing".to_owned()
        }))
    })
    .await?;
    expect(acks() == before)
        .or(
            EXPECTED,
            "acked (basic.ack) before the broker's confirm arrived",
        )
        .because(why)?;
    held.release();
    lab.settled(RPC_QUEUE).await
}

pub async fn refused_answer(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let mut caller = Peer::client(&lab, "answers").await?;
    lab.refuse("answers").await?;
    let sent = caller.send(RPC_QUEUE, Some("1"), Some("answers"), "10");
    sent.await?;
    let why = "an answer that the broker refused is lost: keep the request until one is confirmed";
    lab.eventually(
        "the broker refuses an answer (basic.nack)",
        why,
        async || {
            let nacked = count(&lab, &server, Method::BasicNack) > 0;
            Ok(Seen::when(nacked, || "no basic.nack".to_owned()))
        },
    )
    .await?;
    pauses(&lab, &server).await?;
    lab.accept("answers").await?;
    let expected = "the server answers again, once the broker takes answers";
    lab.eventually(expected, why, async || {
        let rejected = count(&lab, &server, Method::BasicReject) > 0;
        let (hole, seen) = match rejected {
            true => (7, "it rejected the request (basic.reject)"),
            false => (3, "no answer arrived"),
        };
        Ok(match caller.arrived().await? {
            Some(_) => Seen::Yes(()),
            None => Seen::NotYetFor(hole, seen.to_owned()),
        })
    })
    .await?;
    lab.settled(RPC_QUEUE).await
}

/// This many copies of one answer in [`FOR_A_WHILE`] are published without a pause.
const AT_ONCE: usize = 10;
/// A server that pauses after each failure publishes fewer than [`AT_ONCE`] copies in this time.
const FOR_A_WHILE: Duration = Duration::from_millis(500);

/// The server does not publish one copy after the other while the broker nacks each.
async fn pauses(lab: &Lab, server: &Service) -> Outcome {
    let span = lab.span();
    while !lab.journal().disconnected(&server.name()) && !span.exceeds(FOR_A_WHILE) {
        lab.all_well()?;
        let nacks = count(lab, server, Method::BasicNack);
        expect(nacks < AT_ONCE)
            .or(
                "the server pauses before it publishes an answer again that the broker nacked",
                format!("{nacks} copies without a pause, basic.nack for each"),
            )
            .because(
                "an answer that is nacked once is nacked again: a loop keeps the broker busy",
            )?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

pub async fn deleted_queue(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let client = client(&lab).await?;
    lab.delete_queue(RPC_QUEUE).await?;
    let expected = format!("{} consumes from `{RPC_QUEUE}` again", server.name());
    let why = "the broker cancels the consumers of a deleted queue, and closes no channel";
    lab.eventually(&expected, why, async || {
        let queue = lab.queue(RPC_QUEUE).await?;
        let consumers = queue.and_then(|queue| queue.consumers).unwrap_or(0);
        Ok(Seen::when(consumers > 0, || "no consumer".to_owned()))
    })
    .await?;
    let (id, name) = USERS[1];
    is_called(&lab, &client, id, name).await
}

pub async fn nobody_waits(lab: Lab) -> Outcome {
    const GONE: &str = "a-queue-that-is-gone";
    let server = server(&lab).await?;
    let mut caller = Peer::client(&lab, "answers").await?;
    let lost = caller.send(RPC_QUEUE, Some("1"), Some(GONE), "1");
    logs_a_line(&lab, &server, "an answer that no queue takes", lost).await?;
    lab.settled(RPC_QUEUE).await?;
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
    for server in &servers {
        server.launch().await?;
        serves(lab, server).await?;
    }
    Ok(servers)
}

pub async fn lost_answer(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let client = client(&lab).await?;
    let (id, name) = USERS[1];
    // The answer is lost on its way to the broker: the server must send it again.
    server.tap().cut_before(Side::Client, Method::BasicPublish);
    is_called(&lab, &client, id, name).await?;
    lab.settled(RPC_QUEUE).await?;
    // The answer arrives, and the broker's confirm is lost: the server sends it twice.
    server.tap().cut_before(Side::Server, Method::BasicAck);
    let twice = async {
        is_called(&lab, &client, id, name).await?;
        lab.delivered(&server.name(), 4).await
    };
    logs_a_line(&lab, &client, "an answer that arrives twice", twice).await?;
    let (id, name) = USERS[2];
    is_called(&lab, &client, id, name).await
}

pub async fn shared(lab: Lab) -> Outcome {
    let servers = two_servers(&lab).await?;
    let prefetch = lab.journal().prefetch(&servers[0].name());
    expect(prefetch.is_some())
        .or("a prefetch (basic.qos before basic.consume)", "none")
        .hole(3)
        .because("without one the broker hands all waiting requests to the first server")?;
    let client = client(&lab).await?;
    calls(&lab, &client, 24).await?;
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
    named(&lab, &client, calls).await
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
    for (number, (what, reply_to, body)) in (1..).zip(BAD) {
        let sent = caller.send(RPC_QUEUE, Some("bad"), reply_to, body);
        logs_a_line(&lab, &server, what, sent).await?;
        settled_once(&lab, &server, what, number).await?;
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
    lab.settled(RPC_QUEUE).await
}

/// Waits until the queue is empty, after no more deliveries than the `sent` bad requests.
async fn settled_once(lab: &Lab, server: &Service, what: &str, sent: usize) -> Outcome {
    let expected = "each bad request is delivered once, and settled";
    let why = "a requeued bad request is redelivered without end; an unacked one takes a place \
               in the prefetch";
    lab.eventually(expected, why, async || {
        let times = count(lab, server, Method::BasicDeliver);
        expect(times <= sent)
            .or(expected, format!("{what}: {times} deliveries of {sent}"))
            .because(why)?;
        let left = lab.depth(RPC_QUEUE).await?;
        Ok(Seen::when(left == 0, || {
            format!("{what}: {left} ready or unacked")
        }))
    })
    .await
}
