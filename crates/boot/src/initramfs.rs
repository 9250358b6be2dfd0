//! The first file system of a guest: drivetrain, the modules, and what the functional check takes.

use std::fs::File;
use std::io::{BufWriter, Write as _};

use camino::Utf8Path;
use drivetrain_kmod::decompress;
use drivetrain_model::KernelRelease;

use crate::BootError;
use crate::cpio::Writer;
use crate::modules::{ModuleTree, Ordered};
use crate::program::{Files, System, loaded_part};
use crate::protocol::{GuestModule, GuestRequest, REQUEST, SYSTEM};

/// The largest module, decompressed.
pub(crate) const LARGEST_MODULE: usize = 1 << 30;
/// Character devices that a program finds open, or opens, before it can do anything.
const DEVICES: [(&str, u32, u32); 2] = [("/dev/console", 5, 1), ("/dev/null", 1, 3)];

/// Writes the agent with its libraries, which come from this host as the agent does.
pub(crate) fn add_agent(archive: &mut Writer<BufWriter<File>>, agent: &Utf8Path) -> Result<(), BootError> {
    let writing = || BootError::file("write", "the initramfs");
    for directory in ["/proc", "/sys", "/dev", "/run", "/tmp", SYSTEM] {
        archive.directory(directory).map_err(writing())?;
    }
    for (path, major, minor) in DEVICES {
        archive.device(path, major, minor).map_err(writing())?;
    }
    let agent = agent.canonicalize_utf8().map_err(BootError::file("read", agent))?;
    let mut files = Files::new();
    System(Utf8Path::new("/")).add(agent.as_str(), &mut files)?;
    let program = files.remove(agent.as_str()).unwrap_or_default();
    let program = loaded_part(program).map_err(|why| BootError::Program { path: agent.clone(), why })?;
    archive.file("/init", 0o755, &program).map_err(writing())?;
    for (path, bytes) in &files {
        archive.file(path, 0o755, bytes).map_err(writing())?;
    }
    Ok(())
}

/// Where a module is in the guest: where it is installed.
pub(crate) fn place(release: &KernelRelease, module: &Ordered) -> GuestModule {
    GuestModule { name: module.name.clone(), path: format!("/lib/modules/{release}/{}", module.path) }
}

/// A module's bytes, as the kernel gets them.
pub(crate) fn module_bytes(tree: &ModuleTree, module: &Ordered) -> Result<Vec<u8>, BootError> {
    let file = tree.file(module);
    let limit = LARGEST_MODULE as u64;
    let packed = File::open(&file)
        .and_then(|open| crate::cpio::read_bounded(open, limit))
        .map_err(BootError::file("read", &file))?
        .ok_or_else(|| BootError::TooLarge { what: file.to_string(), limit })?;
    let bytes = decompress(&packed, LARGEST_MODULE)
        .map_err(|error| BootError::Malformed { path: file, why: error.to_string() })?;
    Ok(bytes.into_owned())
}

/// Writes the request, and the system that the check runs in.
pub(crate) fn finish(
    mut archive: Writer<BufWriter<File>>,
    request: &GuestRequest,
    system: &Files,
) -> Result<File, BootError> {
    let writing = || BootError::file("write", "the initramfs");
    for (path, bytes) in system {
        archive.file(&format!("{SYSTEM}{path}"), 0o755, bytes).map_err(writing())?;
    }
    let text = serde_json::to_vec(request).map_err(|error| writing()(error.into()))?;
    archive.file(REQUEST, 0o644, &text).map_err(writing())?;
    let mut buffered = archive.finish().map_err(writing())?;
    buffered.flush().map_err(writing())?;
    buffered.into_inner().map_err(|error| writing()(error.into_error()))
}
