//! The hole to look at for a topic: for the checks, and for the search.

use check::Topic;

pub fn hole_for(topic: Topic) -> u32 {
    match topic {
        Topic::Publish | Topic::Routing | Topic::Durability => 1,
        Topic::NoAck | Topic::Settle => 4,
        Topic::Confirm | Topic::Consume => 8,
    }
}
