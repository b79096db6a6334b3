//! What becomes of a job when the worker, its link or its database fails.

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect, fate};

use super::jobs::{acked, all_done, consumes, done, send, share, start_worker, worker};

pub async fn effect_before_ack(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 0, &[]).await?;
    let ada = ada.with("DATABASE_TIMEOUT_MS", 300);
    consumes(&lab, &ada, 1).await?;
    let locked = ada.lock_database()?;
    let ids = send(&lab, "producer", 1, ".").await?;
    lab.delivered("ada", 1).await?;
    released_unacked(&lab, &ids[0]).await?;
    drop(locked);
    let expected = "the job is done once the database can be written again";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

/// Waits until ada, who cannot commit the job's row, leaves the job to the broker.
async fn released_unacked(lab: &Lab, id: &str) -> Outcome {
    let expected = "ada cannot commit, and requeues the job or closes the channel";
    let why = "a worker that cannot finish a job must leave it to the broker: `finish` returns the \
               error, and the loop that calls it passes the error on to `keep`";
    lab.eventually(expected, why, async || {
        let sent = |method| {
            let frames = lab.journal().methods("ada", method);
            frames.iter().any(|frame| frame.from == Side::Client)
        };
        expect(!sent(Method::BasicAck))
            .or(
                "no ack while the row cannot be committed",
                fate(lab.journal(), id).observed,
            )
            .because("an ack tells the broker to forget: the work must be done by then")?;
        let ways = [Method::BasicNack, Method::BasicReject, Method::ChannelClose];
        let released = lab.journal().disconnected("ada") || ways.into_iter().any(sent);
        Ok(Seen::when(released, || "it keeps it unacked".to_owned()))
    })
    .await
}

pub async fn killed_worker(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 60_000, &["--prefetch", "3"]).await?;
    consumes(&lab, &ada, 1).await?;
    let ids = send(&lab, "producer", 3, ".").await?;
    lab.delivered("ada", 3).await?;
    ada.kill().await?;
    let grace = start_worker(&lab, "grace", 5, 1).await?;
    let expected = "3 jobs that ada had unacked when she was killed are done";
    let rows = all_done(&lab, &grace, expected, &ids).await?;
    let by_grace = share(&rows, "grace");
    expect(by_grace == 3)
        .or("all 3 by grace", format!("{by_grace} by her"))
        .because("a row of ada's would stand for a job that she never finished")?;
    let marked = |id: &String| {
        let delivery = lab.journal().delivery("grace", id);
        delivery.is_some_and(|frame| frame.flag("redelivered"))
    };
    expect(ids.iter().all(marked))
        .or("each is marked redelivered (basic.deliver)", "one is not")
        .because("`redelivered` warns that another worker may have done a part of the job")
}

pub async fn link_cut(lab: Lab) -> Outcome {
    let ada = start_worker(&lab, "ada", 300, 1).await?;
    let mut ids = send(&lab, "producer", 1, ".").await?;
    lab.delivered("ada", 1).await?;
    ada.tap().cut();
    let expected = "a job whose link was cut in the middle is done";
    all_done(&lab, &ada, expected, &ids).await?;
    acked(&lab, "ada", &ids[0]).await?;

    // This time the row is committed, and the ack gets lost.
    ada.tap().cut_before(Side::Client, Method::BasicAck);
    ids.extend(send(&lab, "producer-2", 1, ".").await?);
    redelivered_and_acked(&lab, &ada, &ids[1]).await?;
    let rows = done(&ada)?;
    expect(rows.len() == 2)
        .or("2 jobs, 2 rows", format!("{} rows", rows.len()))
        .because("delivery is at least once: a job's id makes the second time harmless")?;
    let expected = "2 jobs, 2 rows under the jobs' ids";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

/// Waits until ada gets the job whose ack was lost again, and acks it.
async fn redelivered_and_acked(lab: &Lab, ada: &Service, id: &str) -> Outcome {
    let expected = "the job whose ack was lost is redelivered and acked";
    let why = "a worker that loses the broker must connect again by itself";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let times = lab.journal().deliveries("ada", id);
        let acked = lab.journal().acked("ada", id);
        let fate = fate(lab.journal(), id).observed;
        let told = format!("delivered {times} times; {fate}");
        expect(acked || times < 6)
            .or(
                "an ack for the redelivered job, which is done already",
                &told,
            )
            .because("a job that is done needs no second effect, but its ack")?;
        let over = ada.tap().sprung() && times > 1 && acked;
        Ok(Seen::when(over, || told))
    })
    .await
}
