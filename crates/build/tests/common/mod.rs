//! The real thing for tests: kernels and source RPMs that the lab made, a sandbox, rpmbuild and gcc.
//!
//! Without a lab (`.lab` in the workspace, or `DRIVETRAIN_LAB`) the tests that need it say so and pass.

#![allow(dead_code, clippy::unwrap_used, clippy::print_stdout)]

use std::num::NonZeroUsize;
use std::process::Command;
use std::sync::{Arc, Mutex};

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_build::{
    BuildOptions, BuildReport, BuildRequest, Component, Directories, KeyInputs, Outcome, Recipe,
    TargetKernel, Toolchain, build, component_key,
};
use drivetrain_host::{CancellationToken, LocalSandbox, RootFs, SandboxOptions};
use drivetrain_model::{Architecture, ComponentName, Event, KernelRelease, Sha256Digest};

pub struct Bench {
    pub lab: Utf8PathBuf,
    pub directory: tempfile::TempDir,
    pub host: Arc<LocalSandbox>,
    pub toolchain: Toolchain,
    pub kernel: TargetKernel,
    pub options: BuildOptions,
    pub events: Arc<Mutex<Vec<Event>>>,
}

pub fn lab() -> Option<Utf8PathBuf> {
    let lab = std::env::var("DRIVETRAIN_LAB")
        .map_or_else(|_| Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.lab"), Utf8PathBuf::from);
    let found = lab.join("rpms/mini").is_dir() && lab.join("traps").is_dir();
    if !found {
        println!("skipped: no lab in {lab}");
    }
    found.then_some(lab)
}

impl Bench {
    pub async fn new() -> Option<Self> {
        let lab = lab()?;
        let directory = tempfile::Builder::new().prefix("drivetrain-build-").tempdir().unwrap();
        let path = utf8(directory.path());
        let host = Arc::new(LocalSandbox::new(SandboxOptions::new(path.join("sandbox"))).await.unwrap());
        let state = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join("toolchain.json");
        let toolchain = Toolchain::probe(host.as_ref(), &RootFs::Host, &state).await.unwrap();
        let kernel = newest_kernel(&lab);
        let options = BuildOptions { jobs: NonZeroUsize::new(2).unwrap(), ..BuildOptions::default() };
        Some(Self { lab, directory, host, toolchain, kernel, options, events: Arc::default() })
    }

    pub fn path(&self, name: &str) -> Utf8PathBuf {
        utf8(self.directory.path()).join(name)
    }

    /// A source RPM of the lab, as a component.
    pub fn component(&self, file: &str, needs: &[&Component]) -> Component {
        self.component_with(&self.lab.join(file), needs, Recipe::default())
    }

    pub fn component_with(&self, srpm: &Utf8Path, needs: &[&Component], recipe: Recipe) -> Component {
        let name = srpm.file_name().unwrap();
        let name = name.rsplitn(3, '-').last().unwrap();
        let name = ComponentName::parse(name).unwrap();
        let sha256 = Sha256Digest::of(&std::fs::read(srpm).unwrap());
        let keys: Vec<_> = needs.iter().map(|need| (need.name.clone(), need.key)).collect();
        let key = component_key(&KeyInputs {
            component: &name,
            source: sha256,
            kernel: &self.kernel.release,
            arch: &self.kernel.arch,
            kernel_devel: &self.kernel.devel_checksum,
            toolchain: self.toolchain.digest,
            recipe: &recipe,
            vendor_tool: None,
            needs: &keys,
        });
        Component {
            family: None,
            name,
            srpm: srpm.to_owned(),
            sha256,
            needs: needs.iter().map(|need| need.name.clone()).collect(),
            key,
            recipe,
            estimate_ms: None,
        }
    }

    pub fn request(&self, components: &[&Component]) -> BuildRequest {
        BuildRequest {
            kernel: self.kernel.clone(),
            components: components.iter().map(|&component| component.clone()).collect(),
            options: self.options.clone(),
            directories: Directories {
                work: self.path("work"),
                components: self.path("components"),
                ccache: self.path("ccache"),
                logs: self.path("logs"),
            },
            toolchain: self.toolchain.clone(),
            root: RootFs::Host,
            vendor_tool: None,
        }
    }

    pub async fn build(&self, components: &[&Component]) -> BuildReport {
        self.build_until(components, &CancellationToken::new()).await
    }

    pub async fn build_until(&self, components: &[&Component], cancel: &CancellationToken) -> BuildReport {
        let events = Arc::clone(&self.events);
        let sink = Arc::new(move |event: Event| events.lock().unwrap().push(event));
        build(self.host.clone(), self.request(components), None, sink, cancel).await.unwrap()
    }

    pub fn log(&self, name: &str) -> String {
        String::from_utf8_lossy(&std::fs::read(self.path("logs").join(format!("{name}.log"))).unwrap())
            .into_owned()
    }
}

pub fn outcome<'a>(report: &'a BuildReport, name: &str) -> &'a Outcome {
    &report.components.iter().find(|component| component.name.as_str() == name).unwrap().outcome
}

pub fn failure(report: &BuildReport, name: &str) -> String {
    match outcome(report, name) {
        Outcome::Failed(error) => error.to_string(),
        other => panic!("{name}: {other:?}"),
    }
}

pub fn utf8(path: &std::path::Path) -> Utf8PathBuf {
    path.to_owned().try_into().unwrap()
}

/// The lab's kernels, oldest first, as their kernel-devel RPMs.
pub fn kernels(lab: &Utf8Path) -> Vec<Utf8PathBuf> {
    let mut found: Vec<(u32, Utf8PathBuf)> = lab
        .join("rpms")
        .read_dir_utf8()
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            Some((entry.file_name().strip_prefix("kernel-")?.parse().ok()?, entry.path().to_owned()))
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .map(|(_, directory)| {
            directory
                .read_dir_utf8()
                .unwrap()
                .flatten()
                .map(|entry| entry.path().to_owned())
                .find(|path| path.file_name().unwrap().starts_with("kernel-devel-"))
                .unwrap()
        })
        .collect()
}

pub fn newest_kernel(lab: &Utf8Path) -> TargetKernel {
    kernel(kernels(lab).last().unwrap())
}

/// Unpacks a kernel-devel RPM, once for all tests.
pub fn kernel(rpm: &Utf8Path) -> TargetKernel {
    let directory = Utf8Path::new(env!("CARGO_TARGET_TMPDIR")).join(rpm.file_stem().unwrap());
    if !directory.exists() {
        let temporary = utf8(&tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep());
        let script = format!(
            "cd '{temporary}' && rpm2cpio '{}' | cpio -idm --quiet",
            std::fs::canonicalize(rpm).unwrap().display()
        );
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
        // Another test may have been quicker.
        drop(std::fs::rename(&temporary, &directory));
    }
    let devel = directory
        .join("usr/src/kernels")
        .read_dir_utf8()
        .unwrap()
        .flatten()
        .map(|entry| entry.path().to_owned())
        .next()
        .unwrap();
    TargetKernel {
        release: KernelRelease::parse(devel.file_name().unwrap()).unwrap(),
        arch: Architecture::parse(std::env::consts::ARCH).unwrap(),
        devel,
        devel_checksum: Sha256Digest::of(&std::fs::read(rpm).unwrap()).into(),
        devel_provides: Vec::new(),
    }
}

/// Makes a source RPM of one kernel module, with this in its `%build` and `%install`.
pub fn source_rpm(bench: &Bench, name: &str, more: &str, build: &str) -> Utf8PathBuf {
    let top = bench.path("srpm");
    for directory in ["SOURCES", "SPECS"] {
        std::fs::create_dir_all(top.join(directory)).unwrap();
    }
    let module = name.replace('-', "_");
    std::fs::write(
        top.join(format!("SOURCES/{module}.c")),
        format!(
            "#include <linux/module.h>\n#include <linux/slab.h>\n#include <linux/netdevice.h>\n\
             static int order = 1;\nmodule_param(order, int, 0);\n\
             static int __init {module}_init(void)\n{{\n\tvoid *p = kmalloc(order, GFP_KERNEL);\n\tkfree(p);\n\
             \tpr_info(\"{name} %d\\n\", order);\n\treturn 0;\n}}\nmodule_init({module}_init);\nMODULE_LICENSE(\"GPL\");\n"
        ),
    )
    .unwrap();
    let spec = format!(
        "%bcond_with building_kmods\nName: {name}\nVersion: 1.0\nRelease: 1\nSummary: A test\nLicense: GPL-2.0-only\n\
         Source: {module}.c\n{more}\n%description\nA test.\n%prep\n%setup -q -T -c\ncp %{{SOURCE0}} .\n\
         echo 'obj-m += {module}.o' >Kbuild\n%build\n{build}\n\
         make %{{?_smp_mflags}} -C %{{K_SRC}} M=$PWD modules\n%install\n\
         install -D -m 0644 {module}.ko %{{buildroot}}/lib/modules/%{{KVERSION}}/extra/{module}.ko\n\
         %files\n/lib/modules/*\n"
    );
    let path = top.join(format!("SPECS/{name}.spec"));
    std::fs::write(&path, spec).unwrap();
    pack(bench, &path);
    top.join(format!("SRPMS/{name}-1.0-1.src.rpm"))
}

/// Makes the source RPM of a spec file.
pub fn pack(bench: &Bench, spec: &Utf8Path) {
    let top = bench.path("srpm");
    let made = Command::new("rpmbuild")
        .args(["-bs", "--define", &format!("_topdir {top}"), "--define", "K_SRC x", "--define", "KVERSION x"])
        .arg(spec)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// The files of a finished component's RPMs, unpacked.
pub fn unpack(bench: &Bench, report: &BuildReport, name: &str, to: &str) -> Utf8PathBuf {
    let target = bench.path(to);
    std::fs::create_dir_all(&target).unwrap();
    let component = report.components.iter().find(|component| component.name.as_str() == name).unwrap();
    for package in &component.packages {
        let script = format!("cd '{target}' && rpm2cpio '{}' | cpio -idmu --quiet", package.path);
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success());
    }
    target
}
