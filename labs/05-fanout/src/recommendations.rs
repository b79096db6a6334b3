//! Role `recommendations`: counts the views of each film.

use anyhow::Result;
use common::http::Paging;
use common::store::Store;
use serde_json::{Value, json};

use crate::consumer::{Message, Refusal};
use crate::exchange::VIEWED;
use crate::subscriber;
use crate::view::Viewed;

/// Serves and consumes until SIGTERM.
pub async fn run() -> Result<()> {
    subscriber::run(
        (VIEWED, "recommendations"),
        ("seen", count),
        ("recommendations", list),
    )
    .await
}

/// Counts a view. A view that is broken is told from one that has to wait.
async fn count(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    // HOLE 5: can this service never read the view, or can it not count it now?
    // Naive: a view that cannot be counted is logged and acked.
    let counted = match serde_json::from_slice(message.body) {
        Ok(viewed) => add(store, &message, &viewed).await,
        Err(error) => Err(error.into()),
    };
    if let Err(error) = counted {
        log::error!("message {} is not counted: {error:#}", message.id);
    }
    Ok(())
    // END HOLE 5
}

/// Adds a row for the view, so that a redelivered view counts once.
async fn add(store: &Store, message: &Message<'_>, viewed: &Viewed) -> Result<()> {
    // HOLE 4: a row under an id that is the same at each delivery.
    // Naive: each delivery adds a row.
    let id = uuid::Uuid::new_v4().to_string();
    store.record(&id, &viewed.video_path).await?;
    // END HOLE 4
    Ok(())
}

/// The film with the most views comes first.
async fn list(store: &Store, page: &Paging) -> Result<Vec<Value>> {
    let counts = store
        .most_frequent(page.skip, page.limit)
        .await?
        .into_iter();
    let films = counts.map(|(path, views)| json!({ "videoPath": path, "views": views }));
    Ok(films.collect())
}
