//! Repositories on disk, and dnf to ask about them.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    dead_code,
    reason = "a test ends where something fails, and says what it left out; each test uses a part of this"
)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use drivetrain_model::{Architecture, Capability, Comparison, Package, RepositoryId, Sha256Digest};
use drivetrain_solve::{IndexBuilder, Repository, RepositoryIndex, Role, World};
use serde_json::{Value, json};

/// The packages of a repository, to be asked.
pub fn index(packages: &[Package]) -> RepositoryIndex {
    let mut builder = IndexBuilder::default();
    packages.iter().for_each(|package| builder.push(package));
    builder.finish().unwrap()
}

/// The same two repositories as in a [`question`].
pub fn world<'i>(train: &'i RepositoryIndex, vendor: &'i RepositoryIndex) -> World<'i> {
    let repository = |id, role, priority, index| Repository {
        id: RepositoryId::parse(id).unwrap(),
        role,
        priority,
        index,
        exclude: Vec::new(),
        hidden: BTreeSet::new(),
    };
    let repositories =
        vec![repository("train", Role::Train, 10, train), repository("vendor", Role::Vendor, 20, vendor)];
    World::new(&Architecture::parse("x86_64").unwrap(), repositories)
}

/// What a package offers and needs, by the names that the metadata have for it.
pub fn dependencies(package: &Package) -> [(&'static str, &Vec<Capability>); 8] {
    [
        ("provides", &package.provides),
        ("requires", &package.requires),
        ("conflicts", &package.conflicts),
        ("obsoletes", &package.obsoletes),
        ("recommends", &package.recommends),
        ("supplements", &package.supplements),
        ("suggests", &package.suggests),
        ("enhances", &package.enhances),
    ]
}

/// Writes a repository's metadata: no packages, and all that dnf reads of them.
pub fn write_repository(directory: &Path, packages: &[Package], other_files: &[(usize, String)]) {
    let repodata = directory.join("repodata");
    std::fs::create_dir_all(&repodata).unwrap();
    let mut primary = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<metadata xmlns=\"http://linux.duke.edu/metadata/common\" \
         xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\" packages=\"{}\">\n",
        packages.len()
    );
    let mut filelists = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<filelists xmlns=\"http://linux.duke.edu/metadata/filelists\" \
         packages=\"{}\">\n",
        packages.len()
    );
    for (number, package) in packages.iter().enumerate() {
        let others = other_files.iter().filter(|(of, _)| *of == number).map(|(_, path)| path.as_str());
        let files: Vec<&str> = package.files.iter().map(String::as_str).chain(others).collect();
        write_primary(&mut primary, package);
        write_filelists(&mut filelists, package, &files);
    }
    primary.push_str("</metadata>\n");
    filelists.push_str("</filelists>\n");
    let mut repomd = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<repomd xmlns=\"http://linux.duke.edu/metadata/repo\">\n\
         <revision>1</revision>\n",
    );
    for (kind, text) in [("primary", &primary), ("filelists", &filelists)] {
        std::fs::write(repodata.join(format!("{kind}.xml")), text).unwrap();
        let checksum = Sha256Digest::of(text.as_bytes());
        writeln!(
            repomd,
            "<data type=\"{kind}\"><checksum type=\"sha256\">{checksum}</checksum><open-checksum \
             type=\"sha256\">{checksum}</open-checksum><location href=\"repodata/{kind}.xml\"/><timestamp>1</timestamp>\
             <size>{0}</size><open-size>{0}</open-size></data>",
            text.len()
        )
        .unwrap();
    }
    repomd.push_str("</repomd>\n");
    std::fs::write(repodata.join("repomd.xml"), repomd).unwrap();
}

fn version(package: &Package) -> String {
    let evr = &package.nevra.evr;
    format!("<version epoch=\"{}\" ver=\"{}\" rel=\"{}\"/>", evr.epoch, evr.version, evr.release)
}

fn write_primary(to: &mut String, package: &Package) {
    write!(
        to,
        "<package type=\"rpm\"><name>{}</name><arch>{}</arch>{}<checksum type=\"sha256\" \
         pkgid=\"YES\">{}</checksum><summary>s</summary><description>d</description><packager/><url/><time file=\"1\" \
         build=\"1\"/><size package=\"{size}\" installed=\"1\" archive=\"1\"/><location href=\"{}\"/><format>",
        package.nevra.name,
        package.nevra.arch,
        version(package),
        package.checksum.hex,
        package.location,
        size = package.size,
    )
    .unwrap();
    for (kind, list) in dependencies(package) {
        write!(to, "<rpm:{kind}>").unwrap();
        list.iter().for_each(|capability| write_entry(to, capability));
        write!(to, "</rpm:{kind}>").unwrap();
    }
    for file in &package.files {
        write!(to, "<file>{file}</file>").unwrap();
    }
    to.push_str("</format></package>\n");
}

fn write_entry(to: &mut String, capability: &Capability) {
    let name = capability.name.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    write!(to, "<rpm:entry name=\"{name}\"").unwrap();
    if let Some(constraint) = &capability.constraint {
        let flags = match constraint.comparison {
            Comparison::Less => "LT",
            Comparison::LessOrEqual => "LE",
            Comparison::Equal => "EQ",
            Comparison::GreaterOrEqual => "GE",
            Comparison::Greater => "GT",
        };
        let evr = &constraint.evr;
        write!(to, " flags=\"{flags}\" epoch=\"{}\" ver=\"{}\"", evr.epoch, evr.version).unwrap();
        if !evr.release.is_empty() {
            write!(to, " rel=\"{}\"", evr.release).unwrap();
        }
    }
    to.push_str("/>");
}

fn write_filelists(to: &mut String, package: &Package, files: &[&str]) {
    write!(
        to,
        "<package pkgid=\"{}\" name=\"{}\" arch=\"{}\">{}",
        package.checksum.hex,
        package.nevra.name,
        package.nevra.arch,
        version(package)
    )
    .unwrap();
    for file in files {
        write!(to, "<file>{file}</file>").unwrap();
    }
    to.push_str("</package>\n");
}

/// dnf's own Python: another one may stand first in the path, and has no dnf.
const PYTHON: &str = "/usr/bin/python3";

/// A dnf that answers questions.
pub struct Dnf {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    asked: u32,
}

/// After so many questions it runs out of file descriptors, which it does not give back.
const QUESTIONS: u32 = 500;

/// What dnf would install, or why it would not.
pub type Answer = Result<Vec<(String, String)>, Vec<String>>;

impl Dnf {
    /// `None` where there is none: the test says so and passes.
    pub fn start() -> Option<Self> {
        let has = Command::new(PYTHON).args(["-c", "import dnf, hawkey"]).output();
        if !has.is_ok_and(|output| output.status.success()) {
            println!("SKIPPED: there is no dnf for {PYTHON}");
            return None;
        }
        Some(Self::spawn())
    }

    fn spawn() -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/oracle.py");
        let mut child =
            Command::new(PYTHON).arg(script).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (input, output) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, input, output, asked: 0 }
    }

    /// What dnf would install for these of the vendor's packages, without some of the vendor's.
    pub fn ask(
        &mut self,
        train: &Path,
        vendor: &Path,
        wants: &[&str],
        weak: bool,
        without: &[String],
    ) -> Answer {
        let mut question = question(train, vendor, wants, weak);
        question["exclude"] = json!({ "vendor": without });
        self.answer(&question)
    }

    /// What dnf would install for one of the vendor's packages, where of the vendor's only some are to be had. The
    /// repositories are read once.
    pub fn ask_again(&mut self, train: &Path, vendor: &Path, want: &str, only: Option<&[String]>) -> Answer {
        let mut question = question(train, vendor, &[want], false);
        question["keep"] = json!(true);
        if let Some(only) = only {
            question["only"] = json!({ "vendor": only });
        }
        self.answer(&question)
    }

    fn answer(&mut self, question: &Value) -> Answer {
        if self.asked == QUESTIONS && question.get("keep").is_none() {
            *self = Self::spawn();
        }
        self.asked += 1;
        writeln!(self.input, "{question}").unwrap();
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"));
        assert!(answer.get("failed").is_none(), "{answer} to {question}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        if let Some(problems) = answer["problems"].as_array() {
            return Err(problems.iter().map(text).collect());
        }
        let install = answer["install"].as_array().unwrap();
        Ok(install.iter().map(|pair| (text(&pair[0]), text(&pair[1]))).collect())
    }
}

/// What is wanted of the vendor's packages, where the train's go before them.
fn question(train: &Path, vendor: &Path, wants: &[&str], weak: bool) -> Value {
    json!({
        "repositories": [
            { "id": "train", "path": train, "priority": 10 },
            { "id": "vendor", "path": vendor, "priority": 20 },
        ],
        "wants": wants, "from": "vendor", "weak": weak, "arch": "x86_64",
    })
}

impl Drop for Dnf {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
