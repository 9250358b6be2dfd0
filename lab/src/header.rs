//! Puts a string into the header of a package that rpmbuild would not accept in a spec.
//!
//! rpmbuild allows one dash in the version of a dependency. A RHEL kernel's release has one; a Debian kernel's
//! has three, and yet `kernel-uname-r` has to be what `uname -r` prints. So the spec says it with other
//! separators, and the bytes are exchanged here, which is possible since the length is the same. The digests
//! over the header are brought up to date; the payload is not touched.

use anyhow::{Context as _, Result, ensure};
use camino::Utf8Path;
use fs_err as fs;
use sha2::{Digest as _, Sha256};

use crate::cmd::{command, run_with_input};

const LEAD: usize = 96;
const MAGIC: [u8; 4] = [0x8e, 0xad, 0xe8, 0x01];
const SIGTAG_SHA1: u32 = 269;
const SIGTAG_SHA256: u32 = 273;
const SIGTAG_MD5: u32 = 1004;

/// Exchanges every string of the header that is exactly `from` for `to`, which has to be as long.
pub(crate) fn replace_strings(package: &Utf8Path, from: &str, to: &str) -> Result<()> {
    let mut bytes = fs::read(package)?;
    exchange(&mut bytes, from, to).with_context(|| format!("rewriting the header of {package}"))?;
    fs::write(package, bytes)?;
    Ok(())
}

/// Where one header structure lies in the file.
struct Header {
    start: usize,
    entries: usize,
    store: usize,
    end: usize,
}

impl Header {
    fn at(bytes: &[u8], start: usize) -> Result<Self> {
        ensure!(bytes.get(start..start + 4) == Some(&MAGIC), "no header at byte {start}");
        let entries = number(bytes, start + 8)? as usize;
        let store = start + 16 + 16 * entries;
        let end = store + number(bytes, start + 12)? as usize;
        ensure!(end <= bytes.len(), "the header is longer than the file");
        Ok(Header { start, entries, store, end })
    }

    /// Where the value of `tag` begins.
    fn value(&self, bytes: &[u8], tag: u32) -> Result<Option<usize>> {
        for entry in 0..self.entries {
            let at = self.start + 16 + 16 * entry;
            if number(bytes, at)? == tag {
                return Ok(Some(self.store + number(bytes, at + 8)? as usize));
            }
        }
        Ok(None)
    }
}

fn number(bytes: &[u8], at: usize) -> Result<u32> {
    let word = bytes.get(at..at + 4).context("the file ends in its header")?;
    Ok(u32::from_be_bytes(word.try_into()?))
}

fn exchange(bytes: &mut [u8], from: &str, to: &str) -> Result<()> {
    ensure!(from.len() == to.len(), "{from:?} and {to:?} differ in length");
    let signature = Header::at(bytes, LEAD)?;
    let main = Header::at(bytes, signature.end.next_multiple_of(8))?;

    let pattern = [b"\0", from.as_bytes(), b"\0"].concat();
    let mut at = main.store;
    while let Some(found) = find(&bytes[at..main.end], &pattern) {
        let string = at + found + 1;
        bytes[string..string + to.len()].copy_from_slice(to.as_bytes());
        at = string + to.len();
    }

    let header = bytes[main.start..main.end].to_vec();
    let mut write = |tag, value: &[u8]| -> Result<()> {
        if let Some(at) = signature.value(bytes, tag)? {
            bytes[at..at + value.len()].copy_from_slice(value);
        }
        Ok(())
    };
    write(SIGTAG_SHA256, hex::encode(Sha256::digest(&header)).as_bytes())?;
    write(SIGTAG_SHA1, digest("sha1sum", &header)?.as_bytes())?;
    let md5 = digest("md5sum", &bytes[main.start..])?;
    if let Some(at) = signature.value(bytes, SIGTAG_MD5)? {
        bytes[at..at + 16].copy_from_slice(&hex::decode(md5)?);
    }
    Ok(())
}

/// Digests that RPM still keeps, and that are not worth a dependency.
fn digest(program: &str, of: &[u8]) -> Result<String> {
    let line = run_with_input(&mut command(program), of)?;
    Ok(line.split_whitespace().next().context("no digest")?.to_owned())
}

fn find(bytes: &[u8], pattern: &[u8]) -> Option<usize> {
    bytes.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with one signature tag (SHA-256) and a header that has `strings` in its store.
    fn package(strings: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; LEAD];
        let header = |tag: u32, store: &[u8]| {
            let mut header = [MAGIC.as_slice(), &[0; 4]].concat();
            header.extend(1_u32.to_be_bytes());
            header.extend((store.len() as u32).to_be_bytes());
            for word in [tag, 6, 0, 1] {
                header.extend(word.to_be_bytes());
            }
            header.extend(store);
            header
        };
        bytes.extend(header(SIGTAG_SHA256, &[b'0'; 65]));
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes.extend(header(1000, strings));
        bytes.extend(b"\0a-b\0payload");
        bytes
    }

    #[test]
    fn exchanges_whole_strings_of_the_header_only() {
        let mut bytes = package(b"x\0a-b\0a-b\0xa-b\0");
        exchange(&mut bytes, "a-b", "a+b").unwrap();
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains("x\0a+b\0a+b\0xa-b\0"));
        assert!(text.ends_with("\0a-b\0payload"));

        let header = Header::at(&bytes, (LEAD + 16 + 16 + 65).next_multiple_of(8)).unwrap();
        let expected = hex::encode(Sha256::digest(&bytes[header.start..header.end]));
        assert!(text.contains(&expected));
    }

    #[test]
    fn refuses_another_length_and_what_is_no_package() {
        assert!(exchange(&mut package(b"x\0"), "a", "ab").is_err());
        assert!(exchange(&mut [0; 200], "a", "b").is_err());
        assert!(exchange(&mut package(b"x\0")[..120], "a", "b").is_err());
    }
}
