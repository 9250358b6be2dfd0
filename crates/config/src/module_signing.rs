//! `driver.module_signing`: the certificates that modules are signed for, and who signs.

use camino::Utf8PathBuf;

use crate::fields::{Field, Fields, Key, key};
use crate::location::{absolute, is_url};
use crate::parse::Context;
use crate::problems::Problems;
use crate::train::secret;
use crate::tree::Value;
use crate::{ModuleHash, ModuleSigner, SignBy};

const SIGNER: &[Key] = &[
    key("certificate", "the file with the certificate that machines enrol"),
    key("hash", "the hash of the signatures, sha256 or sha512"),
    key("key", "the file with the private key"),
    key("passphrase", "what opens the key, as ${NAME} of an environment variable"),
    key("pkcs11", "the token that has the private key"),
    key("command", "the command that signs, as a list of its words"),
    key("exchange", "whether another host signs, by `drivetrain sign --export` and `--import`"),
];

const TOKEN: &[Key] = &[
    key("module", "the library that knows the token, such as /usr/lib64/pkcs11/libsofthsm2.so"),
    key("token", "the token's label"),
    key("label", "the key's label"),
    key("pin", "what opens the token, as ${NAME} of an environment variable"),
];

/// One for now and one for then.
const MAX_SIGNERS: usize = 4;
const WAYS: [&str; 4] = ["key", "pkcs11", "command", "exchange"];

pub(crate) fn read(
    field: &Field<'_>,
    context: &Context<'_>,
    problems: &mut Problems<'_>,
) -> Option<Vec<ModuleSigner>> {
    if !matches!(field.node.value, Value::Sequence(_)) {
        return signer(field, context, problems).map(|one| vec![one]);
    }
    let items = field.items("certificates with who signs for them", problems)?;
    if items.is_empty() || items.len() > MAX_SIGNERS {
        let message = format!("{} must have 1 to {MAX_SIGNERS} certificates", field.path);
        problems.add(field.key, message, Some("leave it out to leave modules as they are built".to_owned()));
        return None;
    }
    let total = items.len();
    let mut signers: Vec<ModuleSigner> = Vec::new();
    for item in &items {
        let Some(read) = signer(item, context, problems) else { continue };
        if signers.iter().any(|known| known.certificate == read.certificate) {
            problems.add(item.place(), format!("{} has the certificate of an earlier one", item.path), None);
        } else {
            signers.push(read);
        }
    }
    (signers.len() == total).then_some(signers)
}

fn signer(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<ModuleSigner> {
    let fields = field.fields(SIGNER, problems)?;
    let certificate =
        fields.require("certificate", problems).and_then(|field| path(&field, context, problems));
    let hash = match fields.get("hash") {
        None => Some(ModuleHash::default()),
        Some(field) => {
            field.word(&[("sha256", ModuleHash::Sha256), ("sha512", ModuleHash::Sha512)], problems)
        }
    };
    let by = by(&fields, context, problems);
    Some(ModuleSigner { certificate: certificate?, hash: hash?, by: by? })
}

fn by(fields: &Fields<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<SignBy> {
    let ways: Vec<Field<'_>> = WAYS.iter().filter_map(|way| fields.get(way)).collect();
    if ways.is_empty() && WAYS.iter().any(|way| fields.is_misspelt(way)) {
        return None;
    }
    let [_] = ways.as_slice() else {
        let message = format!("{} must have one of `key`, `pkcs11`, `command` and `exchange`", fields.path);
        problems.add(ways.get(1).map_or(fields.anchor(), |second| second.key), message, None);
        return None;
    };
    if let (Some(passphrase), None) = (fields.get("passphrase"), fields.get("key")) {
        problems.add(passphrase.key, format!("{} goes with `key`", passphrase.path), None);
        return None;
    }
    if let Some(field) = fields.get("key") {
        let file = path(&field, context, problems);
        let passphrase = match fields.get("passphrase") {
            None => Some(None),
            Some(field) => secret(&field, true, context, problems).map(Some),
        };
        return Some(SignBy::Key { file: file?, passphrase: passphrase? });
    }
    if let Some(field) = fields.get("pkcs11") {
        return token(&field, context, problems);
    }
    if let Some(field) = fields.get("command") {
        return command(&field, problems);
    }
    let field = fields.get("exchange")?;
    if field.boolean(problems)? {
        return Some(SignBy::Exchange);
    }
    problems.add(field.place(), format!("{} can only be `true`", field.path), None);
    None
}

fn token(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<SignBy> {
    let fields = field.fields(TOKEN, problems)?;
    let module = fields.require("module", problems).and_then(|field| path(&field, context, problems));
    let mut text = |name, what| {
        let field = fields.require(name, problems)?;
        field.text(what, problems).map(str::to_owned)
    };
    let (token, label) = (text("token", "a token's label"), text("label", "a key's label"));
    let pin = fields.require("pin", problems).and_then(|field| secret(&field, true, context, problems));
    Some(SignBy::Pkcs11 { module: module?, token: token?, label: label?, pin: pin? })
}

fn command(field: &Field<'_>, problems: &mut Problems<'_>) -> Option<SignBy> {
    let items = field.items("the words of a command", problems)?;
    let total = items.len();
    let words: Vec<String> =
        items.iter().filter_map(|item| item.text("a word", problems)).map(str::to_owned).collect();
    if total == 0 {
        problems.add(field.place(), format!("{} is empty, and names no program", field.path), None);
        return None;
    }
    (words.len() == total).then_some(SignBy::Command(words))
}

fn path(field: &Field<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Utf8PathBuf> {
    field.parsed("a path", problems, |text| {
        if is_url(text) {
            Err("a file of this host is needed, and this is a URL")
        } else {
            Ok(absolute(context.base_dir, text))
        }
    })
}
