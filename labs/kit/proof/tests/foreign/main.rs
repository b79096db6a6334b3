//! Programs in other languages join the chapters, both ways: `join.mjs` and `join.py`, which
//! `labs/JOINING.md` shows, against the solutions and a real broker.
//!
//! Their libraries are installed under `target/lab/foreign`. Without Node.js or Python the
//! trials are left out and the reason is said; in CI they fail.

mod language;
mod room;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use libtest_mimic::{Arguments, Failed, Trial};

use language::Language;
use room::Room;

const CHAPTERS: [&str; 4] = ["02", "03", "05", "06"];

fn main() -> ExitCode {
    // A guard is this very program, and so is the broker's keeper.
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
        eprintln!("foreign {}: left out, as {what}", language.name());
    }
    let left_out = missing.is_some() && std::env::var_os("CI").is_none();
    let trials = CHAPTERS.map(|chapter| {
        let name = format!("foreign {} joins chapter {chapter}", language.name());
        let body = move || {
            actix_web::rt::System::new()
                .block_on(joins(language, chapter))
                .map_err(|error| Failed::from(format!("{error:#}")))
        };
        Trial::test(name, body).with_ignored_flag(left_out)
    });
    trials.into()
}

async fn joins(language: Language, chapter: &'static str) -> Result<()> {
    let room = Room::open(language, chapter).await?;
    let outcome = match chapter {
        "03" => jobs(&room).await,
        "06" => calls(&room).await,
        _ => views(&room).await,
    };
    room.close().await?;
    outcome
}

/// Chapters 02 and 05: a view, from a queue or from an exchange.
async fn views(room: &Room) -> Result<()> {
    let (history, port) = room.service(&["history"]).await?;
    room.says("history", "consuming `").await?;
    let _theirs = room.joins("send").await?;
    let sent = room.says("send", "sent ").await?;
    let id = sent.split(' ').next().unwrap_or_default();
    room.eventually("history lists the view", async || {
        let listed = room.get(port, "/history").await?.body;
        Ok(listed.contains(id) && listed.contains("./videos/from-"))
    })
    .await?;
    room::stop(&history).await?;

    let _theirs = room.joins("receive").await?;
    let queue = room.says("receive", "receiving from ").await?;
    let (_ours, port) = room.service(&["video-streaming"]).await?;
    let view = room.get(port, "/video").await?;
    let received = room.says("receive", "received ").await?;
    ensure!(received.starts_with(&view.id), "{received}, not {view:?}");
    ensure!(received.contains(r#"{"videoPath":"#), "{received}");
    room.emptied(&queue).await
}

/// Chapter 03: a job, which is plain text.
async fn jobs(room: &Room) -> Result<()> {
    let worker = ["worker", "ada", "--unit-ms", "1"];
    let (worker, _) = room.service(&worker).await?;
    let _theirs = room.joins("send").await?;
    let job = room.says("worker", "is in hand: ").await?;
    ensure!(job.starts_with("a job from "), "{job}");
    room.emptied("messages").await?;
    room::stop(&worker).await?;

    let _theirs = room.joins("receive").await?;
    room.says("receive", "receiving from messages").await?;
    let producer = ["producer", "--burst", "--count", "1", "--text", "ours ."];
    let _ours = room.service(&producer).await?;
    let received = room.says("receive", "received ").await?;
    ensure!(received.ends_with(" ours ."), "{received}");
    room.emptied("messages").await
}

/// Chapter 06: a call and its answer.
async fn calls(room: &Room) -> Result<()> {
    let (service, _) = room.service(&["user-service"]).await?;
    let _theirs = room.joins("send").await?;
    let answer = room.says("send", "answer ").await?;
    ensure!(answer == r#"{"name":"Grace Hopper"}"#, "{answer}");
    room::stop(&service).await?;

    let _theirs = room.joins("receive").await?;
    room.says("receive", "receiving from rpc_queue").await?;
    let (_ours, port) = room.service(&["user-client"]).await?;
    room.says("user-client", "reply queue").await?;
    let answer = room.get(port, "/users/10").await?.body;
    ensure!(answer.contains("User 10 of "), "{answer}");
    room.emptied("rpc_queue").await
}
