//! What workers must be able to take.

use kit::check::{Lab, Outcome, PATIENCE, Seen, fail, fate};
use kit::guard::Exit;
use kit::wiretap::Side;
use lapin::BasicProperties;
use lapin::types::AMQPValue;

use super::jobs::{DEAD, MESSAGES, acked, all_done, done, hired, in_hand, send, share, worker};

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
            let acks = lab.journal().methods("ada", "basic.ack");
            let told = fate(lab.journal(), &ids[0]).observed;
            fail("no ack while the row cannot be committed", told)
                .because("an ack tells the broker to forget: the work must be done by then")
                .unless(acks.is_empty())?;
            let gone = lab.journal().disconnected("ada")
                || !lab.journal().methods("ada", "basic.nack").is_empty();
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
    fail("all 3 by grace", format!("{by_grace} by her"))
        .because("a row of ada's would be the trace of a job that she never finished")
        .unless(by_grace == 3)?;
    for id in &ids {
        let marked = lab
            .journal()
            .delivery("grace", id)
            .is_some_and(|frame| frame.flag("redelivered"));
        fail("each is marked redelivered (basic.deliver)", "one is not")
            .because("it says: somebody had this before, and may have done a part of it")
            .unless(marked)?;
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
    ada.tap().cut_before(Side::Client, "basic.ack");
    ids.extend(send(&lab, "producer-2", 1, ".").await?);
    let id = ids[1].clone();
    let why = "who has lost the broker has to find it again by itself";
    lab.eventually_within(
        PATIENCE,
        "the job whose ack was lost comes again, and is acked",
        why,
        async || {
            let settled = ada.tap().sprung() && lab.journal().deliveries("ada", &id) > 1;
            let settled = settled && lab.journal().acked("ada", &id);
            Ok(Seen::when(settled, || fate(lab.journal(), &id).observed))
        },
    )
    .await?;
    let rows = done(&ada)?;
    fail("2 jobs, 2 rows", format!("{} rows", rows.len()))
        .because(
            "delivered at least once: the second time must make no difference, by the job's id",
        )
        .unless(rows.len() == 2)?;
    let expected = "2 jobs, 2 rows under the jobs' ids";
    all_done(&lab, &ada, expected, &ids).await?;
    Ok(())
}

pub async fn given_up(lab: Lab) -> Outcome {
    let ada = hired(&lab, "ada", 10, 1).await?;
    let bad = send(&lab, "bad", 1, "!").await?;
    let unread = BasicProperties::default().with_message_id("no-text".into());
    lab.publish(MESSAGES, [(b"\xff\xfe".as_slice(), unread)])
        .await?;
    let good = send(&lab, "good", 5, ".").await?;
    let endless = |id: &str| lab.journal().deliveries("ada", id) > 10;
    let why = "a job that fails for ever must not keep the workers busy for ever";
    lab.eventually(
        "a failing job is given up after a few tries",
        why,
        async || {
            let tries = lab.journal().deliveries("ada", &bad[0]);
            fail(
                "at most 10 tries of a job that always fails",
                format!("{tries} and going on"),
            )
            .because(why)
            .unless(!endless(&bad[0]) && !endless("no-text"))?;
            let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
            Ok(Seen::when(dead == 2, || {
                format!("{tries} tries, {dead} of 2 in `{DEAD}`")
            }))
        },
    )
    .await?;
    all_done(
        &lab,
        &ada,
        "5 good jobs behind two bad ones are done",
        &good,
    )
    .await?;
    let tries = lab.journal().deliveries("ada", &bad[0]);
    fail("more than one try", format!("{tries}"))
        .because("much of what fails now works a moment later")
        .unless(tries > 1)?;
    for message in lab.take(DEAD).await? {
        let id = message
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string);
        let headers = message.properties.headers().as_ref();
        let reason = match headers.and_then(|headers| headers.inner().get("reason")) {
            Some(AMQPValue::LongString(text)) => text.to_string(),
            _ => String::new(),
        };
        let expected = match id.as_deref() {
            Some("no-text") => "not text",
            _ => "a ! in it",
        };
        fail(
            format!("a header `reason` that says `…{expected}…`, on a message with its id"),
            format!("reason {reason:?}, message_id {id:?}"),
        )
        .because("whoever finds it in the morning has to see what it is and why it is there")
        .unless(reason.contains(expected) && id.is_some())?;
    }
    Ok(())
}

pub async fn parked_in_time(lab: Lab) -> Outcome {
    let ada = hired(&lab, "ada", 10, 1).await?;
    // The failed job on its way back to the queue gets lost, twice.
    for _ in 0..2 {
        ada.tap().cut_before(Side::Client, "basic.publish");
    }
    let bad = send(&lab, "producer", 1, "!").await?;
    let why = "acked first and published afterwards, it is lost with whatever happens in between";
    let expected = "a job that failed ends in `messages.dead`, whatever the network does";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let dead = lab.queue(DEAD).await?.map_or(0, |queue| queue.ready);
        let there = dead > 0 && ada.tap().sprung();
        let queue = lab
            .queue(MESSAGES)
            .await?
            .map_or(0, |queue| queue.ready + queue.unacked);
        fail(expected, "it is in no queue any more, and no worker has it")
            .because(why)
            .unless(there || queue > 0 || dead > 0 || !lab.journal().acked("ada", &bad[0]))?;
        Ok(Seen::when(there, || {
            format!("{dead} in `{DEAD}`, {queue} in `{MESSAGES}`")
        }))
    })
    .await
}

pub async fn sigterm(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 700, &["--prefetch", "3"]).await?;
    ada.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let ids = send(&lab, "producer", 3, ".").await?;
    ada.says("is in hand").await?;
    in_hand(&lab, "ada", 3).await?;
    let exit = ada.stop().await?;
    fail("exit code 0", exit.to_string())
        .because("whoever stopped it takes anything else for a crash")
        .unless(exit == Exit::Code(0))?;
    let rows = done(&ada)?;
    fail(
        "the job in hand is done, the two behind it are left to others",
        format!("ada did {} of 3", share(&rows, "ada")),
    )
    .because("each deployment stops all workers: a job half done is work thrown away")
    .unless(share(&rows, "ada") == 1)?;
    let why = "what a process has sent before it ended still arrives";
    lab.eventually(
        "the job in hand is acked before ada ends",
        why,
        async || {
            let told = fate(lab.journal(), &ids[0]).observed;
            Ok(Seen::when(lab.journal().acked("ada", &ids[0]), || told))
        },
    )
    .await?;
    let grace = hired(&lab, "grace", 5, 1).await?;
    let rows = all_done(&lab, &grace, "the other two are done by grace", &ids).await?;
    fail("2 by grace", format!("{}", share(&rows, "grace")))
        .because("what ada gave back unbegun is as good as new")
        .unless(share(&rows, "grace") == 2)
}
