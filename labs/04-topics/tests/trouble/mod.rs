//! Troubles that only a person can fix: the services must name them and end.

use check::wiretap::{Frame, Method, Side};
use check::{Failure, Lab, Login, Outcome, Rights, Service, Stop, expect};
use lapin::ExchangeKind;

use super::causes;
use super::logs::{LOGS, bind_check, consumer, ends_well, producer};

/// All that a producer needs: it declares one exchange and publishes to it.
const PRODUCER: Rights<'_> = Rights {
    configure: "^logs$",
    write: "^logs$",
    read: "",
};

/// No random password holds this word, and no log line may.
const SECRET: &str = "geheim";

pub async fn wrong_type(lab: Lab) -> Outcome {
    lab.declare_exchange(LOGS, ExchangeKind::Direct).await?;
    let producer = producer(&lab, "producer", &["log.warning"]).await?;
    let consumer = consumer(&lab, "ops", "ops", &["log.#"]).await?;
    for service in [&producer, consumer.service()] {
        let output = gives_up(&lab, service).await?;
        // A message may say anything; the wire shows what was declared.
        causes::none(&lab, 2)?;
        let parts = [LOGS, "topic", "direct"];
        expect(parts.iter().all(|word| output.contains(word)))
            .or(
                format!(
                    "the error names exchange `{LOGS}`, the type `topic` and the type `direct`"
                ),
                format!("it said last: {}", service.last_words(1).join("")),
            )
            .because("the broker's answer names them; logged, it saves a person an hour")?;
    }
    Ok(())
}

pub async fn wrong_place(lab: Lab) -> Outcome {
    let login = lab.user(PRODUCER).await?;
    let wrong = Login {
        password: format!("{SECRET}/@:%23"),
        ..login.clone()
    };
    // With the right password and vhost the producer works: what follows comes from these two.
    bind_check(&lab, "#").await?;
    let at_home = producer(&lab, "at-home", &["log.warning"]).await?;
    ends_well(&at_home.at(&login, lab.vhost())).await?;
    both_name(&lab, "lost", &login, "nowhere-at-all").await?;
    both_name(&lab, "stranger", &wrong, lab.vhost()).await?;
    names_the_setting(&lab).await
}

/// Has a producer and a consumer log in where the broker refuses them.
async fn both_name(lab: &Lab, name: &str, login: &Login, vhost: &str) -> Outcome {
    let producer = producer(lab, &format!("producer-{name}"), &["log.warning"]).await?;
    let consumer = consumer(lab, &format!("consumer-{name}"), "ops", &["log.#"]).await?;
    for service in [producer, consumer.service().clone()] {
        names_user_and_vhost(lab, service, login, vhost).await?;
    }
    Ok(())
}

/// Starts a producer with a URL that nothing can read.
async fn names_the_setting(lab: &Lab) -> Outcome {
    let url = format!("amqp://ada:{SECRET}@127.0.0.1:port/x");
    let garbled = producer(lab, "garbled", &["log.warning"]).await?;
    let garbled = garbled.with("AMQP_URL", url);
    let output = garbled.gives_up().await?;
    expect(output.contains("AMQP_URL") && !output.contains(SECRET))
        .or(
            "an error that names AMQP_URL and shows no part of its value",
            garbled.last_words(1).join(""),
        )
        .because("a URL that cannot be read may have the password in any of its parts")
}

pub async fn no_permission(lab: Lab) -> Outcome {
    let declares_nothing = producer(&lab, "declares-nothing", &["log.warning"]).await?;
    let writes_nothing = producer(&lab, "writes-nothing", &["log.warning"]).await?;
    let reads_nothing = consumer(&lab, "reads-nothing", "ops", &["log.#"]).await?;
    let (all, none) = (Rights::ALL, "");
    let refused = [
        (
            declares_nothing,
            Rights {
                configure: none,
                ..all
            },
        ),
        (writes_nothing, Rights { write: none, ..all }),
        (
            reads_nothing.service().clone(),
            Rights { read: none, ..all },
        ),
    ];
    for (service, rights) in refused {
        let login = lab.user(rights).await?;
        names_user_and_vhost(&lab, service, &login, lab.vhost()).await?;
    }
    Ok(())
}

/// Starts a service that the broker refuses: it must end, and returns what it printed. If it does not
/// end, the method that the broker refused leads to the hole.
async fn gives_up(lab: &Lab, service: &Service) -> Outcome<String> {
    let outcome = service.gives_up().await;
    outcome.map_err(|stop| match stop {
        Stop::Failed(failure) => with_refusal(lab, &service.name(), *failure).into(),
        unknown => unknown,
    })
}

/// Adds the first method that the broker refused, and the hole of that method.
fn with_refusal(lab: &Lab, service: &str, mut failure: Failure) -> Failure {
    let frames = lab.journal().frames(|frame| frame.service == service);
    let refuses =
        |frame: &Frame| frame.from == Side::Server && frame.method == Method::ChannelClose;
    let Some(at) = frames.iter().position(refuses) else {
        return failure;
    };
    // A channel.close does not name the method: it is the last one on that channel.
    let asks = |frame: &&Frame| frame.from == Side::Client && frame.same_channel(&frames[at]);
    let Some(asked) = frames[..at].iter().rfind(asks) else {
        return failure;
    };
    let said = frames[at].args["reply_text"].as_str().unwrap_or("?");
    failure.observed += &format!("; the broker refused its {}: {said}", asked.method);
    failure.hole = hole_with(asked.method).or(failure.hole);
    failure
}

/// The hole that sends this method.
fn hole_with(method: Method) -> Option<u32> {
    match method {
        Method::QueueBind => Some(1),
        Method::ExchangeDeclare => Some(2),
        Method::BasicPublish => Some(3),
        Method::QueueUnbind => Some(6),
        _ => None,
    }
}

/// Starts a service that the broker refuses: it must log the user and the vhost, and no password.
async fn names_user_and_vhost(lab: &Lab, service: Service, login: &Login, vhost: &str) -> Outcome {
    let service = service.at(login, vhost);
    let output = gives_up(lab, &service).await?;
    let secrets = [SECRET, &login.password];
    expect(!secrets.iter().any(|word| output.contains(word)))
        .or("the password is in no line of the log", "it is in the log")
        .because("logs are copied, mailed and kept for years; a URL has the password in it")?;
    let names_both = |line: &str| line.contains(&login.user) && line.contains(vhost);
    let user = &login.user;
    expect(output.lines().any(names_both))
        .or(
            format!("a line that names user `{user}` and vhost `{vhost}`"),
            format!("it said last:\n{}", service.last_words(3).join("\n")),
        )
        .because("many refusals come from a setting of another environment: name it")
}
