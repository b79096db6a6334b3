//! What a check does at the broker itself, past every wiretap: as a foreign client, and as
//! the one who administers it.

use anyhow::{Context, Result};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use rand::distr::{Alphanumeric, SampleString};

use super::{Lab, Outcome, fail};
use broker::access::{self, Grants, Login};
use broker::{Binding, Broker, OwnNode, Queue};
use explain::unacked_of;
use wiretap::{CheckEvent, Event};

/// Which names a user may touch in the room's vhost, as regular expressions of RabbitMQ's;
/// `""` is none, `.*` is all.
#[derive(Debug, Clone, Copy)]
pub struct Rights<'a> {
    /// To declare and delete.
    pub configure: &'a str,
    /// To publish, and to bind to.
    pub write: &'a str,
    /// To consume, and to bind from.
    pub read: &'a str,
}

impl Rights<'_> {
    /// All rights to all names.
    pub const ALL: Self = Self {
        configure: ".*",
        write: ".*",
        read: ".*",
    };
}

impl Lab {
    /// The broker that services started now will use.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        match self.0.own.get() {
            Some(own) => Some(own.broker()),
            None => self.0.config.broker.as_deref(),
        }
    }

    /// What the machine takes away from the broker it takes away from the check.
    pub(super) fn watch_broker(&self, broker: &Broker) {
        if let Some([keeper, node]) = broker.processes() {
            self.0.watch.add_family(keeper);
            self.0.watch.add(node);
        }
    }

    pub(super) fn need_broker(&self) -> Result<&Broker> {
        self.broker().context("this chapter has no broker")
    }

    /// Gives this check a broker of its own, which it may kill. Before it starts a service.
    ///
    /// # Errors
    /// Unknown when there is no second node to be had.
    pub async fn own_broker(&self) -> Outcome {
        let own = OwnNode::acquire(&self.0.config.paths, &|_| ())
            .await
            .map_err(anyhow::Error::from)?;
        own.broker().create_vhost(&self.0.vhost).await?;
        self.watch_broker(own.broker());
        let _ = self.0.own.set(own);
        Ok(())
    }

    /// `kill -9` for the check's own broker, which its keeper starts again at once.
    ///
    /// # Errors
    /// Unknown when it cannot be killed, or the check has no broker of its own.
    pub async fn kill_broker(&self) -> Outcome {
        let own = self
            .0
            .own
            .get()
            .context("the check has no broker of its own")?;
        self.record(CheckEvent::BrokerKilled);
        Ok(own.kill().await?)
    }

    fn record(&self, what: CheckEvent) {
        self.journal().record(Event::Check { what });
    }

    /// Waits until the check's own broker lets clients in again.
    ///
    /// # Errors
    /// Unknown when it does not come back.
    pub async fn broker_is_back(&self) -> Outcome {
        let own = self
            .0
            .own
            .get()
            .context("the check has no broker of its own")?;
        own.up().await?;
        self.watch_broker(own.broker());
        self.record(CheckEvent::BrokerBack);
        Ok(())
    }

    /// What the broker says of a queue; `None` when there is none of that name. What is unacked
    /// of a quorum queue is counted on the wire: the broker tells it seconds late.
    ///
    /// # Errors
    /// Unknown when the broker does not say.
    pub async fn queue(&self, name: &str) -> Outcome<Option<Queue>> {
        let mut queue = self.need_broker()?.queue(&self.0.vhost, name).await?;
        if let Some(queue) = queue.as_mut().filter(|queue| queue.is_quorum()) {
            queue.unacked = unacked_of(self.journal(), name);
        }
        Ok(queue)
    }

    /// How many messages `queue` holds, ready and unacked; 0 when it does not exist.
    ///
    /// # Errors
    /// Unknown when the broker does not say.
    pub async fn depth(&self, queue: &str) -> Outcome<u64> {
        let queue = self.queue(queue).await?;
        Ok(queue.map_or(0, |queue| queue.ready + queue.unacked))
    }

    /// Declares `queue` as a foreign client would: durable, and without arguments.
    ///
    /// # Errors
    /// Unknown when the broker refuses, as it does where the queue exists with other arguments.
    pub async fn declare_queue(&self, queue: &str) -> Outcome {
        let connection = self.connect().await?;
        let declared = async {
            let channel = connection.create_channel().await?;
            let options = QueueDeclareOptions::durable();
            let none = FieldTable::default();
            channel.queue_declare(queue.into(), options, none).await
        };
        let declared = declared.await;
        declared.with_context(|| format!("the check cannot declare `{queue}`"))?;
        self.journal().note(format!("queue `{queue}` declared"));
        Ok(())
    }

    /// Deletes `queue`, whatever it holds.
    ///
    /// # Errors
    /// Unknown when the broker refuses.
    pub async fn delete_queue(&self, queue: &str) -> Outcome {
        let connection = self.connect().await?;
        let deleted = async {
            let channel = connection.create_channel().await?;
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.into(), options).await
        };
        let deleted = deleted.await;
        deleted.with_context(|| format!("the check cannot delete `{queue}`"))?;
        self.journal().note(format!("queue `{queue}` deleted"));
        Ok(())
    }

    /// A connection of the check's own to the services' vhost, past every wiretap.
    ///
    /// # Errors
    /// Unknown when the broker does not let it in.
    pub async fn connect(&self) -> Outcome<Connection> {
        let url = self.need_broker()?.address.url(&self.0.vhost);
        let properties = ConnectionProperties::default().with_connection_name("check".into());
        Ok(Connection::connect(&url, properties)
            .await
            .context("the check cannot connect to the broker")?)
    }

    /// The URL of the room's vhost for `login`, past every wiretap.
    ///
    /// # Errors
    /// Unknown in a chapter without a broker.
    pub fn url_for(&self, login: &Login) -> Outcome<String> {
        let mut address = self.need_broker()?.address.clone();
        address.user.clone_from(&login.user);
        address.password.clone_from(&login.password);
        Ok(address.url(&self.0.vhost))
    }

    /// Publishes to `queue` as a foreign client would, one message for each body with its
    /// properties, and waits for the confirms.
    ///
    /// # Errors
    /// Unknown when the broker does not take them.
    pub async fn publish<B: AsRef<[u8]>>(
        &self,
        queue: &str,
        messages: impl IntoIterator<Item = (B, BasicProperties)>,
    ) -> Outcome {
        let keyed = messages
            .into_iter()
            .map(|(body, about)| (queue, body, about));
        self.publish_to("", keyed).await
    }

    /// Publishes to `exchange` as a foreign client would, one message for each routing key and
    /// body with its properties, and waits for the confirms.
    ///
    /// # Errors
    /// Unknown when the broker does not take them.
    pub async fn publish_to<K: AsRef<str>, B: AsRef<[u8]>>(
        &self,
        exchange: &str,
        messages: impl IntoIterator<Item = (K, B, BasicProperties)>,
    ) -> Outcome {
        let connection = self.connect().await?;
        let published = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(Default::default()).await?;
            let mut confirms = Vec::new();
            let mut shown = Vec::new();
            for (key, body, properties) in messages {
                let (key, body) = (key.as_ref(), body.as_ref());
                let options = BasicPublishOptions::default();
                let sent =
                    channel.basic_publish(exchange.into(), key.into(), options, body, properties);
                confirms.push(sent.await?);
                let body = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
                shown.push(format!("published with routing key `{key}`: {body}"));
            }
            for confirm in confirms {
                confirm.await?;
            }
            connection.close(200, "done".into()).await?;
            Ok::<_, lapin::Error>(shown)
        };
        let shown = published.await.context("the check cannot publish")?;
        for line in shown {
            self.journal().note(line);
        }
        Ok(())
    }

    /// Takes all messages that wait in `queue` now, oldest first.
    ///
    /// # Errors
    /// Unknown when the broker does not give them, or there is no such queue.
    pub async fn take(&self, queue: &str) -> Outcome<Vec<BasicGetMessage>> {
        let connection = self.connect().await?;
        let taken = async {
            let channel = connection.create_channel().await?;
            let mut taken = Vec::new();
            let options = BasicGetOptions::default();
            while let Some(message) = channel.basic_get(queue.into(), options).await? {
                message.ack(BasicAckOptions::default()).await?;
                taken.push(message);
            }
            connection.close(200, "done".into()).await?;
            Ok::<_, lapin::Error>(taken)
        };
        let taken = taken.await;
        let taken = taken.with_context(|| format!("the check cannot take from `{queue}`"))?;
        self.journal()
            .note(format!("took {} message(s) from `{queue}`", taken.len()));
        Ok(taken)
    }

    /// The bindings of `queue`, without the one to the default exchange that every queue has.
    ///
    /// # Errors
    /// Unknown when the broker does not say.
    pub async fn bindings(&self, queue: &str) -> Outcome<Vec<Binding>> {
        Ok(self.need_broker()?.bindings(self.vhost(), queue).await?)
    }

    /// Makes what a file of definitions describes, given by its path from the workspace's root,
    /// as an administrator does before the services start.
    ///
    /// # Errors
    /// Unknown when the file cannot be read or the broker refuses.
    pub async fn topology(&self, file: &str) -> Outcome {
        let file = self.0.config.paths.root.join(file);
        access::import(self.need_broker()?, self.vhost(), &file).await?;
        self.journal()
            .note("administrator: made exchanges and queues");
        Ok(())
    }

    /// Closes the connections to this room's vhost that the broker lists by now, as an operator
    /// does, with 320, CONNECTION_FORCED; gives how many.
    ///
    /// # Errors
    /// Unknown when the broker does not say.
    pub async fn close_connections(&self) -> Outcome<usize> {
        let closed = self.need_broker()?.close_connections(self.vhost()).await?;
        if closed > 0 {
            self.journal()
                .note(format!("operator: closed {closed} connection(s)"));
        }
        Ok(closed)
    }

    /// Limits how many connections this room's vhost takes; `None`: as many as there come.
    ///
    /// # Errors
    /// Unknown when the broker does not do it.
    pub async fn limit_connections(&self, most: Option<u32>) -> Outcome {
        let broker = self.need_broker()?;
        Ok(broker.limit_connections(self.vhost(), most).await?)
    }

    /// The rights that the program under check says its users need.
    ///
    /// # Errors
    /// A failure when it does not.
    pub async fn rights(&self) -> Outcome<Grants> {
        access::ask(&self.0.config.program).await.map_err(|error| {
            fail(
                "the role `rights` prints the rights of the users",
                format!("{error:#}"),
            )
            .because("whoever sets up the broker asks the program for them")
            .into()
        })
    }

    /// A user who may do in this room what `rights` say, for
    /// [`Service::at`](super::Service::at).
    ///
    /// # Errors
    /// Unknown when the broker does not make it.
    pub async fn user(&self, rights: Rights<'_>) -> Outcome<Login> {
        let random = Alphanumeric.sample_string(&mut rand::rng(), 12);
        let login = Login::generate(format!("lab.{}.{random}", std::process::id()));
        self.join(login, rights).await
    }

    /// As [`Lab::user`], with a name and password of the check's own choice; the name must be
    /// like no other at the broker.
    ///
    /// # Errors
    /// Unknown when the broker does not make it.
    pub async fn join(&self, login: Login, rights: Rights<'_>) -> Outcome<Login> {
        // Before it is made: one that is made and not remembered would stay.
        self.remember(&login);
        self.make(&login, rights).await?;
        Ok(login)
    }

    async fn make(&self, login: &Login, rights: Rights<'_>) -> Result<()> {
        let broker = self.need_broker()?;
        broker.create_user(&login.user, &login.password).await?;
        let rights = [rights.configure, rights.write, rights.read];
        broker.permit(&login.user, self.vhost(), rights).await
    }
}
