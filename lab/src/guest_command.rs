//! `drivetrain-lab guest`: the image of a virtual machine, installed from the train.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_lab::cmd::{command, run};
use drivetrain_lab::guest::{DESCRIPTION, Guest, IMAGE};
use drivetrain_lab::say;
use fs_err as fs;

use crate::cache::{Cache, Key};
use crate::debian::{self, Inputs};
use crate::{deps, rpm, train};

const SCRIPT: &str = include_str!("../guest/image");

/// The machine that the image was built on.
const FOREIGN: &str = "b1d1c0ffee0047f0a1e5b0075e1f0001";
/// The machine that it is.
const MACHINE: &str = "5e1fb0070047f0a1e5c0ffeeb1d10002";

/// Makes the image in the lab's directory, where it is not there or made from something else.
pub(crate) fn build(dir: &Utf8Path) -> Result<()> {
    let started = Instant::now();
    let dir = dir.canonicalize_utf8().with_context(|| format!("{dir}: is the lab up?"))?;
    let lock = crate::lock(&dir)?;
    deps::check_guest()?;
    let text = fs::read_to_string(dir.join("inputs.json")).context("is the lab up?")?;
    let inputs: Inputs = serde_json::from_str(&text)?;
    let kernel = debian::kernel_release(*inputs.kernels.first().context("the train has no kernel")?);

    let www = dir.join("www");
    let (snapshot, _) = train::SNAPSHOTS[0];
    let [base, apps] = ["BaseOS", "AppStream"].map(|name| train::repository_dir(&www, name, snapshot));
    let signed = www.join("keys/RPM-GPG-KEY-train");
    let mut key = Key::new().with(SCRIPT).with(&kernel);
    for file in [&base.join("repodata/repomd.xml"), &apps.join("repodata/repomd.xml"), &signed] {
        key = key.with(fs::read(file).context("is the lab up?")?);
    }

    let target = dir.join("guest");
    Cache::open(&dir)?.ensure("guest", &target, &key, |space| {
        ensure!(rustix::process::geteuid().is_root(), "dnf installs into a root of its own only as root");
        let root = space.work.join("root");
        let work = space.work.join("work");
        fs::create_dir_all(&root)?;
        fs::create_dir_all(&work)?;
        let url = |path: &Utf8PathBuf| format!("file://{path}");
        run(command("bash")
            .args(["-euc", SCRIPT])
            .envs([("ROOT", root.as_str()), ("WORK", work.as_str()), ("OUT", space.out.join(IMAGE).as_str())])
            .envs([("BASEOS", url(&base)), ("APPSTREAM", url(&apps)), ("KEY", url(&signed))])
            .envs([("SNAPSHOT", snapshot), ("FOREIGN", FOREIGN), ("MACHINE", MACHINE), ("KERNEL", &kernel)])
            .env("EPOCH", rpm::EPOCH.to_string()))?;
        let guest = Guest {
            image: target.join(IMAGE),
            user: "root".to_owned(),
            kernel: kernel.clone(),
            foreign_machine_id: FOREIGN.to_owned(),
            machine_id: MACHINE.to_owned(),
        };
        fs::write(space.out.join(DESCRIPTION), serde_json::to_string_pretty(&guest)?)?;
        Ok(())
    })?;
    drop(lock);
    say(format_args!("guest:   {}", target.join(IMAGE)));
    say(format_args!("done in {:.1} s", started.elapsed().as_secs_f64()));
    Ok(())
}
