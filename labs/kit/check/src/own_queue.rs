//! Declares the check's own exchange and queue, as a client in another language does.

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, ExchangeKind, Result};

use wiretap::CheckEvent;

use super::broker_actions::allowed;
use super::own_frame;
use super::{Lab, Outcome};

impl Lab {
    /// Declares the durable exchange `name`, without arguments.
    ///
    /// # Errors
    /// A failure when the exchange exists as something else.
    pub async fn declare_exchange(&self, name: &str, kind: ExchangeKind) -> Outcome {
        let connection = self.connect().await?;
        let declared = async {
            let channel = connection.create_channel().await?;
            declare(&channel, name, kind.clone()).await?;
            connection.close(200, "done".into()).await
        };
        let what = format!("declare the durable {kind:?} exchange `{name}`");
        allowed(declared.await, &what)?;
        self.journal()
            .note(format!("declared the durable {kind:?} exchange `{name}`"));
        Ok(())
    }

    /// Declares the durable exchange `exchange`, and binds a durable `queue` to it with `key`.
    /// [`Lab::take`] returns the messages that arrive there.
    ///
    /// # Errors
    /// A failure when the exchange exists as something else.
    pub async fn bind_queue(
        &self,
        queue: &str,
        exchange: &str,
        kind: ExchangeKind,
        key: &str,
    ) -> Outcome {
        let connection = self.connect().await?;
        let bound = async {
            let channel = connection.create_channel().await?;
            declare(&channel, exchange, kind.clone()).await?;
            let none = FieldTable::default;
            let durable = QueueDeclareOptions::durable();
            channel.queue_declare(queue.into(), durable, none()).await?;
            let (options, key) = (QueueBindOptions::default(), key.into());
            let bound = channel.queue_bind(queue.into(), exchange.into(), key, options, none());
            bound.await?;
            connection.close(200, "done".into()).await
        };
        let what = format!("bind a queue to the durable {kind:?} exchange `{exchange}`");
        allowed(bound.await, &what)?;
        self.record(CheckEvent::QueueDeclared(own_frame::declare(queue)));
        self.record(CheckEvent::QueueBound(own_frame::bind(
            queue, exchange, key,
        )));
        Ok(())
    }
}

async fn declare(channel: &Channel, exchange: &str, kind: ExchangeKind) -> Result<()> {
    let options = ExchangeDeclareOptions {
        durable: true,
        ..ExchangeDeclareOptions::default()
    };
    let none = FieldTable::default();
    channel
        .exchange_declare(exchange.into(), kind, options, none)
        .await
}
