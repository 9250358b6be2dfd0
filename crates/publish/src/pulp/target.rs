//! [`PulpTarget`].

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use drivetrain_model::Sha256Digest;
use drivetrain_pulp::Client;
use tokio::runtime::Handle;

use crate::{
    Address, Change, Check, Depth, HistoryEntry, Listed, Outcome, Promoted, Promotion, Publication,
    RepositoryPath, Result, RolledBack, Served, Signing, Target,
};

/// How a [`PulpTarget`] behaves.
pub struct PulpOptions {
    /// How many versions of a repository stay beside those that are served or can be gone back to; no fewer than 2.
    pub keep: u32,
    /// Packages larger than this are sent in chunks of this size, in bytes, unless the first of them shows that the line
    /// takes them whole in good time.
    pub chunk: u64,
    /// Whether repositories and distributions that drivetrain did not make may be taken over.
    pub adopt: bool,
    /// The name of the content guard that distributions get.
    pub guard: Option<String>,
    /// The name of the server's signing service that signs metadata.
    pub signing_service: Option<String>,
    /// Who this is, among those that publish to the server: what a killed process of this name left is swept.
    pub client_name: String,
    /// Is told what is being done. Some of it is measured to the byte, so it should be quick.
    pub progress: Box<dyn Fn(PulpStep) + Send + Sync>,
}

impl Default for PulpOptions {
    fn default() -> Self {
        Self {
            keep: 5,
            chunk: 32 << 20,
            adopt: false,
            guard: None,
            signing_service: None,
            client_name: format!("process {}", std::process::id()),
            progress: Box::new(|_| ()),
        }
    }
}

impl fmt::Debug for PulpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PulpOptions")
            .field("keep", &self.keep)
            .field("chunk", &self.chunk)
            .field("adopt", &self.adopt)
            .field("guard", &self.guard)
            .field("signing_service", &self.signing_service)
            .field("client_name", &self.client_name)
            .finish_non_exhaustive()
    }
}

/// What a publication is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PulpStep {
    /// Looking at the packages here: checksums, and that they are whole.
    Look,
    /// Asking the server what it has.
    Compare,
    /// Packages are on their way.
    Upload {
        /// How many have arrived.
        files: usize,
        /// Of how many.
        of_files: usize,
        /// How many bytes have arrived.
        bytes: u64,
        /// Of how many.
        of_bytes: u64,
    },
    /// Making the repository version.
    Version,
    /// Writing its metadata.
    Publish,
    /// Reading it back.
    ReadBack,
    /// Serving it: the one step.
    Flip,
    /// Removing versions that are no longer kept, and what was for staging.
    Retain,
}

impl PulpStep {
    /// In words, as the beginning of a sentence.
    #[must_use]
    pub fn words(&self) -> &'static str {
        match self {
            Self::Look => "checking the packages",
            Self::Compare => "comparing with what the server has",
            Self::Upload { .. } => "uploading",
            Self::Version => "making the repository version",
            Self::Publish => "publishing its metadata",
            Self::ReadBack => "reading it back as a consumer",
            Self::Flip => "pointing the distribution to it",
            Self::Retain => "removing versions that are no longer kept",
        }
    }
}

/// Driver repositories on a Pulp server.
///
/// Its methods block, and must not be called on a thread that drives the runtime.
#[derive(Debug)]
pub struct PulpTarget {
    pub(super) client: Client,
    runtime: Handle,
    pub(super) options: PulpOptions,
    signs: OnceLock<Signing>,
}

impl PulpTarget {
    /// Takes a server as target. Asks it nothing yet.
    #[must_use]
    pub fn new(client: Client, runtime: Handle, options: PulpOptions) -> Self {
        Self { client, runtime, options, signs: OnceLock::new() }
    }

    /// Says with which key all packages are signed that are handed over, but for those that others have signed. Whoever
    /// only asks what is served need not have it.
    pub fn packages_are_signed(&self, with: Signing) {
        // A second key there is not: it would be another target.
        drop(self.signs.set(with));
    }

    pub(super) fn signer(&self) -> Option<&Signing> {
        self.signs.get()
    }

    /// The client.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn tell(&self, step: PulpStep) {
        (self.options.progress)(step);
    }
}

impl Target for PulpTarget {
    fn ensure(&self, address: &Address) -> Result<()> {
        self.runtime.block_on(self.ensure_possible(address))
    }

    fn publish(&self, publication: &Publication) -> Result<Outcome> {
        self.runtime.block_on(self.transact(publication))
    }

    fn settle(&self, path: &RepositoryPath, _change: &Change) -> Result<()> {
        self.runtime.block_on(self.settle_all(path))
    }

    fn rollback(&self, path: &RepositoryPath, to: Option<u64>, change: &Change) -> Result<RolledBack> {
        self.runtime.block_on(self.go_back(path, to, change))
    }

    fn held_back(&self, path: &RepositoryPath, lock: Sha256Digest) -> Result<Option<HistoryEntry>> {
        self.runtime.block_on(self.way_back(path, lock))
    }

    fn state(&self, path: &RepositoryPath) -> Result<Option<Served>> {
        self.runtime.block_on(self.state_of(path))
    }

    fn promote(&self, promotions: &[Promotion], change: &Change) -> Result<Vec<Promoted>> {
        self.runtime.block_on(self.promote_all(promotions, change))
    }

    fn check(&self, path: &RepositoryPath, depth: Depth) -> Result<Check> {
        self.runtime.block_on(self.check_served(path, depth))
    }

    fn packages(&self, path: &RepositoryPath, into: &Path) -> Result<Vec<PathBuf>> {
        self.runtime.block_on(self.bring(path, into))
    }

    fn history(&self, path: &RepositoryPath) -> Result<Vec<HistoryEntry>> {
        self.runtime.block_on(self.changes(path))
    }

    fn repo_file(&self) -> &'static str {
        "config.repo"
    }

    fn url(&self, path: &RepositoryPath) -> Result<String> {
        self.runtime.block_on(self.url_of(path))
    }

    fn list(&self) -> Result<Vec<Listed>> {
        self.runtime.block_on(self.all())
    }
}
