//! Builds with the vendor's own tool, on a system of the train's packages that ssh reaches: a container, since the tool
//! takes no particular kernel to run.
//!
//! It takes root and `drivetrain-lab container`.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::process::Command;

use common::boxed::{Boxed, PLACE};
use common::repository::{Mirror, mirror, whole};
use common::{MINI, names};
use rustix::process::Signal;

/// A site whose components are built by the vendor's tool in a container.
struct Vendor {
    boxed: Boxed,
    /// What the lab serves, where something in it is replaced.
    mirror: Option<Mirror>,
}

impl Vendor {
    fn new() -> Option<Self> {
        let mut boxed = Boxed::new("sync: false, packages: [gcc, rpm-build, bubblewrap]")?;
        boxed.site.configure(|settings| settings.build = Some("vendor-tool".to_owned()));
        Some(Self { boxed, mirror: None })
    }

    /// What a build leaves is a cache of drivetrain's own, and what its packages require.
    #[track_caller]
    fn leaves_nothing(&self) {
        let left = self
            .boxed
            .container
            .ssh(&format!("ls -A /tmp /var/tmp; ls {PLACE}/work | grep -v lock || :"))
            .unwrap();
        let left: Vec<&str> = left.lines().filter(|line| !line.is_empty() && !line.ends_with(':')).collect();
        // Where scripts over SSH are kept while they run.
        let left: Vec<&str> = left.into_iter().filter(|name| !name.starts_with(".drivetrain-jobs")).collect();
        assert_eq!(left, [""; 0], "left in the container");
        let installed = self.boxed.container.ssh("rpm -qa 'hello*' 'kmod-hello*' 'doca-kernel*'").unwrap();
        assert_eq!(installed, "", "installed and left");
    }

    fn log(&self, name: &str) -> String {
        let path = self.boxed.site.last_run().directory.join("logs").join(name);
        std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    }

    /// Takes another package in the place of the one that has the tool.
    fn with_tool(&mut self, file: &str, script: &str) {
        if self.mirror.is_none() {
            let mirror = mirror(&self.boxed.site);
            let www = mirror.www.display().to_string();
            self.boxed.site.configure(|settings| (settings.vendor, settings.unsigned) = (www, true));
            self.mirror = Some(mirror);
        }
        let repository = self.mirror.as_ref().unwrap().vendor().0;
        let packages = repository.join("Packages/d");
        let work = tempfile::tempdir().unwrap();
        let path = |name: &str| work.path().join(name);
        std::fs::write(path("tool"), script).unwrap();
        let spec = format!(
            "Name: doca-extra\nVersion: 3.2.0\nRelease: 1.rhel9\nSummary: x\nLicense: x\nBuildArch: noarch\nAutoReqProv: \
             no\nRequires: doca-ofed-source\n%description\n%install\nmkdir -p $(dirname %{{buildroot}}{file})\ninstall \
             -m 755 {} %{{buildroot}}{file}\n%files\n{file}\n",
            path("tool").display()
        );
        std::fs::write(path("spec"), spec).unwrap();
        let named = names(&packages).into_iter().find(|name| name.starts_with("doca-extra-")).unwrap();
        std::fs::remove_file(packages.join(named)).unwrap();
        let define = |text: String| ["--define".to_owned(), text];
        let mut rpmbuild = Command::new("rpmbuild");
        rpmbuild.arg("-bb").args(define(format!("_topdir {}", work.path().display())));
        rpmbuild.args(define(format!("_rpmdir {}", packages.display())));
        rpmbuild.args(define("_rpmfilename %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm".to_owned()));
        succeeds(rpmbuild.arg(path("spec")));
        let mut createrepo = Command::new("createrepo_c");
        succeeds(createrepo.args(["--quiet", "--update"]).arg(&repository));
    }
}

fn succeeds(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_the_vendors_tool_built_is_proven_and_published_as_plain_packages() {
    let Some(vendor) = Vendor::new() else { return };
    let site = &vendor.boxed.site;
    let newer = &site.lab.newer;
    site.run(&["plan"]).succeeds().says("the vendor's own tool builds, from doca-extra-3.2.0-1.rhel9.noarch");
    site.run(&["run"]).succeeds();
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.published(), Some((1, false)));
    assert_eq!(whole(&site.repository(newer)), Ok(Some(site.served(newer))));
    let served = site.served(newer);
    assert_eq!(served.iter().filter(|name| name.starts_with("kmod-")).count(), 2, "{served:?}");
    assert!(served.iter().all(|name| !name.starts_with("doca-kernel")), "{served:?}");
    // What was unwrapped, and what was left out of it.
    let steps = run.of("machine-step");
    let taken = steps.iter().find(|event| event["step"] == "take the tool's packages").unwrap();
    let because = taken["because"].as_str().unwrap();
    assert!(
        because.contains("doca-kernel-repo-") && because.contains("left out: doca-kernel-6."),
        "{because}"
    );
    // The evidence: the tool's package among the inputs, its output, and each component's own log.
    let lock = std::fs::read_to_string(run.directory.join("lock.json")).unwrap();
    assert!(lock.contains("\"driver-tool\"") && lock.contains("\"driver.build\": \"vendor-tool\""), "{lock}");
    assert!(vendor.log("vendor-tool.log").contains("Building hello-kmod for"));
    for component in MINI {
        assert!(vendor.log(&format!("{component}.log")).contains("Executing(%build)"));
    }
    vendor.leaves_nothing();
    for event in &run.events {
        println!("{} {}", event["at"], event);
    }

    // There is nothing to do; and what is finished needs no machine.
    site.run(&["run"]).succeeds();
    std::fs::remove_dir_all(&site.settings.publish).unwrap();
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("reused"), MINI);

    // Of two that need each other one is finished: the tool builds the other against that.
    let components = site.state().join("components");
    for key in names(&components) {
        let manifest = std::fs::read_to_string(components.join(&key).join("manifest.json")).unwrap();
        if manifest.contains("\"component\": \"hello-user-kmod\"") {
            std::fs::remove_dir_all(components.join(&key)).unwrap();
            vendor.boxed.container.ssh(&format!("rm -r {PLACE}/components/{key}")).unwrap();
        }
    }
    site.run(&["build"]).succeeds();
    let run = site.last_run();
    assert_eq!(
        (run.components("reused"), run.components("built")),
        (vec![MINI[0].into()], vec![MINI[1].into()])
    );
    assert!(!vendor.log("vendor-tool.log").contains("Building hello-kmod for"));
    vendor.leaves_nothing();
}

#[test]
#[ignore = "builds for minutes: scripts/test --machines"]
fn the_vendors_tool_builds_the_whole_stack_and_userspace_goes_with_it() {
    let Some(mut vendor) = Vendor::new() else { return };
    vendor.boxed.site.configure(|settings| {
        settings.stack = "doca".to_owned();
        settings.userspace = vec!["doca-ofed-userspace".to_owned()];
    });
    let site = &vendor.boxed.site;
    println!("{}", site.run(&["run", "--why", "the vendor's tool"]).succeeds().stderr);
    let run = site.last_run();
    let mut built = run.components("built");
    built.sort();
    assert_eq!(built, ["iser", "isert", "mlnx-nfsrdma", "mlnx-ofa_kernel", "srp"]);
    let newer = &site.lab.newer;
    assert_eq!(whole(&site.repository(newer)), Ok(Some(site.served(newer))));
    let served = site.served(newer);
    for name in ["kmod-mlnx-ofa_kernel-", "kmod-srp-", "mlnx-ofa_kernel-devel-", "doca-ofed-userspace-"] {
        assert!(served.iter().any(|served| served.starts_with(name)), "{name} is not among {served:?}");
    }
    vendor.leaves_nothing();
}

#[test]
fn a_component_that_the_tool_cannot_build_is_told_with_its_first_error_and_the_others_are_kept() {
    let Some(mut vendor) = Vendor::new() else { return };
    let trap = vendor.boxed.site.trap("broken-kmod");
    vendor.boxed.site.configure(|settings| settings.extra = vec![trap]);
    let output = vendor.boxed.site.run(&["build", "--keep-going"]).ends_with(5);
    output.says("broken-kmod did not build").says("broken.c:9");
    let run = vendor.boxed.site.last_run();
    assert_eq!((run.components("built").len(), run.components("failed").len()), (2, 1));
    assert!(vendor.log("broken-kmod.log").contains("broken.c:9"));
    vendor.leaves_nothing();
    // What is finished is not built once more for the one that is not.
    vendor.boxed.site.run(&["build"]).ends_with(5).says("broken-kmod did not build");
    let run = vendor.boxed.site.last_run();
    assert_eq!((run.components("reused").len(), run.components("failed").len()), (2, 1));
    let told =
        |warning: &serde_json::Value| warning["message"].to_string().contains("no component of the plan");
    assert!(!run.of("warning").iter().any(told), "{:?}", run.of("warning"));
    vendor.boxed.site.configure(|settings| settings.extra.clear());
    vendor.boxed.site.run(&["run"]).succeeds();
    assert_eq!(vendor.boxed.site.last_run().components("reused"), MINI);
}

#[test]
fn a_run_that_is_killed_leaves_nothing_running_and_the_next_one_goes_on() {
    let Some(mut vendor) = Vendor::new() else { return };
    vendor.boxed.site.configure(common::Settings::slow);
    let build = |vendor: &Vendor| {
        let mut running = vendor.boxed.site.start(&["run"]);
        assert!(running.reaches(|event| event["event"] == "component-started"));
        running
    };
    let tools = |vendor: &Vendor| -> Vec<String> {
        let all = vendor.boxed.container.processes().unwrap();
        all.into_iter().filter(|line| line.contains("doca-kernel") || line.contains("rpmbuild")).collect()
    };
    let running = build(&vendor);
    assert!(!tools(&vendor).is_empty());
    running.signal(Signal::INT);
    running.end().ends_with(130);
    assert_eq!(tools(&vendor), Vec::<String>::new());
    assert_eq!(
        vendor.boxed.container.ssh("find /tmp /var/tmp -name 'DOCA*' -o -name 'rpm-tmp*'").unwrap(),
        ""
    );

    // The worker alone, as when memory runs out.
    let running = build(&vendor);
    vendor.boxed.container.ssh("pkill -KILL -f 'drivetrain-[0-9a-f]* worker build'").unwrap();
    running.end().ends_with(5);
    assert_eq!(tools(&vendor), Vec::<String>::new());

    vendor.boxed.site.run(&["run"]).succeeds();
    assert_eq!(vendor.boxed.site.last_run().published(), Some((1, false)));
    vendor.leaves_nothing();
}

#[test]
fn a_package_without_the_tool_and_a_tool_that_has_changed_are_refused_with_what_to_do() {
    let Some(mut vendor) = Vendor::new() else { return };
    let tool = "/opt/mellanox/doca/tools/doca-kernel-support";
    vendor.with_tool("/opt/mellanox/doca/tools/doca-kernels", "#!/bin/sh\n");
    let output = vendor.boxed.site.run(&["run"]).ends_with(4);
    output
        .says("doca-extra-3.2.0-1.rhel9.noarch has no program doca-kernel-support")
        .says("driver.vendor_tool.package");

    vendor.with_tool(
        tool,
        "#!/bin/sh\necho \"doca-kernel-support: unrecognized option '--dirty'\" >&2\necho 'Usage: …' >&2\nexit 2\n",
    );
    let output = vendor.boxed.site.run(&["run"]).ends_with(5);
    output.says("does not take the options that drivetrain gives it").says("unrecognized option '--dirty'");

    // One that passes over a component, and ends well.
    vendor.with_tool(tool, "#!/bin/sh\nmkdir -p /tmp/x/logs\n: >/tmp/x/logs/other.log\necho Missing package hello-kmod, skipping\n");
    let output = vendor.boxed.site.run(&["run"]).ends_with(5);
    output.says("the vendor's tool did not build hello-kmod: Missing package hello-kmod, skipping");
    vendor.leaves_nothing();

    // One that builds what the plan leaves out.
    let real = std::fs::read_to_string(vendor.boxed.site.lab.directory.join("doca-kernel-support")).unwrap();
    let deaf = real.replace("-t | --tarball) tarball=$2;", "-t | --tarball) :;");
    assert_ne!(real, deaf);
    vendor.with_tool(tool, &deaf);
    vendor.boxed.site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    vendor
        .boxed
        .site
        .run(&["run"])
        .succeeds()
        .says("the vendor's tool built hello-user-kmod, which is no component of the plan");
    assert_eq!(vendor.boxed.site.last_run().components("built"), [MINI[0]]);
    let served = vendor.boxed.site.served(&vendor.boxed.site.lab.newer);
    assert!(served.iter().all(|name| !name.contains("hello-user")), "{served:?}");
}
