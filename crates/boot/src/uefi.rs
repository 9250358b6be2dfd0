//! Certificates in a firmware's store of variables, so that a guest's kernel trusts them as it would on a machine whose
//! owner has enrolled them.
//!
//! A kernel takes the certificates of the variable `db` into its platform keyring, which modules are verified with by the
//! kernels of distributions. They stand there whether Secure Boot is on or not; `MokListRT`, which shim makes, is not
//! looked at without it.
//!
//! The layout: `MdePkg/Include/Pi/PiFirmwareVolume.h`, `MdeModulePkg/Include/Guid/VariableFormat.h` and
//! `MdePkg/Include/Guid/ImageAuthentication.h` of edk2.

/// `EFI_FIRMWARE_VOLUME_HEADER`: where its own length stands, and its signature.
const VOLUME_LENGTH: usize = 0x30;
const VOLUME_SIGNATURE: usize = 0x28;
/// `gEfiAuthenticatedVariableGuid`, which begins the store.
const STORE: [u8; 16] = *b"\x78\x2c\xf3\xaa\x7b\x94\x9a\x43\xa1\x80\x2e\x14\x4e\xc3\x77\x92";
/// `sizeof(VARIABLE_STORE_HEADER)`.
const STORE_HEADER: usize = 28;
/// `sizeof(AUTHENTICATED_VARIABLE_HEADER)`.
const VARIABLE_HEADER: usize = 60;
/// What begins a variable.
const START: [u8; 2] = [0xaa, 0x55];
/// `VAR_ADDED`.
const ADDED: u8 = 0x3f;
/// Kept, seen by firmware and system, and written with a date.
const ATTRIBUTES: u32 = 0x27;
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`.
const DATABASE: [u8; 16] = *b"\xcb\xb2\x19\xd7\x3a\x3d\x96\x45\xa3\xbc\xda\xd0\x0e\x67\x65\x6f";
/// `EFI_CERT_X509_GUID`.
const X509: [u8; 16] = *b"\xa1\x59\xc0\xa5\xe4\x94\xa7\x4a\x87\xb5\xab\x15\x5c\x2b\xf0\x72";
/// Who put it there: a name of drivetrain's own.
const OWNER: [u8; 16] = *b"drivetrain-guest";
/// `EFI_TIME` of some moment, which is compared with that of the next writer.
const TIME: [u8; 16] = [0xe4, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
/// `db`, in UTF-16.
const NAME: [u8; 6] = *b"d\0b\0\0\0";
/// No store is larger; those that come with QEMU have half a megabyte.
const MAX_STORE: usize = 64 << 20;

/// Why certificates cannot be put into a store.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UefiError {
    /// Another kind of file.
    #[error("it is no store of variables as edk2 has it, such as OVMF_VARS_4M.fd: {0}")]
    NoStore(&'static str),
    /// Damaged.
    #[error("its variable at byte {0} goes beyond its end")]
    Damaged(usize),
    /// Somebody's certificates are in it.
    #[error("it has a `db` already: take the empty store that came with the firmware")]
    Enrolled,
    /// Too small.
    #[error("{wanted} bytes of certificates do not fit into the {left} that are left in it")]
    Full {
        /// How many bytes are needed.
        wanted: usize,
        /// How many there are.
        left: usize,
    },
}

/// A firmware's store of variables with these certificates (DER) in its `db`.
///
/// # Errors
/// Where it is no store, has certificates already, or is too small.
pub fn enrol(store: &[u8], certificates: &[&[u8]]) -> Result<Vec<u8>, UefiError> {
    let (begin, end) = bounds(store)?;
    let free = free(store, begin, end)?;
    let variable = variable(certificates);
    let room = end - free;
    if variable.len() > room {
        return Err(UefiError::Full { wanted: variable.len(), left: room });
    }
    let mut enrolled = store.to_vec();
    for (to, from) in enrolled.iter_mut().skip(free).zip(&variable) {
        *to = *from;
    }
    Ok(enrolled)
}

/// Where variables begin and end.
fn bounds(store: &[u8]) -> Result<(usize, usize), UefiError> {
    if store.len() > MAX_STORE {
        return Err(UefiError::NoStore("it is too large"));
    }
    if store.get(VOLUME_SIGNATURE..VOLUME_SIGNATURE + 4) != Some(b"_FVH") {
        return Err(UefiError::NoStore("it has no header of a firmware volume"));
    }
    let header = usize::from(u16_at(store, VOLUME_LENGTH).unwrap_or(0));
    if store.get(header..header + STORE.len()) != Some(&STORE) {
        return Err(UefiError::NoStore("its variables are not of the authenticated kind"));
    }
    let size = u32_at(store, header + STORE.len()).unwrap_or(0);
    let (begin, end) = (header + STORE_HEADER, header.saturating_add(size));
    if begin > end || end > store.len() {
        return Err(UefiError::NoStore("its size is not what it says"));
    }
    Ok((begin, end))
}

/// Where the next variable goes.
fn free(store: &[u8], begin: usize, end: usize) -> Result<usize, UefiError> {
    let mut at = begin;
    while store.get(at..at + 2) == Some(&START) {
        let damaged = UefiError::Damaged(at);
        let (Some(name), Some(data)) = (u32_at(store, at + 36), u32_at(store, at + 40)) else {
            return Err(damaged);
        };
        let name_at = at + VARIABLE_HEADER;
        let next =
            name_at.checked_add(name).and_then(|next| next.checked_add(data)).filter(|next| *next <= end);
        let next = next.ok_or(damaged)?;
        let is_database = store.get(at + 44..name_at) == Some(&DATABASE)
            && store.get(name_at..name_at + name) == Some(&NAME);
        if is_database && store.get(at + 2) == Some(&ADDED) {
            return Err(UefiError::Enrolled);
        }
        at = next.next_multiple_of(4);
    }
    Ok(at.min(end))
}

/// The variable `db`: a list for each certificate, since they have different lengths.
fn variable(certificates: &[&[u8]]) -> Vec<u8> {
    let mut data = Vec::new();
    for certificate in certificates {
        let signature = OWNER.len() + certificate.len();
        data.extend(X509);
        data.extend(length(X509.len() + 12 + signature));
        data.extend(length(0));
        data.extend(length(signature));
        data.extend(OWNER);
        data.extend(*certificate);
    }
    let mut variable = Vec::from(START);
    variable.extend([ADDED, 0]);
    variable.extend(ATTRIBUTES.to_le_bytes());
    variable.extend(0_u64.to_le_bytes());
    variable.extend(TIME);
    variable.extend(length(0));
    variable.extend(length(NAME.len()));
    variable.extend(length(data.len()));
    variable.extend(DATABASE);
    variable.extend(NAME);
    variable.extend(data);
    variable
}

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).unwrap_or(u32::MAX).to_le_bytes()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An empty store of a kilobyte.
    fn empty() -> Vec<u8> {
        let mut store = vec![0xff; 1024];
        store[VOLUME_SIGNATURE..VOLUME_SIGNATURE + 4].copy_from_slice(b"_FVH");
        store[VOLUME_LENGTH..VOLUME_LENGTH + 2].copy_from_slice(&[0x48, 0]);
        store[0x48..0x58].copy_from_slice(&STORE);
        store[0x58..0x5c].copy_from_slice(&900_u32.to_le_bytes());
        store
    }

    #[test]
    fn certificates_are_put_where_the_first_variable_is_free() {
        let enrolled = enrol(&empty(), &[b"one", b"another"]).unwrap();
        assert_eq!(enrolled.len(), 1024);
        assert_eq!(&enrolled[0x64..0x68], [0xaa, 0x55, 0x3f, 0]);
        assert!(enrolled.windows(3).any(|window| window == b"one"));
        assert_eq!(enrol(&enrolled, &[b"more"]), Err(UefiError::Enrolled));
        let (begin, end) = bounds(&enrolled).unwrap();
        assert_eq!(variable(&[b"one", b"another"]).len(), 60 + 6 + 2 * 44 + 10);
        assert!(begin == 0x64 && end == 0x48 + 900);
    }

    #[test]
    fn what_is_no_store_is_full_or_damaged_is_told() {
        assert!(matches!(enrol(b"", &[b"x"]), Err(UefiError::NoStore(_))));
        assert!(matches!(enrol(&[0; 2000], &[b"x"]), Err(UefiError::NoStore(_))));
        assert!(matches!(enrol(&empty(), &[&[0; 2000]]), Err(UefiError::Full { .. })));
        let mut damaged = empty();
        damaged[0x64..0x66].copy_from_slice(&START);
        assert_eq!(enrol(&damaged, &[b"x"]), Err(UefiError::Damaged(0x64)));
        let mut cut = empty();
        cut.truncate(500);
        assert!(matches!(enrol(&cut, &[b"x"]), Err(UefiError::NoStore(_))));
    }
}
