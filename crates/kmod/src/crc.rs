//! The CRC of an exported symbol.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The CRC that `genksyms` (or `gendwarfksyms`) takes over everything the type of an exported symbol reaches.
///
/// A kernel with `CONFIG_MODVERSIONS` lets a module use a symbol only if the CRC that the module was built
/// against equals the exporter's: two equal CRCs are two equal interfaces. Zero is a value like others:
/// symbols without a C prototype have it on both sides.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SymbolCrc(pub u32);

impl SymbolCrc {
    /// Reads `0x` and up to eight hexadecimal digits, as `Module.symvers` has them.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
        if digits.is_empty() || digits.len() > 8 {
            return None;
        }
        // Unlike from_str_radix, this takes no sign.
        digits.chars().try_fold(0, |value: u32, digit| Some(value << 4 | digit.to_digit(16)?)).map(Self)
    }
}

impl fmt::Display for SymbolCrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl fmt::Debug for SymbolCrc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<SymbolCrc> for String {
    fn from(crc: SymbolCrc) -> Self {
        crc.to_string()
    }
}

impl TryFrom<String> for SymbolCrc {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("{text:?} is no symbol CRC: 0x and up to 8 digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hexadecimal_of_32_bits_is_a_crc() {
        assert_eq!(SymbolCrc::parse("0x1234abcd"), Some(SymbolCrc(0x1234_abcd)));
        assert_eq!(SymbolCrc::parse("0x0"), Some(SymbolCrc(0)));
        for text in ["", "0x", "1234abcd", "0x+1234567", "0x-1", "0x123456789", "0xg"] {
            assert_eq!(SymbolCrc::parse(text), None, "{text}");
        }
    }
}
