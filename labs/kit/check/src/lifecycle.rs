//! A service's life: started, asked to end, killed, and what can be told of its end.

use super::{DEADLINE, Outcome, PATIENCE, Seen, Service, expect, fail};
use process::{Exit, Process};
use wiretap::Event;

impl Service {
    /// Starts it, and waits until it answers `GET /health`.
    ///
    /// # Errors
    /// A failure when it does not come up.
    pub async fn start(&self) -> Outcome {
        self.launch().await?;
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} starts and answers GET /health"),
                "a service that is not there can do nothing else right",
                async || {
                    Ok(match self.try_get("/health").await {
                        Ok(answer) => Seen::when(answer.ok(), || answer.summary()),
                        Err(error) => Seen::NotYet(error),
                    })
                },
            )
            .await
    }

    /// Starts it and does not wait.
    ///
    /// # Errors
    /// Unknown when no process can be made of the program.
    pub async fn launch(&self) -> Outcome {
        let launch = self.0.launch.borrow().clone();
        let (journal, name) = (self.0.lab.journal().clone(), launch.name.clone());
        let process = Process::start(&launch, move |change| {
            journal.record(Event::Service {
                service: name.clone(),
                what: change,
            });
        })
        .await?;
        self.0.lab.0.watch.add(process.id());
        self.0.may_end.set(false);
        self.0.process.replace(Some(process));
        Ok(())
    }

    /// Starts it and does not wait; it may end by itself, as a program does that has one thing
    /// to do.
    ///
    /// # Errors
    /// Unknown when no process can be made of the program.
    pub async fn begin(&self) -> Outcome {
        self.launch().await?;
        self.0.may_end.set(true);
        Ok(())
    }

    /// Waits until it has ended by itself, and gives how.
    ///
    /// # Errors
    /// A failure when it goes on.
    pub async fn finished(&self) -> Outcome<Exit> {
        self.0.may_end.set(true);
        let name = self.name();
        let expected = format!("{name} ends by itself");
        let why = "whoever waits for a program that never ends waits for ever";
        let exit = self
            .0
            .lab
            .eventually_within(PATIENCE, &expected, why, async || {
                Ok(Seen::some(self.exit(), || format!("{name} still runs")))
            })
            .await?;
        // It may have ended at an open hole.
        self.0.lab.all_well()?;
        Ok(exit)
    }

    /// Starts it, waits until it has ended by itself, and gives how.
    ///
    /// # Errors
    /// As [`Service::begin`] and [`Service::finished`].
    pub async fn run(&self) -> Outcome<Exit> {
        self.begin().await?;
        self.finished().await
    }

    /// Starts it, and waits until it has ended by itself with exit code 0; `why` says what
    /// that code stands for.
    ///
    /// # Errors
    /// As [`Service::begin`] and [`Service::finishes_well`].
    pub async fn ends_well(&self, why: &str) -> Outcome {
        self.begin().await?;
        self.finishes_well(why).await
    }

    /// Waits until it has ended by itself with exit code 0; `why` says what that code stands
    /// for.
    ///
    /// # Errors
    /// A failure when it ends in another way, and as [`Service::finished`].
    pub async fn finishes_well(&self, why: &str) -> Outcome {
        let exit = self.finished().await?;
        self.exited_well(exit, why)
    }

    /// The failure of an exit code other than 0.
    fn exited_well(&self, exit: Exit, why: &str) -> Outcome {
        let words = self.last_words(1).join("");
        expect(exit == Exit::Code(0))
            .or(
                format!("{} ends with exit code 0", self.name()),
                format!("{exit}; it said last: {words}"),
            )
            .because(why)
    }

    /// Waits until it has printed `text`, over all its starts.
    ///
    /// # Errors
    /// A failure when it does not.
    pub async fn says(&self, text: &str) -> Outcome {
        let name = self.name();
        let expected = format!("{name} says `{text}`");
        let why = "what a service does not tell, nobody knows";
        self.0
            .lab
            .eventually(&expected, why, async || {
                let words = || self.last_words(1).join("");
                Ok(Seen::when(self.output().contains(text), || {
                    format!("it said last: {}", words())
                }))
            })
            .await
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// A failure when it has died by itself before; unknown when the kernel does not let it
    /// be killed.
    pub async fn kill(&self) -> Outcome {
        self.0.lab.all_well()?;
        self.0.may_end.set(true);
        let process = self.0.process.take();
        if let Some(process) = process {
            process.kill().await?;
        }
        Ok(())
    }

    /// Freezes it: it keeps its connections and says nothing more.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn freeze(&self) -> Outcome {
        self.act(Process::freeze)
    }

    /// How much of the machine's memory it takes (its resident set), in bytes.
    ///
    /// # Errors
    /// A failure when it has ended by itself; unknown when the system does not say.
    pub async fn memory(&self) -> Outcome<u64> {
        self.0.lab.all_well()?;
        let process = self.0.process.borrow().as_ref().map(Process::memory);
        Ok(match process {
            Some(asked) => asked.await?,
            None => return Err(anyhow::anyhow!("{} is not started", self.name()).into()),
        })
    }

    /// How many of its threads are called `name`; 0 where the system does not say, as on macOS.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn threads(&self, name: &str) -> Outcome<usize> {
        self.0.lab.all_well()?;
        let process = self.0.process.borrow();
        Ok(process.as_ref().map_or(0, |process| process.threads(name)))
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn thaw(&self) -> Outcome {
        self.act(Process::thaw)
    }

    /// Sends SIGTERM and does not wait.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn terminate(&self) -> Outcome {
        self.act(Process::terminate)?;
        self.0.may_end.set(true);
        Ok(())
    }

    fn act(&self, how: impl Fn(&Process) -> anyhow::Result<()>) -> Outcome {
        self.0.lab.all_well()?;
        let process = self.0.process.borrow();
        // Between the look above and the signal it may have ended, and not been missed yet.
        process.as_ref().map_or(Ok(()), how).map_err(|_| {
            let name = self.name();
            let words = self.last_words(3).join("\n");
            fail(
                format!("{name} keeps running"),
                format!("it ended; it printed last:\n{words}"),
            )
            .because("only what runs can be stopped in order")
            .into()
        })
    }

    /// Waits until it has ended, and gives how.
    ///
    /// # Errors
    /// A failure when it goes on.
    pub async fn ended(&self) -> Outcome<Exit> {
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} ends within {} s of SIGTERM", DEADLINE.as_secs()),
                "whoever stops it kills it when it takes too long, with work in hand",
                async || Ok(Seen::some(self.exit(), || format!("{name} still runs"))),
            )
            .await
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.0.process.borrow().as_ref().and_then(Process::ended)
    }

    /// How it ended, when nobody told it to.
    pub(super) fn died(&self) -> Option<Exit> {
        if self.0.may_end.get() {
            return None;
        }
        self.exit()
    }

    /// Waits until it has ended when it is being stopped.
    ///
    /// # Errors
    /// See [`Service::terminate`] and [`Service::ended`].
    pub async fn stop(&self) -> Outcome<Exit> {
        self.terminate()?;
        self.ended().await
    }

    /// Sends SIGTERM, and waits until it has ended with exit code 0.
    ///
    /// # Errors
    /// As [`Service::terminate`] and [`Service::stopped_well`].
    pub async fn stops_well(&self) -> Outcome {
        self.terminate()?;
        self.stopped_well().await
    }

    /// Waits until it has ended with exit code 0 after [`Service::terminate`].
    ///
    /// # Errors
    /// A failure when it ends in another way, and as [`Service::ended`].
    pub async fn stopped_well(&self) -> Outcome {
        let exit = self.ended().await?;
        let why = "an operator takes any other exit code after SIGTERM for a crash";
        self.exited_well(exit, why)
    }

    /// Kills it, without waiting, when the check is over.
    pub(super) fn drop_process(&self) {
        self.0.process.take();
    }
}
