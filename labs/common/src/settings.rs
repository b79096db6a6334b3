//! Settings from the environment. Every error names the variable and says what it should
//! look like. It never quotes the value, which may contain a password.

use std::env;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::time::Duration;

use actix_web::http::Uri;
use anyhow::{Context, Result, bail, ensure};

/// The value of `name`; `looks_like` is the example that the error shows.
///
/// # Errors
/// When the variable is not set, is empty or is not UTF-8.
pub fn required(name: &str, looks_like: &str) -> Result<String> {
    text(name, looks_like, env::var_os(name))
}

/// `PORT`: the port on which this service listens.
///
/// # Errors
/// When it is not set or is not a number from 1 to 65535.
pub fn port() -> Result<u16> {
    parse_port(env::var_os("PORT"))
}

/// `BIND`: the address on which this service listens. When it is not set, that is 127.0.0.1, which
/// only this machine reaches. A container has a 127.0.0.1 of its own, so `compose/Dockerfile` sets
/// 0.0.0.0, and the published ports decide who reaches the service.
///
/// # Errors
/// When it is set and is not an IP address.
pub fn bind() -> Result<IpAddr> {
    parse_bind(env::var_os("BIND"))
}

/// `DATABASE`: the path of this service's own SQLite file.
///
/// # Errors
/// When it is not set.
pub fn database() -> Result<PathBuf> {
    required("DATABASE", "target/history.sqlite").map(PathBuf::from)
}

/// The base address of another HTTP service, without a slash at its end.
///
/// # Errors
/// When the variable is not set or is not an `http://` address; also when the address
/// contains a user or a password, because services log it.
pub fn http_url(name: &str) -> Result<String> {
    parse_http_url(name, env::var_os(name))
}

/// `AMQP_URL`: the address of the broker. It contains a password, so don't log it.
///
/// # Errors
/// When it is not set or does not begin with `amqp://` or `amqps://`.
pub fn amqp_url() -> Result<String> {
    parse_amqp_url(env::var_os("AMQP_URL"))
}

/// A duration in whole milliseconds, at least 1; `default` when `name` is not set.
///
/// # Errors
/// When it is set and is not such a number.
pub fn millis(name: &str, default: Duration) -> Result<Duration> {
    parse_millis(name, default, env::var_os(name))
}

fn text(name: &str, looks_like: &str, value: Option<OsString>) -> Result<String> {
    let value = value.with_context(|| format!("{name} is not set; set it, as {looks_like}"))?;
    match value.into_string() {
        Ok(value) if !value.trim().is_empty() => Ok(value),
        Ok(_) => bail!("{name} is empty; it should look like {looks_like}"),
        Err(_) => bail!("{name} is not UTF-8 text; it should look like {looks_like}"),
    }
}

fn parse_port(value: Option<OsString>) -> Result<u16> {
    let value = text("PORT", "4000", value)?;
    match value.parse() {
        Ok(port) if port > 0 => Ok(port),
        _ => bail!("PORT is not a port; it should be a number from 1 to 65535, as 4000"),
    }
}

fn parse_bind(value: Option<OsString>) -> Result<IpAddr> {
    let Some(value) = value else {
        return Ok(Ipv4Addr::LOCALHOST.into());
    };
    match text("BIND", "0.0.0.0", Some(value))?.parse() {
        Ok(address) => Ok(address),
        Err(_) => bail!("BIND is not an IP address; it should be one, as 127.0.0.1 or 0.0.0.0"),
    }
}

fn parse_http_url(name: &str, value: Option<OsString>) -> Result<String> {
    const LOOKS_LIKE: &str = "http://127.0.0.1:4001";
    let value = text(name, LOOKS_LIKE, value)?;
    let malformed = || format!("{name} is not an HTTP address; it should look like {LOOKS_LIKE}");
    let uri = value.parse::<Uri>().ok().with_context(malformed)?;
    let authority = uri.authority().with_context(malformed)?;
    ensure!(uri.scheme_str() == Some("http"), malformed());
    ensure!(uri.query().is_none(), malformed());
    ensure!(
        !authority.as_str().contains('@'),
        "{name} contains a user or a password, and services log it; \
         it should look like {LOOKS_LIKE}"
    );
    Ok(value.trim_end_matches('/').to_owned())
}

fn parse_amqp_url(value: Option<OsString>) -> Result<String> {
    const LOOKS_LIKE: &str = "amqp://user:password@127.0.0.1:5672/%2f";
    let value = text("AMQP_URL", LOOKS_LIKE, value)?;
    ensure!(
        value.starts_with("amqp://") || value.starts_with("amqps://"),
        "AMQP_URL is not the address of a broker; it should look like {LOOKS_LIKE}"
    );
    Ok(value)
}

fn parse_millis(name: &str, default: Duration, value: Option<OsString>) -> Result<Duration> {
    let Some(value) = value else {
        return Ok(default);
    };
    match text(name, "1000", Some(value))?.parse() {
        Ok(millis) if millis > 0 => Ok(Duration::from_millis(millis)),
        _ => bail!("{name} is not a time; it should be whole milliseconds, at least 1, as 1000"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(value: &str) -> Option<OsString> {
        Some(value.into())
    }

    fn says<T: std::fmt::Debug>(outcome: Result<T>) -> String {
        outcome.expect_err("should be refused").to_string()
    }

    #[test]
    fn a_missing_value_is_named_with_an_example() {
        let error = says(parse_http_url("HISTORY_URL", None));
        assert_eq!(
            error,
            "HISTORY_URL is not set; set it, as http://127.0.0.1:4001"
        );
        assert!(says(required("LAB_SURELY_NOT_SET", "x")).contains("LAB_SURELY_NOT_SET"));
    }

    #[test]
    fn an_empty_value_is_refused() {
        assert!(says(parse_amqp_url(set("  "))).starts_with("AMQP_URL is empty"));
    }

    #[test]
    fn ports_go_from_1_to_65535() {
        assert_eq!(parse_port(set("65535")).expect("the last port"), 65535);
        for wrong in ["0", "65536", "-1", "http", "4000 "] {
            assert!(
                says(parse_port(set(wrong))).contains("1 to 65535"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn services_listen_on_loopback_unless_bind_is_set() {
        let bound = |value| parse_bind(value).expect("right").to_string();
        assert_eq!(bound(None), "127.0.0.1");
        assert_eq!(bound(set("0.0.0.0")), "0.0.0.0");
        assert_eq!(bound(set("::1")), "::1");
        for wrong in ["localhost", "127.0.0.1:4000", "*"] {
            assert!(
                says(parse_bind(set(wrong))).contains("IP address"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_base_address_loses_its_last_slash() {
        let url = parse_http_url("HISTORY_URL", set("http://localhost:4001/")).expect("right");
        assert_eq!(url, "http://localhost:4001");
    }

    #[test]
    fn an_address_of_another_kind_is_refused() {
        for wrong in [
            "localhost:4001",
            "/viewed",
            "https://a",
            "http://",
            "http://a/?b=c",
        ] {
            let error = says(parse_http_url("HISTORY_URL", set(wrong)));
            assert!(error.contains("should look like"), "{wrong}: {error}");
        }
    }

    #[test]
    fn an_error_never_quotes_a_password() {
        let http = says(parse_http_url(
            "HISTORY_URL",
            set("http://bob:s3cret@localhost"),
        ));
        let amqp = says(parse_amqp_url(set("ampq://bob:s3cret@localhost")));
        assert!(http.contains("HISTORY_URL") && !http.contains("s3cret"));
        assert!(amqp.contains("AMQP_URL") && !amqp.contains("s3cret"));
    }

    #[test]
    fn milliseconds_have_a_default() {
        let default = Duration::from_secs(1);
        assert_eq!(parse_millis("T", default, None).expect("unset"), default);
        let given = parse_millis("T", default, set("250")).expect("given");
        assert_eq!(given, Duration::from_millis(250));
        assert!(says(parse_millis("T", default, set("1s"))).contains("whole milliseconds"));
        assert!(says(parse_millis("T", default, set("0"))).contains("at least 1"));
    }
}
