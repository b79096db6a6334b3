//! Role `rights`: what the broker's users may do. Setting up the broker runs this program for
//! it, so that what the code does and what it may do stand in one place.

use anyhow::Result;
use serde::Serialize;

/// Which names a user may use in its vhost: RabbitMQ's three regular expressions. They are not
/// anchored: `messages` matches `messages.dead`, too.
#[derive(Serialize)]
struct Rights {
    /// To declare and to delete.
    configure: &'static str,
    /// To publish to an exchange, and to bind a queue.
    write: &'static str,
    /// To consume from a queue, and to bind to an exchange.
    read: &'static str,
}

/// All users, by role.
#[derive(Serialize)]
struct Users {
    producer: Rights,
    consumer: Rights,
}

fn users() -> Users {
    // HOLE 9: what each of the two needs for its work, and nothing more.
    // Naive: it works.
    let all = || Rights {
        configure: ".*",
        write: ".*",
        read: ".*",
    };
    Users {
        producer: all(),
        consumer: all(),
    }
    // END HOLE 9
}

/// Prints them as JSON.
pub fn print() -> Result<()> {
    println!("{}", serde_json::to_string(&users())?);
    Ok(())
}
