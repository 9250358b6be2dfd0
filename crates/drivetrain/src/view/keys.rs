//! What there is to sign with, as text.

use std::fmt::Write as _;

use crate::command::keys::{Keys, ModuleKey, PackageKeyFound};
use crate::stage::modsign::SOON;

/// All of it; `complete` where nothing that is configured is left out.
pub fn keys(keys: &Keys, complete: bool) -> String {
    let mut text = String::new();
    keys.modules.iter().for_each(|key| module(&mut text, key));
    keys.packages.iter().for_each(|key| package(&mut text, key));
    if text.is_empty() && complete {
        text.push_str(
            "Nothing is signed: neither driver.module_signing nor publish.sign is in the configuration.\n",
        );
    }
    text
}

// Writing to a string cannot fail.
fn module(text: &mut String, key: &ModuleKey) {
    let _ = writeln!(text, "modules      for the certificate {}", key.subject);
    let _ = writeln!(text, "  fingerprint  {}", key.fingerprint);
    let _ = writeln!(text, "  key          RSA, {} bits; signatures of {}", key.bits, key.hash);
    let until = key.not_after.strftime("%Y-%m-%d");
    let soon = if key.ends_soon {
        ": soon; sign for the next one besides, so that machines can enrol it first"
    } else {
        ""
    };
    let _ = writeln!(text, "  valid until  {until}{soon}");
    let _ = writeln!(text, "  signed by    {}", key.signer);
    let signs = match key.signs {
        Some(_) => "a signature was made and verified",
        None => "no: the key is elsewhere",
    };
    let _ = writeln!(text, "  tried        {signs}");
}

fn package(text: &mut String, key: &PackageKeyFound) {
    let _ = writeln!(text, "packages     by the key of {}", key.user);
    let _ = writeln!(text, "  fingerprint  {}", key.fingerprint);
    if key.ends_soon {
        let _ = writeln!(
            text,
            "  ends         within {SOON} days: prolong it; consumers get the new public key with the next run"
        );
    }
    let _ = writeln!(text, "  signed by    {}", key.signer);
    let _ = writeln!(text, "  tried        a signature was made and verified");
}
