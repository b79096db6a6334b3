//! The invariants of a run: nothing lost, duplicated, unexpected, stuck or lied.

use std::time::Duration;

use check::wiretap::{Entry, Event, Frame, Method, Side};
use check::{Exit, Outcome, Row, Seen, Service, Span, Stop, Topic, fail, short};
use tokio::time::sleep;

use crate::play::{Baseline, Play, Promise, Trouble};
use crate::scenario::{Parks, Part, Ready};

/// How long a run may take to come to rest after its last answer: a service waits up to a second
/// between two connections, and a dead one is started again.
const REST: Duration = Duration::from_secs(12);
/// How long all must be at rest before a missing effect counts as lost.
const NOTHING_LEFT: Duration = Duration::from_millis(1200);
/// The same on a machine that is too busy to tell a missing effect from a slow one.
const SURELY_NOTHING_LEFT: Duration = Duration::from_secs(5);
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// What a look has seen.
enum Look {
    Rest(Baseline),
    /// All is at rest, and an effect is missing.
    Missing(Missing),
    /// Something still goes on, which is about this.
    Busy(Topic, String),
}

struct Missing {
    /// `None` where one of several parts must have it.
    part: Option<&'static str>,
    /// The hole, where the scenario knows it better than the journal.
    hole: Option<u32>,
    expected: String,
    mark: String,
    there: usize,
}

/// Waits until each promised operation has its effect once, and nothing is on its way.
pub async fn at_rest(play: &Play) -> Outcome<Baseline> {
    let mut span = play.lab().span();
    let mut missing: Option<Span> = None;
    loop {
        // Of a broker that is down nothing can be seen.
        while play.under_way() {
            sleep(LOOK_AGAIN).await;
            (span, missing) = (play.lab().span(), None);
        }
        let late = span.exceeds(REST);
        let hopeless = missing
            .as_ref()
            .is_some_and(|span| span.exceeds(NOTHING_LEFT));
        let look = match look(play).await {
            // The fault began after the look.
            Err(Stop::Unknown(_)) if play.under_way() => continue,
            look => look?,
        };
        play.lab().all_well()?;
        match look {
            Look::Rest(baseline) => return Ok(baseline),
            Look::Missing(lost) => {
                let rest = missing.get_or_insert_with(|| play.lab().span());
                let surely = late || rest.elapsed() > SURELY_NOTHING_LEFT;
                let judged = rest.judge::<Baseline>(Err(lost_by(play, &lost, surely)));
                let known = matches!(judged, Err(Stop::Failed(_)));
                if surely || (hopeless && known) {
                    return judged;
                }
            }
            Look::Busy(topic, what) if late => return span.judge(Err(stuck(play, topic, &what))),
            Look::Busy(..) => missing = None,
        }
        sleep(LOOK_AGAIN).await;
    }
}

async fn look(play: &Play) -> Outcome<Look> {
    let missing = effects(play)?;
    let (baseline, busy, parked) = queues(play).await?;
    let missing = missing.or_else(|| not_parked(play, parked));
    Ok(match (busy, missing) {
        (Some((topic, what)), _) => Look::Busy(topic, what),
        (None, Some(missing)) => Look::Missing(missing),
        (None, None) => Look::Rest(baseline),
    })
}

/// The first promised effect that is not there. Fails for one that is there twice, and for one
/// that nobody asked for.
fn effects(play: &Play) -> Outcome<Option<Missing>> {
    let mut missing = None;
    let mut shared = Vec::new();
    for (part, service) in play.parts() {
        let Some(table) = part.table else { continue };
        if part.shares && shared.contains(&service.database()) {
            continue;
        }
        shared.push(service.database());
        let rows = service.rows(table)?;
        for promise in play.notes().promised.borrow().iter() {
            let mark = &promise.mark;
            let count = rows.iter().filter(|row| is_of(row, mark)).count();
            match (count, (part.wants)(&promise.kind)) {
                (0, true) => {
                    let there = rows.len();
                    missing = missing.or(Some(Missing {
                        part: (!part.shares).then_some(part.name),
                        hole: None,
                        expected: match part.shares {
                            true => format!("{mark}, which was answered with success, has its row"),
                            false => format!(
                                "{} records {mark}, which was answered with success",
                                part.name
                            ),
                        },
                        mark: mark.clone(),
                        there,
                    }));
                }
                (0, false) | (1, true) => {}
                (1.., false) => return Err(unwanted(play, part, mark)),
                (_, true) => return Err(twice(play, part, mark, count)),
            }
        }
        unexpected(play, part, &rows)?;
    }
    Ok(missing)
}

/// The promised message that must be parked, and is not: there are so many.
fn not_parked(play: &Play, parked: u64) -> Option<Missing> {
    let parks = play.plan().scenario.parks?;
    let promised = play.notes().promised.borrow();
    let mut wanted = promised.iter().filter(|promise| promise.kind == parks.kind);
    let there = usize::try_from(parked).unwrap_or(usize::MAX);
    wanted
        .nth(there)
        .map(|promise| absent(&parks, promise, there))
}

fn absent(parks: &Parks, Promise { mark, .. }: &Promise, there: usize) -> Missing {
    let queue = parks.queue;
    Missing {
        part: None,
        hole: Some(parks.hole),
        expected: format!("{mark}, which was answered with success, is in `{queue}`"),
        mark: mark.clone(),
        there,
    }
}

/// Takes what is parked. Fails for a promised message that is not among it: another may be there twice.
pub async fn parked(play: &Play) -> Outcome {
    let Some(parks) = play.plan().scenario.parks else {
        return Ok(());
    };
    let taken = play.lab().take(parks.queue).await?;
    let ids = taken
        .iter()
        .filter_map(|message| message.properties.message_id().as_ref());
    let ids: Vec<&str> = ids.map(|id| id.as_str()).collect();
    for promise in play.notes().promised.borrow().iter() {
        let wanted = promise.kind == parks.kind;
        if wanted && !ids.contains(&promise.mark.as_str()) {
            return Err(lost_by(play, &absent(&parks, promise, taken.len()), true));
        }
    }
    Ok(())
}

fn is_of(row: &Row, mark: &str) -> bool {
    row.id.contains(mark) || row.value.contains(mark)
}

/// Rows of no promise and of no try that was refused.
fn unexpected(play: &Play, part: &Part, rows: &[Row]) -> Outcome {
    let promised = play.notes().promised.borrow();
    let asked = |row: &&Row| {
        let given = play.ids().any(|id| is_of(row, id));
        given || promised.iter().any(|promise| is_of(row, &promise.mark)) || play.tried(&row.id)
    };
    let others: Vec<&Row> = rows.iter().filter(|row| !asked(row)).collect();
    let Some(first) = others.first() else {
        return Ok(());
    };
    // A try that was refused may have had its effect all the same.
    if others.len() <= play.notes().refused.get() {
        return Ok(());
    }
    let failure = fail(
        format!("{} records only what was asked for", part.name),
        format!("it has a row `{}`: {}", first.id, first.value),
    )
    .because("an effect that nobody asked for is as wrong as one that is missing")
    .proven();
    Err(play.found(Trouble::Unexpected, Some(&first.id), failure))
}

fn unwanted(play: &Play, part: &Part, mark: &str) -> Stop {
    let failure = fail(
        format!("{} does not get {mark}", part.name),
        "it has recorded it",
    )
    .because("it is not asked for such work: its queue is bound to get other messages")
    .proven();
    play.found(Trouble::Unexpected, Some(mark), failure)
}

fn twice(play: &Play, part: &Part, mark: &str, count: usize) -> Stop {
    let failure = fail(
        format!("{} records {mark} once, whatever fails", part.name),
        format!("it has {count} rows of it"),
    )
    .because(
        "the broker may deliver a message again, and a client may ask again: same id, same work",
    )
    .proven();
    play.found(Trouble::Duplicated, Some(mark), failure)
}

fn lost_by(play: &Play, lost: &Missing, surely: bool) -> Stop {
    let Missing {
        part,
        hole,
        expected,
        mark,
        there,
    } = lost;
    let seen = match hole {
        None => format!("there are {there} row(s), and none of it"),
        Some(_) => format!("there are {there} message(s)"),
    };
    let journal = play.lab().journal();
    let mut failure = match part.filter(|_| play.lab().broker().is_some()) {
        Some(part) => play.lab().missing_at(part, expected, &seen, mark),
        None => play.lab().missing(expected, &seen, mark),
    };
    if let Some(hole) = hole {
        failure = failure.hole(*hole);
    }
    if play.lab().broker().is_none() {
        let hole = (play.plan().scenario.hole_for)(Topic::Durability);
        failure = failure
            .because("a success is a promise: the client does not ask again")
            .hole(hole);
    } else if part
        .is_some_and(|part| journal.deliveries(part, mark) > 1 && journal.acked(part, mark))
    {
        failure = failure.because(
            "it acked the redelivered message without its effect: what it wrote, or kept, before \
             the fault said that the work was done",
        );
    }
    if surely {
        failure = failure.proven();
    }
    play.found(Trouble::Lost, Some(mark), failure)
}

fn stuck(play: &Play, topic: Topic, what: &str) -> Stop {
    let held = unsettled(play);
    let told = held.as_ref().map_or(String::new(), |held| {
        let (service, mark) = (&held.service, short(&held.mark));
        let again = if held.redelivered {
            ", redelivered"
        } else {
            ""
        };
        let row = if held.recorded(play) {
            ", although its row is there"
        } else {
            ""
        };
        let at = held.at;
        format!("; {service} got {mark} at {at:.3} s{again}, and has not settled it{row}")
    });
    let failure = fail(
        "after the fault all work is done, and each service waits for more",
        format!("{what}, {} s after the last answer{told}", REST.as_secs()),
    )
    .because("what does not come to rest by itself needs an operator at night")
    .hole((play.plan().scenario.hole_for)(topic));
    let mark = held.as_ref().map(|held| held.mark.as_str());
    play.found(Trouble::Stuck, mark, failure)
}

/// A delivery that is not settled, on a channel that is open.
struct Held {
    service: String,
    mark: String,
    at: f64,
    redelivered: bool,
}

impl Held {
    fn recorded(&self, play: &Play) -> bool {
        let mut rows = play.parts().filter_map(|(part, service)| {
            let table = part.table.filter(|_| part.name == self.service)?;
            service.rows(table).ok()
        });
        rows.any(|rows| rows.iter().any(|row| is_of(row, &self.mark)))
    }
}

/// The last delivery of a promised message, where it is not settled.
fn unsettled(play: &Play) -> Option<Held> {
    let promised = play.notes().promised.borrow();
    play.lab().journal().read(|entries| {
        let frames: Vec<(f64, &Frame)> = frames(entries).collect();
        let mut held = promised.iter().filter_map(|Promise { mark, .. }| {
            let last = frames.iter().rposition(|(_, frame)| {
                frame.method == Method::BasicDeliver && frame.message_id() == Some(mark)
            })?;
            let (at, delivery) = frames[last];
            let mut later = frames[last + 1..].iter();
            let over = later.any(|(_, frame)| frame.settles(delivery) || frame.reopens(delivery));
            (!over).then(|| Held {
                service: delivery.service.clone(),
                mark: mark.clone(),
                at,
                redelivered: delivery.flag("redelivered"),
            })
        });
        held.next()
    })
}

/// The AMQP frames of a journal, each with its time.
fn frames(entries: &[Entry]) -> impl Iterator<Item = (f64, &Frame)> {
    entries.iter().filter_map(|entry| match &entry.event {
        Event::Amqp(frame) => Some((entry.t, frame)),
        _ => None,
    })
}

/// The consumers of each queue, what is still under way, and how many messages are parked.
async fn queues(play: &Play) -> Outcome<(Baseline, Option<(Topic, String)>, u64)> {
    let mut baseline = Baseline::default();
    if play.lab().broker().is_none() {
        return Ok((baseline, None, 0));
    }
    let expected = play.plan().baseline.clone();
    let (mut busy, mut in_park) = (None, 0);
    let parks = play.plan().scenario.parks;
    for (name, queue) in play.lab().queues().await? {
        let consumers = queue.consumers.unwrap_or(0);
        let left = queue.ready + queue.unacked;
        if parks.is_some_and(|parks| parks.queue == name) {
            in_park = left;
        }
        // What is parked stays; what waits for its time does not.
        let wanted = expected
            .as_ref()
            .and_then(|all| all.consumers.get(&name))
            .copied();
        let parked = match &expected {
            Some(_) => wanted.is_none_or(|count| count == 0),
            None => consumers == 0,
        };
        let delays = !queue.arguments["x-message-ttl"].is_null();
        if left > 0 && (!parked || delays || queue.unacked > 0) {
            let (ready, unacked) = (queue.ready, queue.unacked);
            let topic = if unacked > 0 {
                Topic::Settle
            } else {
                Topic::Consume
            };
            let what = format!("queue `{name}` has {ready} ready and {unacked} unacked");
            busy = Some((topic, what));
        }
        if wanted.is_some_and(|wanted| consumers < wanted) {
            let what = format!("queue `{name}` has {consumers} consumer(s)");
            busy = Some((Topic::Consume, what));
        }
        if !queue.exclusive {
            baseline.consumers.insert(name, consumers);
        }
    }
    let gone = expected.iter().flat_map(|all| &all.consumers);
    let mut gone =
        gone.filter(|(name, count)| **count > 0 && !baseline.consumers.contains_key(*name));
    if let Some((name, _)) = gone.next() {
        busy = Some((Topic::Consume, format!("there is no queue `{name}`")));
    }
    Ok((baseline, busy, in_park))
}

/// Fails for a success that was answered before the broker had confirmed the message.
pub fn no_lie(play: &Play) -> Outcome {
    if !play.plan().scenario.confirmed {
        return Ok(());
    }
    for promise in play.notes().promised.borrow().iter() {
        let confirmed = play
            .lab()
            .journal()
            .read(|entries| confirmed(entries, &promise.mark));
        if confirmed.is_none_or(|at| at > promise.answered) {
            let how = match confirmed {
                None => "the broker never confirmed it",
                Some(_) => "the broker confirmed it only after the answer",
            };
            let failure = fail(
                format!(
                    "a success for {} is answered after its confirm",
                    promise.mark
                ),
                how,
            )
            .because(
                "only a confirm says that the broker has the message; until then it can be lost",
            )
            .hole((play.plan().scenario.hole_for)(Topic::Confirm));
            return Err(play.found(Trouble::Lied, Some(&promise.mark), failure));
        }
    }
    Ok(())
}

/// When the broker first confirmed a message with this mark, in seconds since the run began.
fn confirmed(entries: &[Entry], mark: &str) -> Option<f64> {
    let frames = || frames(entries);
    let publishes = frames().filter(|(_, frame)| {
        frame.from == Side::Client && frame.method == Method::BasicPublish && has(frame, mark)
    });
    let mut confirms = publishes.filter_map(|(t, publish)| {
        let opened = frames()
            .filter(|(at, frame)| *at <= t && frame.reopens(publish))
            .map(|(at, _)| at)
            .fold(0.0, f64::max);
        let here = || frames().filter(|(at, frame)| *at >= opened && frame.same_channel(publish));
        // Tags count the publishes of a channel from its `confirm.select` on.
        let tag = here()
            .skip_while(|(_, frame)| frame.method != Method::ConfirmSelect)
            .filter(|(_, frame)| frame.method == Method::BasicPublish)
            .position(|(_, frame)| std::ptr::eq(frame, publish))?;
        let tag = u64::try_from(tag).ok()? + 1;
        let mut acks = here().filter(|(at, frame)| {
            *at >= t
                && frame.from == Side::Server
                && frame.method == Method::BasicAck
                && frame.covers(tag)
        });
        acks.next().map(|(at, _)| at)
    });
    let first = confirms.next()?;
    Some(confirms.fold(first, f64::min))
}

fn has(frame: &Frame, mark: &str) -> bool {
    let message = frame.message.as_ref();
    message
        .is_some_and(|message| message.id.as_deref() == Some(mark) || message.body.contains(mark))
}

/// Ends all services with SIGTERM, which each must follow.
pub async fn stops(play: &Play) -> Outcome {
    let services: Vec<(&Part, &Service)> = play
        .parts()
        .filter(|(part, _)| part.ready != Ready::Command)
        .collect();
    for (_, service) in &services {
        service.terminate()?;
    }
    for (part, service) in services {
        let expected = format!("{} ends after SIGTERM with exit code 0", part.name);
        let why = "a service that does not stop is killed in the middle of its work";
        let ended = play.lab().eventually(&expected, why, async || {
            Ok(Seen::some(service.exit(), || "it still runs".to_owned()))
        });
        let exit = match ended.await {
            Ok(exit) => exit,
            Err(Stop::Failed(failure)) => return Err(play.found(Trouble::Stuck, None, *failure)),
            Err(stop) => return Err(stop),
        };
        if exit != Exit::Code(0) {
            let failure = fail(expected, exit).because(why);
            return Err(play.found(Trouble::Stuck, None, failure));
        }
    }
    Ok(())
}
