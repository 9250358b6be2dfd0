//! What is read from metadata as the tools write it, and what is refused.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::print_stdout, reason = "helpers of tests")]

use std::ops::ControlFlow;

use drivetrain_model::{Capability, Package};
use drivetrain_repodata::{
    Error, FileKind, Limits, PathPattern, RecordKind, Summary, parse_repomd, read_filelists, read_primary,
    who_owns,
};

const HEAD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="1">
"#;

/// A package as createrepo_c writes it.
fn package(name: &str, inside: &str, format: &str) -> String {
    format!(
        r#"<package type="rpm">
  <name>{name}</name>
  <arch>x86_64</arch>
  <version epoch="0" ver="5.14.0" rel="427.el9"/>
  <checksum type="sha256" pkgid="YES">{}</checksum>
  <summary>The &lt;kernel&gt;</summary>
  <description>Text</description>
  <packager>Somebody</packager>
  <url>https://example.com</url>
  <time file="1700000001" build="1700000000"/>
  <size package="4321" installed="9" archive="8"/>
  <location href="Packages/k/{name}.rpm"/>
  {inside}
  <format>
    <rpm:license>GPL</rpm:license>
    <rpm:sourcerpm>kernel-5.14.0-427.el9.src.rpm</rpm:sourcerpm>
    <rpm:header-range start="1" end="2"/>
    {format}
    <file>/etc/x</file>
  </format>
</package>
"#,
        "ab".repeat(32)
    )
}

fn document(packages: &str) -> String {
    format!("{HEAD}{packages}</metadata>\n")
}

fn read(document: &str) -> Result<(Vec<Package>, Summary), Error> {
    read_with(document, &Limits::default())
}

fn read_with(document: &str, limits: &Limits) -> Result<(Vec<Package>, Summary), Error> {
    let mut packages = Vec::new();
    let summary = read_primary(
        document.as_bytes(),
        limits,
        |_, _| true,
        |package| {
            packages.push(package);
            ControlFlow::Continue(())
        },
    )?;
    Ok((packages, summary))
}

#[track_caller]
fn refused(document: &str) -> String {
    chain(&read(document).expect_err("it was accepted"))
}

/// An error with its sources, as a view prints it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

#[test]
fn a_package_is_read_as_createrepo_writes_it() {
    let format = r#"<rpm:provides>
      <rpm:entry name="kernel-uname-r" flags="EQ" epoch="0" ver="6.1.0" rel="56-cloud-amd64"/>
      <rpm:entry name="kernel" flags="EQ" epoch="2" ver="5.14.0" rel="427.el9"/>
      <rpm:entry name="bare"/>
    </rpm:provides>
    <rpm:requires>
      <rpm:entry name="(a &gt;= 1 if b)"/>
      <rpm:entry name="x &amp; y" flags="GE" epoch="0" ver="1.0" pre="1"/>
    </rpm:requires>
    <rpm:recommends><rpm:entry name="not-asked-for"/></rpm:recommends>
    <rpm:conflicts><rpm:entry name="c" flags="LT" epoch="0" ver="2"/></rpm:conflicts>
    <rpm:obsoletes><rpm:entry name="o" flags="LE" ver="3" rel="1"/></rpm:obsoletes>"#;
    let (packages, summary) = read(&document(&package("kernel-core", "", format))).unwrap();
    assert_eq!(summary, Summary { declared: Some(1), packages: 1, taken: 1, stopped: false });
    let package = &packages[0];
    assert_eq!(package.nevra.to_string(), "kernel-core-5.14.0-427.el9.x86_64");
    assert_eq!(package.location, "Packages/k/kernel-core.rpm");
    assert_eq!((package.size, package.build_time), (4321, 1_700_000_000));
    assert_eq!(package.source_rpm.as_deref(), Some("kernel-5.14.0-427.el9.src.rpm"));
    let texts = |list: &[Capability]| list.iter().map(Capability::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(&package.provides),
        ["kernel-uname-r = 6.1.0-56-cloud-amd64", "kernel = 2:5.14.0-427.el9", "bare"]
    );
    assert_eq!(texts(&package.requires), ["(a >= 1 if b)", "x & y >= 1.0"]);
    assert_eq!(texts(&package.conflicts), ["c < 2"]);
    assert_eq!(texts(&package.obsoletes), ["o <= 3-1"]);
}

/// Tools split a version with dashes at different ones; the same text must be met by the same text.
#[test]
fn a_kernel_release_with_dashes_compares_however_it_was_split() {
    let entry = |ver: &str, rel: &str| {
        let format = format!(
            r#"<rpm:provides><rpm:entry name="kernel-uname-r" flags="EQ" epoch="0" ver="{ver}" rel="{rel}"/></rpm:provides>"#
        );
        read(&document(&package("k", "", &format))).unwrap().0[0].provides[0].clone()
    };
    let (first, last) = (entry("6.1.0", "56-cloud-amd64"), entry("6.1.0-56-cloud", "amd64"));
    assert_eq!(first.to_string(), "kernel-uname-r = 6.1.0-56-cloud-amd64");
    assert!(first.is_met_by(&last) && last.is_met_by(&first));
}

#[test]
fn packages_that_are_not_wanted_are_passed_over() {
    let broken = package("broken", "<never-closed>", "");
    let document = document(&[package("a", "", ""), broken, package("b", "", "")].concat());
    let mut names = Vec::new();
    let summary = read_primary(
        document.as_bytes(),
        &Limits::default(),
        |name, arch| name != "broken" && arch == "x86_64",
        |package| {
            names.push(package.nevra.name);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(names, ["a", "b"]);
    assert_eq!((summary.packages, summary.taken), (3, 2));
}

#[test]
fn the_sink_ends_the_reading() {
    let document = document(&[package("a", "", ""), package("b", "", "")].concat());
    let summary =
        read_primary(document.as_bytes(), &Limits::default(), |_, _| true, |_| ControlFlow::Break(()))
            .unwrap();
    assert_eq!((summary.taken, summary.stopped), (1, true));
}

/// Comments, CDATA and instructions may hold `</package>`; `</packager>` begins like it.
#[test]
fn an_element_is_cut_where_xml_ends_it() {
    let odd =
        "<!-- </package> --><description><![CDATA[</package><package>]]></description><?x </package> ?>";
    let text = document(
        &[package("a", odd, ""), "<!-- <package> -->\n<?y?>".to_owned(), package("b", "", "")].concat(),
    )
    .replace("</package>\n<!", "</package \n><!");
    let (packages, _) = read(&text).unwrap();
    assert_eq!(packages.iter().map(|p| p.nevra.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn names_in_any_order_and_spelling_are_found() {
    let text = document(&package("a", "", ""))
        .replace("<name>a</name>\n  <arch>x86_64</arch>", "<arch>x86&#95;64</arch><name>a&amp;b</name>");
    let mut asked = Vec::new();
    read_primary(
        text.as_bytes(),
        &Limits::default(),
        |name, arch| {
            asked.push((name.to_owned(), arch.to_owned()));
            false
        },
        |_| ControlFlow::Continue(()),
    )
    .unwrap();
    assert_eq!(asked, [("a&b".to_owned(), "x86_64".to_owned())]);
}

#[test]
fn what_is_refused_says_why() {
    let good = package("kernel", "", "");
    for (from, to, message) in [
        (
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>",
            "<!DOCTYPE metadata [<!ENTITY a \"b\">]>",
            "primary: document type declarations are not allowed in repository metadata",
        ),
        (
            "<package type=\"rpm\">",
            "<!DOCTYPE x><package type=\"rpm\">",
            "primary: document type declarations are not allowed in repository metadata",
        ),
        (
            "<name>kernel",
            "<!DOCTYPE x><name>kernel",
            "primary: document type declarations are not allowed in repository metadata",
        ),
        ("<arch>x86_64", "<arch>&arch;", "primary: unknown entity &arch;"),
        ("Somebody", "&xxe;", "primary: unknown entity &xxe;"),
        ("rel=\"427.el9\"", "rel=\"&rel;\"", "primary: unknown entity &rel;"),
        (
            "<arch>x86_64",
            "<arch>../x",
            "primary: kernel: architecture \"../x\" has '.' at byte 0, which a architecture cannot have there",
        ),
        (
            "href=\"Packages/k/kernel.rpm\"",
            "href=\"../../etc/kernel.rpm\"",
            "primary: kernel: location \"../../etc/kernel.rpm\" is refused: it has a .. segment",
        ),
        (
            "<location ",
            "<location xml:base=\"https://elsewhere/\" ",
            "primary: kernel points to another host: xml:base \"https://elsewhere/\"",
        ),
        (
            "type=\"sha256\"",
            "type=\"md5\"",
            "primary: kernel: checksum type \"md5\" is not supported: sha256, sha384 and sha512 are",
        ),
        ("package=\"4321\"", "package=\"-1\"", "primary: kernel: package \"-1\" is no number"),
        ("package=\"4321\"", "", "primary: kernel: has no package size"),
        ("<location ", "<location href=\"a.rpm\"/><location ", "has more than one location"),
        ("</metadata>", "", "primary is truncated: it ends before </metadata>"),
        ("</metadata>", "<package type=\"rpm\"><name>", "primary is truncated: it ends before </metadata>"),
        ("</metadata>", "stray</metadata>", "stands where a package is expected"),
        ("<metadata", "<html", "<html> stands where <metadata> is expected"),
        ("</rpm:license>", "</rpm:licence>", "primary is not well-formed XML"),
    ] {
        let text = document(&good).replacen(from, to, 1);
        assert_ne!(text, document(&good), "{from:?} was not found");
        let found = refused(&text);
        assert!(found.contains(message), "{from:?} to {to:?}: {found}");
    }
}

/// Each limit is reached by a document of some kilobytes, and the error names it.
#[test]
fn every_limit_is_enforced_and_named() {
    let entries = "<rpm:entry name=\"a\"/>".repeat(50);
    let format = format!("<rpm:provides>{entries}</rpm:provides>");
    let text = document(&[package("a", "", &format), package("b", "", "")].concat());
    let deep = document(&package("a", &format!("{}{}", "<x>".repeat(40), "</x>".repeat(40)), ""));
    let long = document(&package(&"n".repeat(5000), "", ""));
    for (text, limits, setting) in [
        (&text, Limits { max_packages: 1, ..Limits::default() }, "max_packages"),
        (&text, Limits { max_package_bytes: 1000, ..Limits::default() }, "max_package_bytes"),
        (&text, Limits { max_entries_per_package: 49, ..Limits::default() }, "max_entries_per_package"),
        (&deep, Limits::default(), "max_depth"),
        (&long, Limits { max_text_bytes: 4000, ..Limits::default() }, "max_text_bytes"),
    ] {
        let error = read_with(text, &limits).unwrap_err().to_string();
        assert!(error.contains(setting), "{setting}: {error}");
    }
}

/// A single element without end is refused at the limit, not held until memory ends.
#[test]
fn an_endless_element_is_bounded() {
    use std::io::Read;
    let limits = Limits { max_package_bytes: 1 << 20, ..Limits::default() };
    for start in
        ["<package type=\"rpm\"><name>", "<package type=\"", "<!-- ", "<package><description><![CDATA["]
    {
        let head = format!("{HEAD}{start}");
        let endless = head.as_bytes().chain(std::io::repeat(b'a'));
        let mut counted = Counted { inner: endless, count: 0 };
        let error =
            read_primary(&mut counted, &limits, |_, _| true, |_| ControlFlow::Continue(())).unwrap_err();
        assert!(matches!(error, Error::Limit { .. }), "{start}: {error}");
        assert!(counted.count < 4 << 20, "{start}: {} bytes were read", counted.count);
    }
}

struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: std::io::Read> std::io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

const FILELISTS: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<filelists xmlns="http://linux.duke.edu/metadata/filelists" packages="2">
<package pkgid="abc" name="kernel-core" arch="x86_64">
  <version epoch="0" ver="5.14.0" rel="1"/>
  <file>/lib/modules/5.14.0-1/vmlinuz</file>
  <file type="dir">/lib/modules/5.14.0-1</file>
  <file type="ghost">/boot/initramfs</file>
</package>
<package pkgid="def" name="odd&amp;name" arch="noarch">
  <version epoch="1" ver="2" rel="3"/>
  <file>/usr/share/a&amp;b</file>
</package>
</filelists>
"#;

#[test]
fn the_files_of_wanted_packages_are_read() {
    let mut found = Vec::new();
    read_filelists(
        FILELISTS.as_bytes(),
        &Limits::default(),
        |name, _| name == "kernel-core",
        |package| {
            found.push(package);
            ControlFlow::Continue(())
        },
    )
    .unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].pkgid, "abc");
    assert_eq!(found[0].nevra.to_string(), "kernel-core-5.14.0-1.x86_64");
    let kinds: Vec<_> = found[0].files.iter().map(|file| (file.path.as_str(), file.kind)).collect();
    assert_eq!(
        kinds,
        [
            ("/lib/modules/5.14.0-1/vmlinuz", FileKind::File),
            ("/lib/modules/5.14.0-1", FileKind::Directory),
            ("/boot/initramfs", FileKind::Ghost)
        ]
    );
}

#[test]
fn the_owners_of_paths_are_found() {
    let owners = |patterns: &[&str]| {
        let patterns: Vec<_> = patterns.iter().map(|text| PathPattern::new(text)).collect();
        let owners = who_owns(FILELISTS.as_bytes(), &Limits::default(), &patterns).unwrap();
        owners.into_iter().map(|owner| format!("{} {}", owner.nevra, owner.path)).collect::<Vec<_>>()
    };
    assert_eq!(owners(&["*/vmlinuz"]), ["kernel-core-5.14.0-1.x86_64 /lib/modules/5.14.0-1/vmlinuz"]);
    assert_eq!(owners(&["/usr/share/a&b", "/none"]), ["odd&name-1:2-3.noarch /usr/share/a&b"]);
    assert_eq!(owners(&["/lib/modules/*"]).len(), 2);
    assert!(owners(&["/lib/modules"]).is_empty());
}

const REPOMD: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>1730419200</revision>
  <tags><distro cpeid="cpe:/o:x">X</distro></tags>
  <data type="primary">
    <checksum type="sha256">aa</checksum>
    <open-checksum type="sha256">bb</open-checksum>
    <location href="repodata/primary.xml.gz"/>
    <timestamp>1730419200.53</timestamp>
    <size>100</size>
    <open-size>1000</open-size>
  </data>
  <data type="primary_db"><checksum type="sha256">aa</checksum><location href="repodata/primary.sqlite.bz2"/><database_version>10</database_version></data>
  <data type="productid"><checksum type="sha256">aa</checksum><location href="repodata/productid"/></data>
</repomd>
"#;

fn repomd() -> String {
    REPOMD
        .replace(">aa<", &format!(">{}<", "aa".repeat(32)))
        .replace(">bb<", &format!(">{}<", "bb".repeat(32)))
}

#[test]
fn repomd_is_read_with_the_kinds_that_nobody_knows() {
    let read = parse_repomd(repomd().as_bytes(), &Limits::default()).unwrap();
    assert_eq!(read.revision.as_deref(), Some("1730419200"));
    let primary = read.record(&RecordKind::Primary).unwrap();
    assert_eq!(primary.location, "repodata/primary.xml.gz");
    assert_eq!((primary.size, primary.open_size, primary.timestamp), (Some(100), Some(1000), 1_730_419_200));
    assert_eq!(primary.open_checksum.as_ref().unwrap().hex, "bb".repeat(32));
    let kinds: Vec<_> = read.records.iter().map(|record| record.kind.clone()).collect();
    assert_eq!(
        kinds,
        [
            RecordKind::Primary,
            RecordKind::Database("primary_db".into()),
            RecordKind::Unknown("productid".into())
        ]
    );
}

#[test]
fn a_repomd_that_leads_elsewhere_is_refused() {
    for (from, to, message) in [
        ("repodata/primary.xml.gz", "https://elsewhere/primary.xml.gz", "it has a scheme"),
        ("repodata/primary.xml.gz", "repodata/%2e%2e/%2e%2e/x", "it has a .. segment"),
        ("<location href", "<location xml:base=\"http://elsewhere\" href", "points to another host"),
        ("<repomd ", "<!DOCTYPE repomd><repomd ", "document type declarations are not allowed"),
        ("1730419200<", "&ext;<", "unknown entity &ext;"),
        ("<checksum type=\"sha256\">", "<checksum type=\"sha\">", "checksum type \"sha\" is not supported"),
        ("type=\"productid\"", "type=\"primary\"", "repomd.xml: primary: is listed twice"),
        ("</repomd>", "", "ends within an element"),
        ("<repomd ", "<html ", "stands where <repomd> is expected"),
    ] {
        let text = repomd()
            .replacen(from, to, 1)
            .replace(if to == "<html " { "</repomd>" } else { "\0" }, "</html>");
        let error = chain(&parse_repomd(text.as_bytes(), &Limits::default()).unwrap_err());
        assert!(error.contains(message), "{to:?}: {error}");
    }
    let limits = Limits { max_repomd_bytes: 100, ..Limits::default() };
    assert!(parse_repomd(repomd().as_bytes(), &limits).unwrap_err().to_string().contains("max_repomd_bytes"));
}
