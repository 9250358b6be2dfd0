//! The initramfs that a real dracut makes of an installed tree: that the modules in it are those to be published.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test ends where something fails, and says what it left out"
)]

mod common;

use camino::Utf8Path;
use common::Bench;
use drivetrain_boot::{GeneratedImage, Installed};
use fs_err as fs;

/// A bench whose tree is a system with dracut, and the modules that are compiled for it.
async fn bench() -> Option<Bench> {
    let dracut = drivetrain_lab::dracut::of_tests().unwrap()?;
    let mut bench = Bench::new().await?;
    // The kernel's packages go on top.
    let kernel = bench.tree.root.clone();
    let root = bench.path.join("system");
    copy(&dracut, &root);
    fs::create_dir_all(root.join("usr/lib/modules")).unwrap();
    copy(
        &kernel.join("lib/modules").join(bench.release.as_str()),
        &root.join("usr/lib/modules").join(bench.release.as_str()),
    );
    bench.tree.root = root;
    // It is unpacked, and no script of its packages is missed: dracut runs in it as in one that rpm installed.
    bench.tree.how = Installed::ByRpm;
    let modules = bench.compile(bench.release.as_str());
    bench.put(&modules, &["dt_good", "dt_user"]);
    Some(bench)
}

fn copy(from: &Utf8Path, to: &Utf8Path) {
    let status = std::process::Command::new("cp").args(["-a", from.as_str(), to.as_str()]).status().unwrap();
    assert!(status.success());
}

/// What packages and sites say to dracut.
fn configure(bench: &Bench, text: &str) {
    let directory = bench.tree.root.join("etc/dracut.conf.d");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("dt.conf"), text).unwrap();
}

/// The microcode of processors, as an image has it before everything else.
fn put_microcode(bench: &Bench) {
    let directory = bench.tree.root.join("usr/lib/firmware/amd-ucode");
    fs::create_dir_all(&directory).unwrap();
    fs::write(directory.join("microcode_amd.bin"), vec![7; 5000]).unwrap();
}

async fn image(bench: &Bench) -> (GeneratedImage, Vec<String>, Vec<String>) {
    let verdict = bench.boot(&["dt_user", "dt_good"]).await;
    (verdict.image.unwrap(), verdict.warnings, verdict.problems)
}

#[tokio::test]
async fn the_image_of_a_real_dracut_has_ours_behind_microcode_and_whatever_compresses_it() {
    let Some(bench) = bench().await else { return };
    put_microcode(&bench);
    for compression in ["zstd", "xz", "gzip"] {
        configure(
            &bench,
            &format!("compress=\"{compression}\"\nearly_microcode=\"yes\"\nadd_drivers+=\" dt_good \"\n"),
        );
        let (image, warnings, problems) = image(&bench).await;
        assert_eq!(image.not_made, None, "{compression}");
        assert_eq!(problems, Vec::<String>::new(), "{compression}");
        assert_eq!(image.ours, ["dt_good"], "{compression}: {warnings:?}");
        // Those of disks and networks, which dracut takes by itself.
        assert!(image.modules > 20, "{compression}: {}", image.modules);
    }
}

#[tokio::test]
async fn an_inbox_twin_in_the_image_of_a_real_dracut_is_a_problem() {
    let Some(bench) = bench().await else { return };
    let release = &bench.release;
    let tree = bench.tree.root.join("usr/lib/modules").join(release.as_str());
    fs::create_dir_all(tree.join("kernel/dt")).unwrap();
    // Another module under the name of ours; the tree prefers ours, and somebody has named the other's file.
    fs::copy(tree.join("extra/dt_user.ko"), tree.join("kernel/dt/dt_good.ko")).unwrap();
    fs::create_dir_all(bench.tree.root.join("etc/depmod.d")).unwrap();
    fs::write(bench.tree.root.join("etc/depmod.d/dt.conf"), "override dt_good * extra\n").unwrap();
    let twin = format!("/usr/lib/modules/{release}/kernel/dt/dt_good.ko");
    configure(&bench, &format!("add_drivers+=\" dt_good \"\ninstall_items+=\" {twin} \"\n"));
    let (image, _, problems) = image(&bench).await;
    assert_eq!((image.not_made.as_ref(), &image.ours), (None, &vec!["dt_good".to_owned()]));
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(
        problems[0].contains("the initramfs that the installed dracut makes has another in it"),
        "{problems:?}"
    );
    assert!(problems[0].contains("kernel/dt/dt_good.ko"), "{problems:?}");
}
