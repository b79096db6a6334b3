//! The sandbox of one check: a vhost, a folder, a journal, seeded randomness, and the services that
//! it has started.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::{
    Failure, Finding, Login, Outcome, Port, Service, Topic, fail, fate, fate_at, http_fate,
};
use audit::Storms;
use broker::{Broker, OwnNode};
use course::paths::Paths;
use process::Launch;
use process::pressure::{Pressure, Watch};
use wiretap::{Ending, Journal, Wiretap};

/// How long to wait for a state: far longer than it takes, so that a busy machine fails no check,
/// and short enough for a student to wait.
pub const DEADLINE: Duration = Duration::from_secs(8);
/// How long to wait for a broker's start, or for a service that backs off.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// The sandbox of one check. Clones share it.
#[derive(Debug, Clone)]
pub struct Lab(pub(super) Rc<Sandbox>);

/// What a sandbox is made from.
#[derive(Debug)]
pub(crate) struct LabConfig {
    pub(crate) paths: Paths,
    /// The program under check.
    pub(crate) program: PathBuf,
    pub(crate) dir: PathBuf,
    pub(crate) chapter: String,
    pub(crate) check: String,
    pub(crate) seed: u64,
    pub(crate) broker: Option<Rc<Broker>>,
    pub(crate) pressure: Pressure,
    pub(crate) hole_for: fn(Topic) -> u32,
}

#[derive(Debug)]
pub(super) struct Sandbox {
    pub(super) config: LabConfig,
    journal: Journal,
    pub(super) vhost: String,
    pub(super) own: OnceCell<OwnNode>,
    /// The time that the programs of this check wait for the machine.
    pub(super) watch: Arc<Watch>,
    chance: RefCell<StdRng>,
    pub(super) services: RefCell<Vec<Service>>,
    pub(super) storms: RefCell<Storms>,
    pub(super) looks: Cell<usize>,
    /// What the check waits for, for the failure of one that takes too long.
    pub(super) waits_for: RefCell<String>,
    pub(super) logins: RefCell<Vec<Login>>,
}

impl Lab {
    /// Creates the folder, the journal and the vhost.
    pub(crate) async fn open(config: LabConfig) -> Result<Self> {
        let dir = &config.dir;
        if dir.exists() {
            std::fs::remove_dir_all(dir)
                .with_context(|| format!("cannot clear {}", dir.display()))?;
        }
        std::fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
        let journal = Journal::create(dir, &config.chapter, &config.check, config.seed)?;
        let vhost = format!("lab.{}.{}", std::process::id(), config.check);
        if let Some(broker) = &config.broker {
            broker.create_vhost(&vhost).await?;
        }
        // The same seed gives a check the same data, whichever checks run beside it.
        let salt = config.check.bytes().fold(0_u64, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(u64::from(byte))
        });
        let chance = RefCell::new(StdRng::seed_from_u64(config.seed ^ salt));
        let watch = config.pressure.watch();
        let lab = Self(Rc::new(Sandbox {
            config,
            journal,
            vhost,
            own: OnceCell::new(),
            watch,
            chance,
            services: RefCell::default(),
            storms: RefCell::default(),
            looks: Cell::default(),
            waits_for: RefCell::default(),
            logins: RefCell::default(),
        }));
        if let Some(broker) = &lab.0.config.broker {
            lab.watch_broker(broker);
        }
        Ok(lab)
    }

    /// Ends the journal, kills the services that still run, and removes users and vhosts.
    pub(crate) async fn close(&self, says: &str, ending: Ending) {
        self.journal().note(self.since_start().lost_time());
        self.journal().end(says, ending);
        for service in self.0.services.take() {
            service.drop_process();
        }
        for login in self.0.logins.take() {
            if let Ok(broker) = self.need_broker() {
                let _ = broker.delete_user(&login.user).await;
            }
        }
        // The next run removes a vhost that stays.
        if let Some(broker) = &self.0.config.broker {
            let _ = broker.delete_vhost(&self.0.vhost).await;
        }
        if let Some(own) = self.0.own.get() {
            let _ = own.broker().delete_vhost(&self.0.vhost).await;
        }
        // The verdict names the journal, so it must be complete.
        self.0.journal.write();
    }

    /// The folder for the files of this run of the check.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.0.config.dir
    }

    /// The journal of this run of the check.
    #[must_use]
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// A random value, the same for the same seed.
    pub fn random<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.chance.borrow_mut())
    }

    /// A service that is not started yet: set its environment with [`Service::with`].
    ///
    /// # Errors
    /// Unknown when no port is free.
    pub async fn service(&self, role: &str) -> Outcome<Service> {
        self.instance(role, &[role]).await
    }

    /// One of several instances of a role, or one with arguments, not started yet. The journal
    /// calls it `name`; `arguments` begin with the role.
    ///
    /// # Errors
    /// Unknown when no port is free.
    pub async fn instance(&self, name: &str, arguments: &[&str]) -> Outcome<Service> {
        let port = Port::claim()?;
        let dir = self.dir();
        let mut environment = BTreeMap::from([
            ("PORT".to_owned(), port.number().to_string()),
            ("RUST_LOG".to_owned(), "info".to_owned()),
            ("RUST_BACKTRACE".to_owned(), "0".to_owned()),
            (
                "DATABASE".to_owned(),
                dir.join(format!("{name}.sqlite")).display().to_string(),
            ),
        ]);
        let tap = match self.broker() {
            Some(broker) => {
                let address = &broker.address;
                let tap = Wiretap::open(name, &address.host, address.port, self.journal())?;
                let url = self.url_behind(&tap, None, self.vhost());
                environment.insert("AMQP_URL".to_owned(), url);
                Some(tap)
            }
            None => None,
        };
        let launch = Launch {
            program: self.0.config.program.clone(),
            name: name.to_owned(),
            arguments: arguments.iter().map(Into::into).collect(),
            environment,
            log: Some(dir.join(format!("{name}.log"))),
        };
        let service = Service::new(self.clone(), port, tap, launch);
        self.0.services.borrow_mut().push(service.clone());
        Ok(service)
    }

    /// Starts a service, and waits until it answers.
    ///
    /// # Errors
    /// A failure when it does not answer.
    pub async fn start(&self, role: &str) -> Outcome<Service> {
        let service = self.service(role).await?;
        service.start().await?;
        Ok(service)
    }

    /// The failure of a check that misses the message with this id: `seen` instead, and what the
    /// journal shows of the message.
    #[must_use]
    pub fn missing(&self, expected: &str, seen: &str, id: &str) -> Failure {
        if self.broker().is_none() {
            let why = "the sender knows only what it sent and what was answered";
            return fail(
                expected,
                format!("{seen}; {}", http_fate(self.journal(), id)),
            )
            .because(why);
        }
        self.found(&fate(self.journal(), id), expected, seen)
    }

    /// As [`Lab::missing`], for the copy of the message that `consumer` must get.
    #[must_use]
    pub fn missing_at(&self, consumer: &str, expected: &str, seen: &str, id: &str) -> Failure {
        self.found(&fate_at(self.journal(), id, consumer), expected, seen)
    }

    fn found(&self, finding: &Finding, expected: &str, seen: &str) -> Failure {
        let failure = fail(expected, format!("{seen}; {}", finding.observed))
            .because(finding.why)
            .hole((self.0.config.hole_for)(finding.topic));
        match finding.topic {
            // A flag that the program has set, or not set.
            Topic::Durability | Topic::NoAck | Topic::Confirm => failure.proven(),
            Topic::Publish | Topic::Routing | Topic::Consume | Topic::Settle => failure,
        }
    }

    /// The URL of `vhost` behind a wiretap, for `login` or for the lab's own user.
    pub(super) fn url_behind(&self, tap: &Wiretap, login: Option<&Login>, vhost: &str) -> String {
        let Some(broker) = self.broker() else {
            return String::new();
        };
        let mut address = broker.address.at("127.0.0.1", tap.port());
        if let Some(login) = login {
            address = address.of(login);
        }
        address.url(vhost)
    }

    pub(super) fn remember(&self, login: &Login) {
        self.0.logins.borrow_mut().push(login.clone());
    }

    /// The name of the check's vhost.
    #[must_use]
    pub fn vhost(&self) -> &str {
        &self.0.vhost
    }
}
