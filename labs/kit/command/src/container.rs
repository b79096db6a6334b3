//! Lists and removes the containers of a project.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use tokio::process::Command;

use crate::project::{Project, explain, last_error};

/// One service's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its service.
    pub service: String,
    /// `running`, `restarting`, `exited` and the like.
    pub state: String,
    /// By port inside, the port on this machine's loopback.
    pub ports: BTreeMap<u16, u16>,
}

impl Project {
    /// Its containers in any state, without a program that `up NN ROLE` runs beside them.
    ///
    /// # Errors
    /// When docker cannot be asked.
    pub async fn containers(&self) -> Result<Vec<Container>> {
        let project = format!("label=com.docker.compose.project={}", self.name);
        let listed = Command::new("docker")
            .args(["ps", "--all", "--filter", &project])
            .args(["--filter", "label=com.docker.compose.oneoff=False"])
            .args([
                "--format",
                "{{.Label \"com.docker.compose.service\"}}\t{{.State}}\t{{.Ports}}",
            ])
            .kill_on_drop(true)
            .output()
            .await
            .context("cannot start docker")?;
        let words = String::from_utf8_lossy(&listed.stderr);
        ensure!(listed.status.success(), "docker ps: {}", last_error(&words));
        let lines = String::from_utf8_lossy(&listed.stdout).into_owned();
        Ok(lines.lines().filter_map(parsed).collect())
    }

    /// Whether it has a container, a network or a volume, such as an interrupted `up` leaves.
    ///
    /// # Errors
    /// When docker cannot be asked.
    pub async fn traces(&self) -> Result<bool> {
        let label = format!("label=com.docker.compose.project={}", self.name);
        for kind in [&["ps", "--all"][..], &["network", "ls"], &["volume", "ls"]] {
            let listed = Command::new("docker")
                .args(kind)
                .args(["--quiet", "--filter", &label])
                .kill_on_drop(true)
                .output()
                .await
                .context("cannot start docker")?;
            if !listed.stdout.is_empty() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Removes its containers, networks and volumes.
    ///
    /// # Errors
    /// When docker refuses: its error.
    pub async fn remove(&self) -> Result<()> {
        let down = self
            .command()
            .args(["--ansi", "never", "down", "--volumes", "--remove-orphans"])
            .output()
            .await
            .context("cannot start docker")?;
        if !down.status.success() {
            let what = format!("{} cannot be removed", self.name);
            bail!(explain(&what, &String::from_utf8_lossy(&down.stderr)));
        }
        Ok(())
    }
}

fn parsed(line: &str) -> Option<Container> {
    let mut fields = line.split('\t');
    let (service, state) = (fields.next()?, fields.next()?);
    let ports = fields.next()?.split(", ").filter_map(published);
    Some(Container {
        service: service.to_owned(),
        state: state.to_owned(),
        ports: ports.collect(),
    })
}

/// `127.0.0.1:4002->4001/tcp` as 4001 inside, 4002 here.
fn published(text: &str) -> Option<(u16, u16)> {
    let (here, inside) = text.strip_suffix("/tcp")?.split_once("->")?;
    let (_, here) = here.rsplit_once(':')?;
    Some((inside.parse().ok()?, here.parse().ok()?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn the_engines_list_is_read() {
        let broker = "broker\trunning\t4369/tcp, 127.0.0.1:5673->5672/tcp, 15671/tcp, \
            127.0.0.1:15672->15672/tcp";
        let broker = parsed(broker).unwrap();
        assert_eq!((&*broker.service, &*broker.state), ("broker", "running"));
        assert_eq!(broker.ports, BTreeMap::from([(5672, 5673), (15672, 15672)]));
        assert!(parsed("ada\texited\t").unwrap().ports.is_empty());
        assert_eq!(parsed(""), None);
    }
}
