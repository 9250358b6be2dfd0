//! The `builder` section.

mod kayobe;
mod machine;
mod root;

use std::num::NonZeroU32;

use camino::Utf8PathBuf;

use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, is_url};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::tree::Value;
use crate::{BuildRoot, Builder, BuilderKind, Debuginfo, Jobs};

const BUILDER: &[Key] = &[
    key("kind", "which builder"),
    key("root", "whose system builds see"),
    key("packages", "what a root of the train's packages has"),
    key("jobs", "how many jobs at once"),
    key("provides", "names that are taken as present on the builder"),
    key("debuginfo", "what becomes of debuginfo packages"),
    key("ccache", "whether compilations go through ccache"),
    key("work", "the directory that builds take place in"),
    key("ssh", "the host"),
    key("qemu", "what the machine is made of"),
    key("openstack", "what the server is made of"),
    key("machine", "how the machine is used"),
    key("prepare", "how the machine is made ready"),
];

/// More jobs than any machine has threads is a slip of the keyboard.
const MAX_JOBS: u32 = 1024;

pub(crate) fn read(
    field: Option<&Field<'_>>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Builder> {
    let Some(field) = field else { return Some(Builder::default()) };
    let fields = field.fields(BUILDER, problems)?;
    let default = Builder::default();
    let kind = machine::kind(&fields, context, problems);
    let root = root::root(&fields, kind.as_ref(), problems);
    let jobs = fields.get("jobs").map_or(Some(default.jobs), |field| jobs(&field, problems));
    let provides = fields.get("provides").map_or(Some(default.provides), |field| {
        field.list(("a name", "names"), problems, |text| {
            if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
                Err(format!("{} is no name of something provided", quote(text)))
            } else {
                Ok(text.to_owned())
            }
        })
    });
    let debuginfo = fields.get("debuginfo").map_or(Some(default.debuginfo), |field| {
        field.word(&[("drop", Debuginfo::Drop), ("keep", Debuginfo::Keep)], problems)
    });
    let ccache = fields.get("ccache").map_or(Some(default.ccache), |field| field.boolean(problems));
    let work = optional(&fields, "work", |field| path(field, context, problems));
    Some(Builder {
        kind: kind?,
        root: root?,
        jobs: jobs?,
        provides: provides?,
        debuginfo: debuginfo?,
        ccache: ccache?,
        work: work?,
    })
}

/// A value that need not be there: the outer `None` is one that was told to be wrong.
fn optional<T>(
    fields: &Fields<'_>,
    name: &str,
    read: impl FnOnce(&Field<'_>) -> Option<T>,
) -> Option<Option<T>> {
    match fields.get(name) {
        None => Some(None),
        Some(field) => read(&field).map(Some),
    }
}

/// Packages, as dnf is told them.
fn packages(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Vec<String>> {
    field.list(("a package", "packages"), problems, |text| {
        if text.starts_with('-') || text.chars().any(char::is_control) {
            Err(format!("{} is no package", quote(text)))
        } else {
            Ok(text.to_owned())
        }
    })
}

/// A file or directory of this host.
fn path(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Utf8PathBuf> {
    field.parsed("a path", problems, |text| {
        if is_url(text) {
            Err("a path of this host is needed, not a URL")
        } else {
            Ok(absolute(context.base_dir, text))
        }
    })
}

fn jobs(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<Jobs> {
    let count = match &field.node.value {
        Value::Scalar { text, .. } if text == "auto" => return Some(Jobs::Auto),
        Value::Scalar { text, .. } => {
            text.parse().ok().filter(|count| *count <= MAX_JOBS).and_then(NonZeroU32::new)
        }
        _ => None,
    };
    if count.is_none() {
        problems.add(
            field.place(),
            format!(
                "{} must be `auto` or a whole number from 1 to {MAX_JOBS}, but is {}",
                field.path,
                crate::fields::kind(field.node)
            ),
            None,
        );
    }
    count.map(Jobs::Count)
}

impl Default for Builder {
    fn default() -> Self {
        Self {
            kind: BuilderKind::Sandbox,
            root: BuildRoot::Host,
            jobs: Jobs::Auto,
            provides: Vec::new(),
            debuginfo: Debuginfo::Drop,
            ccache: true,
            work: None,
        }
    }
}
