//! The `builder` section.

use std::num::NonZeroU32;

use crate::fields::{Field, Key, key};
use crate::location::{absolute, is_url};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::tree::Value;
use crate::{Builder, Debuginfo, Jobs, Sandbox};

const SANDBOX: &[Key] = &[
    key("kind", "which builder"),
    key("jobs", "how many jobs at once"),
    key("provides", "names that are taken as present on the host"),
    key("debuginfo", "what becomes of debuginfo packages"),
    key("ccache", "whether compilations go through ccache"),
    key("work", "the directory that builds take place in"),
];

/// More jobs than any machine has threads is a slip of the keyboard.
const MAX_JOBS: u32 = 1024;

pub(crate) fn read(
    field: Option<&Field<'_>>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Builder> {
    let Some(field) = field else { return Some(Builder::Sandbox(Sandbox::default())) };
    // The kind decides which keys there are. One is all there is today: the rest are read as its keys.
    let fields = field.fields(SANDBOX, problems)?;
    let kind = match fields.get("kind") {
        None => Some(()),
        Some(field) => field.word(&[("sandbox", ())], problems),
    };
    let default = Sandbox::default();
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
    let work = match fields.get("work") {
        None => Some(None),
        Some(field) => field
            .parsed("a directory", problems, |text| {
                if is_url(text) {
                    Err("a directory of this host is needed, not a URL")
                } else {
                    Ok(text.to_owned())
                }
            })
            .map(|text| Some(absolute(context.base_dir, &text))),
    };
    kind?;
    Some(Builder::Sandbox(Sandbox {
        jobs: jobs?,
        provides: provides?,
        debuginfo: debuginfo?,
        ccache: ccache?,
        work: work?,
    }))
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

impl Default for Sandbox {
    fn default() -> Self {
        Self { jobs: Jobs::Auto, provides: Vec::new(), debuginfo: Debuginfo::Drop, ccache: true, work: None }
    }
}
