//! The two hosts of one command: created, used, and removed again however the command ends.

use std::cell::{OnceCell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use broker::{Address, Broker};
use tokio::time::sleep;

use super::host::{Host, HostsDir};
use super::host_proxy::HostProxy;
use super::hosts_guard::HostsGuard;
use super::{create, made_by_hand};

/// A broker's ports, as seen on VM A.
pub const AMQP: u16 = 5672;
const MANAGEMENT: u16 = 15672;
/// How long a started broker may take until its management API answers.
const ANSWERS: Duration = Duration::from_secs(20);

/// The hosts of one command.
pub struct TwoHosts {
    /// Where their files are.
    pub dir: HostsDir,
    guard: RefCell<Option<HostsGuard>>,
    proxies: OnceCell<[HostProxy; 2]>,
}

impl TwoHosts {
    /// Hosts that do not exist yet.
    #[must_use]
    pub fn new(dir: HostsDir) -> Self {
        Self {
            dir,
            guard: RefCell::default(),
            proxies: OnceCell::new(),
        }
    }

    /// Creates both hosts. They are removed when this process ends.
    ///
    /// # Errors
    /// When another command uses hosts, or the system refuses.
    pub async fn create(&self) -> Result<()> {
        let guard = HostsGuard::start(&self.dir).await?;
        if made_by_hand(&self.dir) {
            guard.leave_hosts().await?;
            bail!(terminal::user_error(
                "the hosts that `just hosts up` made are still up",
                "just hosts down, then once more: this makes its own",
            ));
        }
        self.guard.replace(Some(guard));
        create(&self.dir).await
    }

    /// The broker that runs on VM A, reached by proxies instead of the cable.
    ///
    /// # Errors
    /// When the broker does not answer in time, or refuses this user.
    pub async fn connect_to_broker(&self, user: &str, password: &str) -> Result<Broker> {
        let proxies = match self.proxies.get() {
            Some(proxies) => proxies,
            None => {
                let amqp = HostProxy::start(Host::A, &format!("{}:{AMQP}", Host::A.address()))?;
                let management = HostProxy::start(Host::A, &format!("127.0.0.1:{MANAGEMENT}"))?;
                self.proxies.get_or_init(|| [amqp, management])
            }
        };
        let [amqp, management] = proxies;
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: amqp.port,
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let management = format!("http://127.0.0.1:{}", management.port);
        let deadline = Instant::now() + ANSWERS;
        loop {
            match Broker::at(address.clone(), &management).await {
                Ok(broker) => return Ok(broker),
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
                Err(no) => bail!("the broker on VM A cannot be reached: {}", no.why),
            }
        }
    }

    /// Removes the hosts, with all that runs on them.
    ///
    /// # Errors
    /// When something cannot be removed: what, and why.
    pub async fn remove(&self) -> Result<()> {
        let guard = self.guard.borrow_mut().take();
        match guard {
            Some(guard) => guard.remove_hosts().await,
            None => Ok(()),
        }
    }
}
