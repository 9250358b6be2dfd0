//! `driver.patches`: patches of the site's own, each with the conditions under which it is meant.

use camino::{Utf8Component, Utf8Path};
use drivetrain_model::{ComponentName, VersionRange};

use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, is_url};
use crate::parse::Context;
use crate::problems::{Problems, quote};
use crate::{DriverPatch, HeaderCondition, HeaderTest};

const PATCH: &[Key] = &[
    key("component", "the component that it is for"),
    key("path", "the file, as `patch -p1` takes it"),
    key("source", "the versions of the component's source RPM that it is for, such as \">= 25.07, < 25.12\""),
    key("header", "what has to hold of the kernel's headers"),
];

const HEADER: &[Key] = &[
    key("file", "the header as sources include it, such as linux/dpll.h"),
    key("contains", "a text that it has to have"),
    key("lacks", "a text that it must not have"),
    key("exists", "whether it has to be there"),
];

/// Reads the list. `by_vendor_tool`: whether the vendor's tool builds, which takes source RPMs as they are.
pub(crate) fn read(
    field: &Field<'_>,
    by_vendor_tool: bool,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<DriverPatch>> {
    let items = field.items("patches, each {component: …, path: …}", problems)?;
    if by_vendor_tool && !items.is_empty() {
        let message =
            format!("{} is of no use: the vendor's tool takes the source RPMs as they are", field.path);
        let help =
            "leave `build: vendor-tool` out, so that drivetrain builds the source RPMs itself".to_owned();
        problems.add(field.key, message, Some(help));
        return None;
    }
    let total = items.len();
    let patches: Vec<DriverPatch> = items.iter().filter_map(|item| patch(item, context, problems)).collect();
    (patches.len() == total).then_some(patches)
}

fn patch(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<DriverPatch> {
    let fields = field.fields(PATCH, problems)?;
    let component = fields
        .require("component", problems)
        .and_then(|field| field.parsed("a component's name", problems, ComponentName::parse));
    let path = fields.require("path", problems).and_then(|field| {
        let text = field.text("a path", problems)?;
        if is_url(text) {
            let help = "keep patches beside the configuration, where they are reviewed with it".to_owned();
            problems.add(field.place(), format!("{} is a URL", field.path), Some(help));
            return None;
        }
        Some(absolute(context.base_dir, text))
    });
    let source = match fields.get("source") {
        None => Some(None),
        Some(field) => field.parsed("a range of versions", problems, VersionRange::parse).map(Some),
    };
    let header = match fields.get("header") {
        None => Some(None),
        Some(field) => header(&field, problems).map(Some),
    };
    Some(DriverPatch { component: component?, path: path?, source: source?, header: header? })
}

fn header(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<HeaderCondition> {
    let fields = field.fields(HEADER, problems)?;
    let file = fields
        .require("file", problems)
        .and_then(|field| field.parsed("a header's name", problems, header_name));
    let is = header_test(field, &fields, problems);
    Some(HeaderCondition { file: file?, is: is? })
}

fn header_test(field: &Field<'_>, fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<HeaderTest> {
    match (fields.get("contains"), fields.get("lacks"), fields.get("exists")) {
        (None, None, None) => Some(HeaderTest::There),
        (Some(text), None, None) => {
            text.parsed("a text of one line", problems, one_line).map(HeaderTest::Contains)
        }
        (None, Some(text), None) => {
            text.parsed("a text of one line", problems, one_line).map(HeaderTest::Lacks)
        }
        (None, None, Some(exists)) => exists
            .boolean(problems)
            .map(|exists| if exists { HeaderTest::There } else { HeaderTest::Missing }),
        _ => {
            let message = format!("{} must have one of `contains`, `lacks` and `exists`", field.path);
            let help = "take a patch twice, with a condition each, where either is meant".to_owned();
            problems.add(field.place(), message, Some(help));
            None
        }
    }
}

/// A path below the kernel's include directories.
fn header_name(text: &str) -> Result<String, String> {
    let plain = Utf8Path::new(text).components().all(|part| matches!(part, Utf8Component::Normal(_)));
    if plain && text.ends_with(".h") && !text.contains(char::is_control) {
        return Ok(text.to_owned());
    }
    Err(format!("{} is no header: write it as sources include it, such as linux/dpll.h", quote(text)))
}

fn one_line(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("it is looked for in each line, and has to be a part of one".to_owned());
    }
    Ok(text.to_owned())
}
