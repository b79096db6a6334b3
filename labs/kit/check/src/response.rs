//! One HTTP request, and the response of the service.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use awc::Client;
use awc::http::{Method, StatusCode};
use serde_json::Value;

use super::Span;

/// A service that answers later than this hangs.
const PATIENCE: Duration = Duration::from_secs(6);
/// Larger than the body of any response.
const LARGEST_BODY: usize = 4 * 1024 * 1024;

/// A service's answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status code.
    pub status: u16,
    headers: BTreeMap<String, String>,
    /// The body, as bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// Whether the status is 2xx.
    #[must_use]
    pub fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The value of the header `name`, in lower case; `None` if the response has no such header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// The body as JSON; null when it is not JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The status and the beginning of the body, for a person to read.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = String::from_utf8_lossy(&self.body[..self.body.len().min(120)]).into_owned();
        let text = if text.contains('\0') {
            String::new()
        } else {
            text
        };
        let status = StatusCode::from_u16(self.status)
            .map_or_else(|_| self.status.to_string(), |status| status.to_string());
        format!("{status} {}", text.trim()).trim_end().to_owned()
    }
}

/// Sends one request on a new connection, so that no request meets the half-dead connection of a
/// killed service.
pub(super) async fn call(
    span: &Span,
    method: Method,
    url: &str,
    header: Option<(&str, &str)>,
    body: Option<(&str, Vec<u8>)>,
) -> Result<Response> {
    let answer = span
        .limit(PATIENCE, exchange(method, url, header, body))
        .await;
    answer.with_context(|| format!("nothing within {} s", PATIENCE.as_secs()))?
}

async fn exchange(
    method: Method,
    url: &str,
    header: Option<(&str, &str)>,
    body: Option<(&str, Vec<u8>)>,
) -> Result<Response> {
    let client = Client::builder().disable_timeout().finish();
    let mut request = client.request(method, url).force_close();
    if let Some(header) = header {
        request = request.insert_header(header);
    }
    let sent = match body {
        Some((kind, bytes)) => request.content_type(kind).send_body(bytes),
        None => request.send(),
    };
    // awc's errors are not `Send`; errors of anyhow must be.
    let mut response = sent.await.map_err(|e| anyhow::anyhow!("{e}"))?;
    let headers = response.headers().iter().filter_map(|(name, value)| {
        let value = value.to_str().ok()?;
        Some((name.as_str().to_owned(), value.to_owned()))
    });
    let headers = headers.collect();
    let body = response
        .body()
        .limit(LARGEST_BODY)
        .await
        .map_err(|e| anyhow::anyhow!("the body broke off: {e}"))?;
    Ok(Response {
        status: response.status().as_u16(),
        headers,
        body: body.to_vec(),
    })
}
