//! Who logs in where, and what they may do then.

use check::Exit;
use check::wiretap::Method;
use check::{Grant, Grants, Lab, Login, Outcome, Rights, Seen, Service, expect, fail};
use lapin::options::{
    BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    ExchangeDeclareOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::net::{CONSUMER, DEAD, MESSAGES, PRODUCER, TOPOLOGY, arrived, ends_well, visitor};

/// A password with all that has a meaning in a URL.
const AWKWARD: &str = "p/a@s:s%2Fw#o?r d&=+";

pub async fn missing(lab: Lab) -> Outcome {
    let names = [
        "BROKER_HOST",
        "BROKER_VHOST",
        "BROKER_USER",
        "BROKER_PASSWORD",
    ];
    let login = lab.user(CONSUMER).await?;
    for role in ["producer", "consumer"] {
        let bare = visitor(&lab, role, &[role], &login).await?;
        let bare = names.into_iter().fold(bare, Service::without);
        names_them(&bare, &names).await?;
    }
    for name in names {
        let label = name.to_lowercase().replace('_', "-");
        let one = visitor(&lab, &label, &["consumer"], &login).await?;
        names_them(&one.without(name), &[name]).await?;
    }
    let odd = visitor(&lab, "odd-port", &["consumer"], &login).await?;
    names_them(&odd.with("BROKER_PORT", "http"), &["BROKER_PORT"]).await
}

/// Runs the service, which ends at once because of these variables.
async fn names_them(service: &Service, names: &[&str]) -> Outcome {
    let exit = service.run().await?;
    let said = service.output();
    let unnamed: Vec<_> = names.iter().filter(|name| !said.contains(**name)).collect();
    expect(unnamed.is_empty() && exit != Exit::Code(0))
        .or(
            format!("{} ends, and names {}", service.name(), names.join(", ")),
            format!("{exit}; not named: {unnamed:?}"),
        )
        .because("who starts it on a new machine should not have to read its source")?;
    keeps_quiet(service)
}

/// No service ever shows its password.
fn keeps_quiet(service: &Service) -> Outcome {
    let password = service.variable("BROKER_PASSWORD").unwrap_or_default();
    let said = service.output();
    // As it is, and as it stands in a URL.
    let forms = [password.clone(), percent(&password)];
    let shown = !password.is_empty() && forms.iter().any(|form| said.contains(form));
    expect(!shown)
        .or(
            format!("the password is not in what {} prints", service.name()),
            "it is",
        )
        .because("a log is read by many, kept for long and sent around")
}

fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

pub async fn as_told(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mut login = Login::generate(format!("{}@a/b", lab.vhost()));
    login.password = AWKWARD.to_owned();
    let login = lab.join(login, CONSUMER).await?;
    let consumer = visitor(&lab, "consumer", &["consumer"], &login).await?;
    consumer.launch().await?;
    lab.consumers(MESSAGES, 1).await?;
    let tuned = lab.journal().methods("consumer", Method::ConnectionTuneOk);
    let heartbeat = tuned
        .first()
        .and_then(|frame| frame.args["heartbeat"].as_u64());
    expect(heartbeat == Some(1))
        .or(
            "a heartbeat of BROKER_HEARTBEAT_S, 1 s (connection.tune-ok)",
            format!("{heartbeat:?}"),
        )
        .because(
            "RabbitMQ's own is 60 s: a dead peer would stay unnoticed for two to three minutes",
        )?;
    keeps_quiet(&consumer)
}

pub async fn refused(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let stranger = Login::generate(lab.user(CONSUMER).await?.user);
    let known = lab.user(PRODUCER).await?;
    for (name, role, login, vhost, code) in [
        ("wrong-password", "consumer", &stranger, lab.vhost(), 403),
        (
            "wrong-password-too",
            "producer",
            &stranger,
            lab.vhost(),
            403,
        ),
        ("no-such-vhost", "producer", &known, "nowhere", 530),
        ("no-right", "consumer", &known, lab.vhost(), 403),
    ] {
        let visitor = visitor(&lab, name, &[role], login).await?;
        let visitor = visitor.logs_in(login, vhost);
        visitor.begin().await?;
        gives_up(&lab, &visitor, code).await?;
        keeps_quiet(&visitor)?;
    }
    Ok(())
}

/// Waits until the service has ended because of the broker's `code`, after one login.
async fn gives_up(lab: &Lab, service: &Service, code: u16) -> Outcome {
    let name = service.name();
    let expected = format!("{name}: the broker says {code}; one login, and exit code 1");
    let why = "the same question gets the same answer: a thousand logins a minute change nothing";
    let logins = || {
        lab.journal()
            .methods(&name, Method::ConnectionStartOk)
            .len()
    };
    let exit = lab
        .eventually(&expected, why, async || {
            expect(logins() < 3)
                .or(&expected, format!("{} logins, and going on", logins()))
                .because(why)?;
            Ok(match service.exit() {
                Some(exit) => Seen::Yes(exit),
                None => Seen::NotYet(format!("{} login(s), and it still runs", logins())),
            })
        })
        .await?;
    let words = service.last_words(1).join("");
    expect(logins() == 1 && matches!(exit, Exit::Code(code) if code != 0))
        .or(
            expected,
            format!("{} login(s); {exit}; it said last: {words}", logins()),
        )
        .because(why)
}

pub async fn least_privilege(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let grants = lab.rights().await?;
    let producer = user(&lab, &grants, "producer").await?;
    let consumer = user(&lab, &grants, "consumer").await?;
    // With these rights both can do their work …
    let sender = visitor(
        &lab,
        "producer",
        &["producer", "--count", "3", "--rate", "500"],
        &producer,
    );
    let sender = sender.await?;
    sender.begin().await?;
    let ids = ends_well(&lab, &sender).await?;
    let receiver = visitor(&lab, "consumer", &["consumer"], &consumer).await?;
    receiver.launch().await?;
    arrived(
        &lab,
        &receiver,
        "3 messages sent with these rights arrive with these rights",
        &ids,
    )
    .await?;
    // … and nothing else, also where a name only looks like the right one.
    let other = "messages.other";
    make(&lab, other).await?;
    for (login, who) in [(&producer, "producer"), (&consumer, "consumer")] {
        for deed in [
            Deed::Read(MESSAGES),
            Deed::Take(MESSAGES),
            Deed::Read(DEAD),
            Deed::Publish(MESSAGES),
            Deed::Publish(""),
            Deed::Publish(other),
            Deed::Publish("amq.direct"),
            Deed::Declare("mine"),
            Deed::Declare("messages-2"),
            Deed::Delete(DEAD),
            Deed::Exchange("mine"),
        ] {
            let work = match deed {
                Deed::Publish(MESSAGES) => who == "producer",
                Deed::Read(MESSAGES) | Deed::Take(MESSAGES) => who == "consumer",
                _ => false,
            };
            if !work {
                forbidden(&lab, login, who, &deed).await?;
            }
        }
    }
    Ok(())
}

/// Makes the user of this role, with the rights that the program says it needs.
async fn user(lab: &Lab, grants: &Grants, role: &str) -> Outcome<Login> {
    let Some(Grant {
        configure,
        write,
        read,
    }) = grants.get(role)
    else {
        return Err(fail(format!("rights for the {role}"), "none")
            .because("whoever sets up the broker asks the program for them")
            .into());
    };
    let rights = Rights {
        configure,
        write,
        read,
    };
    lab.user(rights).await
}

/// Makes an exchange and a queue of this name, bound to each other.
async fn make(lab: &Lab, name: &str) -> Outcome {
    let connection = lab.connect().await?;
    let made = async {
        let channel = connection.create_channel().await?;
        channel
            .exchange_declare(
                name.into(),
                lapin::ExchangeKind::Direct,
                Default::default(),
                FieldTable::default(),
            )
            .await?;
        channel
            .queue_declare(name.into(), Default::default(), FieldTable::default())
            .await?;
        channel
            .queue_bind(
                name.into(),
                name.into(),
                name.into(),
                Default::default(),
                FieldTable::default(),
            )
            .await?;
        connection.close(200, "done".into()).await
    };
    Ok(made.await.map_err(anyhow::Error::from)?)
}

/// Something that a user may or may not do.
#[derive(Debug)]
enum Deed {
    Read(&'static str),
    Take(&'static str),
    Publish(&'static str),
    Declare(&'static str),
    Delete(&'static str),
    Exchange(&'static str),
}

impl std::fmt::Display for Deed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Deed::Read(name) => write!(f, "consume from queue `{name}`"),
            Deed::Take(name) => write!(f, "take a message out of queue `{name}`"),
            Deed::Publish("") => write!(f, "publish past the exchange, into any queue"),
            Deed::Publish(name) => write!(f, "publish to exchange `{name}`"),
            Deed::Declare(name) => write!(f, "declare a queue `{name}`"),
            Deed::Delete(name) => write!(f, "delete queue `{name}`"),
            Deed::Exchange(name) => write!(f, "declare an exchange `{name}`"),
        }
    }
}

impl Deed {
    async fn done(&self, channel: &Channel) -> lapin::Result<()> {
        let none = FieldTable::default;
        match *self {
            Deed::Read(queue) => {
                let options = BasicConsumeOptions::default();
                channel
                    .basic_consume(queue.into(), "".into(), options, none())
                    .await?;
            }
            Deed::Take(queue) => {
                channel
                    .basic_get(queue.into(), BasicGetOptions::default())
                    .await?;
            }
            Deed::Publish(exchange) => {
                channel
                    .confirm_select(ConfirmSelectOptions::default())
                    .await?;
                let options = BasicPublishOptions::default();
                let about = BasicProperties::default();
                let key = DEAD.into();
                let sent = channel.basic_publish(exchange.into(), key, options, b"x", about);
                sent.await?.await?;
            }
            Deed::Declare(queue) => {
                let options = QueueDeclareOptions::default();
                channel.queue_declare(queue.into(), options, none()).await?;
            }
            Deed::Delete(queue) => {
                channel
                    .queue_delete(queue.into(), QueueDeleteOptions::default())
                    .await?;
            }
            Deed::Exchange(name) => {
                let options = ExchangeDeclareOptions::default();
                let kind = lapin::ExchangeKind::Fanout;
                channel
                    .exchange_declare(name.into(), kind, options, none())
                    .await?;
            }
        }
        Ok(())
    }
}

/// The broker does not let `login` do that.
async fn forbidden(lab: &Lab, login: &Login, who: &str, deed: &Deed) -> Outcome {
    let url = lab.url_for(login)?;
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.map_err(anyhow::Error::from)?;
    let channel = connection
        .create_channel()
        .await
        .map_err(anyhow::Error::from)?;
    let outcome = deed.done(&channel).await;
    let _ = connection.close(200, "done".into()).await;
    let refused = matches!(
        outcome.as_ref().map_err(lapin::Error::kind),
        Err(lapin::ErrorKind::ProtocolError(said)) if said.get_id() == 403
    );
    expect(refused)
        .or(
            format!("the {who}'s user may not {deed}"),
            match outcome {
                Ok(()) => "it may".to_owned(),
                Err(error) => error.to_string(),
            },
        )
        .because("its password lies on another machine: who finds it there can do what it may do")
}
