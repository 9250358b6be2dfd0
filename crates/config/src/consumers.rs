//! The `consumers` section.

use crate::fields::{Field, Key, key};
use crate::problems::Problems;
use crate::train::pattern;
use crate::{Consumers, Driver, Train, VendorVisibility};

const CONSUMERS: &[Key] = &[
    key("priority", "the priority of the driver repository on the machines that install from it"),
    key("vendor", "whether those machines see the vendor's repository as well"),
    key("exclude", "packages of the vendor's repository that those machines are not to see"),
];

/// The priority where nothing else is said and all others have DNF's.
const DEFAULT_PRIORITY: u32 = 50;

/// What compiles modules on every node in place of those that were proven.
const DEFAULT_EXCLUDE: [&str; 1] = ["*-dkms"];

/// Reads the section, which may be left out. The default priority goes before those of all other repositories that
/// the machines see.
pub(crate) fn read(
    field: Option<&Field<'_>>,
    train: Option<&Train>,
    driver: Option<&Driver>,
    problems: &mut Problems<'_>,
) -> Option<Consumers> {
    let fields = match field {
        None => None,
        Some(field) => Some(field.fields(CONSUMERS, problems)?),
    };
    let get = |name| fields.as_ref().and_then(|fields| fields.get(name));
    let vendor = match get("vendor") {
        None => Some(VendorVisibility::Hidden),
        Some(field) => field
            .word(&[("hidden", VendorVisibility::Hidden), ("exposed", VendorVisibility::Exposed)], problems),
    };
    let exclude = match get("exclude") {
        None => Some(DEFAULT_EXCLUDE.map(str::to_owned).into()),
        Some(field) => {
            field.list(("a package name or pattern", "package names or patterns"), problems, pattern)
        }
    };
    let priority = match get("priority") {
        None => Some(priority_before(train, driver.filter(|_| vendor == Some(VendorVisibility::Exposed)))),
        Some(field) => field.number(1..=99, problems),
    };
    Some(Consumers { priority: priority?, vendor: vendor?, exclude: exclude? })
}

fn priority_before(train: Option<&Train>, exposed: Option<&Driver>) -> u32 {
    let train = train.into_iter().flat_map(|train| train.repositories.values());
    let others = train.chain(exposed.map(|driver| &driver.repository)).map(|other| other.priority);
    others.map(|priority| priority - 1).fold(DEFAULT_PRIORITY, u32::min).max(1)
}
