//! The questions that are answered before a run: `[[package.metadata.lab.predict]]`.
//!
//! ```toml
//! [[package.metadata.lab.predict]]
//! ask = "history is killed while 12 of its 20 messages are unacked. How many are redelivered?"
//! choices = ["0", "8", "12", "20"]
//! answer = "12"
//! why = "Two sentences."
//! run = "killed-consumer"          # the check whose run shows it
//! mutant = "no-ack"                # optional: run this wrong answer, not the solution
//! count = { service = "history", method = 'basic.deliver', redelivered = true }
//! # or, instead of `count`:
//! verdict = { pass = "nothing is lost", fail = "some are lost" }
//! ```

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

/// A question about a run that somebody can do afterwards, and how to find the answer in it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prediction {
    /// The question.
    pub ask: String,
    /// The answers to choose from, in their order.
    pub choices: Vec<String>,
    /// The right one.
    pub answer: String,
    /// Why it is right.
    pub why: String,
    /// The check whose run shows it.
    pub run: String,
    /// The wrong answer that is run instead of the solution.
    pub mutant: Option<String>,
    /// The lines of the run's journal to count; their number is what was seen.
    pub count: Option<Count>,
    /// What was seen, by the check's verdict.
    pub verdict: Option<ByVerdict>,
}

/// The values that a line of the journal must have to be counted, by field. A field is looked for at
/// the top level, then in `args`, then in `message`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Count(BTreeMap<String, Value>);

/// One of the choices for each verdict.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByVerdict {
    /// What is seen when the check passes.
    pub pass: String,
    /// What is seen when it fails.
    pub fail: String,
}

impl Prediction {
    /// What a run shows, as one of the choices is written, if it is one of them: the run's journal
    /// (JSON lines) and whether the check passed.
    ///
    /// # Errors
    /// When the journal is no JSON.
    pub fn seen(&self, journal: &str, passed: bool) -> Result<String> {
        match (&self.count, &self.verdict) {
            (Some(count), _) => Ok(count.in_journal(journal)?.to_string()),
            (None, Some(verdict)) => Ok(match passed {
                true => verdict.pass.clone(),
                false => verdict.fail.clone(),
            }),
            // The manifest's check refuses this.
            (None, None) => Ok(String::new()),
        }
    }

    /// Refuses slips that would show late: after a class has answered.
    pub(super) fn check(&self) -> Result<()> {
        let known = |choice: &String| self.choices.contains(choice);
        ensure!(self.ask.ends_with('?'), "it does not end with `?`");
        ensure!(!self.why.is_empty(), "it has no `why`");
        ensure!(self.choices.len() >= 2, "it has fewer than two choices");
        let different: BTreeSet<&String> = self.choices.iter().collect();
        let same = different.len() < self.choices.len();
        ensure!(!same, "two of its choices are the same");
        let answer = &self.answer;
        ensure!(
            known(answer),
            "its answer `{answer}` is not among its choices"
        );
        match (&self.count, &self.verdict) {
            (Some(count), None) => ensure!(!count.0.is_empty(), "its `count` names no field"),
            (None, Some(ByVerdict { pass, fail })) => {
                ensure!(pass != fail, "both verdicts are `{pass}`");
                for value in [pass, fail] {
                    ensure!(
                        known(value),
                        "its verdict `{value}` is not among its choices"
                    );
                }
            }
            _ => anyhow::bail!("it needs either `count` or `verdict`"),
        }
        Ok(())
    }
}

impl Count {
    /// How many lines of the journal have these values.
    fn in_journal(&self, journal: &str) -> Result<usize> {
        let mut count = 0;
        for line in journal.lines() {
            let line: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            let at = |field: &str| {
                let places = [Some(&line), line.get("args"), line.get("message")];
                places.into_iter().flatten().find_map(|at| at.get(field))
            };
            let counts = self.0.iter().all(|(field, value)| at(field) == Some(value));
            count += usize::from(counts);
        }
        Ok(count)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn question(rest: &str) -> Prediction {
        let json = format!(
            r#"{{"ask":"How many?","choices":["0","1","2"],"answer":"2","why":"So.","run":"x",{rest}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    #[test]
    fn lines_are_counted_by_fields_of_three_places() {
        let journal = r#"{"chapter":"02","check":"x","seed":1}
{"service":"a","method":"deliver","args":{"redelivered":true},"message":{"id":"m"}}
{"service":"a","method":"deliver","args":{"redelivered":false},"message":{"id":"m"}}
{"service":"a","method":"deliver","args":{"redelivered":true},"message":{"id":"n"}}
{"service":"b","method":"deliver","args":{"redelivered":true},"message":{"id":"m"}}
"#;
        let seen = |count: &str| {
            let asked = question(&format!(r#""count":{count}"#));
            asked.check().unwrap();
            asked.seen(journal, true).unwrap()
        };
        assert_eq!(seen(r#"{"method":"deliver"}"#), "4");
        assert_eq!(seen(r#"{"service":"a","redelivered":true}"#), "2");
        assert_eq!(seen(r#"{"id":"m","redelivered":true,"service":"a"}"#), "1");
        assert_eq!(seen(r#"{"redelivered":"true"}"#), "0");
        let asked = question(r#""count":{"method":"x"}"#);
        assert!(asked.seen("no JSON", true).is_err());
    }

    #[test]
    fn a_verdict_is_a_choice() {
        let asked = question(r#""verdict":{"pass":"2","fail":"0"}"#);
        asked.check().unwrap();
        assert_eq!(asked.seen("", true).unwrap(), "2");
        assert_eq!(asked.seen("", false).unwrap(), "0");
    }

    #[test]
    fn a_question_that_cannot_be_answered_is_refused() {
        let fails = |change: fn(&mut Prediction), says: &str| {
            let mut asked = question(r#""verdict":{"pass":"2","fail":"0"}"#);
            change(&mut asked);
            let error = asked.check().unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        };
        fails(|asked| asked.ask = "How many".to_owned(), "`?`");
        fails(|asked| asked.answer = "3".to_owned(), "`3`");
        fails(|asked| asked.choices[0] = "2".to_owned(), "the same");
        fails(|asked| asked.choices.truncate(1), "two choices");
        fails(|asked| asked.verdict = None, "either");
        fails(|asked| asked.count = Some(Count(BTreeMap::new())), "either");
        fails(
            |asked| {
                asked.verdict = None;
                asked.count = Some(Count(BTreeMap::new()));
            },
            "no field",
        );
        fails(
            |asked| asked.verdict.as_mut().unwrap().fail = "3".to_owned(),
            "`3`",
        );
    }
}
