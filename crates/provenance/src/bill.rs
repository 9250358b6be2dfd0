//! The bill of materials: what is in the packages, and where that came from.

use cyclonedx_bom::external_models::date_time::DateTime;
use cyclonedx_bom::external_models::uri::{Purl, Uri};
use cyclonedx_bom::models::attached_text::AttachedText;
use cyclonedx_bom::models::bom::{Bom, SpecVersion, UrnUuid};
use cyclonedx_bom::models::code::{Diff, Patch, PatchClassification, Patches};
use cyclonedx_bom::models::component::{Classification, Component, Components, Pedigree};
use cyclonedx_bom::models::dependency::{Dependencies, Dependency};
use cyclonedx_bom::models::external_reference::{
    ExternalReference, ExternalReferenceType, ExternalReferences,
};
use cyclonedx_bom::models::hash::{Hash, HashAlgorithm, HashValue, Hashes};
use cyclonedx_bom::models::license::{LicenseChoice, Licenses};
use cyclonedx_bom::models::metadata::Metadata;
use cyclonedx_bom::models::property::{Properties, Property};
use cyclonedx_bom::models::tool::Tools;
use cyclonedx_bom::validation::Validate;
use drivetrain_model::{Checksum, ChecksumAlgorithm, InputRole, Lock, LockedComponent, Nevra, Sha256Digest};

use crate::{Facts, Made, ModuleIn, PublishedPackage};

/// Names of properties that CycloneDX has no field for.
const FILE: &str = "drivetrain:file";
const CONTENT: &str = "drivetrain:content-sha256";
const PATH: &str = "drivetrain:path";

/// What a bill says of packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bill {
    /// Each package's file, with its digest where that is said.
    pub packages: Vec<(String, Option<Sha256Digest>)>,
}

/// Why there is no bill.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BillError {
    /// It cannot be written.
    #[error("the bill of materials cannot be written")]
    Write(#[from] cyclonedx_bom::errors::JsonWriteError),
    /// It cannot be read.
    #[error("it is no CycloneDX bill of materials that can be read")]
    Read(#[from] cyclonedx_bom::errors::JsonReadError),
    /// It breaks the format's rules.
    #[error("it breaks the rules of CycloneDX 1.5: {0}")]
    Rules(String),
}

/// Writes the bill: CycloneDX 1.5, JSON.
///
/// # Errors
/// Where something in it is not as the format has it.
pub fn write_bill(facts: &Facts) -> Result<Vec<u8>, BillError> {
    let bom = bill(facts);
    check(&bom)?;
    let mut text = Vec::new();
    bom.output_as_json_v1_5(&mut text)?;
    text.push(b'\n');
    Ok(text)
}

/// Reads a bill.
///
/// # Errors
/// Where it is none.
pub fn read_bill(bytes: &[u8]) -> Result<Bill, BillError> {
    let bom = Bom::parse_from_json_v1_5(bytes)?;
    check(&bom)?;
    let components = bom.components.map(|components| components.0).unwrap_or_default();
    let packages = components.iter().map(|component| (file_of(component), sha256_of(component))).collect();
    Ok(Bill { packages })
}

fn check(bom: &Bom) -> Result<(), BillError> {
    let result = bom.validate_version(SpecVersion::V1_5);
    if result.passed() {
        return Ok(());
    }
    let first: Vec<String> = result.errors().take(3).map(|(field, _)| field.to_owned()).collect();
    Err(BillError::Rules(format!("see {}", first.join(", "))))
}

fn file_of(component: &Component) -> String {
    let properties = component.properties.iter().flat_map(|properties| &properties.0);
    let named = properties.into_iter().find(|property| property.name == FILE);
    named.map_or_else(|| component.name.to_string(), |property| property.value.to_string())
}

fn sha256_of(component: &Component) -> Option<Sha256Digest> {
    let mut hashes = component.hashes.iter().flat_map(|hashes| &hashes.0);
    let hash = hashes.find(|hash| hash.alg == HashAlgorithm::SHA_256)?;
    Sha256Digest::parse(&hash.content.0).ok()
}

fn bill(facts: &Facts) -> Bom {
    let root = root(facts);
    let lock = match &facts.made {
        Made::Cell { lock, .. } => Some(&**lock),
        Made::Lockstep { .. } => None,
    };
    let components: Vec<Component> = facts.packages.iter().map(|each| package(each, lock)).collect();
    let all = components.iter().filter_map(|component| component.bom_ref.clone()).collect();
    let of_root = Dependency { dependency_ref: root.bom_ref.clone().unwrap_or_default(), dependencies: all };
    Bom {
        version: 1,
        serial_number: serial(facts),
        metadata: Some(Metadata {
            timestamp: DateTime::try_from(facts.at.to_string()).ok(),
            tools: Some(Tools::Object {
                services: None,
                components: Some(Components(vec![Component::new(
                    Classification::Application,
                    "drivetrain",
                    &facts.version,
                    None,
                )])),
            }),
            component: Some(root),
            ..Metadata::default()
        }),
        components: Some(Components(components)),
        dependencies: Some(Dependencies(vec![of_root])),
        spec_version: SpecVersion::V1_5,
        services: None,
        external_references: None,
        compositions: None,
        properties: None,
        vulnerabilities: None,
        signature: None,
        annotations: None,
        formulation: None,
    }
}

/// The same packages have the same number: version 8 of RFC 9562 leaves the bits to whoever makes it.
fn serial(facts: &Facts) -> Option<UrnUuid> {
    let all: String =
        facts.packages.iter().map(|package| format!("{} {}\n", package.file, package.sha256)).collect();
    let hex = Sha256Digest::of(all.as_bytes()).to_string();
    let part = |range: std::ops::Range<usize>| hex.get(range).unwrap_or_default();
    let text = format!(
        "urn:uuid:{}-{}-8{}-8{}-{}",
        part(0..8),
        part(8..12),
        part(12..15),
        part(15..18),
        part(18..30)
    );
    UrnUuid::new(text).ok()
}

/// The repository as a whole.
fn root(facts: &Facts) -> Component {
    let version = facts.cell.driver.to_string();
    let mut root = Component::new(
        Classification::DeviceDriver,
        &facts.driver_name,
        &version,
        Some(format!("repository:{}", facts.cell)),
    );
    let mut properties = vec![
        Property::new("drivetrain:train", facts.cell.train.as_str()),
        Property::new("drivetrain:arch", facts.cell.arch.as_str()),
        Property::new("drivetrain:kernel", facts.cell.kernel.as_str()),
        Property::new("drivetrain:run", facts.run.as_str()),
    ];
    if let Made::Cell { lock, .. } = &facts.made {
        properties.push(Property::new("drivetrain:lock", &lock.digest().to_string()));
        properties.push(Property::new("drivetrain:toolchain", &lock.toolchain_description));
    }
    root.properties = Some(Properties(properties));
    root
}

fn package(package: &PublishedPackage, lock: Option<&Lock>) -> Component {
    let kind =
        if package.modules.is_empty() { Classification::Library } else { Classification::DeviceDriver };
    let mut component = named(kind, &package.nevra);
    component.hashes = Some(Hashes(vec![sha256(package.sha256)]));
    component.licenses = license(&package.license).map(|license| Licenses(vec![license]));
    component.properties = Some(Properties(vec![Property::new(FILE, &package.file)]));
    component.external_references = lock.and_then(|lock| origin(package, lock));
    component.pedigree = lock.and_then(|lock| pedigree(package, lock));
    if !package.modules.is_empty() {
        let modules = package.modules.iter().map(|each| module(package, each)).collect();
        component.components = Some(Components(modules));
    }
    component
}

fn named(kind: Classification, nevra: &Nevra) -> Component {
    let reference = format!("rpm:{nevra}");
    let evr = format!("{}-{}", nevra.evr.version, nevra.evr.release);
    let mut component = Component::new(kind, &nevra.name, &nevra.evr.to_string(), Some(reference));
    component.purl = purl(nevra, &evr);
    component
}

/// `pkg:rpm/name@version-release?arch=…&epoch=…`, as the package-url specification has it for RPM.
fn purl(nevra: &Nevra, evr: &str) -> Option<Purl> {
    let plain = Purl::new("rpm", &nevra.name, evr).ok()?;
    let epoch = if nevra.evr.epoch == 0 { String::new() } else { format!("&epoch={}", nevra.evr.epoch) };
    format!("{plain}?arch={}{epoch}", nevra.arch).parse().ok()
}

/// A header may say anything; an expression that SPDX has is one.
fn license(text: &str) -> Option<LicenseChoice> {
    if text.trim().is_empty() {
        return None;
    }
    let expression = LicenseChoice::expression(text);
    if expression.validate_version(SpecVersion::V1_5).passed() {
        return Some(expression);
    }
    Some(LicenseChoice::license(text))
}

/// Where the vendor's own packages come from.
fn origin(package: &PublishedPackage, lock: &Lock) -> Option<ExternalReferences> {
    let mut inputs = lock.inputs.iter().filter(|input| input.role == InputRole::Userspace);
    let input = inputs.find(|input| input.nevra == package.nevra)?;
    let mut reference =
        ExternalReference::new(ExternalReferenceType::Distribution, Uri::new(input.url.as_str()));
    reference.hashes = Some(Hashes(vec![hash(&input.checksum)]));
    Some(ExternalReferences(vec![reference]))
}

/// The source RPM that was built, and what the site has changed of it.
fn pedigree(package: &PublishedPackage, lock: &Lock) -> Option<Pedigree> {
    let source = package.source_rpm.as_ref()?;
    let component = lock.components.iter().find(|component| component.source.file_name() == *source)?;
    let mut ancestor = named(Classification::Library, &component.source);
    ancestor.hashes = Some(Hashes(vec![sha256(component.sha256)]));
    // Several packages come of one source RPM, and a reference may be there once.
    ancestor.bom_ref = None;
    Some(Pedigree {
        ancestors: Some(Components(vec![ancestor])),
        descendants: None,
        variants: None,
        commits: None,
        patches: patches(component),
        notes: None,
    })
}

fn patches(component: &LockedComponent) -> Option<Patches> {
    let patch = |(file, digest): &(String, Sha256Digest)| Patch {
        patch_type: PatchClassification::Unofficial,
        diff: Some(Diff {
            // The patch itself is the site's: its name and digest say which.
            text: Some(AttachedText::new(None, format!("{file} sha256:{digest}"))),
            url: None,
        }),
        resolves: None,
    };
    (!component.patches.is_empty()).then(|| Patches(component.patches.iter().map(patch).collect()))
}

fn module(package: &PublishedPackage, module: &ModuleIn) -> Component {
    let mut component = Component::new(
        Classification::DeviceDriver,
        &module.name,
        &package.nevra.evr.to_string(),
        Some(format!("module:{}:{}", package.nevra, module.path)),
    );
    let mut properties = vec![Property::new(PATH, &module.path)];
    properties.extend(module.content.map(|content| Property::new(CONTENT, &content.to_string())));
    component.properties = Some(Properties(properties));
    component
}

fn sha256(digest: Sha256Digest) -> Hash {
    hash(&Checksum::from(digest))
}

fn hash(checksum: &Checksum) -> Hash {
    let alg = match checksum.algorithm {
        ChecksumAlgorithm::Sha256 => HashAlgorithm::SHA_256,
        ChecksumAlgorithm::Sha384 => HashAlgorithm::SHA_384,
        ChecksumAlgorithm::Sha512 => HashAlgorithm::SHA_512,
    };
    Hash { alg, content: HashValue(checksum.hex.clone()) }
}
