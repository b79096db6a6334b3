//! Checks of the pauses between attempts to connect.
//!
//! Which jitter a program has is its own choice. Full, equal and decorrelated jitter pass: their
//! pauses are watched until they show what is asked for, and a verdict against them falls only
//! after [`ENOUGH`] pauses. (Simulated for these bounds: at most 3 programs in 10,000 with
//! decorrelated jitter are unlucky for that long, and none with the other two.)

use std::time::Duration;

use check::wiretap::{ConnectionEvent, Event, Frame, Method};
use check::{Lab, Outcome, PATIENCE, Seen, Service, Span, fail};

use super::login::fails_quietly;
use super::net::{
    IO_LOOP, LONGEST_PAUSE, MESSAGES, TOPOLOGY, attempts, consumer, keep_running, pauses,
    time_passes, tries,
};

/// The longest pause that most programs here are told to make, in milliseconds.
const CEILING: u64 = 1000;
/// From this pause on, counted from 0, the longest is reached.
const CAPPED: usize = 3;
/// As [`CEILING`], for a program that must fail often. With full jitter it makes 23 attempts a second; with
/// half of this it would make so many that they count as a storm.
const HARDLY_ANY: u64 = 80;
/// How often it fails: more often than a number doubles before it overflows, in 32 or 64 bits.
const OFTEN: usize = 70;
/// From the end of a pause to the attempt that the relay sees.
const SLACK: Duration = Duration::from_millis(600);
/// A pause that has grown: longer than the first one of any kind of jitter.
const LONG: Duration = Duration::from_millis(800);
/// How many pauses of each program are watched at most.
const ENOUGH: usize = 12;

pub async fn late_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    // First, because it takes the longest.
    let tireless = [turned_away(&lab, "tireless", HARDLY_ANY).await?];
    let mut crowd = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        crowd.push(turned_away(&lab, name, CEILING).await?);
    }
    let slow = [turned_away(&lab, "barbara", 2000).await?];
    let all: Vec<_> = crowd.iter().chain(&slow).chain(&tireless).collect();
    let steps = async {
        grow(&lab, 7, || Pauses::while_away(&lab, &slow)).await?;
        differ(&lab, &crowd).await?;
        never_give_up(&lab, &tireless).await
    };
    // A program that has ended has given up, whatever its pauses were.
    keep_running(&all, || 8, steps).await?;
    fails_quietly(&crowd[0])?;
    for consumer in &all {
        consumer.tap().restore();
    }
    lab.consumers(MESSAGES, 5).await
}

/// Starts a consumer that finds no broker.
async fn turned_away(lab: &Lab, name: &str, longest: u64) -> Outcome<Service> {
    let consumer = consumer(lab, name, &[]).await?;
    let consumer = consumer.with(LONGEST_PAUSE, longest);
    consumer.tap().turn_away();
    consumer.begin().await?;
    Ok(consumer)
}

/// The pauses of several consumers.
struct Pauses(Vec<Vec<Span>>);

/// Waits until a pause is a long one.
async fn grow(lab: &Lab, hole: u32, pauses: impl Fn() -> Pauses) -> Outcome {
    let expected = format!(
        "the pauses grow: one of the first {ENOUGH} is longer than {} ms",
        LONG.as_millis()
    );
    let why = "a broker that starts is slowed down by each attempt, and a login that fails at once \
               is a failed attempt, too";
    let span = lab.span();
    lab.eventually_within(PATIENCE, &expected, why, async || {
        let pauses = pauses();
        let [surely, possibly] = [Span::took, Span::elapsed].map(|of| pauses.any_longer(LONG, of));
        if pauses.least() >= ENOUGH {
            let short = fail(&expected, pauses.shown()).because(why).hole(hole);
            span.decide(surely, possibly, short)?;
        }
        Ok(Seen::when(surely, || pauses.shown()).hole(hole))
    })
    .await
}

/// Waits until the consumers have waited for times that differ, and never for too long.
async fn differ(lab: &Lab, consumers: &[Service]) -> Outcome {
    let expected =
        "three consumers wait for times that differ (jitter), the longest pause included";
    let why = "clients that lost the broker together must not reconnect together";
    let span = lab.span();
    lab.eventually_within(PATIENCE, expected, why, async || {
        let pauses = Pauses::while_away(lab, consumers);
        pauses.have_ceiling(CEILING)?;
        let [surely, possibly] = pauses.differ();
        if pauses.least() >= ENOUGH {
            let equal = fail(expected, pauses.shown()).because(why).hole(7);
            span.decide(surely, possibly, equal)?;
        }
        let seen = Seen::when(surely && pauses.least() > CAPPED + 2, || pauses.shown());
        Ok(seen.hole(7))
    })
    .await
}

/// Waits until the consumer has failed many times.
async fn never_give_up(lab: &Lab, consumers: &[Service; 1]) -> Outcome {
    let expected = format!("after {OFTEN} failures in a row the program still tries again");
    let why = "a broker may be away for a night: nobody restarts all its clients in the morning";
    lab.eventually_within(PATIENCE, &expected, why, async || {
        Pauses::while_away(lab, consumers).have_ceiling(HARDLY_ANY)?;
        let seen = attempts(lab, &consumers[0]);
        Ok(Seen::when(seen > OFTEN, || format!("{seen} attempt(s)")))
    })
    .await
}

impl Pauses {
    fn while_away(lab: &Lab, consumers: &[Service]) -> Self {
        Self(consumers.iter().map(|one| pauses(lab, one)).collect())
    }

    fn any_longer(&self, limit: Duration, of: fn(&Span) -> Duration) -> bool {
        self.0.iter().flatten().any(|pause| of(pause) > limit)
    }

    /// How many pauses each consumer has made at least.
    fn least(&self) -> usize {
        self.0.iter().map(Vec::len).min().unwrap_or_default()
    }

    /// The longest of the consumers' pauses with this number, measured by `of`.
    fn longest(&self, number: usize, of: fn(&Span) -> Duration) -> Duration {
        let all = self.0.iter().map(|one| of(&one[number]));
        all.max().unwrap_or_default()
    }

    /// The shortest, likewise.
    fn shortest(&self, number: usize, of: fn(&Span) -> Duration) -> Duration {
        let all = self.0.iter().map(|one| of(&one[number]));
        all.min().unwrap_or_default()
    }

    fn have_ceiling(&self, longest: u64) -> Outcome {
        let expected = format!("no pause is longer than {LONGEST_PAUSE}, {longest} ms");
        let failure = fail(expected, self.shown())
            .because("the broker may be back long before the pause ends")
            .hole(7);
        let limit = Duration::from_millis(longest) + SLACK;
        // A busy machine makes one pause too long, now and then, but not three of one program.
        let too_long =
            |pauses: &Vec<Span>| pauses.iter().filter(|one| one.exceeds(limit)).count() >= 3;
        failure.unless(!self.0.iter().any(too_long))
    }

    /// Whether the consumers' pauses with the same number surely differ, and whether they possibly do.
    fn differ(&self) -> [bool; 2] {
        let margins = [60, 200].map(Duration::from_millis);
        // A pause that is longer only because the machine was busy does not differ. Our own relay,
        // which sees the attempts, may have been as late as the consumers.
        let lost = |pause: &Span| pause.elapsed().saturating_sub(pause.took());
        let surely = |number| {
            let margin = margins[0] + self.longest(number, lost);
            self.longest(number, Span::took) > self.shortest(number, Span::elapsed) + margin
        };
        let possibly = |number| {
            self.longest(number, Span::elapsed) > self.shortest(number, Span::took) + margins[1]
        };
        // A busy machine makes a pause late, but not one of three by a third, and that three times.
        let apart = |&number: &usize| {
            let shortest = self.shortest(number, Span::elapsed);
            self.longest(number, Span::elapsed) > shortest.mul_f64(1.3)
        };
        let numbers = CAPPED..self.least();
        let surely = numbers.clone().any(surely) || numbers.clone().filter(apart).count() >= 3;
        [surely, { numbers }.any(possibly)]
    }

    fn shown(&self) -> String {
        let seconds = |pause: &Span| format!("{:.2}", pause.elapsed().as_secs_f64());
        let one = |pauses: &Vec<Span>| {
            let first = pauses.iter().take(ENOUGH).map(seconds);
            first.collect::<Vec<_>>().join(", ")
        };
        let waited = self.0.iter().filter(|pauses| !pauses.is_empty()).map(one);
        match waited.collect::<Vec<_>>().join(" s; ") {
            none if none.is_empty() => "no pause yet".to_owned(),
            pauses => format!("pauses of {pauses} s"),
        }
    }
}

pub async fn late_queue(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mut consumers = Vec::new();
    for name in ["ada", "grace"] {
        let consumer = consumer(&lab, name, &[]).await?;
        consumer.begin().await?;
        consumers.push(consumer);
    }
    let both: Vec<_> = consumers.iter().collect();
    let steps = async {
        lab.consumers(MESSAGES, 2).await?;
        all_cut(&lab, &consumers).await?;
        lab.consumers(MESSAGES, 2).await?;
        lab.delete_queue(MESSAGES).await?;
        no_storm(&lab, &consumers).await?;
        lab.topology(TOPOLOGY).await?;
        lab.consumers(MESSAGES, 2).await?;
        nothing_left(&lab, &consumers).await
    };
    // They have come back after a cut. If the first refusal ends one, it takes that for final.
    let first = |one: &Service| refusals(&lab, one).len() == 1 && one.exit().is_some();
    let hole = || if consumers.iter().any(first) { 6 } else { 8 };
    keep_running(&both, hole, steps).await
}

/// Cuts all connections, and waits until all consumers have connected again.
async fn all_cut(lab: &Lab, consumers: &[Service]) -> Outcome {
    let before: Vec<usize> = consumers.iter().map(|one| attempts(lab, one)).collect();
    for consumer in consumers {
        consumer.tap().cut();
    }
    for (consumer, before) in consumers.iter().zip(before) {
        tries(lab, consumer, before + 1).await?;
    }
    Ok(())
}

/// The broker has cancelled the consumers: they ask for their queue again, and not too often.
async fn no_storm(lab: &Lab, consumers: &[Service]) -> Outcome {
    let expected = "its queue is deleted (basic.cancel): the consumer asks for it again (404)";
    let why = "an administrator may be about to declare it: this is no reason to end";
    lab.eventually(expected, why, async || {
        let mut all = consumers.iter();
        let again = all.all(|one| !refusals(lab, one).is_empty());
        Ok(Seen::when(again, || "no further basic.consume".to_owned()))
    })
    .await?;
    let pauses = || {
        Pauses(
            consumers
                .iter()
                .map(|one| after_refusals(lab, one))
                .collect(),
        )
    };
    grow(lab, 8, pauses).await
}

/// When the broker told the consumer that its queue does not exist.
fn refusals(lab: &Lab, consumer: &Service) -> Vec<f64> {
    let name = consumer.name();
    let missing = |frame: &Frame| frame.service == name && frame.args["reply_code"] == 404;
    lab.journal()
        .times(|frame| frame.method == Method::ChannelClose && missing(frame))
}

/// The pauses, each from a refusal to the next attempt: not from the end of the connection,
/// because how long closing takes is up to the machine.
fn after_refusals(lab: &Lab, consumer: &Service) -> Vec<Span> {
    let attempts = lab.journal().calls(&consumer.name());
    let next = |refusal: f64| attempts.iter().find(|attempt| **attempt > refusal);
    let refusals = refusals(lab, consumer).into_iter();
    let pauses = refusals.filter_map(|refusal| Some(lab.between(refusal, *next(refusal)?)));
    pauses.collect()
}

/// Waits until each consumer has one connection, and one thread for it.
async fn nothing_left(lab: &Lab, consumers: &[Service]) -> Outcome {
    let expected = "after all these attempts each consumer has one open connection, and one thread";
    let why = "a connection that is kept after its end is a leak: after a bad night the broker \
               takes no further connection";
    lab.eventually(expected, why, async || {
        for consumer in consumers {
            let (open, threads) = (open(lab, consumer), consumer.threads(IO_LOOP)?);
            if open > 1 || threads > 1 {
                let seen = format!("{open} connections, {threads} threads `{IO_LOOP}`");
                return Ok(Seen::NotYet(format!("{} has {seen}", consumer.name())));
            }
        }
        Ok(Seen::Yes(()))
    })
    .await
}

/// How many connections the service has.
fn open(lab: &Lab, service: &Service) -> usize {
    let name = service.name();
    let count = |wanted: fn(&ConnectionEvent) -> bool| {
        lab.journal().read(|entries| {
            let hit = |event: &Event| {
                matches!(event, Event::Connection { service, what, .. }
                    if *service == name && wanted(what))
            };
            entries.iter().filter(|entry| hit(&entry.event)).count()
        })
    };
    let opened = count(|what| *what == ConnectionEvent::Opened);
    opened.saturating_sub(count(ConnectionEvent::is_end))
}

pub async fn new_trouble(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mut consumers = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        consumers.push(turned_away(&lab, name, 2000).await?);
    }
    for consumer in &consumers {
        tries(&lab, consumer, 3).await?;
        consumer.tap().restore();
    }
    lab.consumers(MESSAGES, 3).await?;
    // Long enough for a connection to count as one that worked.
    time_passes(&lab, Duration::from_millis(2200)).await?;
    all_cut(&lab, &consumers).await?;
    let last = Pauses::while_away(&lab, &consumers).0.into_iter();
    let last = Pauses(last.map(|mut all| all.split_off(all.len() - 1)).collect());
    let late = fail(
        "cut after 2 s that went well, each reconnects at once, as after its first failure",
        last.shown(),
    )
    .because(
        "a program that runs for months sees many failures that are unrelated (HOLE 8 tells `pause` \
         how long the attempt lasted)",
    )
    .hole(7);
    let mut pauses = last.0.iter().flatten();
    pauses.try_for_each(|pause| pause.at_most(Duration::from_millis(900), late.clone()))
}
