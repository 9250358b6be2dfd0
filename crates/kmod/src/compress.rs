//! Distributions ship modules as `.ko`, `.ko.gz`, `.ko.xz` or `.ko.zst`, and `symvers` likewise.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// The memory that a decoder's window may take. The kernel's own build uses a 1 MiB dictionary for xz and
/// zstd's defaults (8 MiB at level 19); `xz -9` takes 64 MiB.
const WINDOW_LIMIT: u64 = 128 << 20;
/// The same as a power of two, as zstd wants it.
const WINDOW_LIMIT_LOG: u32 = 27;

/// How a file's bytes are compressed, by what they begin with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Compression {
    /// Not at all, or by something unknown.
    None,
    /// RFC 1952.
    Gzip,
    /// The .xz container.
    Xz,
    /// RFC 8878.
    Zstd,
}

impl Compression {
    /// What bytes are compressed with that neither the kernel's tools nor this crate unpack, by what they begin
    /// with. `scripts/Makefile.modinst` and kmod know gzip, xz and zstd; a module in anything else is never loaded.
    #[must_use]
    pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
        let known: [(&[u8], &str); 4] = [
            (b"BZh", "bzip2"),
            (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
            (&[0x5d, 0, 0], "lzma"),
            (b"LZIP", "lzip"),
        ];
        known.iter().find(|(magic, _)| bytes.starts_with(magic)).map(|(_, name)| *name)
    }

    /// Looks at the first bytes. Names lie; these do not.
    #[must_use]
    pub fn detect(bytes: &[u8]) -> Self {
        if bytes.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if bytes.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else {
            Self::None
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "nothing",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        })
    }
}

/// Why bytes could not be decompressed.
#[derive(Debug, thiserror::Error)]
pub enum DecompressError {
    /// More comes out than the caller allows: a wrong file, or one made to fill memory.
    #[error("more than {limit} bytes come out of {size} bytes of {compression}, which is not allowed here")]
    TooLarge {
        /// What the bytes are compressed with.
        compression: Compression,
        /// How many there are.
        size: usize,
        /// What the caller allows.
        limit: usize,
    },
    /// The decoder gave up.
    #[error("damaged {compression} data")]
    Damaged {
        /// What the bytes are compressed with.
        compression: Compression,
        /// What the decoder says.
        #[source]
        source: io::Error,
    },
}

/// The bytes as they were before compression, at most `limit` of them. Uncompressed bytes are returned as
/// they are, under the same limit.
pub fn decompress(bytes: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, DecompressError> {
    let compression = Compression::detect(bytes);
    let damaged = |source| DecompressError::Damaged { compression, source };
    let out = match compression {
        Compression::None if bytes.len() > limit => None,
        Compression::None => Some(Cow::Borrowed(bytes)),
        Compression::Gzip => take(flate2::bufread::MultiGzDecoder::new(bytes), limit).map_err(damaged)?,
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(WINDOW_LIMIT, liblzma::stream::CONCATENATED)
                    .map_err(|error| damaged(error.into()))?;
            take(liblzma::bufread::XzDecoder::new_stream(bytes, stream), limit).map_err(damaged)?
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(bytes).map_err(damaged)?;
            decoder.window_log_max(WINDOW_LIMIT_LOG).map_err(damaged)?;
            take(decoder, limit).map_err(damaged)?
        }
    };
    out.ok_or(DecompressError::TooLarge { compression, size: bytes.len(), limit })
}

/// Everything the reader has, or nothing if that is more than the limit: one byte over is enough to know.
fn take<'a>(reader: impl Read, limit: usize) -> io::Result<Option<Cow<'a, [u8]>>> {
    let mut out = Vec::new();
    reader.take((limit as u64).saturating_add(1)).read_to_end(&mut out)?;
    Ok((out.len() <= limit).then_some(Cow::Owned(out)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn packed(content: &[u8]) -> Vec<Vec<u8>> {
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        gzip.write_all(content).unwrap();
        let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 6);
        xz.write_all(content).unwrap();
        let zstd = zstd::stream::encode_all(content, 3).unwrap();
        vec![gzip.finish().unwrap(), xz.finish().unwrap(), zstd]
    }

    #[test]
    fn what_was_packed_comes_back() {
        for bytes in packed(b"module") {
            assert_ne!(Compression::detect(&bytes), Compression::None);
            assert_eq!(decompress(&bytes, 6).unwrap(), b"module".as_slice());
        }
        assert!(matches!(decompress(b"\x7fELF", 4).unwrap(), Cow::Borrowed(_)));
    }

    #[test]
    fn compressions_that_no_kernel_knows_have_a_name() {
        assert_eq!(Compression::foreign(b"BZh91AY&SY"), Some("bzip2"));
        assert_eq!(Compression::foreign(b"\x04\x22\x4d\x18\x64"), Some("lz4"));
        assert_eq!(Compression::foreign(b"\x7fELF"), None);
        for bytes in packed(b"module") {
            assert_eq!(Compression::foreign(&bytes), None);
        }
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        for bytes in packed(&vec![0; 20 << 20]) {
            assert!(bytes.len() < 50_000);
            let error = decompress(&bytes, 1 << 20).unwrap_err();
            assert!(matches!(error, DecompressError::TooLarge { .. }), "{error}");
        }
        assert!(decompress(b"\x7fELF", 3).is_err());
    }

    #[test]
    fn a_cut_file_is_damage_and_not_a_short_module() {
        for bytes in packed(b"a module that is somewhat longer than nothing") {
            let error = decompress(&bytes[..bytes.len() - 6], 1 << 20).unwrap_err();
            assert!(matches!(error, DecompressError::Damaged { .. }), "{error}");
        }
    }
}
