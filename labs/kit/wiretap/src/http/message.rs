//! Where an HTTP message ends: as much of the protocol as a relay has to know.

use anyhow::{Context, Result, anyhow, bail};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

use crate::event::HttpLine;

/// One HTTP message: its bytes, and the parts that the journal keeps.
pub(super) struct Read {
    pub(super) bytes: Vec<u8>,
    pub(super) line: HttpLine,
    pub(super) body: String,
}

/// Reads one message, head and body; `None` when the peer has closed instead. Bytes that follow
/// the message stay in `unread`.
pub(super) async fn read_message(
    stream: &mut TcpStream,
    unread: &mut Vec<u8>,
    expected: Expected,
) -> Result<Option<Read>> {
    let mut ended = false;
    loop {
        if let Some(head) = parse_head(unread, expected)? {
            let body = &unread[head.length..];
            let length = match head.body {
                Body::Length(length) => (body.len() >= length).then_some(length),
                Body::Chunked => chunks(body)?,
                Body::UntilClose => ended.then_some(body.len()),
            };
            if let Some(length) = length {
                let rest = unread.split_off(head.length + length);
                let bytes = std::mem::replace(unread, rest);
                let kept = length.min(256);
                let kept = &bytes[head.length..head.length + kept];
                let body = String::from_utf8_lossy(kept).into_owned();
                let line = head.line;
                return Ok(Some(Read { bytes, line, body }));
            }
        }
        if ended {
            return if unread.is_empty() {
                Ok(None)
            } else {
                bail!("closed in the middle of a message")
            };
        }
        ended = stream.read_buf(unread).await? == 0;
    }
}

/// Which message is read: a response's body depends on what it answers.
#[derive(Clone, Copy)]
pub(super) enum Expected {
    Request,
    Response { to_head: bool },
}

/// The head of a message.
struct Head {
    line: HttpLine,
    length: usize,
    body: Body,
}

/// How the end of a body is known.
enum Body {
    Length(usize),
    Chunked,
    UntilClose,
}

/// The head, when it is complete.
fn parse_head(bytes: &[u8], expected: Expected) -> Result<Option<Head>> {
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let (line, status, default) = match expected {
        Expected::Request => {
            let mut request = httparse::Request::new(&mut headers);
            let status = request.parse(bytes).context("not an HTTP request")?;
            let line = HttpLine::Request {
                method: request.method.unwrap_or("?").to_owned(),
                path: request.path.unwrap_or("?").to_owned(),
            };
            (line, status, Body::Length(0))
        }
        Expected::Response { to_head } => {
            let mut response = httparse::Response::new(&mut headers);
            let status = response.parse(bytes).context("not an HTTP response")?;
            let code = response.code.unwrap_or(0);
            let line = HttpLine::Response {
                status: code,
                reason: response.reason.unwrap_or("").to_owned(),
            };
            let bodiless = to_head || matches!(code, 100..200 | 204 | 304);
            if let (true, httparse::Status::Complete(length)) = (bodiless, status) {
                let body = Body::Length(0);
                return Ok(Some(Head { line, length, body }));
            }
            (line, status, Body::UntilClose)
        }
    };
    let httparse::Status::Complete(length) = status else {
        return Ok(None);
    };
    let value = |name: &str| {
        let header = headers.iter().find(|h| h.name.eq_ignore_ascii_case(name));
        header.map(|h| String::from_utf8_lossy(h.value).trim().to_owned())
    };
    let chunked = value("transfer-encoding").is_some_and(|how| how.eq_ignore_ascii_case("chunked"));
    let body = match value("content-length") {
        _ if chunked => Body::Chunked,
        Some(length) => Body::Length(length.parse().context("content-length is not a number")?),
        None => default,
    };
    Ok(Some(Head { line, length, body }))
}

/// The length of a chunked body with its trailer, when both are complete.
fn chunks(body: &[u8]) -> Result<Option<usize>> {
    let mut at = 0;
    loop {
        let rest = body.get(at..).unwrap_or_default();
        let size = httparse::parse_chunk_size(rest).map_err(|_| anyhow!("not a chunk"))?;
        let httparse::Status::Complete((line, size)) = size else {
            return Ok(None);
        };
        at += line;
        if size == 0 {
            break;
        }
        let size = usize::try_from(size).context("a chunk beyond all memory")?;
        let end = at.checked_add(size).and_then(|end| end.checked_add(2));
        at = end.context("a chunk beyond all memory")?;
        if at > body.len() {
            return Ok(None);
        }
    }
    // The trailer: header lines, and an empty one at last.
    loop {
        let rest = &body[at..];
        let Some(line) = rest.windows(2).position(|two| two == b"\r\n") else {
            return Ok(None);
        };
        at += line + 2;
        if line == 0 {
            return Ok(Some(at));
        }
    }
}
