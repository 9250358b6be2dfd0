//! How many versions stay.
//!
//! Not left to the server (`retain_repo_versions`): it keeps the newest and those that are served now, and would
//! remove the one that a channel has to go back to while another channel goes on.

use std::collections::BTreeSet;

use drivetrain_pulp::Version;

use super::labels;
use super::target::PulpTarget;
use crate::{HistoryEntry, Result};

impl PulpTarget {
    /// Removes versions that nothing serves, no channel would go back to, and that are not among the newest.
    pub(super) async fn retain(&self, name: &str) -> Result<Vec<u64>> {
        let Some(repository) = self.client.repository(name).await? else { return Ok(Vec::new()) };
        self.sweep(name).await?;
        let versions = self.client.versions(&repository.pulp_href).await?;
        let keep = self.options.keep.max(2) as usize;
        if versions.len() <= keep + 1 {
            return Ok(Vec::new());
        }
        // Anybody's distribution, whatever its labels: the publications of a version go with it.
        let all = self.client.distributions().await?;
        let served: BTreeSet<_> =
            all.iter().filter_map(|distribution| distribution.publication.as_ref()).collect();
        let histories: Vec<Vec<HistoryEntry>> = all
            .iter()
            .filter(|distribution| labels::repository(&distribution.pulp_labels) == Some(name))
            .map(|distribution| labels::history(&distribution.pulp_labels))
            .collect();
        let stay = staying(&versions, &histories, keep);
        let mut removed = Vec::new();
        for version in versions.iter().filter(|version| version.number > 0 && !stay.contains(&version.number))
        {
            let publications = self.client.publications(&version.pulp_href).await?;
            if publications.iter().any(|publication| served.contains(&publication.pulp_href)) {
                continue;
            }
            self.client.delete_version(&version.pulp_href).await?;
            self.client
                .unlabel_repository(&repository.pulp_href, &labels::version_label(version.number))
                .await?;
            removed.push(version.number);
        }
        Ok(removed)
    }
}

/// The newest, and as many of those that each distribution served last.
fn staying(versions: &[Version], histories: &[Vec<HistoryEntry>], keep: usize) -> BTreeSet<u64> {
    let mut numbers: Vec<u64> = versions.iter().map(|version| version.number).collect();
    numbers.sort_unstable();
    let mut stay: BTreeSet<u64> = numbers.iter().rev().take(keep).copied().collect();
    for history in histories {
        let mut last = BTreeSet::new();
        for entry in history.iter().rev() {
            last.insert(entry.version);
            if last.len() >= keep {
                break;
            }
        }
        stay.extend(last);
    }
    stay
}
