//! A train that is read from the site's Kayobe configuration: `train.kayobe`.

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use camino::Utf8Path;
use drivetrain_config::{KayobeTrain, Secret, Secretive, SiteValue, SiteValues, VaultPassword};
use drivetrain_kayobe::{Derived, DerivedValue, KayobeError, Layers, Password, Request, Variables};
use fs_err as fs;

/// A password is one line.
const MAX_PASSWORD: u64 = 64 * 1024;

/// Reads what a site's configuration says, but for what is given.
pub fn read(train: &KayobeTrain, given: &dyn Fn(&str) -> bool) -> Result<SiteValues, String> {
    let said = |error: KayobeError| error.to_string();
    let layers = Layers::find(&train.path, train.environment.as_deref()).map_err(said)?;
    let password = train.vault_password.as_ref().map(password).transpose()?;
    let known = drivetrain_kayobe::given(&layers, &train.release, &train.arch);
    let environment = |name: &str| std::env::var(name).ok();
    let variables = Variables::read(&layers, password, &environment, known).map_err(said)?;
    // A login that is given need not be decrypted.
    let given = |key: &str| given(key) || train.has_login && is_login(key);
    let request = Request {
        release: &train.release,
        arch: &train.arch,
        repositories: train.repositories.as_deref(),
        given: &given,
    };
    let site = drivetrain_kayobe::derive(&variables, &request).map_err(said)?;
    Ok(SiteValues {
        identity: identity(&layers),
        values: site.values.into_iter().map(value).collect(),
        notes: site.notes,
        absent: site.absent.into_iter().map(|absent| (absent.key, absent.looked_for)).collect(),
    })
}

fn is_login(key: &str) -> bool {
    key.starts_with("train.repositories.") && (key.ends_with(".username") || key.ends_with(".password"))
}

fn value(derived: Derived) -> SiteValue {
    SiteValue {
        key: derived.key,
        value: match derived.value {
            DerivedValue::Plain(text) => Secretive::Plain(text),
            DerivedValue::Secret(text) => Secretive::Secret(Secret::new(text)),
        },
        variable: derived.origin.variable,
        place: derived.origin.place.to_string(),
        chain: derived.chain.iter().map(ToString::to_string).collect(),
    }
}

fn password(from: &VaultPassword) -> Result<Password, String> {
    let (text, what) = match from {
        VaultPassword::Given(secret) => (secret.expose().to_owned(), "the vault's password".to_owned()),
        VaultPassword::File(path) => (password_file(path)?, format!("the password file {path}")),
    };
    Password::new(&text).ok_or_else(|| format!("{what} is empty"))
}

fn password_file(path: &Utf8Path) -> Result<String, String> {
    use std::io::Read as _;
    let unreadable = |error: std::io::Error| format!("the vault's password cannot be read: {error}");
    let file = fs::File::open(path).map_err(unreadable)?;
    // Ansible would run it, and take what it prints.
    if file.metadata().map_err(unreadable)?.permissions().mode() & 0o111 != 0 {
        return Err(format!(
            "the password file {path} is executable, and so a program to Ansible, which drivetrain does not run: put what \
             it prints into an environment variable, and name that in train.kayobe.vault_password"
        ));
    }
    let mut text = String::new();
    file.take(MAX_PASSWORD).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}

/// The checkout, as git calls its state.
fn identity(layers: &Layers) -> String {
    let checkout = &layers.checkout;
    let state = describe(checkout).map_or_else(|| "not in git".to_owned(), |state| format!("at {state}"));
    match layers.environments.last() {
        Some(environment) => format!("{checkout}, {state}, environment {environment}"),
        None => format!("{checkout}, {state}"),
    }
}

/// `2024.1-37-g25386a8e`, with `-dirty` where something was changed since.
fn describe(checkout: &Utf8Path) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(checkout)
        .args(["describe", "--always", "--tags", "--dirty", "--abbrev=12"])
        .env_remove("GIT_DIR")
        .env_remove("GIT_WORK_TREE")
        // It is only looked at.
        .env("GIT_OPTIONAL_LOCKS", "0")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let text = text.trim();
    (output.status.success() && !text.is_empty() && text.len() <= 200).then(|| text.to_owned())
}
