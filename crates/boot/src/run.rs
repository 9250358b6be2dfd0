//! From an installed tree to a verdict.

use std::fs::File;
use std::io::{BufWriter, Seek as _};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{CancellationToken, Host as _, LocalSandbox};
use drivetrain_kmod::Module;
use drivetrain_model::KernelRelease;

use crate::cpio::Writer;
use crate::image::GeneratedImage;
use crate::modules::{ModuleTree, Ordered};
use crate::program::Files;
use crate::protocol::{GuestCheck, GuestModule, GuestRequest};
use crate::qemu::Machine;
use crate::verdict::{Before, BootVerdict, BootedModule, judge};
use crate::{
    BootError, BootOptions, Emulator, InstalledTree, facts, image, initramfs, kernel, qemu, rdma, signer,
};

/// What is to be found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootRequest {
    /// The kernel.
    pub kernel: KernelRelease,
    /// The modules to publish.
    pub modules: Vec<WantedModule>,
    /// Whether to try what they are for, where that is known.
    pub functional: bool,
}

/// A module that packages to be published install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedModule {
    /// The kernel's name for it.
    pub name: String,
    /// Where its package installs it.
    pub path: String,
    /// That package.
    pub package: Option<String>,
}

/// Where files go.
#[derive(Debug, Clone)]
struct Places {
    console: Utf8PathBuf,
    facts: Utf8PathBuf,
}

/// Boots a tree, and says what became of the modules. The console is left in `directory` as `boot-console.log`, and what
/// the guest said as `boot-facts.log`; `scratch` is a directory for what is needed meanwhile, which this makes and
/// removes.
///
/// # Errors
/// Where there was no boot that says anything: without QEMU, without a kernel, or cancelled. Modules that do not load, and
/// a kernel that does not come up, are no error but an answer.
pub async fn boot(
    host: &LocalSandbox,
    tree: &InstalledTree,
    request: &BootRequest,
    options: &BootOptions,
    directory: &Utf8Path,
    scratch: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<BootVerdict, BootError> {
    if std::env::consts::ARCH != "x86_64" {
        let host = std::env::consts::ARCH.to_owned();
        return Err(BootError::Architecture { wanted: "x86_64".to_owned(), host });
    }
    let image = kernel::image(&tree.root, &request.kernel)?;
    host.remove_directory(scratch).await?;
    let prepared = prepare(host, tree, request, options, scratch, cancel).await;
    let removed = host.remove_directory(scratch).await;
    let Prepared { initramfs, before } = prepared?;
    removed?;
    let places =
        Places { console: directory.join("boot-console.log"), facts: directory.join("boot-facts.log") };
    let machine = Machine {
        options: options.clone(),
        kernel: image,
        initramfs,
        console: places.console.clone(),
        facts: places.facts.clone(),
    };
    let ran = match &options.emulator {
        Emulator::Here => qemu::run(machine, cancel).await?,
        Emulator::There(there) => there.run(machine, cancel).await?,
    };
    let facts = facts::parse(&facts::read_file(&places.facts)?);
    Ok(judge(before, &ran, facts, &facts::read_file(&places.console)?))
}

struct Prepared {
    initramfs: File,
    before: Before,
}

async fn prepare(
    host: &LocalSandbox,
    tree: &InstalledTree,
    request: &BootRequest,
    options: &BootOptions,
    scratch: &Utf8Path,
    cancel: &CancellationToken,
) -> Result<Prepared, BootError> {
    let modules = ModuleTree::of(host, tree, &request.kernel, scratch, cancel).await?;
    let image = image::check(host, tree, &request.kernel, &request.modules, scratch, cancel).await?;
    let (tree, request, options) = (tree.clone(), request.clone(), options.clone());
    let scratch = scratch.to_owned();
    let packing = tokio::task::spawn_blocking(move || {
        Packing::new(&modules, &tree, &request, &options).pack(&scratch, image)
    });
    packing.await.map_err(|error| BootError::Qemu { said: format!("the initramfs: {error}") })?
}

/// Makes the initramfs.
struct Packing<'a> {
    modules: &'a ModuleTree,
    tree: &'a InstalledTree,
    request: &'a BootRequest,
    options: &'a BootOptions,
    warnings: Vec<String>,
    problems: Vec<String>,
}

impl<'a> Packing<'a> {
    fn new(
        modules: &'a ModuleTree,
        tree: &'a InstalledTree,
        request: &'a BootRequest,
        options: &'a BootOptions,
    ) -> Self {
        Self { modules, tree, request, options, warnings: Vec::new(), problems: Vec::new() }
    }

    fn pack(mut self, scratch: &Utf8Path, image: Option<GeneratedImage>) -> Result<Prepared, BootError> {
        let writing = || BootError::file("create", scratch);
        let file = tempfile::tempfile_in(scratch).map_err(writing())?;
        let mut archive = Writer::new(BufWriter::with_capacity(1 << 20, file));
        initramfs::add_agent(&mut archive, &self.options.agent)?;
        self.require_ours()?;
        self.judge_image(image.as_ref());
        let check = self.check()?;
        let order = self.order(check.is_some());
        let mut booted = Vec::new();
        let mut to_load: Vec<GuestModule> = Vec::new();
        for module in &order {
            let bytes = initramfs::module_bytes(self.modules, module)?;
            let guest = initramfs::place(&self.request.kernel, module);
            archive.file(&guest.path, 0o644, &bytes).map_err(BootError::file("write", "the initramfs"))?;
            booted.push(self.describe(module, &bytes));
            to_load.push(guest);
        }
        let checks = check.is_some();
        let (check, system) = check.map_or((None, Files::new()), |(check, files)| (Some(check), files));
        let step_ms = u64::try_from(self.options.step_timeout.as_millis()).unwrap_or(u64::MAX);
        let request = GuestRequest { modules: to_load, step_ms, check };
        let mut initramfs = initramfs::finish(archive, &request, &system)?;
        initramfs.rewind().map_err(writing())?;
        let before = Before {
            kernel: self.request.kernel.clone(),
            installed: self.tree.how,
            memory: self.options.memory,
            timeout: self.options.timeout,
            step_timeout: self.options.step_timeout,
            modules: booted,
            checks,
            image,
            warnings: self.warnings,
            problems: self.problems,
        };
        Ok(Prepared { initramfs, before })
    }

    /// That what a node would load under each name is what is to be published, and not another module of that name.
    fn require_ours(&mut self) -> Result<(), BootError> {
        for wanted in &self.request.modules {
            let own = below_release(&wanted.path, &self.request.kernel);
            match self.modules.path(&wanted.name) {
                Some(path) if path == own => {}
                Some(path) => self.problems.push(format!(
                    "{}: a node would load {path} in place of {own}: the package has no override for it in depmod.d, \
                     or another's comes before it",
                    wanted.name
                )),
                None => {
                    let (root, path) = (self.tree.root.clone(), wanted.path.clone());
                    return Err(BootError::NotInstalled { root, path });
                }
            }
        }
        Ok(())
    }

    fn judge_image(&mut self, image: Option<&GeneratedImage>) {
        let Some(image) = image else { return };
        self.problems.extend(image.problems.iter().cloned());
        if let Some(why) = &image.not_made {
            self.warnings.push(format!("what is in the initramfs of a node was not looked at: {why}"));
        }
    }

    fn order(&self, checks: bool) -> Vec<Ordered> {
        let wanted = self.request.modules.iter().map(|module| module.name.as_str());
        let besides = [rdma::DUMMY, rdma::UVERBS, rdma::CRC32].into_iter().filter(|_| checks);
        self.modules.order(wanted.chain(besides))
    }

    /// What the functional check takes, where the modules have something that can be tried.
    fn check(&mut self) -> Result<Option<(GuestCheck, Files)>, BootError> {
        let has = |name: &str| self.request.modules.iter().any(|module| module.name == name);
        if !self.request.functional || !has(rdma::RXE) {
            return Ok(None);
        }
        match rdma::find(&self.tree.root)? {
            Ok(found) => Ok(Some(found)),
            Err(missing) => {
                self.warnings
                    .push(format!("whether RDMA works was not tried: what is installed has no {missing}"));
                Ok(None)
            }
        }
    }

    fn describe(&mut self, module: &Ordered, bytes: &[u8]) -> BootedModule {
        let wanted = self.request.modules.iter().find(|wanted| wanted.name == module.name);
        let mut booted = BootedModule {
            ours: wanted.is_some(),
            package: wanted.and_then(|wanted| wanted.package.clone()),
            ..BootedModule::untold(&module.name, &module.path)
        };
        // What cannot be read is left to the kernel to refuse.
        if let Ok(parsed) = Module::parse(bytes) {
            booted.srcversion = parsed.modinfo().get("srcversion").map(|text| text.into_owned());
            booted.build_id =
                parsed.build_id().map(|id| id.iter().map(|byte| format!("{byte:02x}")).collect());
            booted.signer = parsed.signature().map(signer::signer);
            for needed in parsed.depends() {
                let name = needed.replace('-', "_");
                if self.modules.path(&name).is_none() && !self.modules.is_builtin(&name) {
                    let problem = format!("{} needs {name}, which no installed package has", module.name);
                    self.problems.push(problem);
                }
            }
        }
        booted
    }
}

/// `/usr/lib/modules/RELEASE/extra/a.ko` as `extra/a.ko`.
fn below_release<'p>(path: &'p str, release: &KernelRelease) -> &'p str {
    let below = path.strip_prefix("/usr").unwrap_or(path);
    let below = below.strip_prefix("/lib/modules/").and_then(|rest| rest.strip_prefix(release.as_str()));
    below.and_then(|rest| rest.strip_prefix('/')).unwrap_or(path)
}
