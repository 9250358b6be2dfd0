//! Texts with placeholders that a cell fills in.

use std::fmt;

use drivetrain_model::{Cell, TrainName};
use serde::{Serialize, Serializer};

use crate::problems::nearest;
use crate::{ChannelName, DriverName};

/// A text such as `{name}-{train}-{driver}-{kernel}-{arch}`: a name in Pulp, or the value of a label there. Holds no
/// `/`, and what is filled in holds none either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

/// What stands in braces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Train,
    Driver,
    Kernel,
    Arch,
    Name,
    Channel,
}

const PLACEHOLDERS: [(&str, Placeholder); 6] = [
    ("train", Placeholder::Train),
    ("driver", Placeholder::Driver),
    ("kernel", Placeholder::Kernel),
    ("arch", Placeholder::Arch),
    ("name", Placeholder::Name),
    ("channel", Placeholder::Channel),
];

impl Placeholder {
    fn name(self) -> &'static str {
        PLACEHOLDERS.iter().find(|(_, known)| *known == self).map_or("", |(name, _)| name)
    }
}

impl fmt::Display for Placeholder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{{{}}}", self.name())
    }
}

/// Why a text is no template, or no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    #[error("`{{kernel}}` is missing, and repositories of different kernels would overwrite each other")]
    NoKernel,
    #[error("`{{kernel}}` is in it, and the repository has several kernels: take it out")]
    Kernel,
    #[error("{0}")]
    Unknown(String),
    #[error("a `{{` is not closed")]
    Unclosed,
    #[error("it must be a relative path without empty parts")]
    EmptySegment,
    #[error(
        "{0:?} cannot be part of the path: letters, digits and `._+~^-` can, and `.` and `-` not at its beginning"
    )]
    Segment(String),
    #[error("{0:?} cannot be a name: letters, digits and `._+~^-` can, and `.` and `-` not at its beginning")]
    Name(String),
    #[error("Pulp refuses `,`, `(` and `)` in labels")]
    RefusedByPulp,
    #[error("{0:?} cannot be a label's value: letters, digits, `._+~^-` and single spaces between them can")]
    Label(String),
}

impl Template {
    /// Reads one part of a path.
    pub(crate) fn segment(text: &str) -> Result<Self, TemplateError> {
        if text.is_empty() {
            return Err(TemplateError::EmptySegment);
        }
        let template = Self::parts_of(text)?;
        // Names are path segments by their own rules. With one of them in place of each placeholder the whole
        // segment has to pass the same rules: no `..`, no hidden file, no strange character.
        TrainName::parse(&template.sample()).map_err(|_| TemplateError::Segment(shortened(text)))?;
        Ok(template)
    }

    /// Reads the name of something that there is one of for each kernel.
    pub(crate) fn name(text: &str) -> Result<Self, TemplateError> {
        let template = Self::segment(text).map_err(|error| match error {
            TemplateError::Segment(text) => TemplateError::Name(text),
            error => error,
        })?;
        if template.has(Placeholder::Kernel) { Ok(template) } else { Err(TemplateError::NoKernel) }
    }

    /// Reads the value of a label: words, where a name is one.
    pub(crate) fn label(text: &str) -> Result<Self, TemplateError> {
        if text.contains([',', '(', ')']) {
            return Err(TemplateError::RefusedByPulp);
        }
        let template = Self::parts_of(text)?;
        let allowed = |c: char| c.is_ascii_alphanumeric() || "._+~^-".contains(c);
        let sample = template.sample();
        if sample.split(' ').all(|word| !word.is_empty() && word.chars().all(allowed)) {
            Ok(template)
        } else {
            Err(TemplateError::Label(shortened(text)))
        }
    }

    fn parts_of(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some(open) = rest.find('{') {
            if open > 0 {
                parts.push(Part::Text(rest[..open].to_owned()));
            }
            let (name, after) = rest[open + 1..].split_once('}').ok_or(TemplateError::Unclosed)?;
            let placeholder = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
            let (_, placeholder) = placeholder.ok_or_else(|| TemplateError::Unknown(unknown(name)))?;
            parts.push(Part::Placeholder(*placeholder));
            rest = after;
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.to_owned()));
        }
        Ok(Self { parts })
    }

    fn sample(&self) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Placeholder(_) => "x",
            })
            .collect()
    }

    pub(crate) fn has(&self, placeholder: Placeholder) -> bool {
        self.parts.contains(&Part::Placeholder(placeholder))
    }

    /// Whether `{channel}` is in it, so that each channel has another text.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.has(Placeholder::Channel)
    }

    /// The text for a cell, in a channel where there are channels. Without one `{channel}` stays as it is, and a
    /// checked configuration has none then.
    #[must_use]
    pub fn text(&self, cell: &Cell, name: &DriverName, channel: Option<&ChannelName>) -> String {
        self.parts
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.as_str(),
                Part::Placeholder(Placeholder::Train) => cell.train.as_str(),
                Part::Placeholder(Placeholder::Driver) => cell.driver.as_str(),
                Part::Placeholder(Placeholder::Kernel) => cell.kernel.as_str(),
                Part::Placeholder(Placeholder::Arch) => cell.arch.as_str(),
                Part::Placeholder(Placeholder::Name) => name.as_str(),
                Part::Placeholder(Placeholder::Channel) => channel.map_or("{channel}", ChannelName::as_str),
            })
            .collect()
    }
}

/// What is said of a placeholder that there is not.
fn unknown(name: &str) -> String {
    let shown: String = format!("{{{name}}}").chars().take(40).collect();
    match nearest(name, PLACEHOLDERS.iter().map(|(known, _)| *known)) {
        Some(known) => format!("{shown:?} is not a placeholder; did you mean {{{known}}}?"),
        None => {
            let known: Vec<String> = PLACEHOLDERS.iter().map(|(_, known)| known.to_string()).collect();
            let (last, rest) = known.split_last().map_or(("", known.as_slice()), |(last, rest)| (last, rest));
            format!("{shown:?} is not a placeholder: there are {} and {last}", rest.join(", "))
        }
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts.iter().try_for_each(|part| match part {
            Part::Text(text) => f.write_str(text),
            Part::Placeholder(placeholder) => write!(f, "{placeholder}"),
        })
    }
}

impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use drivetrain_model::{Architecture, DriverVersion, KernelRelease};

    fn cell() -> Cell {
        Cell {
            train: TrainName::parse("rocky-9.4").unwrap(),
            arch: Architecture::parse("x86_64").unwrap(),
            kernel: KernelRelease::parse("5.14.0-427").unwrap(),
            driver: DriverVersion::parse("3.2.0").unwrap(),
        }
    }

    #[test]
    fn a_name_is_filled_in() {
        let name = DriverName("doca-ofed".to_owned());
        let template = Template::name("{name}-{channel}-{train}-{driver}-{kernel}-{arch}").unwrap();
        let release = ChannelName::parse("release").unwrap();
        let text = template.text(&cell(), &name, Some(&release));
        assert_eq!(text, "doca-ofed-release-rocky-9.4-3.2.0-5.14.0-427-x86_64");
        assert!(template.text(&cell(), &name, None).contains("{channel}"));
    }

    #[test]
    fn a_name_has_a_kernel_and_no_slash() {
        for text in [
            "",
            "drivers",
            "{train}",
            "a/{kernel}",
            "{kernel} {arch}",
            ".{kernel}",
            "{kernel",
            "{os}{kernel}",
        ] {
            assert!(Template::name(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn a_label_may_have_words_and_what_pulp_refuses_it_has_not() {
        for text in ["storage", "{train} on {arch}", "-", "a.b ^{channel}"] {
            assert_eq!(Template::label(text).unwrap().to_string(), text);
        }
        for text in ["", " a", "a ", "a  b", "a,b", "a(b", "a)b", "a\tb", "a/b", "a}b", "{a", "{os}", "ü"] {
            assert!(Template::label(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn an_unknown_placeholder_is_told_with_what_was_meant() {
        let why = |text: &str| Template::name(text).unwrap_err().to_string();
        assert_eq!(why("{kernle}"), "\"{kernle}\" is not a placeholder; did you mean {kernel}?");
        assert_eq!(
            why("{os}"),
            "\"{os}\" is not a placeholder: there are {train}, {driver}, {kernel}, {arch}, {name} and {channel}"
        );
    }
}
