//! Any text as a file of variables: it is read or refused with its name, each variable is evaluated or refused within
//! bounds, the same each time, and what came from the environment is known as a secret.
#![no_main]

use std::collections::BTreeMap;

use drivetrain_kayobe::{Request, Variables, derive};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "\u{1f512}very secret\u{1f512}";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if text.contains('\u{1f512}') {
        return;
    }
    let environment = |_: &str| Some(SECRET.to_owned());
    let mut variables = Variables::empty(None, &environment, BTreeMap::new());
    if let Err(error) = variables.add("site.yml".into(), text) {
        assert!(error.to_string().contains("site.yml"));
        return;
    }
    let names: Vec<String> = variables.names().take(50).map(str::to_owned).collect();
    for name in &names {
        let first = variables.resolve(&[name]);
        match &first {
            Ok(Some(resolved)) => {
                let shows = resolved.value.text().is_some_and(|text| text.contains(SECRET));
                assert!(resolved.secret || !shows);
            }
            Ok(None) => panic!("{name} is defined"),
            Err(error) => assert!(!error.to_string().contains(SECRET)),
        }
    }
    let given = |key: &str| key == "publish.pulp";
    let request = Request { release: "9", arch: "x86_64", repositories: None, given: &given };
    match derive(&variables, &request) {
        Ok(site) => assert!(!format!("{site:?}").contains(SECRET)),
        Err(error) => assert!(!error.to_string().contains(SECRET)),
    }
});
