//! What is noted in labels, and how.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use drivetrain_model::{Architecture, Cell, DriverVersion, KernelRelease, RunId, Sha256Digest, TrainName};
use drivetrain_pulp::{Href, Labels};
use url::form_urlencoded;

use crate::{Action, Address, BootedWith, HistoryEntry, Lockstep, Record, Verdicts};

/// Marks what drivetrain made.
pub(super) const MARK: &str = "drivetrain";
pub(super) const STAGING: &str = "drivetrain_staging";
pub(super) const PENDING: &str = "drivetrain_pending";
pub(super) const FLIP: &str = "drivetrain_flip";
const RECORD: &str = "drivetrain_record";
const REPOSITORY: &str = "drivetrain_repository";
const VERSION: &str = "drivetrain_version_";
const CHANGE: &str = "drivetrain_change_";

/// How many changes a distribution remembers.
const CHANGES: usize = 50;

/// A version of a repository, with what it was made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Noted {
    pub(super) version: u64,
    pub(super) publication: Href,
    pub(super) repomd: Sha256Digest,
    pub(super) record: Record,
}

/// Parts as a form writes them: no `,`, `(` or `)`, whatever is in them.
pub(super) fn encode(parts: &[(&str, String)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(parts).finish()
}

pub(super) fn decode(text: &str) -> BTreeMap<String, String> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

impl Noted {
    pub(super) fn encode(&self) -> String {
        let record = &self.record;
        let mut parts = vec![
            ("version", self.version.to_string()),
            ("publication", self.publication.to_string()),
            ("repomd", self.repomd.to_string()),
            ("lock", record.lock.to_string()),
            ("run", record.run.to_string()),
            ("made", record.made.to_string()),
            ("packages", record.packages.to_string()),
            ("name", record.driver_name.clone()),
            ("train", record.cell.train.to_string()),
            ("arch", record.cell.arch.to_string()),
            ("kernel", record.cell.kernel.to_string()),
            ("driver", record.cell.driver.to_string()),
        ];
        if let Some(verdicts) = &record.verdicts {
            parts.extend([
                ("modules", verdicts.modules.to_string()),
                ("symbols", verdicts.symbols.to_string()),
                ("installed", verdicts.installed.to_string()),
                ("from_train", verdicts.from_train.to_string()),
            ]);
            if let Some(booted) = &verdicts.booted {
                parts.extend([
                    ("booted", booted.modules.to_string()),
                    ("boot_problems", booted.problems.to_string()),
                    ("boot_functional", booted.functional.to_string()),
                ]);
            }
        }
        let signatures = [
            ("signed_by", &record.signed_by),
            ("metadata_signed_by", &record.metadata_signed_by),
            ("keys", &record.keys.as_ref().and_then(|keys| keys.first().cloned())),
        ];
        parts.extend(signatures.into_iter().filter_map(|(key, value)| Some((key, value.clone()?))));
        if let Some(lockstep) = &record.lockstep {
            let kernels: Vec<&str> = lockstep.kernels.iter().map(KernelRelease::as_str).collect();
            parts.extend([("lockstep", lockstep.package.clone()), ("kernels", kernels.join(" "))]);
        }
        encode(&parts)
    }

    /// `None` where somebody else wrote it, or a drivetrain that knows more than this one.
    pub(super) fn decode(text: &str) -> Option<Self> {
        let parts = decode(text);
        let part = |key: &str| parts.get(key).map(String::as_str);
        let booted = || {
            Some(BootedWith {
                modules: number(part("booted"))?,
                problems: number(part("boot_problems"))?,
                functional: part("boot_functional")? == "true",
            })
        };
        let verdicts = || {
            Some(Verdicts {
                modules: number(part("modules"))?,
                symbols: number(part("symbols"))?,
                installed: number(part("installed"))?,
                from_train: number(part("from_train"))?,
                booted: booted(),
            })
        };
        let lockstep = part("lockstep").map(|package| Lockstep {
            package: package.to_owned(),
            kernels: part("kernels")
                .unwrap_or_default()
                .split(' ')
                .filter_map(|kernel| KernelRelease::parse(kernel).ok())
                .collect(),
        });
        let cell = Cell {
            train: TrainName::parse(part("train")?).ok()?,
            arch: Architecture::parse(part("arch")?).ok()?,
            kernel: KernelRelease::parse(part("kernel")?).ok()?,
            driver: DriverVersion::parse(part("driver")?).ok()?,
        };
        Some(Self {
            version: number(part("version"))?,
            publication: Href::parse(part("publication")?).ok()?,
            repomd: Sha256Digest::parse(part("repomd")?).ok()?,
            record: Record {
                driver_name: part("name")?.to_owned(),
                cell,
                lock: Sha256Digest::parse(part("lock")?).ok()?,
                run: RunId::parse(part("run")?).ok()?,
                made: part("made")?.parse().ok()?,
                packages: number(part("packages"))?,
                verdicts: verdicts(),
                lockstep,
                signed_by: part("signed_by").map(str::to_owned),
                metadata_signed_by: part("metadata_signed_by").map(str::to_owned),
                keys: Some(part("keys").map(str::to_owned).into_iter().collect()),
            },
        })
    }

    /// The label of the repository that holds it.
    pub(super) fn label(&self) -> (String, String) {
        (version_label(self.version), self.encode())
    }
}

pub(super) fn version_label(version: u64) -> String {
    format!("{VERSION}{version}")
}

fn number<T: FromStr>(text: Option<&str>) -> Option<T> {
    text?.parse().ok()
}

/// The versions that a repository's labels tell of, by number.
pub(super) fn versions(labels: &Labels) -> BTreeMap<u64, Noted> {
    let ours = labels.iter().filter(|(key, _)| key.starts_with(VERSION));
    let noted = ours.filter_map(|(_, value)| Noted::decode(value));
    noted.map(|noted| (noted.version, noted)).collect()
}

/// What a distribution's labels say that it serves.
pub(super) fn served(labels: &Labels) -> Option<Noted> {
    Noted::decode(labels.get(RECORD)?)
}

/// The name of the repository that a distribution belongs to.
pub(super) fn repository(labels: &Labels) -> Option<&str> {
    labels.get(REPOSITORY).map(String::as_str)
}

/// A change, as one label holds it.
pub(super) fn encode_change(entry: &HistoryEntry) -> String {
    let mut parts = vec![
        ("at", entry.at.to_string()),
        ("action", action_word(entry.action).to_owned()),
        ("version", entry.version.to_string()),
        ("run", entry.run.to_string()),
        ("by", entry.by.clone()),
        ("why", entry.why.clone()),
    ];
    if let Some(from) = entry.from {
        parts.push(("from", from.to_string()));
    }
    encode(&parts)
}

pub(super) fn decode_change(text: &str) -> Option<HistoryEntry> {
    let parts = decode(text);
    let part = |key: &str| parts.get(key).map(String::as_str);
    Some(HistoryEntry {
        at: part("at")?.parse().ok()?,
        action: action(part("action")?)?,
        version: number(part("version"))?,
        from: number(part("from")),
        run: RunId::parse(part("run")?).ok()?,
        by: part("by")?.to_owned(),
        why: part("why")?.to_owned(),
    })
}

const ACTIONS: [(&str, Action); 4] = [
    ("publish", Action::Publish),
    ("promote", Action::Promote),
    ("rollback", Action::Rollback),
    ("found", Action::Found),
];

fn action_word(action: Action) -> &'static str {
    ACTIONS.iter().find(|(_, known)| *known == action).map_or("found", |(word, _)| word)
}

fn action(word: &str) -> Option<Action> {
    ACTIONS.iter().find(|(known, _)| *known == word).map(|(_, action)| *action)
}

/// The changes of a distribution, oldest first.
pub(super) fn history(labels: &Labels) -> Vec<HistoryEntry> {
    numbered(labels).values().filter_map(|text| decode_change(text)).collect()
}

fn numbered(labels: &Labels) -> BTreeMap<u64, &str> {
    let ours =
        labels.iter().filter_map(|(key, value)| Some((key.strip_prefix(CHANGE)?.parse().ok()?, value)));
    ours.map(|(number, value): (u64, &String)| (number, value.as_str())).collect()
}

/// The labels of a repository of drivetrain's.
pub(super) fn of_repository(record: &Record) -> Labels {
    let mut labels = facts(record);
    labels.insert(MARK.to_owned(), "1".to_owned());
    labels
}

/// All labels of a distribution that serves a version from now on. Those of others stay as they are.
pub(super) fn of_distribution(
    before: &Labels,
    address: &Address,
    repository: &str,
    noted: &Noted,
    change: &HistoryEntry,
) -> Labels {
    let foreign = before.iter().filter(|(key, _)| !key.starts_with(MARK));
    let mut labels: Labels = foreign.map(|(key, value)| (key.clone(), value.clone())).collect();
    labels.extend(address.labels.clone());
    labels.extend(facts(&noted.record));
    let mut put = |key: &str, value: &dyn Display| labels.insert(key.to_owned(), allowed(&value.to_string()));
    put(MARK, &1);
    put(REPOSITORY, &repository);
    put("drivetrain_version", &noted.version);
    put("drivetrain_run", &noted.record.run);
    put("drivetrain_lock", &noted.record.lock);
    put("drivetrain_since", &change.at);
    if let Some(verdicts) = &noted.record.verdicts {
        put("drivetrain_proof", &in_words(verdicts));
    }
    if let Some(key) = &noted.record.signed_by {
        put("drivetrain_signed_by", key);
    }
    if let Some(key) = &noted.record.metadata_signed_by {
        put("drivetrain_metadata_signed_by", key);
    }
    labels.insert(RECORD.to_owned(), noted.encode());
    let changes = numbered(before);
    let next = changes.keys().next_back().map_or(1, |last| last + 1);
    let kept = changes.into_iter().rev().take(CHANGES - 1);
    labels.extend(kept.map(|(number, text)| (change_label(number), text.to_owned())));
    labels.insert(change_label(next), encode_change(change));
    labels
}

fn change_label(number: u64) -> String {
    format!("{CHANGE}{number:08}")
}

/// For whoever looks with another tool.
fn in_words(verdicts: &Verdicts) -> String {
    let booted = match &verdicts.booted {
        None => String::new(),
        Some(booted) => {
            let works = if booted.functional { " and work" } else { "" };
            let wrong = match booted.problems {
                0 => String::new(),
                problems => format!("; problems: {problems}"),
            };
            format!("; {} load in the booted kernel{works}{wrong}", booted.modules)
        }
    };
    format!(
        "{} modules with {} symbols fit the kernel; {} packages install with {} of the train{booted}",
        verdicts.modules, verdicts.symbols, verdicts.installed, verdicts.from_train
    )
}

fn facts(record: &Record) -> Labels {
    let cell = &record.cell;
    [
        ("drivetrain_name", record.driver_name.clone()),
        ("drivetrain_train", cell.train.to_string()),
        ("drivetrain_kernel", cell.kernel.to_string()),
        ("drivetrain_driver", cell.driver.to_string()),
        ("drivetrain_arch", cell.arch.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), allowed(&value)))
    .collect()
}

/// Without what the server refuses in a label's value.
fn allowed(text: &str) -> String {
    text.chars().map(|c| if matches!(c, ',' | '(' | ')') || c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RepositoryPath;
    use proptest::prelude::*;

    fn noted(version: u64) -> Noted {
        Noted {
            version,
            publication: Href::parse("/pulp/api/v3/publications/rpm/rpm/0192/").unwrap(),
            repomd: Sha256Digest::of(b"repomd"),
            record: Record {
                driver_name: "doca-ofed".to_owned(),
                cell: Cell {
                    train: TrainName::parse("rocky-9.4").unwrap(),
                    arch: Architecture::parse("x86_64").unwrap(),
                    kernel: KernelRelease::parse("5.14.0-427.31.1.el9_4.x86_64").unwrap(),
                    driver: DriverVersion::parse("3.2.0").unwrap(),
                },
                lock: Sha256Digest::of(b"lock"),
                run: RunId::parse("20261124T031500Z-k3x9").unwrap(),
                made: "2026-11-24T03:15:00Z".parse().unwrap(),
                packages: 32,
                verdicts: Some(Verdicts {
                    modules: 18,
                    symbols: 2945,
                    installed: 14,
                    from_train: 27,
                    booted: Some(BootedWith { modules: 18, problems: 0, functional: true }),
                }),
                lockstep: None,
                signed_by: None,
                metadata_signed_by: None,
                keys: Some(Vec::new()),
            },
        }
    }

    fn change(version: u64, why: &str) -> HistoryEntry {
        HistoryEntry {
            at: "2026-11-24T03:16:00Z".parse().unwrap(),
            action: Action::Publish,
            version,
            from: version.checked_sub(1),
            run: RunId::parse("20261124T031500Z-k3x9").unwrap(),
            by: "anna@control".to_owned(),
            why: why.to_owned(),
        }
    }

    fn address() -> Address {
        RepositoryPath::parse("rocky-9.4/3.2.0/5.14.0-427.31.1.el9_4.x86_64/x86_64").unwrap().into()
    }

    #[test]
    fn what_an_operator_finds_on_a_distribution() {
        let labels = of_distribution(
            &Labels::new(),
            &address(),
            "doca",
            &noted(7),
            &change(7, "CVE-2026-1 (urgent), now"),
        );
        let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}: {value}")).collect();
        insta::assert_snapshot!(text.join("\n"));
    }

    #[test]
    fn a_distribution_remembers_the_last_changes_and_what_others_noted() {
        let mut labels = Labels::from([("team".to_owned(), "storage".to_owned())]);
        for version in 1..=60 {
            labels = of_distribution(&labels, &address(), "doca", &noted(version), &change(version, "x"));
        }
        let history = history(&labels);
        let versions: Vec<u64> = history.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, (11..=60).collect::<Vec<_>>());
        assert_eq!(labels.get("team").map(String::as_str), Some("storage"));
        assert_eq!(served(&labels), Some(noted(60)));
    }

    #[test]
    fn the_kernels_of_a_repository_for_several_survive_their_label() {
        let mut noted = noted(3);
        noted.record.lockstep = Some(Lockstep {
            package: "doca-ofed-lockstep".to_owned(),
            kernels: ["6.1.0-56-cloud", "6.1.0-55-cloud"].map(|text| text.parse().unwrap()).to_vec(),
        });
        assert_eq!(Noted::decode(&noted.encode()), Some(noted));
    }

    #[test]
    fn who_signed_survives_its_label() {
        let mut noted = noted(3);
        noted.record.signed_by = Some("aa".repeat(20));
        noted.record.metadata_signed_by = Some("bb".repeat(20));
        noted.record.keys =
            Some(vec!["https://ark.example.com/pulp/content/drivetrain-keys/doca/1.asc".to_owned()]);
        let labels = of_distribution(&Labels::new(), &address(), "doca", &noted, &change(3, "x"));
        assert_eq!(served(&labels), Some(noted));
        assert_eq!(labels.get("drivetrain_signed_by"), Some(&"aa".repeat(20)));
    }

    proptest! {
        #[test]
        fn a_change_survives_its_label(by in "\\PC{0,40}", why in "\\PC{0,80}", version in 1..1000_u64) {
            let change = HistoryEntry { by, ..change(version, &why) };
            let text = encode_change(&change);
            prop_assert!(!text.contains([',', '(', ')']), "{}", text);
            prop_assert_eq!(decode_change(&text), Some(change));
        }

        #[test]
        fn labels_of_others_are_no_panic(text in "\\PC{0,200}") {
            drop(Noted::decode(&text));
            drop(decode_change(&text));
        }
    }
}
