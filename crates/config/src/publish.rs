//! The `publish` section.

use crate::fields::{Field, Key, key};
use crate::location::{absolute, base_url, is_url};
use crate::parse::Context;
use crate::problems::Problems;
use crate::{Layout, Publish, PublishDirectory};

const PUBLISH: &[Key] = &[key("directory", "a directory that a web server may serve")];

const DIRECTORY: &[Key] = &[
    key("path", "the directory that driver repositories are published below"),
    key("base_url", "the URL under which consumers see the directory"),
    key("layout", "the path of a repository below the directory"),
    key("keep", "how many versions of each repository stay on disk"),
];

const DEFAULT_KEEP: u32 = 5;

pub(crate) fn read(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Publish> {
    let fields = field.fields(PUBLISH, problems)?;
    let directory = fields.require("directory", problems)?;
    self::directory(&directory, context, problems).map(Publish::Directory)
}

fn directory(
    field: &Field<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<PublishDirectory> {
    let fields = field.fields(DIRECTORY, problems)?;
    let path = fields.require("path", problems).and_then(|field| {
        field.parsed("a directory", problems, |text| {
            if is_url(text) {
                Err("a directory of this host is needed; the URL goes to `base_url`")
            } else {
                Ok(absolute(context.base_dir, text))
            }
        })
    });
    let base = match fields.get("base_url") {
        None => Some(None),
        Some(field) => field
            .parsed("a URL", problems, |text| {
                if is_url(text) {
                    base_url(context.base_dir, text).map_err(|error| error.to_string())
                } else {
                    Err("a URL begins with https:// or http://".to_owned())
                }
            })
            .map(Some),
    };
    let layout = match fields.get("layout") {
        None => Layout::parse(Layout::DEFAULT).ok(),
        Some(field) => field.parsed("a path with placeholders", problems, Layout::parse),
    };
    let keep = match fields.get("keep") {
        None => Some(DEFAULT_KEEP),
        Some(field) => field.number(2..=1000, problems),
    };
    Some(PublishDirectory { path: path?, base_url: base?, layout: layout?, keep: keep? })
}
