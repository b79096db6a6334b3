//! Tests `run`: it starts a chapter's services or one program, and leaves none behind.

use std::io::{BufRead, BufReader, Lines, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use course::paths::Paths;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::{Lab, said};

/// One test runs services at a time: otherwise a test could reuse another one's port.
fn turn() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// `run` as a person types it, in a target folder where cargo has built already.
fn run(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command
        .arg("run")
        .args(args)
        // A test that fails half-way leaves nothing running.
        .env("LAB_PARENT", std::process::id().to_string())
        .stdin(Stdio::null())
        .process_group(0);
    command
}

/// The running services of a chapter.
struct Running {
    lab: Child,
    /// Where its services listen.
    ports: Vec<u16>,
}

fn start() -> Running {
    start_with(&mut run(&["01", "--solution"]))
}

fn start_with(command: &mut Command) -> Running {
    // `run` finds free ports when the usual ones are taken.
    let mut lab = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines();
    let mut ports: Vec<u16> = Vec::new();
    for line in lines.by_ref().map(Result::unwrap) {
        if line.starts_with("Ctrl-C") {
            break;
        }
        ports.extend(port_in(&line));
    }
    // Keep reading: `run` would fail at a closed pipe.
    std::thread::spawn(move || lines.for_each(drop));
    assert!(!ports.is_empty());
    for port in &ports {
        wait_until("it listens", || listens(*port));
    }
    Running { lab, ports }
}

/// One running program of a chapter.
struct Alone {
    lab: Child,
    port: u16,
    /// The rest of its standard error.
    lines: Lines<BufReader<ChildStderr>>,
}

/// Runs the program as `history` of the chapter until it says `ready`.
fn alone(chapter: &str, ready: &str) -> Alone {
    let mut lab = run(&[chapter, "--solution", "history"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(lab.stderr.take().unwrap()).lines();
    let mut port = None;
    let mut heard = Vec::new();
    let said = lines.by_ref().map(Result::unwrap).find(|line| {
        if line.starts_with("· history gets ") {
            port = port_in(line);
        }
        heard.push(line.clone());
        line.contains(ready)
    });
    let (Some(said), Some(port)) = (said, port) else {
        let _ = lab.kill(); // it may have ended by itself
        panic!("{:?} without `{ready}` or a port: {heard:?}", lab.wait());
    };
    // The line is the program's own: no column of names before the time.
    assert!(said.starts_with(['[', '0', '1', '2']), "{said}");
    Alone { lab, port, lines }
}

fn port_in(line: &str) -> Option<u16> {
    let (_, rest) = line.split_once(" http://127.0.0.1:")?;
    rest.split_whitespace().next()?.parse().ok()
}

fn listens(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

/// The first line of the answer.
fn get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = String::new();
    BufReader::new(stream).read_line(&mut status).unwrap();
    status.trim_end().to_owned()
}

fn signal(child: &Child, signal: Signal) {
    let pid = i32::try_from(child.id()).unwrap();
    kill(Pid::from_raw(pid), signal).unwrap();
}

fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not in ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn services_end_with_run_however_it_ends() {
    let _turn = turn();
    let mut killed = start();
    killed.lab.kill().unwrap();
    killed.lab.wait().unwrap();
    for port in killed.ports {
        wait_until("services die with `lab`", || !listens(port));
    }

    let mut asked = start();
    signal(&asked.lab, Signal::SIGINT);
    assert!(asked.lab.wait().unwrap().success());
    for port in asked.ports {
        assert!(!listens(port), "`lab` ends after its services");
    }
}

#[test]
fn one_program_runs_beside_the_services_and_ends_with_the_command() {
    let _turn = turn();
    let mut others = start();
    let mut one = alone("01", "listening on");
    assert!(!others.ports.contains(&one.port), "a port of its own");
    assert_eq!(get(one.port, "/health"), "HTTP/1.1 200 OK");
    one.lab.kill().unwrap();
    one.lab.wait().unwrap();
    wait_until("it dies with `lab`", || !listens(one.port));
    assert!(others.ports.iter().all(|port| listens(*port)));
    signal(&others.lab, Signal::SIGTERM);
    others.lab.wait().unwrap();
}

#[test]
fn one_program_gets_broker_and_port_and_ends_cleanly_at_ctrl_c() {
    let _turn = turn();
    let mut one = alone("02", "consuming `viewed`");
    assert_eq!(get(one.port, "/health"), "HTTP/1.1 200 OK");
    signal(&one.lab, Signal::SIGINT);
    let last: Vec<String> = one.lines.map(Result::unwrap).collect();
    assert!(
        last.iter().any(|line| line.contains("finishing what")),
        "{last:?}"
    );
    assert_eq!(one.lab.wait().unwrap().code(), Some(0), "the program's");
    assert!(!listens(one.port), "`lab` ends after it");
    let mut out = String::new();
    let mut stdout = one.lab.stdout.take().unwrap();
    stdout.read_to_string(&mut out).unwrap();
    assert_eq!(out, "", "standard output is the program's");
}

#[test]
fn an_unknown_role_is_refused_before_the_search_for_a_broker() {
    let _turn = turn();
    let roles = [
        ("01", "  history "),
        ("02", "  session-management "),
        ("03", "  worker "),
    ];
    for (chapter, role) in roles {
        let mut command = run(&[chapter, "--solution", "histroy", "--burst"]);
        // Nothing listens on port 9 (discard): a search for this broker fails.
        let said = said(command.env("AMQP_URL", "amqp://x:y@127.0.0.1:9/"));
        assert_eq!(said.code, Some(2));
        assert_eq!(said.out, "");
        let refusal = format!("error: chapter {chapter} has no role `histroy`\n");
        assert!(said.err.contains(&refusal), "{}", said.err);
        assert!(said.err.contains(role), "{}", said.err);
    }
}

/// The broker of this clone as `AMQP_URL` and `MANAGEMENT_URL`.
fn given_broker() -> (String, String) {
    let lab = |args: &[&str]| said(Command::new(env!("CARGO_BIN_EXE_lab")).args(args));
    let up = lab(&["broker", "up"]).out;
    let management = up
        .lines()
        .find_map(|line| line.trim().strip_prefix("management"));
    let url = lab(&["broker", "url", "2", "--solution"]).out;
    assert!(url.starts_with("amqp://lab:"), "no address");
    (
        url.trim_end().to_owned(),
        management.unwrap().trim().to_owned(),
    )
}

#[test]
fn one_program_uses_the_broker_that_only_the_services_terminal_names() {
    let _turn = turn();
    let (url, management) = given_broker();
    let password = url.split([':', '@']).nth(2).unwrap().to_owned();
    let others = start_with(
        run(&["02", "--solution"])
            .env("AMQP_URL", &url)
            .env("MANAGEMENT_URL", management),
    );
    let left = Paths::find()
        .unwrap()
        .data()
        .join("run/solution-02/broker.json");
    let mode = std::fs::metadata(left).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it holds the password");

    let mut one = run(&["02", "--solution", "history"])
        .env_remove("AMQP_URL")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(one.stderr.take().unwrap()).lines();
    let mut heard = Vec::new();
    for line in lines.map(Result::unwrap) {
        heard.push(line);
        if heard.last().is_some_and(|line| line.contains("consuming")) {
            signal(&one, Signal::SIGINT);
        }
    }
    one.wait().unwrap();
    signal(&others.lab, Signal::SIGINT);
    let mut others = others.lab;
    others.wait().unwrap();
    let heard = heard.join("\n");
    for words in [
        "AMQP_URL is taken from the terminal of `just run 02`",
        "from AMQP_URL, vhost solution-02",
    ] {
        assert!(heard.contains(words), "no `{words}` in: {heard}");
    }
    assert!(!heard.contains(&password), "the password is shown");
}

#[test]
fn wrong_flags_are_reported_before_the_build() {
    let lab = Lab::new("run");
    let misspelt = lab.say(&["run", "01", "--solutoin"]);
    assert_eq!(misspelt.code, Some(2));
    assert!(misspelt.err.contains("'--solution'"), "{}", misspelt.err);
    let watched = lab.say(&["run", "01", "--watch", "history"]);
    assert_eq!(watched.code, Some(2));
    assert_eq!(watched.err.lines().count(), 1, "{}", watched.err);
    assert!(watched.err.contains("not with one program"));
}

/// The guard of one program, with a shell script for the program.
fn in_front(script: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_lab"))
        .args([process::guard::IN_FRONT, "sh", "-c", script])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_guard_in_front_passes_on_output_exit_code_and_sigterm() {
    let mut by_itself = in_front("echo out; echo err >&2; exit 7");
    let _lifeline = by_itself.stdin.take();
    let output = by_itself.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(output.stdout, b"out\n");
    assert_eq!(output.stderr, b"err\n");

    let until_ready = |guard: &mut Child| {
        let mut ready = [0; 6];
        let stdout = guard.stdout.as_mut().unwrap();
        stdout.read_exact(&mut ready).unwrap();
    };
    let mut asked = in_front("trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done");
    let mut lifeline = asked.stdin.take().unwrap();
    until_ready(&mut asked);
    lifeline.write_all(b".").unwrap();
    assert_eq!(asked.wait().unwrap().code(), Some(3));

    let mut cut = in_front("trap '' TERM; echo ready; while :; do sleep 0.05; done");
    let lifeline = cut.stdin.take();
    until_ready(&mut cut);
    drop(lifeline);
    assert_eq!(cut.wait().unwrap().code(), Some(128 + 9));
}
