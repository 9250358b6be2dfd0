//! `modules.yaml`: module streams, and which packages are theirs.
//!
//! A stream that is not enabled hides its packages, and one that is enabled hides packages of the same names that are in
//! no module. What is read of it is what decides that: the documents `modulemd` and `modulemd-defaults`
//! (<https://github.com/fedora-modularity/libmodulemd/tree/main/yaml_specs>).

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;

use drivetrain_model::Nevra;
use granit_parser::{Event, Parser, StrInput};

use crate::{Error, Limits, Result};

const DOCUMENT: &str = "modules";
/// How deep the documents are nested; real ones have six levels.
const MAX_DEPTH: usize = 32;

/// One build of a module's stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModuleBuild {
    /// The module's name.
    pub name: String,
    /// Its stream.
    pub stream: String,
    /// The version: of two builds the one with the higher version is the newer.
    pub version: u64,
    /// The packages of the build.
    pub artifacts: Vec<Nevra>,
}

/// What a repository says of modules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modules {
    /// The builds.
    pub builds: Vec<ModuleBuild>,
    /// The stream of each module that is enabled where nobody says otherwise.
    pub defaults: BTreeMap<String, String>,
}

/// Reads `modules.yaml` (decompressed).
///
/// # Errors
/// Where it is not YAML, or a document lacks what makes it one.
pub fn read_modules(reader: impl Read, limits: &Limits) -> Result<Modules> {
    let limit = limits.max_modules_bytes;
    let mut bytes = Vec::new();
    let io = |error| Error::from_io(DOCUMENT, error);
    reader.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Error::limit(DOCUMENT, "the document", limit, "max_modules_bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| malformed("is not UTF-8"))?;
    let mut options = granit_parser::options! {
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    options.set_emit_comments(false);
    let mut walk = Walk { parser: Parser::new_from_str_with_options(&text, options), limits, entries: 0 };
    let mut modules = Modules::default();
    while let Some(draft) = walk.document()? {
        draft.add_to(&mut modules)?;
    }
    Ok(modules)
}

fn malformed(problem: impl Into<String>) -> Error {
    Error::malformed(DOCUMENT, "YAML", problem.into())
}

/// What was found in a document so far, by the path of its keys.
#[derive(Debug, Default)]
struct Draft {
    values: BTreeMap<&'static str, String>,
    artifacts: Vec<String>,
}

/// The single values that are wanted, by the path of their keys.
const WANTED: [&str; 5] = ["document", "data/name", "data/module", "data/stream", "data/version"];
const ARTIFACTS: &str = "data/artifacts/rpms/-";

impl Draft {
    fn take(&mut self, path: &str, value: &str) {
        if path == ARTIFACTS {
            self.artifacts.push(value.to_owned());
        } else if let Some(wanted) = WANTED.iter().find(|wanted| **wanted == path) {
            self.values.insert(wanted, value.to_owned());
        }
    }

    fn add_to(self, modules: &mut Modules) -> Result<()> {
        let value = |key: &str| self.values.get(key).cloned();
        match value("document").as_deref() {
            Some("modulemd") => {
                // Without a name it is a draft of an author's, and no build.
                let (Some(name), Some(stream)) = (value("data/name"), value("data/stream")) else {
                    return Ok(());
                };
                let version = value("data/version").and_then(|text| text.parse().ok()).unwrap_or(0);
                let artifacts = self
                    .artifacts
                    .iter()
                    .map(|text| {
                        let problem =
                            |error| malformed(format!("module {name}:{stream} has the artifact {error}"));
                        Nevra::parse(text).map_err(problem)
                    })
                    .collect::<Result<Vec<Nevra>>>()?;
                modules.builds.push(ModuleBuild { name, stream, version, artifacts });
            }
            Some("modulemd-defaults") => {
                if let (Some(module), Some(stream)) = (value("data/module"), value("data/stream")) {
                    modules.defaults.insert(module, stream);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Where in a document the parser is.
enum Level {
    Mapping(Option<String>),
    Sequence,
}

struct Walk<'a> {
    parser: Parser<'a, StrInput<'a>>,
    limits: &'a Limits,
    entries: usize,
}

impl Walk<'_> {
    /// The next document; `None` at the end.
    fn document(&mut self) -> Result<Option<Draft>> {
        let mut draft = Draft::default();
        let mut levels: Vec<Level> = Vec::new();
        loop {
            let event = match self.parser.next_event() {
                None => return Ok(None),
                Some(Err(error)) => {
                    let line = error.marker().line();
                    return Err(malformed(format!("cannot be read at line {line}: {}", error.info())));
                }
                Some(Ok((event, _))) => event,
            };
            match event {
                Event::StreamEnd => return Ok(None),
                Event::DocumentEnd => return Ok(Some(draft)),
                Event::Scalar(text, ..) => self.scalar(&mut draft, &mut levels, &text)?,
                Event::MappingStart(..) => levels.push(Level::Mapping(None)),
                Event::SequenceStart(..) => levels.push(Level::Sequence),
                Event::MappingEnd | Event::SequenceEnd => {
                    levels.pop();
                    value_ended(&mut levels);
                }
                Event::Alias(_) => return Err(malformed("has an alias, which no module has")),
                _ => {}
            }
        }
    }

    fn scalar(&mut self, draft: &mut Draft, levels: &mut [Level], text: &str) -> Result<()> {
        self.entries += 1;
        if self.entries as u64 > self.limits.max_packages.saturating_mul(16) {
            return Err(Error::limit(DOCUMENT, "values", self.limits.max_packages, "max_packages"));
        }
        if let Some(Level::Mapping(key @ None)) = levels.last_mut() {
            *key = Some(text.to_owned());
            return Ok(());
        }
        draft.take(&path(levels), text);
        value_ended(levels);
        Ok(())
    }
}

/// A value was read: in a mapping the next text is a key.
fn value_ended(levels: &mut [Level]) {
    if let Some(Level::Mapping(key)) = levels.last_mut() {
        *key = None;
    }
}

fn path(levels: &[Level]) -> String {
    let parts: Vec<&str> = levels
        .iter()
        .map(|level| match level {
            Level::Mapping(key) => key.as_deref().unwrap_or_default(),
            Level::Sequence => "-",
        })
        .collect();
    parts.join("/")
}

impl Modules {
    /// The packages that are not to be had, of those of a repository, where `enabled` says which streams are enabled
    /// besides the defaults (`name:stream`).
    ///
    /// Of the builds of an enabled stream the newest counts. A package that is in no module is hidden where an enabled
    /// build has one of its name.
    #[must_use]
    pub fn hidden<'p>(
        &self,
        enabled: &BTreeMap<String, String>,
        packages: impl Iterator<Item = &'p Nevra>,
    ) -> BTreeSet<Nevra> {
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let is_enabled = |build: &ModuleBuild| {
            let stream = enabled.get(&build.name).or_else(|| self.defaults.get(&build.name));
            stream == Some(&build.stream)
        };
        for build in self.builds.iter().filter(|build| is_enabled(build)) {
            let version = newest.entry(&build.name).or_default();
            *version = build.version.max(*version);
        }
        let (mut active, mut others) = (BTreeSet::new(), BTreeSet::new());
        for build in &self.builds {
            let counts = is_enabled(build) && newest.get(build.name.as_str()) == Some(&build.version);
            if counts { &mut active } else { &mut others }.extend(&build.artifacts);
        }
        let names: BTreeSet<&str> = active.iter().map(|nevra| nevra.name.as_str()).collect();
        packages
            .filter(|nevra| !active.contains(nevra))
            .filter(|nevra| others.contains(nevra) || names.contains(nevra.name.as_str()))
            .cloned()
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\ndocument: modulemd\nversion: 2\ndata:\n  name: nodejs\n  stream: \"18\"\n  version: 9020\n  context: rhel9\n  \
                        license:\n    module: [MIT]\n  dependencies:\n  - buildrequires:\n      platform: [el9]\n  artifacts:\n    rpms:\n    \
                        - nodejs-1:18.1-1.module+el9.x86_64\n    - npm-1:9-1.module+el9.x86_64\n...\n---\ndocument: modulemd\nversion: 2\ndata:\n  \
                        name: nodejs\n  stream: \"20\"\n  version: 9010\n  artifacts:\n    rpms:\n    - nodejs-1:20.1-1.module+el9.x86_64\n...\n---\n\
                        document: modulemd\nversion: 2\ndata:\n  name: nodejs\n  stream: \"18\"\n  version: 9010\n  artifacts:\n    rpms:\n    \
                        - nodejs-1:18.0-1.module+el9.x86_64\n...\n---\ndocument: modulemd-defaults\nversion: 1\ndata:\n  module: nodejs\n  stream: \"18\"\n...\n";

    fn read(text: &str) -> Result<Modules> {
        read_modules(text.as_bytes(), &Limits::default())
    }

    fn hidden(enabled: &[(&str, &str)]) -> Vec<String> {
        let packages: Vec<Nevra> = [
            "nodejs-1:18.1-1.module+el9.x86_64",
            "nodejs-1:18.0-1.module+el9.x86_64",
            "nodejs-1:20.1-1.module+el9.x86_64",
            "nodejs-1:16.0-1.el9.x86_64",
            "npm-1:9-1.module+el9.x86_64",
            "bash-5-1.el9.x86_64",
        ]
        .iter()
        .map(|text| Nevra::parse(text).unwrap())
        .collect();
        let enabled = enabled.iter().map(|&(name, stream)| (name.to_owned(), stream.to_owned())).collect();
        let hidden = read(TEXT).unwrap().hidden(&enabled, packages.iter());
        hidden.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_newest_build_of_the_default_stream_is_there_and_hides_the_others() {
        assert_eq!(
            hidden(&[]),
            [
                "nodejs-1:16.0-1.el9.x86_64",
                "nodejs-1:18.0-1.module+el9.x86_64",
                "nodejs-1:20.1-1.module+el9.x86_64"
            ]
        );
    }

    #[test]
    fn another_stream_can_be_enabled() {
        assert_eq!(
            hidden(&[("nodejs", "20")]),
            [
                "nodejs-1:16.0-1.el9.x86_64",
                "nodejs-1:18.0-1.module+el9.x86_64",
                "nodejs-1:18.1-1.module+el9.x86_64",
                "npm-1:9-1.module+el9.x86_64"
            ]
        );
    }

    #[test]
    fn what_is_no_modules_file_is_refused_with_the_line() {
        for text in ["data: [", "document: modulemd\ndata: *x\n", "a: &a [*a]\n"] {
            assert!(read(text).is_err(), "{text}");
        }
        let bad = TEXT.replace("npm-1:9-1.module+el9.x86_64", "npm");
        assert!(read(&bad).unwrap_err().to_string().contains("module nodejs:18 has the artifact"), "{bad}");
        let small = Limits { max_modules_bytes: 10, ..Limits::default() };
        assert!(read_modules(TEXT.as_bytes(), &small).unwrap_err().to_string().contains("max_modules_bytes"));
        assert_eq!(read("").unwrap(), Modules::default());
    }
}
