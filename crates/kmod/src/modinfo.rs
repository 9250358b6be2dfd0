//! The `.modinfo` section: what a module says about itself.

use std::borrow::Cow;

/// The keys and values of `.modinfo`, in the order of the file.
///
/// The section is a run of `key=value` texts that end in NUL, with any number of NULs between them. Source:
/// `module_next_tag_pair` in `kernel/module/main.c`; written by `MODULE_INFO` (`include/linux/moduleparam.h`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Modinfo<'data> {
    pairs: Vec<(&'data [u8], &'data [u8])>,
}

impl<'data> Modinfo<'data> {
    /// Reads the section's bytes. Texts without `=` say nothing and are left out.
    #[must_use]
    pub fn parse(section: &'data [u8]) -> Self {
        let pairs = section
            .split(|&byte| byte == 0)
            .filter_map(|text| {
                let equals = text.iter().position(|&byte| byte == b'=')?;
                Some((&text[..equals], &text[equals + 1..]))
            })
            .collect();
        Self { pairs }
    }

    /// The first value of a key: the one that the kernel takes.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Cow<'data, str>> {
        self.all(key).next()
    }

    /// Every value of a key: `alias`, `import_ns`, `parm` and `author` repeat. Authors' names are not always
    /// UTF-8; what is not is replaced.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = Cow<'data, str>> + 'a {
        self.pairs
            .iter()
            .filter(move |(name, _)| *name == key.as_bytes())
            .map(|(_, value)| String::from_utf8_lossy(value))
    }

    /// Every pair.
    pub fn iter(&self) -> impl Iterator<Item = (Cow<'data, str>, Cow<'data, str>)> + '_ {
        self.pairs.iter().map(|(key, value)| (String::from_utf8_lossy(key), String::from_utf8_lossy(value)))
    }

    /// How many values a key has.
    #[must_use]
    pub fn count(&self, key: &str) -> usize {
        self.pairs.iter().filter(|(name, _)| *name == key.as_bytes()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_equals_signs_and_repeat() {
        let info = Modinfo::parse(b"\0\0name=x\0parm=a:b=c\0\0noise\0parm=d\0empty=\0cut=off");
        assert_eq!(info.get("name").unwrap(), "x");
        assert_eq!(info.all("parm").collect::<Vec<_>>(), ["a:b=c", "d"]);
        assert_eq!(info.get("empty").unwrap(), "");
        assert_eq!(info.get("cut").unwrap(), "off");
        assert_eq!(info.get("noise"), None);
        assert_eq!(info.iter().count(), 5);
    }

    #[test]
    fn a_value_that_is_not_utf8_is_still_readable() {
        let info = Modinfo::parse(b"author=J\xf6rg\0");
        assert_eq!(info.get("author").unwrap(), "J\u{fffd}rg");
    }
}
