//! Ansible Vault, versions 1.1 and 1.2: AES-256-CTR under a key from the password, and an HMAC over what it makes.
//!
//! The text is a header, `$ANSIBLE_VAULT;1.1;AES256` or `$ANSIBLE_VAULT;1.2;AES256;LABEL`, and lines of hexadecimal
//! digits. They hold three further texts of hexadecimal digits, one a line: salt, HMAC, and what is encrypted.

use aes::cipher::{KeyIvInit as _, StreamCipher as _};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;

/// What every vault begins with.
pub const MARK: &str = "$ANSIBLE_VAULT;";
/// Longer ones are not read: a configuration's secrets are short.
pub const MAX_BYTES: usize = 4 * 1024 * 1024;
const ITERATIONS: u32 = 10_000;
const BLOCK: usize = 16;
const KEY: usize = 32;

/// Why a vault does not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    /// It is no vault, or not one that is known.
    #[error("it does not begin with $ANSIBLE_VAULT;1.1;AES256 or $ANSIBLE_VAULT;1.2;AES256;LABEL")]
    Header,
    /// It was cut or edited.
    #[error("what follows the header is not what ansible-vault writes: it was cut, or edited by hand")]
    Body,
    /// The HMAC is another.
    #[error("the password is wrong, or the text was changed")]
    Password,
    /// It is larger than anything that belongs here.
    #[error("it is larger than {MAX_BYTES} bytes")]
    TooLarge,
    /// What was in it is no text.
    #[error("what it holds is not UTF-8 text")]
    NotText,
}

/// The password that a site's vaults open with. It is shown nowhere.
#[derive(Clone)]
pub struct Password(String);

impl Password {
    /// A password, without the line's end that a file has behind it. `None` where nothing is left, which Ansible does
    /// not take either.
    #[must_use]
    pub fn new(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password([hidden])")
    }
}

/// Whether a text is a vault.
#[must_use]
pub fn is_vault(text: &str) -> bool {
    text.trim_start().starts_with(MARK)
}

/// What a vault holds.
///
/// # Errors
/// Where it is none, was changed, or was made with another password.
pub fn open(text: &str, password: &Password) -> Result<String, VaultError> {
    if text.len() > MAX_BYTES {
        return Err(VaultError::TooLarge);
    }
    let [salt, mac, encrypted] = parts(text)?;
    let keys = keys(&password.0, &salt).ok_or(VaultError::Body)?;
    let (cipher_key, rest) = keys.split_at(KEY);
    let (mac_key, iv) = rest.split_at(KEY);
    let mut check = Hmac::<Sha256>::new_from_slice(mac_key).map_err(|_| VaultError::Body)?;
    check.update(&encrypted);
    // In constant time.
    check.verify_slice(&mac).map_err(|_| VaultError::Password)?;
    let mut plain = encrypted;
    let mut cipher =
        ctr::Ctr128BE::<aes::Aes256>::new_from_slices(cipher_key, iv).map_err(|_| VaultError::Body)?;
    cipher.apply_keystream(&mut plain);
    unpad(&mut plain)?;
    String::from_utf8(plain).map_err(|_| VaultError::NotText)
}

/// Salt, HMAC, and what is encrypted.
fn parts(text: &str) -> Result<[Vec<u8>; 3], VaultError> {
    let mut lines = text.trim().lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().trim().split(';').collect();
    match header.as_slice() {
        ["$ANSIBLE_VAULT", "1.1", "AES256"] | ["$ANSIBLE_VAULT", "1.2", "AES256", _] => {}
        _ => return Err(VaultError::Header),
    }
    let digits: String = lines.map(str::trim).collect();
    let inner = hex::decode(digits).map_err(|_| VaultError::Body)?;
    let mut parts = inner.split(|byte| *byte == b'\n').map(hex::decode);
    let mut next = || parts.next().and_then(Result::ok).ok_or(VaultError::Body);
    let found = [next()?, next()?, next()?];
    if parts.next().is_some() { Err(VaultError::Body) } else { Ok(found) }
}

/// The cipher's key, the HMAC's key and the counter's beginning.
fn keys(password: &str, salt: &[u8]) -> Option<[u8; 2 * KEY + BLOCK]> {
    let mut keys = [0; 2 * KEY + BLOCK];
    pbkdf2::pbkdf2::<Hmac<Sha256>>(password.as_bytes(), salt, ITERATIONS, &mut keys).ok()?;
    Some(keys)
}

/// Takes PKCS#7's padding off.
fn unpad(plain: &mut Vec<u8>) -> Result<(), VaultError> {
    let count = usize::from(*plain.last().ok_or(VaultError::Body)?);
    let rest = plain.len().checked_sub(count).ok_or(VaultError::Body)?;
    if count == 0 || count > BLOCK || plain[rest..].iter().any(|byte| usize::from(*byte) != count) {
        return Err(VaultError::Body);
    }
    plain.truncate(rest);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    // Made by ansible-vault.
    const OLD: &str = "$ANSIBLE_VAULT;1.1;AES256
34626264383233393334323962633664323030643433356566663938663439303563643037346630
3263336430346138633533366661356539323439366535370a633661303464636430313630313733
39373033633966303230396431643936373838636161616630373736376365346530393061343133
3531393238656137630a666435653462356434633366343136333733353261376134393365376336
6564
";
    const LABELLED: &str = "$ANSIBLE_VAULT;1.2;AES256;site
    34316636313630646364656534323237326536326365323632653036356238396537306363613037
    6230623731663838643839303131643461663739313331370a666462393835633038383833643134
    37376562323765623434626232323134363165373261336264363533643066653664626338366632
    3939643433356261370a376538373033393033636338396137393238656138323862616432353764
    3337
";

    fn password(text: &str) -> Password {
        Password::new(text).unwrap()
    }

    #[test]
    fn what_ansible_encrypted_is_decrypted() {
        assert_eq!(open(OLD, &password("wrk-pass\n")).unwrap(), "hunter2");
        assert_eq!(open(LABELLED, &password("wrk-pass")).unwrap(), "pa ss: ü");
    }

    #[test]
    fn a_wrong_password_and_a_changed_text_are_told() {
        assert_eq!(open(OLD, &password("wrong")), Err(VaultError::Password));
        let changed = OLD.replace("6564\n", "6565\n");
        assert_eq!(open(&changed, &password("wrk-pass")), Err(VaultError::Password));
        let cut = &OLD[..OLD.len() - 20];
        assert_eq!(open(cut, &password("wrk-pass")), Err(VaultError::Body));
        assert_eq!(open(&OLD.replace("AES256", "AES"), &password("wrk-pass")), Err(VaultError::Header));
        assert_eq!(open("$ANSIBLE_VAULT;1.0;AES256\n00", &password("x")), Err(VaultError::Header));
        assert!(Password::new(" \n").is_none());
        assert!(!format!("{:?}", password("hunter2")).contains("hunter2"));
    }

    #[test]
    fn padding_is_checked() {
        for (mut plain, expected) in [
            (vec![b'a', 1], Ok(b"a".to_vec())),
            (vec![16; 16], Ok(Vec::new())),
            (Vec::new(), Err(VaultError::Body)),
            (vec![b'a', 0], Err(VaultError::Body)),
            (vec![2], Err(VaultError::Body)),
            (vec![b'a', 3, 2], Err(VaultError::Body)),
            (vec![17; 17], Err(VaultError::Body)),
        ] {
            assert_eq!(unpad(&mut plain).map(|()| plain), expected);
        }
    }
}
