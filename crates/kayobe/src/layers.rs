//! Which files there are, and which of them have the last word.
//!
//! Kayobe hands every `*.yml`, `*.yaml` and `*.json` of `etc/kayobe` to Ansible as extra variables, sorted by name, and
//! after them those of each environment: of those that the chosen one depends on first. What comes later wins, and all
//! of it wins over the inventory's `group_vars`, of which those of the group `all` are read here.

use std::collections::{BTreeMap, BTreeSet};

use camino::{Utf8Path, Utf8PathBuf};
use fs_err as fs;

use crate::yaml::{self, Data};
use crate::{KayobeError, Place};

/// No configuration has as many files of variables.
const MAX_FILES: usize = 2000;
/// Nor as many environments on top of each other.
const MAX_ENVIRONMENTS: usize = 50;
/// Directories below `group_vars/all`.
const MAX_DEPTH: usize = 8;

/// A configuration's directory, and the environments that are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layers {
    /// The checkout: what files are named from.
    pub checkout: Utf8PathBuf,
    /// `etc/kayobe`.
    pub configuration: Utf8PathBuf,
    /// The environments, in the order in which they are read; the chosen one is the last.
    pub environments: Vec<String>,
}

impl Layers {
    /// Finds a configuration: the checkout, or its `etc/kayobe`.
    ///
    /// # Errors
    /// Where there is none, or the environment is not there.
    pub fn find(path: &Utf8Path, environment: Option<&str>) -> Result<Self, KayobeError> {
        let configuration = configuration(path)?;
        let checkout = match configuration.as_str().strip_suffix("/etc/kayobe") {
            Some(root) if !root.is_empty() => Utf8PathBuf::from(root),
            _ => configuration.clone(),
        };
        let mut layers = Self { checkout, configuration, environments: Vec::new() };
        if let Some(environment) = environment {
            layers.environments = layers.order(environment)?;
        }
        Ok(layers)
    }

    /// How a file is named: from the checkout on.
    pub(crate) fn name(&self, path: &Utf8Path) -> Utf8PathBuf {
        path.strip_prefix(&self.checkout).unwrap_or(path).to_owned()
    }

    fn environment_directory(&self, name: &str) -> Utf8PathBuf {
        self.configuration.join("environments").join(name)
    }

    /// The files of variables: of two that define the same, the later wins.
    pub(crate) fn files(&self) -> Result<Vec<Utf8PathBuf>, KayobeError> {
        let mut directories = vec![self.configuration.clone()];
        directories.extend(self.environments.iter().map(|name| self.environment_directory(name)));
        let mut files = Vec::new();
        for directory in &directories {
            let group = directory.join("inventory/group_vars/all");
            group_vars(&group, &mut files, 0)?;
            for extension in ["yml", "yaml", "json"] {
                let file = group.with_extension(extension);
                if file.is_file() {
                    files.push(file);
                }
            }
        }
        for directory in &directories {
            let mut own: Vec<Utf8PathBuf> = list(directory)?
                .into_iter()
                .filter(|path| matches!(path.extension(), Some("yml" | "yaml" | "json")) && path.is_file())
                .collect();
            own.sort();
            files.extend(own);
        }
        if files.len() > MAX_FILES {
            let path = self.configuration.clone();
            return Err(KayobeError::TooMuch { path, limit: MAX_FILES, what: "files of variables" });
        }
        Ok(files)
    }

    /// An environment with those that it depends on, these first.
    fn order(&self, environment: &str) -> Result<Vec<String>, KayobeError> {
        let mut graph: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut found = Vec::new();
        let mut open = vec![environment.to_owned()];
        while let Some(name) = open.pop() {
            if graph.contains_key(&name) {
                continue;
            }
            let needs = self.dependencies(&name)?;
            open.extend(needs.iter().rev().cloned());
            found.push(name.clone());
            graph.insert(name, needs);
            if graph.len() > MAX_ENVIRONMENTS {
                let path = self.configuration.clone();
                return Err(KayobeError::TooMuch { path, limit: MAX_ENVIRONMENTS, what: "environments" });
            }
        }
        let mut done: BTreeSet<String> = BTreeSet::new();
        let mut order = Vec::new();
        while order.len() < found.len() {
            let ready: Vec<String> = found
                .iter()
                .filter(|name| !done.contains(*name))
                .filter(|name| {
                    graph.get(*name).is_none_or(|needs| needs.iter().all(|need| done.contains(need)))
                })
                .cloned()
                .collect();
            if ready.is_empty() {
                let names = found.into_iter().filter(|name| !done.contains(name)).collect();
                return Err(KayobeError::EnvironmentCycle { names });
            }
            done.extend(ready.iter().cloned());
            order.extend(ready);
        }
        Ok(order)
    }

    /// What an environment's `.kayobe-environment` names.
    fn dependencies(&self, name: &str) -> Result<Vec<String>, KayobeError> {
        let directory = self.environment_directory(name);
        let plain = !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0']);
        if !plain || !directory.is_dir() {
            return Err(self.no_environment(name));
        }
        let file = directory.join(".kayobe-environment");
        if !file.is_file() {
            return Ok(Vec::new());
        }
        let shown = self.name(&file);
        let entries = yaml::read(&read(&file)?, &shown)?;
        let Some((_, line, node)) = entries.into_iter().find(|(key, ..)| key == "dependencies") else {
            return Ok(Vec::new());
        };
        let malformed = || KayobeError::Malformed {
            place: Place::new(&shown, line),
            message: "`dependencies` is a list of environments' names".to_owned(),
        };
        let Data::List(items) = &node.data else { return Err(malformed()) };
        items
            .iter()
            .map(|item| match &item.data {
                Data::Text(text) => Ok(text.clone()),
                _ => Err(malformed()),
            })
            .collect()
    }

    fn no_environment(&self, name: &str) -> KayobeError {
        let directory = self.configuration.join("environments");
        let mut there: Vec<String> = list(&directory)
            .unwrap_or_default()
            .iter()
            .filter(|path| path.is_dir())
            .filter_map(|path| path.file_name().map(str::to_owned))
            .collect();
        there.sort();
        let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
        KayobeError::NoEnvironment { name: name.to_owned(), directory: self.name(&directory), there }
    }
}

fn configuration(path: &Utf8Path) -> Result<Utf8PathBuf, KayobeError> {
    let nested = path.join("etc/kayobe");
    if nested.is_dir() {
        return Ok(nested);
    }
    if path.join("globals.yml").is_file() {
        return Ok(path.to_owned());
    }
    Err(KayobeError::NotAConfiguration { path: path.to_owned() })
}

/// The files below a group's directory, as Ansible takes them: sorted, without hidden ones and backups.
fn group_vars(directory: &Utf8Path, files: &mut Vec<Utf8PathBuf>, depth: usize) -> Result<(), KayobeError> {
    if directory.is_file() {
        files.push(directory.to_owned());
        return Ok(());
    }
    if depth > MAX_DEPTH || !directory.is_dir() {
        return Ok(());
    }
    let mut entries = list(directory)?;
    entries.sort();
    for entry in entries {
        let name = entry.file_name().unwrap_or_default();
        if name.starts_with('.') || name.ends_with('~') {
            continue;
        }
        if entry.is_dir() {
            group_vars(&entry, files, depth + 1)?;
        } else if matches!(entry.extension(), None | Some("yml" | "yaml" | "json")) {
            files.push(entry);
        }
    }
    Ok(())
}

fn list(directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>, KayobeError> {
    let unreadable = |why: String| KayobeError::Unreadable { path: directory.to_owned(), why };
    let mut entries = Vec::new();
    for entry in fs::read_dir(directory).map_err(|error| unreadable(error.to_string()))? {
        let entry = entry.map_err(|error| unreadable(error.to_string()))?;
        // A name that is not UTF-8 is none of a configuration's.
        if let Ok(path) = Utf8PathBuf::from_path_buf(entry.path()) {
            entries.push(path);
        }
        if entries.len() > MAX_FILES {
            let path = directory.to_owned();
            return Err(KayobeError::TooMuch { path, limit: MAX_FILES, what: "entries" });
        }
    }
    Ok(entries)
}

/// Whether a file is one of `group_vars`, and not of Kayobe's extra variables.
pub(crate) fn is_of_a_group(path: &Utf8Path) -> bool {
    path.as_str().contains("/inventory/group_vars/")
}

/// Reads a file, up to the limit.
pub(crate) fn read(path: &Utf8Path) -> Result<String, KayobeError> {
    use std::io::Read as _;
    let unreadable = |why: String| KayobeError::Unreadable { path: path.to_owned(), why };
    let limit = u64::try_from(yaml::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(limit).read_to_end(&mut bytes))
        .map_err(|error| unreadable(error.to_string()))?;
    String::from_utf8(bytes).map_err(|_| unreadable("it is not UTF-8 text".to_owned()))
}
