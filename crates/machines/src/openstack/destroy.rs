//! Removing a machine, until nothing of it is there.

use std::time::{Duration, Instant};

use super::client::{Ask, Backoff, Client, Service};
use super::problem::{Failed, Fault};
use super::survey::{self, FLOATING_IP, PORT, SERVER, VOLUME};
use crate::{Destroyed, LeaseId, MachineError, Resource, Result};

/// How long one resource is waited for before all of the lease are looked at again, and asked to go again.
const ROUND: Duration = Duration::from_secs(30);

/// One lease being removed.
pub(super) struct Destroying<'a> {
    pub(super) client: &'a Client,
    pub(super) provider: &'a str,
    pub(super) lease: &'a LeaseId,
}

impl Destroying<'_> {
    /// Removes round by round, until a look at everything finds nothing.
    pub(super) async fn destroy(&self) -> Result<Destroyed> {
        let started = Instant::now();
        let mut destroyed = Destroyed::default();
        let mut backoff = Backoff::new(self.client.patience.service);
        loop {
            let there = survey::of_lease(self.client, self.lease).await;
            let there = there.map_err(|failed| failed.of(self.provider))?;
            let Some(first) = there.first() else { return Ok(destroyed) };
            let mut problem = None;
            for resource in &there {
                if let Err(failed) = self.remove(resource).await {
                    // Others may go all the same; the first that does not is the one that is told of.
                    problem.get_or_insert((resource, failed));
                }
                if !destroyed.resources.contains(resource) {
                    destroyed.resources.push(resource.clone());
                }
            }
            let hopeless = problem.as_ref().is_some_and(|(_, failed)| is_hopeless(failed));
            let over = started.elapsed() > self.client.patience.service;
            if hopeless || over || !backoff.wait(None).await {
                let still = "it is still there".to_owned();
                let (resource, why) =
                    problem.map_or((first, still), |(resource, failed)| (resource, failed.why()));
                return Err(self.remains(resource, why));
            }
        }
    }

    fn remains(&self, resource: &Resource, why: String) -> MachineError {
        MachineError::Remains {
            lease: self.lease.to_string(),
            resource: format!("{resource} of {}", self.provider),
            why,
        }
    }

    /// Asks for one to go, and waits for it. Already gone is gone.
    async fn remove(&self, resource: &Resource) -> Result<(), Failed> {
        let (service, path) = place(resource);
        let doing = format!("remove the {resource}");
        match self.client.ask(&Ask::delete(&doing, service, path.clone())).await {
            Ok(_) => {}
            Err(failed) if failed.is_absent() => return Ok(()),
            // It may be busy: the next round finds how that ended.
            Err(failed) => return Err(failed),
        }
        self.gone(&doing, service, &path).await
    }

    async fn gone(&self, doing: &str, service: Service, path: &str) -> Result<(), Failed> {
        let mut backoff = Backoff::new(ROUND.min(self.client.patience.service));
        loop {
            match self.client.ask(&Ask::get(doing, service, path)).await {
                Ok(value) if survey::is_gone(&value[SERVER]) => return Ok(()),
                Ok(_) => {}
                Err(failed) if failed.is_absent() => return Ok(()),
                Err(failed) => return Err(failed),
            }
            if !backoff.wait(None).await {
                let what = "it was asked to go, and is still there".to_owned();
                return Err(Failed { doing: doing.to_owned(), fault: Fault::Nonsense(what) });
            }
        }
    }
}

/// What more time does not help against.
fn is_hopeless(failed: &Failed) -> bool {
    matches!(failed.status(), Some(401 | 403)) || matches!(failed.fault, Fault::Login(_))
}

fn place(resource: &Resource) -> (Service, String) {
    let id = &resource.id;
    match resource.kind {
        FLOATING_IP => (Service::Network, format!("floatingips/{id}")),
        PORT => (Service::Network, format!("ports/{id}")),
        VOLUME => (Service::Volume, format!("volumes/{id}")),
        _ => (Service::Compute, format!("servers/{id}")),
    }
}
