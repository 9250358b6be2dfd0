//! A real kernel under a real QEMU, and modules that are well and that are not.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use std::time::Duration;

use common::{Bench, results};
use drivetrain_boot::{BootError, Ending, boot};
use drivetrain_host::CancellationToken;

#[tokio::test]
async fn modules_are_loaded_with_what_they_need_and_the_kernels_words_are_told() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_good", "dt_user"]);
    let verdict = bench.boot(&["dt_user", "dt_good"]).await;
    assert_eq!(verdict.problems, Vec::<String>::new(), "{}", bench.console());
    assert_eq!(verdict.ending, Ending::Finished);
    let order: Vec<&str> = verdict.modules.iter().map(|module| module.name.as_str()).collect();
    assert_eq!(order, ["crc_itu_t", "dt_good", "dt_user"]);
    assert_eq!(results(&verdict, &order), ["loaded", "loaded", "loaded"]);
    let good = &verdict.modules[1];
    assert!(good.said.iter().any(|line| line == "dt_good: here"), "{good:?}");
    assert_eq!((good.path.as_str(), good.taint.as_deref()), ("extra/dt_good.ko", Some("OE")));
    assert_eq!((good.loaded_srcversion.is_some(), &good.srcversion), (true, &good.loaded_srcversion));
    assert_eq!((good.loaded_build_id.is_some(), &good.build_id), (true, &good.loaded_build_id));
    assert!(!verdict.modules[0].ours && good.ours);
    assert!(verdict.warnings.iter().any(|line| line.contains("dt_user")), "{:?}", verdict.warnings);
    assert!(bench.console().contains("drivetrain: loading dt_user"), "{}", bench.console());
}

#[tokio::test]
async fn a_module_that_oopses_ends_the_loading_and_is_told_of_with_the_kernels_words() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_oops", "dt_good"]);
    let verdict = bench.boot(&["dt_oops", "dt_good"]).await;
    assert_eq!(verdict.ending, Ending::Finished, "{}", bench.console());
    let results = results(&verdict, &["dt_oops", "dt_good"]);
    assert!(
        results[0].starts_with("broke the kernel: the process that loads it was ended by signal"),
        "{results:?}"
    );
    assert_eq!(results[1], "not tried: the kernel cannot be trusted after dt_oops");
    assert!(verdict.problems[0].starts_with("dt_oops: it breaks the kernel"), "{:?}", verdict.problems);
    assert!(verdict.problems[0].contains("BUG: kernel NULL pointer dereference"), "{:?}", verdict.problems);
}

#[tokio::test]
async fn a_module_that_takes_the_machine_down_is_named_and_the_console_says_why() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_panic", "dt_good"]);
    let verdict = bench.boot(&["dt_panic", "dt_good"]).await;
    assert_eq!(verdict.ending, Ending::WentDown);
    assert_eq!(results(&verdict, &["dt_panic"]), ["broke the kernel: the whole machine went down"]);
    assert!(
        verdict.problems[0].contains("Kernel panic - not syncing: dt_panic: on purpose"),
        "{:?}",
        verdict.problems
    );
    assert!(bench.console().contains("dt_panic: on purpose"), "{}", bench.console());
}

#[tokio::test]
async fn a_module_that_hangs_is_given_up_at_the_deadline_with_where_it_is() {
    let Some(mut bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_hang", "dt_good"]);
    bench.options.step_timeout = Duration::from_secs(2);
    let verdict = bench.boot(&["dt_hang", "dt_good"]).await;
    assert_eq!(verdict.ending, Ending::Finished, "{}", bench.console());
    assert_eq!(
        results(&verdict, &["dt_hang", "dt_good"]),
        ["hangs", "not tried: dt_hang hangs, and holds what loads modules"]
    );
    let said = verdict.modules[0].said.join("\n");
    assert!(said.contains("it is at [<0>] dt_hang_init"), "{said}");
    assert!(verdict.problems[0].contains("not loaded after 2 s"), "{:?}", verdict.problems);

    // And where the guest itself is not asked to give it up, the host does.
    bench.options.step_timeout = Duration::from_secs(600);
    bench.options.timeout = Duration::from_secs(10);
    let mut verdict = bench.boot(&["dt_hang", "dt_good"]).await;
    // A busy host without KVM is not as far by then.
    while !bench.console().contains("drivetrain: loading dt_hang") {
        bench.options.timeout *= 2;
        verdict = bench.boot(&["dt_hang", "dt_good"]).await;
    }
    assert_eq!(
        (verdict.ending, results(&verdict, &["dt_hang"])),
        (Ending::TimedOut, vec!["hangs".to_owned()])
    );
    let limit = format!("not loaded after {} s", bench.options.timeout.as_secs());
    assert!(verdict.problems[0].contains(&limit), "{:?}", verdict.problems);
}

#[tokio::test]
async fn what_does_not_fit_the_kernel_is_refused_in_its_words() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_orphan"]);
    // Whoever compiled it had another kernel.
    let other = fs_err::read(modules.join("dt_good.ko")).unwrap();
    let other = with_other_crc(other);
    fs_err::write(bench.tree.root.join(&bench.path_of("dt_good")[1..]), other).unwrap();
    let verdict = bench.boot(&["dt_orphan", "dt_good"]).await;
    assert_eq!(
        results(&verdict, &["dt_orphan", "dt_good"]),
        ["refused: No such file or directory (os error 2)", "refused: Exec format error (os error 8)"],
        "{}",
        bench.console()
    );
    let problems = verdict.problems.join("\n");
    assert!(problems.contains("dt_orphan needs dt_lost, which no installed package has"), "{problems}");
    assert!(problems.contains("(dt_orphan: Unknown symbol dt_lost (err -2))"), "{problems}");
    assert!(problems.contains("dt_good: disagrees about version of symbol module_layout"), "{problems}");
}

/// Changes the CRC of the symbol that every module has, as another kernel would.
fn with_other_crc(mut module: Vec<u8>) -> Vec<u8> {
    let name = b"module_layout\0";
    let at = module.windows(name.len()).position(|window| window == name).unwrap();
    // `struct modversion_info`: the CRC in eight bytes, and then the name.
    module[at - 8] ^= 0xff;
    module
}

#[tokio::test]
async fn compressed_modules_are_loaded_and_an_inbox_twin_that_wins_is_told_of() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    let tree = bench.tree.root.join("lib/modules").join(bench.release.as_str());
    for directory in ["extra", "updates", "kernel/dt"] {
        fs_err::create_dir_all(tree.join(directory)).unwrap();
    }
    let read = |name: &str| fs_err::read(modules.join(name)).unwrap();
    let xz = {
        let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 6);
        std::io::Write::write_all(&mut encoder, &read("dt_user.ko")).unwrap();
        encoder.finish().unwrap()
    };
    fs_err::write(tree.join("updates/dt_user.ko.xz"), xz).unwrap();
    fs_err::write(
        tree.join("extra/dt_lost.ko.zst"),
        zstd::encode_all(read("dt_lost.ko").as_slice(), 3).unwrap(),
    )
    .unwrap();
    // What the kernel's own directory has goes before `extra` where an override says so.
    fs_err::write(tree.join("extra/dt_good.ko"), read("dt_good.ko")).unwrap();
    fs_err::write(tree.join("kernel/dt/dt_good.ko"), read("dt_good.ko")).unwrap();
    let mut request = bench.request(&["dt_user", "dt_lost", "dt_good"]);
    request.modules[0].path = format!("/usr/lib/modules/{}/updates/dt_user.ko.xz", bench.release);
    request.modules[1].path = format!("/lib/modules/{}/extra/dt_lost.ko.zst", bench.release);
    let configuration = bench.tree.root.join("etc/depmod.d");
    fs_err::create_dir_all(&configuration).unwrap();
    fs_err::write(configuration.join("dt.conf"), "override dt_good * extra\n").unwrap();
    let verdict = bench.try_boot(&request).await.unwrap();
    assert_eq!(verdict.problems, Vec::<String>::new(), "{}", bench.console());
    let paths: Vec<&str> = verdict.ours().map(|module| module.path.as_str()).collect();
    assert_eq!(paths, ["extra/dt_good.ko", "updates/dt_user.ko.xz", "extra/dt_lost.ko.zst"]);

    fs_err::write(configuration.join("dt.conf"), "override dt_good * kernel/dt\n").unwrap();
    let verdict = bench.try_boot(&request).await.unwrap();
    assert_eq!(
        verdict.problems,
        [
            "dt_good: a node would load kernel/dt/dt_good.ko in place of extra/dt_good.ko: the package has no override \
             for it in depmod.d, or another's comes before it"
        ]
    );
}

/// The same module with its CRCs in the extended form as well, as `modpost` writes them since Linux 6.14
/// (`add_extended_versions`), and with the first of them changed where that is asked for.
fn with_extended_crcs(module: &camino::Utf8Path, changed: bool) -> Vec<u8> {
    let at = |name: &str| module.with_extension(name);
    let objcopy = |arguments: &[String]| {
        let output = std::process::Command::new("objcopy").args(arguments).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    let versions = at("versions");
    let taken = ["-O", "binary", "--only-section=__versions", module.as_str(), versions.as_str()];
    objcopy(&taken.map(str::to_owned));
    let (mut crcs, mut names) = (Vec::new(), Vec::new());
    for entry in fs_err::read(&versions).unwrap().chunks_exact(64) {
        crcs.extend(&entry[..4]);
        names.extend(entry[8..].split_inclusive(|byte| *byte == 0).next().unwrap());
    }
    if changed {
        crcs[0] ^= 0xff;
    }
    fs_err::write(at("crcs"), crcs).unwrap();
    fs_err::write(at("names"), names).unwrap();
    let mut added = Vec::new();
    for (section, file) in [("__version_ext_crcs", at("crcs")), ("__version_ext_names", at("names"))] {
        added.extend(["--add-section".to_owned(), format!("{section}={file}")]);
        added.extend(["--set-section-flags".to_owned(), format!("{section}=alloc,readonly,data")]);
    }
    let made = at("extended");
    added.extend([module.to_string(), made.to_string()]);
    objcopy(&added);
    fs_err::read(made).unwrap()
}

#[tokio::test]
async fn crcs_in_the_extended_form_of_newer_kernels_are_judged_and_a_kernel_that_does_not_know_them_loads_the_module()
 {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    let built = modules.join("dt_good.ko");
    let kernel = bench.lab.join("kernels").join(bench.release.as_str());
    let kernel = drivetrain_prove::read_kernel(&kernel, Some(&bench.release)).unwrap();
    let judge = |bytes: Vec<u8>| {
        let module = drivetrain_prove::ModuleFile { package: None, path: bench.path_of("dt_good"), bytes };
        drivetrain_prove::prove(&[module], &kernel, drivetrain_kmod::VermagicPolicy::Exact).unwrap()
    };
    let plain = judge(fs_err::read(&built).unwrap());
    let extended = with_extended_crcs(&built, false);
    let proof = judge(extended.clone());
    assert!(proof.verdict.is_good(), "{proof}");
    assert_eq!(proof.symbols, plain.symbols);
    // Newer kernels take the extended table where a module has both: so does the proof.
    let proof = judge(with_extended_crcs(&built, true));
    assert!(!proof.verdict.is_good());
    assert!(format!("{proof}").contains("CRC"), "{proof}");

    bench.put(&modules, &["dt_good"]);
    fs_err::write(bench.tree.root.join(&bench.path_of("dt_good")[1..]), extended).unwrap();
    let verdict = bench.boot(&["dt_good"]).await;
    assert_eq!(verdict.problems, Vec::<String>::new(), "{}", bench.console());
    assert_eq!(results(&verdict, &["dt_good"]), ["loaded"]);
}

#[tokio::test]
async fn a_guest_without_enough_memory_says_what_to_raise_and_another_kernel_is_told_from_the_one_asked_for()
{
    let Some(mut bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_good"]);
    bench.options.memory = 48;
    let verdict = bench.boot(&["dt_good"]).await;
    let problems = verdict.problems.join("\n");
    assert!(problems.contains("48 MiB of memory are too little"), "{problems}\n{}", bench.console());

    // The image of the other kernel where this one's should be.
    bench.options.memory = 512;
    let (lab, kernels) = common::lab().unwrap();
    let other = bench.path.join("other");
    fs_err::create_dir(&other).unwrap();
    let (_, package) = common::packages(&lab, &common::directory_of(&kernels[0]), &["kernel-core"]).remove(0);
    drivetrain_rpmfile::extract(
        package.as_std_path(),
        other.as_std_path(),
        &drivetrain_rpmfile::PayloadLimits::default(),
        |_| true,
    )
    .unwrap();
    let image =
        |root: &camino::Utf8Path, release: &str| root.join("lib/modules").join(release).join("vmlinuz");
    let ours = image(&bench.tree.root, bench.release.as_str());
    fs_err::remove_file(&ours).unwrap();
    fs_err::copy(image(&other, &kernels[0]), &ours).unwrap();
    let verdict = bench.boot(&["dt_good"]).await;
    let expected = format!("the kernel that booted is {}, and not {}", kernels[0], bench.release);
    assert!(verdict.problems.contains(&expected), "{:?}", verdict.problems);
}

#[tokio::test]
async fn what_cannot_be_booted_at_all_is_an_error_that_says_why() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_good"]);
    let image = bench.tree.root.join("lib/modules").join(bench.release.as_str()).join("vmlinuz");
    let bytes = fs_err::read(&image).unwrap();
    let request = bench.request(&["dt_good"]);
    let fails = async || bench.try_boot(&request).await.unwrap_err().to_string();

    fs_err::remove_file(&image).unwrap();
    fs_err::write(&image, &bytes[..bytes.len() / 2]).unwrap();
    let why = fails().await;
    assert!(why.contains("is damaged: it has") && why.contains("that its header speaks of"), "{why}");
    fs_err::write(&image, "no kernel").unwrap();
    assert!(fails().await.contains("it is no image of a kernel for x86"));
    fs_err::remove_file(&image).unwrap();
    assert!(fails().await.contains("has no image of kernel"));
    fs_err::write(&image, &bytes).unwrap();
    let mut request = bench.request(&["dt_good", "dt_none"]);
    let why = bench.try_boot(&request).await.unwrap_err().to_string();
    assert!(why.contains("extra/dt_none.ko, which the packages to be published should install"), "{why}");
    request.modules.pop();
    let never = CancellationToken::new();
    never.cancel();
    let scratch = bench.path.join("scratch");
    let ended = boot(&bench.host, &bench.tree, &request, &bench.options, &bench.path, &scratch, &never).await;
    assert!(matches!(ended, Err(BootError::Cancelled)), "{ended:?}");
    assert!(!scratch.exists());
}

#[tokio::test]
async fn a_boot_that_is_cancelled_or_dropped_leaves_no_machine_and_no_files() {
    let Some(bench) = Bench::new().await else { return };
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_hang"]);
    let request = bench.request(&["dt_hang"]);
    let scratch = bench.path.join("scratch");
    let mark = bench.path.join("boot-console.log").to_string();
    let runs = || machines_with(&mark) > 0;
    let cancel = CancellationToken::new();
    let work = boot(&bench.host, &bench.tree, &request, &bench.options, &bench.path, &scratch, &cancel);
    let stop = async {
        until(runs).await;
        cancel.cancel();
    };
    let (ended, ()) = tokio::join!(work, stop);
    assert!(matches!(ended, Err(BootError::Cancelled)), "{ended:?}");
    assert_eq!(machines_with(&mark), 0);

    let never = CancellationToken::new();
    let work = boot(&bench.host, &bench.tree, &request, &bench.options, &bench.path, &scratch, &never);
    tokio::select! {
        ended = work => panic!("{ended:?}"),
        () = until(runs) => {}
    }
    until(|| machines_with(&mark) == 0).await;
    assert!(!scratch.exists());
}

/// How many processes have these words among their arguments.
fn machines_with(words: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let has = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        line.contains("qemu-system") && line.contains(words)
    };
    entries.filter(has).count()
}

async fn until(condition: impl Fn() -> bool) {
    let started = std::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(60), "it never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
