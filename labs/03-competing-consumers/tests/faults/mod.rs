//! What workers must be able to take.

use check::Exit;
use check::wiretap::{Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, expect, fate, short};
use lapin::BasicProperties;
use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;

use super::jobs::{
    DEAD, MESSAGES, acked, all_done, at_hole, done, hired, in_hand, job, send, share, worker,
};

pub async fn effect_before_ack(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 0, &[]).await?;
    let ada = ada.with("DATABASE_TIMEOUT_MS", 300);
    ada.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let locked = ada.lock_database()?;
    let ids = send(&lab, "producer", 1, ".").await?;
    in_hand(&lab, "ada", 1).await?;
    let why = "a worker that cannot finish a job must leave it to the broker";
    lab.eventually(
        "ada cannot commit, and lets go of the job",
        why,
        async || {
            let acks = lab.journal().methods("ada", Method::BasicAck);
            let told = fate(lab.journal(), &ids[0]).observed;
            expect(acks.is_empty())
                .or("no ack while the row cannot be committed", told)
                .because("an ack tells the broker to forget: the work must be done by then")?;
            let gone = lab.journal().disconnected("ada")
                || !lab.journal().methods("ada", Method::BasicNack).is_empty();
            Ok(Seen::when(gone, || "it keeps it".to_owned()))
        },
    )
    .await?;
    drop(locked);
    let expected = "the job is done once the database can be written again";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

pub async fn killed_worker(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 60_000, &["--prefetch", "3"]).await?;
    ada.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let ids = send(&lab, "producer", 3, ".").await?;
    in_hand(&lab, "ada", 3).await?;
    ada.kill().await?;
    let grace = hired(&lab, "grace", 5, 1).await?;
    let expected = "3 jobs that ada had in hand are done after she was killed";
    let rows = all_done(&lab, &grace, expected, &ids).await?;
    let by_grace = share(&rows, "grace");
    expect(by_grace == 3)
        .or("all 3 by grace", format!("{by_grace} by her"))
        .because("a row of ada's would be the trace of a job that she never finished")?;
    for id in &ids {
        let marked = lab
            .journal()
            .delivery("grace", id)
            .is_some_and(|frame| frame.flag("redelivered"));
        expect(marked)
            .or("each is marked redelivered (basic.deliver)", "one is not")
            .because("it says: somebody had this before, and may have done a part of it")?;
    }
    Ok(())
}

pub async fn link_cut(lab: Lab) -> Outcome {
    let ada = hired(&lab, "ada", 300, 1).await?;
    let mut ids = send(&lab, "producer", 1, ".").await?;
    in_hand(&lab, "ada", 1).await?;
    ada.tap().cut();
    let expected = "a job whose link was cut in the middle is done";
    all_done(&lab, &ada, expected, &ids).await?;
    acked(&lab, "ada", &ids[0]).await?;

    // Now the row is committed and the ack gets lost.
    ada.tap().cut_before(Side::Client, Method::BasicAck);
    ids.extend(send(&lab, "producer-2", 1, ".").await?);
    let id = ids[1].clone();
    let why = "who has lost the broker has to find it again by itself";
    lab.eventually_within(
        PATIENCE,
        "the job whose ack was lost comes again, and is acked",
        why,
        async || {
            let times = lab.journal().deliveries("ada", &id);
            let settled = lab.journal().acked("ada", &id);
            let told = || {
                format!(
                    "delivered {times} times; {}",
                    fate(lab.journal(), &id).observed
                )
            };
            let expected = "one ack more, for what is done already";
            expect(settled || times < 6)
                .or(expected, told())
                .because(why)?;
            Ok(Seen::when(ada.tap().sprung() && times > 1 && settled, told))
        },
    )
    .await?;
    let rows = done(&ada)?;
    expect(rows.len() == 2)
        .or("2 jobs, 2 rows", format!("{} rows", rows.len()))
        .because(
            "delivered at least once: the second time must make no difference, by the job's id",
        )?;
    let expected = "2 jobs, 2 rows under the jobs' ids";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

pub async fn given_up(lab: Lab) -> Outcome {
    // Ada is killed with the bad job in hand: a delivery, but not a try that failed.
    let ada = hired(&lab, "ada", 60_000, 1).await?;
    let bad = send(&lab, "bad", 1, ".!").await?;
    in_hand(&lab, "ada", 1).await?;
    ada.kill().await?;
    let unread = BasicProperties::default().with_message_id("no-text".into());
    lab.publish(MESSAGES, [(b"\xff\xfe".as_slice(), unread)])
        .await?;
    let good = send(&lab, "good", 5, ".").await?;
    let grace = hired(&lab, "grace", 10, 1).await?;
    let tries = |id: &str| lab.journal().deliveries("grace", id);
    let expected = "two failing jobs are given up after a few tries, and are in `messages.dead`";
    let why = "a job that fails for ever must not keep the workers busy for ever";
    lab.eventually(expected, why, async || {
        let most = tries(&bad[0]).max(tries("no-text"));
        expect(most <= 10)
            .or(expected, format!("{most} tries of one, and going on"))
            .because(why)?;
        let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
        Ok(Seen::when(dead == 2, || {
            let told = fate(lab.journal(), &bad[0]).observed;
            format!("{dead} in `{DEAD}`; {told}")
        }))
    })
    .await?;
    let expected = "5 good jobs behind two bad ones are done";
    all_done(&lab, &grace, expected, &good).await?;
    let dead = lab.take(DEAD).await?;
    for (id, reason) in [(bad[0].as_str(), "a ! in it"), ("no-text", "not text")] {
        let told: Vec<String> = dead.iter().map(told).collect();
        let found = |told: &String| told.starts_with(&short(id)) && told.contains(reason);
        expect(told.iter().any(found))
            .or(
                format!(
                    "job {} in `{DEAD}` under its own id, with a header `reason`: `…{reason}…`",
                    short(id)
                ),
                told.join(" and "),
            )
            .because("whoever finds it in the morning has to see what it is and why it is there")?;
    }
    expect(tries(&bad[0]) > 1)
        .or(
            "grace tries a failing job more than once before she gives it up",
            "once; ada had it before, but was killed before it failed",
        )
        .because(
            "much of what fails now works a moment later; `redelivered` counts no failed tries",
        )
}

/// A dead job's id and the reason in its headers.
fn told(message: &BasicGetMessage) -> String {
    let properties = &message.properties;
    let id = properties.message_id().as_ref();
    let id = id.map_or("one without id".to_owned(), |id| short(id.as_str()));
    let headers = properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("reason")) {
        Some(AMQPValue::LongString(text)) => format!("{id} with reason `{text}`"),
        _ => format!("{id} without a reason"),
    }
}

pub async fn parked_in_time(lab: Lab) -> Outcome {
    let ada = hired(&lab, "ada", 10, 1).await?;
    // The failed job on its way back to the queue gets lost, twice.
    for _ in 0..2 {
        ada.tap().cut_before(Side::Client, Method::BasicPublish);
    }
    let bad = send(&lab, "producer", 1, "!").await?;
    let why = "acked before its copy is published and confirmed, it is lost with the link";
    let expected = "a job that failed ends in `messages.dead`, whatever the network does";
    lab.eventually_within(PATIENCE, expected, why, async || {
        // In this order: it moves from the one to the other.
        let queue = lab
            .queue(MESSAGES)
            .await?
            .map_or(0, |queue| queue.ready + queue.unacked);
        let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
        let there = dead > 0 && ada.tap().sprung();
        let tries = lab.journal().deliveries("ada", &bad[0]);
        expect(queue > 0 || dead > 0 || !lab.journal().acked("ada", &bad[0]))
            .or(expected, "it is in no queue any more, and no worker has it")
            .because(why)?;
        let told = format!("{tries} tries; {dead} in `{DEAD}`, {queue} in `{MESSAGES}`");
        expect(tries <= 20)
            .or(expected, &told)
            .because("it goes round for ever")?;
        Ok(Seen::when(there, || told))
    })
    .await
}

pub async fn killed_in_batch(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 100, &["--prefetch", "10", "--batch", "10"]).await?;
    ada.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    lab.publish(MESSAGES, [job("first", "...")]).await?;
    in_hand(&lab, "ada", 1).await?;
    // What comes while ada is at the first job is her next batch.
    let batch = [
        job("second", "."),
        job("bad", "!"),
        job("third", &".".repeat(50)),
    ];
    lab.publish(MESSAGES, batch).await?;
    let expected = "ada acks the first job, and the bad one once it is published again";
    let why = "what failed is another message from then on";
    lab.eventually(expected, why, async || {
        let acks = lab.journal().methods("ada", Method::BasicAck);
        let acks = acks.iter().filter(|frame| frame.from == Side::Client);
        Ok(Seen::when(acks.count() >= 2, || {
            fate(lab.journal(), "bad").observed
        }))
    })
    .await?;
    ada.kill().await?;
    let grace = hired(&lab, "grace", 0, 1).await?;
    let ids = ["first", "second", "third"].map(str::to_owned);
    let expected = "what ada had done, but not committed yet when she was killed, is done again";
    // With one job at a time all went well: what is new is a failed one among others.
    at_hole(&lab, 4, all_done(&lab, &grace, expected, &ids).await)?;
    Ok(())
}

pub async fn sigterm(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 300, &["--prefetch", "4", "--batch", "4"]).await?;
    ada.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    lab.publish(MESSAGES, [job("first", ".")]).await?;
    ada.says("job first is in hand").await?;
    // What comes while ada is at the first job is her next batch: SIGTERM comes in that.
    let batch = ["second", "third", "fourth"].map(|id| job(id, ".."));
    lab.publish(MESSAGES, batch).await?;
    in_hand(&lab, "ada", 4).await?;
    ada.says("job second is in hand").await?;
    exits_in_order(&ada).await?;
    let rows = done(&ada)?;
    expect(share(&rows, "ada") == 2)
        .or(
            "the job in hand is done, the two behind it are left to others: ada does 2 of 4",
            format!("ada did {} of 4", share(&rows, "ada")),
        )
        .because("each deployment stops all workers: a job half done is work thrown away")?;
    // What a process has sent before it ended still arrives.
    acked(&lab, "ada", "second").await?;
    let ids = ["first", "second", "third", "fourth"].map(str::to_owned);
    let grace = hired(&lab, "grace", 5, 1).await?;
    let rows = all_done(&lab, &grace, "the other two are done by grace", &ids).await;
    let rows = at_hole(&lab, 6, rows)?;
    expect(share(&rows, "grace") == 2)
        .or("2 by grace", format!("{}", share(&rows, "grace")))
        .because("what ada gave back unbegun is as good as new")?;
    let endless = lab.instance("endless", &["producer"]).await?;
    endless.launch().await?;
    endless.says("confirmed").await?;
    exits_in_order(&endless).await?;
    let idle = hired(&lab, "idle", 5, 2).await?;
    idle.says("ready").await?;
    // A broker that has stopped answering takes the goodbye and gives none.
    idle.tap().black_hole(Side::Server);
    exits_in_order(&idle).await
}

async fn exits_in_order(worker: &Service) -> Outcome {
    let exit = worker.stop().await?;
    expect(exit == Exit::Code(0))
        .or(format!("{} ends with exit code 0", worker.name()), exit)
        .because("whoever stopped it takes anything else for a crash")
}
