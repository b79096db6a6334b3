//! How workers and producers end, and how a worker goes on without its queue.

use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Service, expect};
use tokio::time::sleep;

use super::jobs::{
    CONFIRMED, MESSAGES, acked, all_done, answered, at_hole, consumes, done, job, send, share,
    some_done, start_worker, stops, worker,
};

pub async fn sigterm(lab: Lab) -> Outcome {
    rest_of_batch_requeued(&lab).await?;
    endless_producer_stops(&lab).await?;
    idle_worker_stops(&lab).await
}

/// How many jobs ada gets before SIGTERM. One after the other they take far longer than she has to
/// stop.
const JOBS: usize = 16;

async fn rest_of_batch_requeued(lab: &Lab) -> Outcome {
    let number = JOBS.to_string();
    let room = ["--prefetch", &number, "--batch", &number];
    let ada = worker(lab, "ada", 200, &room).await?;
    consumes(lab, &ada, 1).await?;
    let ids: Vec<String> = (1..=JOBS).map(|number| format!("job-{number}")).collect();
    lab.publish(MESSAGES, [job(&ids[0], ".")]).await?;
    lab.delivered("ada", 1).await?;
    // The jobs that arrive while ada works on the first one are her next batch: SIGTERM comes
    // in the middle of it.
    let batch = ids[1..].iter().map(|id| job(id, "...."));
    lab.publish(MESSAGES, batch).await?;
    lab.delivered("ada", JOBS).await?;
    second_begun(lab, &ada, &ids).await?;
    stops(lab, &ada).await?;
    let by_ada = share(&done(&ada)?, "ada");
    expect(by_ada >= 2)
        .or(
            format!("ada finishes the job that she works on: she does 2 of {JOBS}, or more"),
            format!("ada did {by_ada} of {JOBS}"),
        )
        .because(
            "each deployment stops all workers: a job that is only half done is wasted work",
        )?;
    // The ack may arrive after ada's end.
    acked(lab, "ada", &ids[1]).await?;
    others_by_grace(lab, &ids, JOBS - by_ada).await
}

/// Waits until ada works on the second job: until she says so, as the given code does, or else
/// for a while after the first one is done. She is far from done then.
async fn second_begun(lab: &Lab, ada: &Service, ids: &[String]) -> Outcome {
    some_done(lab, ada, 1).await?;
    let span = lab.span();
    let begun = format!("{} begun", ids[1]);
    while !ada.output().contains(&begun) && !span.exceeds(Duration::from_millis(300)) {
        lab.all_well()?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

async fn others_by_grace(lab: &Lab, ids: &[String], left: usize) -> Outcome {
    let grace = start_worker(lab, "grace", 2, 1).await?;
    let expected = format!("the other {left} are done by grace");
    let rows = at_hole(lab, 6, all_done(lab, &grace, &expected, ids).await)?;
    let by_grace = share(&rows, "grace");
    expect(by_grace == left)
        .or(&expected, format!("{by_grace} by grace"))
        .because("a job that ada began is finished; a job that she did not begin is requeued")?;
    grace.kill().await
}

async fn endless_producer_stops(lab: &Lab) -> Outcome {
    let endless = lab.instance("endless", &["producer"]).await?;
    endless.launch().await?;
    let expected = "a producer without --count publishes, and the broker confirms";
    lab.eventually(expected, CONFIRMED, async || {
        let confirms = lab.journal().methods("endless", Method::BasicAck);
        Ok(Seen::when(!confirms.is_empty(), || {
            "no job of `endless` is confirmed".to_owned()
        }))
    })
    .await?;
    endless.stops_well().await
}

/// The broker no longer answers, not even when the worker closes the connection.
async fn idle_worker_stops(lab: &Lab) -> Outcome {
    let idle = start_worker(lab, "idle", 5, 1).await?;
    // After this job it waits for the next one.
    lab.publish(MESSAGES, [job("last", "")]).await?;
    acked(lab, "idle", "last").await?;
    idle.tap().black_hole(Side::Server);
    stops(lab, &idle).await
}

pub async fn queue_deleted(lab: Lab) -> Outcome {
    let ada = start_worker(&lab, "ada", 5, 1).await?;
    lab.delete_queue(MESSAGES).await?;
    answered(&lab, "ada", Method::BasicCancel, CANCELLED).await?;
    let expected = "ada declares `messages` and consumes again";
    lab.eventually(expected, CANCELLED, async || {
        let queue = lab.queue(MESSAGES).await?;
        let consumers = queue.and_then(|queue| queue.consumers).unwrap_or(0);
        Ok(Seen::when(consumers == 1, || {
            format!("the broker cancelled her (basic.cancel); now {consumers} consumer(s)")
        }))
    })
    .await?;
    let ids = send(&lab, "producer", 1, ".").await?;
    let expected = "a job published after that is done";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

/// Why a worker must hear of its subscription's end.
const CANCELLED: &str = "a worker whose subscription has ended does nothing, and logs no error";
