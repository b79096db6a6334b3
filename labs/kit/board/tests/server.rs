//! Who may open the page and press its buttons.
#![allow(clippy::unwrap_used)] // a test that panics has failed

use awc::Client;
use awc::http::StatusCode;
use board::server::Door;
use board::{Ask, Deed};
use tokio::sync::{broadcast, mpsc};

/// Serves a board without services, and gives its address and what it is asked.
fn board() -> (String, mpsc::Receiver<Ask>) {
    let (sender, asks) = mpsc::channel(8);
    let door = Door::open().unwrap();
    let url = door.url();
    let updates = broadcast::channel(1).0;
    let server = door.serve("the page".to_owned(), sender, updates).unwrap();
    actix_web::rt::spawn(server);
    (url, asks)
}

async fn status(ask: awc::ClientRequest, body: &'static str) -> StatusCode {
    ask.send_body(body).await.unwrap().status()
}

const KILL: &str = r#"{"deed":"kill","service":"finance"}"#;

#[actix_web::test]
async fn only_its_own_page_reaches_it() {
    let (url, mut asks) = board();
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
    let (url, mut asks) = board();
    let press = url.replace("/?", "/do?");
    let (client, origin) = (Client::default(), url.split_once("/?").unwrap().0);
    let ask = || client.post(&press).insert_header(("Origin", origin));
    for (body, says) in [
        ("{", "no such deed: EOF"),
        (
            r#"{"deed":"explode"}"#,
            "no such deed: unknown variant `explode`",
        ),
        (
            r#"{"deed":"kill"}"#,
            "no such deed: missing field `service`",
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
        while let Some(Ask::Do(deed, answer)) = asks.recv().await {
            let service = "finance".to_owned();
            assert_eq!(deed, Deed::Kill { service });
            answer.send(Err("finance has ended".to_owned())).unwrap();
        }
    });
    let mut answer = ask().send_body(KILL).await.unwrap();
    assert_eq!(answer.status(), StatusCode::CONFLICT);
    assert_eq!(answer.body().await.unwrap(), "finance has ended");
}
