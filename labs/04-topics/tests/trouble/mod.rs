//! What nobody can mend but a person: it has to be said, and said well.

use anyhow::Context;
use check::{Lab, Login, Outcome, Rights, Service, expect};
use lapin::ExchangeKind;
use lapin::options::ExchangeDeclareOptions;
use lapin::types::FieldTable;

use super::logs::{LOGS, consumer, gives_up, producer};

pub async fn wrong_type(lab: Lab) -> Outcome {
    let connection = lab.connect().await?;
    let channel = connection.create_channel().await.context("no channel")?;
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    channel
        .exchange_declare(
            LOGS.into(),
            ExchangeKind::Direct,
            options,
            FieldTable::default(),
        )
        .await
        .context("the check cannot declare an exchange")?;
    lab.journal()
        .note(format!("declared `{LOGS}` as a direct exchange"));
    let producer = producer(&lab, "producer", &["log.warning"]).await?;
    let consumer = consumer(&lab, "ops", "ops", &["log.#"]).await?;
    for service in [producer, consumer.service().clone()] {
        let output = gives_up(&lab, &service).await?;
        let told = [LOGS, "topic", "direct"];
        expect(told.iter().all(|word| output.contains(word)))
            .or(
                format!("it names the exchange `{LOGS}`, topic as it should be, direct as it is"),
                format!("it said last: {}", service.last_words(1).join("")),
            )
            .because("the broker says it; passed on, it saves somebody an hour")?;
    }
    Ok(())
}

pub async fn wrong_place(lab: Lab) -> Outcome {
    let all = Rights {
        configure: ".*",
        write: ".*",
        read: ".*",
    };
    let login = lab.user(all).await?;
    let wrong = Login {
        password: "geheim/@:%23".to_owned(),
        ..login.clone()
    };
    let (vhost, nowhere) = (lab.vhost().to_owned(), "nowhere-at-all");
    for (name, login, vhost) in [("lost", &login, nowhere), ("stranger", &wrong, &*vhost)] {
        let producer = producer(&lab, &format!("producer-{name}"), &["log.warning"]).await?;
        let consumer = consumer(&lab, &format!("consumer-{name}"), "ops", &["log.#"]).await?;
        for service in [producer, consumer.service().clone()] {
            let service = service.at(login, vhost);
            names(&lab, &service, login, vhost).await?;
        }
    }
    let garbled = "amqp://ada:geheim@127.0.0.1:port/x";
    let garbled = producer(&lab, "garbled", &["log.warning"])
        .await?
        .with("AMQP_URL", garbled);
    let output = gives_up(&lab, &garbled).await?;
    let told = garbled.last_words(1).join("");
    expect(output.contains("AMQP_URL") && !output.contains("geheim"))
        .or(
            "an error that names AMQP_URL, and shows nothing of it",
            told,
        )
        .because("it cannot be read, so nobody knows which part of it is the password")
}

pub async fn no_permission(lab: Lab) -> Outcome {
    let all = Rights {
        configure: ".*",
        write: ".*",
        read: ".*",
    };
    let vhost = lab.vhost().to_owned();
    let consumer = consumer(&lab, "reads-nothing", "ops", &["log.#"]).await?;
    for (service, rights) in [
        (
            producer(&lab, "declares-nothing", &["log.warning"]).await?,
            Rights {
                configure: "",
                ..all
            },
        ),
        (
            producer(&lab, "writes-nothing", &["log.warning"]).await?,
            Rights { write: "", ..all },
        ),
        (consumer.service().clone(), Rights { read: "", ..all }),
    ] {
        let login = lab.user(rights).await?;
        let service = service.at(&login, &vhost);
        names(&lab, &service, &login, &vhost).await?;
    }
    Ok(())
}

/// Starts a service that the broker will refuse, and looks whether it says who was refused
/// where, and keeps the password to itself.
async fn names(lab: &Lab, service: &Service, login: &Login, vhost: &str) -> Outcome {
    let output = gives_up(lab, service).await?;
    let secret = ["geheim", &login.password];
    expect(!secret.iter().any(|word| output.contains(word)))
        .or(
            "the password is in no line of the log",
            "it is there".to_owned(),
        )
        .because("logs are copied, mailed and kept for years; a URL has the password in it")?;
    let told = |line: &str| line.contains(&login.user) && line.contains(vhost);
    expect(output.lines().any(told))
        .or(
            format!(
                "a line that names user `{}` and vhost `{vhost}`",
                login.user
            ),
            format!("it said last:\n{}", service.last_words(3).join("\n")),
        )
        .because("half of all refusals are a setting of another environment: say which one it was")
}
