//! The plan of a run: the proofs, and what to build for them.

use std::sync::Arc;

use anyhow::Result;
use command::crates::Crates;
use course::chapter::Chapter;
use course::manifest::{Prediction, ServiceManifest};
use course::mutants::{Mutant, RightAnswer, TimingMutant};
use course::paths::Paths;

use super::checks::Checks;
use super::crates::{self, Answer};
use super::run::Verdict;
use super::rungs::{self, Rung};
use super::search::Search;
use super::table::Table;

/// The proofs of a run, and what to build for them.
pub struct Plan {
    /// What to build; `Proof::needs` has their indices.
    pub products: Vec<Product>,
    /// The selected proofs.
    pub proofs: Vec<Proof>,
    /// How many proofs are not selected.
    pub left_out: usize,
    /// The table to fill, where one is asked for.
    pub table: Option<Table>,
}

/// Something to build.
pub struct Product {
    /// Its name for the status line, with the chapter's number.
    pub name: String,
    /// Builds it.
    pub build: Box<dyn Fn() -> Result<()> + Send + Sync>,
}

/// A whole run of checks, a search and a compiler keep both cores busy. A single check waits far more than it
/// works.
const WHOLE_RUN: usize = 2;
const ONE_CHECK: usize = 1;
pub const A_BUILD: usize = 2;

/// Something to prove.
pub struct Proof {
    /// Its name, with the chapter's number.
    pub name: String,
    /// The products that it needs, as indices into the plan.
    pub needs: Vec<usize>,
    /// How much it loads the machine.
    pub load: usize,
    /// Runs it.
    pub attempt: Box<dyn Fn() -> Result<Verdict> + Send + Sync>,
}

impl Plan {
    /// The proofs of all chapters whose names are `wanted`. The later chapters come first, because they
    /// have more mutants.
    pub fn new(paths: &Paths, wanted: impl Fn(&str) -> bool) -> Result<Self> {
        let mut plan = Self {
            products: Vec::new(),
            proofs: Vec::new(),
            left_out: 0,
            table: std::env::var_os("LAB_TABLE").map(|_| Table::default()),
        };
        let mut crates = Crates::new(paths, paths.data().join("proofs/crates"))?;
        for chapter in Chapter::all(&paths.root)?.iter().rev() {
            plan.chapter(paths, chapter, &mut crates, &wanted)?;
        }
        crates.write()?;
        Ok(plan)
    }

    fn chapter(
        &mut self,
        paths: &Paths,
        chapter: &Chapter,
        crates: &mut Crates,
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<()> {
        let number = &chapter.number;
        let checks = Arc::new(Checks::new(paths, chapter));
        let built = checks.clone();
        let checks_built = self.product(format!("{number}'s solution and checks"), move || {
            built.build()
        });

        let name = format!("{number} solution");
        if self.is_wanted(&name, wanted) {
            let checks = checks.clone();
            self.proof(name, &[checks_built], move || checks.pass());
        }

        self.ladder(paths, chapter, crates, (&checks, checks_built), wanted)?;

        let mutants = Mutant::all(chapter)?;
        let right = RightAnswer::all(chapter)?;
        let timing = TimingMutant::all(chapter)?;
        self.count(number, "six mutants", mutants.len() >= 6, wanted);
        self.count(number, "four variants", right.len() >= 4, wanted);
        self.count(number, "three timing mutants", timing.len() >= 3, wanted);

        let questions = ServiceManifest::of(&paths.root, chapter)?.predict;
        let mut asked: Vec<(String, Prediction)> = Vec::new();
        for (index, question) in questions.into_iter().enumerate() {
            let name = format!("{number} prediction {}", index + 1);
            if self.is_wanted(&name, wanted) {
                asked.push((name, question));
            }
        }

        // What to prove of which answer, and what to build for that.
        let of_mutant = |mutant: &Mutant| format!("{number} mutant {}", mutant.file);
        let of_right = |right: &RightAnswer| format!("{number} variant {}", right.file);
        let mut answers = Vec::new();
        let mut caught = Vec::new();
        for mutant in &mutants {
            let is = self.is_wanted(&of_mutant(mutant), wanted);
            caught.extend(is.then_some(mutant));
            let name = Some(&mutant.file);
            if is || asked.iter().any(|(_, asked)| asked.mutant.as_ref() == name) {
                answers.push(Answer {
                    name: mutant.file.clone(),
                    patch: mutant.path.clone(),
                });
            }
        }
        let mut accepted = Vec::new();
        for right in &right {
            if self.is_wanted(&of_right(right), wanted) {
                accepted.push(right);
                answers.push(Answer {
                    name: as_right(&right.file),
                    patch: right.path.clone(),
                });
            }
        }
        let mut searched = Vec::new();
        for mutant in &timing {
            if self.is_wanted(&format!("{number} timing {}", mutant.file), wanted) {
                searched.push(mutant.clone());
                answers.push(Answer {
                    name: as_timing(&mutant.file),
                    patch: mutant.path.clone(),
                });
            }
        }
        let built = match answers.is_empty() {
            true => None,
            false => {
                let all = answers.len() == mutants.len() + right.len() + timing.len();
                let package = crates::answers(crates, chapter, &answers, all)?;
                let what = format!("{number}'s mutants and variants");
                Some((self.packages(what, crates, package.clone()), package))
            }
        };
        let program = |name: &str| match &built {
            Some((product, package)) => {
                let link = crates::as_variant(paths, crates, package, name)?;
                Ok((*product, link))
            }
            None => anyhow::bail!("no other answer is built"),
        };

        if !searched.is_empty() {
            let search = Arc::new(Search::new(paths, chapter));
            let own = search.clone();
            let search_built = self.product(format!("{number}'s search"), move || own.build());
            // A chapter's first one shows that a search makes small what it has found.
            let first = timing.first().map(|mutant| mutant.file.clone());
            for mutant in searched {
                let shrink = first.as_ref() == Some(&mutant.file);
                let (built, program) = program(&as_timing(&mutant.file))?;
                let (search, name) = (search.clone(), format!("{number} timing {}", mutant.file));
                self.proof(name, &[search_built, built], move || {
                    search.finds(&mutant, &program, shrink)
                });
            }
        }
        for right in accepted {
            let name = as_right(&right.file);
            let (built, program) = program(&name)?;
            let checks = checks.clone();
            self.proof(of_right(right), &[checks_built, built], move || {
                checks.accept(&name, &program)
            });
        }
        for mutant in caught {
            let (built, program) = program(&mutant.file)?;
            let (checks, table, mutant) = (checks.clone(), self.table.clone(), mutant.clone());
            let (name, needs) = (of_mutant(&mutant), [checks_built, built]);
            match table {
                Some(table) => {
                    self.proof(name, &needs, move || checks.lead(&mutant, &program, &table))
                }
                None => self.light(name, &needs, move || checks.catch(&mutant, &program)),
            }
        }
        for (name, question) in asked {
            let mut needs = vec![checks_built];
            let mut wrong = None;
            if let Some(mutant) = &question.mutant {
                if !mutants.iter().any(|known| known.file == *mutant) {
                    let no = format!("there is no mutant {mutant}");
                    self.light(name, &[], move || Ok(Verdict::Refuted(no.clone())));
                    continue;
                }
                let (built, program) = program(mutant)?;
                needs.push(built);
                wrong = Some(program);
            }
            let folder = name.split_once(' ').unwrap_or_default().1.replace(' ', "-");
            let checks = checks.clone();
            self.light(name, &needs, move || {
                checks.foretell(&question, &folder, wrong.as_deref())
            });
        }
        Ok(())
    }

    /// A proof that the chapter has enough other answers.
    fn count(&mut self, number: &str, what: &str, has: bool, wanted: &impl Fn(&str) -> bool) {
        let name = format!("{number} has {what} at least");
        if self.is_wanted(&name, wanted) {
            self.light(name, &[], move || {
                Ok(match has {
                    true => Verdict::Proved,
                    false => Verdict::Refuted("it has fewer".to_owned()),
                })
            });
        }
    }

    /// A proof for each rung of the chapter's ladder.
    fn ladder(
        &mut self,
        paths: &Paths,
        chapter: &Chapter,
        crates: &mut Crates,
        (checks, checks_built): (&Arc<Checks>, usize),
        wanted: &impl Fn(&str) -> bool,
    ) -> Result<()> {
        let name = |rung: &Rung| match rung.filled {
            0 => format!("{} pristine", chapter.number),
            filled => format!("{} ladder {filled}", chapter.number),
        };
        let mut rungs = rungs::write(paths, chapter)?;
        rungs.retain(|rung| self.is_wanted(&name(rung), wanted));
        if rungs.is_empty() {
            return Ok(());
        }
        let package = crates::ladder(crates, chapter, &rungs)?;
        let what = format!("{}'s ladder", chapter.number);
        let built = self.packages(what, crates, package.clone());
        for rung in rungs {
            let program = crates::as_variant(paths, crates, &package, &rung.name())?;
            let checks = checks.clone();
            self.proof(name(&rung), &[checks_built, built], move || {
                checks.lead_to_the_next_hole(&rung, &program)
            });
        }
        Ok(())
    }

    fn is_wanted(&mut self, name: &str, wanted: &impl Fn(&str) -> bool) -> bool {
        let is = wanted(name);
        self.left_out += usize::from(!is);
        is
    }

    fn packages(&mut self, name: String, crates: &Crates, package: String) -> usize {
        let crates = crates.clone();
        self.product(name, move || crates.build(&package))
    }

    fn product(
        &mut self,
        name: String,
        build: impl Fn() -> Result<()> + Send + Sync + 'static,
    ) -> usize {
        self.products.push(Product {
            name,
            build: Box::new(build),
        });
        self.products.len() - 1
    }

    /// Adds a proof that takes a whole run of checks, or a search.
    fn proof(
        &mut self,
        name: String,
        needs: &[usize],
        attempt: impl Fn() -> Result<Verdict> + Send + Sync + 'static,
    ) {
        self.light(name, needs, attempt);
        if let Some(proof) = self.proofs.last_mut() {
            proof.load = WHOLE_RUN;
        }
    }

    /// Adds a proof that takes one check at most.
    fn light(
        &mut self,
        name: String,
        needs: &[usize],
        attempt: impl Fn() -> Result<Verdict> + Send + Sync + 'static,
    ) {
        self.proofs.push(Proof {
            name,
            needs: needs.to_vec(),
            load: ONE_CHECK,
            attempt: Box::new(attempt),
        });
    }
}

/// The name of a timing mutant's program.
fn as_timing(file: &str) -> String {
    format!("timing-{file}")
}

/// The name of a right answer's program: a mutant may have the same file name.
fn as_right(file: &str) -> String {
    format!("right-{file}")
}
