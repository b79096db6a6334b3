//! What the client's side must be able to do and to take.

use std::collections::BTreeSet;
use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Stop, expect, fail};
use rand::seq::SliceRandom;

use super::calls::{
    PATIENT, Party, RPC_QUEUE, USERS, ask, client, client_with, drained, has_status, is_called,
    logs_a_line, none_pending, server, tells,
};

pub async fn known(lab: Lab) -> Outcome {
    server(&lab).await?;
    let client = client(&lab).await?;
    for (id, name) in USERS {
        is_called(&client, id, name).await?;
    }
    none_pending(&lab, &client).await?;
    drained(&lab).await
}

pub async fn unknown(lab: Lab) -> Outcome {
    server(&lab).await?;
    let client = client(&lab).await?;
    for id in [7, 0, u32::MAX] {
        let answer = ask(&client, id).answer().await?;
        let why = "that there is no such user is an answer, and the caller waits for one";
        has_status(&client, &answer, 404, why)?;
    }
    let (id, name) = USERS[1];
    is_called(&client, id, name).await
}

pub async fn one_queue(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let patient = [("RPC_TIMEOUT_MS", PATIENT)];
    let clients = [
        client_with(&lab, "client-1", &patient).await?,
        client_with(&lab, "client-2", &patient).await?,
    ];
    let (mut queues, mut calls) = (BTreeSet::new(), BTreeSet::new());
    for (number, client) in (1..=6).zip(clients.iter().cycle()) {
        // All ask for the same user, as callers do.
        let call = ask(client, 10);
        let request = desk.request().await?;
        expect(request.id == 10)
            .or("a request for user 10", format!("{request:?}"))
            .hole(2)
            .because("the body of a request is the id that was asked for")?;
        let kept = lab.queue(&request.reply_to).await?;
        let exclusive = kept.is_some_and(|queue| queue.exclusive);
        expect(exclusive)
            .or(
                format!(
                    "`{}` is a queue that its client has for itself",
                    request.reply_to
                ),
                "it is not there, or not exclusive",
            )
            .because(
                "others would get our answers; and a queue that stays collects what nobody reads",
            )?;
        let name = format!("user {number}");
        desk.answer(&request, &name).await?;
        tells(client, &call.answer().await?, 10, &name)?;
        queues.insert(request.reply_to);
        calls.insert(request.correlation_id);
    }
    expect(queues.len() == 2)
        .or(
            "2 reply queues for 6 calls of 2 clients",
            format!("{}", queues.len()),
        )
        .because("a queue for each call is a declare, a consume and a delete for each call")?;
    expect(calls.len() == 6)
        .or("6 correlation ids for 6 calls", format!("{}", calls.len()))
        .because("a correlation id belongs to a call, not to a client or to what is asked for")?;
    for queue in queues {
        let why = "what the broker counts as not settled it keeps, for as long as we are connected";
        lab.eventually("no answer stays at the broker", why, async || {
            let kept = lab.queue(&queue).await?;
            let kept = kept.map_or(0, |queue| queue.ready + queue.unacked);
            Ok(Seen::when(kept == 0, || {
                format!("{kept} answers neither acked nor gone")
            }))
        })
        .await?;
    }
    Ok(())
}

pub async fn shuffled(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", PATIENT)]).await?;
    let calls: Vec<_> = (1..=50).map(|id| (id, ask(&client, id))).collect();
    let mut requests = Vec::new();
    for _ in &calls {
        requests.push(desk.request().await?);
    }
    lab.random(|chance| requests.shuffle(chance));
    for request in requests {
        desk.answer(&request, &format!("user {}", request.id))
            .await?;
    }
    for (id, call) in calls {
        tells(&client, &call.answer().await?, id, &format!("user {id}"))?;
    }
    none_pending(&lab, &client).await
}

pub async fn stray_answers(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let client = client(&lab).await?;
    let call = ask(&client, 1);
    let request = desk.request().await?;
    let queue = request.reply_to.as_str();
    let wrong = r#"{"name": "Nobody"}"#;
    let strays = [
        ("an answer with a wrong correlation_id", Some("wrong-id")),
        ("an answer with an empty correlation_id", Some("")),
        ("an answer without correlation_id", None),
    ];
    for (what, id) in strays {
        logs_a_line(&lab, &client, what, desk.send(queue, id, None, wrong)).await?;
    }
    expect(client.output().contains("wrong-id"))
        .or("the log names `wrong-id`", client.last_words(3).join("\n"))
        .because("the id is all by which anybody could find out whose answer that was")?;
    desk.answer(&request, "user 1").await?;
    tells(&client, &call.answer().await?, 1, "user 1")?;

    let call = ask(&client, 2);
    let next = desk.request().await?;
    let again = desk.answer(&request, "user 1, once more");
    logs_a_line(&lab, &client, "an answer that came twice", again).await?;
    desk.answer(&next, "user 2").await?;
    tells(&client, &call.answer().await?, 2, "user 2")
}

pub async fn deadline(lab: Lab) -> Outcome {
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", "400")]).await?;
    // Nobody stands at the queue; then even the broker is silent.
    for silent in [false, true] {
        if silent {
            client.tap().black_hole(Side::Server);
        }
        let span = lab.span();
        let answer = ask(&client, 1).answer().await?;
        let took = span.elapsed();
        has_status(
            &client,
            &answer,
            504,
            "a caller can only act on what it is told, in time",
        )?;
        let failure = fail(
            "an answer after 0.4 s, as RPC_TIMEOUT_MS says",
            format!("after {took:.1?}"),
        )
        .because("the caller's own caller has a deadline, too");
        let early = took < Duration::from_millis(350);
        failure.clone().unless(!early)?;
        span.at_most(Duration::from_millis(1800), failure)?;
    }
    Ok(())
}

pub async fn late_answer(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", "800")]).await?;
    let given_up = ask(&client, 1).answer().await?;
    has_status(&client, &given_up, 504, "nobody has answered")?;
    let old = desk.request().await?;
    // On a busy machine a new call may end before the check has answered: then one more.
    for _ in 0..4 {
        let call = ask(&client, 1);
        let new = desk.request().await?;
        let late = desk.answer(&old, "user 1, as she was called before");
        logs_a_line(&lab, &client, "an answer that came too late", late).await?;
        desk.answer(&new, "user 1").await?;
        let answer = call.answer().await?;
        if answer.status != 504 {
            return tells(&client, &answer, 1, "user 1");
        }
    }
    let why = "each call was answered in time";
    expect(false)
        .or("an answer in one of 4 calls", "504 each time")
        .because(why)
}

pub async fn no_leak(lab: Lab) -> Outcome {
    const ROUND: u32 = 250;
    const ROOM: u64 = 16 * 1024 * 1024;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", "120")]).await?;
    let mut before = None;
    // The first round is not counted: it fetches the memory that the others use again.
    for _ in 0..=4 {
        let calls: Vec<_> = (0..ROUND).map(|id| ask(&client, id)).collect();
        for call in calls {
            let answer = call.answer().await?;
            has_status(&client, &answer, 504, "nobody has answered")?;
        }
        before = before.or(Some(client.memory().await?));
    }
    none_pending(&lab, &client).await?;
    let (before, after) = (before.unwrap_or_default(), client.memory().await?);
    expect(after < before + ROOM)
        .or(
            "as much memory after 1,000 calls as before them",
            format!("{} kB before, {} kB after", before / 1024, after / 1024),
        )
        .because("what each call leaves behind adds up, until somebody has to restart the service")
}

pub async fn expired(lab: Lab) -> Outcome {
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", "400")]).await?;
    let calls: Vec<_> = (1..=3).map(|id| ask(&client, id)).collect();
    let why = "requests wait in the queue for a server that is away";
    lab.eventually("3 requests are sent", why, async || {
        let sent = lab
            .journal()
            .methods("user-client", Method::BasicPublish)
            .len();
        Ok(Seen::when(sent == 3, || format!("{sent} sent")))
    })
    .await?;
    let sent = lab.journal().methods("user-client", Method::BasicPublish);
    let direct = sent
        .iter()
        .all(|frame| frame.args["routing_key"] == RPC_QUEUE);
    expect(direct)
        .or(
            "they are published to queue `rpc_queue`",
            format!("{:?}", sent[0].args),
        )
        .hole(2)
        .because("the default exchange routes by the name of a queue")?;
    for call in calls {
        has_status(&client, &call.answer().await?, 504, "there is no server")?;
    }
    drained(&lab).await.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.hole.is_none() => failure.hole(2).into(),
        other => other,
    })?;
    let server = server(&lab).await?;
    let patient = [("RPC_TIMEOUT_MS", PATIENT)];
    let patient = client_with(&lab, "patient-client", &patient).await?;
    let (id, name) = USERS[0];
    is_called(&patient, id, name).await?;
    let served = lab
        .journal()
        .methods(&server.name(), Method::BasicDeliver)
        .len();
    expect(served == 1)
        .or(
            "1 request reaches the server that comes later",
            format!("{served}"),
        )
        .hole(2)
        .because("a server that is back after an hour would work off an hour's requests for nobody")
}

pub async fn direct(lab: Lab) -> Outcome {
    const DIRECT: &str = "amq.rabbitmq.reply-to";
    let server = server(&lab).await?;
    let settings = [("REPLY_TO", "direct"), ("RPC_TIMEOUT_MS", PATIENT)];
    let client = client_with(&lab, "user-client", &settings).await?;
    let consumed = lab.journal().methods("user-client", Method::BasicConsume);
    let from: Vec<_> = consumed
        .iter()
        .map(|frame| frame.args["queue"].clone())
        .collect();
    expect(from == [DIRECT])
        .or(
            format!("it consumes from `{DIRECT}`"),
            format!("from {from:?}"),
        )
        .because("this name is no queue: the broker hands answers straight to the channel")?;
    let declared = lab.journal().methods("user-client", Method::QueueDeclare);
    let own = declared
        .iter()
        .filter(|frame| frame.args["queue"] != RPC_QUEUE);
    let own = own.count();
    expect(own == 0)
        .or("no reply queue is declared", format!("{own} declared"))
        .because("that is what direct reply-to saves")?;
    for (id, name) in USERS {
        is_called(&client, id, name).await?;
    }
    let gone = server.output().contains("is gone");
    expect(!gone)
        .or(
            "the server sees its answers arrive",
            server.last_words(2).join("\n"),
        )
        .because("the broker returns mandatory answers to this name, although they arrive")
}
