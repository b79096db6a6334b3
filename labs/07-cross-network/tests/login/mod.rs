//! Checks of the settings and of the login: what a program says without them, and how it takes
//! a refusal.

use check::Exit;
use check::wiretap::Method;
use check::{Failure, Lab, Login, Outcome, Seen, Service, expect, fail};

use super::net::{CONSUMER, MESSAGES, PRODUCER, TOPOLOGY, client_with, consumes, consuming};

/// A password with every character that has a meaning in a URL.
const AWKWARD: &str = "p/a@s:s%2Fw#o?r d&=+";

/// The variables without which a program cannot start.
const REQUIRED: [&str; 4] = [
    "BROKER_HOST",
    "BROKER_VHOST",
    "BROKER_USER",
    "BROKER_PASSWORD",
];

pub async fn missing(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let login = lab.user(CONSUMER).await?;
    let complete = client_with(&lab, "complete", &["consumer"], &login).await?;
    consumes(&lab, &complete).await?;
    for role in ["producer", "consumer"] {
        let bare = client_with(&lab, role, &[role], &login).await?;
        let bare = REQUIRED.into_iter().fold(bare, Service::without);
        names_them(&bare, &REQUIRED).await?;
    }
    for name in REQUIRED {
        let label = name.to_lowercase().replace('_', "-");
        let one = client_with(&lab, &label, &["consumer"], &login).await?;
        names_them(&one.without(name), &[name]).await?;
    }
    let odd = client_with(&lab, "odd-port", &["consumer"], &login).await?;
    names_them(&odd.with("BROKER_PORT", "http"), &["BROKER_PORT"]).await
}

/// Runs the service, which must end because of these variables, and name them.
async fn names_them(service: &Service, names: &[&str]) -> Outcome {
    let exit = service.run().await?;
    let said = service.output();
    let unnamed = names.iter().filter(|name| !said.contains(**name));
    let unnamed: Vec<&str> = unnamed.copied().collect();
    expect(unnamed.is_empty() && exit != Exit::Code(0))
        .or(
            format!("{} fails, and names {}", service.name(), names.join(", ")),
            match &*unnamed.join(", ") {
                "" => exit.to_string(),
                unnamed => format!("{exit}; not named: {unnamed}"),
            },
        )
        .because("an operator who sets up a new machine must not have to read the source")?;
    keeps_quiet(service)
}

/// The service's output must not contain its password.
fn keeps_quiet(service: &Service) -> Outcome {
    leak(service).map_or(Ok(()), |failure| Err(failure.into()))
}

/// As [`keeps_quiet`], for a service that could not connect: what it prints then is the error of
/// its attempt. `as_told` finds what any attempt prints.
pub fn fails_quietly(service: &Service) -> Outcome {
    let attempt = |failure: Failure| Err(failure.hole(5).into());
    leak(service).map_or(Ok(()), attempt)
}

/// The failure of a service that prints its password.
fn leak(service: &Service) -> Option<Failure> {
    let password = service.variable("BROKER_PASSWORD").unwrap_or_default();
    let forms = [percent_encoded(&password), password];
    let contains = |line: &&str| forms.iter().any(|f| !f.is_empty() && line.contains(&**f));
    let output = service.output();
    let line = output.lines().find(contains)?;
    let masked = forms
        .iter()
        .fold(line.to_owned(), |line, form| line.replace(form, "********"));
    let failure = fail(
        format!("the password is not in what {} prints", service.name()),
        format!("it is; masked here: {masked}"),
    );
    Some(failure.because("logs are read by many people, copied, and kept for years"))
}

/// The text as a URL contains it.
fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric();
    text.bytes()
        .map(|byte| match plain(byte) {
            true => char::from(byte).to_string(),
            false => format!("%{byte:02X}"),
        })
        .collect()
}

pub async fn as_told(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let mut login = Login::generate(format!("{}@a/b", lab.vhost()));
    login.password = AWKWARD.to_owned();
    let login = lab.join(login, CONSUMER).await?;
    let consumer = client_with(&lab, "consumer", &["consumer"], &login).await?;
    consumer.launch().await?;
    logs_in(&lab, &login.user).await?;
    lab.consumers(MESSAGES, 1).await?;
    keeps_quiet(&consumer)
}

/// Waits until the broker has let the consumer in.
async fn logs_in(lab: &Lab, user: &str) -> Outcome {
    let expected = format!("the consumer logs in as `{user}` (connection.open-ok)");
    let why = "a password may contain each character that has a meaning in a URL";
    lab.eventually(&expected, why, async || {
        let seen = |method| lab.journal().methods("consumer", method).len();
        let called = lab.journal().calls("consumer").len();
        let refused = seen(Method::ConnectionClose);
        Ok(Seen::when(
            seen(Method::ConnectionOpenOk) > 0,
            || match called {
                0 => "it never called BROKER_HOST at BROKER_PORT".to_owned(),
                _ => format!("it called {called} time(s), and was refused {refused} time(s)"),
            },
        ))
    })
    .await
}

pub async fn heartbeat(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    consuming(&lab).await?;
    let tuned = lab.journal().methods("consumer", Method::ConnectionTuneOk);
    let heartbeat = tuned
        .first()
        .and_then(|frame| frame.args["heartbeat"].as_u64());
    let observed = heartbeat.map_or("none".to_owned(), |seconds| format!("{seconds} s"));
    expect(heartbeat == Some(1))
        .or(
            "a heartbeat of BROKER_HEARTBEAT_S, 1 s (connection.tune-ok)",
            observed,
        )
        .because("RabbitMQ proposes 60 s: it would notice a dead peer only after 2 to 3 minutes")
}

pub async fn refused(lab: Lab) -> Outcome {
    lab.topology(TOPOLOGY).await?;
    let known = lab.user(PRODUCER).await?;
    let stranger = Login::generate(lab.user(CONSUMER).await?.user);
    let here = lab.vhost();
    for (name, role, login, vhost, code) in [
        ("wrong-password", "consumer", &stranger, here, 403),
        ("wrong-password-too", "producer", &stranger, here, 403),
        ("no-such-vhost", "producer", &known, "nowhere", 530),
        ("no-right", "consumer", &known, here, 403),
    ] {
        let client = client_with(&lab, name, &[role], login).await?;
        let client = client.logs_in(login, vhost);
        client.begin().await?;
        gives_up(&lab, &client, code).await?;
        fails_quietly(&client)?;
    }
    Ok(())
}

/// Waits until the service has ended because of the broker's `code`, after one login.
pub async fn gives_up(lab: &Lab, service: &Service, code: u16) -> Outcome {
    let name = service.name();
    let expected = format!("{name}: the broker says {code}; one login, and exit code 1");
    let why = "the broker refuses each retry in the same way: only a person can fix this";
    let start_oks = || lab.journal().methods(&name, Method::ConnectionStartOk);
    let logins = || start_oks().len();
    let exit = lab.eventually(&expected, why, async || {
        expect(logins() < 3)
            .or(&expected, format!("{} logins, and no end", logins()))
            .because(why)?;
        Ok(Seen::some(service.exit(), || {
            format!("{} login(s), and it still runs", logins())
        }))
    });
    let exit = exit.await?;
    let words = service.last_words(1).join("");
    let observed = format!("{} login(s); {exit}; it logged last: {words}", logins());
    let failure = fail(expected, observed).because(why);
    if logins() == 1 && exit == Exit::Code(0) {
        let why = "it took the refusal for final, and then ended as if its work were done: \
                   nobody looks for the cause after exit code 0";
        return Err(failure.because(why).hole(8).into());
    }
    failure.unless(logins() == 1 && matches!(exit, Exit::Code(_)))
}
