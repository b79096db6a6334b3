use std::future::ready;
use std::net::TcpListener;
use std::time::Duration;

use actix_web::web::{Json, Query};
use actix_web::{rt, test};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Connects as soon as the service listens, and at the latest in two seconds.
async fn connect(port: u16) -> TcpStream {
    for _ in 0..200 {
        match TcpStream::connect(("127.0.0.1", port)).await {
            Ok(stream) => return stream,
            Err(_) => rt::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("nothing listens on port {port}");
}

async fn ask(stream: &mut TcpStream, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = vec![0; 4096];
    let n = stream.read(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer[..n]).into_owned()
}

#[actix_web::test]
async fn it_is_healthy_and_stops_at_shutdown_even_with_an_idle_connection() {
    let (port, shutdown) = (free_port(), CancellationToken::new());
    let server = rt::spawn(serve(port, shutdown.clone(), |_| {}));
    let mut stream = connect(port).await;
    assert!(
        ask(&mut stream, "/health")
            .await
            .starts_with("HTTP/1.1 200")
    );
    shutdown.cancel();
    let stopped = tokio::time::timeout(Duration::from_secs(1), server).await;
    stopped
        .expect("within a second")
        .expect("no panic")
        .expect("no error");
    assert!(TcpStream::connect(("127.0.0.1", port)).await.is_err());
}

#[actix_web::test]
async fn a_taken_port_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = holder.local_addr().expect("its address").port();
    let error = serve(port, CancellationToken::new(), |_| {}).await;
    let text = error.expect_err("taken").to_string();
    assert!(text.contains(&format!("port {port} is taken")), "{text}");
}

#[derive(Deserialize)]
struct Body {
    name: String,
}

async fn post(body: &str, content_type: &str) -> (StatusCode, Value) {
    let app = test::init_service(
        App::new()
            .app_data(json_body(r#"{"name": "..."}"#))
            .route("/", web::post().to(|b: Json<Body>| ready(b.name.clone()))),
    );
    let request = test::TestRequest::post()
        .insert_header(("content-type", content_type.to_owned()))
        .set_payload(body.to_owned())
        .to_request();
    let response = test::call_service(&app.await, request).await;
    let status = response.status();
    let body = test::read_body(response).await;
    (status, serde_json::from_slice(&body).unwrap_or_default())
}

#[actix_web::test]
async fn a_bad_body_is_answered_with_what_is_expected() {
    let huge = format!(r#"{{"name": "{}"}}"#, "x".repeat(MAX_BODY));
    let json = "application/json";
    for (body, content_type, expected) in [
        ("", json, 400),
        ("{", json, 400),
        ("{}", json, 400),
        (r#"{"name": 7}"#, json, 400),
        ("[]", json, 400),
        (r#"{"name": "a"}"#, "text/plain", 415),
        (huge.as_str(), json, 413),
    ] {
        let (status, answer) = post(body, content_type).await;
        assert_eq!(status.as_u16(), expected, "{body:.40}");
        let text = answer["error"].as_str().expect("an error as JSON");
        assert!(text.contains(r#"like {"name": "..."}"#), "{text}");
    }
    assert_eq!(post(r#"{"name": "a"}"#, json).await.0, StatusCode::OK);
}

async fn page(query: &str) -> (StatusCode, String) {
    let show = |p: Query<Paging>| ready(format!("{} {}", p.skip, p.limit));
    let app = App::new()
        .app_data(query_errors())
        .route("/", web::get().to(show));
    let request = test::TestRequest::with_uri(query).to_request();
    let response = test::call_service(&test::init_service(app).await, request).await;
    let status = response.status();
    let body = test::read_body(response).await;
    (status, String::from_utf8_lossy(&body).into_owned())
}

#[actix_web::test]
async fn paging_has_defaults_and_bounds() {
    for (query, expected) in [
        ("/", "0 100"),
        ("/?skip=3&limit=1", "3 1"),
        ("/?limit=1000", "0 1000"),
    ] {
        assert_eq!(page(query).await, (StatusCode::OK, expected.to_owned()));
    }
    for query in [
        "/?limit=0",
        "/?limit=1001",
        "/?skip=-1",
        "/?skip=a",
        "/?limit=1e9",
    ] {
        let (status, text) = page(query).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{query}");
        assert!(text.contains("?skip=0&limit=100"), "{text}");
    }
}

#[actix_web::test]
async fn an_internal_error_keeps_its_details_to_the_log() {
    let error = internal(anyhow!("disk full at /secret/path"));
    let response = error.error_response();
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    let body = actix_web::body::to_bytes(response.into_body()).await;
    let text = String::from_utf8_lossy(&body.expect("a body")).into_owned();
    assert!(text.contains("error") && !text.contains("secret"), "{text}");
}
