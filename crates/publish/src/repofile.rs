//! The `.repo` file that a consumer puts into `/etc/yum.repos.d`.

use crate::{ConsumerSettings, Record, VendorRepository};

/// The name of the file with the public keys, in a repository that is signed.
pub(crate) const KEYS: &str = "RPM-GPG-KEY-drivetrain";

/// Its name in the repository.
pub(crate) const FILE: &str = "drivetrain.repo";

/// The text of the `.repo` file, for a repository at this URL.
#[must_use]
pub fn repo_file(record: &Record, consumers: &ConsumerSettings, url: &str) -> String {
    let (what, suffix, kernels) = subject(record);
    let cell = &record.cell;
    let id = id(&format!("drivetrain-{}-{}-{suffix}", record.driver_name, cell.driver));
    let name = one_line(&format!("{} {} for {kernels} ({})", record.driver_name, cell.driver, cell.train));
    let url = one_line(url);
    let driver = format!(
        "{what}\n\
         [{id}]\n\
         name={name}\n\
         baseurl={url}\n\
         enabled=1\n\
         # Before all others that have packages of these names: an upgrade keeps what is installed from here.\n\
         priority={priority}\n\
         {signatures}\
         # Without it a module stream that has a package of the same name would hide ours.\n\
         module_hotfixes=1\n",
        priority = consumers.priority,
        signatures = signatures(record, &url),
    );
    let vendor = consumers.vendor.as_ref();
    driver + &vendor.map(|vendor| vendor_section(record, vendor)).unwrap_or_default()
}

/// What is said of it first, what its id ends with, and which kernels it is for.
fn subject(record: &Record) -> (String, String, String) {
    let kernel = &record.cell.kernel;
    let Some(lockstep) = &record.lockstep else {
        return (
            format!(
                "# Written by drivetrain: modules in this repository are for kernel {kernel} and no other."
            ),
            kernel.to_string(),
            format!("kernel {kernel}"),
        );
    };
    let package = one_line(&lockstep.package);
    (
        format!(
            "# Written by drivetrain: kernels with their modules. `dnf install {package}` holds a machine to these kernels,\n\
             # and `dnf remove {package}` and removing this file ends that."
        ),
        "lockstep".to_owned(),
        "its kernels".to_owned(),
    )
}

/// What dnf is to verify.
fn signatures(record: &Record, url: &str) -> String {
    let slash = if url.ends_with('/') { "" } else { "/" };
    let (packages, metadata) = (record.signed_by.as_deref(), record.metadata_signed_by.as_deref());
    let says = match (packages, metadata) {
        (None, None) => {
            return "# The packages are not signed: who can write to the server can replace them. TLS is the protection.\n\
                    gpgcheck=0\n"
                .to_owned();
        }
        (Some(key), Some(other)) if key == other => {
            format!("# Packages and metadata are signed with the key {key}.")
        }
        (Some(key), Some(other)) => {
            format!(
                "# Packages are signed with the key {key}, the metadata, which have their checksums, with {other}."
            )
        }
        (Some(key), None) => {
            format!("# Packages are signed with the key {key}; the metadata are not signed.")
        }
        (None, Some(key)) => {
            format!(
                "# The metadata, which have the checksums of all packages, are signed with the key {key}."
            )
        }
    };
    let beside = || vec![format!("{url}{slash}{KEYS}")];
    let keys = record.keys.clone().unwrap_or_else(beside);
    let keys: Vec<String> = keys.iter().map(|key| one_line(key)).collect();
    let gpgkey = if keys.is_empty() { String::new() } else { format!("gpgkey={}\n", keys.join("\n       ")) };
    format!(
        "{}\ngpgcheck={}\nrepo_gpgcheck={}\n{gpgkey}",
        one_line(&says),
        u8::from(packages.is_some()),
        u8::from(metadata.is_some()),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lockstep;
    use drivetrain_model::{Cell, Sha256Digest};

    fn record() -> Record {
        Record {
            driver_name: "doca-ofed".to_owned(),
            cell: Cell {
                train: "rocky-9.6".parse().unwrap(),
                arch: "x86_64".parse().unwrap(),
                kernel: "5.14.0-570.12.1.el9_6.x86_64".parse().unwrap(),
                driver: "3.2.0".parse().unwrap(),
            },
            lock: Sha256Digest::of(b"lock"),
            run: "20261124T031500Z-k3x9".parse().unwrap(),
            made: "2026-11-24T03:15:00Z".parse().unwrap(),
            packages: 32,
            verdicts: None,
            lockstep: Some(Lockstep { package: "doca-ofed-lockstep".to_owned(), kernels: Vec::new() }),
            signed_by: None,
            metadata_signed_by: None,
            keys: None,
        }
    }

    #[test]
    fn the_file_for_all_kernels_says_how_to_get_in_and_out() {
        let record = record();
        let consumers = ConsumerSettings { priority: 50, vendor: None };
        insta::assert_snapshot!(repo_file(&record, &consumers, "https://repo.example.com/drivers/rocky-9.6/3.2.0/x86_64/"), @r"
        # Written by drivetrain: kernels with their modules. `dnf install doca-ofed-lockstep` holds a machine to these kernels,
        # and `dnf remove doca-ofed-lockstep` and removing this file ends that.
        [drivetrain-doca-ofed-3.2.0-lockstep]
        name=doca-ofed 3.2.0 for its kernels (rocky-9.6)
        baseurl=https://repo.example.com/drivers/rocky-9.6/3.2.0/x86_64/
        enabled=1
        # Before all others that have packages of these names: an upgrade keeps what is installed from here.
        priority=50
        # The packages are not signed: who can write to the server can replace them. TLS is the protection.
        gpgcheck=0
        # Without it a module stream that has a package of the same name would hide ours.
        module_hotfixes=1
        ");
    }

    #[test]
    fn the_file_names_who_signed_what_and_where_the_keys_are() {
        let said = |packages: Option<&str>, metadata: Option<&str>, keys: &[&str]| {
            let record = Record {
                signed_by: packages.map(str::to_owned),
                metadata_signed_by: metadata.map(str::to_owned),
                keys: Some(keys.iter().map(|key| (*key).to_owned()).collect()),
                ..record()
            };
            signatures(&record, "https://ark.example.com/a/")
        };
        let (ours, theirs) =
            ("https://ark.example.com/keys/1.asc", "https://ark.example.com/a/repodata/repomd.xml.key");
        let texts = [
            said(Some("aa"), Some("bb"), &[ours, theirs]),
            said(Some("aa"), None, &[ours]),
            said(None, Some("bb"), &[theirs]),
            said(Some("aa"), None, &[]),
        ];
        insta::assert_snapshot!(texts.join("\n"), @r"
        # Packages are signed with the key aa, the metadata, which have their checksums, with bb.
        gpgcheck=1
        repo_gpgcheck=1
        gpgkey=https://ark.example.com/keys/1.asc
               https://ark.example.com/a/repodata/repomd.xml.key

        # Packages are signed with the key aa; the metadata are not signed.
        gpgcheck=1
        repo_gpgcheck=0
        gpgkey=https://ark.example.com/keys/1.asc

        # The metadata, which have the checksums of all packages, are signed with the key bb.
        gpgcheck=0
        repo_gpgcheck=1
        gpgkey=https://ark.example.com/a/repodata/repomd.xml.key

        # Packages are signed with the key aa; the metadata are not signed.
        gpgcheck=1
        repo_gpgcheck=0
        ");
    }
}
