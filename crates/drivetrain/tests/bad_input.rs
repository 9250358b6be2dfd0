//! What comes from outside and is not as it should be: nothing of it is built or published, and the message says
//! which part it is and what to do.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::repository::{Mirror, Repository, flip_a_byte, mirror, whole};
use common::server::{Fault, Server};
use common::{MINI, OLD, Site, names, processes, text};
use serde_json::Value;

#[test]
fn a_kernel_without_its_kernel_devel_is_refused_with_both_snapshots_and_a_way_out() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| OLD.clone_into(&mut settings.appstream));
    let refused = site.run(&["plan", "--quiet"]).ends_with(3);
    assert_eq!(site.run(&["run", "--quiet"]).ends_with(3).stderr, refused.stderr);
    insta::assert_snapshot!(text::stable(&site, refused.error()), @r"
    error: NEWER (kernel-core-NEWER-PACKAGE.x86_64 in baseos (snapshot 20261101T000000)) has no kernel-devel: the newest is for OLDER, in appstream (snapshot 20261001T000000)
    kernels of the train, newest first
      NEWER: meant, but it has no kernel-devel (in baseos, no kernel-devel)
      OLDER: older than the newest (in baseos, kernel-devel in appstream)
    next: the snapshots of baseos and appstream are of different states: move appstream on to one that has kernel-devel for this kernel; until then build for the kernel before it, with `kernel: {ceiling: OLDER}` under `train`, and keep the nodes from booting the newer one
    ");
    site.nothing_happened();
    assert!(!site.path("drivetrain.lock").exists());
    // The advice is one that helps.
    let ceiling = format!("{{ceiling: {}}}", site.lab.older.release);
    site.configure(|settings| settings.kernel = ceiling);
    let older = site.lab.older.release.clone();
    site.run(&["plan"]).succeeds().says(&format!("kernel      {older}"));
}

#[test]
fn a_kernel_that_the_train_does_not_have_is_refused_with_those_that_it_has() {
    let Some(mut site) = Site::new() else { return };
    let newer = site.lab.newer.release.clone();
    let missing = newer.replace("-cloud", "9-cloud");
    assert_ne!(missing, newer);
    site.configure(|settings| settings.kernel = format!("{{exact: {missing}}}"));
    let refused = site.run(&["run"]).ends_with(3);
    refused.says(&missing).says(&site.lab.older.release).says(&format!("the nearest is {newer}"));
    site.nothing_happened();
}

/// Changes a copy of the lab's repositories, and expects a run on it to refuse its input.
#[track_caller]
fn refused(change: impl FnOnce(&Mirror)) -> Option<(Site, common::Output)> {
    let mut site = Site::new()?;
    let mirror = mirror(&site);
    mirror.used_by(&mut site);
    site.run(&["plan", "--no-lock"]).succeeds();
    change(&mirror);
    let output = site.run(&["run"]).ends_with(4);
    site.nothing_happened();
    Some((site, output))
}

#[test]
fn truncated_metadata_are_refused() {
    // The change leaves the metadata's size in repomd.xml as it was. What was read before is not taken instead.
    for of in [Mirror::baseos, Mirror::appstream, Mirror::vendor] {
        let Some((_, output)) = refused(|mirror| {
            let primary = of(mirror).primary_file();
            let bytes = std::fs::read(&primary).unwrap();
            std::fs::write(&primary, &bytes[..bytes.len() / 2]).unwrap();
            forget_what_was_read(mirror);
        }) else {
            return;
        };
        output.says("primary.xml");
    }
}

#[test]
fn altered_metadata_are_refused_by_their_checksum() {
    let Some((_, output)) = refused(|mirror| {
        flip_a_byte(&mirror.appstream().primary_file());
        forget_what_was_read(mirror);
    }) else {
        return;
    };
    output.says("primary.xml").says("sha256");
}

/// The store holds metadata by checksum and would rightly never read the damaged file.
fn forget_what_was_read(mirror: &Mirror) {
    std::fs::remove_dir_all(mirror.www.parent().unwrap().join("state")).unwrap();
}

#[test]
fn a_package_location_that_leads_out_of_its_repository_is_refused() {
    let Some((_, output)) = refused(|mirror| {
        mirror.appstream().replace_primary(|xml| {
            xml.replace("href=\"Packages/k/kernel-devel", "href=\"../../../../../../../../etc/kernel-devel")
        });
    }) else {
        return;
    };
    output.says("appstream").says("../../../../../../../../etc/kernel-devel");
}

#[test]
fn a_package_location_on_another_host_is_refused_and_that_host_is_never_asked() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let (ours, theirs) = (Server::of(&mirror.www), Server::of(&mirror.www));
    let url = theirs.url();
    mirror.appstream().replace_primary(|xml| {
        xml.replace("href=\"Packages/k/kernel-devel", &format!("href=\"{url}/Packages/k/kernel-devel"))
    });
    mirror.served_from(&mut site, &ours.url());
    site.run(&["run"]).ends_with(4).says("appstream").says(&url);
    site.nothing_happened();
    assert!(theirs.requests().is_empty(), "{:?}", theirs.requests());
}

#[test]
fn a_base_for_package_locations_on_another_host_is_never_asked() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let (ours, theirs) = (Server::of(&mirror.www), Server::of(&mirror.www));
    let url = theirs.url();
    mirror
        .appstream()
        .replace_primary(|xml| xml.replace("<location href", &format!("<location xml:base=\"{url}/\" href")));
    mirror.served_from(&mut site, &ours.url());
    site.run(&["run"]);
    assert!(theirs.requests().is_empty(), "{:?}", theirs.requests());
}

#[test]
fn metadata_that_grow_when_they_are_read_are_refused_at_once() {
    let Some((_, output)) = refused(|mirror| {
        mirror.baseos().replace_primary(|xml| {
            let mut bomb =
                String::from("<?xml version=\"1.0\"?>\n<!DOCTYPE metadata [\n<!ENTITY a0 \"kernel-core\">\n");
            for level in 1..12 {
                let before = format!("&a{};", level - 1).repeat(10);
                bomb.push_str(&format!("<!ENTITY a{level} \"{before}\">\n"));
            }
            bomb.push_str("]>\n");
            let start = xml.find("<metadata").unwrap();
            bomb + &xml[start..].replacen("<summary>", "<summary>&a11;", 1)
        });
    }) else {
        return;
    };
    assert!(output.took < Duration::from_secs(10), "{:?}", output.took);
    output.says("baseos");
}

#[test]
fn an_altered_package_of_the_right_size_is_refused_by_its_checksum() {
    for (of, name) in [
        (Mirror::vendor as fn(&Mirror) -> Repository, "doca-ofed-source"),
        (Mirror::appstream, "kernel-devel"),
    ] {
        let Some((site, output)) = refused(|mirror| {
            flip_a_byte(&of(mirror).own_newest_package(name));
            forget_what_was_read(mirror);
        }) else {
            return;
        };
        // What is not what its checksum says stays nowhere.
        let kernels = names(&site.state().join("kernels"));
        assert!(kernels.is_empty(), "{kernels:?}");
        output.says(name).says("sha256");
    }
}

#[test]
fn a_package_signed_with_another_key_is_refused_although_its_checksum_is_right() {
    let Some(mut site) = Site::new() else { return };
    let wrong = site.lab.directory.join("www/keys/RPM-GPG-KEY-wrong");
    let (train, vendor) = (site.settings.train_key.clone(), site.settings.vendor_key.clone());
    site.configure(|settings| settings.train_key.clone_from(&wrong));
    site.run(&["run"]).ends_with(4).says("kernel-devel").says("is not to be trusted");
    site.nothing_happened();
    site.configure(|settings| {
        settings.train_key = train;
        settings.vendor_key = wrong;
    });
    site.run(&["run"]).ends_with(4).says("doca-ofed-source").says("is not to be trusted");
    site.nothing_happened();
    // With the right keys again: nothing that was refused is in the way.
    site.configure(|settings| settings.vendor_key = vendor);
    site.run(&["plan"]).succeeds();
}

/// Gives a package of primary another release, so that its metadata name a newer one than is there.
fn renumbered(xml: &str, name: &str) -> String {
    let package = xml.rfind(&format!("<name>{name}</name>")).unwrap();
    let release = package + xml[package..].find(" rel=\"").unwrap() + " rel=\"".len();
    format!("{}9{}", &xml[..release], &xml[release..])
}

#[test]
fn a_package_that_is_another_than_the_metadata_say_is_refused_although_it_is_signed() {
    for (of, name) in [
        (Mirror::vendor as fn(&Mirror) -> Repository, "doca-ofed-source"),
        (Mirror::appstream, "kernel-devel"),
    ] {
        // As it is after a plan that found the package under its right name, too.
        let Some((site, output)) = refused(|mirror| of(mirror).replace_primary(|xml| renumbered(&xml, name)))
        else {
            return;
        };
        let error = output.error();
        assert!(error.contains("is another package than the repository's metadata say"), "{error}");
        assert_eq!(error.matches(&format!("{name}-")).count(), 3, "the file, and both names: {error}");
        assert!(site.last_run().exit() == Some(4));
    }
}

#[test]
fn packages_that_were_verified_are_verified_again_when_the_keys_change() {
    let Some(mut site) = Site::built() else { return };
    site.run(&["run"]).succeeds();
    let wrong = site.lab.directory.join("www/keys/RPM-GPG-KEY-wrong");
    site.configure(|settings| {
        settings.vendor_key = wrong;
        settings.macros.push(("packager".to_owned(), "second".to_owned()));
    });
    site.run(&["run"]).ends_with(4).says("doca-ofed-source").says("is not to be trusted");
}

#[test]
fn a_server_without_the_repository_is_named_with_its_answer() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let server = Server::of(&site.path("www/train"));
    mirror.served_from(&mut site, &server.url());
    let refused = site.run(&["run"]).ends_with(4);
    refused.says("404").says("repodata/repomd.xml").says(&server.url());
    site.nothing_happened();
}

#[test]
fn a_wrong_password_is_told_and_no_password_is_shown_anywhere() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let right = "Basic bGFiOnJpZ2h0LWhvcnNl"; // lab:right-horse
    let server = Server::start(&mirror.www, move |request| {
        (request.authorization.as_deref() != Some(right)).then_some(Fault::Status(401))
    });
    mirror.served_from(&mut site, &server.url());
    site.configure(|settings| {
        settings.login = true;
        settings.include = vec![MINI[0].to_owned()];
    });

    // Without the variables the configuration cannot be read.
    site.run(&["plan"]).ends_with(2).says("LAB_PASSWORD");
    let seen = Arc::new(AtomicBool::new(false));
    let stop = Arc::new(AtomicBool::new(false));
    let watch = std::thread::spawn({
        let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
        move || {
            while !stop.load(Ordering::Relaxed) {
                let shown = ["wrong-battery", "right-horse"]
                    .iter()
                    .any(|word| processes::shown_in_a_command_line(word));
                seen.fetch_or(shown, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    });
    let mut outputs = Vec::new();
    for (password, code) in [("wrong-battery", 4), ("right-horse", 0)] {
        site.environment =
            vec![("LAB_USER".to_owned(), "lab".to_owned()), ("LAB_PASSWORD".to_owned(), password.to_owned())];
        outputs.push(site.run(&["run"]).ends_with(code));
        outputs.push(site.run(&["run", "--json"]).ends_with(code));
        outputs.push(site.run(&["plan"]).ends_with(code));
        outputs.push(site.run(&["show", "latest", "--json"]).succeeds());
    }
    stop.store(true, Ordering::Relaxed);
    watch.join().unwrap();
    assert!(outputs[0].stderr.contains("401"), "{}", outputs[0].stderr);
    assert!(!seen.load(Ordering::Relaxed), "a command line shows the password");
    // As words, and as the header has them.
    let secrets = ["wrong-battery", "right-horse", "bGFiOndyb25nLWJhdHRlcnk", "bGFiOnJpZ2h0LWhvcnNl"];
    for output in &outputs {
        for secret in secrets {
            assert!(!output.stdout.contains(secret) && !output.stderr.contains(secret), "{output:?}");
        }
    }
    for secret in secrets {
        let found = Command::new("grep")
            .args(["-rla", "--exclude-dir=www", secret])
            .arg(site.path(""))
            .output()
            .unwrap();
        assert_eq!(String::from_utf8_lossy(&found.stdout), "", "{secret}");
    }
}

#[test]
fn a_server_that_only_fails_is_given_up_after_a_few_tries() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let server = Server::start(&mirror.www, |_| Some(Fault::Status(500)));
    mirror.served_from(&mut site, &server.url());
    let refused = site.run(&["plan"]).ends_with(4);
    assert!(refused.took < Duration::from_secs(40), "{:?}", refused.took);
    refused.says("500").says("repomd.xml");
    // Three repositories, a few tries each.
    let requests = server.requests().len();
    assert!((3..=24).contains(&requests), "{requests}");
}

#[test]
fn a_server_that_fails_once_is_asked_again() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let failures = AtomicUsize::new(0);
    let server = Server::start(&mirror.www, move |request| {
        let first = request.path.contains("repomd.xml") && failures.fetch_add(1, Ordering::Relaxed) == 0;
        first.then_some(Fault::Status(503))
    });
    mirror.served_from(&mut site, &server.url());
    site.run(&["plan"]).succeeds().says("trying again");
}

#[test]
fn a_transfer_that_breaks_off_goes_on_where_it_was() {
    let Some(mut site) = Site::new() else { return };
    let mirror = mirror(&site);
    let cuts = AtomicUsize::new(0);
    let server = Server::start(&mirror.www, move |request| {
        let first = request.path.contains("kernel-devel") && cuts.fetch_add(1, Ordering::Relaxed) == 0;
        first.then_some(Fault::Cut(4_000_000))
    });
    mirror.served_from(&mut site, &server.url());
    let mut running = site.start(&["build"]);
    let here = |event: &Value| {
        event["event"] == "fetch-finished" && event["file"].as_str().unwrap().starts_with("kernel-devel")
    };
    assert!(running.reaches(here), "{:?}", running.end());
    // What comes after is not the matter here.
    running.kill();
    let asked: Vec<Option<u64>> = server
        .requests()
        .iter()
        .filter(|request| request.path.contains("kernel-devel"))
        .map(|request| request.from)
        .collect();
    let [None, Some(from)] = asked[..] else { panic!("{asked:?}") };
    // Some of what was sent may have been lost with the connection; most was not.
    assert!((1_000_000..=4_000_000).contains(&from), "{from}");
    let warnings = site.last_run().of("warning");
    assert!(
        warnings.iter().any(|warning| warning["message"].as_str().unwrap().contains("kernel-devel")),
        "{warnings:?}"
    );
}

#[test]
fn a_vendor_package_without_a_source_archive_is_named_with_the_setting_that_chooses_it() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.source = Some("hello-tools".to_owned()));
    site.run(&["run"]).ends_with(4).says("hello-tools").says("MLNX_OFED_SRC").says("driver.source");
    site.nothing_happened();
    site.configure(|settings| settings.source = Some("no-such-package".to_owned()));
    site.run(&["run"]).ends_with(3).says("no-such-package");
}

/// Adds a source RPM of the lab that has something wrong with it to the built stack; what a run says of it.
#[track_caller]
fn trapped(name: &str) -> Option<(Site, String)> {
    let mut site = Site::built()?;
    let trap = site.trap(name);
    site.configure(|settings| settings.extra.push(trap));
    let failed = site.run(&["run", "--quiet"]).ends_with(5);
    let run = site.last_run();
    assert_eq!(run.exit(), Some(5));
    assert_eq!(run.components("failed"), [name]);
    assert!(!site.repository(&site.lab.newer).exists());
    let error = failed.error().to_owned();
    let log = error.lines().find_map(|line| line.trim().strip_prefix("log: "));
    assert!(log.is_some_and(|log| std::path::Path::new(log).is_file()), "{error}");
    Some((site, error))
}

#[test]
fn a_component_that_does_not_compile_is_told_with_file_and_line_and_the_others_are_built_nevertheless() {
    let Some((mut site, error)) = trapped("broken-kmod") else { return };
    insta::assert_snapshot!(text::stable(&site, &error), @r"
    error: broken-kmod did not build
      - broken-kmod-1.0/broken.c:9: 'struct net_device' has no member named 'no_such_member_in_any_kernel'
        log: SITE/state/runs/RUN/logs/broken-kmod.log
    next: what did build is kept and is not built again: correct the cause (a patch, a macro, a package on the builder, driver.components.exclude) and run the same command again
    ");
    let log = site.run(&["show", "latest", "--log", "broken-kmod"]).succeeds();
    assert!(log.stdout.contains("broken.c:9"), "{}", log.stdout);
    site.run(&["show", "latest"]).succeeds().says("broken.c:9").says("exit 5");

    // From nothing, so that there is something left to build.
    std::fs::remove_dir_all(site.state().join("components")).unwrap();
    site.run(&["run", "--keep-going"]).ends_with(5).says("broken-kmod did not build");
    let run = site.last_run();
    assert_eq!(run.components("built"), MINI);
    assert_eq!(run.components("failed"), ["broken-kmod"]);
    assert!(!site.repository(&site.lab.newer).exists(), "part of a stack is not published");
    // What was built is there for the next run.
    site.configure(|settings| settings.extra.clear());
    site.run(&["run"]).succeeds();
    assert_eq!(site.last_run().components("reused"), MINI);
}

#[test]
fn a_component_that_wants_the_network_is_told_that_there_is_none() {
    let Some((site, error)) = trapped("nosy-kmod") else { return };
    insta::assert_snapshot!(text::stable(&site, &error), @r"
    error: nosy-kmod did not build
      - the spec file of nosy-kmod tries to reach the network during the build (bash: connect: Network is unreachable); builds run without one: put what it fetches into the source RPM, or name it as a source in the configuration
        log: SITE/state/runs/RUN/logs/nosy-kmod.log
    next: what did build is kept and is not built again: correct the cause (a patch, a macro, a package on the builder, driver.components.exclude) and run the same command again
    ");
}

#[test]
fn a_component_that_needs_a_missing_package_names_it_before_anything_is_compiled() {
    let Some((site, error)) = trapped("needy-kmod") else { return };
    insta::assert_snapshot!(text::stable(&site, &error), @r"
    error: needy-kmod did not build
      - component needy-kmod needs libunobtainium-devel, which neither the builder, nor kernel-devel, nor a component that it names in `needs` provides: install what provides it, or add it to builder.provides
        log: SITE/state/runs/RUN/logs/needy-kmod.log
    next: what did build is kept and is not built again: correct the cause (a patch, a macro, a package on the builder, driver.components.exclude) and run the same command again
    ");
}

#[test]
fn a_component_without_modules_is_told_what_asks_for_them() {
    let Some((site, error)) = trapped("dkmsonly") else { return };
    insta::assert_snapshot!(text::stable(&site, &error), @r"
    error: dkmsonly did not build
      - dkmsonly built without an error but made no kernel module (only dkmsonly-dkms): recent vendor spec files build modules only when asked `--with building_kmods`, and DKMS packages otherwise; see whether the configured `with`, `without` and `macros` are the ones that this spec file asks for
        log: SITE/state/runs/RUN/logs/dkmsonly.log
    next: what did build is kept and is not built again: correct the cause (a patch, a macro, a package on the builder, driver.components.exclude) and run the same command again
    ");
    assert!(error.contains("--with building_kmods"));
}

/// A file system of a size, unmounted when dropped.
struct SmallDisk(std::path::PathBuf);

impl SmallDisk {
    /// `None` where this user or this container may not mount.
    fn mount(path: std::path::PathBuf, size: &str) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "drivetrain-test"])
            .arg(&path)
            .output();
        if !mounted.is_ok_and(|output| output.status.success()) {
            println!("skipped: tmpfs cannot be mounted here");
            return None;
        }
        Some(Self(path))
    }

    fn grow(&self, size: &str) {
        let status = Command::new("mount")
            .args(["-o", &format!("remount,size={size}")])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Fills it but for some kilobytes; what it gives back is the file that does so.
    fn fill(&self, leave: u64) -> std::path::PathBuf {
        let output = Command::new("df").args(["--output=avail", "-k"]).arg(&self.0).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let available: u64 = text.lines().last().unwrap().trim().parse().unwrap();
        let filler = self.0.join("filler");
        std::fs::write(&filler, vec![0_u8; usize::try_from((available - leave) * 1024).unwrap()]).unwrap();
        filler
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

/// The error of a run that found a disk full: it says which.
#[track_caller]
fn full(output: common::Output, disk: &SmallDisk) {
    assert!(output.code.is_some_and(|code| code != 0 && code != 70), "{output:?}");
    let error = output.error();
    assert!(error.contains("there is no room") || error.contains(" is full"), "{error}");
    assert!(error.contains(disk.0.to_str().unwrap()), "{error}");
}

#[test]
fn a_disk_too_small_for_the_kernel_is_named_and_when_it_has_grown_the_same_command_goes_on() {
    let Some(mut site) = Site::new() else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    let Some(disk) = SmallDisk::mount(site.state(), "6m") else { return };
    // Too small for the download, then for what is in it.
    for size in ["6m", "30m"] {
        disk.grow(size);
        full(site.run(&["run"]), &disk);
        site.nothing_happened();
    }
    disk.grow("1g");
    site.run(&["run"]).succeeds();
    let kernel = &site.lab.newer;
    assert_eq!(whole(&site.repository(kernel)), Ok(Some(site.served(kernel))));
    let fetched = site.last_run().of("fetch-finished");
    assert!(
        fetched
            .iter()
            .all(|event| !event["file"].as_str().unwrap().starts_with("kernel-devel")
                || event["cached"] == true),
        "{fetched:?}"
    );
}

#[test]
fn a_disk_that_fills_up_during_a_build_is_named_and_what_was_finished_is_kept() {
    let Some(mut site) = Site::new() else { return };
    let Some(disk) = SmallDisk::mount(site.state(), "500m") else { return };
    site.configure(|settings| settings.include = vec![MINI[0].to_owned()]);
    site.run(&["build"]).succeeds();
    site.configure(|settings| settings.include.clear());
    // Too little for preparing the build, for building, for keeping what was built; and then enough.
    let mut failures = 0;
    loop {
        let filler = disk.fill(100 * (failures + 1));
        let output = site.run(&["run"]);
        if output.code == Some(0) {
            break;
        }
        full(output, &disk);
        assert!(!site.repository(&site.lab.newer).exists());
        std::fs::remove_file(filler).unwrap();
        failures += 1;
    }
    assert!(failures > 2, "{failures}");
    assert_eq!(site.last_run().components("reused"), [MINI[0]]);
    assert_eq!(site.last_run().components("built"), [MINI[1]]);
}

#[test]
fn a_full_disk_under_the_publication_is_named_and_what_was_served_is_served_still() {
    let Some(mut site) = Site::built() else { return };
    let Some(disk) = SmallDisk::mount(site.settings.publish.clone(), "2m") else { return };
    site.run(&["run"]).succeeds();
    let repomd =
        |site: &Site| std::fs::read(site.repository(&site.lab.newer).join("repodata/repomd.xml")).unwrap();
    let first = repomd(&site);
    site.configure(|settings| settings.macros.push(("packager".to_owned(), "second".to_owned())));
    let filler = disk.fill(8);
    full(site.run(&["run"]).ends_with(7), &disk);
    assert_eq!(repomd(&site), first);
    assert_eq!(whole(&site.repository(&site.lab.newer)), Ok(Some(site.served(&site.lab.newer))));
    std::fs::remove_file(filler).unwrap();
    site.run(&["push"]).succeeds().says("Served: version 2");
}

#[test]
fn an_extra_source_that_is_not_there_or_is_no_source_rpm_is_named() {
    let Some(mut site) = Site::new() else { return };
    let missing = site.path("srpms");
    site.configure(|settings| settings.extra.push(missing.clone()));
    site.run(&["run"]).ends_with(2).says(missing.to_str().unwrap()).says("driver.extra");
    std::fs::create_dir(&missing).unwrap();
    site.run(&["run"]).ends_with(2).says("no file that ends in .src.rpm");
    std::fs::write(missing.join("knem-1.0-1.src.rpm"), "<html>404</html>").unwrap();
    site.run(&["run"]).ends_with(4).says("srpms/knem-1.0-1.src.rpm");
    // A binary package is none, whatever it is called.
    std::fs::copy(&site.lab.newer.devel, missing.join("knem-1.0-1.src.rpm")).unwrap();
    site.run(&["run"]).ends_with(4).says("srpms/knem-1.0-1.src.rpm");
    site.nothing_happened();
}
