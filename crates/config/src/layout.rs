//! Where a cell's repository stands below the publication directory, or below Pulp's content.

use std::fmt;

use drivetrain_model::Cell;
use serde::{Serialize, Serializer};

use crate::placeholders::{Placeholder, TemplateError};
use crate::{ChannelName, DriverName, Template};

/// A path template such as `{train}/{driver}/{kernel}/{arch}`. Holds `{kernel}`, so that repositories of
/// different kernels never share a path, and can name nothing outside its directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    segments: Vec<Template>,
}

impl Layout {
    /// `{train}/{driver}/{kernel}/{arch}`: the driver stack's version above the kernel, so that one look at a
    /// directory shows for which kernels a version was built.
    pub const DEFAULT: &str = "{train}/{driver}/{kernel}/{arch}";

    /// The same below each channel: what a site has where it has channels.
    pub const DEFAULT_WITH_CHANNELS: &str = "{channel}/{train}/{driver}/{kernel}/{arch}";

    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let segments: Vec<Template> = text.split('/').map(Template::segment).collect::<Result<_, _>>()?;
        let layout = Self { segments };
        if layout.has(Placeholder::Kernel) { Ok(layout) } else { Err(TemplateError::NoKernel) }
    }

    fn has(&self, placeholder: Placeholder) -> bool {
        self.segments.iter().any(|segment| segment.has(placeholder))
    }

    /// Whether `{channel}` is in it, so that each channel has a path of its own.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.has(Placeholder::Channel)
    }

    /// The path of a cell's repository, in a channel where there are channels: relative, with `/` between its parts.
    /// Without a channel `{channel}` stays as it is, and a checked configuration has none then.
    #[must_use]
    pub fn path(&self, cell: &Cell, name: &DriverName, channel: Option<&ChannelName>) -> String {
        let segments: Vec<String> =
            self.segments.iter().map(|segment| segment.text(cell, name, channel)).collect();
        segments.join("/")
    }
}

/// A path template without `{kernel}`: where the repository stands that has the drivers of all kernels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockstepPath(Layout);

impl LockstepPath {
    /// `{train}/{driver}/{arch}`: beside the repositories of the kernels.
    pub const DEFAULT: &str = "{train}/{driver}/{arch}";

    /// The same below each channel: what a site has where it has channels.
    pub const DEFAULT_WITH_CHANNELS: &str = "{channel}/{train}/{driver}/{arch}";

    pub(crate) fn parse(text: &str) -> Result<Self, TemplateError> {
        let segments = text.split('/').map(Template::segment).collect::<Result<_, _>>()?;
        let layout = Layout { segments };
        if layout.has(Placeholder::Kernel) { Err(TemplateError::Kernel) } else { Ok(Self(layout)) }
    }

    /// Whether `{channel}` is in it, so that each channel has a path of its own.
    #[must_use]
    pub fn has_channel(&self) -> bool {
        self.0.has_channel()
    }

    /// The path of the repository that a cell belongs to, as [`Layout::path`] has it.
    #[must_use]
    pub fn path(&self, cell: &Cell, name: &DriverName, channel: Option<&ChannelName>) -> String {
        self.0.path(cell, name, channel)
    }

    /// Whether cells' repositories would be below it.
    pub(crate) fn is_above(&self, layout: &Layout) -> bool {
        layout.segments.starts_with(&self.0.segments)
    }
}

impl fmt::Display for LockstepPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Serialize for LockstepPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.segments.iter().enumerate() {
            if position > 0 {
                f.write_str("/")?;
            }
            write!(f, "{segment}")?;
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
    use drivetrain_model::{Architecture, DriverVersion, KernelRelease, TrainName};
    use proptest::prelude::*;

    fn cell() -> Cell {
        Cell {
            train: TrainName::parse("rocky-9.4").unwrap(),
            arch: Architecture::parse("x86_64").unwrap(),
            kernel: KernelRelease::parse("5.14.0-427.31.1.el9_4.x86_64").unwrap(),
            driver: DriverVersion::parse("3.2.0").unwrap(),
        }
    }

    fn path(layout: &str, channel: Option<&str>) -> String {
        let channel = channel.map(|text| ChannelName::parse(text).unwrap());
        let name = DriverName("doca-ofed".to_owned());
        Layout::parse(layout).unwrap().path(&cell(), &name, channel.as_ref())
    }

    #[test]
    fn placeholders_are_filled_in() {
        assert_eq!(path(Layout::DEFAULT, None), "rocky-9.4/3.2.0/5.14.0-427.31.1.el9_4.x86_64/x86_64");
        assert_eq!(
            path(Layout::DEFAULT_WITH_CHANNELS, Some("release")),
            "release/rocky-9.4/3.2.0/5.14.0-427.31.1.el9_4.x86_64/x86_64"
        );
        assert_eq!(
            path("kmods/{name}-{driver}-{kernel}", None),
            "kmods/doca-ofed-3.2.0-5.14.0-427.31.1.el9_4.x86_64"
        );
        assert_eq!(path(Layout::DEFAULT, Some("release")), path(Layout::DEFAULT, None));
        assert_eq!(Layout::parse("a/{name}-{kernel}").unwrap().to_string(), "a/{name}-{kernel}");
        assert!(Layout::parse(Layout::DEFAULT_WITH_CHANNELS).unwrap().has_channel());
        assert!(!Layout::parse(Layout::DEFAULT).unwrap().has_channel());
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
            "{kernel}}",
        ] {
            assert!(Layout::parse(text).is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn the_path_for_all_kernels_has_none_of_them_and_is_not_above_theirs() {
        let name = DriverName("doca-ofed".to_owned());
        let path = LockstepPath::parse(LockstepPath::DEFAULT).unwrap();
        assert_eq!(path.path(&cell(), &name, None), "rocky-9.4/3.2.0/x86_64");
        assert!(LockstepPath::parse("{train}/{kernel}").is_err());
        assert!(LockstepPath::parse("../{train}").is_err());
        let layout = Layout::parse(Layout::DEFAULT).unwrap();
        assert!(!path.is_above(&layout));
        assert!(LockstepPath::parse("{train}/{driver}").unwrap().is_above(&layout));
    }

    proptest! {
        #[test]
        fn a_path_stays_below_its_directory(
            text in "(\\{(train|driver|kernel|arch|name|channel)\\}|[a-c./~{} _-]|\\PC){0,8}",
            kernel in prop::bool::ANY,
            train in "[a-z0-9_+~^][a-z0-9._+~^-]{0,8}",
            channel in "[a-z0-9_+~^][a-z0-9._+~^-]{0,8}",
        ) {
            let text = if kernel { format!("{text}{{kernel}}") } else { text };
            if let Ok(layout) = Layout::parse(&text) {
                prop_assert_eq!(layout.to_string(), text.as_str());
                let cell = Cell { train: TrainName::parse(&train).unwrap(), ..cell() };
                let name = DriverName("doca-ofed".to_owned());
                let channel = ChannelName::parse(&channel).unwrap();
                let path = layout.path(&cell, &name, Some(&channel));
                prop_assert!(path.contains(cell.kernel.as_str()));
                for part in path.split('/') {
                    prop_assert!(!part.is_empty() && !part.starts_with(['.', '-']));
                    prop_assert!(part.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+~^-".contains(&b)));
                }
            }
        }
    }
}
