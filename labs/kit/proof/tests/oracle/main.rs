//! The journal against an oracle that nobody here wrote: tshark captures what crosses the wiretaps of
//! two services of solution 02 and of a scripted client, and must tell of the same messages.
//!
//! It needs `tshark` and the right to capture on `lo`, so a plain `cargo test` ignores it:
//! `cargo test -p proof --test oracle -- --ignored`.

mod compare;
mod scene;
mod script;
mod tshark;

use anyhow::Result;
use course::paths::Paths;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    // A guard is this same program, and so is the broker's keeper.
    broker::dispatch();
    let oracle = Trial::test("tshark tells what the journal tells", || {
        run().map_err(|error| Failed::from(format!("{error:#}")))
    });
    let trials = vec![oracle.with_ignored_flag(true)];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn run() -> Result<()> {
    tshark::required()?;
    let paths = Paths::find()?;
    let program = scene::build(&paths)?;
    actix_web::rt::System::new().block_on(async {
        let scene = scene::Scene::open(&paths, program).await?;
        let ports = scene.ports();
        let capture = tshark::Capture::start(scene.dir(), ports.keys().copied().collect()).await?;
        let played = scene.play().await;
        let captured = capture.finish().await?;
        let recorded = wiretap::journal::read(scene.journal())?;
        scene.close().await?;
        played?;
        compare::agree(&recorded, &captured, &ports)
    })
}
