//! What was made of what, for those who did not see it being made.
//!
//! Two documents are published beside a repository: a statement in the form of [in-toto], with [SLSA]'s provenance as its
//! predicate, which names every package by its digest and every input that it was made of; and a bill of materials in the
//! form of [CycloneDX], which says what is in the packages. The statement names the bill and the rest of the evidence by
//! digest, and is what gets signed. Everything here is a function of what was planned and found; files and keys are
//! elsewhere.
//!
//! [in-toto]: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md
//! [SLSA]: https://slsa.dev/spec/v1.0/provenance
//! [CycloneDX]: https://cyclonedx.org/docs/1.5/json/

mod bill;
mod compare;
mod facts;
mod statement;

pub use bill::{Bill, BillError, read_bill, write_bill};
pub use compare::{Described, Discrepancy, compare_bill, compare_subjects};
pub use facts::{EvidenceFile, Facts, Made, ModuleIn, PublishedPackage, Signatory, Source};
pub use statement::{
    BuildDefinition, BuilderId, ComponentMade, ExternalParameters, InternalParameters, Provenance, Resource,
    RunDetails, RunMetadata, Statement, StatementError, read_statement, state,
};

/// The statement's name among the evidence.
pub const STATEMENT: &str = "provenance.json";
/// The signature over it, detached and armored, by the key that signs packages.
pub const SIGNATURE: &str = "provenance.json.asc";
/// The bill's name among the evidence.
pub const BILL: &str = "sbom.cdx.json";
