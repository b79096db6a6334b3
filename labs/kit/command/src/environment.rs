//! What a chapter's services find around them: program, broker, vhost, folder and users, and how each is
//! started there.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use broker::access::Access;
use broker::{Address, Broker};
use course::manifest::{ServiceEntry, fill};
use process::Launch;

/// In the folder of a run: the passwords of the services' own users.
pub const LOGINS: &str = "logins.json";

/// What services find around them.
pub struct Environment {
    /// The chapter's program.
    pub program: PathBuf,
    /// The broker, in a chapter that has one.
    pub broker: Option<Broker>,
    /// The services' own users, where the chapter has such.
    pub access: Option<Access>,
    /// The services' vhost.
    pub vhost: String,
    /// The folder of their databases.
    pub folder: PathBuf,
}

impl Environment {
    /// Makes vhost and folder where they are missing. With a file of definitions, `topology`, it makes
    /// what stands there, and users with the rights that `program` lists.
    ///
    /// # Errors
    /// When the folder cannot be made, or the broker refuses.
    pub async fn open(
        program: &Path,
        broker: Option<Broker>,
        vhost: String,
        folder: PathBuf,
        topology: Option<&Path>,
    ) -> Result<Self> {
        if let Some(broker) = &broker {
            broker
                .create_vhost(&vhost)
                .await
                .with_context(|| format!("cannot make the vhost {vhost}"))?;
        }
        std::fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let access = match (&broker, topology) {
            (Some(broker), Some(topology)) => {
                let kept = folder.join(LOGINS);
                let access = Access::open(broker, &vhost, topology, program, &kept).await;
                Some(access.context("cannot make the users of the broker")?)
            }
            _ => None,
        };
        Ok(Self {
            program: program.to_owned(),
            broker,
            access,
            vhost,
            folder,
        })
    }

    /// How `service` is started here, as its manifest says. It reaches the broker at `address`, where
    /// the chapter has one.
    ///
    /// # Errors
    /// When the manifest names a port or a user that there is not.
    pub fn launch(
        &self,
        service: &ServiceEntry,
        ports: &BTreeMap<String, u16>,
        address: Option<&Address>,
    ) -> Result<Launch> {
        let database = self.folder.join(format!("{}.sqlite", service.database));
        let log = std::env::var("RUST_LOG").unwrap_or_else(|_| "info".to_owned());
        // Many shells set it to 1, and an open hole would fill the screen.
        let backtrace = std::env::var("RUST_BACKTRACE").ok();
        let backtrace = backtrace.filter(|how| how == "full");
        let backtrace = backtrace.unwrap_or_else(|| "0".to_owned());
        let mut environment = BTreeMap::from([
            ("DATABASE".to_owned(), database.display().to_string()),
            ("RUST_LOG".to_owned(), log),
            ("RUST_BACKTRACE".to_owned(), backtrace),
        ]);
        if service.port.is_some() {
            environment.insert("PORT".to_owned(), ports[&service.name].to_string());
        }
        if let Some(address) = address {
            match (&self.access, &service.login) {
                (Some(access), Some(login)) => {
                    environment.extend(access.environment(login, &address.host, address.port)?);
                }
                _ => drop(environment.insert("AMQP_URL".to_owned(), address.url(&self.vhost))),
            }
        }
        for (name, value) in &service.env {
            environment.insert(name.clone(), fill(value, ports)?);
        }
        let mut arguments = vec![OsString::from(&service.role)];
        for arg in &service.args {
            arguments.push(fill(arg, ports)?.into());
        }
        Ok(Launch {
            program: self.program.clone(),
            name: service.name.clone(),
            arguments,
            environment,
            log: None,
        })
    }

    /// Keeps a node of ours from stopping for want of use.
    pub fn touch_broker(&self) {
        if let Some(broker) = &self.broker {
            broker.touch();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_service_gets_what_the_manifest_says() {
        let environment = Environment {
            program: "lab-03".into(),
            broker: None,
            access: None,
            vhost: "lab-03".to_owned(),
            folder: "/run".into(),
        };
        let mut worker = ServiceEntry::of_role("worker");
        worker.args = vec!["ada".to_owned(), "{history}#".to_owned()];
        worker.database = "jobs".to_owned();
        let ports = BTreeMap::from([("history".to_owned(), 4001)]);
        let launch = environment.launch(&worker, &ports, None).unwrap();
        assert_eq!(launch.arguments, ["worker", "ada", "4001#"]);
        assert_eq!(launch.environment["DATABASE"], "/run/jobs.sqlite");
        assert!(!launch.environment.contains_key("PORT"));
        let mut history = ServiceEntry::of_role("history");
        history.port = Some(4000);
        let launch = environment.launch(&history, &ports, None).unwrap();
        assert_eq!(launch.environment["PORT"], "4001");
        assert_eq!(launch.environment["DATABASE"], "/run/history.sqlite");
    }
}
