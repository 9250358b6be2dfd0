//! Compressed payloads and source archives, opened within bounds of memory.

use std::io::{self, BufRead, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

/// `xz -9` needs 65 MiB, and `zstd --ultra` a window of 128 MiB.
const MAX_DECODER_BYTES: u64 = 192 << 20;
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// Opens by the first bytes. What is not compressed is returned as it is.
///
/// The first bytes are read, not looked at in the buffer: where a header ends shortly before the buffer does, the
/// buffer has less of them than it takes to tell.
pub(crate) fn decompress<'a>(mut reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    let mut head = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut head)?;
    let kind = Kind::of(&head);
    let reader = Cursor::new(head).chain(reader);
    Ok(match kind {
        Kind::None => Box::new(reader),
        Kind::Gzip => Box::new(MultiGzDecoder::new(reader)),
        Kind::Xz => {
            let concatenated = liblzma::stream::CONCATENATED;
            let stream = liblzma::stream::Stream::new_stream_decoder(MAX_DECODER_BYTES, concatenated)?;
            Box::new(XzDecoder::new_stream(reader, stream))
        }
        Kind::Lzma => {
            let stream = liblzma::stream::Stream::new_lzma_decoder(MAX_DECODER_BYTES)?;
            Box::new(XzDecoder::new_stream(reader, stream))
        }
        Kind::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG)?;
            Box::new(decoder)
        }
        Kind::Bzip2 => {
            let message = "bzip2 compression is not supported: gzip, xz and zstd are";
            return Err(io::Error::new(io::ErrorKind::Unsupported, message));
        }
    })
}

enum Kind {
    None,
    Gzip,
    Xz,
    /// The format before xz, of the years of EL5: properties, no magic of its own.
    Lzma,
    Zstd,
    Bzip2,
}

impl Kind {
    fn of(head: &[u8]) -> Self {
        match head {
            [0x1f, 0x8b, ..] => Self::Gzip,
            [0xfd, b'7', b'z', b'X', b'Z', 0] => Self::Xz,
            [0x5d, 0, 0, ..] => Self::Lzma,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Self::Bzip2,
            _ => Self::None,
        }
    }
}
