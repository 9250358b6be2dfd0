//! Keys in tokens, by PKCS #11: hardware security modules, smart cards, SoftHSM.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use camino::Utf8PathBuf;
use cryptoki::context::{CInitializeArgs, CInitializeFlags, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, KeyType, ObjectClass, ObjectHandle};
use cryptoki::session::{Session, UserType};
use cryptoki::types::AuthPin;

use crate::{ModuleDigest, RawSignature, SignError, Signer};

/// A token's private key, with a session that is logged in. Not shown by `Debug`.
pub struct Token {
    // A session is of one thread at a time, and ends before its context.
    session: Mutex<(Session, ObjectHandle)>,
    name: String,
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.name)
    }
}

/// Why a token cannot be signed with.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The library.
    #[error("the PKCS #11 module {module} cannot be loaded")]
    Module {
        /// Its file.
        module: Utf8PathBuf,
        /// Why.
        #[source]
        source: Error,
    },
    /// There is no such token.
    #[error("there is no token {token:?} in {module}; there is {found}")]
    NoToken {
        /// Its label.
        token: String,
        /// The library.
        module: Utf8PathBuf,
        /// What there is.
        found: String,
    },
    /// Several have the same label.
    #[error("{count} tokens in {module} are called {token:?}: give them labels of their own")]
    Tokens {
        /// Their label.
        token: String,
        /// The library.
        module: Utf8PathBuf,
        /// How many.
        count: usize,
    },
    /// The PIN does not open it.
    #[error("the PIN does not open the token {0:?}; after a few wrong ones it locks itself")]
    Pin(String),
    /// It has locked itself.
    #[error("the token {0:?} is locked after too many wrong PINs: whoever administers it can set a new one")]
    PinLocked(String),
    /// No such key, or several.
    #[error("the token {token:?} has {count} private RSA keys with the label {label:?}, and one is needed")]
    Key {
        /// The token.
        token: String,
        /// The key.
        label: String,
        /// How many there are.
        count: usize,
    },
    /// Something else.
    #[error("the token {token:?} refuses: {what}")]
    Refused {
        /// The token.
        token: String,
        /// What was tried.
        what: &'static str,
        /// Why.
        #[source]
        source: Error,
    },
}

impl Token {
    /// Opens a token by the library that knows it, and finds a key by its label.
    ///
    /// # Errors
    /// Where one of them is not there, or the PIN is wrong.
    pub fn open(module: &Utf8PathBuf, token: &str, label: &str, pin: &str) -> Result<Self, TokenError> {
        let context = context(module)?;
        let slot = slot(&context, module, token)?;
        let refused = |what| move |source| TokenError::Refused { token: token.to_owned(), what, source };
        let session = context.open_ro_session(slot).map_err(refused("to open a session"))?;
        match session.login(UserType::User, Some(&AuthPin::from(pin.to_owned()))) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {}
            Err(Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _)) => {
                return Err(TokenError::Pin(token.to_owned()));
            }
            Err(Error::Pkcs11(RvError::PinLocked, _)) => return Err(TokenError::PinLocked(token.to_owned())),
            Err(source) => return Err(refused("to log in")(source)),
        }
        let wanted = [
            Attribute::Class(ObjectClass::PRIVATE_KEY),
            Attribute::KeyType(KeyType::RSA),
            Attribute::Label(label.as_bytes().to_vec()),
        ];
        let keys = session.find_objects(&wanted).map_err(refused("to look for a key"))?;
        let [key] = keys.as_slice() else {
            let (token, label) = (token.to_owned(), label.to_owned());
            return Err(TokenError::Key { token, label, count: keys.len() });
        };
        let name = format!("the key {label:?} of the token {token:?}");
        Ok(Self { session: Mutex::new((session, *key)), name })
    }
}

/// A library is initialised once in a process, however many of its tokens are used.
fn context(module: &Utf8PathBuf) -> Result<Pkcs11, TokenError> {
    static LOADED: Mutex<Vec<(Utf8PathBuf, Pkcs11)>> = Mutex::new(Vec::new());
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, context)) = loaded.iter().find(|(known, _)| known == module) {
        return Ok(context.clone());
    }
    let fail = |source| TokenError::Module { module: module.clone(), source };
    let context = Pkcs11::new(module).map_err(fail)?;
    match context.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK)) {
        Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => {}
        Err(source) => return Err(fail(source)),
    }
    loaded.push((module.clone(), context.clone()));
    Ok(context)
}

fn slot(context: &Pkcs11, module: &Utf8PathBuf, token: &str) -> Result<cryptoki::slot::Slot, TokenError> {
    let fail = |source| TokenError::Module { module: module.clone(), source };
    let mut labels = Vec::new();
    let mut fitting = Vec::new();
    for slot in context.get_slots_with_initialized_token().map_err(fail)? {
        let info = context.get_token_info(slot).map_err(fail)?;
        let label = info.label().trim_end().to_owned();
        if label == token {
            fitting.push(slot);
        }
        labels.push(format!("{label:?}"));
    }
    match fitting.as_slice() {
        [one] => Ok(*one),
        [] => {
            let found = if labels.is_empty() { "none".to_owned() } else { labels.join(", ") };
            Err(TokenError::NoToken { token: token.to_owned(), module: module.clone(), found })
        }
        several => {
            Err(TokenError::Tokens { token: token.to_owned(), module: module.clone(), count: several.len() })
        }
    }
}

impl Signer for Token {
    fn describe(&self) -> String {
        self.name.clone()
    }

    fn sign(&self, digests: &[ModuleDigest]) -> Result<Vec<RawSignature>, SignError> {
        let held = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        let (session, key) = &*held;
        let sign = |digest: &ModuleDigest| {
            // The plain mechanism over the DigestInfo: every token has it.
            session.sign(&Mechanism::RsaPkcs, *key, &digest.digest_info()).map_err(|source| {
                let (token, what) = (self.name.clone(), "to sign");
                SignError::Token(TokenError::Refused { token, what, source })
            })
        };
        digests.iter().map(sign).collect()
    }
}
