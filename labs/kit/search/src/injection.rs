//! Carries one fault out, once its point is reached.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use check::Outcome;
use check::wiretap::{Act, Held, Moment};
use nix::sys::signal::Signal;
use tokio::time::sleep;

use crate::fault::{Fault, Kind, Point, Step};
use crate::run::Run;
use crate::slow_writes::SlowWrites;

/// How long nothing arrives before the link is cut.
const SILENCE: Duration = Duration::from_millis(700);
/// How long a service without a heartbeat stands still: longer than a call may take.
const STILL: Duration = Duration::from_millis(2500);
/// How long to wait between two looks at a link.
const LOOK_AGAIN: Duration = Duration::from_millis(15);
/// With a heartbeat of 1 s the broker gives a connection up after 2 to 3 s.
const MISSED: Duration = Duration::from_secs(6);

/// A fault that waits for its point.
#[derive(Debug)]
pub struct Injection {
    fault: Fault,
    waits: Waits,
    trigger: Trigger,
}

/// Decides once, between the thread that sees the point and the run that ends, whether a fault
/// happens. Clones are the same.
#[derive(Debug, Clone)]
pub struct Trigger(Arc<AtomicBool>);

impl Trigger {
    /// From now on the fault does not begin. Returns whether it has begun.
    pub fn disarm(&self) -> bool {
        !self.0.swap(false, Ordering::SeqCst)
    }

    /// The same act, unless the fault was disarmed.
    fn guard(&self, act: Act) -> Act {
        let armed = self.0.clone();
        Box::new(move || {
            if armed.swap(false, Ordering::SeqCst) {
                act();
            }
        })
    }
}

#[derive(Debug)]
enum Waits {
    /// For a frame, an HTTP request or response.
    Frame(Held),
    /// For a write to a database.
    Write(SlowWrites),
}

impl Injection {
    /// Sets the trap.
    pub async fn arm(run: &Run, fault: &Fault) -> Outcome<Self> {
        let (point, trigger) = (&fault.point, Trigger(Arc::new(AtomicBool::new(true))));
        let waits = match point.step {
            Step::Commit => {
                let service = run.service(&point.at)?;
                let act = trigger.guard(service.signaller(Signal::SIGSTOP));
                let own = run.shares(&point.at).then_some(&*point.at);
                Waits::Write(SlowWrites::at(&service.database(), own, point.nth, act)?)
            }
            Step::Frame(..) | Step::Http(_) => {
                Waits::Frame(hold(run, point, trigger.guard(at_once(run, fault).await?))?)
            }
        };
        let fault = fault.clone();
        Ok(Self {
            fault,
            waits,
            trigger,
        })
    }

    /// What keeps it from beginning.
    pub fn trigger(&self) -> Trigger {
        self.trigger.clone()
    }

    /// Waits for the point, and carries the fault out: not while another one hits the same target, for
    /// two starts of one service would get in each other's way.
    pub async fn injections(self, run: &Run) -> Outcome {
        let Self {
            fault, mut waits, ..
        } = self;
        match &mut waits {
            Waits::Write(writes) => writes.comes().await,
            Waits::Frame(held) => held.comes().await,
        }
        let busy = &run.record().busy;
        if !busy.borrow_mut().insert(fault.target.clone()) {
            run.service(&fault.target)?.signaller(Signal::SIGCONT)();
            return Ok(());
        }
        run.reached(&fault);
        match waits {
            Waits::Frame(held) if fault.kind != Kind::Kill || fault.hits_broker() => {
                at_frame(run, &fault, held).await?
            }
            waits => kill(run, &fault.target, waits).await?,
        }
        busy.borrow_mut().remove(&fault.target);
        Ok(())
    }
}

/// A fault that kills no service.
async fn at_frame(run: &Run, fault: &Fault, held: Held) -> Outcome {
    match fault.kind {
        Kind::Kill => {
            run.lab().kill_stopped_broker().await?;
            drop(held);
            run.lab().broker_is_back().await
        }
        Kind::Cut => {
            held.cut();
            run.cut(&fault.point.at)
        }
        Kind::Swallow => {
            sleep(SILENCE).await;
            held.cut();
            run.cut(&fault.point.at)
        }
        Kind::Freeze => {
            drop(held);
            stand_still(run, &fault.target).await
        }
    }
}

/// What the relay does the moment the frame is there: from then on its target does nothing more.
async fn at_once(run: &Run, fault: &Fault) -> Outcome<Act> {
    let (kills, target) = (fault.kind == Kind::Kill, &fault.target);
    Ok(match fault.kind {
        Kind::Kill if fault.hits_broker() => run.lab().broker_stopper().await?,
        // Its operation waits for the end of a command, and starts it again.
        Kind::Kill | Kind::Freeze => {
            let signal = match kills && run.is_command(target) {
                true => Signal::SIGKILL,
                false => Signal::SIGSTOP,
            };
            run.service(target)?.signaller(signal)
        }
        Kind::Cut | Kind::Swallow => Box::new(|| ()),
    })
}

fn hold(run: &Run, point: &Point, act: Act) -> Outcome<Held> {
    let Point { nth, edge, .. } = *point;
    Ok(match point.step {
        Step::Frame(from, method) => {
            let moment = Moment {
                from,
                method,
                nth,
                edge,
            };
            run.service(&point.at)?.tap().hold_at(moment, act)
        }
        Step::Http(from) => run.relay(&point.at)?.hold_at(from, nth, edge, act),
        Step::Commit => return Err(anyhow!("a commit crosses no link").into()),
    })
}

/// Kills the service, and starts it again. A command has been killed already, and is started again by
/// its operation. Who calls it over HTTP stands still meanwhile: how long this machine takes to start a
/// program is not what is tried.
async fn kill(run: &Run, target: &str, waits: Waits) -> Outcome {
    let callers = |signal| run.callers(target).for_each(|one| one.signaller(signal)());
    callers(Signal::SIGSTOP);
    if !run.is_command(target) {
        run.service(target)?.kill().await?;
    }
    match waits {
        // What it has sent and the relay holds never arrives.
        Waits::Frame(held) => held.cut(),
        Waits::Write(writes) => writes.end().await?,
    }
    if run.has_link(target) {
        run.cut(target)?;
    }
    run.start(target).await?;
    callers(Signal::SIGCONT);
    Ok(())
}

/// Until its connection is given up by the broker, or for longer than a call may take.
async fn stand_still(run: &Run, target: &str) -> Outcome {
    let (service, lab) = (run.service(target)?, run.lab());
    let over = || run.is_command(target) && service.exit().is_some();
    if over() {
        return Ok(());
    }
    service.freeze()?;
    match lab.broker() {
        Some(_) => {
            let (span, ends) = (lab.span(), run.lost(target));
            while run.lost(target) == ends && !span.exceeds(MISSED) {
                sleep(LOOK_AGAIN).await;
            }
        }
        None => sleep(STILL).await,
    }
    if over() {
        return Ok(());
    }
    service.thaw()
}
