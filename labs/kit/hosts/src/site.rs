//! Two hosts as a stage has them: made, used, and taken away again whatever happens.

use std::cell::{OnceCell, RefCell};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use broker::{Address, Broker};
use tokio::time::sleep;

use super::door::Door;
use super::keeper::Keeper;
use super::place::{Host, Place};
use super::{by_hand, net, raise};

/// A broker's ports, as seen on VM A.
pub const AMQP: u16 = 5672;
const CONSOLE: u16 = 15672;
/// How long a broker that runs may take until it can be administered.
const ANSWERS: Duration = Duration::from_secs(20);

/// The hosts of one command.
pub struct Site {
    /// Where they are.
    pub place: Place,
    keeper: RefCell<Option<Keeper>>,
    doors: OnceCell<[Door; 2]>,
}

impl Site {
    /// Hosts that are not made yet.
    #[must_use]
    pub fn new(place: Place) -> Self {
        Self {
            place,
            keeper: RefCell::default(),
            doors: OnceCell::new(),
        }
    }

    /// Makes both hosts, which are gone when this process is.
    ///
    /// # Errors
    /// When somebody else uses hosts, or the system refuses.
    pub async fn raise(&self) -> Result<()> {
        let keeper = Keeper::start(&self.place).await?;
        if by_hand(&self.place) {
            keeper.keep().await?;
            bail!(terminal::user_error(
                "the hosts that `just hosts up` made are still up",
                "just hosts down, then once more: this makes its own",
            ));
        }
        self.keeper.replace(Some(keeper));
        raise(&self.place).await
    }

    /// The broker that runs on VM A, by doors that no cable is part of.
    ///
    /// # Errors
    /// When it does not answer in time, or does not let this user in.
    pub async fn broker(&self, user: &str, password: &str) -> Result<Broker> {
        let doors = match self.doors.get() {
            Some(doors) => doors,
            None => {
                let amqp = Door::open(Host::A, &format!("{}:{AMQP}", Host::A.address()))?;
                let console = Door::open(Host::A, &format!("127.0.0.1:{CONSOLE}"))?;
                self.doors.get_or_init(|| [amqp, console])
            }
        };
        let [amqp, console] = doors;
        let address = Address {
            host: "127.0.0.1".to_owned(),
            port: amqp.port,
            user: user.to_owned(),
            password: password.to_owned(),
        };
        let management = format!("http://127.0.0.1:{}", console.port);
        let deadline = Instant::now() + ANSWERS;
        loop {
            match Broker::at(address.clone(), &management).await {
                Ok(broker) => return Ok(broker),
                Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(100)).await,
                Err(no) => bail!("the broker on VM A cannot be reached: {}", no.why),
            }
        }
    }

    /// Pulls the cable.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn pull(&self) -> Result<()> {
        net::pull().await
    }

    /// Plugs it in again.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn plug(&self) -> Result<()> {
        net::plug().await
    }

    /// Takes the hosts away, with all that runs on them.
    ///
    /// # Errors
    /// When something stays: what, and why.
    pub async fn strike(&self) -> Result<()> {
        let keeper = self.keeper.borrow_mut().take();
        match keeper {
            Some(keeper) => keeper.sweep().await,
            None => Ok(()),
        }
    }
}
