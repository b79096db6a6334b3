//! How producer and consumer survive a broker that is late, silent or restarted.

use std::time::Duration;

use check::run::NO_HOLE;
use check::wiretap::ConnectionEvent;
use check::{Lab, Outcome, PATIENCE, Seen, Service, SilentBroker, expect};

use serde_json::json;

use super::flixtube::{
    USERS, VIEWED, all_known, all_recorded, consuming_history, save_all, watch, watch_all, watched,
};

pub async fn late_broker(lab: Lab) -> Outcome {
    let history = lab.service("history").await?;
    let streaming = lab.service("video-streaming").await?;
    let users = lab.service("user-management").await?;
    for service in [&history, &streaming, &users] {
        service.tap().refuse();
        service.start().await?;
    }
    history.tap().turn_away();
    keeps_trying(&lab).await?;
    no_success_without_broker(&streaming, &users).await?;
    pauses_between_tries(&lab)?;
    keeps_its_password(&history)?;

    for service in [&history, &streaming] {
        service.tap().restore();
    }
    lab.consumers(VIEWED, 1).await?;
    let id = watch(&lab, &streaming).await?;
    let expected = "a view is recorded once the broker is there";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

async fn no_success_without_broker(streaming: &Service, users: &Service) -> Outcome {
    let ada = json!({ "name": "Ada" });
    let (view, user) = tokio::join!(streaming.get("/video"), users.post("/users/save", &ada));
    let (view, user) = (view?, user?);
    expect(view.status == 503)
        .or("GET /video without a broker answers 503", view.summary())
        .because("a success promises that the view will be recorded")?;
    expect(user.status == 503 && user.json()["userId"].is_string())
        .or(
            "POST /users/save without a broker answers 503 with the userId",
            user.summary(),
        )
        .hole(NO_HOLE)
        .because("a success promises a saved user; with the userId, a retry is the same user")
}

/// No line of the log shows the password with which `history` logs in.
fn keeps_its_password(history: &Service) -> Outcome {
    let url = history.variable("AMQP_URL").unwrap_or_default();
    let login = url
        .split_once("://")
        .and_then(|(_, rest)| rest.split_once('@'));
    let secret = login.and_then(|(login, _)| login.split_once(':'));
    let shown = secret.is_some_and(|(_, password)| history.output().contains(password));
    expect(!shown)
        .or(
            "the broker's password is in no line of the log",
            "it is in the log",
        )
        .hole(NO_HOLE)
        .because("logs are copied, mailed and kept for years")
}

/// How often `history` has tried to connect in vain.
fn tries(lab: &Lab) -> usize {
    let turned_away = ConnectionEvent::TurnedAway;
    lab.journal().connection_count("history", &turned_away)
}

async fn keeps_trying(lab: &Lab) -> Outcome {
    let expected = "history tries to connect again and again while there is no broker";
    let why = "services are started in any order, and brokers are restarted";
    lab.eventually(expected, why, async || {
        let tries = tries(lab);
        Ok(Seen::when(tries >= 2, || format!("{tries} tries")))
    })
    .await
}

fn pauses_between_tries(lab: &Lab) -> Outcome {
    let tries = tries(lab);
    expect(tries < 40)
        .or(
            "a few tries in that time, with longer and longer pauses",
            format!("{tries} tries"),
        )
        .because("a starting broker must not be flooded with connection attempts")
}

pub async fn silent_broker(lab: Lab) -> Outcome {
    let sessions = lab.service("session-management").await?;
    sessions.tap().turn_away();
    sessions.start().await?;
    let (given_up, stopped) = tokio::join!(leaves_nothing(&lab), stops_while_it_waits(&lab));
    given_up?;
    // By now this one has tried many times: it must never give up.
    sessions.tap().restore();
    stopped?;
    lab.consumers(USERS, 1).await
}

async fn leaves_nothing(lab: &Lab) -> Outcome {
    let silent = SilentBroker::listen().await?;
    let history = lab.service("history").await?;
    let history = history.with("AMQP_URL", silent.url());
    history.start().await?;
    silent.leaves_nothing(lab, &history, (1, PATIENCE)).await
}

/// Another `history` ends on SIGTERM while it waits for the broker's answer.
async fn stops_while_it_waits(lab: &Lab) -> Outcome {
    let silent = SilentBroker::listen().await?;
    let other = lab.instance("history-2", &["history"]).await?;
    let other = other.with("AMQP_URL", silent.url());
    other.start().await?;
    silent.connects(lab, &other, (1, PATIENCE)).await?;
    stops_while_connecting(lab, &other).await
}

/// How long a service may take to end while it connects: for one attempt and a pause.
const ONE_ATTEMPT: Duration = Duration::from_millis(3500);

/// A service that waits for its broker ends on SIGTERM, too.
pub async fn stops_while_connecting(lab: &Lab, service: &Service) -> Outcome {
    service.terminate()?;
    let name = service.name();
    let seconds = ONE_ATTEMPT.as_secs_f32();
    let expected = format!("{name}, which has no broker, ends within {seconds} s of SIGTERM");
    let why = "an operator kills a service that does not stop";
    lab.eventually_within(ONE_ATTEMPT, &expected, why, async || {
        let ended = service.exit().is_some();
        Ok(Seen::when(ended, || format!("{name} still runs")))
    })
    .await?;
    service.stopped_well().await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = watch_all(&lab, &streaming, 5).await?;
    // When the broker dies, some messages are unacked, others ready.
    let locked = history.lock_database()?;
    promised.extend(watch_all(&lab, &streaming, 5).await?);
    let users = lab.start("user-management").await?;
    let names = ["Ada", "Grace", "Edsger"];
    let saved = save_all(&lab, &users, &names).await?;
    lab.kill_broker().await?;
    drop(locked);
    lab.broker_is_back().await?;

    promised.push(publishes_again(&lab, &streaming).await?);
    lab.consumers(VIEWED, 1).await?;
    let expected = "all views that were answered with 200 are recorded after the restart";
    all_recorded(&lab, &history, expected, &promised).await?;
    let sessions = lab.start("session-management").await?;
    let expected = "3 users that were ready in queue `users` are still there after the restart";
    all_known(&lab, &sessions, expected, &names, &saved).await
}

/// Waits until a view is answered with success, and returns its id.
async fn publishes_again(lab: &Lab, streaming: &Service) -> Outcome<String> {
    let expected = "video-streaming publishes again after the restart";
    let why = "each upgrade restarts the broker; services must not need a restart, too";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let answer = streaming.get("/video").await?;
        Ok(Seen::some(watched(&answer), || answer.summary()))
    })
    .await
}
