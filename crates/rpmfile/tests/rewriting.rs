//! A package that is written anew is the package that a build with the change in it would have made: judged by rpm.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

mod support;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use drivetrain_model::{Capability, Comparison, Evr};
use drivetrain_rpmfile::{Changes, FileFact, PayloadLimits, Problem, RpmFile, rewrite};
use support::{run, try_run};
use tempfile::TempDir;

const OLDER: &str = "5.14.0-55.el9.x86_64";
const NEWER: &str = "5.14.0-56.el9.x86_64";

/// Builds a kmod for a kernel with the real rpmbuild, as the vendors' spec files have it: the kernel in the release, in
/// paths, links, dependencies, scripts and in a file's text.
fn built(directory: &Path, kernel: &str, payload: &str) -> PathBuf {
    let spec = directory.join("kmod-thing.spec");
    let release = kernel.replace('-', "_");
    fs::write(
        &spec,
        format!(
            r#"
Name: kmod-thing
Version: 1.0
Release: 1.{release}
Summary: A thing for {kernel}
License: GPL-2.0
Provides: kmod-thing-uname-r = {kernel}
Provides: zebra
Requires: kernel-core-uname-r = {kernel}
Requires(post): /usr/sbin/depmod
AutoReqProv: no
%description
Modules for {kernel}.
%install
mkdir -p %{{buildroot}}/lib/modules/{kernel}/extra %{{buildroot}}/etc/depmod.d %{{buildroot}}/usr/share/thing
echo "built for {kernel}" >%{{buildroot}}/lib/modules/{kernel}/extra/thing.ko
echo other >%{{buildroot}}/lib/modules/{kernel}/extra/other.ko
ln %{{buildroot}}/lib/modules/{kernel}/extra/other.ko %{{buildroot}}/lib/modules/{kernel}/extra/same.ko
ln -s /lib/modules/{kernel}/extra/thing.ko %{{buildroot}}/usr/share/thing/link
echo "override thing * extra" >%{{buildroot}}/etc/depmod.d/thing.conf
: >%{{buildroot}}/usr/share/thing/empty
find %{{buildroot}} -exec touch -h -d @1700000000 {{}} +
%post
/sbin/depmod -a {kernel} || :
%files
%config /etc/depmod.d/thing.conf
/lib/modules/{kernel}/extra
/usr/share/thing
%changelog
* Mon Jan 01 2024 Somebody <somebody@example.org> - 1.0-1
- for the first kernel, {OLDER}
"#
        ),
    )
    .unwrap();
    let out = directory.join(format!("out-{kernel}-{payload}"));
    let defines = [
        format!("_rpmdir {}", out.display()),
        format!("_topdir {}", directory.join("top").display()),
        format!("_binary_payload {payload}"),
        "_buildhost builder".to_owned(),
        "_build_id_links none".to_owned(),
        "debug_package %{nil}".to_owned(),
        "__os_install_post %{nil}".to_owned(),
        "_file_hash_algorithm 8".to_owned(),
        "_binary_filedigest_algorithm 8".to_owned(),
    ];
    let mut command = Command::new("rpmbuild");
    command.arg("-bb").args(["--target", "x86_64"]);
    command.args(defines.iter().flat_map(|define| ["--define", define.as_str()]));
    run(command.arg(&spec));
    out.join(format!("x86_64/kmod-thing-1.0-1.{release}.x86_64.rpm"))
}

/// For another kernel.
struct Kernel;

impl Changes for Kernel {
    fn wants(&self, file: &FileFact) -> bool {
        file.path.ends_with("thing.ko")
    }

    fn content(&mut self, file: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        assert!(file.path.contains(OLDER), "{}", file.path);
        Ok(Some(String::from_utf8_lossy(content).replace(OLDER, NEWER).into_bytes()))
    }

    fn text(&self, text: &str) -> Option<String> {
        let new = text.replace(OLDER, NEWER).replace(&OLDER.replace('-', "_"), &NEWER.replace('-', "_"));
        (new != text).then_some(new)
    }
}

/// All of a header as rpm reads it, but the moment at which it was built and the digests that follow from that; those of
/// the payload too, since archives say when and under which inode a file was made.
fn header(package: &Path) -> String {
    const NOT_COMPARED: [&str; 11] = [
        "Buildtime",
        "Sha1header",
        "Sha256header",
        "Sigmd5",
        "Sigsize",
        "Cookie",
        "Longarchivesize",
        "Fileinodes",
        "Payloaddigest",
        "Payloaddigestalgo",
        "Payloaddigestalt",
    ];
    let text = run(Command::new("rpm").args(["-qp", "--xml", "--nosignature"]).arg(package));
    let mut kept = String::new();
    let mut skipping = false;
    for line in text.lines() {
        if let Some(tag) = line.trim().strip_prefix("<rpmTag name=\"") {
            skipping = NOT_COMPARED.iter().any(|name| tag.starts_with(&format!("{name}\"")));
        }
        if !skipping {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Lets rpm install a package into a root, and verify what it has installed.
fn installed(directory: &Path, package: &Path) -> PathBuf {
    let root = directory.join("root");
    fs::create_dir(&root).unwrap();
    let install = ["-i", "--nodeps", "--noscripts", "--nosignature", "--root"];
    run(Command::new("rpm").args(install).arg(&root).arg(package));
    let verified =
        try_run(Command::new("rpm").args(["-V", "--nodeps", "--root"]).arg(&root).arg("kmod-thing"));
    let said = String::from_utf8_lossy(&verified.stdout);
    assert!(verified.status.success(), "{}: {said}", package.display());
    root
}

fn all() -> PayloadLimits {
    PayloadLimits::default()
}

#[test]
fn a_package_rewritten_for_another_kernel_is_the_one_that_a_build_for_it_makes() {
    for payload in ["w9.gzdio", "w6.xzdio", "w3.zstdio", "w3T2.zstdio", "w.ufdio"] {
        let directory = TempDir::new().unwrap();
        let (older, newer) =
            (built(directory.path(), OLDER, payload), built(directory.path(), NEWER, payload));
        let ours = directory.path().join("ours.rpm");
        rewrite(&older, &ours, &all(), &mut Kernel).unwrap();
        let (wanted, found) = (header(&newer), header(&ours));
        assert_eq!(found, wanted, "{payload}");
        let judged = run(Command::new("rpmkeys").args(["-Kv", "--nosignature"]).arg(&ours));
        assert!(judged.contains("Header SHA256 digest: OK"), "{payload}: {judged}");
        assert!(judged.contains("Payload SHA256 digest: OK"), "{payload}: {judged}");
        let root = installed(directory.path(), &ours);
        let module = fs::read_to_string(root.join(format!("lib/modules/{NEWER}/extra/thing.ko"))).unwrap();
        assert_eq!(module, format!("built for {NEWER}\n"), "{payload}");
        let link = fs::read_link(root.join("usr/share/thing/link")).unwrap();
        assert_eq!(link, Path::new(&format!("/lib/modules/{NEWER}/extra/thing.ko")), "{payload}");
        let same = fs::read_to_string(root.join(format!("lib/modules/{NEWER}/extra/same.ko"))).unwrap();
        assert_eq!(same, "other\n", "{payload}");
    }
}

/// Longer modules, and one more thing to offer.
struct Longer;

impl Changes for Longer {
    fn wants(&self, file: &FileFact) -> bool {
        file.path.ends_with(".ko")
    }

    fn content(&mut self, _: &FileFact, content: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(Some([content, b"~signed~\n"].concat()))
    }

    fn provides(&self) -> Vec<Capability> {
        let evr = Evr::new(0, "1", "2");
        vec![
            Capability::unversioned("installonlypkg(kernel-module)"),
            Capability::versioned("signed", Comparison::Equal, evr),
        ]
    }
}

#[test]
fn longer_files_and_further_provides_are_what_rpm_finds() {
    let directory = TempDir::new().unwrap();
    let package = built(directory.path(), NEWER, "w9.gzdio");
    let ours = directory.path().join("ours.rpm");
    rewrite(&package, &ours, &all(), &mut Longer).unwrap();
    let (before, after) = (RpmFile::open(&package).unwrap(), RpmFile::open(&ours).unwrap());
    let query = |path: &Path, format: &str| {
        run(Command::new("rpm").args(["-qp", "--nosignature", "--qf", format]).arg(path))
            .parse::<u64>()
            .unwrap()
    };
    // Two files with content, one of them under two names.
    assert_eq!(query(&ours, "%{LONGSIZE}"), query(&package, "%{LONGSIZE}") + 18);
    assert_eq!(after.nevra, before.nevra);
    for (file, was) in after.files.iter().zip(&before.files) {
        let longer = if file.path.ends_with(".ko") { 9 } else { 0 };
        assert_eq!(file.size, was.size + longer, "{}", file.path);
    }
    let provides = run(Command::new("rpm").args(["-qp", "--nosignature", "--provides"]).arg(&ours));
    let names: Vec<&str> = provides.lines().collect();
    assert!(names.contains(&"installonlypkg(kernel-module)") && names.contains(&"signed = 1-2"), "{names:?}");
    assert!(names.is_sorted(), "{names:?}");
    // What is installed verifies, and of what was changed the bytes are ours.
    let root = installed(directory.path(), &ours);
    assert!(
        fs::read(root.join(format!("lib/modules/{NEWER}/extra/same.ko"))).unwrap().ends_with(b"~signed~\n")
    );
}

#[test]
fn the_same_change_makes_the_same_file() {
    let directory = TempDir::new().unwrap();
    let package = built(directory.path(), NEWER, "w3.zstdio");
    let (one, other) = (directory.path().join("one.rpm"), directory.path().join("other.rpm"));
    rewrite(&package, &one, &all(), &mut Longer).unwrap();
    rewrite(&package, &other, &all(), &mut Longer).unwrap();
    assert!(fs::read(one).unwrap() == fs::read(other).unwrap());
}

/// Nothing.
struct Nothing;

impl Changes for Nothing {}

#[test]
fn nothing_changed_is_the_same_header() {
    let directory = TempDir::new().unwrap();
    let package = built(directory.path(), NEWER, "w9.gzdio");
    let ours = directory.path().join("ours.rpm");
    rewrite(&package, &ours, &all(), &mut Nothing).unwrap();
    let digest = |path: &Path| {
        run(Command::new("rpm").args(["-qp", "--nosignature", "--qf", "%{PAYLOADDIGESTALT}"]).arg(path))
    };
    assert_eq!(digest(&ours), digest(&package));
    assert_eq!(header(&ours), header(&package));
}

/// A name that moves a file behind the next one.
struct Moved;

impl Changes for Moved {
    fn text(&self, text: &str) -> Option<String> {
        text.contains("/lib/modules").then(|| text.replace("/lib/modules", "/zzz"))
    }
}

/// Fails with a file.
struct Failing;

impl Changes for Failing {
    fn wants(&self, file: &FileFact) -> bool {
        file.path.ends_with("thing.ko")
    }

    fn content(&mut self, _: &FileFact, _: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Err(io::Error::other("no signature for it"))
    }
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let directory = TempDir::new().unwrap();
    let package = built(directory.path(), NEWER, "w9.gzdio");
    let ours = directory.path().join("new/ours.rpm");
    fs::create_dir(directory.path().join("new")).unwrap();
    let left = || fs::read_dir(directory.path().join("new")).unwrap().count();

    let error = rewrite(&package, &ours, &all(), &mut Moved).unwrap_err();
    assert!(matches!(*error.problem, Problem::Facts(_)), "{error}");
    assert!(error.to_string().contains("which rpm does not read"), "{error}");

    let error = rewrite(&package, &ours, &all(), &mut Failing).unwrap_err();
    assert!(
        matches!(&*error.problem, Problem::Visitor { path, .. } if path.ends_with("thing.ko")),
        "{error:?}"
    );

    let mut bytes = fs::read(&package).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    let damaged = directory.path().join("damaged.rpm");
    fs::write(&damaged, bytes).unwrap();
    let error = rewrite(&damaged, &ours, &all(), &mut Nothing).unwrap_err();
    assert!(matches!(*error.problem, Problem::Digest { what: "payload" }), "{error:?}");
    assert_eq!(left(), 0);
}
