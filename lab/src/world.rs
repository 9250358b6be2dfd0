//! Metadata as large as a distribution's, for benches and for tests of scale.
//!
//! The packages are Debian's: real names, versions and dependencies, in RPM's notation. None of them exists as
//! an RPM; only those of the lab's train, which are merged in, so that a plan can be made on such a repository.

use std::collections::{BTreeMap, HashSet};
use std::io::{BufWriter, Write};

use anyhow::{Context as _, Result, ensure};
use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::cmd::{command, run};
use crate::debian::stanzas;
use crate::keys::{Keyring, Signer};
use crate::repack::{rpm_dependency_evr, rpm_evr};
use crate::repo::link;
use crate::rpm::EPOCH;
use crate::train;

/// The most files that are invented for one package.
const MOST_FILES: u64 = 60;

/// What is written where.
#[derive(clap::Args)]
pub(crate) struct Options {
    /// Where the lab lives
    #[arg(long, default_value = ".lab")]
    dir: Utf8PathBuf,
    /// How many packages at least: all of Debian's, and further releases of them where these are too few
    #[arg(long, default_value_t = 60_000)]
    packages: usize,
    /// How the metadata is compressed
    #[arg(long, value_enum, default_value = "zst")]
    compression: Suffix,
    /// The directory to make
    out: Utf8PathBuf,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Suffix {
    Zst,
    Gz,
}

/// Writes the repository.
pub(crate) fn write(options: &Options) -> Result<()> {
    ensure!(!options.out.exists(), "{} is there already", options.out);
    let partial = Utf8PathBuf::from(format!("{}.partial", options.out.as_str().trim_end_matches('/')));
    if partial.exists() {
        fs::remove_dir_all(&partial)?;
    }
    let repodata = partial.join("repodata");
    fs::create_dir_all(&repodata)?;

    let lab = merge_lab(&options.dir, &partial)?;
    let index = run(command("apt-cache").arg("dumpavail"))?;
    let packages = packages(&index, options.packages, &lab.names)?;
    ensure!(!packages.is_empty(), "apt knows no packages: run `apt-get update`");
    let total = packages.len() + lab.count;

    let mut primary = Document::create(&repodata, "primary", "metadata", "common", total)?;
    let mut filelists = Document::create(&repodata, "filelists", "filelists", "filelists", total)?;
    let mut other = Document::create(&repodata, "other", "otherdata", "other", total)?;
    for (document, merged) in
        [(&mut primary, &lab.primary), (&mut filelists, &lab.filelists), (&mut other, &lab.other)]
    {
        document.file.write_all(merged.as_bytes())?;
    }
    for package in &packages {
        package.write_primary(&mut primary.file)?;
        package.write_filelists(&mut filelists.file)?;
        package.write_other(&mut other.file)?;
    }

    let mut repomd = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n  <revision>{EPOCH}</revision>\n"
    );
    for document in [primary, filelists, other] {
        repomd.push_str(&document.finish(&repodata, options.compression)?);
    }
    repomd.push_str("</repomd>\n");
    fs::write(repodata.join("repomd.xml"), repomd)?;
    Keyring::of_lab(&options.dir)?.sign_file(Signer::Train, &repodata.join("repomd.xml"))?;
    fs::rename(&partial, &options.out)?;
    crate::say(format_args!("{total} packages in {}", options.out));
    Ok(())
}

/// What the lab's train brings along.
struct Merged {
    names: HashSet<String>,
    count: usize,
    primary: String,
    filelists: String,
    other: String,
}

/// Reads the newest snapshot of the train, and links its packages below `out`.
fn merge_lab(dir: &Utf8Path, out: &Utf8Path) -> Result<Merged> {
    let www = dir.join("www");
    let (snapshot, _) = train::SNAPSHOTS
        .iter()
        .rev()
        .find(|(snapshot, _)| train::repository_dir(&www, "BaseOS", snapshot).exists())
        .context("there is no train: run `drivetrain-lab up`")?;
    let mut merged = Merged {
        names: HashSet::new(),
        count: 0,
        primary: String::new(),
        filelists: String::new(),
        other: String::new(),
    };
    for repository in ["BaseOS", "AppStream"] {
        let dir = train::repository_dir(&www, repository, snapshot);
        for entry in dir.join("repodata").read_dir_utf8()? {
            let path = entry?.into_path();
            let Some((_, kind)) = path.file_name().and_then(|name| name.split_once('-')) else { continue };
            let into = match kind.split('.').next() {
                Some("primary") => &mut merged.primary,
                Some("filelists") => &mut merged.filelists,
                Some("other") => &mut merged.other,
                _ => continue,
            };
            let program = if path.extension() == Some("zst") { "zstdcat" } else { "zcat" };
            let text = run(command(program).arg(&path))?;
            let from = text.find("<package ").context("metadata without packages")?;
            let to = text.rfind("</package>").context("metadata without packages")? + "</package>".len();
            into.push_str(&text[from..to]);
            into.push('\n');
        }
    }
    for line in merged.primary.lines() {
        let line = line.trim();
        if let Some(name) = line.strip_prefix("<name>").and_then(|rest| rest.strip_suffix("</name>")) {
            merged.names.insert(name.to_owned());
            merged.count += 1;
        }
        if let Some(href) = line.strip_prefix("<location href=\"").and_then(|rest| rest.split('"').next()) {
            let to = out.join(href);
            fs::create_dir_all(to.parent().context("package without a directory")?)?;
            let found = ["BaseOS", "AppStream"]
                .iter()
                .map(|name| train::repository_dir(&www, name, snapshot).join(href))
                .find(|path| path.exists())
                .with_context(|| format!("the train has no {href}"))?;
            link(&found, &to)?;
        }
    }
    Ok(merged)
}

/// One document of the metadata while it is written.
struct Document {
    kind: &'static str,
    root: &'static str,
    path: Utf8PathBuf,
    file: BufWriter<fs::File>,
}

impl Document {
    fn create(
        dir: &Utf8Path,
        kind: &'static str,
        root: &'static str,
        space: &str,
        packages: usize,
    ) -> Result<Self> {
        let path = dir.join(format!("{kind}.xml"));
        let mut file = BufWriter::with_capacity(1 << 20, fs::File::create(&path)?);
        writeln!(file, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>")?;
        let rpm = if kind == "primary" { " xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\"" } else { "" };
        writeln!(
            file,
            "<{root} xmlns=\"http://linux.duke.edu/metadata/{space}\"{rpm} packages=\"{packages}\">"
        )?;
        Ok(Document { kind, root, path, file })
    }

    /// Compresses the document and names it by its digest; its entry of repomd.xml.
    fn finish(mut self, dir: &Utf8Path, compression: Suffix) -> Result<String> {
        writeln!(self.file, "</{}>", self.root)?;
        self.file.flush()?;
        drop(self.file);
        let suffix = match compression {
            Suffix::Zst => {
                run(command("zstd").args(["-q", "-3", "-T1"]).arg(&self.path))?;
                "zst"
            }
            Suffix::Gz => {
                run(command("gzip").args(["-n", "-5", "--keep"]).arg(&self.path))?;
                "gz"
            }
        };
        let packed = Utf8PathBuf::from(format!("{}.{suffix}", self.path));
        let (open_checksum, open_size) = digest(&self.path)?;
        let (checksum, size) = digest(&packed)?;
        let kind = self.kind;
        let name = format!("{checksum}-{kind}.xml.{suffix}");
        fs::rename(&packed, dir.join(&name))?;
        fs::remove_file(&self.path)?;
        Ok(format!(
            "  <data type=\"{kind}\">\n    <checksum type=\"sha256\">{checksum}</checksum>\n    \
             <open-checksum type=\"sha256\">{open_checksum}</open-checksum>\n    \
             <location href=\"repodata/{name}\"/>\n    <timestamp>{EPOCH}</timestamp>\n    \
             <size>{size}</size>\n    <open-size>{open_size}</open-size>\n  </data>\n"
        ))
    }
}

fn digest(path: &Utf8Path) -> Result<(String, u64)> {
    let mut hasher = Sha256::new();
    let size = std::io::copy(&mut fs::File::open(path)?, &mut hasher)?;
    Ok((hex::encode(hasher.finalize()), size))
}

/// A package of Debian's in RPM's notation.
struct Package<'a> {
    fields: BTreeMap<&'a str, &'a str>,
    name: &'a str,
    arch: &'static str,
    epoch: u32,
    version: String,
    release: String,
    digest: String,
}

/// The first `count` packages of the index; when it has fewer, further releases of them.
fn packages<'a>(index: &'a str, count: usize, taken: &HashSet<String>) -> Result<Vec<Package<'a>>> {
    let mut packages: Vec<Package<'a>> = Vec::new();
    let mut seen = HashSet::new();
    for fields in stanzas(index) {
        let (Some(name), Some(version)) = (fields.get("Package"), fields.get("Version")) else { continue };
        if taken.contains(*name) || !seen.insert((*name, *version)) {
            continue;
        }
        let (epoch, version, release) = rpm_evr(version);
        let arch = if fields.get("Architecture") == Some(&"all") { "noarch" } else { "x86_64" };
        // Without one it is installed here, and nowhere to be had.
        let Some(digest) = fields.get("SHA256").map(|digest| digest.to_ascii_lowercase()) else { continue };
        packages.push(Package { name, arch, epoch, version, release, digest, fields });
    }
    let generation = packages.len();
    for number in 0..count.saturating_sub(generation) {
        let Some(of) = packages.get(number) else { break };
        let release = format!("{}.1", of.release);
        let digest = hex::encode(Sha256::digest(format!("{}-{release}", of.digest)));
        let again = Package {
            fields: of.fields.clone(),
            name: of.name,
            arch: of.arch,
            epoch: of.epoch,
            version: of.version.clone(),
            release,
            digest,
        };
        packages.push(again);
    }
    Ok(packages)
}

impl Package<'_> {
    fn field(&self, name: &str) -> &str {
        self.fields.get(name).copied().unwrap_or_default()
    }

    fn number(&self, name: &str) -> u64 {
        self.field(name).parse().unwrap_or_default()
    }

    fn file_name(&self) -> String {
        format!("{}-{}-{}.{}.rpm", self.name, self.version, self.release, self.arch)
    }

    /// Debian's index does not list files: a program, a configuration, a library and data, as the section and
    /// the size suggest.
    fn files(&self) -> Vec<String> {
        let name = self.name;
        let mut files = vec![format!("/usr/share/doc/{name}/copyright")];
        match self.field("Section") {
            "libs" | "oldlibs" => files.push(format!("/usr/lib64/{name}.so")),
            "utils" | "admin" | "net" | "shells" | "editors" | "mail" | "web" | "database" => {
                files.push(format!("/usr/bin/{name}"));
                files.push(format!("/etc/{name}.conf"));
            }
            _ => {}
        }
        let data = (self.number("Installed-Size") / 40).min(MOST_FILES);
        files.extend(
            (0..data).map(|number| format!("/usr/share/{name}/data/{:02x}/part-{number:04}", number % 16)),
        );
        files
    }

    fn write_primary(&self, to: &mut impl Write) -> Result<()> {
        let installed = self.number("Installed-Size") * 1024;
        let size = self.number("Size");
        let summary = escape(self.field("Description"));
        writeln!(
            to,
            "<package type=\"rpm\">\n  <name>{name}</name>\n  <arch>{arch}</arch>\n  \
             <version epoch=\"{epoch}\" ver=\"{version}\" rel=\"{release}\"/>\n  \
             <checksum type=\"sha256\" pkgid=\"YES\">{digest}</checksum>\n  \
             <summary>{summary}</summary>\n  <description>{summary}</description>\n  \
             <packager>{packager}</packager>\n  <url>{url}</url>\n  \
             <time file=\"{EPOCH}\" build=\"{EPOCH}\"/>\n  \
             <size package=\"{size}\" installed=\"{installed}\" archive=\"{installed}\"/>\n  \
             <location href=\"Packages/{initial}/{file}\"/>\n  <format>\n    \
             <rpm:license>Various</rpm:license>\n    <rpm:vendor>Debian</rpm:vendor>\n    \
             <rpm:group>{section}</rpm:group>\n    <rpm:buildhost>lab.invalid</rpm:buildhost>\n    \
             <rpm:sourcerpm>{name}-{version}-{release}.src.rpm</rpm:sourcerpm>\n    \
             <rpm:header-range start=\"4504\" end=\"{header_end}\"/>",
            name = self.name,
            arch = self.arch,
            epoch = self.epoch,
            version = self.version,
            release = self.release,
            digest = self.digest,
            packager = escape(self.field("Maintainer")),
            url = escape(self.field("Homepage")),
            initial = self.name.chars().next().unwrap_or('_'),
            file = self.file_name(),
            section = escape(self.field("Section")),
            header_end = 4504 + size.min(20_000),
        )?;

        let mut provides = vec![Entry {
            name: self.name.to_owned(),
            constraint: Some(("EQ", self.epoch, self.version.clone(), Some(self.release.clone()))),
        }];
        provides.extend(alternatives(self.field("Provides")).into_iter().map(Alternatives::first));
        write_entries(to, "provides", &provides)?;
        let mut requires = relations(self.field("Pre-Depends"));
        requires.extend(relations(self.field("Depends")));
        requires.dedup();
        write_entries(to, "requires", &requires)?;
        let mut conflicts = relations(self.field("Conflicts"));
        conflicts.extend(relations(self.field("Breaks")));
        write_entries(to, "conflicts", &conflicts)?;
        write_entries(to, "recommends", &relations(self.field("Recommends")))?;
        for file in self.files().iter().filter(|file| file.starts_with("/etc/") || file.contains("/bin/")) {
            writeln!(to, "    <file>{}</file>", escape(file))?;
        }
        writeln!(to, "  </format>\n</package>")?;
        Ok(())
    }

    fn write_head(&self, to: &mut impl Write) -> Result<()> {
        writeln!(
            to,
            "<package pkgid=\"{}\" name=\"{}\" arch=\"{}\">\n  <version epoch=\"{}\" ver=\"{}\" rel=\"{}\"/>",
            self.digest, self.name, self.arch, self.epoch, self.version, self.release
        )?;
        Ok(())
    }

    fn write_filelists(&self, to: &mut impl Write) -> Result<()> {
        self.write_head(to)?;
        for file in self.files() {
            writeln!(to, "  <file>{}</file>", escape(&file))?;
        }
        writeln!(to, "</package>")?;
        Ok(())
    }

    fn write_other(&self, to: &mut impl Write) -> Result<()> {
        self.write_head(to)?;
        writeln!(
            to,
            "  <changelog author=\"{} - {}-{}\" date=\"{EPOCH}\">- New upstream release</changelog>\n</package>",
            escape(self.field("Maintainer")),
            self.version,
            self.release
        )?;
        Ok(())
    }
}

/// A dependency as an entry of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Entry {
    name: String,
    constraint: Option<(&'static str, u32, String, Option<String>)>,
}

impl Entry {
    /// In the notation of a boolean dependency.
    fn boolean(&self) -> String {
        let Some((flags, epoch, version, release)) = &self.constraint else { return self.name.clone() };
        let operator = match *flags {
            "EQ" => "=",
            "GE" => ">=",
            "LE" => "<=",
            "GT" => ">",
            _ => "<",
        };
        let epoch = if *epoch == 0 { String::new() } else { format!("{epoch}:") };
        let release = release.as_ref().map_or_else(String::new, |release| format!("-{release}"));
        format!("{} {operator} {epoch}{version}{release}", self.name)
    }
}

/// What Debian separates by bars.
struct Alternatives(Vec<Entry>);

impl Alternatives {
    fn first(mut self) -> Entry {
        self.0.swap_remove(0)
    }

    /// RPM has boolean dependencies for a choice.
    fn entry(self) -> Entry {
        if self.0.len() == 1 {
            return self.first();
        }
        let choices: Vec<String> = self.0.iter().map(Entry::boolean).collect();
        Entry { name: format!("({})", choices.join(" or ")), constraint: None }
    }
}

fn relations(field: &str) -> Vec<Entry> {
    alternatives(field).into_iter().map(Alternatives::entry).collect()
}

/// Reads a dependency field of Debian's.
fn alternatives(field: &str) -> Vec<Alternatives> {
    field
        .split(',')
        .map(|relation| Alternatives(relation.split('|').filter_map(entry).collect()))
        .filter(|alternatives| !alternatives.0.is_empty())
        .collect()
}

/// Reads `name:arch (>= version)`.
fn entry(text: &str) -> Option<Entry> {
    let text = text.trim();
    let (name, rest) = text.split_once([' ', '(']).unwrap_or((text, ""));
    let name = name.split(':').next().filter(|name| !name.is_empty())?.to_owned();
    let rest = rest.trim().trim_start_matches('(').trim_end_matches(')').trim();
    let digits = rest.find(|c: char| !"<>=".contains(c)).unwrap_or(rest.len());
    let (operator, version) = rest.split_at(digits);
    let flags = match operator {
        "=" => "EQ",
        ">=" | ">" => "GE",
        "<=" | "<" => "LE",
        ">>" => "GT",
        "<<" => "LT",
        _ => return Some(Entry { name, constraint: None }),
    };
    let (epoch, version, mut release) = rpm_dependency_evr(version.trim());
    if matches!(flags, "GT" | "LT") {
        // To RPM no release is every release, and to Debian the lowest: 2-1 is above 2.
        release.get_or_insert_with(|| "0".to_owned());
    }
    Some(Entry { name, constraint: Some((flags, epoch, version, release)) })
}

fn write_entries(to: &mut impl Write, kind: &str, entries: &[Entry]) -> Result<()> {
    if entries.is_empty() {
        return Ok(());
    }
    writeln!(to, "    <rpm:{kind}>")?;
    for Entry { name, constraint } in entries {
        let name = escape(name);
        match constraint {
            None => writeln!(to, "      <rpm:entry name=\"{name}\"/>")?,
            Some((flags, epoch, version, release)) => {
                write!(
                    to,
                    "      <rpm:entry name=\"{name}\" flags=\"{flags}\" epoch=\"{epoch}\" ver=\"{version}\""
                )?;
                if let Some(release) = release {
                    write!(to, " rel=\"{release}\"")?;
                }
                writeln!(to, "/>")?;
            }
        }
    }
    writeln!(to, "    </rpm:{kind}>")?;
    Ok(())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn constrained(
        name: &str,
        flags: &'static str,
        epoch: u32,
        version: &str,
        release: Option<&str>,
    ) -> Entry {
        let constraint = Some((flags, epoch, version.to_owned(), release.map(str::to_owned)));
        Entry { name: name.to_owned(), constraint }
    }

    #[test]
    fn dependencies() {
        let found = relations(
            "libc6 (>= 2.34), python3:any, a (<< 1:2-3) | b, debconf (>= 0.5) | c (= 1), d (>> 2), ",
        );
        assert_eq!(found[0], constrained("libc6", "GE", 0, "2.34", None));
        assert_eq!(found[1], Entry { name: "python3".into(), constraint: None });
        assert_eq!(found[2].name, "(a < 1:2-3 or b)");
        assert_eq!(found[3].name, "(debconf >= 0.5 or c = 1)");
        assert_eq!(found[4], constrained("d", "GT", 0, "2", Some("0")));
        assert_eq!(found.len(), 5);
        assert!(relations("").is_empty());
    }

    #[test]
    fn an_index_that_is_too_short_gives_further_releases() {
        let index = "Package: a\nVersion: 1-1\nSHA256: AA\n\nPackage: b\nVersion: 1-1\nArchitecture: all\nSHA256: bb\n\nPackage: bash\nVersion: 5\nSHA256: cc\n";
        let packages = packages(index, 3, &HashSet::from(["bash".to_owned()])).unwrap();
        let names: Vec<_> = packages.iter().map(Package::file_name).collect();
        assert_eq!(names, ["a-1-1.x86_64.rpm", "b-1-1.noarch.rpm", "a-1-1.1.x86_64.rpm"]);
    }

    #[test]
    fn writes_what_is_well_formed() {
        let index = "Package: a\nVersion: 1:1-1\nSHA256: aa\nDescription: <x> & \"y\"\nDepends: b\nSection: utils\nInstalled-Size: 99\n";
        let packages = packages(index, 1, &HashSet::new()).unwrap();
        let mut text = Vec::new();
        packages[0].write_primary(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("<summary>&lt;x&gt; &amp; &quot;y&quot;</summary>"));
        assert!(text.contains("<rpm:entry name=\"a\" flags=\"EQ\" epoch=\"1\" ver=\"1\" rel=\"1\"/>"));
        assert!(text.contains("<file>/usr/bin/a</file>") && !text.contains("/usr/share/doc"));
    }
}
