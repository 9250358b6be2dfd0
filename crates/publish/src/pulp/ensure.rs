//! That a publication will be possible: server, names, rights, room.

use drivetrain_pulp::{Distribution, Guard, Href, PulpError, Repository};

use super::labels::{self, MARK};
use super::target::PulpTarget;
use super::transaction::{TRIES, pause};
use crate::{Address, Publication, PublishError, Record, Result};

/// What the server keeps free beside what is uploaded: its temporary files and its database.
const SPARE_BYTES: u64 = 32 << 20;

impl PulpTarget {
    /// Before a build is paid for: that the server is there and knows us, and that nobody else has the names.
    pub(super) async fn ensure_possible(&self, address: &Address) -> Result<()> {
        self.client.capabilities().await?;
        self.own_repository(&address.repository).await?;
        let distribution = self.distribution(&address.path).await?;
        self.require_own(address, distribution.as_ref()).await?;
        let guard = self.configured_guard().await?;
        self.client.access(guard.as_ref(), &self.url_of(&address.path).await?).await?;
        Ok(())
    }

    /// The repository of a name, where it is there and may be used.
    pub(super) async fn own_repository(&self, name: &str) -> Result<Option<Repository>> {
        let Some(repository) = self.client.repository(name).await? else {
            return match self.client.repository_kind(name).await? {
                None => Ok(None),
                Some(kind) => Err(PublishError::InTheWay {
                    path: format!("the repository {name} of {}", self.client.server()),
                    what: format!("one of another type ({kind}). Choose another publish.pulp.repository"),
                }),
            };
        };
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

    /// The repository of a publication, made where it is not there.
    pub(super) async fn ensure_repository(&self, publication: &Publication) -> Result<Repository> {
        let name = &publication.address.repository;
        let record = self.record_of(publication);
        let mut tries = 0;
        loop {
            tries += 1;
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
                // It may have been made all the same, or by somebody else just now: then it is found.
                Err(error) if error.is_transient() && tries < TRIES => pause().await,
                Err(error) if is_taken(&error) => match self.client.repository(name).await? {
                    Some(_) => {}
                    None => {
                        return Err(self.hidden(&format!("a repository {name}"), "rpm.view_rpmrepository"));
                    }
                },
                Err(error) => return Err(error.into()),
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

    pub(super) fn record_of(&self, publication: &Publication) -> Record {
        Record {
            driver_name: publication.driver_name.clone(),
            cell: publication.cell.clone(),
            lock: publication.lock,
            run: publication.run.clone(),
            made: publication.change.at,
            packages: publication.rpms.len(),
            verdicts: publication.verdicts,
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
