//! The site's own patches: read and kept when the plan is made, so that a build applies what was planned.

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_config::{Config, DriverPatch};
use drivetrain_model::ExitCode;
use drivetrain_plan::{Components, PatchFile, Selection, asks_for_headers, patches};
use fs_err as fs;

use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::stage::{blocking, fetch};

/// The longest patch that is read. The kernel's whole history has longer ones; no driver's fix does.
const MAX_PATCH: u64 = 16 << 20;
/// The longest header that is looked into.
const MAX_HEADER: u64 = 16 << 20;

/// Where kernels have headers that sources include by name, below their development tree.
const INCLUDE: &[&str] = &["include", "include/uapi", "include/generated", "include/generated/uapi"];

/// Gives the components their patches. Takes the kernel's headers where a patch asks for them.
pub async fn choose(
    context: &Context,
    config: &Config,
    selection: &Selection,
    components: &mut Components,
) -> Result<()> {
    if config.driver.patches.is_empty() {
        return Ok(());
    }
    let mut files = Vec::new();
    for patch in &config.driver.patches {
        let (patch, store) = (patch.clone(), context.store().clone());
        files.push(blocking(move || read(&patch, &store)).await??);
    }
    let tree = match asks_for_headers(config) {
        true => Some(context.unless_cancelled(fetch::kernel_devel(context, config, selection)).await?),
        false => None,
    };
    let release = &selection.kernel.release;
    Ok(patches(config, components, release, &files, |name| header(tree.as_deref()?, name))?)
}

/// A patch, copied into the store: what is planned with is what is applied.
fn read(patch: &DriverPatch, store: &drivetrain_fetch::Store) -> Result<PatchFile> {
    let path = &patch.path;
    let bad = |error: &(dyn std::error::Error + 'static)| {
        Failure::because(
            ExitCode::Usage,
            format!("the patch {path}, which driver.patches names for {}, cannot be read", patch.component),
            error,
        )
    };
    let size = fs::metadata(path).map_err(|error| bad(&error))?.len();
    if size == 0 || size > MAX_PATCH {
        let what = if size == 0 {
            "is empty".to_owned()
        } else {
            format!("has {size} bytes, more than a patch has")
        };
        return Err(Failure::new(ExitCode::Usage, format!("{path}, which driver.patches names, {what}")));
    }
    let (sha256, path) = store.insert_from_file(path).map_err(|error| bad(&error))?;
    Ok(PatchFile { path, sha256 })
}

/// The text of a kernel's header, where it has it.
fn header(tree: &Utf8Path, name: &str) -> Option<String> {
    let plain = INCLUDE.iter().map(|directory| tree.join(directory));
    let found = plain
        .chain(of_the_architecture(tree))
        .map(|directory| directory.join(name))
        .find(|path| path.is_file())?;
    let small = fs::metadata(&found).is_ok_and(|metadata| metadata.len() <= MAX_HEADER);
    let bytes = if small { fs::read(found).ok()? } else { Vec::new() };
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// `arch/x86/include` and what is below it: kernel-devel has those of its own architecture alone.
fn of_the_architecture(tree: &Utf8Path) -> Vec<Utf8PathBuf> {
    let entries = tree.join("arch").read_dir_utf8().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    let mut architectures: Vec<Utf8PathBuf> =
        entries.into_iter().flatten().map(|entry| entry.into_path()).collect();
    architectures.sort();
    architectures.iter().flat_map(|path| INCLUDE.iter().map(|directory| path.join(directory))).collect()
}
