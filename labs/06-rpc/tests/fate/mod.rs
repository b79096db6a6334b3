//! What became of a call, told from the wire: a call that fails says here where its answer got lost.

use check::wiretap::{Entry, Event, Frame, Method, Side};
use check::{Lab, Service, short};

/// The queue that requests go through.
pub const RPC_QUEUE: &str = "rpc_queue";

/// Where a call's answer got lost.
pub struct Fate {
    /// What the wire shows.
    pub observed: String,
    /// Why that loses the answer.
    pub why: &'static str,
    /// The hole to look at.
    pub hole: u32,
}

/// What became of the client's call for this user; `None` when the wire shows nothing wrong.
pub fn of_call(lab: &Lab, client: &Service, id: u32) -> Option<Fate> {
    lab.journal().read(|entries| {
        let wire = Wire::new(entries);
        let requests = wire.requests(&client.name(), id);
        let lost = |request: &&At<'_>| wire.answer_at_client(request).is_none();
        // Of several calls for the same user, one without an answer explains more.
        let lost = requests.iter().filter(lost).find_map(|at| wire.lost(at));
        lost.or_else(|| wire.not_handed_over(requests.last()?))
    })
}

/// What became of the request that the client sent last for this user, as [`of_call`].
pub fn of_last_call(lab: &Lab, client: &Service, id: u32) -> Option<Fate> {
    lab.journal().read(|entries| {
        let wire = Wire::new(entries);
        let request = *wire.requests(&client.name(), id).last()?;
        match wire.answer_at_client(&request) {
            Some(_) => wire.not_handed_over(&request),
            None => wire.lost(&request),
        }
    })
}

/// A frame, and when it crossed the wiretap.
#[derive(Clone, Copy)]
struct At<'a> {
    index: usize,
    t: f64,
    frame: &'a Frame,
}

impl<'a> At<'a> {
    fn of_call(self) -> &'a str {
        let message = self.frame.message.as_ref();
        let id = message.and_then(|message| message.correlation_id.as_deref());
        id.unwrap_or_default()
    }

    fn reply_to(self) -> &'a str {
        let message = self.frame.message.as_ref();
        let queue = message.and_then(|message| message.reply_to.as_deref());
        queue.unwrap_or_default()
    }

    fn key(self) -> &'a str {
        self.frame.args["routing_key"].as_str().unwrap_or_default()
    }

    fn is(self, service: &str, method: Method) -> bool {
        self.frame.service == service && self.frame.method == method
    }
}

/// The frames of a run, in order.
struct Wire<'a> {
    frames: Vec<At<'a>>,
    /// Where each connection ended: its service, its number, its place among the entries.
    ends: Vec<(&'a str, u32, usize)>,
}

impl<'a> Wire<'a> {
    fn new(entries: &'a [Entry]) -> Self {
        let (mut frames, mut ends) = (Vec::new(), Vec::new());
        for (index, entry) in entries.iter().enumerate() {
            match &entry.event {
                Event::Amqp(frame) => frames.push(At {
                    index,
                    t: entry.t,
                    frame,
                }),
                Event::Connection {
                    service,
                    connection,
                    what,
                } if what.is_end() => ends.push((service.as_str(), *connection, index)),
                _ => {}
            }
        }
        Self { frames, ends }
    }

    /// The client's requests for this user.
    fn requests(&self, client: &str, id: u32) -> Vec<At<'a>> {
        let body = id.to_string();
        let asks = |at: &&At<'_>| {
            let message = at.frame.message.as_ref();
            at.is(client, Method::BasicPublish)
                && message.is_some_and(|message| message.body.trim() == body)
        };
        self.frames.iter().filter(asks).copied().collect()
    }

    /// The delivery of this request's answer to its client.
    fn answer_at_client(&self, request: &At<'_>) -> Option<At<'a>> {
        let answer = self.frames.iter().find(|at| {
            at.is(&request.frame.service, Method::BasicDeliver)
                && !request.of_call().is_empty()
                && at.of_call() == request.of_call()
        });
        answer.copied()
    }

    /// Why this request's answer never reached its client.
    fn lost(&self, request: &At<'_>) -> Option<Fate> {
        let id = short(request.of_call());
        let fate = |observed: String, why, hole| {
            let request = format!("its request {id}, published at {:.3} s, ", request.t);
            let observed = request + &observed;
            Some(Fate {
                observed,
                why,
                hole,
            })
        };
        if request.of_call().is_empty() || request.reply_to().is_empty() {
            let why = "the server needs to know where to answer, and for which call";
            return fate("lacks correlation_id or reply_to".to_owned(), why, 1);
        }
        if self.replies_to_the_past(request) {
            let why = "an exclusive queue ends with its connection: after a reconnect the client \
                       has another, and each request must name that one";
            let gone = format!("names `{}`, whose connection has ended", request.reply_to());
            return fate(gone, why, 1);
        }
        let servers = self.servers();
        if servers.is_empty() {
            return None; // The check itself plays the server.
        }
        let mut deliveries = self.frames.iter().filter(|at| {
            servers.contains(&at.frame.service.as_str())
                && at.frame.method == Method::BasicDeliver
                && at.of_call() == request.of_call()
        });
        match deliveries.next_back() {
            Some(delivery) if self.requeued(delivery) => {
                let (observed, why, hole) = self.undelivered(&servers);
                let server = &delivery.frame.service;
                fate(
                    format!("was requeued when {server} lost its connection, and {observed}"),
                    why,
                    hole,
                )
            }
            Some(delivery) => {
                let (observed, why, hole) = self.at_server(delivery);
                fate(observed, why, hole)
            }
            None => {
                let (observed, why, hole) = self.undelivered(&servers);
                fate(observed, why, hole)
            }
        }
    }

    /// Whether the request names a reply queue that ended before it was sent.
    fn replies_to_the_past(&self, request: &At<'_>) -> bool {
        let (client, queue) = (&request.frame.service, request.reply_to());
        let consumes =
            |at: &&At<'_>| at.is(client, Method::BasicConsume) && at.frame.args["queue"] == queue;
        let mut consumers = self.frames.iter().filter(consumes).peekable();
        consumers.peek().is_some() && consumers.all(|at| self.ended_before(at, request.index))
    }

    /// The services that consume from [`RPC_QUEUE`].
    fn servers(&self) -> Vec<&'a str> {
        let consumes = self.frames.iter().filter(|at| {
            at.frame.method == Method::BasicConsume && at.frame.args["queue"] == RPC_QUEUE
        });
        consumes.map(|at| at.frame.service.as_str()).collect()
    }

    fn undelivered(&self, servers: &[&str]) -> (String, &'static str, u32) {
        let held = |server: &&&str| self.frames.iter().any(|at| self.is_held(at, server));
        if let Some(server) = servers.iter().find(held) {
            let observed = format!("waits in `{RPC_QUEUE}` behind unacked requests at {server}");
            let why =
                "unacked requests count against the prefetch: ack each one once it is answered";
            return (observed, why, 3);
        }
        let observed = format!("was delivered to no server from `{RPC_QUEUE}`");
        if !self.is_served() {
            let why = "a server whose connection ended must connect and consume again";
            return (observed, why, 3);
        }
        let why = "the broker drops a request at its `expiration`, which is in milliseconds";
        (observed, why, 5)
    }

    /// Whether this is a delivery that `server` still holds unacked.
    fn is_held(&self, at: &At<'_>, server: &str) -> bool {
        at.is(server, Method::BasicDeliver) && self.settled(at).is_none() && !self.ended(at)
    }

    /// Whether the broker has requeued this delivery, because its connection ended.
    fn requeued(&self, delivery: &At<'_>) -> bool {
        let server = &delivery.frame.service;
        !self.with_no_ack(server) && self.settled(delivery).is_none() && self.ended(delivery)
    }

    /// Whether one of the servers consumes now.
    fn is_served(&self) -> bool {
        self.frames.iter().any(|at| {
            at.frame.method == Method::BasicConsume
                && at.frame.args["queue"] == RPC_QUEUE
                && !self.ended(at)
        })
    }

    fn ended(&self, at: &At<'_>) -> bool {
        self.ended_before(at, usize::MAX)
    }

    fn ended_before(&self, at: &At<'_>, moment: usize) -> bool {
        self.ends.iter().any(|(service, connection, index)| {
            *service == at.frame.service
                && *connection == at.frame.connection
                && (at.index..moment).contains(index)
        })
    }

    /// The ack, nack or reject of this delivery.
    fn settled(&self, delivery: &At<'_>) -> Option<At<'a>> {
        let mut later = self.after(delivery);
        later.find(|at| at.frame.settles(delivery.frame)).copied()
    }

    fn after(&self, at: &At<'_>) -> impl Iterator<Item = &At<'a>> + Clone {
        let index = at.index;
        self.frames.iter().filter(move |at| at.index > index)
    }

    fn with_no_ack(&self, server: &str) -> bool {
        let consumes = |at: &At<'_>| {
            at.is(server, Method::BasicConsume) && at.frame.args["queue"] == RPC_QUEUE
        };
        self.frames
            .iter()
            .any(|at| consumes(at) && at.frame.flag("no_ack"))
    }

    /// What a server did with a request whose answer never reached the client.
    fn at_server(&self, delivery: &At<'_>) -> (String, &'static str, u32) {
        let server = delivery.frame.service.as_str();
        let got = format!("was delivered to {server} at {:.3} s", delivery.t);
        let published = |at: &&At<'_>| at.is(server, Method::BasicPublish);
        let mut answers = self.after(delivery).filter(published);
        let answer = answers
            .clone()
            .find(|at| at.of_call() == delivery.of_call());
        if self.with_no_ack(server) {
            let why = "with no_ack the broker forgets a request once it is delivered";
            return (format!("{got} with no_ack, and was not answered"), why, 3);
        }
        if answer.is_none()
            && let Some(other) = answers.find(|at| at.key() == delivery.reply_to())
        {
            return under_another_id(&got, other);
        }
        let acked = self.settled(delivery);
        let early = acked.filter(|ack| answer.is_none_or(|answer| ack.index < answer.index));
        match (early, answer) {
            (Some(ack), _) => settled_early(&got, &ack),
            (None, None) => {
                let why = "the caller waits for an answer on its reply_to queue";
                (format!("{got}, and neither answered nor acked"), why, 3)
            }
            (None, Some(answer)) => self.answer_lost(delivery, answer, &got),
        }
    }

    /// Why an answer that was published before the ack did not reach the client.
    fn answer_lost(
        &self,
        delivery: &At<'_>,
        answer: &At<'_>,
        got: &str,
    ) -> (String, &'static str, u32) {
        let key = answer.key();
        if key != delivery.reply_to() {
            let why = "the answer belongs into the queue that the request's `reply_to` names";
            return (format!("{got}, and its answer went to `{key}`"), why, 3);
        }
        let returns = |at: &At<'_>| at.is(&delivery.frame.service, Method::BasicReturn);
        if self.after(answer).any(|at| returns(at) && at.key() == key) {
            let why = "the server publishes the answer to the queue that `reply_to` names";
            let end = format!("{got}; the broker returned its answer: no queue `{key}`");
            return (end, why, 2);
        }
        let nacked = |at: &At<'_>| {
            at.frame.from == Side::Server
                && at.frame.method == Method::BasicNack
                && at.frame.same_channel(answer.frame)
        };
        let end = match self.after(answer).any(nacked) {
            true => "the broker nacked its answer",
            false => "its answer did not arrive",
        };
        let why = "an answer without a confirm may be lost: the request must stay unacked";
        (format!("{got}; {end}, and no second one was sent"), why, 3)
    }

    /// The fate of a request whose answer reached the client, which answered its caller otherwise.
    fn not_handed_over(&self, request: &At<'_>) -> Option<Fate> {
        let id = short(request.of_call());
        let twins = self.frames.iter().filter(|at| {
            at.is(&request.frame.service, Method::BasicPublish) && at.of_call() == request.of_call()
        });
        let twins = twins.count();
        if twins > 1 {
            return Some(Fate {
                observed: format!("{twins} requests carry the correlation_id {id}"),
                why: "a correlation id belongs to one call: by it an answer finds its call",
                hole: 1,
            });
        }
        let answer = self.answer_at_client(request)?;
        let later = (answer.t - request.t) * 1000.0;
        let observed = format!(
            "its answer {id} reached the client {later:.0} ms after the request, \
             and was not given to the call"
        );
        Some(Fate {
            observed,
            why: "each answer belongs to the one call with its correlation_id",
            hole: 4,
        })
    }
}

/// The server `got` the request, and its answer has an id of another call.
fn under_another_id(got: &str, answer: &At<'_>) -> (String, &'static str, u32) {
    let id = match short(answer.of_call()) {
        none if none.is_empty() => "no id".to_owned(),
        id => id,
    };
    let why = "only the caller knows what its id means: return it unchanged";
    (format!("{got}, and answered under {id}"), why, 3)
}

/// The server `got` the request, and settled it before it published an answer.
fn settled_early(got: &str, settled: &At<'_>) -> (String, &'static str, u32) {
    if settled.frame.method != Method::BasicAck {
        let why = "a request that can be read must be answered";
        let ended = format!("{got}, and {} ended it", settled.frame.method);
        return (ended, why, 7);
    }
    let why = "the broker forgets an acked request, so its answer must be safe by then";
    let acked = format!("{got}, and acked at {:.3} s", settled.t);
    (format!("{acked}, before its answer was confirmed"), why, 3)
}
