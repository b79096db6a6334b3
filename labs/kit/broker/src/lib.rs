//! A real RabbitMQ for the checks, from the first source that has one: `AMQP_URL`, a node that the
//! lab started earlier, Docker Compose, or an installed `rabbitmq-server`, run as a private node
//! under `target/`.
//!
//! This crate knows no chapter and no check. Start reading at [`Broker::acquire`]. Everything here
//! runs on actix's runtime (`actix_web::rt::System`), because `awc` calls the management API.

pub mod access;
mod acquire;
mod amqp;
mod claim;
mod compose;
mod from_url;
mod install;
mod keeper;
mod launch;
mod management_api;
mod node_dir;
mod nodes;
mod own_node;
mod remote_node;
mod series;
mod stop_cause;

use std::ffi::OsString;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail};
use serde_json::Value;
use tokio::time::sleep;

use amqp::{Counts, Declared};
use course::paths::Paths;
use management_api::{Api, Listed, encode};
use node_dir::{Keeping, NodeDir, Source, State};

pub use amqp::connect;
pub use compose::engine as docker_engine;
pub use management_api::Binding;
pub use nodes::{Candidate, NodeStatus, down, status, survey};
pub use own_node::OwnNode;
pub use remote_node::RemoteNode;
pub use series::{NEWEST, OLDEST, out_of_support};

/// How often to look for a queue in the listing of a broker that has it: for 10 s.
const LISTINGS: usize = 500;
const LIST_AGAIN: Duration = Duration::from_millis(20);

/// Why there is no broker, and what to do. The verdict is *unknown*.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{why} (what to do: {mend})")]
pub struct NoBroker {
    /// What the lab looked for and found, in one line, without any password.
    pub why: String,
    /// What to do: one command, or the like.
    pub mend: String,
}

/// Where a broker listens and who may log in.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// The AMQP port.
    pub port: u16,
    /// The user that the lab and its services log in as.
    pub user: String,
    /// That user's password. Never shown by `Debug`.
    pub password: String,
}

impl Address {
    /// The `amqp://` URL of one vhost, with everything percent-encoded.
    #[must_use]
    pub fn url(&self, vhost: &str) -> String {
        format!(
            "amqp://{}:{}@{}:{}/{}",
            encode(&self.user),
            encode(&self.password),
            from_url::bracketed(&self.host),
            self.port,
            encode(vhost)
        )
    }

    /// The same broker, for another user.
    #[must_use]
    pub fn of(&self, login: &access::Login) -> Self {
        Self {
            user: login.user.clone(),
            password: login.password.clone(),
            ..self.clone()
        }
    }

    /// The same broker and credentials, reached through a relay at `host` and `port`.
    #[must_use]
    pub fn at(&self, host: &str, port: u16) -> Self {
        Self {
            host: host.to_owned(),
            port,
            ..self.clone()
        }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host, port, user, ..
        } = self;
        write!(f, "amqp://{user}:***@{host}:{port}")
    }
}

/// Where a broker came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From `AMQP_URL`: the lab never stops it.
    Given,
    /// An installed RabbitMQ, run by the lab. All commands share slot 0.
    Private {
        /// Which of the clone's nodes it is.
        slot: usize,
    },
    /// Docker Compose, run by the lab.
    Compose {
        /// Which of the clone's nodes it is.
        slot: usize,
    },
}

/// The state of a queue at the moment of the question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    /// Messages waiting for a consumer.
    pub ready: u64,
    /// Messages delivered and not yet acked. The broker reports those of a quorum queue up to 5 s
    /// late, so the checks count them on the wire.
    pub unacked: u64,
    /// Consumers. `None` if the broker does not say: for a queue that is exclusive to another
    /// connection.
    pub consumers: Option<u64>,
    /// Whether it survives a restart of the broker.
    pub durable: bool,
    /// Whether it is deleted with its last consumer.
    pub auto_delete: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// The arguments it was declared with, as an object. `x-queue-type: classic` is left out, since
    /// RabbitMQ 4 adds it to a declaration without arguments.
    pub arguments: Value,
}

impl Queue {
    fn new(listed: Listed, counts: Option<Counts>) -> Self {
        let mut arguments = listed.arguments;
        if let Some(all) = arguments.as_object_mut()
            && all
                .get("x-queue-type")
                .is_some_and(|kind| kind == "classic")
        {
            all.remove("x-queue-type");
        }
        let mut queue = Self {
            ready: listed.messages_ready,
            unacked: listed.messages_unacknowledged,
            consumers: counts.map(|counts| counts.consumers),
            durable: listed.durable,
            auto_delete: listed.auto_delete,
            exclusive: listed.exclusive.unwrap_or(false),
            arguments,
        };
        if let Some(counts) = counts.filter(|_| queue.is_quorum()) {
            queue.ready = counts.ready;
        }
        queue
    }

    /// Whether it is a quorum queue.
    #[must_use]
    pub fn is_quorum(&self) -> bool {
        self.arguments["x-queue-type"] == "quorum"
    }
}

/// A running broker.
#[derive(Clone)]
pub struct Broker {
    /// Where it listens, with the credentials.
    pub address: Address,
    /// Where it came from.
    pub origin: Origin,
    /// Its product and version, as `RabbitMQ 3.10.8`.
    pub version: String,
    /// The address of its management API and web page, as `http://127.0.0.1:15672`.
    pub management: String,
    api: Api,
    inspector: Rc<amqp::Inspector>,
    node: Option<NodeDir>,
}

impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {:?}", self.label(), self.address)
    }
}

impl Broker {
    /// A running broker, from the first source that has one. Calls `progress` with a line before
    /// something slow.
    ///
    /// # Errors
    /// When no source has one, when `AMQP_URL` is set and cannot be used, or when the broker is of
    /// another series than `LAB_RABBITMQ_SERIES`.
    pub async fn acquire(paths: &Paths, progress: &dyn Fn(&str)) -> Result<Self, NoBroker> {
        match nodes::given_url() {
            Some(url) => series::require(from_url::broker(&url).await?),
            None => Self::of_slot(NodeDir::new(paths, 0), paths, progress).await,
        }
    }

    /// The broker at `address`, whose management API is at `management`, an address such as
    /// `http://127.0.0.1:15672`. Its user must be an administrator.
    ///
    /// # Errors
    /// When either does not answer, or the user is no administrator.
    pub async fn at(address: Address, management: &str) -> Result<Self, NoBroker> {
        from_url::check(address, management.to_owned()).await
    }

    async fn of_slot(
        node: NodeDir,
        paths: &Paths,
        progress: &dyn Fn(&str),
    ) -> Result<Self, NoBroker> {
        let state = acquire::node(&node, paths, progress).await?;
        series::require(Self::of_state(&state, node))
    }

    fn of_state(state: &State, node: NodeDir) -> Self {
        let address = Address {
            host: "127.0.0.1".into(),
            port: state.port,
            user: state.user.clone(),
            password: state.password.clone(),
        };
        let slot = node.slot;
        let origin = match state.source {
            Source::Private => Origin::Private { slot },
            Source::Compose => Origin::Compose { slot },
        };
        let version = format!("RabbitMQ {}", state.version);
        let management = format!("http://127.0.0.1:{}", state.management_port);
        let api = Api::new(&management, &address.user, &address.password);
        Self::new(address, origin, version, management, api, Some(node))
    }

    fn new(
        address: Address,
        origin: Origin,
        version: String,
        management: String,
        api: Api,
        node: Option<NodeDir>,
    ) -> Self {
        Self {
            address,
            origin,
            version,
            management,
            api,
            inspector: Rc::default(),
            node,
        }
    }

    /// For a heading: `RabbitMQ 3.10.8, private node`.
    #[must_use]
    pub fn label(&self) -> String {
        let origin = match self.origin {
            Origin::Given => "from AMQP_URL",
            Origin::Private { .. } => "private node",
            Origin::Compose { .. } => "Docker Compose",
        };
        format!("{}, {origin}", self.version)
    }

    /// Creates a vhost in which our user has all rights.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn create_vhost(&self, name: &str) -> Result<()> {
        self.touch();
        self.api.create_vhost(name).await
    }

    /// Deletes a vhost with everything in it, and closes its connections. A missing vhost is not an
    /// error.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn delete_vhost(&self, name: &str) -> Result<()> {
        self.touch();
        self.inspector.leave(name).await;
        self.api.delete_vhost(name).await
    }

    /// The bindings of a queue, except the one to the default exchange.
    ///
    /// # Errors
    /// When the management API does not answer, or there is no such queue.
    pub async fn bindings(&self, vhost: &str, queue: &str) -> Result<Vec<Binding>> {
        let mut bindings = self.api.bindings(vhost, queue).await?;
        bindings.retain(|binding| !binding.source.is_empty());
        Ok(bindings)
    }

    /// Imports `definitions` into a vhost, in RabbitMQ's own format: exchanges, queues, bindings,
    /// policies. Existing ones stay. The import ignores a vhost that an entry names.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn import(&self, vhost: &str, definitions: &Value) -> Result<()> {
        self.api.import(vhost, definitions).await
    }

    /// Makes `queue` refuse every publish from now on: the broker nacks it. Messages in the queue stay.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn refuse_publishes(&self, vhost: &str, queue: &str) -> Result<()> {
        let policy = serde_json::json!({
            "pattern": format!("^{}$", queue.replace('.', "\\.")),
            "apply-to": "queues",
            "priority": 100,
            "definition": { "max-length": 0, "overflow": "reject-publish" },
        });
        self.api.set_policy(vhost, &refusing(queue), &policy).await
    }

    /// Ends [`Broker::refuse_publishes`]. A quorum queue goes on to refuse a channel that it has refused
    /// once (3.10.8).
    ///
    /// # Errors
    /// When the management API does not answer, or the queue refuses nothing.
    pub async fn accept_publishes(&self, vhost: &str, queue: &str) -> Result<()> {
        self.api.clear_policy(vhost, &refusing(queue)).await
    }

    /// Creates a user without any rights.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn create_user(&self, name: &str, password: &str) -> Result<()> {
        self.api.create_user(name, password).await
    }

    /// Gives a user rights in a vhost: `rights` are the regular expressions for configure, write and
    /// read.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn permit(&self, user: &str, vhost: &str, rights: [&str; 3]) -> Result<()> {
        self.api.permit(user, vhost, rights).await
    }

    /// Limits the number of connections to a vhost; `None` is no limit. The broker refuses one too
    /// many with 530, NOT_ALLOWED.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn limit_connections(&self, vhost: &str, most: Option<u32>) -> Result<()> {
        self.api.limit_connections(vhost, most).await
    }

    /// Closes the connections of these users with 320, CONNECTION_FORCED, and returns how many.
    ///
    /// # Errors
    /// When the management API does not answer.
    pub async fn close_connections(&self, users: impl Iterator<Item = String>) -> Result<usize> {
        let mut closed = 0;
        for user in users {
            closed += self.api.close_connections(&user).await?;
        }
        Ok(closed)
    }

    /// Deletes a user.
    ///
    /// # Errors
    /// When the management API does not answer or refuses.
    pub async fn delete_user(&self, name: &str) -> Result<()> {
        self.api.delete_user(name).await
    }

    /// Deletes the vhosts and users whose names begin with `prefix` and that are `abandoned`: killed
    /// runs leave them behind. One that cannot be deleted stays.
    pub async fn sweep(&self, prefix: &str, abandoned: impl Fn(&str) -> bool) {
        for name in self.api.vhosts().await.unwrap_or_default() {
            if name.starts_with(prefix) && abandoned(&name) {
                let _ = self.api.delete_vhost(&name).await;
            }
        }
        for name in self.api.users().await.unwrap_or_default() {
            if name.starts_with(prefix) && abandoned(&name) {
                let _ = self.api.delete_user(&name).await;
            }
        }
    }

    /// The state of a queue now; `None` when it does not exist. A passive declare counts consumers
    /// and the ready messages of a quorum queue; the listing counts the rest.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue(&self, vhost: &str, name: &str) -> Result<Option<Queue>> {
        // Small frames: lapin fills buffers of 32 frames byte by byte in a debug build. The usual
        // 4 MB take 50 ms a connection (lapin 4.12.3).
        let url = format!("{}?frame_max=8192", self.address.url(vhost));
        for _ in 0..LISTINGS {
            let listed = self.api.queues(vhost).await?;
            let listed = listed.into_iter().find(|queue| queue.name == name);
            let declared = match &listed {
                Some(queue) if queue.exclusive == Some(true) => Declared::Locked,
                _ => self.inspector.declared(&url, vhost, name).await?,
            };
            match (listed, declared) {
                (Some(listed), Declared::Counted(counts)) => {
                    return Ok(Some(Queue::new(listed, Some(counts))));
                }
                (Some(listed), _) => return Ok(Some(Queue::new(listed, None))),
                (None, Declared::Absent) => return Ok(None),
                // Just after their start, RabbitMQ 4.0.5 and 4.3.6 serve a queue some moments before
                // they list it.
                (None, Declared::Locked | Declared::Counted(_)) => sleep(LIST_AGAIN).await,
            }
        }
        bail!("the management API does not list queue {name}, which the broker has")
    }

    /// The names of a vhost's queues.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn queue_names(&self, vhost: &str) -> Result<Vec<String>> {
        let listed = self.api.queues(vhost).await?.into_iter();
        Ok(listed.map(|queue| queue.name).collect())
    }

    /// The process ids of the keeper and of the node, for a private node of the lab; `None` for every
    /// other broker.
    #[must_use]
    pub fn processes(&self) -> Option<[i32; 2]> {
        match self.node.as_ref()?.keeping().ok()? {
            Keeping::Up(state) => Some([state.keeper_pid, state.vm_pid?]),
            Keeping::Busy | Keeping::Free => None,
        }
    }

    /// Marks a node of the lab as used now. It stops after half an hour without use.
    pub fn touch(&self) {
        if let Some(node) = &self.node {
            // If the folder is gone, so is the node, and the next call reports it.
            let _ = node.touch();
        }
    }
}

/// The name of the policy that makes a queue refuse publishes.
fn refusing(queue: &str) -> String {
    format!("lab.refuses.{queue}")
}

/// Becomes the keeper of a node, or a guard, if this process was started as one, and never returns.
/// Otherwise returns at once. Call it first in `main`.
pub fn dispatch() {
    process::dispatch();
    let mut args = std::env::args_os().skip(1);
    if args.next().is_some_and(|name| name == keeper::ARGUMENT) {
        let args: Vec<OsString> = args.collect();
        keeper::main(&args);
    }
}
