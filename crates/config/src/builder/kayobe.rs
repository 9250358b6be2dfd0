//! The section `builder.prepare.kayobe`.

use std::collections::BTreeMap;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};

use super::{optional, path};
use crate::fields::{Field, Fields, Key, key};
use crate::location::absolute;
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::train::secret;
use crate::tree::Value;
use crate::{HostConfigure, Kayobe, KayobeGroup, VaultPassword};

const KAYOBE: &[Key] = &[
    key("configuration", "the checkout of the site's kayobe-config"),
    key("environment", "which environment of it"),
    key("program", "kayobe's program"),
    key("group", "the group of hosts that the builder belongs to"),
    key("groups", "further groups of the inventory that it belongs to"),
    key("host", "the builder's name in the inventory"),
    key("host_configure", "whether, or with which tags, kayobe configures the host"),
    key("playbooks", "playbooks of the site that are run after it"),
    key("variables", "variables that are given to all of them"),
    key("vault_password", "the vault's password, as ${NAME} of an environment variable"),
    key("vault_password_file", "a file with the vault's password"),
    key("deadline", "how many minutes each command may take"),
];

const HOST_CONFIGURE: &[Key] = &[
    key("tags", "plays and tasks that are run, and no others"),
    key("skip_tags", "plays and tasks that are left out"),
];

const HOST: &str = "drivetrain-builder";
const MINUTES: u32 = 120;

/// Variables that say how the builder is reached, which is known already.
const CONNECTION: &[&str] = &["ansible_host", "ansible_port", "ansible_connection"];

pub(super) fn read(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Kayobe> {
    let fields = field.fields(KAYOBE, problems)?;
    let configuration =
        fields.require("configuration", problems).and_then(|field| path(&field, context, problems));
    let environment = optional(&fields, "environment", |field| name(field, problems));
    let program = optional(&fields, "program", |field| path(field, context, problems));
    let group = fields.get("group").map_or(Some(KayobeGroup::Seed), |field| {
        let words = [
            ("seed", KayobeGroup::Seed),
            ("seed-hypervisor", KayobeGroup::SeedHypervisor),
            ("infra-vms", KayobeGroup::InfraVms),
            ("overcloud", KayobeGroup::Overcloud),
        ];
        field.word(&words, problems)
    });
    let groups = optional(&fields, "groups", |field| {
        field.list(("a group", "groups"), problems, |text| named(text).map(str::to_owned))
    });
    let host = optional(&fields, "host", |field| name(field, problems));
    let host_configure = fields
        .get("host_configure")
        .map_or(Some(Some(HostConfigure::default())), |field| host_configure(&field, problems));
    let playbooks =
        optional(&fields, "playbooks", |field| field.list(("a playbook", "playbooks"), problems, inside));
    let variables = optional(&fields, "variables", |field| variables(field, problems));
    let vault_password = vault_password(&fields, context, problems);
    let deadline = optional(&fields, "deadline", |field| field.number(1..=1440, problems));
    let kayobe = Kayobe {
        configuration: configuration?,
        environment: environment?,
        program: program?,
        group: group?,
        groups: groups?.unwrap_or_default(),
        host: host?.unwrap_or_else(|| HOST.to_owned()),
        host_configure: host_configure?,
        playbooks: playbooks?.unwrap_or_default(),
        variables: variables?.unwrap_or_default(),
        vault_password: vault_password?,
        deadline: deadline?.unwrap_or(MINUTES),
    };
    if kayobe.host_configure.is_none() && kayobe.playbooks.is_empty() {
        let message = format!("{} has nothing to do: no `host_configure`, and no `playbooks`", field.path);
        problems.add(field.key, message, Some("name playbooks, or leave the section out".to_owned()));
        return None;
    }
    Some(kayobe)
}

fn host_configure(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Option<HostConfigure>> {
    if !matches!(field.node.value, Value::Mapping(_)) {
        let wanted = field.boolean(problems)?;
        return Some(wanted.then(HostConfigure::default));
    }
    let fields = field.fields(HOST_CONFIGURE, problems)?;
    let mut tags = |name: &str| {
        optional(&fields, name, |field| {
            field.list(("a tag", "tags"), problems, |text| named(text).map(str::to_owned))
        })
    };
    let (tags, skip_tags) = (tags("tags"), tags("skip_tags"));
    Some(Some(HostConfigure { tags: tags?.unwrap_or_default(), skip_tags: skip_tags?.unwrap_or_default() }))
}

/// The outer `None` is one that was told to be wrong.
fn vault_password(
    fields: &Fields<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Option<VaultPassword>> {
    match (fields.get("vault_password"), fields.get("vault_password_file")) {
        (None, None) => Some(None),
        (Some(field), None) => Some(Some(VaultPassword::Given(secret(&field, true, context, problems)?))),
        (None, Some(field)) => Some(Some(VaultPassword::File(path(&field, context, problems)?))),
        (Some(_), Some(second)) => {
            let message = format!("{} has both `vault_password` and `vault_password_file`", fields.path);
            problems.add(second.key, message, Some("leave one of them out".to_owned()));
            None
        }
    }
}

fn variables(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<BTreeMap<String, String>> {
    let entries = field.entries("variables", problems)?;
    let total = entries.len();
    let mut variables = BTreeMap::new();
    for entry in entries {
        let name = entry.name(&field.path).to_owned();
        let is_one = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
        if !is_one {
            problems.add(entry.key, format!("{} is no variable of Ansible's", quote(&name)), None);
        } else if CONNECTION.contains(&name.as_str()) || name.starts_with("ansible_ssh_") {
            let message = format!("{} says how the builder is reached, which drivetrain knows", entry.path);
            problems.add(entry.key, message, Some("leave it out".to_owned()));
        } else if let Some(text) = entry.text("a variable's value", problems) {
            variables.insert(name, text.to_owned());
        }
    }
    (variables.len() == total).then_some(variables)
}

/// A name of Ansible's, as an argument or in an inventory.
fn name(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<String> {
    field.parsed("a name", problems, |text| named(text).map(str::to_owned))
}

fn named(text: &str) -> Result<&str, String> {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if text.starts_with(['-', '.']) || !text.chars().all(is_plain) {
        Err(format!(
            "{} cannot be a name here: letters, digits and `._-` can, and `.` and `-` not at its beginning",
            quote(text)
        ))
    } else {
        Ok(text)
    }
}

/// A file in the checkout, from there.
fn inside(text: &str) -> Result<Utf8PathBuf, String> {
    let path = Utf8Path::new(text);
    let stays =
        path.components().all(|part| matches!(part, Utf8Component::Normal(_) | Utf8Component::CurDir));
    if path.is_absolute() || !stays || text.starts_with('-') || text.chars().any(char::is_control) {
        return Err(format!("{} must be a path inside `configuration`, from there", quote(text)));
    }
    let root = absolute(Utf8Path::new("/"), text);
    Ok(root.strip_prefix("/").map_or(root.clone(), Utf8Path::to_owned))
}
