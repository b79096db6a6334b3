//! What `just search 01` runs: four films at once, each told to the history once.

use check::wiretap::{Event, HttpLine};
use check::{Lab, Seen, Stop};
use search::{Answer, Operation, Role, Run, Scenario, Trouble};

const VIDEO: &str = "video-streaming";

search::main!(
    Scenario::new(4, watch)
        .at_once(4)
        .role(Role::server("history").records("views"))
        .role(
            Role::server(VIDEO)
                .calls("history", "HISTORY_URL")
                .with(|_, video| video.with("HISTORY_TIMEOUT_MS", 2000))
        )
        .without_broker()
);

/// A viewer watches the film, and the view is told: the history's 200 is the promise. The viewer
/// watches again when the view was lost in the open: with a line of level error, or when
/// video-streaming, which has it in memory only, was killed.
async fn watch(run: &Run, _: &Operation) -> check::Outcome<Answer> {
    let (video, lab) = (run.service(VIDEO)?, run.lab());
    let kills = run.kills(VIDEO);
    let film = video.try_get("/video").await;
    let Some(view) = film.as_ref().ok().and_then(|film| film.header("view-id")) else {
        return Ok(Answer::of(&film, "no view-id"));
    };
    let expected = format!("the history answers 200 for view {view}, or one error is logged");
    let why = "a view that is lost without a line is missed by nobody, for months";
    let told = lab.eventually(&expected, why, async || {
        let lost = |line: &str| line.contains(view) && line.contains(" ERROR ");
        Ok(if confirmed(lab, view) {
            Seen::Yes(Answer::promised(view))
        } else if video.output().lines().any(lost) || kills < run.kills(VIDEO) {
            Seen::Yes(Answer::Refused(format!("view {view} is lost")))
        } else {
            Seen::NotYet("neither of them".to_owned())
        })
    });
    told.await.map_err(|stop| match stop {
        Stop::Failed(failure) => run.found(Trouble::Lost, Some(view), *failure),
        unknown @ Stop::Unknown(_) => unknown,
    })
}

/// Whether the history has answered a call for this view with success.
fn confirmed(lab: &Lab, view: &str) -> bool {
    let success = |line: &HttpLine, body: &str| line.is_success() && body.contains(view);
    lab.journal().read(|entries| {
        entries.iter().any(|entry| match &entry.event {
            Event::Http { line, body, .. } => success(line, body),
            _ => false,
        })
    })
}
