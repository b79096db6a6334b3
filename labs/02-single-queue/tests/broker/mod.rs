//! What both sides must be able to take of the broker.

use check::wiretap::ConnectionEvent;
use check::{Lab, Outcome, PATIENCE, Seen, SilentBroker, expect};

use super::flixtube::{VIEWED, all_known, all_recorded, consuming_history, save, watch, watch_all};

pub async fn late_broker(lab: Lab) -> Outcome {
    let (history, streaming) = (
        lab.service("history").await?,
        lab.service("video-streaming").await?,
    );
    for service in [&history, &streaming] {
        service.tap().refuse();
        service.start().await?;
    }
    history.tap().turn_away();
    lab.eventually(
        "history tries again and again while there is no broker",
        "services are started in any order, and brokers are restarted",
        async || {
            let tries = lab
                .journal()
                .connection_count("history", &ConnectionEvent::TurnedAway);
            Ok(Seen::when(tries >= 2, || format!("{tries} tries")))
        },
    )
    .await?;
    let early = streaming.get("/video").await?;
    expect(early.status == 503)
        .or("GET /video without a broker answers 503", early.summary())
        .because("a success promises that the view will be recorded")?;
    let tries = lab
        .journal()
        .connection_count("history", &ConnectionEvent::TurnedAway);
    expect(tries < 40)
        .or(
            "a few tries in that time, with longer and longer pauses",
            format!("{tries} tries"),
        )
        .because("a broker that starts has other things to do than to turn away a storm")?;
    for service in [&history, &streaming] {
        service.tap().restore();
    }
    lab.consumers(VIEWED, 1).await?;
    let id = watch(&streaming).await?;
    let expected = "a view is recorded once the broker is there";
    all_recorded(&lab, &history, expected, &[id]).await?;
    Ok(())
}

pub async fn silent_broker(lab: Lab) -> Outcome {
    let silent = SilentBroker::listen().await?;
    let history = lab.service("history").await?;
    let history = history.with("AMQP_URL", silent.url());
    history.start().await?;
    silent.leaves_nothing(&lab, &history, 1).await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    let history = consuming_history(&lab).await?;
    let streaming = lab.start("video-streaming").await?;
    let mut promised = watch_all(&streaming, 5).await?;
    // Some messages are in hand when the broker dies, others wait in a queue.
    let locked = history.lock_database()?;
    promised.extend(watch_all(&streaming, 5).await?);
    let users = lab.start("user-management").await?;
    let names = ["Ada", "Grace", "Edsger"];
    let mut saved = Vec::new();
    for name in names {
        saved.push(save(&users, name).await?);
    }
    lab.kill_broker().await?;
    drop(locked);
    lab.broker_is_back().await?;
    lab.eventually_within(
        PATIENCE,
        "video-streaming publishes again after the restart",
        "a broker is restarted for each upgrade; nobody wants to restart all services then",
        async || {
            let answer = streaming.get("/video").await?;
            if answer.ok() {
                promised.extend(answer.view_id.clone());
            }
            Ok(Seen::when(answer.ok(), || answer.summary()))
        },
    )
    .await?;
    lab.consumers(VIEWED, 1).await?;
    let expected = "all views that were answered with 200 are recorded after the restart";
    all_recorded(&lab, &history, expected, &promised).await?;
    let sessions = lab.start("session-management").await?;
    let expected = "3 users who waited in queue `users` are still there after the restart";
    all_known(&lab, &sessions, expected, &names, &saved).await
}
