//! Where the broker is, and which user we are there. All of it comes from the environment: the
//! same program runs on every machine, and no committed file holds a password.

use std::env;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Where the broker is, and which user we are there.
#[derive(Clone)]
pub struct Broker {
    /// Name or IP address.
    pub host: String,
    pub port: u16,
    pub vhost: String,
    pub user: String,
    pub password: String,
    /// The heartbeat interval in seconds that we ask the broker for.
    pub heartbeat: u16,
    /// How long one attempt to connect may take, from the name to the end of the handshake.
    pub connect_timeout: Duration,
    /// The longest pause between two attempts.
    pub longest_pause: Duration,
}

/// As a log may show it. Not derived: that would show the password.
impl fmt::Debug for Broker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            host,
            port,
            vhost,
            user,
            ..
        } = self;
        write!(f, "{user} at {host}:{port}, vhost {vhost}")
    }
}

impl Broker {
    /// Reads `BROKER_HOST`, `BROKER_PORT` (5672), `BROKER_VHOST`, `BROKER_USER`,
    /// `BROKER_PASSWORD`, `BROKER_HEARTBEAT_S` (10), `BROKER_CONNECT_TIMEOUT_MS` (3000) and
    /// `BROKER_LONGEST_PAUSE_MS` (2000).
    ///
    /// # Errors
    /// Names every required variable that is not set.
    pub fn from_env() -> Result<Self> {
        let required = [
            "BROKER_HOST",
            "BROKER_VHOST",
            "BROKER_USER",
            "BROKER_PASSWORD",
        ];
        let missing: Vec<&str> = required
            .into_iter()
            .filter(|name| given(name).is_none())
            .collect();
        ensure!(missing.is_empty(), "not set: {}", missing.join(", "));
        let [host, vhost, user, password] = required.map(|name| given(name).unwrap_or_default());
        let millis = |name, default| number(name, default).map(Duration::from_millis);
        Ok(Self {
            host,
            port: number("BROKER_PORT", 5672)?,
            vhost,
            user,
            password,
            heartbeat: number("BROKER_HEARTBEAT_S", 10)?,
            connect_timeout: millis("BROKER_CONNECT_TIMEOUT_MS", 3000)?,
            longest_pause: millis("BROKER_LONGEST_PAUSE_MS", 2000)?,
        })
    }
}

/// The value of an environment variable. An empty one counts as not set: shells and Compose
/// files put it in the place of a variable that they do not know.
fn given(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// A number from the environment, or the default when it is not set.
fn number<T: FromStr>(name: &str, default: T) -> Result<T> {
    let Some(value) = given(name) else {
        return Ok(default);
    };
    let number = value.parse().ok();
    number.with_context(|| format!("{name} is not a number that fits"))
}
