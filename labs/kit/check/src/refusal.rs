//! A service ends with an error, at once, when the broker refuses its work for good.

use process::guard::Exit;
use wiretap::ConnectionEvent;

use super::{Outcome, Seen, Service, expect};

/// A service may try a second time before it gives up.
const MOST_CONNECTIONS: usize = 2;

impl Service {
    /// Starts it against a broker that refuses its work, waits until it has ended with an error, and
    /// returns what it printed.
    ///
    /// # Errors
    /// A failure when it keeps running, connects again and again, or ends with exit code 0.
    pub async fn gives_up(&self) -> Outcome<String> {
        let (lab, name) = (&self.0.lab, self.name());
        let expected = format!("{name} ends at once, with an error");
        let why = "the broker will refuse every further attempt: only a person can fix this";
        self.begin().await?;
        let exit = lab
            .eventually(&expected, why, async || {
                let opened = &ConnectionEvent::Opened;
                let tries = lab.journal().connection_count(&name, opened);
                let again = format!("it connects again and again: {tries} times so far");
                expect(tries <= MOST_CONNECTIONS)
                    .or(&expected, again)
                    .because(why)?;
                Ok(Seen::some(self.exit(), || "it still runs".to_owned()))
            })
            .await?;
        lab.all_well()?;
        expect(exit != Exit::Code(0))
            .or("an exit code other than 0", exit.to_string())
            .because("whatever started the program sees only its exit code")?;
        Ok(self.output())
    }
}
