//! One binary a chapter; its first argument is the role it plays.

use std::future::Future;
use std::process::ExitCode;

use anyhow::Result;

/// The role that the first argument names, with logging set up in its name.
///
/// # Errors
/// Exit code 2 when there is no such role; the roles are then listed on standard error.
pub fn from_args(roles: &[&'static str]) -> Result<&'static str, ExitCode> {
    let wanted = std::env::args().nth(1);
    match choose(roles, wanted.as_deref()) {
        Ok(role) => {
            crate::logging::init(role);
            Ok(role)
        }
        Err(usage) => {
            eprintln!("{usage}");
            Err(ExitCode::from(2))
        }
    }
}

/// Runs `role` with its log set up under `name`, and gives the program's exit code: 0, or 1
/// with the error logged on one line, causes and all.
pub async fn run(name: impl Into<String>, role: impl Future<Output = Result<()>>) -> ExitCode {
    crate::logging::init(name);
    exit_code(role.await)
}

/// Exit code 0, or 1 with the error logged on one line, causes and all.
#[must_use]
pub fn exit_code(outcome: Result<()>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("{}", crate::logging::causes(&error));
            ExitCode::FAILURE
        }
    }
}

fn choose(roles: &[&'static str], wanted: Option<&str>) -> Result<&'static str, String> {
    let found = roles.iter().find(|role| Some(**role) == wanted);
    found.copied().ok_or_else(|| {
        let problem = match wanted {
            Some(other) => format!("there is no role {other:?}"),
            None => "the first argument must be a role".to_owned(),
        };
        format!("{problem}; the roles are:\n  {}", roles.join("\n  "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLES: &[&str] = &["history", "video-streaming"];

    #[test]
    fn a_wrong_role_lists_the_roles() {
        assert_eq!(choose(ROLES, Some("history")), Ok("history"));
        let wrong = choose(ROLES, Some("histroy")).expect_err("misspelt");
        let none = choose(ROLES, None).expect_err("none given");
        assert!(
            wrong.contains("\"histroy\"") && wrong.ends_with(":\n  history\n  video-streaming")
        );
        assert!(none.ends_with(":\n  history\n  video-streaming"));
    }
}
