//! The `publish` section.

mod lockstep;
mod pulp;

use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, base_url, is_url};
use crate::parse::Context;
use crate::problems::Problems;
use crate::train::secret;
use crate::{ChannelName, Layout, Publish, PublishDirectory, PublishSign, PublishTarget};

const PUBLISH: &[Key] = &[
    key("directory", "a directory that a web server may serve"),
    key("pulp", "a Pulp server"),
    key("channels", "the channels that a version goes through, in this order"),
    key("sign", "the key that packages and metadata are signed with"),
    key("lockstep", "a repository that holds kernels and drivers together"),
];

const SIGN: &[Key] = &[
    key("key", "the file with the armored OpenPGP secret key"),
    key("passphrase", "what opens it, as ${NAME} of an environment variable"),
];

const DIRECTORY: &[Key] = &[
    key("path", "the directory that driver repositories are published below"),
    key("base_url", "the URL under which consumers see the directory"),
    key("layout", "the path of a repository below the directory"),
    key("keep", "how many versions of each repository stay on disk"),
];

const DEFAULT_KEEP: u32 = 5;

/// What both kinds of target have, and where the file has it.
struct Placed {
    target: PublishTarget,
    layout: Layout,
    keep: u32,
}

/// What the channels ask of a text with placeholders.
#[derive(Clone, Copy)]
enum Channels {
    /// There are none, and so no `{channel}`.
    None,
    /// There is one: its name may be used.
    One,
    /// There are several, and what they have apart holds `{channel}`.
    Several,
    /// What is wrong with them has been told, and nothing follows from them.
    Unknown,
}

pub(crate) fn read(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Publish> {
    let fields = field.fields(PUBLISH, problems)?;
    let names = channels(&fields, problems);
    let channels = match names.as_deref() {
        None => Channels::Unknown,
        Some([]) => Channels::None,
        Some([_]) => Channels::One,
        Some(_) => Channels::Several,
    };
    let placed = match (fields.get("directory"), fields.get("pulp")) {
        (Some(field), None) => directory(&field, channels, context, problems),
        (None, Some(field)) => pulp::read(&field, channels, context, problems),
        (Some(_), Some(second)) => {
            let message = format!("{} has both `directory` and `pulp`", fields.path);
            problems.add(
                second.key,
                message,
                Some("publish to one of them, and leave the other out".to_owned()),
            );
            None
        }
        (None, None) => {
            if !fields.is_misspelt("directory") && !fields.is_misspelt("pulp") {
                let message = format!("{} must have one of `directory` and `pulp`", fields.path);
                problems.add(fields.anchor(), message, None);
            }
            None
        }
    };
    let sign = match fields.get("sign") {
        None => Some(None),
        Some(field) => sign(&field, context, problems).map(Some),
    };
    let lockstep = match fields.get("lockstep") {
        None => Some(None),
        Some(field) => {
            let layout = placed.as_ref().map(|placed| &placed.layout);
            lockstep::read(&field, channels, layout, problems).map(Some)
        }
    };
    let Placed { target, layout, keep } = placed?;
    let (sign, lockstep) = (sign?, lockstep?);
    Some(Publish { target, layout, keep, channels: names?, sign, lockstep })
}

fn sign(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<PublishSign> {
    let fields = field.fields(SIGN, problems)?;
    let key = fields.require("key", problems).and_then(|field| {
        field.parsed("a path", problems, |text| {
            if is_url(text) {
                Err("a secret key is a file of this host, and this is a URL")
            } else {
                Ok(absolute(context.base_dir, text))
            }
        })
    });
    let passphrase = match fields.get("passphrase") {
        None => Some(None),
        Some(field) => secret(&field, true, context, problems).map(Some),
    };
    Some(PublishSign { key: key?, passphrase: passphrase? })
}

/// The channels; `None`, told, where they could not be read.
fn channels(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<Vec<ChannelName>> {
    match fields.get("channels") {
        None if fields.is_misspelt("channels") => None,
        None => Some(Vec::new()),
        Some(field) => field.list(("a channel's name", "channels' names"), problems, ChannelName::parse),
    }
}

fn directory(
    field: &Field<'_>,
    channels: Channels,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Placed> {
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
    let layout = layout(&fields, channels, problems);
    let keep = keep(&fields, problems);
    let target = PublishTarget::Directory(PublishDirectory { path: path?, base_url: base? });
    Some(Placed { target, layout: layout?, keep: keep? })
}

fn layout(fields: &Fields<'_>, channels: Channels, problems: &mut Problems<'_>) -> Option<Layout> {
    let Some(field) = fields.get("layout") else {
        let text = channels.default(Layout::DEFAULT, Layout::DEFAULT_WITH_CHANNELS);
        return Layout::parse(text).ok();
    };
    let layout = field.parsed("a path with placeholders", problems, Layout::parse)?;
    let suggestion = format!("{{channel}}/{layout}");
    channels.allow(&field, layout.has_channel(), &suggestion, problems).then_some(layout)
}

fn keep(fields: &Fields<'_>, problems: &mut Problems<'_>) -> Option<u32> {
    match fields.get("keep") {
        None => Some(DEFAULT_KEEP),
        Some(field) => field.number(2..=1000, problems),
    }
}

impl Channels {
    /// The default of a text that says the channel where there are channels.
    fn default(self, without: &'static str, with: &'static str) -> &'static str {
        match self {
            Self::None | Self::Unknown => without,
            Self::One | Self::Several => with,
        }
    }

    /// Whether a text may be as it is, with or without `{channel}`; told where it may not. What it should be where
    /// `{channel}` is missing is the suggestion.
    fn allow(
        self,
        field: &Field<'_>,
        has_channel: bool,
        suggestion: &str,
        problems: &mut Problems<'_>,
    ) -> bool {
        match self {
            Self::None if has_channel => {
                problems.add(
                    field.place(),
                    format!("{} holds `{{channel}}`, and there are no channels", field.path),
                    Some("name them in publish.channels, or take `{channel}` out".to_owned()),
                );
                false
            }
            Self::Several if !has_channel => {
                problems.add(
                    field.place(),
                    format!(
                        "{}: `{{channel}}` is missing, and the channels of publish.channels would overwrite each other",
                        field.path
                    ),
                    Some(format!("write it where the channel's name belongs, as in {suggestion:?}")),
                );
                false
            }
            _ => true,
        }
    }
}
