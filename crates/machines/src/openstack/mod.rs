//! Builders in OpenStack.
//!
//! A thin client over the workspace's HTTP library, with the twenty requests that are needed. `openstack_sdk`, which
//! knows hundreds, was considered: it wants a newer Rust than the workspace, brings some two hundred crates with a
//! TLS of their own, and repeats requests where only the caller knows whether that is safe.
//!
//! What is made, in this order: a port, a floating IP where asked for, a volume where asked for, a server. Each has
//! the lease noted on it (see `marks`) in the request that makes it, and so is found by whoever comes later. No
//! keypair is made: cloud-init gets the key with the user data.

mod catalogue;
mod check;
mod client;
mod cloud;
mod destroy;
mod lookup;
mod make;
mod marks;
mod names;
mod options;
mod problem;
mod room;
mod survey;
mod yaml;

use drivetrain_host::{BoxFuture, CancellationToken};
use serde_json::json;
use tokio::sync::Mutex;

pub use cloud::CloudSource;
pub use options::{Attach, OpenStackOptions, RootDisk};

use self::client::{Ask, Client, Patience, Service};
use self::cloud::{Cloud, Outside};
use self::destroy::Destroying;
use self::lookup::{Looker, Parts};
use self::make::Making;
use crate::{Destroyed, Found, LeaseId, MachineError, Made, Order, Provider, Result};

/// How many lines of a console are shown.
const CONSOLE_LINES: u32 = 100;

/// A cloud that builders are made in.
pub struct OpenStack {
    options: OpenStackOptions,
    client: Client,
    name: String,
    /// What the names of the options stand for, once that is known.
    parts: Mutex<Option<Parts>>,
}

impl OpenStack {
    /// Reads `clouds.yaml` or the variables. Opens no connection yet.
    ///
    /// # Errors
    /// Where they cannot be read, or do not say enough.
    pub fn new(options: OpenStackOptions) -> Result<Self> {
        let env = |name: &str| std::env::var(name).ok();
        let cloud = Cloud::find(&options.source, &Outside { env: &env })?;
        Self::with_cloud(options, cloud)
    }

    fn with_cloud(options: OpenStackOptions, cloud: Cloud) -> Result<Self> {
        let region = cloud.region.as_deref().map(|region| format!(", region {region}")).unwrap_or_default();
        let project =
            cloud.project.as_deref().map(|project| format!(", project {project}")).unwrap_or_default();
        let name = format!("OpenStack at {}{region}{project}", cloud.auth_url.origin().ascii_serialization());
        let patience = Patience { answer: options.answer_within, service: options.patience };
        let client = Client::new(cloud, patience)?;
        Ok(Self { options, client, name, parts: Mutex::new(None) })
    }

    /// How many requests were sent to it so far, repeated ones and those for tokens included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.client.calls()
    }

    fn looker(&self) -> Looker<'_> {
        Looker { client: &self.client, provider: &self.name }
    }

    async fn look(&self) -> Result<Vec<String>> {
        let (parts, lines) = check::check(&self.looker(), &self.options).await?;
        *self.parts.lock().await = Some(parts);
        Ok(lines)
    }

    /// What the names stand for; looked up where nothing was checked before.
    async fn parts(&self) -> Result<Parts> {
        let mut known = self.parts.lock().await;
        if let Some(parts) = known.as_ref() {
            return Ok(parts.clone());
        }
        let parts = self.looker().parts(&self.options).await?;
        *known = Some(parts.clone());
        Ok(parts)
    }

    async fn make_one(&self, order: &Order, notice: &(dyn Fn(&str) + Send + Sync)) -> Result<Made> {
        let parts = self.parts().await?;
        let making = Making {
            client: &self.client,
            provider: &self.name,
            options: &self.options,
            parts: &parts,
            order,
            notice,
        };
        making.make().await
    }

    async fn find_all(&self) -> Result<Vec<Found>> {
        let all = survey::everything(&self.client).await.map_err(|failed| failed.of(&self.name))?;
        Ok(survey::grouped(all))
    }

    async fn console_of(&self, lease: &LeaseId) -> Result<String> {
        let failed = |failed: problem::Failed| failed.of(&self.name);
        let servers = survey::servers(&self.client).await.map_err(failed)?;
        let Some(server) = servers.into_iter().find(|marked| marked.lease.id == *lease) else {
            let why = format!("{} has no server of this lease", self.name);
            return Err(MachineError::NotUp { lease: lease.to_string(), why });
        };
        let path = format!("servers/{}/action", server.resource.id);
        let body = json!({ "os-getConsoleOutput": { "length": CONSOLE_LINES } });
        let ask = Ask::post("ask for the console", Service::Compute, path, body);
        let answer = self.client.ask(&ask).await.map_err(failed)?;
        Ok(last_lines(answer["output"].as_str().unwrap_or_default()))
    }
}

/// Some of Nova's hypervisors give more than they are asked for.
fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(CONSOLE_LINES as usize)..].join("\n")
}

impl std::fmt::Debug for OpenStack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenStack")
            .field("name", &self.name)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl Provider for OpenStack {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.look())
    }

    fn make<'a>(
        &'a self,
        order: &'a Order,
        notice: &'a (dyn Fn(&str) + Send + Sync),
        cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Made>> {
        Box::pin(async move {
            let made = cancel.run_until_cancelled(self.make_one(order, notice)).await;
            made.unwrap_or(Err(MachineError::Cancelled))
        })
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>>> {
        Box::pin(self.find_all())
    }

    fn destroy<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Destroyed>> {
        Box::pin(async move {
            let destroying = Destroying { client: &self.client, provider: &self.name, lease };
            destroying.destroy().await
        })
    }

    fn console<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<String>> {
        Box::pin(self.console_of(lease))
    }
}
