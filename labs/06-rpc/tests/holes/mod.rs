//! The hole to look at for a topic: for the checks, and for the search.

use check::Topic;

pub fn hole_for(topic: Topic) -> u32 {
    match topic {
        Topic::Publish | Topic::Routing => 1,
        Topic::Durability | Topic::Confirm | Topic::Consume | Topic::NoAck | Topic::Settle => 3,
    }
}
