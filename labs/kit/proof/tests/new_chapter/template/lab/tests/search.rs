//! What `just search @NN@` runs: three greetings, each recorded once.

use check::{Outcome, Stop};
use lapin::BasicProperties;
use search::{Answer, Operation, Role, Run, Scenario};

search::main!(
    Scenario::new(3, greet)
        .role(Role::worker("consumer").records("greetings"))
        .unconfirmed()
);

/// The search itself is the client: a person who runs `producer` again sends new greetings.
async fn greet(run: &Run, operation: &Operation) -> Outcome<Answer> {
    let id = &operation.id;
    let properties = BasicProperties::default().with_message_id(id.as_str().into());
    let greeting = (format!("greeting {}", operation.number), properties);
    match run.lab().publish("greetings", [greeting]).await {
        Ok(()) => Ok(Answer::promised(id)),
        Err(Stop::Unknown(why)) => Ok(Answer::Refused(why)),
        Err(failed) => Err(failed),
    }
}
