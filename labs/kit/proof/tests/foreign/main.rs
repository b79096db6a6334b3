//! Programs in other languages send to the solutions and receive from them, over a real broker:
//! `join.mjs` and `join.py`, which `labs/JOINING.md` shows.
//!
//! Their libraries are installed under `target/lab/foreign`. Without Node.js or Python the trials are
//! ignored, with a reason; in CI they fail.

mod fixture;
mod language;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};

use fixture::Fixture;
use language::Language;

const CHAPTERS: [&str; 4] = ["02", "03", "05", "06"];

fn main() -> ExitCode {
    // A guard is this same program, and so is the broker's keeper.
    broker::dispatch();
    let trials = [Language::Node, Language::Python]
        .into_iter()
        .flat_map(of_language)
        .collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn of_language(language: Language) -> Vec<Trial> {
    let missing = language.missing();
    if let Some(what) = &missing {
        eprintln!("foreign {}: ignored: {what}", language.name());
    }
    let ignored = missing.is_some() && std::env::var_os("CI").is_none();
    let trials = CHAPTERS.map(|chapter| {
        let name = format!("foreign {} joins chapter {chapter}", language.name());
        let body = move || {
            actix_web::rt::System::new()
                .block_on(joins(language, chapter))
                .map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(name, body).with_ignored_flag(ignored)
    });
    trials.into()
}

async fn joins(language: Language, chapter: &'static str) -> Result<()> {
    let fixture = Fixture::open(language, chapter).await?;
    let outcome = match chapter {
        "03" => jobs(&fixture).await,
        "06" => calls(&fixture).await,
        _ => views(&fixture).await,
    };
    fixture.close().await?;
    outcome
}

/// Chapters 02 and 05: a view, from a queue or from an exchange.
async fn views(fixture: &Fixture) -> Result<()> {
    let (history, port) = fixture.service(&["history"]).await?;
    fixture.says("history", "consuming `").await?;
    let _theirs = fixture.joins("send").await?;
    let sent = fixture.says("send", "sent ").await?;
    let id = sent.split(' ').next().unwrap_or_default();
    fixture
        .eventually("history lists the view", async || {
            let listed = fixture.get(port, "/history").await?.body;
            Ok(listed.contains(id) && listed.contains("./videos/from-"))
        })
        .await?;
    fixture::stop(&history).await?;

    let _theirs = fixture.joins("receive").await?;
    let queue = fixture.says("receive", "receiving from ").await?;
    let (_ours, port) = fixture.service(&["video-streaming"]).await?;
    let view = fixture.get(port, "/video").await?;
    let received = fixture.says("receive", "received ").await?;
    ensure!(received.starts_with(&view.id), "{received}, not {view:?}");
    ensure!(received.contains(r#"{"videoPath":"#), "{received}");
    fixture.emptied(&queue).await
}

/// Chapter 03: a job, which is plain text.
async fn jobs(fixture: &Fixture) -> Result<()> {
    let worker = ["worker", "ada", "--unit-ms", "1"];
    let (worker, _) = fixture.service(&worker).await?;
    let _theirs = fixture.joins("send").await?;
    let job = fixture.says("worker", " begun: ").await?;
    ensure!(job.starts_with("a job from "), "{job}");
    fixture.emptied("messages").await?;
    fixture::stop(&worker).await?;

    let _theirs = fixture.joins("receive").await?;
    fixture.says("receive", "receiving from messages").await?;
    let producer = ["producer", "--burst", "--count", "1", "--text", "ours ."];
    let _ours = fixture.service(&producer).await?;
    let received = fixture.says("receive", "received ").await?;
    ensure!(received.ends_with(" ours ."), "{received}");
    fixture.emptied("messages").await
}

/// Chapter 06: a call and its answer.
async fn calls(fixture: &Fixture) -> Result<()> {
    let (service, _) = fixture.service(&["user-service"]).await?;
    let _theirs = fixture.joins("send").await?;
    let answer = fixture.says("send", "answer ").await?;
    ensure!(answer == r#"{"name":"Grace Hopper"}"#, "{answer}");
    fixture::stop(&service).await?;

    let _theirs = fixture.joins("receive").await?;
    fixture.says("receive", "receiving from rpc_queue").await?;
    let (_ours, port) = fixture.service(&["user-client"]).await?;
    fixture.says("user-client", "reply queue").await?;
    let answer = fixture.get(port, "/users/10").await?.body;
    ensure!(answer.contains("User 10 of "), "{answer}");
    fixture.emptied("rpc_queue").await
}
