//! A broker that is late, silent, gone, or does not want us.

use std::time::Duration;

use check::Exit;
use check::wiretap::{Frame, Method, Side};
use check::{Lab, Outcome, PATIENCE, Seen, Service, SilentBroker, Span, fail};

use super::net::{
    MESSAGES, SHORT, TOPOLOGY, arrived, called, consumer, consuming, effects, ends_well, pauses,
    producer,
};

/// No pause is longer.
const CEILING: Duration = Duration::from_secs(2);
/// From the end of a pause to the call that the relay sees.
const SLACK: Duration = Duration::from_millis(600);

pub async fn silent_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer.with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    consumer.tap().black_hole(Side::Server);
    consumer.launch().await?;
    // A frozen broker's kernel goes on taking calls.
    called(&lab, &consumer, 3).await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await
}

pub async fn given_up(lab: Lab) -> Outcome {
    let silent = SilentBroker::listen().await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    let consumer = consumer
        .with("BROKER_PORT", silent.port())
        .with("BROKER_CONNECT_TIMEOUT_MS", SHORT);
    consumer.launch().await?;
    silent.leaves_nothing(&lab, &consumer, 2).await
}

pub async fn full_vhost(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    lab.limit_connections(Some(0)).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.launch().await?;
    // 530, as for a vhost that is not there: only the text tells the two apart.
    called(&lab, &consumer, 2).await?;
    lab.limit_connections(None).await?;
    lab.consumers(MESSAGES, 1).await
}

pub async fn late_broker(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let span = lab.span();
    let mut fleet = Vec::new();
    for name in ["ada", "grace", "edsger"] {
        let consumer = consumer(&lab, name, &[]).await?;
        consumer.tap().turn_away();
        consumer.launch().await?;
        fleet.push(consumer);
    }
    for consumer in &fleet {
        called(&lab, consumer, 5).await?;
        consumer.tap().restore();
    }
    lab.consumers(MESSAGES, 3).await?;
    let all: Vec<Vec<Span>> = fleet.iter().map(|one| pauses(&lab, one)).collect();
    let told = || shown(&all);
    let most = |nth: usize, of: fn(&Span) -> Duration| all.iter().map(|one| of(&one[nth])).max();
    let least = |nth: usize, of: fn(&Span) -> Duration| all.iter().map(|one| of(&one[nth])).min();
    let grown = fail("the fourth pause is longer than the first", told())
        .because("a broker that is starting has other things to do than to turn us away");
    let first = most(0, Span::took).max(Some(Duration::from_millis(400)));
    let [surely, possibly] = [Span::took, Span::elapsed].map(|of| most(3, of) > first);
    span.decide(surely, possibly, grown)?;
    for pause in all.iter().flatten() {
        let failure = fail(format!("no pause is longer than {CEILING:?}"), told())
            .because("the broker is back, and nobody notices");
        pause.at_most(CEILING + SLACK, failure)?;
    }
    let same = fail(
        "three consumers wait for times that differ (jitter)",
        told(),
    )
    .because("all who lost the same broker at once come back at once, and knock it over again");
    // One that is longer only because of the machine does not differ.
    let apart = |longest: Option<Duration>, shortest, by| {
        longest > Option::map(shortest, |time: Duration| time + Duration::from_millis(by))
    };
    let surely = |nth| apart(most(nth, Span::took), least(nth, Span::elapsed), 40);
    let possibly = |nth| apart(most(nth, Span::elapsed), least(nth, Span::took), 200);
    span.decide((0..5).any(surely), (0..5).any(possibly), same)
}

/// The pauses of each consumer, for a person to read.
fn shown(all: &[Vec<Span>]) -> String {
    let seconds = |one: &Vec<Span>| -> Vec<f64> {
        let seconds = one.iter().map(|pause| pause.elapsed().as_secs_f64());
        seconds.collect()
    };
    let all: Vec<_> = all.iter().map(seconds).collect();
    format!("{all:.2?} s")
}

pub async fn late_queue(lab: Lab) -> Outcome {
    let span = lab.span();
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.launch().await?;
    let why = "somebody may be making it: this is no reason to end";
    let told = || {
        let missing = |frame: &Frame| frame.args["reply_code"] == 404;
        lab.journal()
            .times(|frame| frame.method == Method::ChannelClose && missing(frame))
    };
    lab.eventually("it finds no queue (404), four times", why, async || {
        let seen = told().len();
        Ok(Seen::when(seen >= 4, || format!("{seen} time(s)")))
    })
    .await?;
    lab.topology(TOPOLOGY).await?;
    lab.consumers(MESSAGES, 1).await?;
    // From the broker's word on: how long a consumer takes to close its connection, too, is the
    // machine's affair.
    let calls = lab.journal().calls("consumer");
    let next = |told: f64| calls.iter().find(|call| **call > told);
    let pauses = told().into_iter();
    let pauses = pauses.filter_map(|told| Some(lab.between(told, *next(told)?)));
    let pauses: Vec<Span> = pauses.collect();
    let sum = |of: fn(&Span) -> Duration| -> Duration { pauses.iter().take(4).map(of).sum() };
    let [surely, possibly] =
        [Span::took, Span::elapsed].map(|of| sum(of) > Duration::from_millis(1200));
    let short = fail(
        "no queue yet (404): the pauses grow, although each login succeeds",
        shown(std::slice::from_ref(&pauses)),
    )
    .because("a connection that ends at once is a try that failed")
    .hole(4);
    span.decide(surely, possibly, short)
}

pub async fn new_trouble(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consumer(&lab, "consumer", &[]).await?;
    consumer.tap().turn_away();
    consumer.launch().await?;
    called(&lab, &consumer, 3).await?;
    consumer.tap().restore();
    lab.consumers(MESSAGES, 1).await?;
    let span = lab.span();
    let steady = Duration::from_millis(2200);
    lab.eventually("the connection lasts", "it is a good one", async || {
        Ok(Seen::when(span.exceeds(steady), || "it is new".to_owned()))
    })
    .await?;
    let calls = lab.journal().calls("consumer").len();
    consumer.tap().cut();
    let pause = lab.span();
    called(&lab, &consumer, calls + 1).await?;
    let late = fail(
        "cut after 2 s that went well, it calls again at once, as at the first trouble",
        format!("after {:.2?}", pause.elapsed()),
    )
    .because("a program that runs for months meets many troubles: each is a new one")
    .hole(4);
    pause.at_most(Duration::from_millis(900), late)
}

pub async fn unknown_name(lab: Lab) -> Outcome {
    let lost = consumer(&lab, "lost", &[]).await?;
    let lost = lost.with("BROKER_HOST", "broker.invalid");
    lost.launch().await?;
    let expected = "it looks the name up again, after longer and longer pauses";
    let why = "a container's name is known once it runs: before that, nobody knows it";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let tries = lost.output().matches("calling broker.invalid").count();
        Ok(Seen::when(tries >= 4, || format!("{tries} tries")))
    })
    .await?;
    // By now it is in its fourth pause, which is a long one.
    let span = lab.span();
    lab.eventually("the lookup ends", "it takes no longer", async || {
        let over = span.exceeds(Duration::from_millis(200));
        Ok(Seen::when(over, || "not yet".to_owned()))
    })
    .await?;
    stops_at_once(&lab, &lost, "in a pause").await?;

    let hanging = consumer(&lab, "hanging", &[]).await?;
    let hanging = hanging.with("BROKER_CONNECT_TIMEOUT_MS", 60_000);
    hanging.tap().black_hole(Side::Server);
    hanging.launch().await?;
    called(&lab, &hanging, 1).await?;
    stops_at_once(&lab, &hanging, "in a call").await
}

async fn stops_at_once(lab: &Lab, service: &Service, when: &str) -> Outcome {
    let span = lab.span();
    let exit = service.stop().await?;
    let failure = fail(
        format!("SIGTERM {when}: exit code 0, at once"),
        format!("{exit}, after {:.1?}", span.elapsed()),
    )
    .because(
        "no message is unsettled: an operator who waits for the end waits in vain, then kills it",
    );
    failure.clone().unless(exit == Exit::Code(0))?;
    span.at_most(Duration::from_millis(800), failure)
}

pub async fn closed_by_operator(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    effects(&lab, &consumer, 1).await?;
    let calls = lab.journal().calls("producer").len();
    let told = |name: &str| {
        let closed = lab.journal().methods(name, Method::ConnectionClose);
        closed.iter().any(|frame| frame.args["reply_code"] == 320)
    };
    let why = "so begins each upgrade of a broker: 320, CONNECTION_FORCED";
    lab.eventually("the broker closes both connections", why, async || {
        lab.close_connections().await?;
        let both = told("producer") && told("consumer");
        Ok(Seen::when(both, || "not yet".to_owned()))
    })
    .await?;
    goes_on(&lab, &consumer, calls).await?;
    producer.terminate()?;
    let ids = ends_well(&lab, &producer).await?;
    arrived(
        &lab,
        &consumer,
        "each confirmed message has its effect, once",
        &ids,
    )
    .await
}

/// Waits until the producer, on a connection after its first `calls`, gets messages confirmed,
/// and until further ones have their effect.
async fn goes_on(lab: &Lab, consumer: &Service, calls: usize) -> Outcome {
    let why = "whoever sends must find the broker again by itself, too";
    let expected = "the producer gets messages confirmed on a new connection";
    lab.eventually_within(PATIENCE, expected, why, async || {
        let confirms = lab.journal().methods("producer", Method::BasicAck);
        let new = |frame: &Frame| frame.connection as usize > calls;
        Ok(Seen::when(confirms.iter().any(new), || {
            "none yet".to_owned()
        }))
    })
    .await?;
    lab.consumers(MESSAGES, 1).await?;
    let so_far = consumer.rows("messages")?.len();
    effects(lab, consumer, so_far + 5).await
}

pub async fn broker_restart(lab: Lab) -> Outcome {
    lab.own_broker().await?;
    lab.topology(TOPOLOGY).await?;
    let consumer = consuming(&lab).await?;
    let producer = producer(&lab, 50, &[]).await?;
    producer.launch().await?;
    effects(&lab, &consumer, 5).await?;
    lab.kill_broker().await?;
    let calls = lab.journal().calls("producer").len();
    lab.broker_is_back().await?;
    goes_on(&lab, &consumer, calls).await?;
    producer.terminate()?;
    let ids = ends_well(&lab, &producer).await?;
    let expected = "each confirmed message has its effect, once, over the broker's death";
    arrived(&lab, &consumer, expected, &ids).await
}
