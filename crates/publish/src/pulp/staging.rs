//! Where a publication is read back before anybody else sees it.

use std::time::Duration;

use drivetrain_pulp::{Distribution, Href};
use jiff::Timestamp;
use serde_json::json;

use super::labels::{MARK, STAGING};
use super::target::PulpTarget;
use crate::{Publication, Result};

/// After how long somebody else's is taken for left behind.
const STALE: Duration = Duration::from_secs(6 * 3600);

const BY: &str = "drivetrain_staging_by";
const SINCE: &str = "drivetrain_staging_since";

impl PulpTarget {
    /// A distribution for this run alone, of nothing yet.
    pub(super) async fn stage(
        &self,
        publication: &Publication,
        guard: Option<&Href>,
    ) -> Result<Distribution> {
        let nonce = format!("{}-{}", publication.run, Timestamp::now().as_microsecond());
        let name = format!("{}-staging-{nonce}", publication.address.repository);
        let path = format!("drivetrain-staging/{}/{nonce}", publication.address.repository);
        let labels = json!({
            STAGING: publication.address.repository,
            BY: self.options.client_name.replace([',', '(', ')'], " "),
            SINCE: Timestamp::now().as_second().to_string(),
        });
        let more = json!({ "pulp_labels": labels, "content_guard": guard });
        let href = self.make_distribution(&name, &path, &more).await?.href;
        Ok(self.client.distribution_at(&href).await?)
    }

    /// Removes what killed processes left: ours of earlier times, and others' when they are old.
    pub(super) async fn sweep(&self, repository: &str) -> Result<()> {
        let now = Timestamp::now().as_second();
        let select = format!("{STAGING}={repository}");
        for distribution in self.client.distributions_labelled(&select).await? {
            let label = |key: &str| distribution.pulp_labels.get(key).map(String::as_str);
            let is_ours = label(BY) == Some(self.options.client_name.replace([',', '(', ')'], " ").as_str());
            let since: i64 = label(SINCE).and_then(|text| text.parse().ok()).unwrap_or(0);
            let is_stale = now - since > i64::try_from(STALE.as_secs()).unwrap_or(i64::MAX);
            if (is_ours || is_stale) && label(MARK).is_none() {
                self.client.delete_distribution(&distribution.pulp_href).await?;
            }
        }
        Ok(())
    }
}
