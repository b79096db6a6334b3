//! What `run` sets up around a chapter's services, and tells of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anstream::{print, println};
use anyhow::{Context, Result};
use kit::broker::Broker;
use kit::chapter::Variant;
use kit::manifest::fill;

use crate::broker;
use crate::cast::{self, Part};
use crate::run::{Play, colour};
use crate::term::{BOLD, DIM, NOTE, TYPE};

/// What the services need around them; it stays when they are started again.
pub struct Stage {
    pub broker: Option<Broker>,
    pub parts: Vec<Part>,
}

impl Play<'_> {
    /// Sets the stage: broker, vhost, folder and ports; and says what is where.
    pub async fn set(&self) -> Result<Stage> {
        let vhost = self.chapter.package(self.variant);
        let broker = match self.scene.broker {
            true => {
                let broker = broker::acquire(self.paths).await?;
                broker
                    .create_vhost(&vhost)
                    .await
                    .with_context(|| format!("cannot make the vhost {vhost}"))?;
                Some(broker)
            }
            false => None,
        };
        let folder = self.chapter.run_folder(self.variant);
        let folder = self.paths.data().join("run").join(folder);
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", self.paths.short(&folder)))?;
        let services = &self.scene.services;
        let wished: Vec<_> = services.iter().map(|s| (s.role.clone(), s.port)).collect();
        let ports = cast::ports(&wished)?;
        let url = broker.as_ref().map(|broker| broker.address.url(&vhost));
        let parts = self.parts(&ports, &folder, url.as_deref())?;
        self.announce(&ports, broker.as_ref(), &vhost, &folder)?;
        Ok(Stage { broker, parts })
    }

    fn parts(
        &self,
        ports: &BTreeMap<String, u16>,
        folder: &Path,
        amqp_url: Option<&str>,
    ) -> Result<Vec<Part>> {
        let part = |service: &kit::manifest::Role| {
            let role = &service.role;
            let database: PathBuf = folder.join(format!("{role}.sqlite"));
            let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
            let mut env = BTreeMap::from([
                ("PORT".to_owned(), ports[role].to_string()),
                ("DATABASE".to_owned(), database.display().to_string()),
                ("RUST_LOG".to_owned(), log),
            ]);
            if let Some(url) = amqp_url {
                env.insert("AMQP_URL".to_owned(), url.to_owned());
            }
            for (name, value) in &service.env {
                env.insert(name.clone(), fill(value, ports)?);
            }
            Ok(Part {
                role: role.clone(),
                env,
            })
        };
        self.scene.services.iter().map(part).collect()
    }

    fn announce(
        &self,
        ports: &BTreeMap<String, u16>,
        broker: Option<&Broker>,
        vhost: &str,
        folder: &Path,
    ) -> Result<()> {
        let kind = match self.variant {
            Variant::Lab => "Lab",
            Variant::Solution => "Solution",
        };
        println!("{BOLD}{kind} {}{BOLD:#}", self.chapter.heading());
        let width = self.width();
        for (index, service) in self.scene.services.iter().enumerate() {
            let (role, colour) = (&service.role, colour(index));
            let port = ports[role];
            print!("  {colour}{role:width$}{colour:#}  http://127.0.0.1:{port}");
            if port == service.port {
                println!();
            } else {
                println!("  {NOTE}({} is taken){NOTE:#}", service.port);
            }
        }
        if let Some(broker) = broker {
            println!("  {:width$}  {}, vhost {vhost}", "broker", broker.label());
            println!("  {:width$}  {}", "", broker.management);
            println!("  {:width$}  {}", "", broker::login(self.paths, broker));
        }
        println!("  {:width$}  {}", "files", self.paths.short(folder));
        if !self.scene.tries.is_empty() {
            println!("Try, in another terminal:");
        }
        for line in &self.scene.tries {
            println!("  {TYPE}{}{TYPE:#}", fill(line, ports)?);
        }
        println!("{DIM}Ctrl-C stops all.{DIM:#}");
        Ok(())
    }
}
