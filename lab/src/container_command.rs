//! `drivetrain-lab container`: the root of containers, installed from the train.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_lab::cmd::{command, run};
use drivetrain_lab::{container, say};
use fs_err as fs;

use crate::cache::{Cache, Key};
use crate::debian::Inputs;
use crate::{rpm, train};

const SCRIPT: &str = include_str!("../container/image");

/// Makes the root in the lab's directory, where it is not there or made from something else.
pub(crate) fn build(dir: &Utf8Path) -> Result<()> {
    let started = Instant::now();
    let dir = dir.canonicalize_utf8().with_context(|| format!("{dir}: is the lab up?"))?;
    let lock = crate::lock(&dir)?;
    let www = dir.join("www");
    let text = fs::read_to_string(dir.join("inputs.json")).context("is the lab up?")?;
    let inputs: Inputs = serde_json::from_str(&text)?;
    let mut snapshots = train::SNAPSHOTS.iter().take(inputs.kernels.len());
    let (snapshot, _) = snapshots.next_back().context("the train has no kernel")?;
    let [base, apps] = ["BaseOS", "AppStream"].map(|name| train::repository_dir(&www, name, snapshot));
    let signed = www.join("keys/RPM-GPG-KEY-train");
    let mut key = Key::new().with(SCRIPT);
    for file in [&base.join("repodata/repomd.xml"), &apps.join("repodata/repomd.xml"), &signed] {
        key = key.with(fs::read(file).context("is the lab up?")?);
    }
    let root = container::root(&dir);
    let target = root.parent().unwrap_or(&dir).to_owned();
    Cache::open(&dir)?.ensure("container", &target, &key, |space| {
        ensure!(rustix::process::geteuid().is_root(), "dnf installs into a root of its own only as root");
        let root = space.out.join("root");
        fs::create_dir_all(&root)?;
        let url = |path: &Utf8PathBuf| format!("file://{path}");
        run(command("bash")
            .args(["-euc", SCRIPT])
            .envs([("ROOT", root.as_str()), ("WORK", space.work.as_str())])
            .envs([("BASEOS", url(&base)), ("APPSTREAM", url(&apps)), ("KEY", url(&signed))])
            .env("EPOCH", rpm::EPOCH.to_string()))?;
        Ok(())
    })?;
    drop(lock);
    say(format_args!("container: {root}"));
    say(format_args!("done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}
