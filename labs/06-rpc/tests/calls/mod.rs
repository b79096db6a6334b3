//! Calls as a user of the chapter's two services makes them, over HTTP.

use std::io;
use std::net::Ipv4Addr;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context;
use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Response, Seen, Service, Stop, expect, fail};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::fate;
pub use super::fate::RPC_QUEUE;

/// The users that exist.
pub const USERS: [(u32, &str); 3] = [
    (1, "Ada Lovelace"),
    (10, "Grace Hopper"),
    (11, "Radia Perlman"),
];

/// A deadline, in milliseconds, that every answer meets, however busy the machine is. It is
/// shorter than a check waits.
const PATIENT: u32 = 5000;

/// How long to wait for what a service does at once: far longer than it takes, so that a busy
/// machine fails no check.
pub const SOON: Duration = Duration::from_secs(3);

/// How long to wait for the answer to a [`RawCall`]: longer than its deadline.
const PATIENCE: Duration = Duration::from_secs(8);

/// How long the link of a client holds each byte back, so that calls overlap.
const OVERLAP: Duration = Duration::from_millis(50);

/// A user client that is ready to call, with a patient deadline.
pub async fn client(lab: &Lab) -> Outcome<Service> {
    named_client(lab, "user-client").await
}

/// As [`client`], under this name.
pub async fn named_client(lab: &Lab, name: &str) -> Outcome<Service> {
    ready(lab, idle_client(lab, name).await?).await
}

/// As [`client`], with this deadline in milliseconds.
pub async fn client_with_deadline(lab: &Lab, deadline: u32) -> Outcome<Service> {
    let client = idle_client(lab, "user-client").await?;
    ready(lab, client.with("RPC_TIMEOUT_MS", deadline)).await
}

/// As [`client`], with direct reply-to.
pub async fn direct_client(lab: &Lab) -> Outcome<Service> {
    let client = idle_client(lab, "user-client").await?;
    ready(lab, client.with("REPLY_TO", "direct")).await
}

/// Starts this client, and waits until it can call.
pub async fn ready(lab: &Lab, client: Service) -> Outcome<Service> {
    client.start().await?;
    let expected = format!("{} consumes answers", client.name());
    let why = "a client without a consumer gets no answers";
    lab.eventually(&expected, why, async || {
        let consumes = count(lab, &client, Method::BasicConsumeOk) > 0;
        Ok(Seen::when(consumes, || refusal(lab, &client)).hole(2))
    })
    .await?;
    client.says(": ready").await?;
    Ok(client)
}

/// Why a service does not consume, told from the wire.
fn refusal(lab: &Lab, service: &Service) -> String {
    let name = service.name();
    let closes = |frame: &Frame| {
        let close = [Method::ChannelClose, Method::ConnectionClose].contains(&frame.method);
        close && frame.service == name && frame.from == Side::Server
    };
    match lab.journal().frames(closes).last() {
        Some(frame) => {
            let why = frame.args["reply_text"]
                .as_str()
                .unwrap_or("without a reason");
            format!("the broker refused: {why}")
        }
        None => "no basic.consume".to_owned(),
    }
}

/// A user client with a patient deadline that is not started yet.
pub async fn idle_client(lab: &Lab, name: &str) -> Outcome<Service> {
    let client = lab.instance(name, &["user-client"]).await?;
    Ok(client.with("RPC_TIMEOUT_MS", PATIENT))
}

/// A user service that consumes from [`RPC_QUEUE`].
pub async fn server(lab: &Lab) -> Outcome<Service> {
    let server = lab.service("user-service").await?;
    server.launch().await?;
    serves(lab, &server).await?;
    Ok(server)
}

/// Waits until this server consumes from [`RPC_QUEUE`], with as many consumers as it likes.
pub async fn serves(lab: &Lab, server: &Service) -> Outcome {
    let expected = format!("{} consumes from `{RPC_QUEUE}`", server.name());
    let why = "without a consumer the requests stay in the queue";
    lab.eventually(&expected, why, async || {
        let consumes = lab.journal().methods(&server.name(), Method::BasicConsume);
        let right = consumes
            .iter()
            .any(|frame| frame.args["queue"] == RPC_QUEUE);
        let consumes = right && count(lab, server, Method::BasicConsumeOk) > 0;
        Ok(Seen::when(consumes, || refusal(lab, server)).hole(3))
    })
    .await
}

/// A call over HTTP that is in progress.
pub struct Call(JoinSet<Outcome<Response>>);

/// Asks for a user, and does not wait.
pub fn ask(client: &Service, id: u32) -> Call {
    let client = client.clone();
    let mut task = JoinSet::new();
    task.spawn_local(async move { client.get(&format!("/users/{id}")).await });
    Call(task)
}

impl Call {
    /// Waits for the client's answer.
    pub async fn answer(mut self) -> Outcome<Response> {
        let answer = self.0.join_next().await.context("no call")?;
        answer.context("the check cannot follow its own call")?
    }

    /// As [`Call::answer`]; fails when the client's answer does not come [`SOON`].
    pub async fn answer_soon(self, lab: &Lab) -> Outcome<Response> {
        self.answer_amid(lab, async || Ok(())).await
    }

    /// As [`Call::answer_soon`]; meanwhile runs `disturb` again and again.
    pub async fn answer_amid(
        mut self,
        lab: &Lab,
        disturb: impl AsyncFn() -> Outcome,
    ) -> Outcome<Response> {
        let why = "a caller without an answer cannot know what happened";
        lab.eventually_within(SOON, "the client answers its caller", why, async || {
            disturb().await?;
            let Some(answer) = self.0.try_join_next() else {
                return Ok(Seen::NotYet("no answer".to_owned()));
            };
            let answer = answer.context("the check cannot follow its own call")?;
            Ok(Seen::Yes(answer?))
        })
        .await
    }
}

/// Makes `count` calls that overlap, for the known users in turn; each must give the user's name.
pub async fn calls(lab: &Lab, client: &Service, count: usize) -> Outcome {
    client.tap().delay(OVERLAP);
    let calls = start_calls(client, count);
    named(lab, client, calls).await?;
    client.tap().delay(Duration::ZERO);
    Ok(())
}

/// Starts `count` calls for the known users in turn; pass them to [`named`].
pub fn start_calls(client: &Service, count: usize) -> Vec<(u32, &'static str, Call)> {
    let users = USERS.into_iter().cycle().take(count);
    users
        .map(|(id, name)| (id, name, ask(client, id)))
        .collect()
}

/// Waits for these calls; each must give the user's name.
pub async fn named(lab: &Lab, client: &Service, calls: Vec<(u32, &str, Call)>) -> Outcome {
    for (id, name, call) in calls {
        has_name(lab, client, &call.answer().await?, id, name)?;
    }
    Ok(())
}

/// Asks for a user, who must have this name.
pub async fn is_called(lab: &Lab, client: &Service, id: u32, name: &str) -> Outcome {
    let answer = ask(client, id).answer().await?;
    has_name(lab, client, &answer, id, name)
}

/// Waits for the answers of these calls, each about the user with its id; expects `user <id>` in each.
pub async fn own_names(
    lab: &Lab,
    client: &Service,
    calls: impl IntoIterator<Item = (u32, Call)>,
) -> Outcome {
    for (id, call) in calls {
        has_name(
            lab,
            client,
            &call.answer().await?,
            id,
            &format!("user {id}"),
        )?;
    }
    Ok(())
}

/// Expects this user in the answer.
pub fn has_name(lab: &Lab, client: &Service, answer: &Response, id: u32, name: &str) -> Outcome {
    match answer.status == 200 && answer.json() == json!({ "id": id, "name": name }) {
        true => Ok(()),
        false => Err(unnamed(lab, client, answer.summary(), (id, name))),
    }
}

/// The failure of a call that gets another answer than this user: the wire says why.
fn unnamed(lab: &Lab, client: &Service, answer: String, (id, name): (u32, &str)) -> Stop {
    let expected = format!("GET /users/{id} answers 200 with the name {name}");
    let Some(fate) = fate::of_call(lab, client, id) else {
        let words = client.last_words(1).join("");
        let why = "a caller that asks for one user must not get the name of another";
        let observed = format!("{answer}; last in its log:\n{words}");
        return fail(expected, observed).because(why).into();
    };
    let failure = fail(expected, format!("{answer}; {}", fate.observed));
    failure.because(fate.why).hole(fate.hole).into()
}

/// A call whose request is sent although the client may be frozen: it waits at the client's port.
pub struct RawCall(TcpStream);

impl RawCall {
    /// Sends the request for a user.
    pub async fn send(client: &Service, id: u32) -> Outcome<Self> {
        let request = format!("GET /users/{id} HTTP/1.1\r\nHost: lab\r\nConnection: close\r\n\r\n");
        let sent = async {
            let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, client.port())).await?;
            stream.write_all(request.as_bytes()).await?;
            Ok::<_, io::Error>(Self(stream))
        };
        Ok(sent.await.context("the check cannot send its request")?)
    }

    /// Waits for the answer; expects this user in it.
    pub async fn has_name(mut self, lab: &Lab, client: &Service, id: u32, name: &str) -> Outcome {
        let mut answer = String::new();
        let reading = self.0.read_to_string(&mut answer);
        let read = lab.span().limit(PATIENCE, reading).await;
        if read.is_none() {
            "no answer".clone_into(&mut answer);
        }
        lab.all_well()?;
        let body = json!({ "id": id, "name": name });
        let (head, text) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let right = head.starts_with("HTTP/1.1 200") && Value::from_str(text).ok() == Some(body);
        match right {
            true => Ok(()),
            false => {
                let status = head.lines().next().unwrap_or("no answer");
                Err(unnamed(lab, client, format!("{status} {text}"), (id, name)))
            }
        }
    }
}

/// Expects this status in the answer.
pub fn has_status(client: &Service, answer: &Response, status: u16, why: &str) -> Outcome {
    expect(answer.status == status)
        .or(format!("status {status}"), shown(client, answer))
        .because(why)
}

/// An answer, with the service's last log line, which may say why it is not the expected one.
pub fn shown(service: &Service, answer: &Response) -> String {
    let words = service.last_words(1).join("");
    format!("{}; last in its log:\n{words}", answer.summary())
}

/// Waits until the client reports that no call is in progress.
pub async fn none_pending(lab: &Lab, client: &Service) -> Outcome {
    let why = "a finished call that stays in the table is never removed";
    lab.eventually_within(SOON, "no call is pending", why, async || {
        let answer = client.get("/pending").await?;
        let none = answer.json()["pending"] == json!(0);
        Ok(Seen::when(none, || answer.summary()))
    })
    .await
}

/// Runs `action`, and waits until the service has logged another line after it.
pub async fn logs_a_line(
    lab: &Lab,
    service: &Service,
    about: &str,
    action: impl Future<Output = Outcome>,
) -> Outcome {
    let lines = || service.output().lines().count();
    let before = lines();
    action.await?;
    let expected = format!("{} logs a line about {about}", service.name());
    let why = "a message that is dropped without a log line cannot be traced";
    lab.eventually_within(SOON, &expected, why, async || {
        Ok(Seen::when(lines() > before, || "no new line".to_owned()))
    })
    .await
}

/// How many frames with this method crossed the service's wiretap.
pub fn count(lab: &Lab, service: &Service, method: Method) -> usize {
    lab.journal().methods(&service.name(), method).len()
}

/// Points a failure that names no hole to this one.
pub fn at_hole<T>(hole: u32, outcome: Outcome<T>) -> Outcome<T> {
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) if failure.hole.is_none() => failure.hole(hole).into(),
        stop => stop,
    })
}
