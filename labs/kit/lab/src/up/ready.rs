//! Waits until the services in containers are ready.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::Containers;
use super::ports::Ports;

/// How long services may take until they listen, once the broker is up.
const PATIENCE: Duration = Duration::from_secs(30);
/// A service that cannot start has ended by then.
const AT_LEAST: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(200);

impl Containers<'_> {
    /// Waits until the services with a port answer and the others run; gives the name of a
    /// service that does not stay up.
    pub async fn wait_until_ready(&self, ports: &Ports) -> Result<Option<String>> {
        let since = Instant::now();
        loop {
            let containers = self.project.containers().await?;
            let mut missing = None;
            for service in &self.manifest.services {
                let state = containers.iter().find(|one| one.service == service.name);
                let state = state.map_or("absent", |one| &one.state);
                if matches!(state, "restarting" | "exited" | "dead") {
                    return Ok(Some(service.name.clone()));
                }
                let port = ports.given.get(&service.name);
                if state != "running" || !healthy(port).await {
                    missing = Some(service.name.clone());
                }
            }
            if missing.is_none() && since.elapsed() > AT_LEAST || since.elapsed() > PATIENCE {
                return Ok(missing);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }
}

/// Whether the service on this port answers that it is healthy; one without a port is.
async fn healthy(port: Option<&u16>) -> bool {
    let Some(port) = port else { return true };
    let ask = awc::Client::default().get(format!("http://127.0.0.1:{port}/health"));
    let answer = ask.timeout(Duration::from_secs(1)).send().await;
    answer.is_ok_and(|answer| answer.status().is_success())
}
