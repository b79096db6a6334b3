//! How many workers share one queue.

use std::time::Duration;

use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, Seen, Service, Span, expect, fail, short};

use super::jobs::{
    MESSAGES, all_done, consumes, done, job, published, send, share, some_done, start_worker,
    stops, worker,
};

/// No worker finishes a job of so many milliseconds while a check runs.
const ENDLESS: u32 = 30_000;

pub async fn arrives(lab: Lab) -> Outcome {
    // Each has room for all jobs, one more than the other.
    for (name, of, room) in [("ada", 1, "4"), ("grace", 2, "8")] {
        let worker = worker(&lab, name, ENDLESS, &["--prefetch", room]).await?;
        consumes(&lab, &worker, of).await?;
        acks_by_hand(&lab, name)?;
    }
    let ids = send(&lab, "producer", 4, ".").await?;
    two_each(&lab).await?;
    for id in &ids {
        let [ada, grace] = ["ada", "grace"].map(|name| lab.journal().deliveries(name, id));
        expect(ada + grace == 1)
            .or(
                "each of 4 jobs is delivered once, to one of two workers",
                format!(
                    "{} went {ada} times to ada, {grace} times to grace",
                    short(id)
                ),
            )
            .because("a queue gives each message to one of its consumers")?;
    }
    Ok(())
}

/// Waits until both workers have two of four jobs.
async fn two_each(lab: &Lab) -> Outcome {
    let expected = "4 jobs arrive at two idle workers, two each";
    let why = "the broker delivers to the consumers of a queue in turn; one with a higher priority \
               (x-priority) gets each job that it has room for";
    lab.eventually(expected, why, async || {
        let [ada, grace] =
            ["ada", "grace"].map(|name| lab.journal().methods(name, Method::BasicDeliver).len());
        Ok(Seen::when(ada >= 2 && grace >= 2, || match ada + grace {
            4.. => format!("ada got {ada}, grace {grace}, and both had room for more"),
            _ => format!("ada got {ada}, grace {grace}"),
        }))
    })
    .await
}

/// The worker consumes so that the broker waits for its acks.
fn acks_by_hand(lab: &Lab, worker: &str) -> Outcome {
    let consumes = lab.journal().methods(worker, Method::BasicConsume);
    expect(!consumes.iter().any(|frame| frame.flag("no_ack")))
        .or(
            format!("{worker} consumes with acks by hand"),
            "basic.consume with no_ack",
        )
        .because("with no_ack the broker forgets a job as soon as it has sent it")
}

pub async fn prefetch(lab: Lab) -> Outcome {
    const WAITING: u64 = 30;
    send(&lab, "producer", WAITING as usize, ".").await?;
    for (name, limit) in [("single", 1_u64), ("seven", 7), ("thousand", 1000)] {
        let number = limit.to_string();
        let worker = worker(&lab, name, ENDLESS, &["--prefetch", &number]).await?;
        worker.launch().await?;
        lab.delivered(name, 1).await?;
        asks_for(&lab, name, limit)?;
        let room = limit.min(WAITING) as usize;
        let delivered = lab.delivered(name, room).await;
        none_acked(&lab)?;
        delivered?;
        let most = lab.journal().most_unacked(name);
        expect(most == room)
            .or(
                format!("{name} has at most {room} unacked"),
                format!("{most} at once"),
            )
            .because("no other worker can do a job that one worker holds unacked")?;
        worker.kill().await?;
    }
    Ok(())
}

/// No worker has acked a job: none can be done yet.
fn none_acked(lab: &Lab) -> Outcome {
    let early = |frame: &Frame| frame.from == Side::Client && frame.method == Method::BasicAck;
    let acks = lab.journal().frames(early);
    let by = acks.first().map_or("", |ack| &ack.service);
    expect(acks.is_empty())
        .or(
            "no job is acked before it is done, and each takes 30 s",
            format!("{by} acked one at once (basic.ack)"),
        )
        .hole(3)
        .proven()
        .because("an ack tells the broker to forget the job, and makes room for the next one")
}

/// The worker set this prefetch before it consumed.
fn asks_for(lab: &Lab, worker: &str, limit: u64) -> Outcome {
    let asked = lab.journal().prefetch(worker);
    expect(asked == Some(limit))
        .or(
            format!("basic.qos with prefetch {limit}, as --prefetch says, before basic.consume"),
            asked.map_or("no basic.qos before it".to_owned(), |asked| {
                format!("prefetch {asked}")
            }),
        )
        .because("basic.qos applies to later basic.consume only; without it there is no limit")
}

pub async fn second_worker(lab: Lab) -> Outcome {
    send(&lab, "producer", 10, ".").await?;
    start_worker(&lab, "ada", ENDLESS, 1).await?;
    lab.delivered("ada", 1).await?;
    start_worker(&lab, "grace", ENDLESS, 2).await?;
    let expected = "10 jobs wait; grace, who starts after ada, gets one of them";
    let why = "jobs that are unacked at a busy worker wait, while another worker is idle";
    lab.eventually(expected, why, async || {
        let [ada, grace] =
            ["ada", "grace"].map(|name| lab.journal().methods(name, Method::BasicDeliver).len());
        let seen = format!("ada has {ada} jobs unacked, grace {grace}");
        expect(ada < 10).or(expected, &seen).because(why)?;
        Ok(Seen::when(grace > 0, || seen))
    })
    .await
}

pub async fn fair_dispatch(lab: Lab) -> Outcome {
    let fast = start_worker(&lab, "fast", 30, 1).await?;
    start_worker(&lab, "slow", 300, 2).await?;
    let ids = send(&lab, "producer", 33, ".").await?;
    let rows = all_done(&lab, &fast, "all 33 jobs done", &ids).await?;
    let (by_fast, by_slow) = (share(&rows, "fast"), share(&rows, "slow"));
    // In turn it would be 17. A slow disk delays both, so it may be far fewer than 30.
    expect(by_fast >= 20 && by_slow > 0)
        .or(
            "a worker ten times as fast does most of 33 jobs",
            format!("fast did {by_fast}, slow {by_slow}"),
        )
        .hole(2)
        .because("without a prefetch the broker delivers in turn, even to a busy worker")?;
    for name in ["fast", "slow"] {
        let most = lab.journal().most_unacked(name);
        expect(most == 1)
            .or(
                format!("{name} has at most 1 job unacked"),
                format!("{most} at once"),
            )
            .hole(2)
            .because(
                "a job that is unacked at a busy worker waits, while another worker is idle",
            )?;
    }
    Ok(())
}

const TEAM: [&str; 3] = ["ada", "grace", "edsger"];

pub async fn shared(lab: Lab) -> Outcome {
    let ada = start_worker(&lab, TEAM[0], 5, 1).await?;
    start_worker(&lab, TEAM[1], 5, 2).await?;
    start_worker(&lab, TEAM[2], 5, 3).await?;
    let ids = send(&lab, "producer", 60, ".").await?;
    let rows = all_done(&lab, &ada, "60 jobs done, each once", &ids).await?;
    for name in TEAM {
        let part = share(&rows, name);
        // Each was idle when the first jobs came. How many more it gets depends on the machine.
        expect(part > 0)
            .or(
                "each of three idle workers gets jobs",
                format!("{name} did {part} of 60"),
            )
            .because("a queue shares its messages among all its consumers")?;
    }
    all_acked(&lab, &ids).await?;
    empty_ids_are_no_ids(&lab, &ada).await
}

/// Waits until the team has acked each of these jobs, and the queue is empty.
async fn all_acked(lab: &Lab, ids: &[String]) -> Outcome {
    let expected = "60 jobs acked, and queue `messages` empty";
    let why = "a job that is not acked is redelivered, and another worker does it again";
    lab.eventually(expected, why, async || {
        let acked = |id: &&String| TEAM.iter().any(|name| lab.journal().acked(name, id));
        let acked = ids.iter().filter(acked).count();
        let left = lab.depth(MESSAGES).await?;
        Ok(Seen::when(acked == ids.len() && left == 0, || {
            format!("{acked} acked, {left} left in the queue")
        }))
    })
    .await
}

/// Some clients send an empty id where they have none.
async fn empty_ids_are_no_ids(lab: &Lab, worker: &Service) -> Outcome {
    let before = done(worker)?.len();
    lab.publish(MESSAGES, [job("", "."), job("", ".")]).await?;
    let expected = "two jobs with an empty message_id are done, as jobs without an id are";
    let why = "two jobs with the same empty id are not the same job";
    lab.eventually(expected, why, async || {
        let more = done(worker)?.len().saturating_sub(before);
        Ok(Seen::when(more == 2, || format!("{more} of 2 done")))
    })
    .await
}

/// How many jobs [`speedup`] looks at.
const JOBS: usize = 16;
/// How long each of them takes: far longer than a commit, even on a slow disk.
const UNIT_MS: u32 = 300;
/// Its workers.
const FOUR: [&str; 4] = ["first", "second", "third", "fourth"];

pub async fn speedup(lab: Lab) -> Outcome {
    let first = start_worker(&lab, FOUR[0], UNIT_MS, 1).await?;
    for (name, of) in FOUR[1..].iter().zip(2..) {
        start_worker(&lab, name, UNIT_MS, of).await?;
    }
    let ids = send(&lab, "producer", JOBS, ".").await?;
    let expected = format!("{JOBS} jobs done by four workers");
    let rows = all_done(&lab, &first, &expected, &ids).await?;
    lab.settled(MESSAGES).await?;
    let Some(best) = fastest_four(&lab, &ids) else {
        return FOUR.iter().try_for_each(|name| acks_by_hand(&lab, name));
    };
    side_by_side(&best, &FOUR.map(|name| share(&rows, name)))
}

/// Each worker did some of the jobs, and four of these took much less than one after the other.
fn side_by_side(best: &Span, shares: &[usize]) -> Outcome {
    const WHY: &str = "more workers help only when they work at the same time";
    let seconds = best.elapsed().as_secs_f64();
    let each: Vec<String> = shares.iter().map(usize::to_string).collect();
    let each = format!("the workers did {} of {JOBS} jobs", each.join(", "));
    expect(shares.iter().all(|share| *share > 0))
        .or("each of four idle workers gets some of the jobs", &each)
        .proven()
        .because(WHY)?;
    let failure = fail(
        "four workers do four jobs in 0.3 s and a little (at most 0.9 s); one worker needs 1.2 s",
        format!("{seconds:.2} s for four jobs at best; {each}"),
    )
    .because(WHY);
    best.at_most(Duration::from_millis(3 * u64::from(UNIT_MS)), failure)
}

/// The shortest time in which four jobs were delivered and acked, whichever workers had them. It is as
/// long as four jobs when they are done one after the other. A moment in which the machine is busy
/// makes some of these times longer, and not the shortest.
fn fastest_four(lab: &Lab, ids: &[String]) -> Option<Span> {
    let mut jobs: Vec<(f64, f64)> = ids.iter().filter_map(|id| from_to(lab, id)).collect();
    jobs.sort_by(|one, other| one.1.total_cmp(&other.1));
    let fours = jobs.windows(4).map(|four| {
        let from = four.iter().map(|job| job.0).reduce(f64::min);
        lab.between(from.unwrap_or(0.0), four[3].1)
    });
    fours.min_by_key(Span::elapsed)
}

/// When one of the four got this job, and when it acked it, in seconds since the check began.
fn from_to(lab: &Lab, id: &str) -> Option<(f64, f64)> {
    let delivery = |name: &&str| lab.journal().delivery(name, id);
    let delivery = FOUR.iter().find_map(delivery)?;
    let delivered = lab.journal().times(|frame| *frame == delivery);
    let acked = lab.journal().times(|frame| frame.settles(&delivery));
    Some((*delivered.first()?, *acked.first()?))
}

pub async fn batches(lab: Lab) -> Outcome {
    let mut ids = send(&lab, "producer", 200, "").await?;
    let worker = worker(&lab, "worker", 0, &["--prefetch", "50", "--batch", "50"]).await?;
    worker.launch().await?;
    all_done(&lab, &worker, "200 small jobs done", &ids).await?;
    none_left_unacked(&lab).await?;
    let acks = acks(&lab);
    expect(acks <= 100)
        .or(
            "with --batch 50, far fewer acks than jobs",
            format!("{acks} acks for 200 jobs"),
        )
        .because("each commit and each ack costs a wait: commit and ack a batch together")?;
    // A batch holds the jobs that are there, and does not wait for more.
    ids.extend(send(&lab, "producer-2", 1, "").await?);
    let expected = "a single job is done without waiting for 49 others";
    all_done(&lab, &worker, expected, &ids).await?;
    lab.settled(MESSAGES).await?;
    waits_for_no_other(&lab, &ids[200])?;
    lab.frugal(&[&worker], 60, "jobs", async |count| {
        lab.publish(MESSAGES, vec![job("", ""); count]).await?;
        lab.settled(MESSAGES).await
    })
    .await
}

/// How long a batch may wait for more jobs: for a moment.
const LINGER: Duration = Duration::from_secs(1);

/// The worker acked this job, which takes no time, soon after it was delivered.
fn waits_for_no_other(lab: &Lab, id: &str) -> Outcome {
    let Some(delivery) = lab.journal().delivery("worker", id) else {
        return Ok(());
    };
    let delivered = lab.journal().times(|frame| *frame == delivery);
    let acked = lab.journal().times(|frame| frame.settles(&delivery));
    let [from, to] = [delivered.first(), acked.last()].map(|time| *time.unwrap_or(&0.0));
    let span = lab.between(from, to);
    let failure = fail(
        "a single empty job is acked within 1 s of its delivery",
        format!("after {:.1} s", span.elapsed().as_secs_f64()),
    )
    .because("a batch holds the jobs that are there: the last ones of a day wait for nobody");
    span.at_most(LINGER, failure)
}

/// Waits until each of 200 jobs is acked.
async fn none_left_unacked(lab: &Lab) -> Outcome {
    let expected = "each of 200 jobs is acked, alone or with others (multiple)";
    let why = "a job that is done but not acked fills the prefetch, and is redelivered later";
    lab.eventually(expected, why, async || {
        let left = lab.depth(MESSAGES).await?;
        Ok(Seen::when(left == 0, || {
            format!("{} acks, {left} jobs left unacked", acks(lab))
        }))
    })
    .await
}

/// How many acks the worker of [`batches`] has sent.
fn acks(lab: &Lab) -> usize {
    let acks = lab.journal().methods("worker", Method::BasicAck);
    let sent = acks.iter().filter(|frame| frame.from == Side::Client);
    sent.count()
}

pub async fn joins_and_leaves(lab: Lab) -> Outcome {
    let first = start_worker(&lab, "first", 20, 1).await?;
    let arguments = ["producer", "--rate", "100", "--count", "80", "--text", "."];
    let producer = lab.instance("producer", &arguments).await?;
    producer.begin().await?;
    some_done(&lab, &first, 5).await?;
    start_worker(&lab, "second", 20, 2).await?;
    some_done(&lab, &first, 20).await?;
    stops(&lab, &first).await?;
    start_worker(&lab, "third", 20, 2).await?;
    producer.finished().await?;
    let mut ids = published(&lab, "producer");
    // On a busy machine the second worker may have done all of these before the third began.
    ids.extend(send(&lab, "producer-2", 20, ".").await?);
    let expected = "all 100 jobs done while workers join and leave";
    let rows = all_done(&lab, &first, expected, &ids).await?;
    for name in ["first", "second", "third"] {
        expect(share(&rows, name) > 0)
            .or(
                "each worker does jobs while it runs",
                format!("{name} did none"),
            )
            .because("a new consumer needs no registration: it gets its share from then on")?;
    }
    Ok(())
}
