//! A chapter's checks that need no broker, and the tiny service that they check.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::ExitCode;
use std::time::Duration;

use check::check;
use check::run::Package;
use check::{Checks, Lab, Outcome, Seen, Service, Stop, expect, fail};
use rand::RngExt;

/// The role under which this program is the service under check.
pub const SERVICE: &str = "tiny-service";
/// This variable makes the program a check program, of a chapter with a broker if its value is
/// `broker`.
pub const AS_CHECKS: &str = "KIT_TEST_AS_CHECKS";
/// The check `waits` waits until this file exists.
pub const GO_ON: &str = "KIT_TEST_GO_ON";

/// How long the service computes for `GET /work`, and how long a check waits for it.
const WORK: Duration = Duration::from_millis(250);
const DEADLINE: Duration = Duration::from_secs(1);
/// How long a whole run may take.
const LONGEST: Duration = Duration::from_secs(5);

/// The service: answers `GET /health`, dies at `GET /die`, and reaches a hole at `GET /hole`. It prints
/// `done` after `GET /work`, and never after `GET /toil` (one core) or `GET /spin` (all cores). `GET /chatter`
/// makes it print without end.
pub fn serve() -> ExitCode {
    let port: u16 = std::env::var("PORT").unwrap().parse().unwrap();
    let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
    println!("\x1b[32mlistening\x1b[0m");
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let mut line = String::new();
        BufReader::new(&stream).read_line(&mut line).unwrap();
        if line.contains("/die") {
            println!(
                "first words\nthe one but last\nmy last words, {}",
                "long ".repeat(30)
            );
            return ExitCode::from(3);
        }
        if line.contains("/work") {
            std::thread::spawn(work);
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let endless = match () {
            () if line.contains("/toil") => 1,
            () if line.contains("/spin") => 2 * cores,
            () => 0,
        };
        for _ in 0..endless {
            std::thread::spawn(|| while ran() < Duration::MAX {});
        }
        if line.contains("/chatter") {
            std::thread::spawn(|| {
                loop {
                    println!("a line of log");
                }
            });
        }
        assert!(
            !line.contains("/hole"),
            "not yet implemented: HOLE 3: publish and wait for the broker's confirm"
        );
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
    }
    ExitCode::SUCCESS
}

/// Computes for [`WORK`] of a processor's time, however long that takes.
fn work() {
    while ran() < WORK {}
    println!("done");
}

/// How long this thread has had a processor.
fn ran() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split(' ').next().unwrap().parse().unwrap())
}

/// The run: what `check::main!` does, but this package has no separate program.
pub fn main() -> ExitCode {
    let checks = Checks {
        broker: std::env::var(AS_CHECKS).is_ok_and(|with| with == "broker"),
        hole_for: |_| 1,
        all: vec![
            check!(passes, HOLE 1, "a check that passes"),
            check!(fails_at_length, HOLE 2, "a check that fails and has much to say about it"),
            check!(fails_shortly, HOLE 2, "a check that fails"),
            check!(unknown, HOLE 1, "a check without a verdict"),
            check!(open_hole, HOLE 1, "a service that reaches a hole"),
            check!(dies, HOLE 1, "a service that dies"),
            check!(dies_before_a_fault, HOLE 1, "a service that dies before it is frozen"),
            check!(draws, HOLE 1, "random values from the seed"),
            check!(waits, HOLE 1, "a check that waits for a file"),
            check!(panics, HOLE 1, "a check that panics"),
            check!(optional, HOLE 1, "a check of an optional hole").optional(),
            check!(works, HOLE 1, "a service that computes"),
            check!(never_works, HOLE 1, "a service that computes for ever"),
            check!(flawed, HOLE 1, "a flaw that the wire proves"),
            check!(spins, HOLE 1, "a service that keeps itself from working"),
            check!(chatters, HOLE 1, "a service that prints without end"),
            check!(dawdles, HOLE 1, "a check that waits again and again"),
        ],
    };
    let package = Package {
        name: "lab-99",
        folder: env!("CARGO_MANIFEST_DIR"),
        program: "/proc/self/exe",
        longest: LONGEST,
    };
    check::run::main(package, checks)
}

async fn service(lab: &Lab) -> Outcome<Service> {
    lab.start(SERVICE).await
}

async fn passes(lab: Lab) -> Outcome {
    let service = service(&lab).await?;
    service.get("/").await?;
    service.kill().await?;
    service.start().await?;
    service.stop().await?;
    Ok(())
}

async fn fails_at_length(_: Lab) -> Outcome {
    let long = "words of all lengths, like antidisestablishmentarianism, ".repeat(4);
    Err(fail(
        &long,
        format!("{long}\nand a second line\n  indented {long}"),
    )
    .because(&long)
    .into())
}

async fn fails_shortly(_: Lab) -> Outcome {
    expect(false).or("this", "that").hole(7).because("reasons")
}

async fn optional(_: Lab) -> Outcome {
    expect(false).or("more", "less").because("reasons")
}

async fn unknown(_: Lab) -> Outcome {
    Err(Stop::Unknown("the moon is in the way".to_owned()))
}

async fn open_hole(lab: Lab) -> Outcome {
    let service = service(&lab).await?;
    service.get("/hole").await?;
    Ok(())
}

async fn dies(lab: Lab) -> Outcome {
    let service = service(&lab).await?;
    let _ = service.try_get("/die").await;
    lab.eventually("never", "because", async || {
        Ok(Seen::<()>::NotYet("nothing".to_owned()))
    })
    .await
}

async fn dies_before_a_fault(lab: Lab) -> Outcome {
    let service = service(&lab).await?;
    let _ = service.try_get("/die").await;
    while service.exit().is_none() {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    service.freeze()
}

async fn draws(lab: Lab) -> Outcome {
    let drawn: u64 = lab.random(rand::Rng::next_u64);
    let range: u64 = lab.random(|chance| chance.random_range(0..10));
    fail("a number", format!("{drawn} {range}")).unless(false)
}

async fn waits(lab: Lab) -> Outcome {
    let service = service(&lab).await?;
    let file = std::env::var(GO_ON).unwrap_or_default();
    while !std::path::Path::new(&file).exists() {
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    service.stop().await?;
    Ok(())
}

async fn works(lab: Lab) -> Outcome {
    asked(&lab, "/work", "done").await
}

async fn never_works(lab: Lab) -> Outcome {
    asked(&lab, "/toil", "done").await
}

async fn flawed(lab: Lab) -> Outcome {
    works(lab).await?;
    Err(fail("a durable queue", "a transient one").proven().into())
}

async fn spins(lab: Lab) -> Outcome {
    asked(&lab, "/spin", "done").await
}

async fn chatters(lab: Lab) -> Outcome {
    asked(&lab, "/chatter", "done").await
}

/// Never waits for longer than a check may.
async fn dawdles(lab: Lab) -> Outcome {
    loop {
        let since = lab.span();
        lab.eventually_within(DEADLINE, "some time passes", "because", async || {
            Ok(Seen::when(since.exceeds(DEADLINE / 2), || {
                "none".to_owned()
            }))
        })
        .await?;
    }
}

/// Sends the service a request, and waits until it has printed `words`.
async fn asked(lab: &Lab, path: &str, words: &str) -> Outcome {
    let service = service(lab).await?;
    service.get(path).await?;
    lab.eventually_within(DEADLINE, "it works", "because", async || {
        Ok(Seen::when(service.output().contains(words), || {
            "not a word".to_owned()
        }))
    })
    .await
}

async fn panics(_: Lab) -> Outcome {
    panic!("the check itself is wrong");
}
