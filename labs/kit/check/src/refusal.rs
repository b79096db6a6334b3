//! What a service does when the broker refuses its work for good: end with an error, at once.

use process::guard::Exit;
use wiretap::ConnectionEvent;

use super::{Outcome, Seen, Service, expect};

/// A service may try a second time before it gives up.
const MOST_CONNECTIONS: usize = 2;

impl Service {
    /// Starts it where the broker refuses its work; waits until it has ended with an error, and
    /// gives what it printed.
    ///
    /// # Errors
    /// A failure when it goes on, connects again and again, or ends with exit code 0.
    pub async fn gives_up(&self) -> Outcome<String> {
        let (lab, name) = (&self.0.lab, self.name());
        let expected = format!("{name} ends at once, with an error");
        let why = "the broker refuses each further attempt, too: only a person can fix this";
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
            .because("a program that started this one sees only its exit code")?;
        Ok(self.output())
    }
}
