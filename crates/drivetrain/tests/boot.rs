//! Booted before it is published: the lab's kernel with what was built for it.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::Site;
use common::consumer::has;
use common::sshd::Sshd;
use rustix::process::Signal;
use serde_json::Value;

/// A site whose components are built, with a `prove` section; `None`, told, without QEMU.
fn site(prove: &str) -> Option<Site> {
    if !has("qemu-system-x86_64") {
        return None;
    }
    let mut site = Site::built()?;
    site.configure(|settings| settings.prove = Some(prove.to_owned()));
    Some(site)
}

fn verdict(site: &Site) -> Value {
    serde_json::from_slice(&std::fs::read(site.last_run().directory.join("boot.json")).unwrap()).unwrap()
}

#[test]
fn what_was_built_is_booted_and_then_published_with_the_verdict_and_prove_does_the_same_and_publishes_nothing()
 {
    let Some(site) = site("{boot: require, memory: 1GiB}") else { return };
    let proved = site.run(&["prove"]).succeeds();
    proved
        .says("lab_hello_user")
        .says("extra/hello/lab_hello.ko")
        .says("booted: ")
        .says("2 of 2 modules loaded");
    assert_eq!(site.last_run().published(), None);
    let told = verdict(&site);
    assert_eq!(told["problems"], Value::Array(Vec::new()), "{told}");
    assert_eq!((&told["installed"], &told["ending"]), (&Value::from("by-rpm"), &Value::from("finished")));

    let json = site.run(&["prove", "--json"]).succeeds().stdout;
    let last: Value = serde_json::from_str(json.lines().last().unwrap()).unwrap();
    assert!(json.lines().any(|line| line.contains("\"ending\":\"finished\"")), "{last}");

    site.run(&["plan"])
        .succeeds()
        .says("with 2 modules, before they are published; what is not well is not published");
    let planned = site.run(&["plan", "--json"]).succeeds().json();
    assert_eq!(
        (&planned["boot"]["do"], &planned["boot"]["modules"]),
        (&Value::from("boot"), &Value::from(2))
    );
    site.run(&["run"]).succeeds();
    let run = site.last_run();
    assert_eq!(run.published(), Some((1, false)));
    let booted = &run.of("booted")[0];
    assert_eq!((&booted["modules"], &booted["loaded"]), (&Value::from(2), &Value::from(2)));
    let evidence = evidence_of(&site);
    for name in ["boot.json", "boot-console.log"] {
        assert!(evidence.join(name).is_file(), "{name} is not in {}", evidence.display());
    }
    let console = std::fs::read_to_string(run.directory.join("boot-console.log")).unwrap();
    assert!(console.contains("drivetrain: loading lab_hello_user"), "{console}");
}

#[test]
fn what_is_served_without_a_boot_is_booted_as_it_is_served_once_that_is_asked_for_and_its_record_says_so() {
    let Some(mut site) = site("{boot: off}") else { return };
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().published(), Some((1, false)));
    site.run(&["status"]).succeeds().says("; not booted");
    let served = site.served(&site.lab.newer);

    site.configure(|settings| settings.prove = Some("{boot: require, memory: 1GiB}".to_owned()));
    // What is served is booted, and not what happens to be at hand.
    std::fs::remove_dir_all(site.state().join("components")).unwrap();
    let plan = site.run(&["plan"]).succeeds();
    plan.says("with 2 modules, as they are served: they were published without it")
        .says("To do: boot the kernel");
    site.run(&["prove"]).succeeds().says("2 of 2 modules loaded");
    assert_eq!(site.last_run().published(), None);

    site.run(&["run"]).succeeds();
    let run = site.last_run();
    assert_eq!(run.published(), Some((2, false)));
    assert_eq!(run.of("booted").len(), 1);
    assert_eq!(site.served(&site.lab.newer), served);
    let evidence = evidence_of(&site);
    for name in ["boot.json", "boot-console.log", "build.json", "lock.json", "verdicts.json"] {
        assert!(evidence.join(name).is_file(), "{name} is not in {}", evidence.display());
    }
    site.run(&["status"]).succeeds().says("; the kernel was booted with 2 modules");

    let planned = site.run(&["plan", "--json"]).succeeds().json();
    assert_eq!(
        (&planned["boot"]["do"], &planned["boot"]["loaded"]),
        (&Value::from("known"), &Value::from(2))
    );
    site.run(&["run"]).succeeds().says("Nothing to do");
    let run = site.last_run();
    assert_eq!((run.published(), run.of("booted").len()), (Some((2, true)), 0));
}

/// Where the evidence of what is served is.
fn evidence_of(site: &Site) -> PathBuf {
    let repository = site.repository(&site.lab.newer).canonicalize().unwrap();
    [repository.join("evidence"), repository.join(".evidence")]
        .into_iter()
        .find(|path| path.is_dir())
        .unwrap()
}

/// A component that builds, and fits the kernel by every symbol, and whose module reads where nothing is.
fn oopsing(site: &Site) -> Option<PathBuf> {
    const SPEC: &str = "%bcond_with building_kmods
%{!?KVERSION: %global KVERSION none}
%{!?K_SRC: %global K_SRC none}
Name: oops-kmod
Version: 1.0
Release: 1%{?_dist}
Summary: Breaks the kernel
License: GPL-2.0-only
Source: oops.c
%description
Breaks the kernel.
%if %{with building_kmods}
%package -n kmod-oops
Summary: Breaks the kernel
AutoReqProv: no
%description -n kmod-oops
Breaks the kernel.
%endif
%prep
%setup -q -c -T
cp %{SOURCE0} oops.c
echo 'obj-m := oops.o' >Makefile
%build
%if %{with building_kmods}
make -C %{K_SRC} M=$PWD modules
%endif
%install
%if %{with building_kmods}
install -D -m 0644 oops.ko %{buildroot}/lib/modules/%{KVERSION}/extra/oops/oops.ko
%files -n kmod-oops
/lib/modules/%{KVERSION}/extra/oops
%endif
";
    const SOURCE: &str = "#include <linux/module.h>
static int __init oops_init(void) { return READ_ONCE(*(int *)8); }
module_init(oops_init);
MODULE_DESCRIPTION(\"breaks the kernel\");
MODULE_LICENSE(\"GPL\");
";
    if !has("rpmbuild") {
        return None;
    }
    let top = site.path("rpmbuild");
    std::fs::create_dir_all(top.join("SOURCES")).unwrap();
    std::fs::write(top.join("SOURCES/oops.c"), SOURCE).unwrap();
    let spec = top.join("oops.spec");
    std::fs::write(&spec, SPEC).unwrap();
    let output = Command::new("rpmbuild")
        .args(["-bs", "--quiet", "--define"])
        .arg(format!("_topdir {}", top.display()))
        .arg(spec)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(top.join("SRPMS/oops-kmod-1.0-1.src.rpm"))
}

#[test]
fn a_module_that_breaks_the_kernel_is_not_published_and_with_warn_it_is_told_and_published() {
    let Some(mut site) = site("{boot: require, memory: 1GiB}") else { return };
    let Some(component) = oopsing(&site) else { return };
    site.configure(|settings| settings.extra = vec![component]);
    let failed = site.run(&["run"]).ends_with(6);
    failed.says("oops: it breaks the kernel").says("nothing was published").says("boot-console.log");
    assert!(!site.repository(&site.lab.newer).exists());
    let run = site.last_run();
    let console = std::fs::read_to_string(run.directory.join("boot-console.log")).unwrap();
    assert!(console.contains("BUG: kernel NULL pointer dereference"), "{console}");

    site.configure(|settings| settings.prove = Some("{boot: warn, memory: 1GiB}".to_owned()));
    site.run(&["run"]).succeeds();
    let run = site.last_run();
    assert_eq!(run.published(), Some((1, false)));
    let warnings = run.of("warning");
    let told =
        |warning: &Value| warning["message"].as_str().unwrap().starts_with("oops: it breaks the kernel");
    assert!(warnings.iter().any(told), "{warnings:?}");
}

#[test]
fn without_qemu_it_says_what_to_install_and_a_warning_does_where_that_is_asked_for() {
    let Some(site) = Site::built() else { return };
    // Everything but QEMU.
    let tools = site.path("tools");
    std::fs::create_dir(&tools).unwrap();
    for directory in ["/usr/bin", "/usr/sbin", "/bin", "/sbin", "/usr/local/bin"] {
        for name in common::names(Path::new(directory)) {
            if !name.starts_with("qemu-system") {
                // A tool may be in two of them.
                drop(std::os::unix::fs::symlink(format!("{directory}/{name}"), tools.join(name)));
            }
        }
    }
    let mut command = site.command(&["prove"]);
    command.env("PATH", &tools);
    let output = common::finish(&mut command).ends_with(9);
    output.says("qemu-system-x86_64 is not installed").says("qemu-system-x86");
}

/// Has a site boot on its builder, a host that is reached over SSH, with more of a `builder` section; where its files are
/// there.
fn boots_on(site: &mut Site, server: &Sshd, more: &str) -> PathBuf {
    let place = site.path("builder");
    site.configure(|settings| {
        settings.builder = Some(format!("{}{more}", server.section(&place)));
        settings.prove = Some("{boot: require, memory: 1GiB, on: machine}".to_owned());
    });
    place
}

#[test]
fn a_machine_boots_what_it_is_given_and_gives_back_what_the_kernel_says() {
    let Some(mut site) = site("{boot: off}") else { return };
    let Some(server) = Sshd::start(&site.path("")) else { return };
    // Prepared, so that the run takes it: for the build and the boot, and then for the boot alone.
    let nothing = "grow: false, repositories: false, sync: false, boot: false, packages: []";
    let place = boots_on(&mut site, &server, &format!("\n  prepare: {{{nothing}}}"));
    site.run(&["plan"])
        .succeeds()
        .says("with every module that is built on builder-3, before they are published");
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().published(), Some((1, false)));
    let told = verdict(&site);
    assert_eq!(told["problems"], Value::Array(Vec::new()), "{told}");
    assert_eq!((&told["on"], &told["ending"]), (&Value::from("builder-3"), &Value::from("finished")));
    let evidence = evidence_of(&site);
    let console = std::fs::read_to_string(evidence.join("boot-console.log")).unwrap();
    assert!(console.contains("drivetrain: loading lab_hello_user"), "{console}");
    assert_eq!(common::names(&place.join("boots")), Vec::<String>::new(), "something is left there");
    assert!(!place.join("holder").exists(), "it is still taken");
    let proved = site.run(&["prove"]).succeeds();
    proved.says("by emulation on builder-3 in ").says("2 of 2 modules loaded");
}

#[test]
fn what_breaks_the_kernel_on_a_machine_is_told_as_here_and_an_interruption_leaves_nothing_there() {
    let Some(mut site) = site("{boot: off}") else { return };
    let Some(component) = oopsing(&site) else { return };
    let Some(server) = Sshd::start(&site.path("")) else { return };
    let place = boots_on(&mut site, &server, "");
    site.configure(|settings| settings.extra = vec![component]);
    let failed = site.run(&["run"]).ends_with(6);
    failed.says("oops: it breaks the kernel").says("nothing was published").says("boot-console.log");
    assert!(!site.repository(&site.lab.newer).exists());

    let running = site.start(&["run"]);
    let boots = place.join("boots");
    let boots = boots.to_str().unwrap();
    let until = Instant::now() + Duration::from_secs(120);
    while of_qemu(boots).is_empty() {
        assert!(Instant::now() < until, "no QEMU there");
        std::thread::sleep(Duration::from_millis(20));
    }
    running.signal(Signal::INT);
    running.end().ends_with(130);
    assert_eq!(of_qemu(boots), "");
    assert_eq!(common::names(Path::new(boots)), Vec::<String>::new());
}

/// The processes of QEMU that have files in this directory.
fn of_qemu(directory: &str) -> String {
    let found =
        Command::new("pgrep").args(["-fa", &format!("qemu-system-[^ ]* .*{directory}")]).output().unwrap();
    String::from_utf8(found.stdout).unwrap()
}

#[test]
fn a_machine_without_qemu_is_told_by_the_plan_with_what_to_install_there() {
    let Some(mut site) = Site::built() else { return };
    let Some(server) = Sshd::without(&site.path(""), &["qemu-system-x86_64"]) else { return };
    boots_on(&mut site, &server, "");
    site.run(&["plan"]).succeeds().says("not from here: builder-3 has no QEMU");
    site.run(&["run"]).ends_with(9).says("builder-3 has no QEMU").says("builder.prepare.packages");
    assert!(!site.repository(&site.lab.newer).exists());
    // On this host it could.
    site.configure(|settings| settings.prove = Some("{boot: require, memory: 1GiB}".to_owned()));
    site.run(&["plan"]).succeeds().says("with 2 modules, before they are published");
}
