//! The chapter's services, each behind a wiretap, and what a person may do to them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use broker::{Address, Broker, OwnNode};
use command::environment::Environment;
use course::manifest::{ServiceEntry, ServiceManifest};
use process::{Launch, port};
use wiretap::{CheckEvent, Event, HttpRelay, Journal, Wiretap};

use crate::Action;
use crate::feed::Controls;
use crate::publish::publish;
use crate::service::{Service, Tap};

/// How the person at the page is called on it.
const YOU: &str = "you";

/// The broker of a board.
pub enum Source {
    /// A node of the board's own.
    Own(OwnNode),
    /// From `AMQP_URL`: the board must not kill it.
    Given(Broker),
    /// The chapter has none.
    None,
}

impl Source {
    /// The broker, if there is one.
    #[must_use]
    pub fn broker(&self) -> Option<&Broker> {
        match self {
            Self::Own(own) => Some(own.broker()),
            Self::Given(broker) => Some(broker),
            Self::None => None,
        }
    }
}

/// All services of a chapter, as far as they were started.
pub struct Services {
    environment: Environment,
    source: Source,
    manifest: ServiceManifest,
    /// What a line to try starts: a role and its arguments.
    lines: Vec<Vec<String>>,
    ports: RefCell<BTreeMap<String, u16>>,
    journal: Journal,
    names: RefCell<BTreeSet<String>>,
    all: RefCell<Vec<Rc<Service>>>,
    /// The wiretap of the person at the page.
    you: Option<Wiretap>,
    restarting: Cell<bool>,
}

impl Services {
    /// Prepares all services of the manifest, and starts them.
    ///
    /// # Errors
    /// When one of them cannot be started.
    pub async fn start(
        environment: Environment,
        source: Source,
        manifest: ServiceManifest,
        lines: Vec<Vec<String>>,
        journal: Journal,
    ) -> Result<Self> {
        let you = match source.broker() {
            Some(broker) => Some(tap(YOU, &broker.address, &journal)?),
            None => None,
        };
        let services = Self {
            ports: RefCell::new(port::choose(&manifest.wished_ports())?),
            environment,
            source,
            manifest,
            lines,
            journal,
            names: RefCell::default(),
            all: RefCell::default(),
            you,
            restarting: Cell::default(),
        };
        for entry in &services.manifest.services {
            services.add(entry.clone()).await?;
        }
        Ok(services)
    }

    /// The ports of the services that have one.
    #[must_use]
    pub fn ports(&self) -> BTreeMap<String, u16> {
        self.ports.borrow().clone()
    }

    /// How each service is.
    #[must_use]
    pub fn controls(&self) -> Vec<Controls> {
        self.all.borrow().iter().map(|one| one.controls()).collect()
    }

    /// Keeps the broker from stopping for want of use.
    pub fn touch_broker(&self) {
        if let Some(broker) = self.source.broker() {
            broker.touch();
        }
    }

    /// Kills all services, and removes what they have left at the broker.
    pub async fn stop(&self) {
        self.all.borrow_mut().clear();
        if let Some(broker) = self.source.broker() {
            // The next run removes a vhost that stays.
            let _ = broker.delete_vhost(&self.environment.vhost).await;
        }
    }

    /// Does what a button asks for, and says what was done.
    ///
    /// # Errors
    /// When it cannot be done: why, for the person at the page.
    pub async fn perform(&self, action: Action) -> Result<String, String> {
        let done = match action {
            Action::Restart => self.restart_broker().await,
            Action::Publish {
                exchange,
                key,
                body,
            } => self.publish(&exchange, &key, &body).await,
            Action::More { service } => match self.entry(&service) {
                Some(entry) => self.add(entry).await,
                None => Err(anyhow::anyhow!("there is no {service}")),
            },
            Action::Run { line } => match self.lines.get(line) {
                Some(words) => self.add(self.entry_of(words)).await,
                None => Err(anyhow::anyhow!("there is no line {line}")),
            },
            action => self.to_service(action).await,
        };
        done.map_err(|error| format!("{error:#}"))
    }

    async fn to_service(&self, action: Action) -> Result<String> {
        let (Action::Kill { service: name }
        | Action::Freeze { service: name }
        | Action::Thaw { service: name }
        | Action::Start { service: name }
        | Action::Cut { service: name }
        | Action::Heal { service: name }) = &action
        else {
            bail!("this is about no service");
        };
        let service = self
            .service(name)
            .with_context(|| format!("there is no {name}"))?;
        if service.busy.replace(true) {
            bail!("{name} is still busy with the last button");
        }
        let done = self.act(&service, &action).await;
        service.busy.set(false);
        let what = done?;
        Ok(format!("{name} {what}"))
    }

    async fn act(&self, service: &Service, action: &Action) -> Result<&'static str> {
        let name = &service.entry.name;
        let link = || {
            service
                .tap
                .link()
                .with_context(|| format!("{name} has no link"))
        };
        let process = || {
            service
                .process()
                .with_context(|| format!("{name} has ended"))
        };
        Ok(match action {
            Action::Kill { .. } => {
                process()?.kill().await?;
                "is killed"
            }
            Action::Freeze { .. } => {
                process()?.freeze()?;
                service.frozen.set(true);
                "is frozen"
            }
            Action::Thaw { .. } => {
                process()?.thaw()?;
                service.frozen.set(false);
                "runs on"
            }
            Action::Start { .. } if service.process().is_some() => bail!("{name} runs already"),
            Action::Start { .. } => {
                service.start(&self.journal).await?;
                "is started"
            }
            Action::Cut { .. } => {
                link()?.refuse();
                service.cut.set(true);
                "is cut off"
            }
            _ => {
                link()?.restore();
                service.cut.set(false);
                "has its link again"
            }
        })
    }

    fn service(&self, name: &str) -> Option<Rc<Service>> {
        let all = self.all.borrow();
        all.iter().find(|one| one.entry.name == name).cloned()
    }

    fn entry(&self, name: &str) -> Option<ServiceEntry> {
        self.service(name).map(|service| service.entry.clone())
    }

    /// The entry of a line to try. A service that the manifest does not name is called as its first
    /// argument, where that is a name, as in `worker carol`.
    fn entry_of(&self, words: &[String]) -> ServiceEntry {
        let (role, args) = words
            .split_first()
            .map_or(("", words), |(role, args)| (role, args));
        let given: Vec<_> = args.iter().map(Into::into).collect();
        let found = self.manifest.find(role, &given);
        let entry = found.unwrap_or_else(|| ServiceEntry::of_role(role));
        let known = entry.args == args || entry.name == role;
        let own = args.first().filter(|arg| !arg.starts_with('-'));
        let name = if known {
            &entry.name
        } else {
            own.map_or(role, String::as_str)
        };
        ServiceEntry {
            name: name.to_owned(),
            args: args.to_vec(),
            ..entry
        }
    }

    /// Starts one more service, under a name of its own.
    async fn add(&self, mut entry: ServiceEntry) -> Result<String> {
        let first = entry.name.clone();
        let mut number = 1;
        // Taken at once: two pages may ask at the same time.
        while !self.names.borrow_mut().insert(entry.name.clone()) {
            number += 1;
            entry.name = format!("{first}-{number}");
        }
        let name = entry.name.clone();
        if let Some(wished) = entry.port
            && !self.ports().contains_key(&name)
        {
            let port = port::choose(&[(name.clone(), wished)])?;
            self.ports.borrow_mut().extend(port);
        }
        let ports = self.ports();
        let url = entry
            .port
            .map(|_| format!("http://127.0.0.1:{}", ports[&name]));
        let (launch, tap) = self.prepare(&entry, ports).await?;
        let service = Rc::new(Service::new(entry, launch, url, tap));
        service.start(&self.journal).await?;
        self.all.borrow_mut().push(service);
        Ok(format!("{name} is started"))
    }

    /// How a service is started behind a wiretap: between it and the broker, or between it and the
    /// service that it calls.
    async fn prepare(
        &self,
        entry: &ServiceEntry,
        mut ports: BTreeMap<String, u16>,
    ) -> Result<(Launch, Tap)> {
        let mut address = None;
        let mut link = Tap::None;
        if let Some(broker) = self.source.broker() {
            let tap = tap(&entry.name, &broker.address, &self.journal)?;
            address = Some(broker.address.at("127.0.0.1", tap.port()));
            link = Tap::Amqp(tap);
        } else if let Some(peer) = calls(entry, &ports) {
            let relay = HttpRelay::open(&entry.name, ports[&peer], &self.journal)?;
            ports.insert(peer, relay.port());
            link = Tap::Http(relay);
        }
        let environment = &self.environment;
        let mut launch = environment.launch(entry, &ports, address.as_ref())?;
        launch.log = Some(environment.folder.join(format!("{}.log", entry.name)));
        Ok((launch, link))
    }

    async fn restart_broker(&self) -> Result<String> {
        let Source::Own(own) = &self.source else {
            bail!("this broker is not the board's own: the board must not kill it");
        };
        if self.restarting.replace(true) {
            bail!("the broker is about to start");
        }
        self.record(CheckEvent::BrokerKilled);
        let done = async {
            own.kill().await?;
            own.up().await
        };
        let done = done.await;
        self.restarting.set(false);
        done?;
        self.record(CheckEvent::BrokerBack);
        Ok("the broker was killed, and runs again".to_owned())
    }

    async fn publish(&self, exchange: &str, key: &str, body: &str) -> Result<String> {
        let (broker, tap) = self
            .source
            .broker()
            .zip(self.you.as_ref())
            .context("this chapter has no broker")?;
        let address = broker.address.at("127.0.0.1", tap.port());
        publish((&address, &self.environment.vhost), exchange, key, body).await
    }

    fn record(&self, what: CheckEvent) {
        self.journal.record(Event::Check { what });
    }
}

fn tap(name: &str, broker: &Address, journal: &Journal) -> Result<Wiretap> {
    Wiretap::open(name, &broker.host, broker.port, journal)
}

/// The service whose port this one gets, as `{history}` in its environment.
#[must_use]
pub fn calls(entry: &ServiceEntry, ports: &BTreeMap<String, u16>) -> Option<String> {
    let texts: Vec<_> = entry.env.values().chain(&entry.args).collect();
    let named = |name: &&String| {
        texts
            .iter()
            .any(|text| text.contains(&format!("{{{name}}}")))
    };
    ports.keys().find(named).cloned()
}
