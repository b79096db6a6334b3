//! What both sides must be able to take of broker, network and operators.

use std::time::Duration;

use check::Exit;
use check::wiretap::Method;
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect, fail};

use super::calls::{
    PATIENT, Party, RPC_QUEUE, USERS, ask, client, client_with, drained, has_status, is_called,
    none_pending, server, tells, told,
};

/// Waits until the client gets an answer from the server again.
async fn works(lab: &Lab, client: &Service) -> Outcome {
    let expected = "calls work again, without anybody doing anything about it";
    let why = "a network fails now and then, and a broker is restarted for each upgrade";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let answer = ask(client, USERS[0].0).answer().await?;
        Ok(Seen::when(answer.ok(), || told(client, &answer)))
    })
    .await?;
    for (id, name) in USERS {
        is_called(client, id, name).await?;
    }
    none_pending(lab, client).await
}

pub async fn late_broker(lab: Lab) -> Outcome {
    let client = lab.service("user-client").await?;
    let client = client.with("RPC_TIMEOUT_MS", PATIENT);
    client.tap().refuse();
    client.start().await?;
    let server = lab.service("user-service").await?;
    server.tap().refuse();
    server.launch().await?;
    let why = "nobody can be asked, and the caller need not wait to hear it";
    has_status(&client, &ask(&client, 1).answer().await?, 503, why)?;
    client.tap().restore();
    server.tap().restore();
    lab.consumers(RPC_QUEUE, 1).await?;
    works(&lab, &client).await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    server(&lab).await?;
    let client = client(&lab).await?;
    let (id, name) = USERS[0];
    is_called(&client, id, name).await?;
    lab.kill_broker().await?;
    lab.broker_is_back().await?;
    works(&lab, &client).await
}

pub async fn link_cut(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let client = client_with(&lab, "user-client", &[("RPC_TIMEOUT_MS", "5500")]).await?;
    let call = ask(&client, 1);
    desk.request().await?;
    let span = lab.span();
    client.tap().cut();
    let answer = call.answer().await?;
    let took = span.elapsed();
    let late = fail(
        "the call ends soon after its connection, not at the deadline of 5.5 s",
        format!("after {took:.1?}: {}", told(&client, &answer)),
    )
    .because("the answer would go to a reply queue that is gone: nobody need wait for that");
    span.at_most(Duration::from_millis(4500), late)?;
    drop(desk);
    server(&lab).await?;
    works(&lab, &client).await
}

pub async fn client_stops(lab: Lab) -> Outcome {
    let mut desk = Party::server(&lab).await?;
    let client = client(&lab).await?;
    let call = ask(&client, 1);
    let request = desk.request().await?;
    client.terminate()?;
    client.says("SIGTERM").await?;
    desk.answer(&request, "user 1").await?;
    tells(&client, &call.answer().await?, 1, "user 1")?;
    ends_well(&client).await
}

pub async fn server_stops(lab: Lab) -> Outcome {
    let server = server(&lab).await?;
    // The broker's word for the answer is under way for long enough to see who waits for it.
    server.tap().delay(Duration::from_millis(60));
    let caller = Party::client(&lab, "answers").await?;
    caller
        .send(RPC_QUEUE, Some("1"), Some("answers"), "1")
        .await?;
    let why = "only a request that was taken up can be finished";
    lab.eventually("the server answers", why, async || {
        let sent = lab
            .journal()
            .methods(&server.name(), Method::BasicPublish)
            .len();
        Ok(Seen::when(sent == 1, || "not yet".to_owned()))
    })
    .await?;
    server.terminate()?;
    ends_well(&server).await?;
    drained(&lab).await?;

    let waiting = lab.instance("without-broker", &["user-service"]).await?;
    waiting.tap().refuse();
    waiting.launch().await?;
    waiting.says("no broker yet").await?;
    waiting.terminate()?;
    ends_well(&waiting).await
}

async fn ends_well(service: &Service) -> Outcome {
    let exit = service.ended().await?;
    expect(exit == Exit::Code(0))
        .or(
            format!("{} ends with exit code 0", service.name()),
            exit.to_string(),
        )
        .because("whoever stopped it takes anything else for a crash")
}
