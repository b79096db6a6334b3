//! No service published the message.

use super::frames::{At, after, deed, refuses};
use super::{Finding, Topic, short};
use wiretap::Method;

/// The finding for a message whose id no publish carries.
pub(super) fn unpublished(frames: &[At<'_>], id: &str) -> Finding {
    let all = || {
        frames
            .iter()
            .filter(|at| at.frame.method == Method::BasicPublish)
    };
    let without = all().filter(|at| at.frame.message_id().is_none_or(str::is_empty));
    let seen = match (all().count(), without.count()) {
        (0, _) => "no service published anything".to_owned(),
        (all, none) if all == none => format!("{all} published, without a message_id"),
        (all, 0) => format!("{all} published, with other ids"),
        (all, none) => format!("{all} published with other ids, {none} of them with none"),
    };
    // A refused service that has published since is not the cause.
    let refusal = frames.iter().rfind(|at| {
        let mut later = after(frames, at.index).iter();
        let publishes = |next: &At<'_>| {
            next.frame.method == Method::BasicPublish && next.frame.service == at.frame.service
        };
        refuses(at, &at.frame.service) && !later.any(publishes)
    });
    let refused = refusal.map_or_else(String::new, |at| format!("; {}", deed(*at)));
    Finding::new(
        Topic::Publish,
        format!(
            "no basic.publish carries message_id {}: {seen}{refused}",
            short(id)
        ),
        "the service promised a message with this id, so it must publish one",
    )
}
