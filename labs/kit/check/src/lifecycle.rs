//! Starts, signals and kills a service, and waits for its end.

use super::{DEADLINE, Outcome, PATIENCE, Seen, Service, Stop, expect, fail};
use explain::sent_again;
use nix::sys::signal::Signal;
use process::{Exit, Process};
use wiretap::Event;

impl Service {
    /// Starts it, and waits until it answers `GET /health`.
    ///
    /// # Errors
    /// A failure when it does not answer.
    pub async fn start(&self) -> Outcome {
        self.launch().await?;
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} starts and answers GET /health"),
                "a service that does not start can do nothing",
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
    /// Unknown when the program cannot be started.
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
        self.0.signals.go_to(&process);
        self.0.process.replace(Some(process));
        Ok(())
    }

    /// Starts it and does not wait. It may end by itself: for a program with one thing to do.
    ///
    /// # Errors
    /// Unknown when the program cannot be started.
    pub async fn begin(&self) -> Outcome {
        self.launch().await?;
        self.0.may_end.set(true);
        Ok(())
    }

    /// Waits until it has ended by itself, and returns how it ended.
    ///
    /// # Errors
    /// A failure when it still runs at the deadline.
    pub async fn finished(&self) -> Outcome<Exit> {
        self.0.may_end.set(true);
        let name = self.name();
        let expected = format!("{name} ends by itself");
        let why = "a caller waits for ever for a program that does not end";
        let exit = self
            .0
            .lab
            .eventually_within(PATIENCE, &expected, why, async || {
                Ok(Seen::some(self.exit(), || format!("{name} still runs")))
            })
            .await
            .map_err(|stop| self.and_sends_again(stop))?;
        // It may have ended at an open hole.
        self.0.lab.all_well()?;
        Ok(exit)
    }

    /// This failure, and which message it sends again and again, if it does.
    fn and_sends_again(&self, stop: Stop) -> Stop {
        let Stop::Failed(mut failure) = stop else {
            return stop;
        };
        let (journal, name) = (self.0.lab.journal(), self.name());
        if let Some(again) = journal.read(|entries| sent_again(entries, &name)) {
            failure.observed += &format!("; {again}");
        }
        Stop::Failed(failure)
    }

    /// Starts it, waits until it has ended by itself, and returns how it ended.
    ///
    /// # Errors
    /// As [`Service::begin`] and [`Service::finished`].
    pub async fn run(&self) -> Outcome<Exit> {
        self.begin().await?;
        self.finished().await
    }

    /// Starts it, and waits until it has ended by itself with exit code 0; `why` says what
    /// that code means.
    ///
    /// # Errors
    /// As [`Service::begin`] and [`Service::finishes_well`].
    pub async fn ends_well(&self, why: &str) -> Outcome {
        self.begin().await?;
        self.finishes_well(why).await
    }

    /// Waits until it has ended by itself with exit code 0; `why` says what that code
    /// means.
    ///
    /// # Errors
    /// A failure when it ends in another way, and as [`Service::finished`].
    pub async fn finishes_well(&self, why: &str) -> Outcome {
        let exit = self.finished().await?;
        self.exited_well(exit, why)
    }

    /// Fails for every exit code other than 0.
    fn exited_well(&self, exit: Exit, why: &str) -> Outcome {
        let words = self.last_words(1).join("");
        expect(exit == Exit::Code(0))
            .or(
                format!("{} ends with exit code 0", self.name()),
                format!("{exit}; it printed last: {words}"),
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
        let why = "an operator knows only what a service logs";
        self.0
            .lab
            .eventually(&expected, why, async || {
                let words = || self.last_words(1).join("");
                Ok(Seen::when(self.output().contains(text), || {
                    format!("it printed last: {}", words())
                }))
            })
            .await
    }

    /// `kill -9`, and waits until it is gone.
    ///
    /// # Errors
    /// A failure when it has ended by itself before; unknown when it cannot be killed.
    pub async fn kill(&self) -> Outcome {
        self.0.lab.all_well()?;
        self.0.may_end.set(true);
        let process = self.0.process.take();
        if let Some(process) = process {
            process.kill().await?;
        }
        Ok(())
    }

    /// Freezes it (SIGSTOP): it keeps its connections and sends nothing more.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn freeze(&self) -> Outcome {
        self.act(Process::freeze)
    }

    /// How much memory it uses (its resident set), in bytes.
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

    /// How many threads it has.
    pub(super) fn all_threads(&self) -> usize {
        let process = self.0.process.borrow();
        process.as_ref().map_or(0, Process::all_threads)
    }

    /// How much memory it takes, in bytes, where the system says so at once.
    pub(super) fn resident(&self) -> Option<u64> {
        self.0.process.borrow().as_ref()?.resident()
    }

    /// How many of its threads have the name `name`; 0 where the system does not say, as on macOS.
    ///
    /// # Errors
    /// A failure when it has ended by itself.
    pub fn threads(&self, name: &str) -> Outcome<usize> {
        self.0.lab.all_well()?;
        let process = self.0.process.borrow();
        Ok(process.as_ref().map_or(0, |process| process.threads(name)))
    }

    /// Sends a signal from any thread: for a wiretap that stops it at a frame. The process that was
    /// started last by then gets it; nothing happens when none was.
    pub fn signaller(&self, signal: Signal) -> Box<dyn FnOnce() + Send> {
        let signals = self.0.signals.clone();
        Box::new(move || signals.send(signal))
    }

    /// Continues it after [`Service::freeze`].
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
        // It may have ended between the look above and the signal.
        process.as_ref().map_or(Ok(()), how).map_err(|_| {
            let name = self.name();
            let words = self.last_words(3).join("\n");
            fail(
                format!("{name} keeps running"),
                format!("it ended; it printed last:\n{words}"),
            )
            .because("only a running service can handle a signal")
            .into()
        })
    }

    /// Waits until it has ended, and returns how it ended.
    ///
    /// # Errors
    /// A failure when it still runs at the deadline.
    pub async fn ended(&self) -> Outcome<Exit> {
        let name = self.name();
        self.0
            .lab
            .eventually(
                &format!("{name} ends within {} s of SIGTERM", DEADLINE.as_secs()),
                "an operator kills a service that is slow to stop, in the middle of its work",
                async || Ok(Seen::some(self.exit(), || format!("{name} still runs"))),
            )
            .await
    }

    /// How it ended, if it has.
    #[must_use]
    pub fn exit(&self) -> Option<Exit> {
        self.0.process.borrow().as_ref().and_then(Process::ended)
    }

    /// How it ended, if the check did not end it.
    pub(super) fn died(&self) -> Option<Exit> {
        if self.0.may_end.get() {
            return None;
        }
        self.exit()
    }

    /// Sends SIGTERM, waits until it has ended, and returns how it ended.
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
        let why = "after SIGTERM, any other exit code looks like a crash to an operator";
        self.exited_well(exit, why)
    }

    /// Kills it without waiting: for the end of the check.
    pub(super) fn drop_process(&self) {
        self.0.process.take();
    }
}
