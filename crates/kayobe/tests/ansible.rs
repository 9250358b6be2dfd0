//! Expressions as Ansible itself evaluates them.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::process::Command;

use camino::Utf8Path;
use drivetrain_kayobe::{Layers, Password, Variables, given};
use tempfile::TempDir;

/// Asks Ansible for every variable of a file: JSON, with null for what it refuses.
const ASK: &str = "
import json, sys
from ansible.parsing.dataloader import DataLoader
from ansible.parsing.vault import VaultSecret
from ansible.template import Templar
loader = DataLoader()
loader.set_vault_secrets([('default', VaultSecret(b'wrk-pass'))])
variables = loader.load_from_file(sys.argv[1])
templar = Templar(loader, variables=dict(variables))
found = {}
for name in variables:
    try:
        value = templar.template(variables[name])
        found[name] = '' if value is None else '(list)' if isinstance(value, list) else '(map)' if isinstance(value, dict) else str(value)
    except Exception:
        found[name] = None
print(json.dumps(found))
";

const EXPRESSIONS: &str = r#"---
minor: 4
version: 24.10
quoted: "24.10"
flag: yes
off_: off
nothing:
octal: 010
word: rocky
url: https://ark.example.com/pulp
items: [a, b, c]
table: {one: 1, two: "{{ word }}"}
found_9_4_x: 20240816T002610
whole: "{{ minor }}"
text: "9.{{ minor }}"
floating: "v{{ version }} {{ quoted }}"
truth: "{{ flag }} {{ off_ }}"
truth_whole: "{{ flag }}"
truth_made: "{{ flag | bool and not off_ | bool }}"
empty: "a{{ nothing }}b"
looked_up: "{{ lookup('vars', 'found_9_%s_x' % minor) }}"
looked_up_query: "{{ q('vars', 'found_9_4_x') | first }}"
looked_up_default: "{{ lookup('vars', 'not_there', default='d') }}"
formatted: "{{ '%s-%d-%%-%s' % ('a', 7, nothing) }}"
chosen: "{{ 'https' if flag | bool else 'http' }}://x"
chosen_else: "{{ ('9.' + minor | string) if off_ | bool else '9' }}"
defaulted: "{{ absent | default('x') }}"
defaulted_empty: "{{ nothing | default('x', true) }}"
defaulted_not: "{{ off_ | default('x') }}"
deep: "{{ absent.deeper.still | default('y') }}"
through: "{{ broken | default('z') }}"
broken: "{{ absent }}"
stripped: "{{ url | regex_replace('^https?://', '') }}"
grouped: "{{ url | regex_replace('([a-z]+)://([a-z]+)', '\\2-\\1') }}"
joined: "{{ items | join('-') }}"
first_: "{{ items | first }}{{ items.0 }}{{ items[-1] }}"
contains: "{{ 'b' in items }} {{ 'z' not in items }} {{ 'ark' in url }}"
element: "{{ table.two }}{{ table['one'] }}"
listed: "{{ items + ['d'] }}"
combined: "{{ table | combine({'three': 3}) }}"
combined_element: "{{ (table | combine({'one': 3})).one }}"
ternary_: "{{ flag | ternary('a', 'b') }}{{ nothing | ternary('a', 'b', 'c') }}"
replaced: "{{ url | replace('https', 'http') | upper }}"
lengths: "{{ items | length }} {{ url | length }}"
trimmed: "{{ '  a ' | trim }}."
splitted: "{{ 'a.b.c'.split('.')[1] }}{{ ('a b' | split)[0] }}"
compared: "{{ minor == 4 }} {{ minor > 3 }} {{ version | string == '24.1' }}"
counted: "{{ minor + 1 }} {{ 7 // 2 }} {{ minor * 2 - 1 }} {{ '12' | int + 1 }}"
concatenated: "{{ minor ~ '.' ~ word }}"
defined_: "{{ minor is defined }} {{ absent is undefined }} {{ nothing is none }}"
matched: "{{ word is match('ro') }} {{ word is search('ck') }} {{ word is match('ck') }}"
lowered: "{{ 'ABC' | lower }}"
conditional: "{% if flag %}a{% else %}b{% endif %}c"
started: "{{ url.startswith('https') }}"
unsafe_: !unsafe "{{ word }}"
comment: "a{# not shown #}b"
multi: >-
  {{ word }}
  {{ minor }}
kept: |
  {{ word }}
sealed: SEALED
with_sealed: "x{{ sealed }}"
used_and_gone: "{{ absent | lower | default('x') }}"
circle: "{{ circle2 }}"
circle2: "{{ circle }}"
"#;

/// The lab's Kayobe has an Ansible.
fn python() -> Option<std::path::PathBuf> {
    let lab = std::env::var_os("DRIVETRAIN_LAB").map_or_else(
        || Utf8Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.lab").into_std_path_buf(),
        Into::into,
    );
    let python = lab.join("kayobe/venv/bin/python");
    python.is_file().then_some(python)
}

#[test]
fn every_expression_comes_to_what_ansible_says() {
    let Some(python) = python() else {
        eprintln!("no Kayobe in the lab: `cargo run -p drivetrain-lab -- kayobe install` makes one");
        return;
    };
    let directory = TempDir::new().unwrap();
    let root = Utf8Path::from_path(directory.path()).unwrap();
    let expressions = EXPRESSIONS.replace("SEALED\n", include_str!("sealed.yml.in"));
    fs_err::write(root.join("globals.yml"), expressions).unwrap();
    let output = Command::new(python)
        .args(["-c", ASK, root.join("globals.yml").as_str()])
        .env("ANSIBLE_LOCAL_TEMP", root.join("tmp"))
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let expected: serde_json::Map<String, serde_json::Value> =
        serde_json::from_slice(&output.stdout).unwrap();
    assert!(expected.len() > 60);

    let layers = Layers::find(root, None).unwrap();
    let env = |_: &str| None;
    let variables =
        Variables::read(&layers, Password::new("wrk-pass"), &env, given(&layers, "9", "x86_64")).unwrap();
    let mut wrong = Vec::new();
    for (name, expected) in &expected {
        let found = match variables.resolve(&[name]) {
            Err(_) => None,
            Ok(resolved) => resolved.map(|resolved| {
                resolved.value.text().unwrap_or_else(|| match resolved.value {
                    drivetrain_kayobe::Value::List(_) => "(list)".to_owned(),
                    _ => "(map)".to_owned(),
                })
            }),
        };
        if found.as_deref() != expected.as_str() {
            wrong.push(format!("{name}: {found:?}, and Ansible says {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
