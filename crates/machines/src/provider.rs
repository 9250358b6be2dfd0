//! Who makes machines.

use std::fmt;

use drivetrain_host::{BoxFuture, CancellationToken};

use crate::{Lease, LeaseId, Result};

/// Something that was made: a server, a volume, a port, a floating IP, a keypair, a process, a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resource {
    /// What it is, as its provider calls it: `server`, `volume`.
    pub kind: &'static str,
    /// Its id there.
    pub id: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.kind, self.name, self.id)
    }
}

/// How to log in to a machine, and how to know it: both made for one lease, and of no use after it.
#[derive(Clone)]
pub struct Identity {
    /// The public half of the key to log in with, as a line of `authorized_keys`.
    pub user_key: String,
    /// The private half of the key that the machine shows, in OpenSSH's format; given to the machine with its user
    /// data, so that it is known at the first connection.
    pub host_key: String,
    /// The public half of it: type and base64.
    pub host_public_key: String,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity").field("user_key", &self.user_key).finish_non_exhaustive()
    }
}

/// What is asked for.
#[derive(Debug, Clone)]
pub struct Order {
    /// The lease: already written down.
    pub lease: Lease,
    /// How to get in.
    pub identity: Identity,
}

/// Where a machine answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Name or address.
    pub address: String,
    /// TCP port of its sshd.
    pub port: u16,
    /// The user that the key is for.
    pub user: String,
}

/// A machine that was made. It may still be booting.
#[derive(Debug, Clone)]
pub struct Made {
    /// Where it will answer.
    pub login: Login,
    /// All that was made for it.
    pub resources: Vec<Resource>,
}

/// A lease that was found by what is noted on its resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The lease.
    pub lease: Lease,
    /// What there is of it.
    pub resources: Vec<Resource>,
}

/// What was removed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Destroyed {
    /// All that was there, and is not any more: asked for again after it was removed.
    pub resources: Vec<Resource>,
}

impl Destroyed {
    /// What it was, each in words.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        self.resources.iter().map(ToString::to_string).collect()
    }
}

/// Who makes machines.
///
/// Every resource carries its lease's [tags](Lease::tags) from the request that makes it: there is no moment at which
/// something exists and cannot be found. Where a kind of resource has no tags, its name has the lease and the expiry.
pub trait Provider: Send + Sync + fmt::Debug {
    /// A person's name for it: `QEMU on this host`, `OpenStack at https://…, project builders`.
    fn name(&self) -> String;

    /// Looks at all that a machine needs (image, flavor, network, quota), makes nothing, and says what a machine would
    /// be, a line each.
    ///
    /// # Errors
    /// Where something is missing: what, where, and what there is instead.
    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>>;

    /// What a machine begins from, in a form that changes when that does.
    ///
    /// # Errors
    /// Where it is not there.
    fn image(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(async move { Ok(self.check().await?.join("\n")) })
    }

    /// Makes a machine. `notice` is told what takes long. After an error, or where this is dropped, what was made so
    /// far is still there, and [`Provider::destroy`] finds it.
    ///
    /// # Errors
    /// In words that say whether it is the configuration, a quota, a lack of room, or the provider's fault.
    fn make<'a>(
        &'a self,
        order: &'a Order,
        notice: &'a (dyn Fn(&str) + Send + Sync),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Made>>;

    /// All that drivetrain made here and is still there, whoever made it, by tags alone.
    ///
    /// # Errors
    /// Where the provider cannot be asked.
    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>>>;

    /// Removes everything of one lease, in whatever state, and asks again until it is gone. Nothing being there is
    /// success.
    ///
    /// # Errors
    /// Where something is still there at the end: which resource, and why.
    fn destroy<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Destroyed>>;

    /// What the machine has said on its console, for when it does not answer; as much of the end as is useful.
    ///
    /// # Errors
    /// Where the provider has none.
    fn console<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<String>>;
}
