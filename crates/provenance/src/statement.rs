//! The statement.

use std::collections::BTreeMap;

use drivetrain_model::{Cell, Checksum, ComponentName, InputRole, KernelRelease, Lock, Sha256Digest};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::{Facts, Made, Source};

/// in-toto's version of the statement.
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";
/// SLSA's version of the predicate.
const PREDICATE_TYPE: &str = "https://slsa.dev/provenance/v1";
/// What says how the parameters are meant: `ARCHITECTURE.md` of the version that is named.
const CELL: &str = "https://github.com/drivetrain/drivetrain/cell/v1";
const LOCKSTEP: &str = "https://github.com/drivetrain/drivetrain/lockstep/v1";
const BUILDER: &str = "https://github.com/drivetrain/drivetrain/builder/v1";

/// An in-toto statement: these packages were made so.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Statement {
    /// Which form of statement it is.
    #[serde(rename = "_type")]
    pub form: String,
    /// What it is about: every package of the repository.
    pub subject: Vec<Resource>,
    /// Which form the predicate has.
    pub predicate_type: String,
    /// What is stated.
    pub predicate: Provenance,
}

/// Something by name, place and digest: in-toto's resource descriptor.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Resource {
    /// What it is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is, without credentials.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// What it is: hexadecimal digests by algorithm.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub digest: BTreeMap<String, String>,
    /// What else is said of it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, Value>,
}

/// SLSA's provenance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Provenance {
    /// What went in.
    pub build_definition: BuildDefinition,
    /// Who did it, and what came out beside the packages.
    pub run_details: RunDetails,
}

/// What went in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuildDefinition {
    /// What says how the parameters are meant.
    pub build_type: String,
    /// What was asked for.
    pub external_parameters: ExternalParameters,
    /// What the builder made of that.
    pub internal_parameters: InternalParameters,
    /// Every input.
    pub resolved_dependencies: Vec<Resource>,
}

/// What was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExternalParameters {
    /// The driver stack's name.
    pub driver: String,
    /// What the packages are for.
    pub cell: Cell,
    /// The digest of the lock; of a repository for several kernels, of what decided what goes in.
    pub lock: Sha256Digest,
    /// What of the configuration decided the result beside the inputs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
}

/// What the builder made of that.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InternalParameters {
    /// The digest of the toolchain; absent where nothing was compiled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain: Option<Sha256Digest>,
    /// The toolchain in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toolchain_description: Option<String>,
    /// Where it was built, a line each; empty for the host of the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub builder: Vec<String>,
    /// The components.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<ComponentMade>,
    /// The certificates that modules were signed for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub module_certificates: Vec<Resource>,
    /// The fingerprint of the key that packages were signed with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signed_by: Option<String>,
    /// Who ran it.
    pub by: String,
}

/// What became of a component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ComponentMade {
    /// Its name.
    pub name: ComponentName,
    /// The digest of all that decided what came out.
    pub key: Sha256Digest,
    /// The kernel that its modules were built for, where that is not the cell's: they were found to be the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_for: Option<KernelRelease>,
    /// The file name of its source RPM, which its packages name in their headers.
    pub source: String,
}

/// Who did it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDetails {
    /// What did it.
    pub builder: BuilderId,
    /// Which run.
    pub metadata: RunMetadata,
    /// What came out beside the packages: the evidence.
    pub byproducts: Vec<Resource>,
}

/// What did it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BuilderId {
    /// The kind of builder.
    pub id: String,
    /// Versions of it, by part.
    pub version: BTreeMap<String, String>,
}

/// Which run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunMetadata {
    /// The run's id.
    pub invocation_id: String,
    /// When the statement was made.
    pub finished_on: jiff::Timestamp,
}

/// Why bytes are no statement that can be judged.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StatementError {
    /// They are not its JSON.
    #[error("it cannot be read")]
    Unreadable(#[from] serde_json::Error),
    /// They say something else.
    #[error("it is {found:?}, and {expected:?} is needed")]
    Form {
        /// What they are.
        found: String,
        /// What is understood.
        expected: &'static str,
    },
}

/// Makes the statement.
#[must_use]
pub fn state(facts: &Facts) -> Statement {
    let (build_type, lock) = match &facts.made {
        Made::Cell { lock, .. } => (CELL, lock.digest()),
        Made::Lockstep { digest, .. } => (LOCKSTEP, *digest),
    };
    Statement {
        form: STATEMENT_TYPE.to_owned(),
        subject: facts
            .packages
            .iter()
            .map(|package| Resource::of(&package.file, &Checksum::from(package.sha256)))
            .collect(),
        predicate_type: PREDICATE_TYPE.to_owned(),
        predicate: Provenance {
            build_definition: BuildDefinition {
                build_type: build_type.to_owned(),
                external_parameters: ExternalParameters {
                    driver: facts.driver_name.clone(),
                    cell: facts.cell.clone(),
                    lock,
                    settings: match &facts.made {
                        Made::Cell { lock, .. } => lock.settings.clone(),
                        Made::Lockstep { .. } => BTreeMap::new(),
                    },
                },
                internal_parameters: internal(facts),
                resolved_dependencies: dependencies(&facts.made),
            },
            run_details: run_details(facts),
        },
    }
}

/// Reads a statement.
///
/// # Errors
/// Where the bytes are none, or one of a form or about something that is not known here.
pub fn read_statement(bytes: &[u8]) -> Result<Statement, StatementError> {
    // The form first: another one would be refused for the fields that it lacks, and nobody would know why.
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Form {
        #[serde(rename = "_type")]
        form: String,
        predicate_type: String,
    }
    let form: Form = serde_json::from_slice(bytes)?;
    for (found, expected) in [(form.form, STATEMENT_TYPE), (form.predicate_type, PREDICATE_TYPE)] {
        if found != expected {
            return Err(StatementError::Form { found: found.chars().take(128).collect(), expected });
        }
    }
    let statement: Statement = serde_json::from_slice(bytes)?;
    let build_type = &statement.predicate.build_definition.build_type;
    if build_type != CELL && build_type != LOCKSTEP {
        return Err(StatementError::Form { found: build_type.chars().take(128).collect(), expected: CELL });
    }
    Ok(statement)
}

impl Statement {
    /// Whether it is about packages for one kernel.
    #[must_use]
    pub fn is_of_one_kernel(&self) -> bool {
        self.predicate.build_definition.build_type == CELL
    }

    /// What the packages are for.
    #[must_use]
    pub fn cell(&self) -> &Cell {
        &self.predicate.build_definition.external_parameters.cell
    }

    /// The digest of the lock that they were built from.
    #[must_use]
    pub fn lock(&self) -> Sha256Digest {
        self.predicate.build_definition.external_parameters.lock
    }

    /// The digest that it states for a file of the evidence.
    #[must_use]
    pub fn evidence(&self, name: &str) -> Option<Sha256Digest> {
        let files = &self.predicate.run_details.byproducts;
        files.iter().find(|file| file.name.as_deref() == Some(name)).and_then(Resource::sha256)
    }

    /// The names of the evidence.
    pub fn evidence_names(&self) -> impl Iterator<Item = &str> {
        self.predicate.run_details.byproducts.iter().filter_map(|file| file.name.as_deref())
    }

    /// The kernels that packages' modules were built for, where that is not the cell's, by the packages' files.
    ///
    /// `sources` has the file name of the source RPM that each package names.
    #[must_use]
    pub fn built_for(&self, sources: &BTreeMap<String, String>) -> BTreeMap<String, KernelRelease> {
        let components = &self.predicate.build_definition.internal_parameters.components;
        let kernel_of =
            |source: &String| components.iter().find(|made| made.source == *source)?.built_for.clone();
        sources.iter().filter_map(|(file, source)| Some((file.clone(), kernel_of(source)?))).collect()
    }

    /// The fingerprints of keys that it names as those of the repositories that inputs came from.
    pub fn input_keys(&self) -> impl Iterator<Item = &str> {
        let dependencies = &self.predicate.build_definition.resolved_dependencies;
        let keys = dependencies.iter().filter_map(|dependency| dependency.annotations.get("keys"));
        keys.filter_map(Value::as_array).flatten().filter_map(Value::as_str)
    }
}

impl Resource {
    /// By name and checksum.
    #[must_use]
    pub fn of(name: &str, checksum: &Checksum) -> Self {
        let text = checksum.to_string();
        let (algorithm, value) = text.split_once(':').unwrap_or(("sha256", &text));
        let digest = BTreeMap::from([(algorithm.to_owned(), value.to_owned())]);
        Self { name: Some(name.to_owned()), digest, ..Self::default() }
    }

    fn at(self, uri: &str) -> Self {
        Self { uri: Some(uri.to_owned()), ..self }
    }

    fn with(mut self, key: &str, value: Value) -> Self {
        self.annotations.insert(key.to_owned(), value);
        self
    }

    /// Its SHA-256, where it has one.
    #[must_use]
    pub fn sha256(&self) -> Option<Sha256Digest> {
        self.digest.get("sha256").and_then(|text| Sha256Digest::parse(text).ok())
    }
}

fn internal(facts: &Facts) -> InternalParameters {
    let signatory = |signatory: &crate::Signatory| {
        Resource::of(&signatory.subject, &Checksum::from(signatory.fingerprint))
    };
    let mut internal = InternalParameters {
        toolchain: None,
        toolchain_description: None,
        builder: Vec::new(),
        components: Vec::new(),
        module_certificates: facts.module_signers.iter().map(signatory).collect(),
        signed_by: facts.signed_by.clone(),
        by: facts.by.clone(),
    };
    if let Made::Cell { lock, components, builder } = &facts.made {
        internal.toolchain = Some(lock.toolchain);
        internal.toolchain_description = Some(lock.toolchain_description.clone());
        internal.builder.clone_from(builder);
        internal.components.clone_from(components);
    }
    internal
}

fn dependencies(made: &Made) -> Vec<Resource> {
    let source = |source: &Source| Resource {
        uri: source.uri.clone(),
        ..Resource::of(&source.name, &source.checksum)
    };
    match made {
        Made::Cell { lock, .. } => of_lock(lock),
        Made::Lockstep { sources, .. } => sources.iter().map(source).collect(),
    }
}

/// Every input of a lock: repositories, packages, source RPMs, patches.
fn of_lock(lock: &Lock) -> Vec<Resource> {
    let repositories = lock.repositories.iter().map(|(id, repository)| {
        let repomd = repository.url.join("repodata/repomd.xml").unwrap_or_else(|_| repository.url.clone());
        let resource = Resource::of(id.as_str(), &Checksum::from(repository.repomd)).at(repomd.as_str());
        resource.with("role", json!("repository")).with("keys", json!(repository.keys))
    });
    let inputs = lock.inputs.iter().map(|input| {
        let resource = Resource::of(&input.nevra.file_name(), &input.checksum).at(input.url.as_str());
        resource.with("role", role(input.role))
    });
    let components = lock.components.iter().flat_map(|component| {
        let source = Resource::of(&component.source.file_name(), &Checksum::from(component.sha256))
            .with("role", json!("component-source"))
            .with("component", json!(component.name));
        let patches = component.patches.iter().map(move |(file, sha256)| {
            Resource::of(file, &Checksum::from(*sha256))
                .with("role", json!("patch"))
                .with("component", json!(component.name))
        });
        std::iter::once(source).chain(patches)
    });
    repositories.chain(inputs).chain(components).collect()
}

/// The lock's own word for it.
fn role(role: InputRole) -> Value {
    serde_json::to_value(role).unwrap_or_default()
}

fn run_details(facts: &Facts) -> RunDetails {
    let byproduct = |file: &crate::EvidenceFile| Resource {
        annotations: file.says.clone(),
        ..Resource::of(&file.name, &Checksum::from(file.sha256))
    };
    RunDetails {
        builder: BuilderId {
            id: BUILDER.to_owned(),
            version: BTreeMap::from([("drivetrain".to_owned(), facts.version.clone())]),
        },
        metadata: RunMetadata { invocation_id: facts.run.to_string(), finished_on: facts.at },
        byproducts: facts.evidence.iter().map(byproduct).collect(),
    }
}
