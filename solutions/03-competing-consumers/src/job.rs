//! A job.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use lapin::message::Delivery;
use tokio::time::sleep;
use uuid::Uuid;

/// What one message asks for.
pub struct Job {
    /// Its id, the same at each redelivery. A message without one gets a new one at each
    /// delivery: a redelivery then looks like a new job.
    pub id: String,
    /// The text: each `.` in it is a unit of work, and at a `!` the work fails.
    pub body: Vec<u8>,
}

impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.body))
    }
}

impl Job {
    /// A new job.
    pub fn new(text: &str) -> Self {
        Self {
            id: Uuid::new_v4().to_string(),
            body: text.into(),
        }
    }

    /// The job that was delivered.
    pub fn of(delivery: &Delivery) -> Self {
        let id = delivery.properties.message_id().as_ref();
        let given = id.filter(|id| !id.as_str().is_empty());
        Self {
            id: given.map_or_else(|| Uuid::new_v4().to_string(), ToString::to_string),
            body: delivery.data.clone(),
        }
    }

    /// Does the work, which takes one `unit` for each `.` of the text.
    pub async fn work(&self, unit: Duration) -> Result<()> {
        let text = str::from_utf8(&self.body).context("the job is not text")?;
        for sign in text.chars() {
            match sign {
                '.' => sleep(unit).await,
                '!' => bail!("the job has a ! in it"),
                _ => {}
            }
        }
        Ok(())
    }
}
