//! Where a cell's repository stands below the publication directory.

use std::fmt;

use drivetrain_model::{Cell, TrainName};
use serde::{Serialize, Serializer};

use crate::DriverName;

/// A path template such as `{train}/{driver}/{kernel}/{arch}`. Holds `{kernel}`, so that repositories of
/// different kernels never share a path, and can name nothing outside its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Vec<Part>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Placeholder(Placeholder),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Placeholder {
    Train,
    Driver,
    Kernel,
    Arch,
    Name,
}

const PLACEHOLDERS: [(&str, Placeholder); 5] = [
    ("train", Placeholder::Train),
    ("driver", Placeholder::Driver),
    ("kernel", Placeholder::Kernel),
    ("arch", Placeholder::Arch),
    ("name", Placeholder::Name),
];

/// Why a text is no layout.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LayoutError {
    #[error("`{{kernel}}` is missing, and repositories of different kernels would overwrite each other")]
    NoKernel,
    #[error("{0:?} is not a placeholder: there are {{train}}, {{driver}}, {{kernel}}, {{arch}} and {{name}}")]
    Unknown(String),
    #[error("a `{{` is not closed")]
    Unclosed,
    #[error("it must be a relative path without empty parts")]
    EmptySegment,
    #[error(
        "{0:?} cannot be part of the path: letters, digits and `._+~^-` can, and `.` and `-` not at its beginning"
    )]
    Segment(String),
}

impl Layout {
    /// `{train}/{driver}/{kernel}/{arch}`: the driver stack's version above the kernel, so that one look at a
    /// directory shows for which kernels a version was built.
    pub const DEFAULT: &str = "{train}/{driver}/{kernel}/{arch}";

    pub(crate) fn parse(text: &str) -> Result<Self, LayoutError> {
        let segments: Vec<Vec<Part>> = text.split('/').map(segment).collect::<Result<_, _>>()?;
        if !segments.iter().flatten().any(|part| *part == Part::Placeholder(Placeholder::Kernel)) {
            return Err(LayoutError::NoKernel);
        }
        Ok(Self { segments })
    }

    /// The path of a cell's repository: relative, with `/` between its parts.
    #[must_use]
    pub fn path(&self, cell: &Cell, name: &DriverName) -> String {
        let segments: Vec<String> = self
            .segments
            .iter()
            .map(|parts| {
                parts
                    .iter()
                    .map(|part| match part {
                        Part::Text(text) => text.as_str(),
                        Part::Placeholder(Placeholder::Train) => cell.train.as_str(),
                        Part::Placeholder(Placeholder::Driver) => cell.driver.as_str(),
                        Part::Placeholder(Placeholder::Kernel) => cell.kernel.as_str(),
                        Part::Placeholder(Placeholder::Arch) => cell.arch.as_str(),
                        Part::Placeholder(Placeholder::Name) => name.as_str(),
                    })
                    .collect()
            })
            .collect();
        segments.join("/")
    }
}

fn segment(text: &str) -> Result<Vec<Part>, LayoutError> {
    if text.is_empty() {
        return Err(LayoutError::EmptySegment);
    }
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        if open > 0 {
            parts.push(Part::Text(rest[..open].to_owned()));
        }
        let (name, after) = rest[open + 1..].split_once('}').ok_or(LayoutError::Unclosed)?;
        let placeholder = PLACEHOLDERS.iter().find(|(known, _)| *known == name);
        let (_, placeholder) = placeholder
            .ok_or_else(|| LayoutError::Unknown(format!("{{{name}}}").chars().take(40).collect()))?;
        parts.push(Part::Placeholder(*placeholder));
        rest = after;
    }
    if !rest.is_empty() {
        parts.push(Part::Text(rest.to_owned()));
    }
    // Names are path segments by their own rules. With one of them in place of each placeholder the whole
    // segment has to pass the same rules: no `..`, no hidden file, no strange character.
    let sample: String = parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.as_str(),
            Part::Placeholder(_) => "x",
        })
        .collect();
    TrainName::parse(&sample).map_err(|_| LayoutError::Segment(text.chars().take(80).collect()))?;
    Ok(parts)
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, parts) in self.segments.iter().enumerate() {
            if position > 0 {
                f.write_str("/")?;
            }
            for part in parts {
                match part {
                    Part::Text(text) => f.write_str(text)?,
                    Part::Placeholder(placeholder) => {
                        let name = PLACEHOLDERS.iter().find(|(_, known)| known == placeholder);
                        write!(f, "{{{}}}", name.map_or("", |(name, _)| name))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Serialize for Layout {
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
            kernel: KernelRelease::parse("5.14.0-427.31.1.el9_4.x86_64").unwrap(),
            driver: DriverVersion::parse("3.2.0").unwrap(),
        }
    }

    #[test]
    fn placeholders_are_filled_in() {
        let name = DriverName("doca-ofed".to_owned());
        let path = |text: &str| Layout::parse(text).unwrap().path(&cell(), &name);
        assert_eq!(path(Layout::DEFAULT), "rocky-9.4/3.2.0/5.14.0-427.31.1.el9_4.x86_64/x86_64");
        assert_eq!(
            path("kmods/{name}-{driver}-{kernel}"),
            "kmods/doca-ofed-3.2.0-5.14.0-427.31.1.el9_4.x86_64"
        );
        assert_eq!(Layout::parse("a/{name}-{kernel}").unwrap().to_string(), "a/{name}-{kernel}");
    }

    #[test]
    fn a_path_that_leaves_its_directory_is_refused() {
        for text in [
            "",
            "/{kernel}",
            "{kernel}/",
            "../{kernel}",
            "a/../{kernel}",
            "a//{kernel}",
            ".{kernel}",
            "{kernel}/.x",
            "{kernel",
            "{kernel}/{os}",
            "{train}",
            "a b/{kernel}",
            "{kernel}\\..",
            "-{kernel}",
            "{kernel}\n",
        ] {
            assert!(Layout::parse(text).is_err(), "{text:?} was accepted");
        }
    }
}
