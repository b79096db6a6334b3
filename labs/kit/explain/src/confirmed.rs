//! Which of the broker's acks confirm a publish.

use std::collections::BTreeSet;

use super::frames::{At, after, confirm_number, frames};
use wiretap::{Entry, Frame, Method, Side};

/// The places of the broker's acks that confirm one of the publishes that are `own`, in order.
#[must_use]
pub fn confirms(entries: &[Entry], own: impl Fn(&Frame) -> bool) -> BTreeSet<usize> {
    let frames = &*frames(entries);
    let own = |at: &&At<'_>| {
        let (from, method) = (at.frame.from, at.frame.method);
        (from, method) == (Side::Client, Method::BasicPublish) && own(at.frame)
    };
    let publishes = frames.iter().filter(own);
    let confirms = publishes.filter_map(|publish| {
        let number = confirm_number(frames, *publish)?;
        let later = after(frames, publish.index).iter();
        let mut open = later.take_while(|at| !at.frame.reopens(publish.frame));
        let ack = open.find(|at| {
            let (from, method) = (at.frame.from, at.frame.method);
            (from, method) == (Side::Server, Method::BasicAck)
                && at.frame.same_channel(publish.frame)
                && at.frame.covers(number)
        });
        ack.map(|at| at.index)
    });
    confirms.collect()
}
