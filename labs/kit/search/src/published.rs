//! Commands that publish: with exit code 0 they promise what they have published.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use check::wiretap::{Event, Frame, Method};
use check::{Exit, Outcome, Stop};

use crate::plan::Trouble;
use crate::run::Run;
use crate::scenario::{Answer, Promised};

impl Run {
    /// Runs a command that publishes, to its end. With exit code 0 it promises each message, under
    /// the first id that it was published with.
    ///
    /// # Errors
    /// As [`Run::command`].
    pub async fn publishes(&self, name: &str) -> Outcome<Answer> {
        let before = self.connections(name);
        let exit = match self.command(name).await {
            // Another service may have died while the command ran.
            Err(Stop::Failed(failure))
                if self.lab().all_well().is_ok() && self.service(name)?.exit().is_none() =>
            {
                return Err(self.found(Trouble::Stuck, None, *failure));
            }
            exit => exit?,
        };
        let connections = before + 1..=self.connections(name);
        if exit != Some(Exit::Code(0)) {
            let refused = (name.to_owned(), connections);
            self.0.record.unpromised.borrow_mut().push(refused);
            let ended = exit.map_or("it was killed".to_owned(), |exit| exit.to_string());
            return Ok(Answer::Refused(ended));
        }
        let (mut known, mut promised) = (BTreeSet::new(), Vec::new());
        for frame in self.published(name, &connections) {
            let kind = frame.args["routing_key"].as_str().unwrap_or_default();
            let body = frame.message.as_ref().map(|message| message.body.clone());
            if known.insert((kind.to_owned(), body)) {
                let mark = frame.message_id().unwrap_or("?").to_owned();
                let kind = kind.to_owned();
                promised.push(Promised { mark, kind });
            }
        }
        Ok(Answer::Promised(promised))
    }

    /// What it has published on these of its connections.
    fn published(&self, name: &str, connections: &RangeInclusive<u32>) -> Vec<Frame> {
        let mut frames = self.lab().journal().methods(name, Method::BasicPublish);
        frames.retain(|frame| connections.contains(&frame.connection));
        frames
    }

    /// The number of its last connection.
    fn connections(&self, name: &str) -> u32 {
        self.lab().journal().read(|entries| {
            let numbers = entries.iter().filter_map(|entry| match &entry.event {
                Event::Connection {
                    service,
                    connection,
                    ..
                } if service == name => Some(*connection),
                _ => None,
            });
            numbers.max().unwrap_or(0)
        })
    }

    /// Whether a try that promised nothing has published a message with this id: it may have its
    /// effect, or not.
    pub(crate) fn tried(&self, id: &str) -> bool {
        let unpromised = self.0.record.unpromised.borrow();
        unpromised.iter().any(|(name, connections)| {
            let published = self.published(name, connections);
            published.iter().any(|frame| frame.message_id() == Some(id))
        })
    }
}
