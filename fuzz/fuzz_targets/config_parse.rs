//! Any text as a configuration: it is read or refused with a reason, in bounded time, and no environment
//! variable's value shows in what is said.
#![no_main]

use drivetrain_config::parse;
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "\u{1f512}very secret\u{1f512}";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains(SECRET) {
        return;
    }
    let environment = |_: &str| Some(SECRET.to_owned());
    match parse(text, "drivetrain.yaml", &environment, "/site".into()) {
        Ok(config) => {
            assert!(!format!("{config:?}").contains(SECRET));
            let evidence = serde_json::to_string(&config.effective()).expect("settings are plain data");
            assert!(!evidence.contains(SECRET));
        }
        Err(error) => {
            assert!(!error.problems().is_empty());
            assert!(!error.to_string().contains(SECRET));
        }
    }
});
