//! Copies of the lab's repositories, to be damaged.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;

use drivetrain_model::Sha256Digest;
use drivetrain_repodata::{Limits, RecordKind, decompress, parse_repomd, read_primary};

use super::{NEW, Site, copy};

/// A copy of what the lab serves. Packages are links to the lab's, until one is replaced.
pub fn mirror(site: &Site) -> Mirror {
    let www = site.path("www");
    link_tree(&site.lab.directory.join("www"), &www);
    Mirror { www }
}

fn link_tree(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap();
        if name == "repodata" {
            copy("-a", &path, to);
        } else if path.is_dir() {
            link_tree(&path, &to.join(name));
        } else {
            std::os::unix::fs::symlink(&path, to.join(name)).unwrap();
        }
    }
}

pub struct Mirror {
    pub www: PathBuf,
}

impl Mirror {
    /// Lets the site read this copy instead of the lab.
    pub fn used_by(&self, site: &mut Site) {
        self.served_from(site, &self.www.display().to_string());
    }

    /// Lets the site read this copy from a server.
    pub fn served_from(&self, site: &mut Site, url: &str) {
        site.configure(|settings| {
            settings.train = format!("{url}/train");
            url.clone_into(&mut settings.vendor);
        });
    }

    pub fn baseos(&self) -> Repository {
        Repository(self.www.join(format!("train/BaseOS/x86_64/os/{NEW}")))
    }

    pub fn appstream(&self) -> Repository {
        Repository(self.www.join(format!("train/AppStream/x86_64/os/{NEW}")))
    }

    pub fn vendor(&self) -> Repository {
        Repository(self.www.join("doca-mini/3.2.0/rhel9/x86_64"))
    }
}

/// A repository on disk.
pub struct Repository(pub PathBuf);

impl Repository {
    /// The file that holds primary.
    pub fn primary_file(&self) -> PathBuf {
        let repomd = std::fs::read(self.0.join("repodata/repomd.xml")).unwrap();
        let repomd = parse_repomd(&repomd, &Limits::default()).unwrap();
        self.0.join(&repomd.record(&RecordKind::Primary).unwrap().location)
    }

    /// Primary, open.
    pub fn primary(&self) -> String {
        let file = self.primary_file();
        let reader = std::fs::File::open(&file).unwrap();
        let mut text = String::new();
        let name = file.display().to_string();
        decompress(&name, reader, None, &Limits::default()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    /// Puts another primary in its place, with the right sums in `repomd.xml`: what someone who has the server could
    /// do.
    pub fn replace_primary(&self, change: impl FnOnce(String) -> String) {
        let before = self.primary();
        let after = change(before.clone());
        assert_ne!(before, after, "nothing was changed");
        let aside = tempfile::tempdir().unwrap();
        std::fs::write(aside.path().join("primary.xml"), after).unwrap();
        let output = Command::new("modifyrepo_c")
            .args(["--mdtype=primary", "--compress-type=gz"])
            .arg(aside.path().join("primary.xml"))
            .arg(self.0.join("repodata"))
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// The newest package of this name, as a file of its own and no longer a link into the lab.
    pub fn own_newest_package(&self, name: &str) -> PathBuf {
        let found = self.packages().into_iter().rfind(|path| file_name(path).starts_with(name)).unwrap();
        let bytes = std::fs::read(&found).unwrap();
        std::fs::remove_file(&found).unwrap();
        std::fs::write(&found, bytes).unwrap();
        found
    }

    fn packages(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for directory in std::fs::read_dir(self.0.join("Packages")).unwrap() {
            let directory = directory.unwrap().path();
            found.extend(std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()));
        }
        found.sort();
        found
    }
}

fn file_name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Changes one byte near the end of a file: the size stays as it was.
pub fn flip_a_byte(path: &Path) {
    let mut bytes = std::fs::read(path).unwrap();
    let place = bytes.len() - 100;
    bytes[place] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// Reads a repository as a consumer does, down to the sums of its packages. What is wrong, or the names of its
/// packages; `None` where nothing is published.
pub fn whole(repository: &Path) -> Result<Option<Vec<String>>, String> {
    let repomd = match std::fs::read(repository.join("repodata/repomd.xml")) {
        Ok(bytes) => bytes,
        Err(_) if !repository.exists() => return Ok(None),
        Err(error) => return Err(format!("{}: {error}", repository.display())),
    };
    let limits = Limits::default();
    let repomd = parse_repomd(&repomd, &limits).map_err(|error| error.to_string())?;
    let mut packages = Vec::new();
    for record in &repomd.records {
        let bytes = std::fs::read(repository.join(&record.location)).map_err(|error| error.to_string())?;
        if record.checksum.as_sha256() != Some(Sha256Digest::of(&bytes)) {
            return Err(format!("{} has other bytes", record.location));
        }
        if record.kind != RecordKind::Primary {
            continue;
        }
        let open = decompress("primary", bytes.as_slice(), record.open_size, &limits)
            .map_err(|error| error.to_string())?;
        read_primary(
            open,
            &limits,
            |_, _| true,
            |package| {
                packages.push((package.location, package.checksum.as_sha256()));
                ControlFlow::Continue(())
            },
        )
        .map_err(|error| error.to_string())?;
    }
    for (location, sha256) in &packages {
        let bytes =
            std::fs::read(repository.join(location)).map_err(|error| format!("{location}: {error}"))?;
        if *sha256 != Some(Sha256Digest::of(&bytes)) {
            return Err(format!("{location} has other bytes"));
        }
    }
    let mut names: Vec<String> =
        packages.iter().map(|(location, _)| file_name(Path::new(location)).to_owned()).collect();
    names.sort();
    Ok(Some(names))
}
