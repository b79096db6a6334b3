//! The plan of a run: the proofs, and what to build for them.

use std::sync::Arc;

use anyhow::Result;
use course::chapter::Chapter;
use course::paths::Paths;

use super::checks::Checks;
use super::crates::Crates;
use super::mutant::Mutant;
use super::run::Verdict;

/// The proofs of a run, and what to build for them.
pub struct Plan {
    /// What to build; `Proof::needs` has their indices.
    pub products: Vec<Product>,
    /// The selected proofs.
    pub proofs: Vec<Proof>,
    /// How many proofs are not selected.
    pub left_out: usize,
}

/// Something to build.
pub struct Product {
    /// Its name for the status line, with the chapter's number.
    pub name: String,
    /// Builds it.
    pub build: Box<dyn Fn() -> Result<()> + Send + Sync>,
}

/// Something to prove.
pub struct Proof {
    /// Its name, with the chapter's number.
    pub name: String,
    /// The products that it needs, as indices into the plan.
    pub needs: Vec<usize>,
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
        };
        let mut crates = Crates::new(paths)?;
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

        let name = format!("{number} pristine");
        if self.is_wanted(&name, wanted) {
            let package = crates.pristine(chapter)?;
            let program = crates.program(&package);
            let what = format!("{number}'s pristine lab");
            let lab_built = self.packages(what, crates, package);
            let checks = checks.clone();
            self.proof(name, &[checks_built, lab_built], move || {
                checks.fail_at_first_hole(&program)
            });
        }

        let mut mutants = Mutant::all(chapter)?;
        let count = mutants.len();
        let name = format!("{number} has six mutants at least");
        if self.is_wanted(&name, wanted) {
            self.proof(name, &[], move || {
                Ok(match count >= 6 {
                    true => Verdict::Proved,
                    false => Verdict::Refuted(format!("it has {count}")),
                })
            });
        }

        let of = |mutant: &Mutant| format!("{number} mutant {}", mutant.file);
        mutants.retain(|mutant| self.is_wanted(&of(mutant), wanted));
        if mutants.is_empty() {
            return Ok(());
        }
        let package = crates.mutants(chapter, &mutants, mutants.len() == count)?;
        let what = format!("{number}'s mutants");
        let mutants_built = self.packages(what, crates, package.clone());
        for mutant in mutants {
            let program = crates.as_mutant(&package, &mutant)?;
            let checks = checks.clone();
            self.proof(of(&mutant), &[checks_built, mutants_built], move || {
                checks.catch(&mutant, &program)
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

    fn proof(
        &mut self,
        name: String,
        needs: &[usize],
        attempt: impl Fn() -> Result<Verdict> + Send + Sync + 'static,
    ) {
        self.proofs.push(Proof {
            name,
            needs: needs.to_vec(),
            attempt: Box::new(attempt),
        });
    }
}
