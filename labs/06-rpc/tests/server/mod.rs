//! What the server's side must be able to do and to take.

use std::time::Duration;

use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, expect, fail};
use serde_json::json;

use super::calls::{
    PATIENT, Party, RPC_QUEUE, USERS, ask, client_with, drained, is_called, logs_a_line, server,
    tells,
};

pub async fn other_clients(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    // The broker's word is under way for long enough to see who does not wait for it.
    server.tap().delay(Duration::from_millis(25));
    let mut caller = Party::client(&lab, "answers").await?;
    let long = "x".repeat(255);
    let ids = [
        Some("1"),
        Some("ключ 7"),
        Some(long.as_str()),
        None,
        Some("1"),
    ];
    for (correlation_id, (id, name)) in ids.into_iter().zip(USERS.into_iter().cycle()) {
        let body = id.to_string();
        caller
            .send(RPC_QUEUE, correlation_id, Some("answers"), body)
            .await?;
        let missing = fail(format!("an answer about user {id}"), "none came")
            .because("whoever sends a reply_to waits there");
        let answer = caller.next(missing).await?;
        expect(answer.correlation_id.as_deref() == correlation_id)
            .or(
                format!("correlation_id {correlation_id:?}, as in the request"),
                format!("{:?}", answer.correlation_id),
            )
            .because("it is the caller's, who alone knows what it means: give back what you got")?;
        expect(answer.json() == json!({ "name": name }))
            .or(format!("{{\"name\": \"{name}\"}}"), &answer.body)
            .because("the answer's form is the contract between services, not the language")?;
    }
    drained(&lab).await?;
    let first = |method: Method, from: Side| {
        let of = |frame: &Frame| frame.method == method && frame.from == from;
        lab.journal().times(of).first().copied()
    };
    let (confirmed, acked) = (
        first(Method::BasicAck, Side::Server),
        first(Method::BasicAck, Side::Client),
    );
    let name = server.name();
    expect(
        confirmed
            .zip(acked)
            .is_some_and(|(confirmed, acked)| confirmed < acked),
    )
    .or(
        "a request is acked when the broker has confirmed its answer",
        format!("{name}: first confirm at {confirmed:?} s, first ack at {acked:?} s"),
    )
    .because("acked before, the request is forgotten, and its answer may still get lost")
}

pub async fn nobody_waits(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let mut caller = Party::client(&lab, "answers").await?;
    let gone = Some("a-queue-that-is-gone");
    let lost = caller.send(RPC_QUEUE, Some("1"), gone, "1");
    logs_a_line(&lab, &server, "an answer that no queue takes", lost).await?;
    drained(&lab).await?;
    let returned = lab
        .journal()
        .methods(&server.name(), Method::BasicReturn)
        .len();
    expect(returned == 1)
        .or(
            "the broker returns that one answer",
            format!("{returned} came back"),
        )
        .because("without `mandatory` the broker throws it away, and confirms that it did")?;
    let words = server.last_words(2).join("\n");
    expect(server.output().contains("a-queue-that-is-gone"))
        .or(
            "the log names the queue that is gone, `a-queue-that-is-gone`",
            words,
        )
        .because("it is all that is known of the caller")?;
    caller
        .send(RPC_QUEUE, Some("2"), Some("answers"), "10")
        .await?;
    let missing = fail("the next request is answered", "no answer came")
        .because("that one caller has gone is no reason to keep the others waiting");
    caller.next(missing).await?;
    Ok(())
}

/// Waits until the server has been handed `count` requests.
async fn handed(lab: &Lab, server: &Service, count: usize) -> Outcome {
    let name = server.name();
    let expected = format!("{name} is handed {count} request(s)");
    let why = "requests go to whoever stands at the queue, in turn";
    lab.eventually(&expected, why, async || {
        let seen = lab.journal().methods(&name, Method::BasicDeliver).len();
        Ok(Seen::when(seen >= count, || format!("{seen} so far")))
    })
    .await
}

/// Two servers at the queue.
async fn two_servers(lab: &Lab) -> Outcome<[Service; 2]> {
    let mut servers = Vec::new();
    for (name, count) in [("server-1", 1), ("server-2", 2)] {
        let server = lab.instance(name, &["user-service"]).await?;
        server.launch().await?;
        lab.consumers(RPC_QUEUE, count).await?;
        servers.push(server);
    }
    servers
        .try_into()
        .map_err(|_| anyhow::anyhow!("not two servers").into())
}

pub async fn lost_answer(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let settings = [("RPC_TIMEOUT_MS", PATIENT)];
    let client = client_with(&lab, "user-client", &settings).await?;
    let (id, name) = USERS[1];
    // The answer gets lost on its way to the broker: it must be sent again.
    server.tap().cut_before(Side::Client, Method::BasicPublish);
    is_called(&client, id, name).await?;
    drained(&lab).await?;
    // The answer arrives, and the broker's word for it gets lost: it is sent twice.
    server.tap().cut_before(Side::Server, Method::BasicAck);
    let twice = async {
        is_called(&client, id, name).await?;
        handed(&lab, &server, 4).await
    };
    logs_a_line(&lab, &client, "an answer that came twice", twice).await?;
    let (id, name) = USERS[2];
    is_called(&client, id, name).await
}

pub async fn shared(lab: Lab) -> Outcome {
    let servers = two_servers(&lab).await?;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", PATIENT)]).await?;
    let calls: Vec<_> = USERS.iter().cycle().take(24).collect();
    let asked: Vec<_> = calls.iter().map(|(id, _)| ask(&client, *id)).collect();
    for ((id, name), call) in calls.into_iter().zip(asked) {
        tells(&client, &call.answer().await?, *id, name)?;
    }
    for server in servers {
        let name = server.name();
        let part = lab.journal().methods(&name, Method::BasicDeliver).len();
        expect((4..=20).contains(&part))
            .or(
                "each of two servers gets a part of 24 requests",
                format!("{name} got {part}"),
            )
            .because("they stand at the same queue: whoever is free takes the next one")?;
    }
    Ok(())
}

pub async fn killed_server(lab: Lab) -> Outcome {
    let [killed, other] = two_servers(&lab).await?;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", PATIENT)]).await?;
    // Frozen, it takes requests in hand and does nothing with them.
    killed.freeze()?;
    let calls: Vec<_> = USERS.iter().cycle().take(6).collect();
    let asked: Vec<_> = calls.iter().map(|(id, _)| ask(&client, *id)).collect();
    handed(&lab, &killed, 1).await?;
    handed(&lab, &other, 1).await?;
    killed.kill().await?;
    for ((id, name), call) in calls.into_iter().zip(asked) {
        tells(&client, &call.answer().await?, *id, name)?;
    }
    Ok(())
}

/// Waits until no request is left over, none of which may have come again: at most `count`.
async fn settled_once(lab: &Lab, server: &Service, what: &str, count: usize) -> Outcome {
    let why = "what is broken stays broken: requeued, it comes for ever; kept, it fills the hands";
    lab.eventually(
        "a bad request is delivered once, and settled",
        why,
        async || {
            let times = lab
                .journal()
                .methods(&server.name(), Method::BasicDeliver)
                .len();
            expect(times <= count)
                .or(
                    "each bad request is delivered once",
                    format!("{what}: {times} deliveries"),
                )
                .because(why)?;
            let kept = lab.queue(RPC_QUEUE).await?;
            let kept = kept.map_or(0, |queue| queue.ready + queue.unacked);
            Ok(Seen::when(kept == 0, || {
                format!("{kept} delivered and not acked")
            }))
        },
    )
    .await
}

pub async fn bad_requests(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    let mut caller = Party::client(&lab, "answers").await?;
    let answers = Some("answers");
    let bad: [(&str, Option<&str>, &[u8]); 7] = [
        ("a request without reply_to", None, b"1"),
        ("an empty body", answers, b""),
        ("a body that is no id", answers, b"Ada"),
        ("a negative id", answers, b"-1"),
        ("an id that is too large", answers, b"99999999999999999999"),
        ("a body that is no text", answers, b"\xff\xfe\x00"),
        ("an empty reply_to", Some(""), b"1"),
    ];
    for (what, reply_to, body) in bad {
        let sent = caller.send(RPC_QUEUE, Some("bad"), reply_to, body);
        logs_a_line(&lab, &server, what, sent).await?;
        settled_once(&lab, &server, what, bad.len()).await?;
    }
    caller.send(RPC_QUEUE, Some("good"), answers, "10").await?;
    let (mut answer, expected) = (None, "the good request behind 7 bad ones is answered");
    while answer.as_deref() != Some("good") {
        let missing =
            fail(expected, "no answer came").because("one bad request must not stop all others");
        // Whoever tells a caller that its request was bad does even more.
        answer = caller.next(missing).await?.correlation_id;
    }
    drained(&lab).await
}
