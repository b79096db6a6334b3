//! The few calls of RabbitMQ's management API that the lab needs.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use awc::Client;
use awc::error::SendRequestError;
use awc::http::{Method, StatusCode};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, PercentEncode, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

/// Deleting a vhost that is full of queues is the slowest of the calls.
const PATIENCE: Duration = Duration::from_secs(20);

/// The management API of one broker. Keeps its connections alive between calls.
#[derive(Clone)]
pub(super) struct Api {
    client: Client,
    base: String,
}

/// A queue in the listing with `disable_stats` and `enable_queue_totals`. These counts are exact at
/// the time of the call, unlike all others of this API. Those of a quorum queue are up to 5 s old.
#[derive(Deserialize)]
pub(super) struct Listed {
    pub name: String,
    #[serde(default)]
    pub messages_ready: u64,
    #[serde(default)]
    pub messages_unacknowledged: u64,
    pub durable: bool,
    pub auto_delete: bool,
    /// RabbitMQ 3.10.8 lists `null` for a quorum queue, which cannot be exclusive.
    pub exclusive: Option<bool>,
    #[serde(default)]
    pub arguments: Value,
}

/// A binding of a queue.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Binding {
    /// The exchange that it is bound to.
    pub source: String,
    /// The binding key.
    pub routing_key: String,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The user as whom the broker knows us.
#[derive(Deserialize)]
pub(super) struct WhoAmI {
    /// A list, or one string with commas on older brokers.
    pub tags: Value,
}

fn policy_path(vhost: &str, name: &str) -> String {
    format!("policies/{}/{}", encode(vhost), encode(name))
}

impl Api {
    /// `base` is an address such as `http://127.0.0.1:15672`.
    pub fn new(base: &str, user: &str, password: &str) -> Self {
        let client = Client::builder()
            .basic_auth(user, Some(password))
            .timeout(PATIENCE)
            .finish();
        let base = base.trim_end_matches('/').to_owned();
        Self { client, base }
    }

    pub async fn create_vhost(&self, name: &str) -> Result<()> {
        // The broker gives the creator of a vhost all rights in it.
        self.call(Method::PUT, &format!("vhosts/{}", encode(name)))
            .await
            .map(drop)
            .with_context(|| format!("cannot create vhost {name}"))
    }

    pub async fn delete_vhost(&self, name: &str) -> Result<()> {
        match self
            .send(Method::DELETE, &format!("vhosts/{}", encode(name)))
            .await
        {
            Ok((status, _)) if status.is_success() || status == StatusCode::NOT_FOUND => Ok(()),
            Ok((status, body)) => bail!("cannot delete vhost {name}: {}", refusal(status, &body)),
            Err(e) => bail!("cannot delete vhost {name}: {e}"),
        }
    }

    pub async fn vhosts(&self) -> Result<Vec<String>> {
        let body = self.call(Method::GET, "vhosts?columns=name").await?;
        let vhosts: Vec<Named> = serde_json::from_slice(&body)?;
        Ok(vhosts.into_iter().map(|vhost| vhost.name).collect())
    }

    pub async fn queues(&self, vhost: &str) -> Result<Vec<Listed>> {
        let path = format!(
            "queues/{}?disable_stats=true&enable_queue_totals=true",
            encode(vhost)
        );
        let body = self
            .call(Method::GET, &path)
            .await
            .with_context(|| format!("cannot list the queues of vhost {vhost}"))?;
        serde_json::from_slice(&body).context("the listing of queues is not in the expected format")
    }

    pub async fn bindings(&self, vhost: &str, queue: &str) -> Result<Vec<Binding>> {
        let path = format!("queues/{}/{}/bindings", encode(vhost), encode(queue));
        let body = self
            .call(Method::GET, &path)
            .await
            .with_context(|| format!("cannot list the bindings of queue {queue}"))?;
        serde_json::from_slice(&body)
            .context("the listing of bindings is not in the expected format")
    }

    pub async fn create_user(&self, name: &str, password: &str) -> Result<()> {
        let body = json!({ "password": password, "tags": "" });
        self.put(&format!("users/{}", encode(name)), &body)
            .await
            .with_context(|| format!("cannot create user {name}"))
    }

    pub async fn permit(&self, user: &str, vhost: &str, rights: [&str; 3]) -> Result<()> {
        let [configure, write, read] = rights;
        let body = json!({ "configure": configure, "write": write, "read": read });
        let path = format!("permissions/{}/{}", encode(vhost), encode(user));
        self.put(&path, &body)
            .await
            .with_context(|| format!("cannot give user {user} rights in vhost {vhost}"))
    }

    pub async fn limit_connections(&self, vhost: &str, most: Option<u32>) -> Result<()> {
        let body = json!({ "value": most.map_or(-1, i64::from) }); // negative: no limit
        self.put(
            &format!("vhost-limits/{}/max-connections", encode(vhost)),
            &body,
        )
        .await
        .with_context(|| format!("cannot limit the connections to vhost {vhost}"))
    }

    pub async fn import(&self, vhost: &str, definitions: &Value) -> Result<()> {
        let path = format!("definitions/{}", encode(vhost));
        self.send_json(Method::POST, &path, definitions)
            .await
            .with_context(|| format!("cannot import definitions into vhost {vhost}"))
    }

    pub async fn set_policy(&self, vhost: &str, name: &str, policy: &Value) -> Result<()> {
        self.put(&policy_path(vhost, name), policy)
            .await
            .with_context(|| format!("cannot set policy {name} in vhost {vhost}"))
    }

    pub async fn clear_policy(&self, vhost: &str, name: &str) -> Result<()> {
        self.call(Method::DELETE, &policy_path(vhost, name))
            .await
            .map(drop)
            .with_context(|| format!("cannot clear policy {name} in vhost {vhost}"))
    }

    /// Closes the connections of a user, and returns how many. `vhosts/…/connections` would be up to 5 s
    /// old (the interval of the statistics); this listing is of now.
    pub async fn close_connections(&self, user: &str) -> Result<usize> {
        let path = format!("connections/username/{}", encode(user));
        let listed = self.call(Method::GET, &path).await;
        let listed = listed.with_context(|| format!("cannot list the connections of {user}"))?;
        let open: Vec<Named> = serde_json::from_slice(&listed)?;
        let closed = self.call(Method::DELETE, &path).await;
        closed.with_context(|| format!("cannot close the connections of {user}"))?;
        Ok(open.len())
    }

    pub async fn delete_user(&self, name: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("users/{}", encode(name)))
            .await
            .map(drop)
            .with_context(|| format!("cannot delete user {name}"))
    }

    pub async fn users(&self) -> Result<Vec<String>> {
        let body = self.call(Method::GET, "users?columns=name").await?;
        let users: Vec<Named> = serde_json::from_slice(&body)?;
        Ok(users.into_iter().map(|user| user.name).collect())
    }

    async fn put(&self, path: &str, body: &Value) -> Result<()> {
        self.send_json(Method::PUT, path, body).await
    }

    async fn send_json(&self, method: Method, path: &str, body: &Value) -> Result<()> {
        let url = format!("{}/api/{path}", self.base);
        let sent = self.client.request(method, url).send_json(body).await;
        let mut answer = match sent {
            Ok(answer) => answer,
            Err(e) => bail!("the management API at {} does not answer: {e}", self.base),
        };
        if !answer.status().is_success() {
            let words = answer.body().await.unwrap_or_default();
            bail!("{}", refusal(answer.status(), &words));
        }
        Ok(())
    }

    /// The answer to "who am I", with its status: 401 means wrong user or password.
    pub async fn whoami(&self) -> Result<(StatusCode, Vec<u8>), SendRequestError> {
        self.send(Method::GET, "whoami").await
    }

    async fn call(&self, method: Method, path: &str) -> Result<Vec<u8>> {
        match self.send(method, path).await {
            Ok((status, body)) if status.is_success() => Ok(body),
            Ok((status, body)) => bail!("{}", refusal(status, &body)),
            Err(e) => bail!("the management API at {} does not answer: {e}", self.base),
        }
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
    ) -> Result<(StatusCode, Vec<u8>), SendRequestError> {
        match self.send_once(&method, path).await {
            // The broker may close an idle connection just as we use it. Every call can be
            // repeated; the second one gets a new connection.
            Err(
                SendRequestError::Connect(_)
                | SendRequestError::Send(_)
                | SendRequestError::Response(_),
            ) => self.send_once(&method, path).await,
            other => other,
        }
    }

    async fn send_once(
        &self,
        method: &Method,
        path: &str,
    ) -> Result<(StatusCode, Vec<u8>), SendRequestError> {
        let url = format!("{}/api/{path}", self.base);
        let mut response = self.client.request(method.clone(), url).send().await?;
        let body = response.body().limit(16 << 20).await;
        let body = body.map_err(|e| SendRequestError::Body(Box::new(e)))?;
        Ok((response.status(), body.to_vec()))
    }
}

fn refusal(status: StatusCode, body: &[u8]) -> String {
    let reason = serde_json::from_slice(body)
        .ok()
        .and_then(|body: Value| Some(body.get("reason")?.as_str()?.to_owned()));
    match reason {
        Some(reason) => format!("the management API answers {status}: {reason}"),
        None => format!("the management API answers {status}"),
    }
}

/// Every character except those that RFC 3986 calls unreserved.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// Percent-encodes one part of a URL.
pub(super) fn encode(text: &str) -> PercentEncode<'_> {
    utf8_percent_encode(text, RESERVED)
}
