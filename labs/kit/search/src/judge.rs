//! The invariants of a run: nothing lost, duplicated, unexpected, stuck or lied.

use std::time::Duration;

use check::wiretap::{Entry, Event, Frame, Method};
use check::{Exit, Outcome, Row, Seen, Span, Stop, Topic, confirms, fail, short};
use tokio::time::sleep;

use crate::frames::is_about;
use crate::plan::{Baseline, Promise, Trouble};
use crate::run::Run;
use crate::scenario::{Parks, Ready, Role};

/// How long a run may take to come to rest after its last answer: a service waits up to a second
/// between two connections, and a dead one is started again.
const REST: Duration = Duration::from_secs(12);
/// The same when nothing crosses any link: longer than a service waits for a connection.
const STILL: Duration = Duration::from_secs(6);
/// How long all must be at rest before a missing effect counts as lost.
const NOTHING_LEFT: Duration = Duration::from_millis(1200);
/// The same on a machine that is too busy to tell a missing effect from a slow one.
const SURELY_NOTHING_LEFT: Duration = Duration::from_secs(5);
/// How long to wait between two looks, at first and at last: each asks the broker for every queue.
const LOOK_AGAIN: Duration = Duration::from_millis(25);
const AT_LAST: Duration = Duration::from_millis(400);

/// What a look has seen.
enum Look {
    Rest(Baseline),
    /// All is at rest, and an effect is missing.
    Missing(Missing),
    /// Something still goes on, which is about this.
    Busy(Topic, String),
}

struct Missing {
    /// `None` where one of several roles must have it.
    role: Option<&'static str>,
    /// The hole, where the scenario knows it better than the journal.
    hole: Option<u32>,
    expected: String,
    mark: String,
    there: usize,
}

/// Waits until each promised operation has its effect once, and nothing is on its way.
pub async fn at_rest(run: &Run) -> Outcome<Baseline> {
    let still = || (run.lab().journal().read(<[_]>::len), run.lab().span());
    let (mut span, mut since) = (run.lab().span(), still());
    let mut missing: Option<Span> = None;
    loop {
        // Of a broker that is down nothing can be seen.
        while run.under_way() {
            sleep(LOOK_AGAIN).await;
            (span, since, missing) = (run.lab().span(), still(), None);
        }
        let now = still();
        if now.0 != since.0 {
            since = now;
        }
        let slow = run.plan().slowness();
        let late = span.exceeds(REST + slow) || since.1.exceeds(STILL + slow);
        let hopeless = matches!(&missing, Some(span) if span.exceeds(NOTHING_LEFT));
        let look = match look(run).await {
            // The fault began after the look.
            Err(Stop::Unknown(_)) if run.under_way() => continue,
            look => look?,
        };
        run.lab().all_well()?;
        match look {
            Look::Rest(baseline) => return Ok(baseline),
            Look::Missing(lost) => {
                let rest = missing.get_or_insert_with(|| run.lab().span());
                let surely = late || rest.elapsed() > SURELY_NOTHING_LEFT;
                let judged = rest.judge::<Baseline>(Err(lost_by(run, &lost, surely)));
                let known = matches!(judged, Err(Stop::Failed(_)));
                if surely || (hopeless && known) {
                    return judged;
                }
            }
            Look::Busy(topic, what) if late => {
                return span.judge(Err(stuck(run, topic, &what, span.elapsed())));
            }
            Look::Busy(..) => missing = None,
        }
        sleep((span.elapsed() / 8).clamp(LOOK_AGAIN, AT_LAST)).await;
    }
}

async fn look(run: &Run) -> Outcome<Look> {
    let missing = effects(run)?;
    let (baseline, busy, parked) = queues(run).await?;
    let missing = missing.or_else(|| not_parked(run, parked));
    Ok(match (busy, missing) {
        (Some((topic, what)), _) => Look::Busy(topic, what),
        (None, Some(missing)) => Look::Missing(missing),
        (None, None) => Look::Rest(baseline),
    })
}

/// The first promised effect that is not there. Fails for one that is there twice, and for one
/// that nobody asked for.
fn effects(run: &Run) -> Outcome<Option<Missing>> {
    let mut missing = None;
    let mut shared = Vec::new();
    for (role, service) in run.roles() {
        let Some(table) = role.table else { continue };
        if role.shares && shared.contains(&service.database()) {
            continue;
        }
        shared.push(service.database());
        let rows = service.rows(table)?;
        for promise in run.record().promised.borrow().iter() {
            let mark = &promise.mark;
            let count = rows.iter().filter(|row| is_of(row, mark)).count();
            match (count, (role.wants)(&promise.kind)) {
                (0, true) => {
                    let there = rows.len();
                    missing = missing.or(Some(Missing {
                        role: (!role.shares).then_some(role.name),
                        hole: None,
                        expected: match role.shares {
                            true => format!("{mark}, which was answered with success, has its row"),
                            false => format!(
                                "{} records {mark}, which was answered with success",
                                role.name
                            ),
                        },
                        mark: mark.clone(),
                        there,
                    }));
                }
                (0, false) | (1, true) => {}
                (1.., false) => return Err(unwanted(run, role, mark)),
                (_, true) => return Err(twice(run, role, mark, count)),
            }
        }
        unexpected(run, role, &rows)?;
    }
    Ok(missing)
}

/// The promised message that must be parked, and is not: there are so many.
fn not_parked(run: &Run, parked: u64) -> Option<Missing> {
    let parks = run.plan().scenario.parks?;
    let promised = run.record().promised.borrow();
    let mut wanted = promised.iter().filter(|promise| promise.kind == parks.kind);
    let there = usize::try_from(parked).unwrap_or(usize::MAX);
    wanted
        .nth(there)
        .map(|promise| absent(&parks, promise, there))
}

fn absent(parks: &Parks, Promise { mark, .. }: &Promise, there: usize) -> Missing {
    let queue = parks.queue;
    Missing {
        role: None,
        hole: Some(parks.hole),
        expected: format!("{mark}, which was answered with success, is in `{queue}`"),
        mark: mark.clone(),
        there,
    }
}

/// Takes what is parked. Fails for a promised message that is not among it: another may be there twice.
pub async fn parked(run: &Run) -> Outcome {
    let Some(parks) = run.plan().scenario.parks else {
        return Ok(());
    };
    let taken = run.lab().take(parks.queue).await?;
    let ids = taken
        .iter()
        .filter_map(|message| message.properties.message_id().as_ref());
    let ids: Vec<&str> = ids.map(|id| id.as_str()).collect();
    for promise in run.record().promised.borrow().iter() {
        let wanted = promise.kind == parks.kind;
        if wanted && !ids.contains(&promise.mark.as_str()) {
            return Err(lost_by(run, &absent(&parks, promise, taken.len()), true));
        }
    }
    Ok(())
}

fn is_of(row: &Row, mark: &str) -> bool {
    row.id.contains(mark) || row.value.contains(mark)
}

/// Rows of no promise and of no try that was refused.
fn unexpected(run: &Run, role: &Role, rows: &[Row]) -> Outcome {
    let promised = run.record().promised.borrow();
    let asked = |row: &&Row| {
        let given = run.ids().any(|id| is_of(row, id));
        given || promised.iter().any(|promise| is_of(row, &promise.mark)) || run.tried(&row.id)
    };
    let others: Vec<&Row> = rows.iter().filter(|row| !asked(row)).collect();
    let Some(first) = others.first() else {
        return Ok(());
    };
    // A try that was refused may have had its effect all the same.
    if others.len() <= run.record().refused.get() {
        return Ok(());
    }
    let failure = fail(
        format!("{} records only what was asked for", role.name),
        format!("it has a row `{}`: {}", first.id, first.value),
    )
    .because("an effect that nobody asked for is as wrong as one that is missing")
    .proven();
    Err(run.found(Trouble::Unexpected, Some(&first.id), failure))
}

fn unwanted(run: &Run, role: &Role, mark: &str) -> Stop {
    let failure = fail(
        format!("{} does not get {mark}", role.name),
        "it has recorded it",
    )
    .because("it is not asked for such work: its queue is bound to get other messages")
    .proven();
    run.found(Trouble::Unexpected, Some(mark), failure)
}

fn twice(run: &Run, role: &Role, mark: &str, count: usize) -> Stop {
    let failure = fail(
        format!("{} records {mark} once, whatever fails", role.name),
        format!("it has {count} rows of it"),
    )
    .because(
        "the broker may deliver a message again, and a client may ask again: same id, same work",
    )
    .proven();
    run.found(Trouble::Duplicated, Some(mark), failure)
}

fn lost_by(run: &Run, lost: &Missing, surely: bool) -> Stop {
    let Missing {
        role,
        hole,
        expected,
        mark,
        there,
    } = lost;
    let seen = match hole {
        None => format!("there are {there} row(s), and none of it"),
        Some(_) => format!("there are {there} message(s)"),
    };
    let journal = run.lab().journal();
    let mut failure = match role.filter(|_| run.lab().broker().is_some()) {
        Some(role) => run.lab().missing_at(role, expected, &seen, mark),
        None => run.lab().missing(expected, &seen, mark),
    };
    if let Some(hole) = hole {
        failure = failure.hole(*hole);
    }
    if run.lab().broker().is_none() {
        let hole = (run.plan().scenario.hole_for)(Topic::Durability);
        failure = failure
            .because("a success is a promise: the client does not ask again")
            .hole(hole);
    } else if role
        .is_some_and(|role| journal.deliveries(role, mark) > 1 && journal.acked(role, mark))
    {
        failure = failure.because(
            "it acked the redelivered message without its effect: what it wrote, or kept, before \
             the fault said that the work was done",
        );
    }
    if surely {
        failure = failure.proven();
    }
    run.found(Trouble::Lost, Some(mark), failure)
}

fn stuck(run: &Run, topic: Topic, what: &str, waited: Duration) -> Stop {
    let held = unsettled(run);
    let told = held.as_ref().map_or(String::new(), |held| {
        let (service, mark) = (&held.service, short(&held.mark));
        let word = |holds: bool, word| if holds { word } else { "" };
        let again = word(held.redelivered, ", redelivered");
        let row = word(held.recorded(run), ", although its row is there");
        let at = held.at;
        format!("; {service} got {mark} at {at:.3} s{again}, and has not settled it{row}")
    });
    let failure = fail(
        "after the fault all work is done, and each service waits for more",
        format!("{what}, and stays so for {} s{told}", waited.as_secs()),
    )
    .because("what does not come to rest by itself needs an operator at night")
    .hole((run.plan().scenario.hole_for)(topic));
    let mark = held.as_ref().map(|held| held.mark.as_str());
    run.found(Trouble::Stuck, mark, failure)
}

/// A delivery that is not settled, on a channel that is open.
struct Held {
    service: String,
    mark: String,
    at: f64,
    redelivered: bool,
}

impl Held {
    fn recorded(&self, run: &Run) -> bool {
        let mut rows = run.roles().filter_map(|(role, service)| {
            let table = role.table.filter(|_| role.name == self.service)?;
            service.rows(table).ok()
        });
        rows.any(|rows| rows.iter().any(|row| is_of(row, &self.mark)))
    }
}

/// The last delivery of a promised message, where it is not settled.
fn unsettled(run: &Run) -> Option<Held> {
    let promised = run.record().promised.borrow();
    run.lab().journal().read(|entries| {
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
async fn queues(run: &Run) -> Outcome<(Baseline, Option<(Topic, String)>, u64)> {
    let mut baseline = Baseline::default();
    if run.lab().broker().is_none() {
        return Ok((baseline, None, 0));
    }
    let expected = run.plan().baseline.clone();
    let (mut busy, mut in_park) = (None, 0);
    let parks = run.plan().scenario.parks;
    for (name, queue) in run.lab().queues().await? {
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
pub fn no_lie(run: &Run) -> Outcome {
    if !run.plan().scenario.confirmed {
        return Ok(());
    }
    for Promise { mark, answered, .. } in run.record().promised.borrow().iter() {
        let confirmed = run.lab().journal().read(|entries| {
            let first = confirms(entries, |frame| is_about(frame, mark)).pop_first();
            first.map(|place| entries[place].t)
        });
        if confirmed.is_none_or(|at| at > *answered) {
            let how = match confirmed {
                None => "the broker never confirmed it",
                Some(_) => "the broker confirmed it only after the answer",
            };
            let failure = fail(
                format!("a success for {mark} is answered after its confirm"),
                how,
            )
            .because(
                "only a confirm says that the broker has the message; until then it can be lost",
            )
            .hole((run.plan().scenario.hole_for)(Topic::Confirm));
            return Err(run.found(Trouble::Lied, Some(mark), failure));
        }
    }
    Ok(())
}

/// Ends all services with SIGTERM, which each must follow.
pub async fn stops(run: &Run) -> Outcome {
    let services = || run.roles().filter(|(role, _)| role.ready != Ready::Command);
    for (_, service) in services() {
        service.terminate()?;
    }
    for (role, service) in services() {
        let expected = format!("{} ends after SIGTERM with exit code 0", role.name);
        let why = "a service that does not stop is killed in the middle of its work";
        let ended = run.lab().eventually(&expected, why, async || {
            Ok(Seen::some(service.exit(), || "it still runs".to_owned()))
        });
        let exit = match ended.await {
            Ok(exit) => exit,
            Err(Stop::Failed(failure)) => return Err(run.found(Trouble::Stuck, None, *failure)),
            Err(stop) => return Err(stop),
        };
        if exit != Exit::Code(0) {
            let failure = fail(expected, exit).because(why);
            return Err(run.found(Trouble::Stuck, None, failure));
        }
    }
    Ok(())
}
