//! The hole to look at for a topic: for the checks, and for the search.

use check::Topic;

pub fn hole_for(topic: Topic) -> u32 {
    match topic {
        Topic::Routing => 1,
        Topic::Durability => 2,
        Topic::NoAck => 3,
        Topic::Settle => 4,
        Topic::Publish | Topic::Confirm => 5,
        Topic::Consume => 7,
    }
}
