//! The producer's side of a connection.

use anyhow::Result;
use lapin::options::ConfirmSelectOptions;
use lapin::{Channel, Connection};
use tokio::sync::Mutex;

use crate::connect;

/// A channel to publish on, in confirm mode, over a connection of its own. Both open when they
/// are first needed, and again after they have closed.
pub struct Outlet {
    url: String,
    open: Mutex<Option<Open>>,
}

/// A channel closes with its connection, so the two are kept together.
struct Open {
    channel: Channel,
    _connection: Connection,
}

impl Outlet {
    /// Connects at the first call of [`Outlet::channel`].
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            open: Mutex::new(None),
        }
    }

    /// The open channel, or else a new one; waits for the broker, however long that takes.
    ///
    /// # Errors
    /// When the new connection ends at once, or a retry cannot help (see
    /// [`hopeless`](crate::hopeless)).
    pub async fn channel(&self) -> Result<Channel> {
        self.prepared(async |_: &Channel| Ok(())).await
    }

    /// As [`Outlet::channel`]; `prepare` gets each new channel first, to declare on it what the
    /// caller publishes to.
    ///
    /// # Errors
    /// As [`Outlet::channel`], and those of `prepare`.
    pub async fn prepared(
        &self,
        prepare: impl AsyncFnOnce(&Channel) -> Result<()>,
    ) -> Result<Channel> {
        let mut open = self.open.lock().await;
        if let Some(open) = &*open
            && open.channel.status().connected()
        {
            return Ok(open.channel.clone());
        }
        let connection = connect(&self.url).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        prepare(&channel).await?;
        *open = Some(Open {
            channel: channel.clone(),
            _connection: connection,
        });
        Ok(channel)
    }

    /// Closes the channel and its connection, so that the next call opens new ones.
    pub async fn renew(&self) {
        *self.open.lock().await = None;
    }
}
