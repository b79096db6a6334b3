//! Measures what the live board costs the services: one program publishes and consumes directly at the
//! broker, through the relay, with the board behind the relay, and with a page open besides, in turn. The
//! program is built for release; relay and board as for every student.

use std::path::Path;
use std::pin::pin;
use std::process::Stdio;

use anyhow::{Context, Result};
use board::Ask;
use board::feed::{EVERY, Feed};
use board::server::Listening;
use process::{Group, on_path};
use serde_json::json;
use tokio::process::Command;
use tokio::sync::{mpsc, oneshot};
use wiretap::Journal;

use super::chart::{Axis, Chart, Places, Scale, measured_lines};
use super::measured_program::MeasuredProgram;
use super::session::Session;

/// The rate that is offered, in messages a second, and for how many messages.
const OFFERED: (u32, u32) = (5_000, 20_000);
/// How many messages go through as fast as they can.
const UNBOUNDED: u32 = 30_000;

/// What stands between the program and the broker.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Direct,
    Relay,
    Closed,
    Open,
}

const WAYS: [(Way, &str); 4] = [
    (Way::Direct, "direct"),
    (Way::Relay, "through the relay"),
    (Way::Closed, "with the board, no page open"),
    (Way::Open, "with the board, a page open"),
];

/// Measures all ways in turn.
pub async fn measure(session: &mut Session<'_>) -> Result<()> {
    let program = session.program;
    let runs = session.effort.pick(1, 2);
    let names = WAYS.map(|(_, name)| name);
    let offered = format!("{} offered", OFFERED.0);
    let loads = Places::named("messages a second", &[&offered, "as fast as they can"]);
    let [lines] = measured_lines(&names, &loads, runs, async |way, place| {
        if WAYS[way].0 == Way::Open && browser().is_none() {
            return Ok(None);
        }
        let work = match place == 0 {
            true => format!("flow --count {} --rate {}", OFFERED.1, OFFERED.0),
            false => format!("flow --count {UNBOUNDED}"),
        };
        Ok(Some([run(program, WAYS[way].0, &work).await?]))
    })
    .await?;
    let page = browser().unwrap_or("no browser, as none is on PATH");
    session.keep(Chart {
        name: "board".to_owned(),
        title: "What does the live board cost the services?".to_owned(),
        x: loads.axis,
        y: Axis::new("from a producer to a consumer, a second", Scale::Linear),
        lines,
        note: format!("The page is open in {page}, on this machine. Goal: 90 % of direct, with a rate that is offered."),
    })
}

async fn run(program: &MeasuredProgram, way: Way, work: &str) -> Result<f64> {
    let (_tap, journal, relayed) = program.tap().await?;
    let url = (way != Way::Direct).then_some(relayed);
    let (ready, is_ready) = oneshot::channel();
    let load = async {
        // An error means that what must be ready has failed, which ends the other branch.
        let _ = is_ready.await;
        program.load::<1>(work, url).await
    };
    let [rate] = match way {
        Way::Direct | Way::Relay => {
            // Its receiver is in the same function.
            let _ = ready.send(());
            load.await?
        }
        Way::Closed | Way::Open => tokio::select! {
            rate = load => rate?,
            failed = show(journal, way == Way::Open, ready) => return failed.map(|()| 0.0),
        },
    };
    Ok(rate)
}

/// Does what the board does, and opens its page if asked to. It is `ready` when the page follows. Ends only
/// when it fails.
async fn show(journal: Journal, open: bool, ready: oneshot::Sender<()>) -> Result<()> {
    let mut ready = Some(ready);
    let mut feed = Feed::new(journal, None);
    let (sender, mut asks) = mpsc::channel(1);
    let listening = Listening::open()?;
    let url = listening.url();
    let story = json!({ "token": listening.token, "says": "bench", "broker": "the bench's", "can_restart": false,
        "why_not": "", "tries": [], "runs": [] });
    let mut server = listening.serve(view::board(&story), sender, feed.updates())?;
    let profile = tempfile::tempdir()?;
    let mut page = pin!(async {
        match browser().filter(|_| open) {
            Some(browser) => look(browser, profile.path(), &url).await,
            None => std::future::pending().await,
        }
    });
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            ended = &mut server => return ended.context("the board's server has ended"),
            read = &mut page => return read,
            Some(ask) = asks.recv() => if let Ask::Whole(skipped, answer) = ask {
                // A closed channel means that the page is gone.
                let _ = answer.send(feed.whole(&[], skipped));
            },
            _ = tick.tick() => {
                feed.pump(&[]);
                if !open || feed.updates().receiver_count() > 0 {
                    // An error means that the measurement has been given up.
                    let _ = ready.take().map(|ready| ready.send(()));
                }
            }
        }
    }
}

/// A browser that shows pages without a screen.
fn browser() -> Option<&'static str> {
    let known = ["chromium", "chromium-browser", "google-chrome"];
    known.into_iter().find(|name| on_path(name))
}

/// Shows the page in a browser, whose work counts, too.
async fn look(browser: &str, profile: &Path, url: &str) -> Result<()> {
    let mut command = Command::new(browser);
    command
        // It cannot build its sandbox as root, and the page is our own.
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--remote-debugging-port=0",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let ended = Group::spawn(&mut command)
        .context("the browser cannot be started")?
        .wait()
        .await?;
    anyhow::bail!("the browser has ended: {ended}")
}
