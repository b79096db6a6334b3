use std::fs;
use std::path::PathBuf;

use super::*;

/// A folder of its own for one test, removed with everything in it at the end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("lab-store-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary folder");
        Self(dir)
    }

    fn file(&self) -> PathBuf {
        self.0.join("store.sqlite")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn ids(rows: &[Row]) -> Vec<&str> {
    rows.iter().map(|row| row.id.as_str()).collect()
}

#[actix_web::test]
async fn each_id_is_recorded_once_and_the_first_value_stays() {
    let folder = Folder::new("once");
    let store = Store::open(&folder.file(), "views").await.expect("opens");
    assert!(store.record("a", "first").await.expect("records"));
    assert!(!store.record("a", "second").await.expect("is no error"));
    let rows = store.list(0, 10).await.expect("lists");
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0].value, "first");
}

#[actix_web::test]
async fn rows_come_in_order_of_arrival_and_in_pages() {
    let folder = Folder::new("order");
    let store = Store::open(&folder.file(), "views").await.expect("opens");
    for id in ["z", "a", "m", "b"] {
        store.record(id, "x").await.expect("records");
    }
    assert_eq!(
        ids(&store.list(0, 10).await.expect("all")),
        ["z", "a", "m", "b"]
    );
    assert_eq!(ids(&store.list(1, 2).await.expect("a page")), ["a", "m"]);
    assert!(store.list(4, 2).await.expect("past the end").is_empty());
    assert!(store.list(0, 0).await.expect("none wanted").is_empty());
}

#[actix_web::test]
async fn what_was_recorded_is_there_for_another_connection_and_after_reopening() {
    let folder = Folder::new("reopen");
    let store = Store::open(&folder.file(), "users").await.expect("opens");
    let name = "Zoë O'Brien \u{1F600} '); DROP TABLE users; --";
    store.record("1", name).await.expect("records");
    // The first connection is still open, as after a kill: nothing may sit in its memory.
    let second = Store::open(&folder.file(), "users")
        .await
        .expect("opens again");
    assert_eq!(second.list(0, 9).await.expect("lists")[0].value, name);
}

#[actix_web::test]
async fn a_hundred_at_once_all_arrive() {
    let folder = Folder::new("hundred");
    let store = Store::open(&folder.file(), "views").await.expect("opens");
    let tasks: Vec<_> = (0..100)
        .map(|n| {
            let store = store.clone();
            actix_web::rt::spawn(async move { store.record(&n.to_string(), "x").await })
        })
        .collect();
    for task in tasks {
        assert!(task.await.expect("no panic").expect("records"));
    }
    assert_eq!(store.list(0, 1000).await.expect("lists").len(), 100);
}

#[actix_web::test]
async fn a_dropped_caller_does_not_break_the_store() {
    let folder = Folder::new("dropped");
    let store = Store::open(&folder.file(), "views").await.expect("opens");
    for n in 0..20 {
        let record = store.record("dropped", "x");
        let _ = tokio::time::timeout(std::time::Duration::from_micros(n * 20), record).await;
    }
    assert!(store.record("after", "x").await.expect("still works"));
}

#[actix_web::test]
async fn a_file_that_cannot_be_used_is_named() {
    let folder = Folder::new("bad");
    let missing = folder.0.join("no-such-folder").join("store.sqlite");
    let error = Store::open(&missing, "views").await.expect_err("no folder");
    assert!(
        format!("{error:#}").contains(&missing.display().to_string()),
        "{error:#}"
    );

    fs::write(folder.file(), "this is a text file, and not a short one").expect("writes");
    let error = Store::open(&folder.file(), "views")
        .await
        .expect_err("no database");
    let text = format!("{error:#}");
    assert!(
        text.contains("store.sqlite") && text.contains("DATABASE"),
        "{text}"
    );
}

#[actix_web::test]
async fn a_table_name_is_checked_before_it_reaches_sql() {
    let folder = Folder::new("name");
    let error = Store::open(&folder.file(), "views; DROP TABLE x").await;
    assert!(
        error
            .expect_err("refused")
            .to_string()
            .contains("lower-case")
    );
}

#[actix_web::test]
async fn values_are_counted_by_id_the_most_frequent_first() {
    let folder = Folder::new("counts");
    let store = Store::open(&folder.file(), "seen").await.expect("opens");
    for (id, value) in [("1", "c"), ("2", "b"), ("3", "b"), ("3", "b"), ("4", "a")] {
        store.record(id, value).await.expect("records");
    }
    let counted = |value: &str, count| (value.to_owned(), count);
    assert_eq!(
        store.most_frequent(0, 2).await.expect("counts"),
        [counted("b", 2), counted("a", 1)]
    );
    assert_eq!(
        store.most_frequent(2, 10).await.expect("the rest"),
        [counted("c", 1)]
    );
}

#[actix_web::test]
async fn a_new_file_can_be_opened_by_many_at_once() {
    let folder = Folder::new("many");
    for round in 0..20 {
        let file = folder.0.join(format!("{round}.sqlite"));
        let mut opening = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let file = file.clone();
            opening.spawn(async move { Store::open(&file, "views").await });
        }
        while let Some(opened) = opening.join_next().await {
            opened.expect("no panic").expect("opens");
        }
    }
}
