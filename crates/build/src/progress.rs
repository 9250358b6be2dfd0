//! How far a build is, read from its output.

use std::fmt;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::report::PhaseTime;

/// A part of a component's build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Unpack the source RPM, read its spec file, check what it requires.
    Source,
    /// `%prep`
    Prep,
    /// A configure script, run by `%build`.
    Configure,
    /// `%build`
    Build,
    /// `%install`, with rpmbuild's own scripts after it.
    Install,
    /// `%check`
    Check,
    /// Writing the RPMs.
    Package,
    /// Into the cache of finished components.
    Store,
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Prep => "prep",
            Self::Configure => "configure",
            Self::Build => "build",
            Self::Install => "install",
            Self::Check => "check",
            Self::Package => "package",
            Self::Store => "store",
        })
    }
}

/// Follows one component's build.
#[derive(Debug)]
pub(crate) struct Progress {
    phase: Phase,
    since: Instant,
    times: Vec<PhaseTime>,
}

impl Progress {
    pub(crate) fn new() -> Self {
        Self { phase: Phase::Source, since: Instant::now(), times: Vec::new() }
    }

    /// Takes a line of output; returns what to show, where it says something new.
    pub(crate) fn line(&mut self, line: &str) -> Option<String> {
        if let Some(phase) = phase_of(line, self.phase) {
            if phase == self.phase {
                return None;
            }
            self.enter(phase);
            return Some(phase.to_string());
        }
        object_of(line)
    }

    /// Goes over to a phase.
    pub(crate) fn enter(&mut self, phase: Phase) {
        self.close();
        self.phase = phase;
    }

    /// Ends the last phase.
    pub(crate) fn finish(mut self) -> Vec<PhaseTime> {
        self.close();
        self.times
    }

    fn close(&mut self) {
        let ms = u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.since = Instant::now();
        match self.times.iter_mut().find(|time| time.phase == self.phase) {
            Some(time) => time.ms += ms,
            None => self.times.push(PhaseTime { phase: self.phase, ms }),
        }
    }
}

fn phase_of(line: &str, now: Phase) -> Option<Phase> {
    if let Some(section) = line.strip_prefix("Executing(%").and_then(|rest| rest.split_once(')')) {
        return Some(match section.0 {
            "prep" => Phase::Prep,
            "build" | "generate_buildrequires" | "conf" => Phase::Build,
            "install" => Phase::Install,
            "check" => Phase::Check,
            _ => return None,
        });
    }
    if line.starts_with("Processing files: ") || line.starts_with("Wrote: ") {
        return Some(Phase::Package);
    }
    if matches!(now, Phase::Build | Phase::Configure) {
        if line.starts_with("+ ") && line.contains("configure") && !line.contains("make ") {
            return Some(Phase::Configure);
        }
        if line.starts_with("+ make ") || line.starts_with("+ /") && line.contains("/make ") {
            return Some(Phase::Build);
        }
    }
    None
}

/// kbuild's short form, `  CC [M]  /build/x/BUILD/x-1.0/core/main.o`, or a configure script's question.
fn object_of(line: &str) -> Option<String> {
    if let Some(question) = line.strip_prefix("checking ") {
        return Some(format!("checking {}", question.trim_end()));
    }
    let rest = line.strip_prefix("  ")?;
    let (action, object) = rest.split_once("  ")?;
    let action = action.trim();
    let known = ["CC", "AS", "LD", "AR", "MODPOST", "STRIP", "INSTALL", "SIGN", "BTF", "HOSTCC"];
    if !known.contains(&action.trim_end_matches("[M]").trim()) {
        return None;
    }
    let object = object.trim();
    let object = object.split_once("/BUILD/").map_or(object, |(_, inside)| inside);
    Some(format!("{action} {object}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_is_followed() {
        let mut progress = Progress::new();
        let shown: Vec<_> = [
            "Executing(%prep): /bin/sh -e /var/tmp/rpm-tmp.1",
            "+ cd /build/x",
            "Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.2",
            "+ ./configure --kernel-version 5",
            "checking gcc... yes",
            "+ make -j2 kernel",
            "  CC [M]  /build/x/BUILD/x-1.0/core/main.o",
            "warning:  CC of nothing",
            "Executing(%install): /bin/sh -e /var/tmp/rpm-tmp.3",
            "Processing files: x-1.0-1.x86_64",
            "Wrote: /build/x/RPMS/x.rpm",
        ]
        .iter()
        .filter_map(|line| progress.line(line))
        .collect();
        assert_eq!(
            shown,
            [
                "prep",
                "build",
                "configure",
                "checking gcc... yes",
                "build",
                "CC [M] x-1.0/core/main.o",
                "install",
                "package"
            ]
        );
        let phases: Vec<_> = progress.finish().iter().map(|time| time.phase).collect();
        assert_eq!(
            phases,
            [Phase::Source, Phase::Prep, Phase::Build, Phase::Configure, Phase::Install, Phase::Package]
        );
    }
}
