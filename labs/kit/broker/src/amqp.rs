//! What the lab itself asks a broker over AMQP: its name and version, and how many messages and
//! consumers a queue has.

use std::collections::HashMap;
use std::io;
use std::time::Duration;

use amq_protocol::frame::AMQPFrame;
use amq_protocol::protocol::{AMQPClass, connection::AMQPMethod};
use amq_protocol::types::{AMQPValue, FieldTable};
use anyhow::{Context, Result};
use lapin::options::QueueDeclareOptions;
use lapin::{Channel, Connection, ConnectionProperties, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// Long enough for a busy broker, short enough for a frozen one, which accepts TCP connections and
/// never answers.
const CONNECT: Duration = Duration::from_secs(5);

/// AMQP reply codes to a passive declare.
const NOT_FOUND: u16 = 404;
const RESOURCE_LOCKED: u16 = 405;

/// What a broker says about itself before the login.
pub(super) struct Greeting {
    pub product: String,
    pub version: String,
    pub cluster_name: String,
}

/// Opens a TCP connection, sends the protocol header, and reads `connection.start`.
pub(super) async fn greeting(host: &str, port: u16, patience: Duration) -> io::Result<Greeting> {
    timeout(patience, read_greeting(host, port))
        .await
        .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "no answer")))
}

async fn read_greeting(host: &str, port: u16) -> io::Result<Greeting> {
    let mut stream = TcpStream::connect((host, port)).await?;
    stream.write_all(b"AMQP\x00\x00\x09\x01").await?;
    let mut bytes = Vec::with_capacity(1024);
    loop {
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        match wiretap::parse(&bytes) {
            Some(AMQPFrame::Method(_, AMQPClass::Connection(AMQPMethod::Start(start)))) => {
                return Ok(Greeting {
                    product: text(&start.server_properties, "product"),
                    version: text(&start.server_properties, "version"),
                    cluster_name: text(&start.server_properties, "cluster_name"),
                });
            }
            Some(_) => return Err(io::Error::other("it answers, but not in AMQP 0-9-1")),
            None if bytes.starts_with(b"\x01") && bytes.len() < 64 * 1024 => {}
            None => return Err(io::Error::other("it answers, but not in AMQP 0-9-1")),
        }
    }
}

fn text(table: &FieldTable, key: &str) -> String {
    match table.inner().get(key) {
        Some(AMQPValue::LongString(value)) => value.to_string(),
        _ => String::new(),
    }
}

/// The broker's answer to a passive declare of a queue.
pub(super) enum Declared {
    Absent,
    /// Exclusive to another connection, so without counts.
    Locked,
    Counted(Counts),
}

/// The counts in the answer to a passive declare.
#[derive(Clone, Copy)]
pub(super) struct Counts {
    pub ready: u64,
    pub consumers: u64,
}

/// Asks for the counts that the management API reports late and a passive declare at once: consumers,
/// and the ready messages of a quorum queue. Keeps one connection a vhost.
#[derive(Default)]
pub(super) struct Inspector {
    connections: Mutex<HashMap<String, (Connection, Channel)>>,
}

impl Inspector {
    pub async fn declared(&self, url: &str, vhost: &str, queue: &str) -> Result<Declared> {
        let mut connections = self.connections.lock().await;
        // A kept connection may have broken since the last question, as the broker was restarted:
        // then try a new one. Only a failure of a new one is an error.
        let kept = connections.remove(vhost);
        let fresh = kept.is_none();
        let (connection, channel) = match kept {
            Some(link) => link,
            None => open_channel(url).await?,
        };
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let declared = channel
            .queue_declare(queue.into(), options, lapin::types::FieldTable::default())
            .await;
        match declared {
            Ok(declared) => {
                connections.insert(vhost.to_owned(), (connection, channel));
                Ok(Declared::Counted(Counts {
                    ready: declared.message_count().into(),
                    consumers: declared.consumer_count().into(),
                }))
            }
            Err(e) if matches!(reply_code(&e), Some(NOT_FOUND | RESOURCE_LOCKED)) => {
                // The refusal closed the channel, not the connection.
                let channel = connection.create_channel().await?;
                connections.insert(vhost.to_owned(), (connection, channel));
                Ok(match reply_code(&e) {
                    Some(RESOURCE_LOCKED) => Declared::Locked,
                    _ => Declared::Absent,
                })
            }
            Err(e) if fresh => Err(e).context("cannot ask the broker for the queue's counts"),
            Err(_) => {
                drop(connections);
                Box::pin(self.declared(url, vhost, queue)).await
            }
        }
    }

    /// Closes the connection to a vhost that is about to be deleted: with a connection in it, the
    /// broker takes ten times as long to delete it.
    pub async fn leave(&self, vhost: &str) {
        let link = self.connections.lock().await.remove(vhost);
        if let Some((connection, _)) = link {
            // An error means that the connection is closed already.
            let _ = connection.close(200, "done".into()).await;
        }
    }
}

/// Connects to the broker at `url` as `name`. lapin is compiled in the crate `connector`; with lapin's
/// own `Connection::connect`, each program that calls this would compile it once more.
///
/// # Errors
/// lapin's: the broker cannot be reached, or refuses.
pub async fn connect(url: &str, name: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let uri = url.parse().map_err(io::Error::other)?;
    connector::connect(uri, properties).await
}

async fn open_channel(url: &str) -> Result<(Connection, Channel)> {
    let connection = timeout(CONNECT, connect(url, "lab"))
        .await
        .context("the broker does not answer over AMQP")?
        .context("cannot connect to the broker over AMQP")?;
    let channel = connection.create_channel().await?;
    Ok((connection, channel))
}

fn reply_code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(e) => Some(e.get_id()),
        _ => None,
    }
}
