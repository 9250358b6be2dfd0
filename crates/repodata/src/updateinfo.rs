//! `updateinfo.xml`: advisories, and the packages that they bring.
//!
//! The format has no specification; createrepo_c's `xml_parser_updateinfo.c` reads what everybody writes.

use std::io::Read;

use drivetrain_model::{Advisory, Architecture, Evr, Nevra};

use crate::xml::Xml;
use crate::{Error, Limits, Result};

const DOCUMENT: &str = "updateinfo";

/// Reads `updateinfo.xml` (decompressed): the advisories that bring a package of one of these names, each with those
/// packages alone.
///
/// # Errors
/// Where the document is too large, no XML, or a wanted package has no version.
pub fn read_advisories(
    reader: impl Read,
    limits: &Limits,
    names: &[&str],
) -> Result<Vec<(Advisory, Vec<Nevra>)>> {
    let limit = limits.max_updateinfo_bytes;
    let mut bytes = Vec::new();
    reader
        .take(limit.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| Error::from_io(DOCUMENT, error))?;
    if bytes.len() as u64 > limit {
        return Err(Error::limit(DOCUMENT, "the document", limit, "max_updateinfo_bytes"));
    }
    let mut xml = Xml::new(&bytes, DOCUMENT, 0, limits);
    let mut advisories = Vec::new();
    let root = xml.child(0)?;
    let Some(root) = root.filter(|root| root.local_name().as_ref() == "updates") else {
        return Err(Error::malformed(DOCUMENT, "the root element", "is not <updates>"));
    };
    drop(root);
    while let Some(start) = xml.child(1)? {
        if start.local_name().as_ref() != "update" {
            xml.skip()?;
            continue;
        }
        let kind = xml.attribute(&start, "type")?.unwrap_or_default();
        let (advisory, packages) = read_update(&mut xml, kind, names)?;
        if !packages.is_empty() {
            if advisories.len() as u64 == limits.max_packages {
                return Err(Error::limit(DOCUMENT, "advisories", limits.max_packages, "max_packages"));
            }
            advisories.push((advisory, packages));
        }
    }
    Ok(advisories)
}

fn read_update(xml: &mut Xml<'_>, kind: String, names: &[&str]) -> Result<(Advisory, Vec<Nevra>)> {
    let mut advisory =
        Advisory { id: String::new(), kind, severity: String::new(), title: String::new(), cves: Vec::new() };
    let mut packages = Vec::new();
    while let Some(start) = xml.child(2)? {
        match start.local_name().as_ref() {
            "id" => advisory.id = xml.text()?.trim().to_owned(),
            "title" => advisory.title = xml.text()?.trim().to_owned(),
            "severity" => advisory.severity = xml.text()?.trim().to_owned(),
            "references" => advisory.cves = read_references(xml)?,
            "pkglist" => read_collections(xml, names, &mut packages)?,
            _ => xml.skip()?,
        }
    }
    Ok((advisory, packages))
}

fn read_references(xml: &mut Xml<'_>) -> Result<Vec<String>> {
    let mut cves = Vec::new();
    while let Some(start) = xml.child(3)? {
        let id = xml.attribute(&start, "id")?;
        let is_cve = xml.attribute(&start, "type")?.is_some_and(|kind| kind == "cve");
        if let Some(id) = id.filter(|_| is_cve)
            && cves.len() < xml.limits().max_entries_per_package
        {
            cves.push(id);
        }
        xml.skip()?;
    }
    Ok(cves)
}

fn read_collections(xml: &mut Xml<'_>, names: &[&str], packages: &mut Vec<Nevra>) -> Result<()> {
    while xml.child(3)?.is_some() {
        while let Some(start) = xml.child(4)? {
            if start.local_name().as_ref() == "package" {
                let (mut name, mut epoch, mut version, mut release, mut arch) =
                    (String::new(), String::new(), String::new(), String::new(), String::new());
                xml.attributes(&start, |key, value| match key {
                    "name" => value.clone_into(&mut name),
                    "epoch" => value.clone_into(&mut epoch),
                    "version" => value.clone_into(&mut version),
                    "release" => value.clone_into(&mut release),
                    "arch" => value.clone_into(&mut arch),
                    _ => {}
                })?;
                if names.contains(&name.as_str()) {
                    packages.push(nevra(name, &epoch, version, release, &arch)?);
                }
            }
            xml.skip()?;
        }
    }
    Ok(())
}

fn nevra(name: String, epoch: &str, version: String, release: String, arch: &str) -> Result<Nevra> {
    let wrong = |what: String| Error::malformed(DOCUMENT, name.clone(), what);
    if version.is_empty() {
        return Err(wrong("has no version".to_owned()));
    }
    let epoch = match epoch {
        "" => 0,
        text => text.parse().map_err(|_| wrong(format!("has the epoch {text:?}")))?,
    };
    let arch = Architecture::parse(arch).map_err(|error| wrong(error.to_string()))?;
    Ok(Nevra::new(name, Evr::new(epoch, version, release), arch))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<updates>
  <update from="x" status="final" type="security" version="2">
    <id>RLSA-2026:1234</id><title>Important: kernel security update</title>
    <issued date="2026-07-01 00:00:00"/><rights>&#169;</rights><severity>Important</severity>
    <description>a &lt;b&gt; c</description>
    <references>
      <reference href="https://x/CVE-2026-1" id="CVE-2026-1" type="cve" title="t"/>
      <reference href="https://x/9" id="9" type="bugzilla"/>
    </references>
    <pkglist><collection short="b"><name>b</name>
      <package name="kernel-core" version="5.14.0" release="687.12.1.el9_8" epoch="0" arch="x86_64" src="k"><filename>f</filename><sum type="sha256">00</sum></package>
      <package name="bpftool" version="7.3.0" release="1" epoch="0" arch="x86_64"><filename>f</filename></package>
    </collection></pkglist>
  </update>
  <update type="bugfix"><id>RLBA-1</id><pkglist><collection><package name="bash" version="1" release="1" epoch="0" arch="x86_64"/></collection></pkglist></update>
  <update type="enhancement"><id>RLEA-1</id></update>
</updates>
"#;

    #[test]
    fn advisories_of_the_wanted_packages_are_read_and_no_others() {
        let read = read_advisories(DOCUMENT.as_bytes(), &Limits::default(), &["kernel-core"]).unwrap();
        let [(advisory, packages)] = read.as_slice() else { panic!("{read:?}") };
        assert_eq!(advisory.to_string(), "RLSA-2026:1234 (Important): CVE-2026-1");
        assert_eq!(packages[0].to_string(), "kernel-core-5.14.0-687.12.1.el9_8.x86_64");
    }

    #[test]
    fn what_is_no_list_of_advisories_is_refused() {
        for text in [
            "",
            "<updates>",
            "<metadata/>",
            "<updates><update><pkglist><collection><package name='kernel-core' arch='x86_64'/></collection></pkglist></update></updates>",
            "<!DOCTYPE a [<!ENTITY b 'c'>]><updates/>",
            "<updates><update>&b;</update></updates>",
        ] {
            assert!(
                read_advisories(text.as_bytes(), &Limits::default(), &["kernel-core"]).is_err(),
                "{text}"
            );
        }
        let small = Limits { max_updateinfo_bytes: 20, ..Limits::default() };
        assert!(read_advisories(DOCUMENT.as_bytes(), &small, &[]).is_err());
    }
}
