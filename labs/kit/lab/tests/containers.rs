//! Tests each chapter in containers: `just up NN --solution` starts it, the printed lines work
//! as they are, every service stops in under a second, and nothing is left behind.
//!
//! The tests need a Docker engine, so they run by name only:
//! `cargo test -p lab --test containers -- --ignored`. Without an engine or a registry:
//! `.ci/with-engine cargo test -p lab --test containers -- --ignored`, as root.
#![allow(clippy::unwrap_used)] // a test that cannot go on should stop there

use std::net::TcpListener;
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use course::paths::Paths;

/// One test at a time: all use the same ports.
static TURN: Mutex<()> = Mutex::new(());

/// How long an effect may take to be seen.
const SOON: Duration = Duration::from_secs(20);

/// A chapter's solution in containers. Dropping it removes them.
struct Up {
    number: &'static str,
    name: String,
    /// What `just up` printed.
    said: String,
    _turn: MutexGuard<'static, ()>,
}

impl Up {
    fn new(number: &'static str) -> Self {
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let mut up = Self {
            number,
            name: format!("solution-{number}"),
            said: String::new(),
            _turn: turn,
        };
        let begun = Instant::now();
        let output = lab(&["up", number, "--solution"]);
        let words = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "just up {number}: {words}");
        up.said = text(&output);
        println!("{}: up in {:.1} s", up.name, begun.elapsed().as_secs_f32());
        up
    }

    /// What `just up NN --solution ROLE ARGS` prints.
    fn role(&self, words: &[&str]) -> String {
        let args = [&["up", self.number, "--solution"], words].concat();
        let output = lab(&args);
        assert!(output.status.success(), "{args:?}: {output:?}");
        text(&output) + &String::from_utf8_lossy(&output.stderr)
    }

    /// Types the printed line with `part` in it, and gives the answer.
    fn types(&self, part: &str) -> String {
        let lines = self.said.lines().map(str::trim);
        let mut lines = lines.filter(|line| line.starts_with("curl ") && line.contains(part));
        let line = lines.next();
        let line = line.unwrap_or_else(|| panic!("no curl line with {part}:\n{}", self.said));
        // The test does not keep the video.
        let line = line.replace("-o video.mp4", "-o /dev/null");
        let output = Command::new("sh").args(["-c", &line]).output().unwrap();
        text(&output)
    }

    /// Types it until the answer has all of `wanted` in it.
    fn types_until(&self, part: &str, wanted: &[&str]) -> String {
        until(part, || {
            let answer = self.types(part);
            wanted
                .iter()
                .all(|word| answer.contains(word))
                .then_some(answer)
        })
    }

    fn logs(&self, service: &str) -> String {
        text(&lab(&["logs", self.number, "--solution", service]))
    }

    fn container(&self, service: &str) -> String {
        format!("{}-{service}-1", self.name)
    }

    fn services(&self) -> Vec<String> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let format = "{{.Label \"com.docker.compose.service\"}}";
        let names = docker(&["ps", "--all", "--filter", &project, "--format", format]);
        names.lines().map(str::to_owned).collect()
    }

    /// Stops a service, which must end with code 0 in less than a second.
    fn stop(&self, service: &str) {
        let container = self.container(service);
        let begun = Instant::now();
        docker(&["stop", &container]);
        let took = begun.elapsed();
        println!("{container}: stopped in {:.2} s", took.as_secs_f32());
        assert!(took < Duration::from_secs(1), "{container}: {took:?}");
        let code = docker(&["inspect", "--format", "{{.State.ExitCode}}", &container]);
        assert_eq!(code.trim(), "0", "{container}: {}", self.logs(service));
    }

    /// The lines that RabbitMQ's own tool prints.
    fn queues(&self) -> String {
        let broker = self.container("broker");
        let list = [
            "rabbitmqctl",
            "-q",
            "list_queues",
            "-p",
            &self.name,
            "name",
            "messages",
        ];
        docker(&[&["exec", &broker][..], &list].concat())
    }

    /// Stops what still runs, removes everything, and checks that nothing is left.
    fn down(self) {
        for service in self.services() {
            let container = self.container(&service);
            let state = docker(&["inspect", "--format", "{{.State.Running}}", &container]);
            if service != "broker" && state.trim() == "true" {
                self.stop(&service);
            }
        }
        let output = lab(&["down", self.number]);
        assert!(output.status.success(), "{output:?}");
        for kind in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let label = format!("label=com.docker.compose.project={}", self.name);
            let left = docker(&[kind, &["--quiet", "--filter", &label]].concat());
            assert_eq!(left, "", "{kind:?}");
        }
        // A volume without a name has no label, either.
        let nameless = docker(&["volume", "ls", "--quiet", "--filter", "dangling=true"]);
        let nameless = nameless.lines().filter(|name| name.len() == 64).count();
        assert_eq!(nameless, 0, "volumes without a name are left");
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        // Something is left only after a failed test.
        lab(&["down", self.number]);
    }
}

fn lab(args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .args(args)
        .env_remove("LAB_PARENT")
        .stdin(std::process::Stdio::null());
    command.output().unwrap()
}

fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {output:?}");
    text(&output)
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Asks until there is an answer.
fn until<T>(what: &str, ask: impl Fn() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(begun.elapsed() < SOON, "not in {SOON:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_01_tells_of_a_view_also_where_a_port_is_taken() {
    // It may be taken by another program already, which is as good.
    let taken = TcpListener::bind("127.0.0.1:4001");
    let up = Up::new("01");
    drop(taken);
    assert!(up.said.contains("(4001 is taken)"), "{}", up.said);
    assert!(up.types("/video").contains("200 OK"));
    up.types_until("/history?", &["./videos/flixtube.mp4"]);
    up.down();
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_02_records_a_view_and_a_user() {
    let up = Up::new("02");
    assert!(up.types("/video").contains("200 OK"));
    up.types_until("/history?", &["./videos/flixtube.mp4"]);
    up.types("/users/save");
    up.types_until("/users?", &["Ada"]);
    up.down();
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_03_does_each_job_once() {
    let up = Up::new("03");
    up.stop("producer");
    let confirmed = up.logs("producer");
    let confirmed = confirmed.lines().rev().find_map(|line| {
        let (_, words) = line.split_once("producer: ")?;
        words
            .strip_suffix(" job(s) confirmed")?
            .parse::<usize>()
            .ok()
    });
    let said = up.role(&["producer", "--burst", "--count", "20", "--text", ""]);
    assert!(said.contains("20 job(s) confirmed"), "{said}");
    let jobs = confirmed.unwrap_or(0) + 20;
    until("an empty queue", || {
        up.queues().contains("messages\t0\n").then_some(())
    });
    assert!(
        up.queues().contains("messages.dead\t0\n"),
        "{}",
        up.queues()
    );
    let logs = up.logs("ada") + &up.logs("grace");
    assert_eq!(logs.matches(" begun: ").count(), jobs, "{logs}");
    up.down();
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_04_brings_a_warning_to_those_who_asked_for_it() {
    let up = Up::new("04");
    let said = up.role(&["producer", "log.warning", "--text", "hot"]);
    assert!(said.contains("message(s) sent"), "{said}");
    for consumer in ["ops", "archive"] {
        let heard = || up.logs(consumer).contains("log.warning hot").then_some(());
        until(consumer, heard);
    }
    assert!(!up.logs("preston").contains("hot"));
    up.down();
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_05_sells_to_both_sides_also_after_a_restart_of_the_broker() {
    let up = Up::new("05");
    assert!(up.types("/video").contains("200 OK"));
    up.types_until("/history?", &["./videos/flixtube.mp4"]);
    up.types_until("/recommendations", &["./videos/flixtube.mp4"]);
    let sells = || {
        let answer: Option<serde_json::Value> = serde_json::from_str(&up.types("/sales")).ok();
        Some(answer?["saleId"].as_str()?.to_owned())
    };
    let heard = |sale: &str| {
        up.types_until("/bookings", &[sale]);
        up.types_until("/payments", &[sale]);
    };
    heard(&sells().unwrap());
    docker(&["restart", &up.container("broker")]);
    // All by itself, however long it takes them to find the broker again.
    heard(&until("a second sale", sells));
    for service in up.services() {
        let count = ["inspect", "--format", "{{.RestartCount}}"];
        let count = docker(&[&count[..], &[&up.container(&service)]].concat());
        assert_eq!(count.trim(), "0", "{service} did not survive by itself");
    }
    up.down();
}

#[test]
#[ignore = "needs a Docker engine"]
fn chapter_06_knows_the_name_of_user_10() {
    let up = Up::new("06");
    let users = Paths::find()
        .unwrap()
        .root
        .join("labs/06-rpc/src/users.json");
    let users: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(users).unwrap()).unwrap();
    let name = users["10"].as_str().unwrap();
    up.types_until("/users/10", &[name]);
    up.down();
}
