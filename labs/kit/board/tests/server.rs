//! Who may open the page and press its buttons.
#![allow(clippy::unwrap_used)] // a test that panics has failed

use actix_web::web::Bytes;
use awc::Client;
use awc::http::StatusCode;
use board::server::Listening;
use board::{Action, Ask};
use futures_lite::StreamExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, mpsc};

/// Serves a board without services, and gives its address and what it is asked.
fn board() -> (String, mpsc::Receiver<Ask>, broadcast::Sender<Arc<str>>) {
    let (sender, asks) = mpsc::channel(8);
    let listening = Listening::open().unwrap();
    let url = listening.url();
    let updates = broadcast::channel(4).0;
    let server = listening.serve("the page".to_owned(), sender, updates.clone());
    actix_web::rt::spawn(server.unwrap());
    (url, asks, updates)
}

async fn status(ask: awc::ClientRequest, body: &'static str) -> StatusCode {
    ask.send_body(body).await.unwrap().status()
}

const KILL: &str = r#"{"action":"kill","service":"finance"}"#;

#[actix_web::test]
async fn only_its_own_page_reaches_it() {
    let (url, mut asks, _updates) = board();
    let (origin, token) = url.split_once("/?token=").unwrap();
    let client = Client::default();
    let press = format!("{origin}/do?token={token}");
    let stream = format!("{origin}/events?token={token}");
    for (what, ask) in [
        ("no token", client.post(format!("{origin}/do"))),
        (
            "another token",
            client.post(format!("{origin}/do?token={token}x")),
        ),
        (
            "a foreign page",
            client
                .post(&press)
                .insert_header(("Origin", "http://127.0.0.1:9")),
        ),
        (
            "a page in a sandbox",
            client.post(&press).insert_header(("Origin", "null")),
        ),
        (
            "another name of this address",
            client
                .post(&press)
                .insert_header(("Host", "evil.example:4100")),
        ),
        ("the page without a token", client.get(origin)),
        (
            "a foreign stream",
            client
                .get(&stream)
                .insert_header(("Origin", "http://evil.example")),
        ),
    ] {
        assert_eq!(status(ask, KILL).await, StatusCode::FORBIDDEN, "{what}");
    }
    assert!(asks.try_recv().is_err(), "nothing was asked for");
    assert_eq!(status(client.get(&url), "").await, StatusCode::OK);
}

#[actix_web::test]
async fn a_button_is_answered_in_words() {
    let (url, mut asks, _updates) = board();
    let press = url.replace("/?", "/do?");
    let (client, origin) = (Client::default(), url.split_once("/?").unwrap().0);
    let ask = || client.post(&press).insert_header(("Origin", origin));
    for (body, says) in [
        ("{", "no such action: EOF"),
        (
            r#"{"action":"explode"}"#,
            "no such action: unknown variant `explode`",
        ),
        (
            r#"{"action":"kill"}"#,
            "no such action: missing field `service`",
        ),
    ] {
        let mut answer = ask().send_body(body).await.unwrap();
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let said = answer.body().await.unwrap();
        assert!(said.starts_with(says.as_bytes()), "{said:?}");
    }
    let large = "x".repeat(200_000);
    let answer = ask().send_body(large).await.unwrap();
    assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);

    actix_web::rt::spawn(async move {
        while let Some(Ask::Do(action, answer)) = asks.recv().await {
            let service = "finance".to_owned();
            assert_eq!(action, Action::Kill { service });
            answer.send(Err("finance has ended".to_owned())).unwrap();
        }
    });
    let mut answer = ask().send_body(KILL).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.body().await.unwrap(), "finance has ended");
}

#[actix_web::test]
async fn a_page_that_reads_too_slowly_misses_updates_and_is_told() {
    let (url, mut asks, updates) = board();
    actix_web::rt::spawn(async move {
        while let Some(Ask::Whole(skipped, answer)) = asks.recv().await {
            answer.send(format!("whole, {skipped} skipped")).unwrap();
        }
    });
    let client = Client::builder().disable_timeout().finish();
    let mut stream = client
        .get(url.replace("/?", "/events?"))
        .send()
        .await
        .unwrap();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!(first, "data: whole, 0 skipped\n\n");
    // More than the buffers of both ends hold, while nobody reads.
    let large: Arc<str> = "x".repeat(1_000_000).into();
    for _ in 0..40 {
        updates.send(large.clone()).unwrap();
        actix_web::rt::time::sleep(Duration::from_millis(5)).await;
    }
    let told = |bytes: &Bytes| bytes.windows(6).any(|six| six == b"whole,");
    let mut read = 0;
    let whole = loop {
        let bytes = stream.next().await.unwrap().unwrap();
        read += bytes.len();
        if told(&bytes) {
            break String::from_utf8_lossy(&bytes).into_owned();
        }
    };
    assert!(read < 40_000_000, "{read} bytes: it missed none");
    assert!(!whole.contains("whole, 0 skipped"), "{whole}");
}
