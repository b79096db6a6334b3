//! The broker that `AMQP_URL` names.

use std::time::Duration;

use amq_protocol::uri::{AMQPScheme, AMQPUri};
use awc::http::StatusCode;

use super::management_api::{Api, WhoAmI};
use super::{Address, Broker, NoBroker, Origin, amqp};

/// The address in `AMQP_URL`, or what is wrong with it.
pub(super) fn address(url: &str) -> Result<Address, NoBroker> {
    let wrong = |why: String| NoBroker {
        why: format!("AMQP_URL cannot be used: {why}"),
        mend: "export AMQP_URL=amqp://user:password@host:5672 (or unset AMQP_URL)".into(),
    };
    let uri: AMQPUri = url.parse().map_err(wrong)?;
    if uri.scheme == AMQPScheme::AMQPS {
        return Err(wrong("the lab supports amqp://, not amqps://".into()));
    }
    let authority = uri.authority;
    Ok(Address {
        host: authority.host,
        port: authority.port,
        user: authority.userinfo.username,
        password: authority.userinfo.password,
    })
}

/// Connects to the broker, and checks that our user may create vhosts there.
pub(super) async fn broker(url: &str) -> Result<Broker, NoBroker> {
    let address = address(url)?;
    let management = std::env::var("MANAGEMENT_URL")
        .unwrap_or_else(|_| format!("http://{}:15672", bracketed(&address.host)));
    check(address, management).await
}

/// Checks the broker at `address`, with its management API at `management`.
pub(super) async fn check(address: Address, management: String) -> Result<Broker, NoBroker> {
    let Address {
        host, port, user, ..
    } = &address;
    let greeting = amqp::greeting(host, *port, Duration::from_secs(5))
        .await
        .map_err(|e| NoBroker {
            why: format!("AMQP_URL names a broker at {host}:{port} that does not answer: {e}"),
            mend: "start that broker, or: unset AMQP_URL".into(),
        })?;
    let api = Api::new(&management, user, &address.password);
    let (status, body) = api.whoami().await.map_err(|e| NoBroker {
        why: format!("the broker at {host}:{port} has no management API at {management}: {e}"),
        mend: "rabbitmq-plugins enable rabbitmq_management there, or: export MANAGEMENT_URL=…"
            .into(),
    })?;
    if status == StatusCode::UNAUTHORIZED {
        return Err(NoBroker {
            why: format!("the broker at {host}:{port} refuses user {user}: wrong name or password"),
            mend: "put the right user and password into AMQP_URL, or: unset AMQP_URL".into(),
        });
    }
    let tags = serde_json::from_slice::<WhoAmI>(&body).map(|who| who.tags.to_string());
    match tags {
        Ok(tags) if tags.contains("administrator") => {}
        Ok(_) => {
            return Err(NoBroker {
                why: format!("user {user} at {host}:{port} may not create a vhost for each check"),
                mend: format!("rabbitmqctl set_user_tags {user} administrator"),
            });
        }
        Err(_) => {
            return Err(NoBroker {
                why: format!("{management} answers {status}, but it is not a management API"),
                mend: "export MANAGEMENT_URL=http://host:15672".into(),
            });
        }
    }
    let version = format!("{} {}", greeting.product, greeting.version);
    Ok(Broker::new(
        address,
        Origin::Given,
        version,
        management,
        api,
        None,
    ))
}

/// A host as written in a URL: an IPv6 address in brackets.
pub(super) fn bracketed(host: &str) -> String {
    if host.contains(':') && !host.starts_with('[') {
        format!("[{host}]")
    } else {
        host.to_owned()
    }
}
