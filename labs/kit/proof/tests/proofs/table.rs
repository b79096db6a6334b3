//! The table of `just test --table`: which checks catch how many mutants.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::{Arc, Mutex, PoisonError};

/// What the runs of all mutants have shown so far.
#[derive(Clone, Default)]
pub struct Table(Arc<Mutex<Vec<Row>>>);

/// One mutant, checked by all checks of its chapter.
pub struct Row {
    /// The chapter's number.
    pub chapter: String,
    /// The mutant's name.
    pub mutant: String,
    /// The checks, in the order of the report.
    pub checks: Vec<String>,
    /// Those that failed.
    pub failed: Vec<String>,
    /// Whether the report leads to the mutant's hole.
    pub leads: bool,
}

/// Catches of one check.
#[derive(Default)]
struct Catches {
    first: usize,
    also: usize,
}

impl Table {
    /// Adds a row, in place of an earlier one for the same mutant.
    pub fn add(&self, row: Row) {
        let mut rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        rows.retain(|own| (&own.chapter, &own.mutant) != (&row.chapter, &row.mutant));
        rows.push(row);
    }

    /// The table as text; empty without a row.
    pub fn text(&self) -> String {
        let rows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut chapters: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
        for row in rows.iter() {
            chapters.entry(&row.chapter).or_default().push(row);
        }
        let mut text = String::new();
        for (chapter, rows) in chapters {
            let elsewhere = rows.iter().filter(|row| !row.leads);
            let elsewhere: Vec<&str> = elsewhere.map(|row| &*row.mutant).collect();
            let all = rows.len();
            let leads = all - elsewhere.len();
            let _ = writeln!(
                text,
                "\n{chapter}: {all} mutants, {leads} lead to their hole\n  {:<28} first  also",
                "check"
            );
            for check in &rows[0].checks {
                let catches = catches(check, &rows);
                let none = if catches.first + catches.also == 0 {
                    "  none"
                } else {
                    ""
                };
                let Catches { first, also } = catches;
                let _ = writeln!(text, "  {check:<28} {first:>5} {also:>5}{none}");
            }
            if !elsewhere.is_empty() {
                let _ = writeln!(text, "  lead elsewhere: {}", elsewhere.join(", "));
            }
        }
        text
    }
}

fn catches(check: &String, rows: &[&Row]) -> Catches {
    let mut catches = Catches::default();
    for row in rows {
        match row.failed.first() {
            Some(first) if first == check => catches.first += 1,
            _ => catches.also += usize::from(row.failed.contains(check)),
        }
    }
    catches
}
