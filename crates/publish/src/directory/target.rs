//! [`DirectoryTarget`].

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use drivetrain_model::Sha256Digest;
use fs_err as fs;
use url::Url;

use super::build::{self, How, Kept, carry, look, same_packages, sync_directories};
use super::check::check;
use super::files::{make_directory, names, remove_tree, sync};
use super::flip::{flip, settle_link};
use super::lock::Lock;
use super::places::{HIDDEN, Places, read_manifest};
use super::probe::{probe, sweep_probes};
use super::promote::{Intent, finish};
use super::retain::{discard, kept};
use super::settle::{is_settled, settle};
use crate::{
    Accept, Action, Address, Change, Check, Depth, HistoryEntry, Listed, Manifest, Outcome, Promoted,
    Promotion, Publication, PublishError, Published, Record, RepositoryPath, Result, RolledBack, Served,
    Signing, Target, VersionInfo, history,
};

/// How a [`DirectoryTarget`] behaves.
pub struct DirectoryOptions {
    /// The URL under which consumers see the root; `None` where they read it as files.
    pub base_url: Option<Url>,
    /// How many versions of a repository stay, the served one included; no fewer than 2.
    pub keep: u32,
    /// How long to wait while somebody else is publishing.
    pub patience: Duration,
    /// Whether to make hard links where they can be had. Without them every version is a copy.
    pub links: bool,
    /// Signs the metadata of all that is made.
    pub signing: Option<Signing>,
    /// Is told what is being done.
    pub progress: Box<dyn Fn(Step) + Send + Sync>,
}

impl Default for DirectoryOptions {
    fn default() -> Self {
        Self {
            base_url: None,
            keep: 5,
            patience: Duration::from_secs(300),
            links: true,
            signing: None,
            progress: Box::new(|_| ()),
        }
    }
}

impl fmt::Debug for DirectoryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DirectoryOptions")
            .field("base_url", &self.base_url)
            .field("keep", &self.keep)
            .field("patience", &self.patience)
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// What a publication is doing, each told as it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Waiting for other publishers.
    Lock,
    /// Bringing in order what an earlier process left.
    Settle,
    /// Making the version's files.
    Build,
    /// Adding the files of the versions before, for consumers that read those.
    Carry,
    /// Reading all of it back.
    Check,
    /// Waiting until it is on disk.
    Sync,
    /// Giving the version its number.
    Name,
    /// Serving it: the one step.
    Flip,
    /// Noting the change.
    Note,
    /// Removing versions that are no longer kept.
    Retain,
}

/// A directory below which driver repositories are published. See the crate's text for what is where, and how a web server has to
/// serve it.
#[derive(Debug)]
pub struct DirectoryTarget {
    root: PathBuf,
    options: DirectoryOptions,
}

impl DirectoryTarget {
    /// Whether something was published below a directory, or prepared to be; asks without making anything.
    #[must_use]
    pub fn is_at(root: &Path) -> bool {
        root.join(HIDDEN).is_dir()
    }

    /// Takes a directory as target; it is made where it is not there, but not the directories above it.
    ///
    /// # Errors
    /// Where it cannot be made, or its hidden directory cannot.
    pub fn open(root: &Path, options: DirectoryOptions) -> Result<Self> {
        if !root.exists() {
            make_directory(root)?;
        }
        // From here on every part of every path below it is looked at: the root itself may be a link.
        let root = fs::canonicalize(root)?;
        make_directory(&root.join(HIDDEN))?;
        Ok(Self { root, options })
    }

    /// The directory.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The manifest of the version that is served.
    ///
    /// # Errors
    /// Where nothing is served, or it cannot be read.
    pub fn manifest(&self, path: &RepositoryPath) -> Result<Manifest> {
        let places = Places::new(&self.root, path);
        let version = places.served()?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        places.manifest(version)
    }

    fn url_of(&self, path: &RepositoryPath) -> String {
        match &self.options.base_url {
            Some(base) => format!("{}/{path}/", base.as_str().trim_end_matches('/')),
            None => match Url::from_directory_path(self.root.join(path.to_path())) {
                Ok(url) => url.into(),
                Err(()) => format!("file://{}/{path}/", self.root.display()),
            },
        }
    }

    /// What can be told of a repository, and why not more.
    fn look(&self, path: &RepositoryPath) -> Listed {
        let places = Places::new(&self.root, path);
        let mut problem = None;
        let on_disk = known(places.on_disk(), &mut problem).unwrap_or_default();
        let version = known(places.served(), &mut problem).flatten();
        let manifest = version.and_then(|version| known(places.manifest(version), &mut problem));
        let entries = known(history::read(&places.history()), &mut problem).unwrap_or_default();
        let last = entries.into_iter().rfind(|entry| Some(entry.version) == version);
        let since = last.map(|entry| entry.at).or_else(|| manifest.as_ref().map(|manifest| manifest.made));
        let versions = on_disk
            .into_iter()
            .map(|number| VersionInfo {
                version: number,
                made: places.manifest(number).ok().map(|manifest| manifest.made),
                served: Some(number) == version,
            })
            .collect();
        let record = manifest.as_ref().map(Record::from);
        let served = Served { path: path.clone(), version, since, record, versions, url: self.url_of(path) };
        Listed { served, problem }
    }

    fn tell(&self, step: Step) {
        (self.options.progress)(step);
    }

    fn lock(&self, change: &Change) -> Result<Lock> {
        self.tell(Step::Lock);
        let path = self.root.join(HIDDEN).join(".lock");
        let lock = Lock::take(&self.root, &path, change, self.options.patience)?;
        // Several that were to change together, of which some did: the others follow before anything else is done.
        finish(&self.root)?;
        Ok(lock)
    }

    fn publish_locked(&self, places: &Places, publication: &Publication) -> Result<Outcome> {
        match self.prepare(places, publication)? {
            Prepared::Unchanged(version) => Ok(Outcome::Unchanged { version }),
            Prepared::Ready(ready) => {
                self.tell(Step::Flip);
                if let Err(error) = flip(places, ready.manifest.version) {
                    // That this fails too is not worth hiding the error for: the next publication settles it.
                    drop(discard(places, ready.manifest.version));
                    return Err(error);
                }
                Ok(Outcome::Published(self.conclude(places, *ready, Action::Publish, &publication.change)))
            }
        }
    }

    /// Makes a version, whole and checked, that nobody sees yet.
    fn prepare(&self, places: &Places, publication: &Publication) -> Result<Prepared> {
        self.tell(Step::Settle);
        places.make()?;
        let served = settle(places, &publication.change)?;
        let incoming = look(publication)?;
        let mut known = BTreeMap::new();
        if let Some(version) = served
            && let Ok(manifest) = places.manifest(version)
            && manifest.lock == publication.lock
            && same_packages(&manifest, &incoming)
        {
            let more = publication.verdicts.is_some_and(|new| new.tell_more_than(manifest.verdicts.as_ref()));
            if !more {
                return Ok(Prepared::Unchanged(version));
            }
            known = evidence(&places.version(version), &manifest)?;
        }
        // What the version before was proven by holds for the same packages.
        known.extend(publication.evidence.clone());
        let publication = &Publication { evidence: known, ..publication.clone() };

        let entries = history::read(&places.history())?;
        let on_disk = places.on_disk()?;
        let highest = entries.iter().map(|entry| entry.version).chain(on_disk.iter().copied()).max();
        let version = highest.unwrap_or(0) + 1;
        let must_stay: Vec<u64> = served.into_iter().collect();
        // The new version is one of those that are kept.
        let stay = kept(&on_disk, self.options.keep.max(2) - 1, &must_stay);
        let others = self.others(places, stay.iter().copied());

        let incoming_directory = places.incoming();
        let url = self.url_of(&publication.address.path);
        self.tell(Step::Build);
        let links = self.options.links;
        let how = How { url: &url, links, signing: self.options.signing.as_ref() };
        let manifest = build::build(&incoming_directory, version, publication, &incoming, &others, &how)?;
        self.tell(Step::Carry);
        // Where links cannot be had each version carried is a full copy: the one before has to be enough.
        let carried = if links { &others[..] } else { self.latest(&others, served) };
        carry(&incoming_directory, &manifest, carried, links)?;
        self.tell(Step::Check);
        let listed = check(&incoming_directory, &manifest)?.1;
        publication.accept.judge(&listed).map_err(|what| PublishError::Verification {
            path: publication.address.path.clone(),
            version,
            what,
        })?;
        self.tell(Step::Sync);
        sync_directories(&incoming_directory)?;
        self.tell(Step::Name);
        fs::rename(&incoming_directory, places.version(version))?;
        sync(&places.versions())?;
        let outdated = on_disk.into_iter().filter(|old| !stay.contains(old)).collect();
        Ok(Prepared::Ready(Box::new(Ready { manifest, served, outdated, url })))
    }

    /// After the step: it is served, and what goes wrong now is told, and is no failure.
    fn conclude(&self, places: &Places, ready: Ready, action: Action, change: &Change) -> Published {
        let Ready { manifest, served, outdated, url } = ready;
        let mut warnings = Vec::new();
        if let Err(error) = settle_link(places) {
            warnings.push(format!("whether the change is on disk is not known: {error}"));
        }
        self.tell(Step::Note);
        let entry = HistoryEntry::new(action, change, manifest.version, served, &manifest.run);
        if let Err(error) = history::append(&places.history(), &entry) {
            warnings.push(format!("the change could not be noted: {error}"));
        }
        self.tell(Step::Retain);
        let mut removed = Vec::new();
        for old in outdated {
            match discard(places, old) {
                Ok(()) => removed.push(old),
                Err(error) => warnings.push(format!("version {old} could not be removed: {error}")),
            }
        }
        Published {
            version: manifest.version,
            previous: served,
            repomd: manifest.repomd,
            packages: manifest.packages.len(),
            url,
            removed,
            warnings,
        }
    }

    /// What is served at one place, as a publication at another.
    fn republication(&self, promotion: &Promotion, change: &Change) -> Result<Publication> {
        let places = Places::new(&self.root, &promotion.from);
        let version = places.served()?.ok_or_else(|| PublishError::NotServed(promotion.from.clone()))?;
        let (directory, manifest) = (places.version(version), places.manifest(version)?);
        let keys = self.keys_of(&promotion.from, &directory, &manifest)?;
        let evidence = evidence(&directory, &manifest)?;
        Ok(Publication {
            address: promotion.to.clone(),
            driver_name: manifest.driver_name,
            cell: manifest.cell,
            rpms: manifest.packages.iter().map(|package| directory.join(&package.file.location)).collect(),
            evidence,
            consumers: promotion.consumers.clone(),
            keys,
            lock: manifest.lock,
            run: manifest.run,
            verdicts: manifest.verdicts,
            lockstep: manifest.lockstep,
            replace: true,
            accept: Accept::default(),
            change: change.clone(),
        })
    }

    /// The keys that a version serves beside the one that it is signed with.
    fn keys_of(&self, path: &RepositoryPath, directory: &Path, manifest: &Manifest) -> Result<String> {
        let Some(signed) = &manifest.signed else { return Ok(String::new()) };
        let Some(signing) = &self.options.signing else {
            return Err(PublishError::NoKey { path: path.clone(), key: signed.by.clone() });
        };
        let keys = fs::read_to_string(directory.join(crate::repofile::KEYS))?;
        // Its own is written anew; one that has been replaced since has to stay, for the packages are signed with it.
        let own = signing.public.trim_end();
        Ok(keys.strip_prefix(own).map_or(keys.as_str(), str::trim_start).to_owned())
    }

    fn promote_locked(&self, promotions: &[Promotion], change: &Change) -> Result<Vec<Promoted>> {
        let mut prepared = Vec::new();
        for promotion in promotions {
            let publication = self.republication(promotion, change)?;
            let places = Places::new(&self.root, &promotion.to.path);
            prepared.push((self.prepare(&places, &publication)?, places));
        }
        let mut intent = Intent::default();
        for (ready, places) in &prepared {
            if let Prepared::Ready(ready) = ready {
                intent.add(places, ready.manifest.version, ready.served);
            }
        }
        self.tell(Step::Flip);
        intent.carry_out(&self.root)?;
        let done = promotions.iter().zip(prepared).map(|(promotion, (prepared, places))| {
            let path = promotion.to.path.clone();
            let url = self.url_of(&path);
            match prepared {
                Prepared::Unchanged(version) => {
                    Promoted { path, previous: Some(version), version, unchanged: true, url }
                }
                Prepared::Ready(ready) => {
                    let published = self.conclude(&places, *ready, Action::Promote, change);
                    Promoted {
                        path,
                        previous: published.previous,
                        version: published.version,
                        unchanged: false,
                        url,
                    }
                }
            }
        });
        let done = done.collect();
        Intent::forget(&self.root)?;
        Ok(done)
    }

    fn rollback_locked(
        &self,
        places: &Places,
        path: &RepositoryPath,
        to: Option<u64>,
        change: &Change,
    ) -> Result<RolledBack> {
        self.tell(Step::Settle);
        let from = settle(places, change)?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        let there = places.on_disk()?;
        let to = match to {
            Some(version) if there.contains(&version) => version,
            Some(version) => return Err(PublishError::NoSuchVersion { path: path.clone(), version, there }),
            None => self
                .before(places, from, &there)?
                .ok_or_else(|| PublishError::NothingBefore { path: path.clone(), version: from })?,
        };
        if to == from {
            return Ok(RolledBack { from, to });
        }
        let directory = places.version(to);
        let manifest = read_manifest(&directory)?;
        self.tell(Step::Carry);
        let others = self.others(places, there.into_iter().filter(|version| *version != to));
        let carried = if self.options.links { &others[..] } else { self.latest(&others, Some(from)) };
        carry(&directory, &manifest, carried, self.options.links)?;
        self.tell(Step::Check);
        check(&directory, &manifest)?;
        self.tell(Step::Sync);
        sync_directories(&directory)?;
        self.tell(Step::Flip);
        flip(places, to)?;
        settle_link(places)?;
        self.tell(Step::Note);
        let entry = HistoryEntry::new(Action::Rollback, change, to, Some(from), &manifest.run);
        history::append(&places.history(), &entry)?;
        Ok(RolledBack { from, to })
    }

    /// The version that was served before this one, and is still there.
    fn before(&self, places: &Places, served: u64, there: &[u64]) -> Result<Option<u64>> {
        let entries = history::read(&places.history())?;
        let noted = entries.iter().rev().map(|entry| entry.version).filter(|version| *version < served);
        let older = there.iter().rev().copied().filter(|version| *version < served);
        Ok(noted.chain(older).find(|version| there.contains(version)))
    }

    /// Versions with their manifests. One whose manifest cannot be read has nothing that could be carried.
    fn others(&self, places: &Places, versions: impl Iterator<Item = u64>) -> Vec<Kept> {
        versions
            .filter_map(|version| {
                let directory = places.version(version);
                read_manifest(&directory).ok().map(|manifest| Kept { directory, manifest })
            })
            .collect()
    }

    fn latest<'a>(&self, others: &'a [Kept], served: Option<u64>) -> &'a [Kept] {
        let position = others.iter().position(|other| Some(other.manifest.version) == served);
        position.map_or(&[], |position| &others[position..=position])
    }

    /// Finds repositories below a hidden directory. Directories only: a link is none of ours there.
    fn find(&self, directory: &Path, path: &str, found: &mut Vec<RepositoryPath>) -> Result<()> {
        for name in names(directory)? {
            let below = directory.join(&name);
            if name == ".versions" {
                found.extend(RepositoryPath::parse(path).ok());
            } else if !name.starts_with('.') && fs::symlink_metadata(&below)?.is_dir() {
                let path = if path.is_empty() { name } else { format!("{path}/{name}") };
                // A path too long to be one ends the search there.
                if RepositoryPath::parse(&path).is_ok() {
                    self.find(&below, &path, found)?;
                }
            }
        }
        Ok(())
    }
}

/// A version in the making.
enum Prepared {
    /// It is served already.
    Unchanged(u64),
    /// It is whole, and not served yet.
    Ready(Box<Ready>),
}

struct Ready {
    manifest: Manifest,
    /// What is served until it is.
    served: Option<u64>,
    /// Versions that are not kept once it is.
    outdated: Vec<u64>,
    url: String,
}

/// The evidence of a version.
fn evidence(directory: &Path, manifest: &Manifest) -> Result<BTreeMap<String, Vec<u8>>> {
    let of = |file: &crate::ManifestFile| {
        let name = file.location.strip_prefix("evidence/").unwrap_or(&file.location);
        Ok((name.to_owned(), fs::read(directory.join(&file.location))?))
    };
    manifest.evidence.iter().map(of).collect()
}

/// What could be read; the first thing that could not is kept.
fn known<T>(read: Result<T>, problem: &mut Option<PublishError>) -> Option<T> {
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            problem.get_or_insert(error);
            None
        }
    }
}

impl Target for DirectoryTarget {
    fn ensure(&self, address: &Address) -> Result<()> {
        let places = Places::new(&self.root, &address.path);
        let ensure = || {
            places.make()?;
            sweep_probes(&places)?;
            for directory in [places.versions(), places.link_directory()] {
                probe(&directory)?;
            }
            Ok(())
        };
        ensure().map_err(|error: PublishError| error.in_directory(&self.root))
    }

    fn publish(&self, publication: &Publication) -> Result<Outcome> {
        let _lock = self.lock(&publication.change)?;
        let places = Places::new(&self.root, &publication.address.path);
        self.publish_locked(&places, publication).map_err(|error| {
            // That this fails too is not worth hiding the first error for: the next publication settles it.
            drop(remove_tree(&places.incoming()));
            error.in_directory(&self.root)
        })
    }

    fn settle(&self, path: &RepositoryPath, change: &Change) -> Result<()> {
        let places = Places::new(&self.root, path);
        if is_settled(&places)? && !Intent::is_there(&self.root) {
            return Ok(());
        }
        let _lock = self.lock(change)?;
        self.tell(Step::Settle);
        settle(&places, change).map(drop).map_err(|error| error.in_directory(&self.root))
    }

    fn rollback(&self, path: &RepositoryPath, to: Option<u64>, change: &Change) -> Result<RolledBack> {
        let _lock = self.lock(change)?;
        let places = Places::new(&self.root, path);
        self.rollback_locked(&places, path, to, change).map_err(|error| error.in_directory(&self.root))
    }

    fn promote(&self, promotions: &[Promotion], change: &Change) -> Result<Vec<Promoted>> {
        let _lock = self.lock(change)?;
        self.promote_locked(promotions, change).map_err(|error| error.in_directory(&self.root))
    }

    /// Reads all of it, whatever the depth: it is at hand.
    fn check(&self, path: &RepositoryPath, _depth: Depth) -> Result<Check> {
        let places = Places::new(&self.root, path);
        let version = places.served()?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        Ok(check(&places.version(version), &places.manifest(version)?)?.0)
    }

    fn packages(&self, path: &RepositoryPath, _into: &Path) -> Result<Vec<PathBuf>> {
        let places = Places::new(&self.root, path);
        let version = places.served()?.ok_or_else(|| PublishError::NotServed(path.clone()))?;
        let (directory, manifest) = (places.version(version), places.manifest(version)?);
        check(&directory, &manifest)?;
        Ok(manifest.packages.iter().map(|package| directory.join(&package.file.location)).collect())
    }

    fn history(&self, path: &RepositoryPath) -> Result<Vec<HistoryEntry>> {
        history::read(&Places::new(&self.root, path).history())
    }

    fn repo_file(&self) -> &'static str {
        crate::repofile::FILE
    }

    fn url(&self, path: &RepositoryPath) -> Result<String> {
        Ok(self.url_of(path))
    }

    fn held_back(&self, path: &RepositoryPath, lock: Sha256Digest) -> Result<Option<HistoryEntry>> {
        let places = Places::new(&self.root, path);
        let entries = history::read(&places.history())?;
        // A version whose manifest is gone has no lock that anything could be compared with.
        let made_from_lock =
            |version: u64| places.manifest(version).is_ok_and(|manifest| manifest.lock == lock);
        let found = history::ways_back(&entries).find(|entry| entry.from.is_some_and(made_from_lock));
        Ok(found.cloned())
    }

    fn state(&self, path: &RepositoryPath) -> Result<Option<Served>> {
        let Listed { served, problem } = self.look(path);
        match problem {
            Some(problem) => Err(problem),
            None if served.version.is_none() && served.versions.is_empty() => Ok(None),
            None => Ok(Some(served)),
        }
    }

    fn list(&self) -> Result<Vec<Listed>> {
        let mut paths = Vec::new();
        self.find(&self.root.join(HIDDEN), "", &mut paths)?;
        paths.sort();
        let listed = paths.iter().map(|path| self.look(path));
        Ok(listed.filter(|listed| listed.problem.is_some() || !listed.served.versions.is_empty()).collect())
    }
}
