//! Many workers, one queue.

use std::time::Duration;

use check::wiretap::{Method, Side};
use check::{Lab, Outcome, Seen, Span, expect, fail};

use super::jobs::{
    MESSAGES, all_done, at_hole, done, hired, in_hand, job, send, share, some_done, worker,
};

pub async fn prefetch(lab: Lab) -> Outcome {
    send(&lab, "producer", 30, ".").await?;
    for (name, limit) in [("single", 1), ("seven", 7)] {
        let number = limit.to_string();
        let worker = worker(&lab, name, 30_000, &["--prefetch", &number]).await?;
        worker.launch().await?;
        in_hand(&lab, name, 1).await?;
        let asked = lab.journal().prefetch(name);
        expect(asked == Some(limit))
            .or(
                format!(
                    "basic.qos with prefetch {limit}, as --prefetch says, before basic.consume"
                ),
                asked.map_or("no basic.qos before it".to_owned(), |n| {
                    format!("prefetch {n}")
                }),
            )
            .because(
                "it holds for the subscriptions that come after it; without it there is no limit",
            )?;
        let limit = limit as usize;
        in_hand(&lab, name, limit).await?;
        let most = lab.journal().most_unacked(name);
        expect(most == limit)
            .or(
                format!("{name} has {limit} in hand at most"),
                format!("{most} at once"),
            )
            .because("what one worker holds, no other one can do")?;
        worker.kill().await?;
    }
    Ok(())
}

pub async fn fair_dispatch(lab: Lab) -> Outcome {
    let fast = hired(&lab, "fast", 30, 1).await?;
    hired(&lab, "slow", 300, 2).await?;
    let ids = send(&lab, "producer", 33, ".").await?;
    let rows = all_done(&lab, &fast, "all 33 jobs done", &ids).await?;
    let (by_fast, by_slow) = (share(&rows, "fast"), share(&rows, "slow"));
    expect(by_fast > 2 * by_slow && by_slow > 0)
.or("a worker ten times as fast does most of 33 jobs", format!("fast did {by_fast}, slow {by_slow}"))
.because("the broker hands jobs round in turn, whoever is busy, unless a prefetch says otherwise",)?;
    for name in ["fast", "slow"] {
        let most = lab.journal().most_unacked(name);
        expect(most == 1)
            .or(
                format!("{name} has 1 job in hand at most"),
                format!("{most} at once"),
            )
            .because("a job in a busy worker's hand waits, while another worker is idle")?;
    }
    Ok(())
}

pub async fn shared(lab: Lab) -> Outcome {
    let ada = hired(&lab, "ada", 5, 1).await?;
    hired(&lab, "grace", 5, 2).await?;
    hired(&lab, "edsger", 5, 3).await?;
    let ids = send(&lab, "producer", 60, ".").await?;
    let rows = all_done(&lab, &ada, "60 jobs done, each once", &ids).await?;
    for name in ["ada", "grace", "edsger"] {
        let part = share(&rows, name);
        expect(part >= 5)
            .or(
                "each of three equal workers does its part",
                format!("{name} did {part} of 60"),
            )
            .because("one queue shares its messages among all who consume from it")?;
    }
    let why = "a job that is not acked is done once more, by somebody else";
    lab.eventually(
        "60 jobs acked, and queue `messages` empty",
        why,
        async || {
            let acked = |id: &String| {
                let by = |name: &&str| lab.journal().acked(name, id);
                ["ada", "grace", "edsger"].iter().any(by)
            };
            let acked = ids.iter().filter(|id| acked(id)).count();
            let left = lab
                .queue(MESSAGES)
                .await?
                .map_or(0, |queue| queue.ready + queue.unacked);
            Ok(Seen::when(acked == 60 && left == 0, || {
                format!("{acked} acked, {left} left in the queue")
            }))
        },
    )
    .await?;

    // Some clients send an empty id where they have none.
    lab.publish(MESSAGES, [job("", "."), job("", ".")]).await?;
    let expected = "two jobs with an empty message_id are done, as jobs without an id are";
    let why = "an empty id names nothing: the second job would pass for the first one";
    lab.eventually(expected, why, async || {
        let rows = done(&ada)?.len();
        Ok(Seen::when(rows == 62, || {
            format!("{} of 2 done", rows - 60)
        }))
    })
    .await
}

pub async fn speedup(lab: Lab) -> Outcome {
    const WORK: Duration = Duration::from_millis(50);
    let one = hired(&lab, "one", 50, 1).await?;
    let ids = send(&lab, "producer", 40, ".").await?;
    all_done(&lab, &one, "40 jobs done by one worker", &ids).await?;
    let alone = working(&lab, &["one"]);
    one.kill().await?;
    let four = ["first", "second", "third", "fourth"];
    for (name, of) in four.iter().zip(1..) {
        hired(&lab, name, 50, of).await?;
    }
    let ids = send(&lab, "producer-2", 40, ".").await?;
    all_done(&lab, &one, "40 jobs done by four workers", &ids).await?;
    let together = working(&lab, &four);
    let told = [&alone, &together].map(|span| span.elapsed().as_secs_f64());
    let failure = fail(
        "four workers do 40 jobs in about a quarter of one worker's time (at most 0.6 of it)",
        format!("{:.2} s alone, {:.2} s together", told[0], told[1]),
    )
    .because("more workers are of use only when the queue shares the jobs evenly among them");
    let alone = alone.took().max(40 * WORK);
    together.at_most(alone.mul_f64(0.6), failure)
}

/// From the first delivery to any of these workers to the last ack of any.
fn working(lab: &Lab, workers: &[&str]) -> Span {
    let times = lab.journal().times(|frame| {
        workers.contains(&frame.service.as_str())
            && matches!(frame.method, Method::BasicDeliver | Method::BasicAck)
    });
    lab.between(
        *times.first().unwrap_or(&0.0),
        *times.last().unwrap_or(&0.0),
    )
}

pub async fn batches(lab: Lab) -> Outcome {
    let mut ids = send(&lab, "producer", 200, "").await?;
    let worker = worker(&lab, "worker", 0, &["--prefetch", "50", "--batch", "50"]).await?;
    worker.launch().await?;
    all_done(&lab, &worker, "200 small jobs done", &ids).await?;
    let acks = || {
        let by_worker = lab.journal().methods("worker", Method::BasicAck);
        let acks = by_worker.iter().filter(|frame| frame.from == Side::Client);
        acks.count()
    };
    let why = "what is done and not acked comes again, and fills the prefetch until then";
    let expected = "each of 200 jobs is acked, alone or with others (multiple)";
    let acked = lab.eventually(expected, why, async || {
        let queue = lab.queue(MESSAGES).await?;
        let open = queue.map_or(0, |queue| queue.ready + queue.unacked);
        Ok(Seen::when(open == 0, || {
            format!("{} acks, {open} jobs left unacked", acks())
        }))
    });
    at_hole(&lab, 3, acked.await)?;
    let acks = acks();
    expect(acks <= 100)
.or("with --batch 50, far fewer acks than jobs", format!("{acks} acks for 200 jobs"))
.because("each commit and each ack costs a wait: take together what is here, then commit and ack it together")?;
    // A batch is what is here, not what may come.
    ids.extend(send(&lab, "producer-2", 1, "").await?);
    let expected = "a single job is done without waiting for 49 others";
    at_hole(&lab, 5, all_done(&lab, &worker, expected, &ids).await)?;
    Ok(())
}

pub async fn joins_and_leaves(lab: Lab) -> Outcome {
    let first = hired(&lab, "first", 20, 1).await?;
    let arguments = ["producer", "--rate", "100", "--count", "80", "--text", "."];
    let producer = lab.instance("producer", &arguments).await?;
    producer.begin().await?;
    some_done(&lab, &first, 5).await?;
    hired(&lab, "second", 20, 2).await?;
    some_done(&lab, &first, 20).await?;
    first.stop().await?;
    hired(&lab, "third", 20, 2).await?;
    producer.finished().await?;
    let ids = super::jobs::published(&lab, "producer");
    all_done(
        &lab,
        &first,
        "all 80 jobs done while workers come and go",
        &ids,
    )
    .await?;
    let rows = done(&first)?;
    for name in ["first", "second", "third"] {
        expect(share(&rows, name) > 0)
            .or(
                "each worker does jobs while it is there",
                format!("{name} did none"),
            )
            .because("a queue asks nobody for leave: who consumes gets its share from then on")?;
    }
    Ok(())
}
