//! Gets the answers: from a person at a terminal, or all at once from the command line.

use std::collections::VecDeque;
use std::io::{IsTerminal, Write, stdin};

use anstream::{eprintln, print};
use anyhow::{Context, Result};
use terminal::{NOTE, user_error};

/// Where the answers come from.
#[derive(Debug)]
pub struct Answers {
    given: Option<VecDeque<usize>>,
}

impl Answers {
    /// Those `given` on the command line, else those that a person types. `choices` has the number of
    /// choices of each question; `command` is what the person typed.
    ///
    /// # Errors
    /// When an answer is missing, too many or none of the choices, or nobody is there to answer.
    pub fn new(given: Option<&[usize]>, choices: &[usize], command: &str) -> Result<Self> {
        let example = vec!["1"; choices.len()].join(",");
        let example = format!("{command} --answers {example}, with your numbers");
        let Some(given) = given else {
            return match stdin().is_terminal() {
                true => Ok(Self { given: None }),
                false => Err(user_error(
                    "standard input is not a terminal, so nobody can answer here",
                    example,
                )),
            };
        };
        if given.len() != choices.len() {
            let (answers, questions) = (given.len(), choices.len());
            return Err(user_error(
                format!("{answers} answers were given to {questions} questions"),
                example,
            ));
        }
        for (index, (answer, count)) in given.iter().zip(choices).enumerate() {
            if !(1..=*count).contains(answer) {
                let question = index + 1;
                return Err(user_error(
                    format!("answer {question} is {answer}; its choices are 1 to {count}"),
                    example,
                ));
            }
        }
        Ok(Self {
            given: Some(given.iter().copied().collect()),
        })
    }

    /// The next answer, one of 1 to `count`, after `prompt`.
    ///
    /// # Errors
    /// When the terminal ends before the person has answered.
    pub fn next(&mut self, prompt: &str, count: usize) -> Result<usize> {
        print!("{prompt}, 1 to {count}: ");
        if let Some(given) = &mut self.given {
            let answer = given.pop_front().context("no answer is left")?;
            anstream::println!("{answer}");
            return Ok(answer);
        }
        loop {
            std::io::stdout().flush()?;
            let mut line = String::new();
            if stdin().read_line(&mut line).context("cannot read")? == 0 {
                anstream::println!();
                return Err(user_error(
                    "the input ended before the last answer; nothing is kept",
                    "type the command again",
                ));
            }
            match line.trim().parse() {
                Ok(answer) if (1..=count).contains(&answer) => return Ok(answer),
                _ => {
                    eprintln!("{NOTE}·{NOTE:#} type a number from 1 to {count}, then Enter");
                    print!("{prompt}, 1 to {count}: ");
                }
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn given_answers_fit_the_questions() {
        let new = |given: &[usize]| Answers::new(Some(given), &[2, 4], "just predict 02");
        let mut answers = new(&[2, 4]).unwrap();
        assert_eq!(answers.next("guess", 2).unwrap(), 2);
        assert_eq!(answers.next("guess", 4).unwrap(), 4);
        for wrong in [&[1][..], &[1, 1, 1], &[3, 1], &[0, 1]] {
            let error = new(wrong).unwrap_err();
            let error = error.downcast_ref::<terminal::UserError>();
            let command = "just predict 02 --answers 1,1";
            assert!(format!("{error:?}").contains(command), "{error:?}");
        }
    }
}
