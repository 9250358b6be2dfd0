//! That a publication will be possible: server, names, rights, room.

use drivetrain_pulp::{Distribution, Guard, Href, PulpError, Repository};
use serde_json::Value;

use super::labels::{self, MARK};
use super::signing::Signatures;
use super::target::PulpTarget;
use crate::{Address, Publication, PublishError, Record, Result};

/// What the server keeps free beside what is uploaded: its temporary files and its database.
const SPARE_BYTES: u64 = 32 << 20;

/// The kind of repositories that hold RPMs, as Pulp calls it.
const RPM_REPOSITORY: &str = "repositories/rpm/rpm";

/// A distribution that is there now.
pub(super) struct Made {
    pub(super) href: Href,
    /// Whether it certainly is as it was asked for; otherwise it may be somebody else's.
    pub(super) anew: bool,
}

impl PulpTarget {
    /// Before a build is paid for: that the server is there and knows us, and that nobody else has the names.
    pub(super) async fn ensure_possible(&self, address: &Address) -> Result<()> {
        self.client.capabilities().await?;
        self.own_repository(&address.repository).await?;
        self.service().await?;
        let distribution = self.distribution(&address.path).await?;
        self.require_own(address, distribution.as_ref()).await?;
        let guard = self.configured_guard().await?;
        self.client.access(guard.as_ref(), &self.url_of(&address.path).await?).await?;
        Ok(())
    }

    /// The repository of a name, where it is there and may be used.
    pub(super) async fn own_repository(&self, name: &str) -> Result<Option<Repository>> {
        let Some(repository) = self.rpm_repository(name).await? else { return Ok(None) };
        let in_the_way = |what: &str| {
            Err(PublishError::InTheWay {
                path: format!("the repository {name} of {}", self.client.server()),
                what: what.to_owned(),
            })
        };
        if repository.autopublish {
            return in_the_way(
                "one with autopublish: it would serve what is not proven. Turn that off for it",
            );
        }
        if repository.package_signing_service.is_some() {
            return in_the_way(
                "one with a package signing service: the server would serve other bytes than were proven. Take the \
                 service from it",
            );
        }
        let is_ours = repository.pulp_labels.contains_key(MARK) || self.options.adopt;
        if !is_ours && self.client.version(&repository.latest_version_href).await?.number > 0 {
            return in_the_way(
                "one that drivetrain did not make, and it has been used. What is in it would be replaced: choose \
                 another publish.pulp.repository, or take it over with publish.pulp.adopt",
            );
        }
        Ok(Some(repository))
    }

    /// The repository of a name; an error where another type of repository has it.
    async fn rpm_repository(&self, name: &str) -> Result<Option<Repository>> {
        let repository = self.client.repository(name).await?;
        if repository.is_some() {
            return Ok(repository);
        }
        match self.client.repository_kind(name).await? {
            None => Ok(None),
            // Somebody has made it just now.
            Some(kind) if kind == RPM_REPOSITORY => Ok(self.client.repository(name).await?),
            Some(kind) => Err(PublishError::InTheWay {
                path: format!("the repository {name} of {}", self.client.server()),
                what: format!("one of another type ({kind}). Choose another publish.pulp.repository"),
            }),
        }
    }

    /// The repository of a publication, made where it is not there.
    pub(super) async fn ensure_repository(&self, publication: &Publication) -> Result<Repository> {
        let name = &publication.address.repository;
        let record = self.record_of(publication, &Signatures::default());
        let mut persistence = self.persistence();
        loop {
            if let Some(repository) = self.own_repository(name).await? {
                self.client.label_repository(&repository, &labels::of_repository(&record)).await?;
                return Ok(repository);
            }
            let cell = &publication.cell;
            let description = format!(
                "{} {} for kernel {} ({})",
                publication.driver_name, cell.driver, cell.kernel, cell.train
            );
            let labels = labels::of_repository(&record);
            match self.client.create_repository(name, &labels, &description).await {
                Ok(repository) => return Ok(repository),
                Err(error) if is_taken(&error) => match self.client.repository(name).await? {
                    Some(_) => {}
                    None => {
                        return Err(self.hidden(&format!("a repository {name}"), "rpm.view_rpmrepository"));
                    }
                },
                // It may have been made all the same, or by somebody else just now: then it is found.
                Err(error) if persistence.allows(&error).await => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// A distribution that was not there, made. It may have been made though the answer was lost, or by somebody
    /// else just now: then it is found at its path.
    pub(super) async fn make_distribution(&self, name: &str, path: &str, more: &Value) -> Result<Made> {
        let mut persistence = self.persistence();
        loop {
            let error = match self.client.create_distribution(name, path, more.clone()).await {
                Ok(href) => return Ok(Made { href, anew: true }),
                Err(error) => error,
            };
            if let Some(there) = self.client.distribution(path).await? {
                return Ok(Made { href: there.pulp_href, anew: false });
            }
            if is_taken(&error) {
                return Err(
                    self.hidden(&format!("a distribution {name} or at {path}"), "rpm.view_rpmdistribution")
                );
            }
            if !persistence.allows(&error).await {
                return Err(error.into());
            }
        }
    }

    /// Of a name that is taken by something that this user does not see.
    pub(super) fn hidden(&self, what: &str, permission: &'static str) -> PublishError {
        PublishError::InTheWay {
            path: format!("{what} of {}", self.client.server()),
            what: format!(
                "there and cannot be seen by this user, who lacks the permission {permission} on it"
            ),
        }
    }

    pub(super) fn record_of(&self, publication: &Publication, signatures: &Signatures) -> Record {
        Record {
            driver_name: publication.driver_name.clone(),
            cell: publication.cell.clone(),
            lock: publication.lock,
            run: publication.run.clone(),
            made: publication.change.at,
            packages: publication.rpms.len(),
            verdicts: publication.verdicts,
            lockstep: publication.lockstep.clone(),
            signed_by: signatures.packages.clone(),
            metadata_signed_by: signatures.metadata(),
            keys: Some(signatures.keys.clone().into_iter().collect()),
        }
    }

    /// That a distribution at an address is drivetrain's, or not there; and its name as well.
    pub(super) async fn require_own(&self, address: &Address, there: Option<&Distribution>) -> Result<()> {
        let in_the_way = |path: String, what: String| Err(PublishError::InTheWay { path, what });
        let server = self.client.server();
        let Some(distribution) = there else {
            return match self.client.distribution_called(&address.distribution).await? {
                None => Ok(()),
                Some(other) => in_the_way(
                    format!("the distribution {} of {server}", other.name),
                    format!(
                        "one of another path, {}. Choose another publish.pulp.distribution or layout",
                        other.base_path
                    ),
                ),
            };
        };
        if distribution.pulp_labels.contains_key(MARK)
            || distribution.pulp_labels.contains_key(labels::PENDING)
            || self.options.adopt
        {
            return Ok(());
        }
        in_the_way(
            format!("the distribution {} of {server} at {}", distribution.name, address.path),
            "one that drivetrain did not make. Choose another publish.pulp.layout, or take it over with \
             publish.pulp.adopt"
                .to_owned(),
        )
    }

    /// The content guard that is configured.
    pub(super) async fn guard(&self) -> Result<Option<Href>> {
        Ok(self.configured_guard().await?.map(|guard| guard.pulp_href))
    }

    async fn configured_guard(&self) -> Result<Option<Guard>> {
        let Some(name) = &self.options.guard else { return Ok(None) };
        match self.client.guard(name).await? {
            Some(guard) => Ok(Some(guard)),
            None => Err(PublishError::InTheWay {
                path: format!("publish.pulp.content_guard {name}"),
                what: format!(
                    "not on {}, or cannot be seen by this user. `pulp content-guard list` shows those that are",
                    self.client.server()
                ),
            }),
        }
    }

    /// That there is room for what will be uploaded, where the server says how much it has.
    pub(super) async fn require_room(&self, needed: u64) -> Result<()> {
        let free = self.client.status().await?.storage().and_then(|storage| storage.free);
        match free {
            Some(free) if free < needed + SPARE_BYTES => Err(PublishError::ServerFull {
                server: self.client.server(),
                needed: needed + SPARE_BYTES,
                free,
            }),
            _ => Ok(()),
        }
    }

    /// What the server failed at, looked into: a full disk is a 500 like any other.
    pub(super) async fn explained(&self, error: PulpError, needed: u64) -> PublishError {
        if matches!(error, PulpError::Broken { .. } | PulpError::Task { .. })
            && let Err(full @ PublishError::ServerFull { .. }) = self.require_room(needed).await
        {
            return full;
        }
        error.into()
    }
}

/// Whether a name or path is taken by another object.
pub(super) fn is_taken(error: &PulpError) -> bool {
    error.refusal().is_some_and(|said| said.contains("must be unique"))
}
