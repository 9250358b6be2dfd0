//! Modules as packages have them: compressed, or not.

use std::borrow::Cow;
use std::io::{self, Write as _};

use drivetrain_kmod::{Compression, decompress};
use flate2::GzBuilder;
use liblzma::stream::{Check, Filters, LzmaOptions, Stream};

use crate::ModuleError;

/// The dictionary of `scripts/Makefile.modinst`: kernels that unpack modules themselves set no more aside.
const XZ_DICTIONARY: u32 = 2 << 20;
/// What xz and zstd take where nothing is said.
const XZ_PRESET: u32 = 6;
const ZSTD_LEVEL: i32 = 3;

/// A module without its compression, of at most `limit` bytes.
///
/// # Errors
/// Where it is damaged, or larger.
pub fn unpack(module: &[u8], limit: usize) -> Result<Cow<'_, [u8]>, ModuleError> {
    Ok(decompress(module, limit)?)
}

/// A module compressed so that kernels unpack it, by the same program as the one that it was read from.
///
/// # Errors
/// Where the library refuses.
pub fn compress_as(compression: Compression, module: Vec<u8>) -> Result<Vec<u8>, ModuleError> {
    let fail = |source: io::Error| ModuleError::Compress { compression, source };
    match compression {
        Compression::None => Ok(module),
        // Without the moment, as `gzip -n`.
        Compression::Gzip => {
            let mut encoder = GzBuilder::new().write(Vec::new(), flate2::Compression::default());
            encoder.write_all(&module).and_then(|()| encoder.finish()).map_err(fail)
        }
        Compression::Xz => xz(&module).map_err(fail),
        Compression::Zstd => zstd::stream::encode_all(module.as_slice(), ZSTD_LEVEL).map_err(fail),
    }
}

/// With the check that kernels know, as the kernel's own makefile has it.
fn xz(module: &[u8]) -> io::Result<Vec<u8>> {
    let mut options = LzmaOptions::new_preset(XZ_PRESET)?;
    options.dict_size(XZ_DICTIONARY);
    let mut filters = Filters::new();
    filters.lzma2(&options);
    let stream = Stream::new_stream_encoder(&filters, Check::Crc32)?;
    let mut encoder = liblzma::write::XzEncoder::new_stream(Vec::new(), stream);
    encoder.write_all(module)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_compressed_is_compressed_again_and_always_the_same() {
        let module = b"a module ".repeat(10_000);
        for compression in [Compression::None, Compression::Gzip, Compression::Xz, Compression::Zstd] {
            let packed = compress_as(compression, module.clone()).unwrap();
            assert_eq!(Compression::detect(&packed), compression);
            assert_eq!(packed, compress_as(compression, module.clone()).unwrap());
            assert_eq!(unpack(&packed, module.len()).unwrap(), module);
            assert!(unpack(&packed, module.len() - 1).is_err());
        }
    }
}
