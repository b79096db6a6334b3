//! What a check does at the broker directly, not through a wiretap: as another client, and as the
//! administrator.

use anyhow::{Context, Result};
use lapin::message::BasicGetMessage;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ErrorKind};
use rand::distr::{Alphanumeric, SampleString};

use super::{Lab, Outcome, fail, own_frame};
use broker::access::{self, Grants, Login};
use broker::{Address, Binding, Broker, OwnNode, Queue};
use explain::unacked_of;
use wiretap::{CheckEvent, Event};

/// Which names a user may use in the check's vhost, as RabbitMQ's regular expressions: `""` matches
/// none, `.*` all.
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

    /// Counts the time that the broker waits for the machine as lost for the check, too.
    pub(super) fn watch_broker(&self, broker: &Broker) {
        if let Some([keeper, node]) = broker.processes() {
            self.0.watch.add_family(keeper);
            self.0.watch.add(node);
        }
    }

    pub(super) fn need_broker(&self) -> Result<&Broker> {
        self.broker().context("this chapter has no broker")
    }

    /// Starts a broker for this check alone, which the check may kill. Call it before the first
    /// service starts.
    ///
    /// # Errors
    /// Unknown when no second node can be started.
    pub async fn own_broker(&self) -> Outcome {
        let own = OwnNode::acquire(&self.0.config.paths, &|_| ())
            .await
            .map_err(anyhow::Error::from)?;
        own.broker().create_vhost(&self.0.vhost).await?;
        self.watch_broker(own.broker());
        let _ = self.0.own.set(own);
        Ok(())
    }

    /// Kills the check's own broker with `kill -9`. Its keeper restarts it at once.
    ///
    /// # Errors
    /// Unknown when it cannot be killed, or the check has no broker of its own.
    pub async fn kill_broker(&self) -> Outcome {
        let own = self.need_own()?;
        self.record(CheckEvent::BrokerKilled);
        Ok(own.kill().await?)
    }

    /// Makes the check's own broker ready for a kill at one moment, and gives what stops it then, from any
    /// thread. [`Lab::kill_stopped_broker`] does the rest.
    ///
    /// # Errors
    /// Unknown when the broker does not answer, or the check has none of its own.
    pub async fn broker_stopper(&self) -> Outcome<wiretap::Act> {
        let own = self.need_own()?;
        own.settle().await?;
        Ok(own.stopper())
    }

    /// Kills the check's own broker, which has been stopped.
    ///
    /// # Errors
    /// As [`Lab::kill_broker`].
    pub async fn kill_stopped_broker(&self) -> Outcome {
        self.record(CheckEvent::BrokerKilled);
        Ok(self.need_own()?.kill_settled().await?)
    }

    fn need_own(&self) -> Result<&OwnNode> {
        let own = self.0.own.get();
        own.context("the check has no broker of its own")
    }

    pub(super) fn record(&self, what: CheckEvent) {
        self.journal().record(Event::Check { what });
    }

    /// Waits until the check's own broker accepts clients again.
    ///
    /// # Errors
    /// Unknown when it does not.
    pub async fn broker_is_back(&self) -> Outcome {
        let own = self.need_own()?;
        own.up().await?;
        self.watch_broker(own.broker());
        self.record(CheckEvent::BrokerBack);
        Ok(())
    }

    /// Makes `queue` refuse every publish from now on: the broker nacks it. A classic queue
    /// may drop the messages that it holds (RabbitMQ 3.10.8 does).
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn refuse(&self, queue: &str) -> Outcome {
        let broker = self.need_broker()?;
        broker.refuse_publishes(self.vhost(), queue).await?;
        self.journal()
            .note(format!("administrator: `{queue}` refuses publishes"));
        Ok(())
    }

    /// Ends [`Lab::refuse`]; for a quorum queue, only on a new channel.
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn accept(&self, queue: &str) -> Outcome {
        let broker = self.need_broker()?;
        broker.accept_publishes(self.vhost(), queue).await?;
        self.journal()
            .note(format!("administrator: `{queue}` takes publishes again"));
        Ok(())
    }

    /// The state of a queue; `None` when no queue has that name. Unacked messages of a quorum
    /// queue are counted on the wire: the broker reports them up to 5 s late.
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn queue(&self, name: &str) -> Outcome<Option<Queue>> {
        let mut queue = self.need_broker()?.queue(&self.0.vhost, name).await?;
        if let Some(queue) = queue.as_mut().filter(|queue| queue.is_quorum()) {
            queue.unacked = unacked_of(self.journal(), name);
        }
        Ok(queue)
    }

    /// The state of each queue of the check's vhost, by name.
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn queues(&self) -> Outcome<Vec<(String, Queue)>> {
        let mut queues = Vec::new();
        for name in self.need_broker()?.queue_names(self.vhost()).await? {
            let queue = self.queue(&name).await?;
            queues.extend(queue.map(|queue| (name, queue)));
        }
        Ok(queues)
    }

    /// How many messages `queue` holds, ready and unacked; 0 when it does not exist.
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn depth(&self, queue: &str) -> Outcome<u64> {
        let queue = self.queue(queue).await?;
        Ok(queue.map_or(0, |queue| queue.ready + queue.unacked))
    }

    /// Declares `queue` as another client would: durable, and without arguments.
    ///
    /// # Errors
    /// A failure when the queue exists with other arguments.
    pub async fn declare_queue(&self, queue: &str) -> Outcome {
        let connection = self.connect().await?;
        let declared = async {
            let channel = connection.create_channel().await?;
            let options = QueueDeclareOptions::durable();
            let none = FieldTable::default();
            channel.queue_declare(queue.into(), options, none).await
        };
        let what = format!("declare `{queue}` as another client does: durable, without arguments");
        allowed(declared.await, &what)?;
        self.record(CheckEvent::QueueDeclared(own_frame::declare(queue)));
        Ok(())
    }

    /// Deletes `queue` with all its messages.
    ///
    /// # Errors
    /// A failure when another connection holds it for itself.
    pub async fn delete_queue(&self, queue: &str) -> Outcome {
        let connection = self.connect().await?;
        let deleted = async {
            let channel = connection.create_channel().await?;
            let options = QueueDeleteOptions::default();
            channel.queue_delete(queue.into(), options).await
        };
        allowed(deleted.await, &format!("delete `{queue}`"))?;
        self.record(CheckEvent::QueueDeleted(queue.to_owned()));
        Ok(())
    }

    /// A connection of the check to the services' vhost, not through a wiretap.
    ///
    /// # Errors
    /// Unknown when the broker refuses it.
    pub async fn connect(&self) -> Outcome<Connection> {
        self.connect_to(&self.need_broker()?.address).await
    }

    /// [`Lab::connect`] as another user.
    ///
    /// # Errors
    /// As [`Lab::connect`].
    pub async fn connect_as(&self, login: &Login) -> Outcome<Connection> {
        self.connect_to(&self.need_broker()?.address.of(login))
            .await
    }

    async fn connect_to(&self, address: &Address) -> Outcome<Connection> {
        let connection = broker::connect(&address.url(self.vhost()), "check").await;
        Ok(connection.context("the check cannot connect to the broker")?)
    }

    /// Publishes to `queue` as another client would, one message for each body with its
    /// properties, and waits for the confirms.
    ///
    /// # Errors
    /// Unknown when the broker does not confirm them.
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

    /// Publishes to `exchange` as another client would, one message for each routing key and
    /// body with its properties, and waits for the confirms.
    ///
    /// # Errors
    /// Unknown when the broker does not confirm them.
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
            for (key, body, properties) in messages {
                let (key, body) = (key.as_ref(), body.as_ref());
                let options = BasicPublishOptions::default();
                let frame = own_frame::publish(exchange, key, body, &properties);
                self.record(CheckEvent::Published(frame));
                let sent =
                    channel.basic_publish(exchange.into(), key.into(), options, body, properties);
                confirms.push(sent.await?);
            }
            for confirm in confirms {
                confirm.await?;
            }
            connection.close(200, "done".into()).await?;
            Ok::<_, lapin::Error>(())
        };
        allowed(
            published.await,
            &format!("publish to exchange `{exchange}`"),
        )
    }

    /// Takes all messages that wait in `queue` now, oldest first.
    ///
    /// # Errors
    /// A failure when the queue does not exist.
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
        let taken = allowed(taken.await, &format!("take messages from `{queue}`"))?;
        self.journal()
            .note(format!("took {} message(s) from `{queue}`", taken.len()));
        Ok(taken)
    }

    /// The bindings of `queue`, except the one to the default exchange, which every queue has.
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn bindings(&self, queue: &str) -> Outcome<Vec<Binding>> {
        Ok(self.need_broker()?.bindings(self.vhost(), queue).await?)
    }

    /// Imports a file of definitions into the check's vhost, as an administrator does before the
    /// services start. `file` is relative to the workspace's root.
    ///
    /// # Errors
    /// Unknown when the file cannot be read or the broker refuses.
    pub async fn topology(&self, file: &str) -> Outcome {
        let file = self.0.config.paths.root.join(file);
        access::import(self.need_broker()?, self.vhost(), &file).await?;
        self.journal()
            .note("administrator: created exchanges and queues");
        Ok(())
    }

    /// Closes the connections of the check's users, as an operator does (320, CONNECTION_FORCED).
    ///
    /// # Errors
    /// Unknown when the broker does not answer.
    pub async fn close_connections(&self) -> Outcome {
        let logins = self.0.logins.borrow().clone();
        let users = logins.into_iter().map(|login| login.user);
        let closed = self.need_broker()?.close_connections(users).await?;
        if closed > 0 {
            let note = format!("operator: closed {closed} connection(s)");
            self.journal().note(note);
        }
        Ok(())
    }

    /// Limits the number of connections to the check's vhost; `None` is no limit.
    ///
    /// # Errors
    /// Unknown when the broker refuses.
    pub async fn limit_connections(&self, most: Option<u32>) -> Outcome {
        let broker = self.need_broker()?;
        Ok(broker.limit_connections(self.vhost(), most).await?)
    }

    /// The rights that the program under check prints for its users.
    ///
    /// # Errors
    /// A failure when it prints none; unknown when it cannot be started.
    pub async fn rights(&self) -> Outcome<Grants> {
        access::ask(&self.0.config.program).await.map_err(|error| {
            if error.root_cause().is::<std::io::Error>() {
                return error.into();
            }
            fail(
                "the role `rights` prints the rights of the users",
                format!("{error:#}"),
            )
            .because("the administrator asks the program which rights to grant")
            .into()
        })
    }

    /// A new user with `rights` in the check's vhost, for
    /// [`Service::at`](super::Service::at).
    ///
    /// # Errors
    /// Unknown when the broker refuses.
    pub async fn user(&self, rights: Rights<'_>) -> Outcome<Login> {
        let random = Alphanumeric.sample_string(&mut rand::rng(), 12);
        let login = Login::generate(format!("lab.{}.{random}", std::process::id()));
        self.join(login, rights).await
    }

    /// As [`Lab::user`], with a name and a password that the check chooses; no other user of the
    /// broker may have that name.
    ///
    /// # Errors
    /// Unknown when the broker refuses.
    pub async fn join(&self, login: Login, rights: Rights<'_>) -> Outcome<Login> {
        // First: a user that is created but not remembered would never be deleted.
        self.remember(&login);
        self.create(&login, rights).await?;
        Ok(login)
    }

    async fn create(&self, login: &Login, rights: Rights<'_>) -> Result<()> {
        let broker = self.need_broker()?;
        broker.create_user(&login.user, &login.password).await?;
        let rights = [rights.configure, rights.write, rights.read];
        broker.permit(&login.user, self.vhost(), rights).await
    }
}

/// What the broker let the check do as another client. Queues and exchanges are the program's, so a
/// refusal (404, 405, 406) tells of how it declared them.
///
/// # Errors
/// A failure when the broker refused; unknown for other trouble.
pub(super) fn allowed<T>(done: lapin::Result<T>, what: &str) -> Outcome<T> {
    let error = match done {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let refusal = match error.kind() {
        ErrorKind::ProtocolError(refusal) => Some(refusal.get_message().to_string()),
        _ => None,
    };
    match refusal {
        Some(refusal) => Err(fail(format!("another client can {what}"), format!("the broker refuses: {refusal}"))
            .because("the name, type, flags and arguments of a queue or exchange are an agreement with all its clients")
            .into()),
        None => Err(anyhow::Error::new(error).context(format!("the check cannot {what}")).into()),
    }
}
