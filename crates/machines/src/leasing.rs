//! A machine from the moment that it is asked for until it is gone.

use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::CancellationToken;
use drivetrain_model::RunId;
use fs_err as fs;
use jiff::Timestamp;

use crate::book::{Entry, LeaseBook};
use crate::{
    Destroyed, Lease, LeaseId, Login, MachineError, Made, Order, Provider, Result, USER_KEY, make_identity,
};

/// How often something that cannot be removed is tried again, and after how long.
const TRIES: u32 = 4;
const PAUSE: Duration = Duration::from_secs(2);

/// A machine that was made, and how to get in.
#[derive(Debug, Clone)]
pub struct Leased {
    /// Its lease.
    pub lease: Lease,
    /// Where it answers, and what was made for it.
    pub made: Made,
    /// The private key to log in with, on this host.
    pub key: Utf8PathBuf,
    /// The key that it shows: type and base64.
    pub host_key: String,
    /// An empty configuration for ssh: what a user has configured is for hosts that the user knows.
    pub config: Utf8PathBuf,
}

/// Writes the lease down, and asks for the machine.
///
/// # Errors
/// Those of the provider. What was made until then is there: [`give_back`] removes it.
pub async fn take(
    provider: &dyn Provider,
    book: &LeaseBook,
    lease: Lease,
    notice: &(dyn Fn(&str) + Send + Sync),
    cancel: &CancellationToken,
) -> Result<Leased> {
    let mut entry = Entry { lease: lease.clone(), provider: provider.name(), kept: false, ssh: None };
    book.write(&entry)?;
    let keys = book.keys(&lease.id);
    let identity = make_identity(&keys).await?;
    let host_key = identity.host_public_key.clone();
    let order = Order { lease, identity };
    let made = provider.make(&order, notice, cancel).await?;
    let key = keys.join(USER_KEY);
    entry.ssh = Some(command(&made, &key, &host_key, &keys)?);
    book.write(&entry)?;
    let config = keys.join("ssh_config");
    fs::write(&config, "").map_err(MachineError::file("write", &config))?;
    Ok(Leased { lease: order.lease, made, key, host_key, config })
}

/// What a person types to get in. The key that the machine shows is in a file beside ours.
fn command(made: &Made, key: &Utf8Path, host_key: &str, keys: &Utf8Path) -> Result<String> {
    let Login { address, port, user } = &made.login;
    let known = keys.join("known_hosts");
    fs::write(&known, format!("[{address}]:{port} {host_key}\n{address} {host_key}\n"))
        .map_err(MachineError::file("write", &known))?;
    Ok(format!("ssh -i {key} -o UserKnownHostsFile={known} -p {port} {user}@{address}"))
}

/// Removes everything of a lease, and forgets it. What does not go at first is tried again.
///
/// # Errors
/// Where something is still there after several tries.
pub async fn give_back(provider: &dyn Provider, book: &LeaseBook, lease: &LeaseId) -> Result<Destroyed> {
    let mut destroyed = Destroyed::default();
    let mut tries = 0;
    loop {
        tries += 1;
        match provider.destroy(lease).await {
            Ok(more) => {
                destroyed.resources.extend(more.resources);
                book.forget(lease)?;
                return Ok(destroyed);
            }
            Err(error) if tries == TRIES => return Err(error),
            Err(_) => tokio::time::sleep(PAUSE * tries).await,
        }
    }
}

/// What became of a lease that nobody needs.
#[derive(Debug)]
pub struct Reaped {
    /// Which.
    pub lease: Lease,
    /// Why nobody needs it.
    pub why: &'static str,
    /// What was removed, or why it could not be.
    pub result: Result<Destroyed>,
}

/// Removes what nobody needs any more: what has expired, whoever made it, by what is noted on it alone; and what was
/// made for runs of this state directory that have ended, unless it was kept. Everything else is left alone.
///
/// # Errors
/// Where the provider cannot be asked what there is.
pub async fn reap(
    provider: &dyn Provider,
    book: &LeaseBook,
    now: Timestamp,
    is_alive: &(dyn Fn(&RunId) -> bool + Send + Sync),
) -> Result<Vec<Reaped>> {
    book.forget_unreadable();
    let known = book.entries();
    let of_ours = |id: &LeaseId| known.iter().find(|entry| entry.lease.id == *id);
    let why = |lease: &Lease| {
        if lease.is_expired(now) {
            return Some("it has expired");
        }
        let entry = of_ours(&lease.id)?;
        (!entry.kept && !is_alive(&entry.lease.run)).then_some("its run has ended")
    };
    let found = provider.list().await?;
    let mut leases: Vec<Lease> = found.into_iter().map(|found| found.lease).collect();
    // What was written down and is not found: either never made, or gone. The record goes by the same rule.
    let name = provider.name();
    for entry in known.iter().filter(|entry| entry.provider == name) {
        if !leases.iter().any(|lease| lease.id == entry.lease.id) {
            leases.push(entry.lease.clone());
        }
    }
    let mut reaped = Vec::new();
    for lease in leases {
        if let Some(why) = why(&lease) {
            let result = give_back(provider, book, &lease.id).await;
            reaped.push(Reaped { lease, why, result });
        }
    }
    Ok(reaped)
}
