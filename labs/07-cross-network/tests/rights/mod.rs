//! The check of the rights that the program asks for: enough for the work, and no more.

use std::fmt;

use anyhow::Error;
use check::{Grant, Grants, Lab, Login, Outcome, Rights, expect, fail};
use lapin::options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ExchangeKind};

use super::net::{DEAD, MESSAGES, TOPOLOGY, all_confirmed, client_with, each_once};

/// An exchange and a queue whose name only begins like the right one.
const OTHER: &str = "messages.other";

/// What each role must do, or must not be able to do.
const ACTIONS: [Action; 22] = [
    Action::Consume(MESSAGES),
    Action::Get(MESSAGES),
    Action::Consume(DEAD),
    Action::Consume(OTHER),
    Action::Consume("mine"),
    Action::Publish(MESSAGES),
    Action::Publish(""),
    Action::Publish(OTHER),
    Action::Publish("amq.direct"),
    Action::Publish("mine"),
    Action::Declare(""),
    Action::Declare("mine"),
    Action::Declare("messages-2"),
    Action::DeclareExchange("mine"),
    // Last what would change the topology: if it is allowed, the check ends there.
    Action::Bind(DEAD),
    Action::Publish(DEAD),
    Action::Declare(MESSAGES),
    Action::DeclareExchange(MESSAGES),
    Action::Bind(MESSAGES),
    Action::Delete(DEAD),
    Action::Delete(MESSAGES),
    Action::DeleteExchange(MESSAGES),
];

pub async fn least_privilege(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let grants = lab.rights().await?;
    let producer = user(&lab, &grants, "producer").await?;
    let consumer = user(&lab, &grants, "consumer").await?;
    both_work(&lab, &producer, &consumer).await?;
    lab.bind_queue(OTHER, OTHER, ExchangeKind::Direct, OTHER)
        .await?;
    for (login, role) in [(&producer, "producer"), (&consumer, "consumer")] {
        let connection = lab.connect_as(login).await?;
        for action in ACTIONS.iter().filter(|action| !action.is_work_of(role)) {
            forbidden(&connection, role, action).await?;
        }
        let _ = connection.close(200, "done".into()).await;
    }
    Ok(())
}

/// Makes a user for this role, with the rights that the program says it needs.
async fn user(lab: &Lab, grants: &Grants, role: &str) -> Outcome<Login> {
    let missing = fail(format!("rights for the {role}"), "none")
        .because("setting up the broker asks the program which rights its users need");
    let Grant {
        configure,
        write,
        read,
    } = grants.get(role).ok_or(missing)?;
    let rights = Rights {
        configure,
        write,
        read,
    };
    lab.user(rights).await
}

/// With these users both programs can do their work.
async fn both_work(lab: &Lab, producer: &Login, consumer: &Login) -> Outcome {
    let arguments = ["producer", "--count", "3", "--rate", "500"];
    let sender = client_with(lab, "producer", &arguments, producer).await?;
    sender.begin().await?;
    let ids = all_confirmed(lab, &sender).await?;
    let receiver = client_with(lab, "consumer", &["consumer"], consumer).await?;
    receiver.launch().await?;
    let expected = "with these rights 3 messages are sent, and each has its effect once";
    each_once(lab, &receiver, expected, &ids).await
}

/// Something that a user may or may not do.
#[derive(Debug, PartialEq)]
enum Action {
    Consume(&'static str),
    Get(&'static str),
    Publish(&'static str),
    Declare(&'static str),
    Delete(&'static str),
    DeclareExchange(&'static str),
    DeleteExchange(&'static str),
    /// The queue of this name to the exchange of our messages.
    Bind(&'static str),
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Consume(name) => write!(f, "consume from queue `{name}`"),
            Self::Get(name) => write!(f, "get a message from queue `{name}`"),
            Self::Publish("") => write!(f, "publish past the exchange, into any queue"),
            Self::Publish(name) => write!(f, "publish to exchange `{name}`"),
            Self::Declare("") => write!(f, "declare a queue that the broker names"),
            Self::Declare(name) => write!(f, "declare a queue `{name}`"),
            Self::Delete(name) => write!(f, "delete queue `{name}`"),
            Self::DeclareExchange(name) => write!(f, "declare an exchange `{name}`"),
            Self::DeleteExchange(name) => write!(f, "delete exchange `{name}`"),
            Self::Bind(name) => write!(f, "bind queue `{name}` with another key"),
        }
    }
}

impl Action {
    fn is_work_of(&self, role: &str) -> bool {
        match role {
            "producer" => *self == Self::Publish(MESSAGES),
            _ => matches!(self, Self::Consume(MESSAGES) | Self::Get(MESSAGES)),
        }
    }

    async fn perform(&self, channel: &Channel) -> lapin::Result<()> {
        let none = FieldTable::default();
        match *self {
            Self::Consume(queue) => {
                let options = BasicConsumeOptions::default();
                let consumer = channel.basic_consume(queue.into(), "".into(), options, none);
                consumer.await.map(drop)
            }
            Self::Get(queue) => {
                let got = channel.basic_get(queue.into(), BasicGetOptions::default());
                got.await.map(drop)
            }
            Self::Publish(exchange) => publish(channel, exchange).await,
            Self::Declare(queue) => {
                let declared = channel.queue_declare(queue.into(), Default::default(), none);
                declared.await.map(drop)
            }
            Self::Delete(queue) => {
                let deleted = channel.queue_delete(queue.into(), Default::default());
                deleted.await.map(drop)
            }
            Self::DeclareExchange(name) => {
                let (kind, options) = (ExchangeKind::Fanout, Default::default());
                let declared = channel.exchange_declare(name.into(), kind, options, none);
                declared.await
            }
            Self::DeleteExchange(name) => {
                let deleted = channel.exchange_delete(name.into(), Default::default());
                deleted.await
            }
            Self::Bind(name) => {
                let (options, key) = (Default::default(), "another".into());
                let bound = channel.queue_bind(name.into(), MESSAGES.into(), key, options, none);
                bound.await
            }
        }
    }
}

/// Publishes to the exchange, and awaits the confirm: before it a refusal would go unseen.
async fn publish(channel: &Channel, exchange: &str) -> lapin::Result<()> {
    channel.confirm_select(Default::default()).await?;
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let sent = channel.basic_publish(exchange.into(), DEAD.into(), options, b"x", properties);
    sent.await?.await.map(drop)
}

/// The broker must refuse this action to this user. A refusal ends the channel only.
async fn forbidden(connection: &Connection, role: &str, action: &Action) -> Outcome {
    let channel = connection.create_channel().await.map_err(Error::from)?;
    let outcome = action.perform(&channel).await;
    let refused = matches!(
        outcome.as_ref().map_err(lapin::Error::kind),
        Err(lapin::ErrorKind::ProtocolError(said)) if said.get_id() == 403
    );
    // Refused for another reason, as a declare with other arguments, it had the right.
    let observed =
        outcome.map_or_else(|error| format!("it may: {error}"), |()| "it may".to_owned());
    expect(refused)
        .or(format!("the {role}'s user may not {action}"), observed)
        .because("anyone who reads its password on that machine can do all that it may do")
}
