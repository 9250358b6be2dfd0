//! Compressed metadata, opened within bounds.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;
use liblzma::bufread::XzDecoder;

use crate::{Error, Limits, Result};

/// The most memory a decoder may take. `xz -9` needs 65 MiB and `zstd --ultra` 128 MiB of window.
const MAX_DECODER_BYTES: u64 = 192 << 20;
const MAX_ZSTD_WINDOW_LOG: u32 = 27;

/// How a metadata file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// xz.
    Xz,
    /// Zstandard, RFC 8878.
    Zstd,
}

impl Compression {
    /// Tells the compression from the first bytes of a file. Its name is not asked: proxies that decompress
    /// on the way, and `.gz` files that hold plain XML, are both found in the wild.
    ///
    /// # Errors
    /// With the name of a compression that is known and not supported.
    fn detect(head: &[u8]) -> std::result::Result<Self, &'static str> {
        match head {
            [0x1f, 0x8b, ..] => Ok(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Ok(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Self::Zstd),
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Err("bzip2"),
            [0, b'Z', b'C', b'K', b'1', ..] => Err("zchunk"),
            _ => Ok(Self::None),
        }
    }
}

/// What [`decompress`] returns: the opened file, which ends in an error where it grows beyond the bound.
pub struct Decompressor<R: Read> {
    inner: Inner<R>,
    compression: Compression,
    document: String,
    left: u64,
    limit: u64,
    setting: &'static str,
}

/// The first bytes again, then the rest.
type Source<R> = BufReader<io::Chain<Cursor<Vec<u8>>, R>>;

enum Inner<R: Read> {
    None(Source<R>),
    Gzip(Box<MultiGzDecoder<Source<R>>>),
    Xz(Box<XzDecoder<Source<R>>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, Source<R>>>),
}

/// Opens a metadata file. `document` names it in errors. `open_size` is what `repomd.xml` states; the bound is
/// that or [`Limits::max_open_bytes`], whichever is less.
///
/// # Errors
/// Where the compression is known and not supported (bzip2, zchunk), or the first bytes cannot be read.
pub fn decompress<R: Read>(
    document: &str,
    mut reader: R,
    open_size: Option<u64>,
    limits: &Limits,
) -> Result<Decompressor<R>> {
    let io = |error| Error::from_io(document, error);
    // Read, not looked at in a buffer: one read may return a single byte.
    let mut head = Vec::new();
    reader.by_ref().take(6).read_to_end(&mut head).map_err(io)?;
    let compression = Compression::detect(&head)
        .map_err(|compression| Error::Compression { document: document.to_owned(), compression })?;
    let reader = BufReader::with_capacity(64 << 10, Cursor::new(head).chain(reader));
    let inner = match compression {
        Compression::None => Inner::None(reader),
        Compression::Gzip => Inner::Gzip(Box::new(MultiGzDecoder::new(reader))),
        Compression::Xz => {
            let stream =
                liblzma::stream::Stream::new_stream_decoder(MAX_DECODER_BYTES, liblzma::stream::CONCATENATED)
                    .map_err(|error| io(error.into()))?;
            Inner::Xz(Box::new(XzDecoder::new_stream(reader, stream)))
        }
        Compression::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(reader).map_err(io)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(io)?;
            Inner::Zstd(Box::new(decoder))
        }
    };
    let (limit, setting) = match open_size {
        Some(size) if size < limits.max_open_bytes => (size, "the open-size that repomd.xml states"),
        _ => (limits.max_open_bytes, "max_open_bytes"),
    };
    Ok(Decompressor { inner, compression, document: document.to_owned(), left: limit, limit, setting })
}

impl<R: Read> Decompressor<R> {
    /// What the file was compressed with.
    #[must_use]
    pub fn compression(&self) -> Compression {
        self.compression
    }
}

impl<R: Read> Read for Decompressor<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        // One byte more than is allowed, so that a file of exactly that size ends as it should.
        let want = usize::try_from(self.left.saturating_add(1)).unwrap_or(usize::MAX).min(buffer.len());
        let target = &mut buffer[..want];
        let count = match &mut self.inner {
            Inner::None(reader) => reader.read(target),
            Inner::Gzip(reader) => reader.read(target),
            Inner::Xz(reader) => reader.read(target),
            Inner::Zstd(reader) => reader.read(target),
        }?;
        match self.left.checked_sub(count as u64) {
            Some(left) => self.left = left,
            None => {
                let what = "the decompressed file";
                return Err(Error::limit(&self.document, what, self.limit, self.setting).into_io());
            }
        }
        Ok(count)
    }
}
