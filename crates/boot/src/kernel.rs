//! A kernel's image, where its package installs it.

use std::fs::File;
use std::io::Read as _;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_model::KernelRelease;

use crate::BootError;
use crate::program::System;

/// Finds the image, and sees whether it is one and whole: a machine that is given another waits for ever.
pub(crate) fn image(root: &Utf8Path, release: &KernelRelease) -> Result<Utf8PathBuf, BootError> {
    let places = [
        format!("/lib/modules/{release}/vmlinuz"),
        format!("/usr/lib/modules/{release}/vmlinuz"),
        format!("/boot/vmlinuz-{release}"),
    ];
    let found = places.iter().find_map(|place| System(root).find(place));
    let path =
        found.ok_or_else(|| BootError::NoKernel { root: root.to_owned(), release: release.clone() })?;
    let file = File::open(&path).map_err(BootError::file("read", &path))?;
    let size = file.metadata().map_err(BootError::file("read", &path))?.len();
    let mut head = Vec::new();
    file.take(0x300).read_to_end(&mut head).map_err(BootError::file("read", &path))?;
    require_whole(&head, size).map_err(|why| BootError::DamagedKernel { path: path.clone(), why })?;
    Ok(path)
}

/// By the header that `Documentation/arch/x86/boot.rst` of the kernel describes.
fn require_whole(head: &[u8], size: u64) -> Result<(), String> {
    let word = |at: usize| head.get(at..at + 2).map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]));
    let is_image = word(0x1fe) == Some(0xaa55) && head.get(0x202..0x206) == Some(b"HdrS".as_slice());
    if !is_image {
        return Err("it is no image of a kernel for x86".to_owned());
    }
    let paragraphs: [u8; 4] =
        head.get(0x1f4..0x1f8).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
    // None at all means four.
    let sectors = match head.get(0x1f1) {
        None | Some(0) => 4,
        Some(sectors) => u64::from(*sectors),
    };
    let whole = (sectors + 1) * 512 + u64::from(u32::from_le_bytes(paragraphs)) * 16;
    if size < whole {
        return Err(format!("it has {size} bytes of the {whole} that its header speaks of"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(paragraphs: u32) -> Vec<u8> {
        let mut head = vec![0; 0x300];
        head[0x1f1] = 7;
        head[0x1f4..0x1f8].copy_from_slice(&paragraphs.to_le_bytes());
        head[0x1fe..0x200].copy_from_slice(&[0x55, 0xaa]);
        head[0x202..0x206].copy_from_slice(b"HdrS");
        head
    }

    #[test]
    fn an_image_is_known_by_its_header_and_its_size() {
        assert_eq!(require_whole(&head(100), 8 * 512 + 1600), Ok(()));
        assert_eq!(
            require_whole(&head(100), 8 * 512 + 1599),
            Err("it has 5695 bytes of the 5696 that its header speaks of".to_owned())
        );
        for other in [&b""[..], b"\x7fELF", &[0; 0x300]] {
            assert_eq!(require_whole(other, 1 << 20), Err("it is no image of a kernel for x86".to_owned()));
        }
    }
}
