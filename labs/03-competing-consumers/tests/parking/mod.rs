//! What becomes of a job that always fails: it is parked, and in no moment lost.

use std::time::Duration;

use check::wiretap::{ConnectionEvent, Entry, Event, Frame, Held, Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, Stop, expect, fate, short};
use lapin::BasicProperties;
use lapin::message::BasicGetMessage;
use lapin::types::AMQPValue;
use tokio::time::sleep;

use super::jobs::{
    DEAD, MESSAGES, Nowhere, all_done, at_hole, consumes, declare_again, done, in_queues, job,
    refuse, send, some_done, start_worker, tries, worker,
};

/// How often a job is tried: `TRIES` in `src/retry.rs`.
const TRIES: usize = 3;
/// The id of a job whose body is not text.
const NO_TEXT: &str = "no-text";
/// How long a few tries may take, with a pause before each.
const PAUSES: Duration = Duration::from_secs(15);

pub async fn given_up(lab: Lab) -> Outcome {
    // Ada fails the bad job once. She is killed while she tries it again: a delivery, but not a try
    // that failed.
    let ada = start_worker(&lab, "ada", 300, 1).await?;
    let bad = send(&lab, "bad", 1, ".!").await?;
    tried_again(&lab, &ada, &bad[0]).await?;
    ada.kill().await?;
    in_mid_try(&lab, &bad[0])?;
    lab.publish(MESSAGES, [(b"\xff\xfe", unreadable())]).await?;
    let good = send(&lab, "good", 5, ".").await?;
    let grace = worker(&lab, "grace", 20, &[]).await?;
    grace.launch().await?;
    both_parked(&lab, &bad[0]).await?;
    let expected = "5 good jobs behind two bad ones are done";
    all_done(&lab, &grace, expected, &good).await?;
    at_hole(&lab, 5, lab.settled(MESSAGES).await)?;
    parked_for_an_operator(&lab, &bad[0]).await?;
    tried_three_times(&lab, &bad[0])
}

/// The properties of the job that is not text: all that a client may set, except those that the worker
/// or the broker acts on.
fn unreadable() -> BasicProperties {
    BasicProperties::default()
        .with_message_id(NO_TEXT.into())
        .with_content_type("application/octet-stream".into())
        .with_content_encoding("identity".into())
        .with_correlation_id("order-7".into())
        .with_reply_to("answers".into())
        .with_priority(3)
        .with_timestamp(1_764_000_000)
        .with_type("report".into())
        .with_app_id("shop".into())
}

/// Waits until ada has a job that she failed once more.
async fn tried_again(lab: &Lab, ada: &Service, bad: &str) -> Outcome {
    let expected = "ada fails a job, and it is tried again";
    let why = "many failures are over a moment later";
    let mut nowhere = Nowhere::beside(0);
    lab.eventually_within(PAUSES, expected, why, async || {
        keeps_its_id(lab, bad)?;
        // At once: ada must be killed before this try ends.
        if lab.journal().deliveries("ada", bad) > 1 {
            return Ok(Seen::Yes(()));
        }
        expect(lab.depth(DEAD).await? == 0)
            .or(expected, format!("it is in `{DEAD}` after its first try"))
            .because(why)?;
        expect(done(ada)?.is_empty())
            .or(expected, "it failed, and has a row as if it were done")
            .because("the row is the effect of a job: a job that failed has none")?;
        let told = fate(lab.journal(), bad).observed;
        expect(!nowhere.is_lost(lab, bad).await?)
            .or(expected, &told)
            .hole(5)
            .because("a job that is in no queue is never tried again")?;
        Ok(Seen::NotYetFor(5, told))
    })
    .await
}

/// Ada was killed before she published the copy of her second try, which takes 0.3 s. Between the copy
/// and its ack a kill leaves two messages, as it may.
fn in_mid_try(lab: &Lab, bad: &str) -> Outcome {
    let times = |method| {
        let of_job = |frame: &Frame| frame.method == method && frame.message_id() == Some(bad);
        lab.journal()
            .times(|frame| frame.service == "ada" && of_job(frame))
    };
    let (deliveries, copies) = (times(Method::BasicDeliver), times(Method::BasicPublish));
    let second = deliveries.get(1).zip(copies.last());
    match second.is_some_and(|(begun, copy)| copy - begun > 0.25) {
        true => Err(Stop::Unknown(
            "this machine was too busy: ada was killed after her second try, not in it. Close other \
             programs, then run this check again."
                .to_owned(),
        )),
        false => Ok(()),
    }
}

/// All that ada gets is the job with this id.
fn keeps_its_id(lab: &Lab, bad: &str) -> Outcome {
    let deliveries = lab.journal().methods("ada", Method::BasicDeliver);
    let other = deliveries
        .iter()
        .find(|frame| frame.message_id() != Some(bad));
    let other = other.map(|frame| match frame.message_id() {
        Some(id) => format!("one with the id {}", short(id)),
        None => "one without id".to_owned(),
    });
    expect(other.is_none())
        .or(
            format!("job {} is tried again under its own id", short(bad)),
            other.unwrap_or_default(),
        )
        .because("by its id a worker recognizes a job, and an operator finds it again")
}

/// Waits until grace has given up two jobs: `bad`, and the one that is not text.
async fn both_parked(lab: &Lab, bad: &str) -> Outcome {
    let expected = "two failing jobs are given up after a few tries, and are in `messages.dead`";
    let why = "a job that fails for ever must not keep the workers busy for ever";
    lab.eventually_within(PAUSES, expected, why, async || {
        let tries = [bad, NO_TEXT].map(|id| lab.journal().deliveries("grace", id));
        let most = tries[0].max(tries[1]);
        let (how, hole) = returns_by(lab);
        expect(most <= 2 * TRIES)
            .or(
                expected,
                format!("{most} tries of one, and going on: {how}"),
            )
            .hole(hole)
            .because(why)?;
        let dead = lab.depth(DEAD).await?;
        Ok(Seen::when(dead == 2, || {
            let told = fate(lab.journal(), bad).observed;
            format!("{dead} in `{DEAD}`; {told}")
        }))
    })
    .await
}

/// How a job that grace failed comes back to her, and the hole for that.
fn returns_by(lab: &Lab) -> (&'static str, u32) {
    let frames = lab
        .journal()
        .frames(|frame| frame.service == "grace" && frame.from == Side::Client);
    let sent = |method| frames.iter().any(|frame| frame.method == method);
    if sent(Method::BasicReject) || sent(Method::BasicNack) {
        ("she requeues it, and nobody counts that", 5)
    } else if sent(Method::BasicPublish) {
        ("she publishes it without a count that she can read", 4)
    } else {
        ("she leaves it unacked, and her connection ends", 4)
    }
}

/// Takes the parked jobs, and expects each under its own id with its reason, on disk.
async fn parked_for_an_operator(lab: &Lab, bad: &str) -> Outcome {
    let dead = lab.take(DEAD).await?;
    let told: Vec<String> = dead.iter().map(described).collect();
    for (id, reason) in [(bad, "a ! in it"), (NO_TEXT, "not text")] {
        let id = short(id);
        let found = |job: &String| job.starts_with(&id) && job.contains(reason);
        expect(told.iter().any(found))
            .or(
                format!(
                    "job {id} in `{DEAD}` under its own id, with a header `reason`: `…{reason}…`"
                ),
                told.join(" and "),
            )
            .because("an operator must see which job is parked, and why")?;
    }
    keeps_its_properties(&dead)?;
    let transient = |job: &&BasicGetMessage| *job.properties.delivery_mode() != Some(2);
    let transient = dead.iter().find(transient).map(described);
    expect(transient.is_none())
        .or(
            "parked jobs are persistent, even if their producer sent them transient",
            transient.unwrap_or_default() + ", transient",
        )
        .because("a transient job is lost when the broker restarts, before anybody looks at it")
}

/// The job that is not text has the properties that it was published with.
fn keeps_its_properties(dead: &[BasicGetMessage]) -> Outcome {
    let own = |job: &&BasicGetMessage| {
        let id = job.properties.message_id().as_ref();
        id.is_some_and(|id| id.as_str() == NO_TEXT)
    };
    let lost = dead.iter().find(own).map(|job| lost(&job.properties));
    let lost = lost.unwrap_or_default().join(", ");
    expect(lost.is_empty())
        .or(
            "a parked job keeps the properties of the delivery, and gets headers",
            format!("it has lost its {lost}"),
        )
        .because("the copy is the job from now on: what its producer wrote is there, or nowhere")
}

/// Which properties of [`unreadable`] these lack, or have another value for.
fn lost(is: &BasicProperties) -> Vec<&'static str> {
    let was = unreadable();
    let kept = [
        ("content_type", is.content_type() == was.content_type()),
        (
            "content_encoding",
            is.content_encoding() == was.content_encoding(),
        ),
        (
            "correlation_id",
            is.correlation_id() == was.correlation_id(),
        ),
        ("reply_to", is.reply_to() == was.reply_to()),
        ("priority", is.priority() == was.priority()),
        ("timestamp", is.timestamp() == was.timestamp()),
        ("type", is.kind() == was.kind()),
        ("app_id", is.app_id() == was.app_id()),
    ];
    let lost = kept.into_iter().filter(|(_, kept)| !kept);
    lost.map(|(name, _)| name).collect()
}

/// Each of the two jobs has failed so often as the text says, whichever worker it failed at.
fn tried_three_times(lab: &Lab, bad: &str) -> Outcome {
    for id in [bad, NO_TEXT] {
        let [ada, grace] = ["ada", "grace"].map(|worker| tries(lab, worker, id));
        expect(ada + grace == TRIES)
            .or(
                format!("job {} is parked when {TRIES} tries have failed", short(id)),
                format!(
                    "{} failed tries, {ada} by ada and {grace} by grace",
                    ada + grace
                ),
            )
            .because(
                "the count travels with the job: a worker's memory ends with the worker, and a \
                 delivery is no failed try",
            )?;
    }
    let opened = &ConnectionEvent::Opened;
    let connections = lab.journal().connection_count("grace", opened);
    expect(connections <= TRIES)
        .or(
            "grace has two connections, one to consume and one to publish",
            format!("{connections} connections for 5 failed tries"),
        )
        .hole(5)
        .because("a connection takes longer to open than a job to publish")
}

/// A parked job's id, and the reason in its headers.
fn described(message: &BasicGetMessage) -> String {
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
    let ada = start_worker(&lab, "ada", 10, 1).await?;
    // The link is cut while the failed job is published again; then `messages.dead` refuses it.
    ada.tap().cut_before(Side::Client, Method::BasicPublish);
    let others = refuse(&lab, DEAD).await?;
    let bad = send(&lab, "producer", 1, "!").await?;
    kept_until(&lab, &bad[0], Method::BasicNack, others).await?;
    lab.accept(DEAD).await?;
    parked(&lab, &bad[0], others).await?;
    // Then somebody deletes `messages.dead`, and the broker returns the job. The copy is held meanwhile: a
    // worker may declare the queue before each copy.
    let copy = ada.tap().hold(Side::Client, Method::BasicPublish);
    lab.publish(MESSAGES, [job("returned", "!")]).await?;
    let copy = last_copy(&lab, &ada, copy).await?;
    lab.delete_queue(DEAD).await?;
    copy.release();
    kept_until(&lab, "returned", Method::BasicReturn, 0).await?;
    declare_again(&lab, "ada", DEAD).await?;
    parked(&lab, "returned", 0).await
}

/// Lets the copies of a failed job pass, and holds the one for `messages.dead`.
async fn last_copy(lab: &Lab, ada: &Service, mut copy: Held) -> Outcome<Held> {
    let expected = format!("ada publishes a copy of the failed job to `{DEAD}`");
    let why = "a job that fails again and again must be in a queue where somebody looks";
    loop {
        lab.eventually(&expected, why, async || {
            let seen = || "no copy for it (basic.publish)".to_owned();
            Ok(Seen::when(copy.reached(), seen).hole(5))
        })
        .await?;
        let copies = lab.journal().methods("ada", Method::BasicPublish);
        if copies
            .last()
            .is_some_and(|copy| copy.args["routing_key"] == DEAD)
        {
            return Ok(copy);
        }
        // The next one is waited for before this one passes.
        copy = ada.tap().hold(Side::Client, Method::BasicPublish);
    }
}

/// Waits until the broker has answered the copy of a failed job with `method`; the job, beside
/// `others`, is not lost meanwhile.
async fn kept_until(lab: &Lab, id: &str, method: Method, others: u64) -> Outcome {
    let expected = format!("ada fails a job, and the broker does not take its copy ({method})");
    let why = "only an ack for the copy says that a queue has it";
    let mut nowhere = Nowhere::beside(others);
    lab.eventually_within(PATIENCE, &expected, why, async || {
        not_lost(lab, id, &mut nowhere).await?;
        let answers = lab.journal().methods("ada", method);
        let answered = answers.iter().any(|frame| frame.from == Side::Server);
        let tries = tries(lab, "ada", id);
        Ok(Seen::when(answered, || {
            format!("{tries} failed tries, and no {method}")
        }))
    })
    .await?;
    pauses(lab, id, method).await
}

/// This many copies of one job in [`FOR_A_WHILE`] are published without a pause.
const AT_ONCE: usize = 10;
/// A worker that pauses after each failure publishes fewer than [`AT_ONCE`] copies in this time.
const FOR_A_WHILE: Duration = Duration::from_millis(500);

/// Ada does not publish one copy after the other while the broker answers each with `method`.
async fn pauses(lab: &Lab, id: &str, method: Method) -> Outcome {
    let span = lab.span();
    while !leaves_to_the_broker(lab, id) && !span.exceeds(FOR_A_WHILE) {
        lab.all_well()?;
        let answers = lab.journal().methods("ada", method);
        let copies = answers.iter().filter(|frame| frame.from == Side::Server);
        let copies = copies.count();
        expect(copies < AT_ONCE)
            .or(
                "ada pauses before she publishes a job again that the broker did not take",
                format!(
                    "{copies} copies without a pause, {method} for each{}",
                    requeues(lab)
                ),
            )
            .because(
                "after an error `keep` waits, then begins again: a job that is requeued is \
                      delivered again at once",
            )?;
        sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}

/// Whether the channel on which ada got this job has ended: the job is requeued, and she begins again.
fn leaves_to_the_broker(lab: &Lab, id: &str) -> bool {
    let Some(delivery) = lab.journal().delivery("ada", id) else {
        return false;
    };
    let ends = |entry: &Entry| match &entry.event {
        Event::Amqp(frame) => frame.method == Method::ChannelClose && frame.same_channel(&delivery),
        Event::Connection {
            service,
            connection,
            what,
        } => *service == delivery.service && *connection == delivery.connection && what.is_end(),
        _ => false,
    };
    lab.journal().read(|entries| entries.iter().any(ends))
}

/// With what ada requeues jobs, if she does.
fn requeues(lab: &Lab) -> String {
    let requeues = |frame: &Frame| {
        frame.service == "ada" && frame.from == Side::Client && frame.flag("requeue")
    };
    let requeues = lab.journal().frames(requeues);
    let how = requeues.first().map(|frame| frame.method);
    how.map_or_else(String::new, |how| format!("; she requeues the job ({how})"))
}

/// Waits until the job is in `messages.dead`, beside `others`; it is not lost meanwhile.
async fn parked(lab: &Lab, id: &str, others: u64) -> Outcome {
    let expected = "a job that failed ends in `messages.dead`, whatever the broker answers";
    let why = "nobody looks for a job that is tried for ever";
    let mut nowhere = Nowhere::beside(others);
    lab.eventually_within(PATIENCE, expected, why, async || {
        not_lost(lab, id, &mut nowhere).await?;
        let (dead, all) = (lab.depth(DEAD).await?, in_queues(lab).await?);
        Ok(Seen::when(dead > others, || {
            format!("{dead} in `{DEAD}`, {all} in all queues")
        }))
    })
    .await
}

/// The failed job is in a queue, or ada has it unacked.
async fn not_lost(lab: &Lab, id: &str, nowhere: &mut Nowhere) -> Outcome {
    let answers = lab.journal().frames(|frame| {
        frame.service == "ada"
            && frame.from == Side::Server
            && matches!(frame.method, Method::BasicNack | Method::BasicReturn)
    });
    let fault = match answers.last().map(|frame| frame.method) {
        None => "the link was cut before its copy arrived".to_owned(),
        Some(method) => format!("the broker did not take its copy ({method})"),
    };
    expect(!nowhere.is_lost(lab, id).await?)
        .or(
            "a failed job is in a queue, or its worker has it unacked",
            format!("it is in no queue any more: {fault}, and ada acked it"),
        )
        .because(
            "only Published::Routed says that a queue has the copy; until then the delivery is \
             the job",
        )
}

pub async fn killed_in_batch(lab: Lab) -> Outcome {
    let ada = worker(&lab, "ada", 100, &["--prefetch", "10", "--batch", "10"]).await?;
    consumes(&lab, &ada, 1).await?;
    lab.publish(MESSAGES, [job("first", "...")]).await?;
    lab.delivered("ada", 1).await?;
    // The jobs that arrive while ada works on the first one are her next batch.
    let endless = ".".repeat(50);
    let batch = [job("second", "."), job("bad", "!"), job("third", &endless)];
    lab.publish(MESSAGES, batch).await?;
    first_and_bad_acked(&lab, &ada).await?;
    ada.kill().await?;
    let grace = start_worker(&lab, "grace", 0, 1).await?;
    let ids = ["first", "second", "third"].map(str::to_owned);
    let expected = "the jobs that ada had done, but not committed when she was killed, are redone";
    // New here, beside `killed_worker`: a failed job among others.
    at_hole(&lab, 5, all_done(&lab, &grace, expected, &ids).await)?;
    Ok(())
}

async fn first_and_bad_acked(lab: &Lab, ada: &Service) -> Outcome {
    some_done(lab, ada, 1).await?;
    let expected = "ada acks the bad job once its copy is published";
    let why = "from then on the copy is the job";
    lab.eventually(expected, why, async || {
        Ok(Seen::when(tries(lab, "ada", "bad") > 0, || {
            fate(lab.journal(), "bad").observed
        }))
    })
    .await
}
