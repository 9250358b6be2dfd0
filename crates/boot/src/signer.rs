//! Who signed a module, as the module says.

use drivetrain_kmod::Signature;

/// `id-at-commonName`, 2.5.4.3, as DER has it.
const COMMON_NAME: [u8; 5] = [0x06, 0x03, 0x55, 0x04, 0x03];
/// The longest name that is told.
const LONGEST: usize = 100;

/// The common name of the certificate that a signature names. `scripts/sign-file` puts no certificates in, so the name in
/// the signature is that of the signer. Whether the signature is any good is the kernel's to say.
pub(crate) fn signer(signature: &Signature<'_>) -> String {
    let bytes = signature.bytes;
    let at = bytes.windows(COMMON_NAME.len()).rposition(|window| window == COMMON_NAME);
    let name = at.and_then(|at| {
        // A string of one of several types, with its length in one byte.
        let value = bytes.get(at + COMMON_NAME.len()..)?;
        let length = usize::from(*value.get(1)?);
        let text = (length <= LONGEST).then(|| value.get(2..2 + length)).flatten()?;
        std::str::from_utf8(text).ok()
    });
    name.map_or_else(|| "somebody whose name cannot be read".to_owned(), crate::text::printable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed(cms: &[u8]) -> Vec<u8> {
        let mut file = b"module".to_vec();
        file.extend(cms);
        file.extend([0, 0, 2, 0, 0, 0, 0, 0]);
        file.extend(u32::try_from(cms.len()).unwrap().to_be_bytes());
        file.extend(b"~Module signature appended~\n");
        file
    }

    fn name_in(cms: &[u8]) -> String {
        let file = signed(cms);
        let (_, signature) = Signature::split(&file).unwrap();
        signer(&signature.unwrap())
    }

    #[test]
    fn the_name_is_that_of_the_certificate() {
        let named = |text: &str| {
            let mut cms = b"xx".to_vec();
            cms.extend(COMMON_NAME);
            cms.extend([0x0c, u8::try_from(text.len()).unwrap()]);
            cms.extend(text.as_bytes());
            cms.extend(b"behind");
            cms
        };
        assert_eq!(name_in(&named("Lab drivers")), "Lab drivers");
        assert_eq!(name_in(&named("a\u{1b}b")), "a\\u{1b}b");
        let cut = &named("Lab drivers")[..12];
        assert_eq!(name_in(cut), "somebody whose name cannot be read");
        assert_eq!(name_in(b"no name"), "somebody whose name cannot be read");
    }
}
