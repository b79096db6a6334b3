//! The hole to look at for a topic: for the checks, and for the search.

use check::Topic;

pub fn hole_for(topic: Topic) -> u32 {
    match topic {
        Topic::Consume | Topic::NoAck => 1,
        Topic::Settle => 3,
        Topic::Publish | Topic::Confirm | Topic::Routing | Topic::Durability => 7,
    }
}
