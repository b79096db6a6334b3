//! Checks of both sides, while broker, network or operators interfere.

use std::time::Duration;

use check::wiretap::Method;
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect, fail};

use super::calls::{
    RPC_QUEUE, USERS, ask, at_hole, calls, client, client_with_deadline, count, has_status,
    idle_client, is_called, none_pending, own_names, server, serves, shown,
};
use super::fate;
use super::peer::Peer;

/// Waits until the client gets an answer again; then all calls must work.
pub async fn works_again(lab: &Lab, client: &Service) -> Outcome {
    let expected = "calls work again, and nobody has restarted the client";
    let why = "networks fail now and then, and each upgrade restarts a broker";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let answer = ask(client, USERS[0].0).answer().await?;
        let lost = || fate::of_last_call(lab, client, USERS[0].0).filter(|_| answer.status == 504);
        Ok(match answer.ok().then_some(()).ok_or_else(lost) {
            Ok(()) => Seen::Yes(()),
            Err(None) => Seen::NotYet(shown(client, &answer)),
            Err(Some(fate)) => {
                let observed = format!("{}; {}", answer.summary(), fate.observed);
                Seen::NotYetFor(fate.hole, observed)
            }
        })
    })
    .await?;
    calls(lab, client, USERS.len()).await?;
    none_pending(lab, client).await
}

pub async fn late_broker(lab: Lab) -> Outcome {
    let client = idle_client(&lab, "user-client").await?;
    let server = lab.service("user-service").await?;
    client.tap().refuse();
    server.tap().refuse();
    client.start().await?;
    server.launch().await?;
    gets_503_at_once(&lab, &client).await?;
    client.tap().restore();
    server.tap().restore();
    serves(&lab, &server).await?;
    works_again(&lab, &client).await
}

/// The client's deadline is 5 s, so a client that waits for a connection answers later.
async fn gets_503_at_once(lab: &Lab, client: &Service) -> Outcome {
    let why = "without a connection no answer can come, so the caller need not wait";
    let span = lab.span();
    let answer = ask(client, 1).answer().await?;
    let late = fail("an answer at once", format!("after {:.1?}", span.elapsed())).because(why);
    has_status(client, &answer, 503, why)?;
    span.at_most(Duration::from_millis(2500), late)
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    server(&lab).await?;
    let client = client(&lab).await?;
    let (id, name) = USERS[0];
    is_called(&lab, &client, id, name).await?;
    lab.kill_broker().await?;
    lab.broker_is_back().await?;
    works_again(&lab, &client).await
}

pub async fn link_cut(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client_with_deadline(&lab, 5500).await?;
    let call = ask(&client, 1);
    let before = peer.request().await?.reply_to;
    let span = lab.span();
    client.tap().cut();
    let answer = call.answer().await?;
    let took = span.elapsed();
    let late = fail(
        "the call ends soon after its connection, before its deadline of 5.5 s",
        format!("after {took:.1?}: {}", shown(&client, &answer)),
    )
    .because("the reply queue ended with the connection, so no answer can arrive");
    span.at_most(Duration::from_millis(4500), late)?;
    let why = "504 says that nobody answered in time; here the client lost its connection";
    at_hole(5, has_status(&client, &answer, 503, why))?;
    drop(peer);
    server(&lab).await?;
    works_again(&lab, &client).await?;
    has_another_queue(&lab, &client, &before)
}

fn has_another_queue(lab: &Lab, client: &Service, before: &str) -> Outcome {
    let requests = lab.journal().methods(&client.name(), Method::BasicPublish);
    let message = requests.last().and_then(|last| last.message.as_ref());
    let now = message.and_then(|message| message.reply_to.as_deref());
    expect(now != Some(before))
        .or(
            "after its link was cut, the client has a reply queue of another name",
            format!("`{before}` again"),
        )
        .hole(2)
        .because(
            "a broker that has not seen the cut keeps an exclusive queue locked for the old \
             connection (405, RESOURCE_LOCKED): let the broker name the queue",
        )
}

pub async fn client_stops(lab: Lab) -> Outcome {
    let mut peer = Peer::server(&lab).await?;
    let client = client(&lab).await?;
    let calls = [1, 2].map(|id| (id, ask(&client, id)));
    let requests = [peer.request().await?, peer.request().await?];
    client.terminate()?;
    client.says("SIGTERM").await?;
    for request in &requests {
        peer.answer(request, &format!("user {}", request.id))
            .await?;
    }
    own_names(&lab, &client, calls).await?;
    client.stopped_well().await
}

pub async fn server_stops(lab: Lab) -> Outcome {
    stops_after_its_request(&lab).await?;
    stops_without_broker(&lab).await
}

async fn stops_after_its_request(lab: &Lab) -> Outcome {
    let server = server(lab).await?;
    // The confirm arrives late, so that SIGTERM comes while the server awaits it.
    server.tap().delay(Duration::from_millis(60));
    let caller = Peer::client(lab, "answers").await?;
    let sent = caller.send(RPC_QUEUE, Some("1"), Some("answers"), "1");
    sent.await?;
    let why = "SIGTERM must arrive while the server works on a request";
    lab.eventually("the server publishes its answer", why, async || {
        let published = count(lab, &server, Method::BasicPublish) == 1;
        Ok(Seen::when(published, || "not yet".to_owned()))
    })
    .await?;
    server.stops_well().await?;
    lab.settled(RPC_QUEUE).await
}

async fn stops_without_broker(lab: &Lab) -> Outcome {
    let server = lab.instance("without-broker", &["user-service"]).await?;
    server.tap().turn_away();
    server.launch().await?;
    let why = "SIGTERM must arrive while the server waits for the broker";
    lab.eventually("the server connects again and again", why, async || {
        let times = lab.journal().calls(&server.name()).len();
        Ok(Seen::when(times > 1, || format!("{times} time(s)")))
    })
    .await?;
    server.stops_well().await
}
