//! The hole to look at for a topic: for the checks, and for the search.

use check::Topic;

pub fn hole_for(topic: Topic) -> u32 {
    match topic {
        Topic::Publish | Topic::Confirm => 7,
        Topic::Durability | Topic::Routing => 1,
        Topic::Consume => 3,
        Topic::NoAck | Topic::Settle => 5,
    }
}
