//! The `.repo` file that a consumer puts into `/etc/yum.repos.d`.

use crate::{ConsumerSettings, Record, VendorRepository};

/// The name of the file with the public keys, in a repository that is signed.
pub(crate) const KEYS: &str = "RPM-GPG-KEY-drivetrain";

/// Its name in the repository.
pub(crate) const FILE: &str = "drivetrain.repo";

/// The text of the `.repo` file, for a repository at this URL.
#[must_use]
pub fn repo_file(record: &Record, consumers: &ConsumerSettings, url: &str) -> String {
    let cell = &record.cell;
    let id = id(&format!("drivetrain-{}-{}-{}", record.driver_name, cell.driver, cell.kernel));
    let name = one_line(&format!(
        "{} {} for kernel {} ({})",
        record.driver_name, cell.driver, cell.kernel, cell.train
    ));
    let url = one_line(url);
    let driver = format!(
        "# Written by drivetrain: modules in this repository are for kernel {kernel} and no other.\n\
         [{id}]\n\
         name={name}\n\
         baseurl={url}\n\
         enabled=1\n\
         # Before all others that have packages of these names: an upgrade keeps what is installed from here.\n\
         priority={priority}\n\
         {signatures}\
         # Without it a module stream that has a package of the same name would hide ours.\n\
         module_hotfixes=1\n",
        kernel = cell.kernel,
        priority = consumers.priority,
        signatures = signatures(record, &url),
    );
    let vendor = consumers.vendor.as_ref();
    driver + &vendor.map(|vendor| vendor_section(record, vendor)).unwrap_or_default()
}

/// What dnf is to verify.
fn signatures(record: &Record, url: &str) -> String {
    let Some(key) = &record.signed_by else {
        return "# The packages are not signed: who can write to the server can replace them. TLS is the protection.\n\
                gpgcheck=0\n"
            .to_owned();
    };
    let slash = if url.ends_with('/') { "" } else { "/" };
    format!(
        "# Packages and metadata are signed with the key {key}.\ngpgcheck=1\nrepo_gpgcheck=1\n\
         gpgkey={url}{slash}{KEYS}\n",
        key = one_line(key)
    )
}

/// The vendor's repository, without what would take the place of what is published.
fn vendor_section(record: &Record, vendor: &VendorRepository) -> String {
    let mut text = format!(
        "\n# The vendor's, for what is not published here.\n[{id}]\nname={name}\nbaseurl={url}\nenabled=1\npriority={priority}\n",
        id = id(&format!("drivetrain-{}-vendor", vendor.id)),
        name = one_line(&format!("{} {}, the vendor's packages", vendor.id, record.cell.driver)),
        url = one_line(&vendor.url),
        priority = vendor.priority,
    );
    if !vendor.exclude.is_empty() {
        let patterns: Vec<String> = vendor.exclude.iter().map(|pattern| one_line(pattern)).collect();
        text.push_str(&format!(
            "# They would take the place of what is published, or compile modules on every node.\nexcludepkgs={}\n",
            patterns.join(",")
        ));
    }
    text.push_str(if vendor.verify { "gpgcheck=1\n" } else { "gpgcheck=0\n" });
    if vendor.verify && !vendor.keys.is_empty() {
        let keys: Vec<String> = vendor.keys.iter().map(|key| one_line(key)).collect();
        text.push_str(&format!("gpgkey={}\n", keys.join("\n       ")));
    }
    text
}

/// DNF allows letters, digits and `-_.:` in an id.
fn id(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' }).collect()
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}
