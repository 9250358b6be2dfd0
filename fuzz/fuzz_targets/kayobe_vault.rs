//! Any text as an Ansible Vault: it opens or is refused, and a text without the mark never opens.
#![no_main]

use drivetrain_kayobe::vault::{Password, is_vault, open};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let password = Password::new("a password").expect("it is not empty");
    // Behind the header too: that is otherwise hard to come by.
    let headed = format!("$ANSIBLE_VAULT;1.1;AES256\n{text}");
    for text in [text, &headed] {
        let opened = open(text, &password);
        assert!(opened.is_err() || is_vault(text));
    }
});
