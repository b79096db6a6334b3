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

/// Counts a view: one row each, so that a redelivered view counts once.
async fn count(store: &Store, message: Message<'_>) -> Result<(), Refusal> {
    // HOLE 5: a row under the message's id; tell what is broken from what has to wait.
    // Naive: each delivery counts, and every failure is retried.
    let viewed: Viewed =
        serde_json::from_slice(message.body).map_err(|e| Refusal::NotNow(e.into()))?;
    let id = uuid::Uuid::new_v4().to_string();
    let counted = store.record(&id, &viewed.video_path).await;
    counted.map_err(Refusal::NotNow)?;
    Ok(())
    // END HOLE 5
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
