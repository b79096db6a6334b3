//! The methods of AMQP 0-9-1 and RabbitMQ's own, and their names: the only place that has them.

use std::fmt;

use amq_protocol::protocol::{
    AMQPClass, access, basic, channel, confirm, connection, exchange, queue, tx,
};
use serde::{Deserialize, Serialize};

/// Of each class its variant and module in the codec, and its methods: our variant, the
/// codec's, and the name in the specification.
macro_rules! methods {
    ($($class:ident $module:ident { $($ours:ident $theirs:ident $name:literal,)* })*) => {
        /// A method of AMQP; it is displayed and journaled by its name in the specification.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum Method {
            $($(#[doc = concat!("`", $name, "`")] #[serde(rename = $name)] $ours,)*)*
        }

        impl Method {
            /// All methods that the codec knows: what it does not know is not AMQP to it.
            pub const ALL: &[Self] = &[$($(Self::$ours,)*)*];

            /// The name in the specification: `basic.publish`.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $($(Self::$ours => $name,)*)*
                }
            }
        }

        impl From<&AMQPClass> for Method {
            fn from(decoded: &AMQPClass) -> Self {
                match decoded {
                    $($(AMQPClass::$class($module::AMQPMethod::$theirs(_)) => Self::$ours,)*)*
                }
            }
        }
    };
}

methods! {
    Connection connection {
        ConnectionStart Start "connection.start",
        ConnectionStartOk StartOk "connection.start-ok",
        ConnectionSecure Secure "connection.secure",
        ConnectionSecureOk SecureOk "connection.secure-ok",
        ConnectionTune Tune "connection.tune",
        ConnectionTuneOk TuneOk "connection.tune-ok",
        ConnectionOpen Open "connection.open",
        ConnectionOpenOk OpenOk "connection.open-ok",
        ConnectionClose Close "connection.close",
        ConnectionCloseOk CloseOk "connection.close-ok",
        ConnectionBlocked Blocked "connection.blocked",
        ConnectionUnblocked Unblocked "connection.unblocked",
        ConnectionUpdateSecret UpdateSecret "connection.update-secret",
        ConnectionUpdateSecretOk UpdateSecretOk "connection.update-secret-ok",
    }
    Channel channel {
        ChannelOpen Open "channel.open",
        ChannelOpenOk OpenOk "channel.open-ok",
        ChannelFlow Flow "channel.flow",
        ChannelFlowOk FlowOk "channel.flow-ok",
        ChannelClose Close "channel.close",
        ChannelCloseOk CloseOk "channel.close-ok",
    }
    Access access {
        AccessRequest Request "access.request",
        AccessRequestOk RequestOk "access.request-ok",
    }
    Exchange exchange {
        ExchangeDeclare Declare "exchange.declare",
        ExchangeDeclareOk DeclareOk "exchange.declare-ok",
        ExchangeDelete Delete "exchange.delete",
        ExchangeDeleteOk DeleteOk "exchange.delete-ok",
        ExchangeBind Bind "exchange.bind",
        ExchangeBindOk BindOk "exchange.bind-ok",
        ExchangeUnbind Unbind "exchange.unbind",
        ExchangeUnbindOk UnbindOk "exchange.unbind-ok",
    }
    Queue queue {
        QueueDeclare Declare "queue.declare",
        QueueDeclareOk DeclareOk "queue.declare-ok",
        QueueBind Bind "queue.bind",
        QueueBindOk BindOk "queue.bind-ok",
        QueuePurge Purge "queue.purge",
        QueuePurgeOk PurgeOk "queue.purge-ok",
        QueueDelete Delete "queue.delete",
        QueueDeleteOk DeleteOk "queue.delete-ok",
        QueueUnbind Unbind "queue.unbind",
        QueueUnbindOk UnbindOk "queue.unbind-ok",
    }
    Basic basic {
        BasicQos Qos "basic.qos",
        BasicQosOk QosOk "basic.qos-ok",
        BasicConsume Consume "basic.consume",
        BasicConsumeOk ConsumeOk "basic.consume-ok",
        BasicCancel Cancel "basic.cancel",
        BasicCancelOk CancelOk "basic.cancel-ok",
        BasicPublish Publish "basic.publish",
        BasicReturn Return "basic.return",
        BasicDeliver Deliver "basic.deliver",
        BasicGet Get "basic.get",
        BasicGetOk GetOk "basic.get-ok",
        BasicGetEmpty GetEmpty "basic.get-empty",
        BasicAck Ack "basic.ack",
        BasicReject Reject "basic.reject",
        BasicRecoverAsync RecoverAsync "basic.recover-async",
        BasicRecover Recover "basic.recover",
        BasicRecoverOk RecoverOk "basic.recover-ok",
        BasicNack Nack "basic.nack",
    }
    Confirm confirm {
        ConfirmSelect Select "confirm.select",
        ConfirmSelectOk SelectOk "confirm.select-ok",
    }
    Tx tx {
        TxSelect Select "tx.select",
        TxSelectOk SelectOk "tx.select-ok",
        TxCommit Commit "tx.commit",
        TxCommitOk CommitOk "tx.commit-ok",
        TxRollback Rollback "tx.rollback",
        TxRollbackOk RollbackOk "tx.rollback-ok",
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
