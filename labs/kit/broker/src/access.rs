//! What an administrator sets up before services log in as separate users: exchanges and queues from
//! a file, a user for each role, and the rights that the program itself prints for these users.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use process::output_of;
use rand::distr::{Alphanumeric, SampleString};
use serde::Deserialize;
use serde_json::Value;

use crate::Broker;

/// The role of a program that prints the rights of its users.
const RIGHTS: &str = "rights";

/// How long to wait for the rights. Printing takes milliseconds; a program that does something else
/// may never end.
const PATIENCE: Duration = Duration::from_secs(10);

/// A user of the broker.
#[derive(Clone)]
pub struct Login {
    /// The name.
    pub user: String,
    /// The password. Never shown by `Debug`.
    pub password: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Login").field("user", &self.user).finish()
    }
}

impl Login {
    /// A login with this name and a random password.
    #[must_use]
    pub fn generate(user: impl Into<String>) -> Self {
        Self {
            user: user.into(),
            password: Alphanumeric.sample_string(&mut rand::rng(), 24),
        }
    }

    /// The environment of a service that logs in with it at `host:port`.
    #[must_use]
    pub fn environment(&self, host: &str, port: u16, vhost: &str) -> BTreeMap<String, String> {
        let variables = [
            ("BROKER_HOST", host.to_owned()),
            ("BROKER_PORT", port.to_string()),
            ("BROKER_VHOST", vhost.to_owned()),
            ("BROKER_USER", self.user.clone()),
            ("BROKER_PASSWORD", self.password.clone()),
        ];
        variables
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

/// Which names a user may use, as RabbitMQ's regular expressions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Grant {
    /// To declare and delete.
    pub configure: String,
    /// To publish, and to bind to.
    pub write: String,
    /// To consume, and to bind from.
    pub read: String,
}

/// The rights of each role.
pub type Grants = BTreeMap<String, Grant>;

/// Runs `program` in the role `rights`, and reads the rights that it prints for its users.
///
/// # Errors
/// When it cannot be started, does not end with exit code 0, or prints something else.
pub async fn ask(program: &Path) -> Result<Grants> {
    let said = output_of(program, &[RIGHTS], PATIENCE).await;
    let said = said.with_context(|| format!("cannot ask for `{RIGHTS}`"))?;
    let words = String::from_utf8_lossy(&said.stderr);
    let words = words.trim();
    ensure!(said.status.success(), "`{RIGHTS}` failed: {words}");
    serde_json::from_slice(&said.stdout).with_context(|| {
        let printed = String::from_utf8_lossy(&said.stdout);
        format!("`{RIGHTS}` printed no rights: {}", printed.trim())
    })
}

/// The users of one vhost, by role.
#[derive(Debug, Clone)]
pub struct Access {
    vhost: String,
    logins: BTreeMap<String, Login>,
}

impl Access {
    /// Sets up `vhost`, which must exist. Imports the file `topology`, and creates a user
    /// `<vhost>.<role>` for each role that `program` names, with the rights that it prints.
    /// Passwords are generated once and kept in the file `kept`: running services can still log in
    /// after a second call.
    ///
    /// # Errors
    /// When a file cannot be read or written, the program prints no rights (see [`ask`]), or the
    /// broker refuses.
    pub async fn open(
        broker: &Broker,
        vhost: &str,
        topology: &Path,
        program: &Path,
        kept: &Path,
    ) -> Result<Self> {
        import(broker, vhost, topology).await?;
        let grants = ask(program).await?;
        let passwords = passwords(kept, grants.keys())?;
        let mut logins = BTreeMap::new();
        for (role, grant) in grants {
            let login = Login {
                user: format!("{vhost}.{role}"),
                password: passwords[&role].clone(),
            };
            admit(broker, vhost, &login, &grant).await?;
            logins.insert(role, login);
        }
        let vhost = vhost.to_owned();
        Ok(Self { vhost, logins })
    }

    /// The environment of a service that logs in as the user of `role`.
    ///
    /// # Errors
    /// When the program named no such role.
    pub fn environment(
        &self,
        role: &str,
        host: &str,
        port: u16,
    ) -> Result<BTreeMap<String, String>> {
        let login = self.logins.get(role);
        let login = login.with_context(|| format!("`{RIGHTS}` names no user `{role}`"))?;
        Ok(login.environment(host, port, &self.vhost))
    }

    /// The users, by role.
    #[must_use]
    pub fn logins(&self) -> &BTreeMap<String, Login> {
        &self.logins
    }
}

/// Imports the definitions in the file `topology` into `vhost`.
///
/// # Errors
/// When the file cannot be read or the broker refuses.
pub async fn import(broker: &Broker, vhost: &str, topology: &Path) -> Result<()> {
    let text = std::fs::read(topology);
    let text = text.with_context(|| format!("cannot read {}", topology.display()))?;
    let definitions: Value = serde_json::from_slice(&text)
        .with_context(|| format!("{} is not JSON", topology.display()))?;
    broker.import(vhost, &definitions).await
}

/// Creates the user, or changes its password, with exactly these rights in `vhost`.
///
/// # Errors
/// When the broker refuses.
pub async fn admit(broker: &Broker, vhost: &str, login: &Login, grant: &Grant) -> Result<()> {
    broker.create_user(&login.user, &login.password).await?;
    let rights = [&*grant.configure, &*grant.write, &*grant.read];
    broker.permit(&login.user, vhost, rights).await
}

/// A password for each of `roles`, from the file. Generates the missing ones and adds them to it.
fn passwords<'a>(
    file: &Path,
    roles: impl Iterator<Item = &'a String>,
) -> Result<BTreeMap<String, String>> {
    let mut all: BTreeMap<String, String> = match std::fs::read(file) {
        // A kill may have cut it short: then new passwords do.
        Ok(text) => serde_json::from_slice(&text).unwrap_or_default(),
        Err(error) if error.kind() == ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).context(format!("cannot read {}", file.display())),
    };
    let known = all.len();
    for role in roles {
        let new = || Login::generate(role).password;
        all.entry(role.clone()).or_insert_with(new);
    }
    if all.len() > known {
        write_private(file, &serde_json::to_vec_pretty(&all)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(all)
}

fn write_private(file: &Path, text: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(file)?;
    file.write_all(text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use proof::Scratch;

    /// A program that prints `text` and ends with `code`, whatever its arguments.
    fn program(scratch: &Scratch, text: &str, code: u8) -> std::path::PathBuf {
        let path = scratch.path().join("program");
        let script = format!("#!/bin/sh\necho '{text}'\necho oh >&2\nexit {code}\n");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    fn asked(text: &str, code: u8) -> Result<Grants> {
        let scratch = Scratch::new("access");
        let program = program(&scratch, text, code);
        actix_web::rt::System::new().block_on(ask(&program))
    }

    #[test]
    fn a_program_prints_the_rights_of_its_users() {
        let grants = asked(
            r#"{"producer":{"configure":"^$","write":"^messages$","read":"^$"}}"#,
            0,
        );
        assert_eq!(grants.unwrap()["producer"].write, "^messages$");
        let error = asked("{}", 1).unwrap_err().to_string();
        assert_eq!(error, "`rights` failed: oh");
        let error = asked("nothing", 0).unwrap_err().to_string();
        assert_eq!(error, "`rights` printed no rights: nothing");
    }

    #[test]
    fn passwords_are_generated_once_and_kept_in_a_private_file() {
        let scratch = Scratch::new("passwords");
        let file = scratch.path().join("logins.json");
        let roles = ["producer".to_owned(), "consumer".to_owned()];
        let first = passwords(&file, roles[..1].iter()).unwrap();
        let both = passwords(&file, roles.iter()).unwrap();
        assert_eq!(first["producer"], both["producer"]);
        assert_ne!(both["producer"], both["consumer"]);
        assert!(both["consumer"].len() >= 24);
        let mode = std::fs::metadata(&file).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(passwords(&file, roles.iter()).unwrap(), both);
    }

    #[test]
    fn a_login_is_five_variables_and_its_password_is_not_shown() {
        let login = Login::generate("lab-07.producer");
        let variables = login.environment("broker", 5672, "lab-07");
        assert_eq!(variables.len(), 5);
        assert_eq!(variables["BROKER_USER"], "lab-07.producer");
        assert_eq!(variables["BROKER_PASSWORD"], login.password);
        assert!(!format!("{login:?}").contains(&login.password));
    }
}
