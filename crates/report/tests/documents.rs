//! What people read of real runs: their journals, plans and verdicts are those of the lab.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use drivetrain_model::{ComponentName, RunId};
use drivetrain_report::{Coverage, Evidence, LogFile, Report, annotations, excerpt, summary};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn json<T: DeserializeOwned>(path: &Path) -> Option<T> {
    std::fs::read(path).ok().map(|bytes| serde_json::from_slice(&bytes).unwrap())
}

/// What a run left behind.
fn evidence(name: &str) -> Evidence {
    let directory = fixture(name);
    let journal = std::fs::read_to_string(directory.join("journal.jsonl")).unwrap();
    let log = std::fs::read(directory.join("picky-kmod.log")).ok().map(|log| {
        let message = "'struct net_device' has no member named 'gone_since_this_kernel'";
        let found = excerpt(&log[..], Some("picky-kmod-1.0/picky.c"), message).unwrap();
        let log = LogFile { path: "logs/picky-kmod.log".to_owned(), excerpt: Some(found) };
        (ComponentName::parse("picky-kmod").unwrap(), log)
    });
    let events: Vec<drivetrain_model::Stamped> =
        journal.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let started: Value = serde_json::to_value(&events[0]).unwrap();
    Evidence {
        run: RunId::parse(started["run"].as_str().unwrap()).unwrap(),
        events,
        plan: json(&directory.join("plan.json")),
        verdicts: json(&directory.join("verdicts.json")),
        build: json(&directory.join("build.json")),
        boot: json(&directory.join("boot.json")),
        logs: log.into_iter().collect(),
        held_back: BTreeMap::new(),
        files: files(&directory),
        running: false,
    }
}

/// The files beside a report: a boot has left what the kernel said.
fn files(directory: &Path) -> Vec<String> {
    let mut files = ["journal.jsonl", "logs/picky-kmod.log", "plan.json"].map(str::to_owned).to_vec();
    if directory.join("boot.json").exists() {
        files.extend(["boot-console.log", "boot.json"].map(str::to_owned));
    }
    files
}

fn report(name: &str) -> Report {
    Report::of(&evidence(name))
}

fn coverage() -> Coverage {
    json(&fixture("coverage.json")).unwrap()
}

/// Headings, landmarks, captions and the headings of columns, in the order of a page.
fn outline(page: &str) -> String {
    let mut outline = String::new();
    for tag in page.split('<').skip(1) {
        let name = tag.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        let text = tag.split_once('>').map_or("", |(_, text)| text).trim();
        match name {
            "h1" | "h2" | "h3" | "caption" | "title" => outline.push_str(&format!("{name} {text}\n")),
            "th" if tag.contains("scope=\"col\"") => outline.push_str(&format!("  column {text}\n")),
            "header" | "nav" | "main" | "footer" | "svg" => outline.push_str(&format!("{name}\n")),
            _ => {}
        }
    }
    outline
}

#[test]
fn a_run_that_held_back_a_kernel_is_told_as_markdown() {
    insta::assert_snapshot!("held_back", report("held-back").markdown());
}

#[test]
fn a_run_that_failed_is_told_as_markdown_with_its_first_error() {
    insta::assert_snapshot!("failed", report("failed").markdown());
}

#[test]
fn a_run_that_booted_the_kernel_says_what_became_of_each_module() {
    insta::assert_snapshot!("booted", report("booted").markdown());
    insta::assert_snapshot!("oops", report("oops").markdown());
}

#[test]
fn annotations_stand_on_the_line_of_the_error() {
    insta::assert_snapshot!(annotations(&report("failed")), @"::error title=picky-kmod does not build for kernel 6.1.0-56-cloud-amd64,file=picky-kmod-1.0/picky.c,line=8::'struct net_device' has no member named 'gone_since_this_kernel'");
    insta::assert_snapshot!(annotations(&report("held-back")), @"::warning title=Held back%3A 6.1.0-56-cloud-amd64,file=picky-kmod-1.0/picky.c,line=8::picky-kmod does not build for it: 'struct net_device' has no member named 'gone_since_this_kernel'%0Awithout RLSA-2026:0056 (Important): CVE-2026-5600, CVE-2026-5601");
}

#[test]
fn pages_have_landmarks_headings_and_captions() {
    insta::assert_snapshot!("held_back_page", outline(&report("held-back").html()));
    insta::assert_snapshot!("failed_page", outline(&report("failed").html()));
    insta::assert_snapshot!("booted_page", outline(&report("booted").html()));
    insta::assert_snapshot!("oops_page", outline(&report("oops").html()));
    insta::assert_snapshot!("coverage_page", outline(&coverage().html()));
}

#[test]
fn what_a_target_serves_and_lacks_is_told_as_markdown() {
    insta::assert_snapshot!("coverage", coverage().markdown());
}

#[test]
fn several_runs_have_a_table_on_top_and_what_needs_somebody_first() {
    let runs = [report("held-back"), report("failed")];
    assert_eq!(summary::headline(&runs), "1 of 2 cells are served");
    let text = summary::markdown(&runs);
    let table: String =
        text.lines().take_while(|line| !line.starts_with("###")).map(|line| format!("{line}\n")).collect();
    insta::assert_snapshot!(table, @r"
    ## 1 of 2 cells are served

    | Kernel | Driver | Train | Outcome | Built, reused, failed | Modules | Time |
    |---|---|---|---|---|---:|---:|
    | `6.1.0-55-cloud-amd64` | `3.2.0` | `lab-9.4` | **served**, 1 kernel held back | 3, 0, 0 | 3 | 9.0 s |
    | `6.1.0-56-cloud-amd64` | `3.2.0` | `lab-9.4` | **failed**: a component did not build | 2, 0, 1 |  | 8.4 s |
    ");
    let page = summary::html(&runs, &|report| Some(format!("{}/report.html", report.run)));
    assert!(page.contains(&format!("href=\"{}/report.html\"", runs[0].run)));
    insta::assert_snapshot!("summary_page", outline(&page));
    let read: Value = serde_json::from_str(&summary::json(&runs).unwrap()).unwrap();
    assert_eq!((&read["good"], &read["of"]), (&Value::from(1), &Value::from(2)));
    assert_eq!(summary::headline(&[]), "No cells");
    assert_eq!(summary::headline(&runs[..1]), "The cell is served");
    assert_eq!(summary::headline(&runs[1..]), "None of 1 cell is served");
}

#[test]
fn a_report_is_read_back_as_it_was_written() {
    for name in ["held-back", "failed", "booted", "oops"] {
        let report = report(name);
        assert_eq!(serde_json::from_str::<Report>(&report.json().unwrap()).unwrap(), report);
    }
    let coverage = coverage();
    assert_eq!(serde_json::from_str::<Coverage>(&coverage.json().unwrap()).unwrap(), coverage);
}

#[test]
fn a_run_that_was_killed_at_any_moment_has_a_report() {
    let whole = evidence("held-back");
    for length in 0..whole.events.len() {
        let mut cut = whole.clone();
        cut.events.truncate(length);
        if length % 2 == 0 {
            (cut.plan, cut.verdicts, cut.build) = (None, Some(Value::from("no verdicts")), None);
        }
        let report = Report::of(&cut);
        assert_eq!(report.exit, None);
        assert_eq!(report.headline(), "Killed: the next run goes on from here");
        assert!(report.html().ends_with("</html>\n"));
        assert!(report.markdown().starts_with("## Killed"));
        assert!(annotations(&report).starts_with("::error title=drivetrain::run "));
        cut.running = true;
        assert!(Report::of(&cut).markdown().starts_with("## Still running"));
    }
}

/// Ends tags, attributes, fences and commands; moves the cursor; turns the direction of writing.
const HOSTILE: &str = "\"'>--></style></script><script>alert(1)</script><img src=x onerror=alert(1)>\r\n::error::x\n```\n| [a](javascript:alert(1)) `b` \u{202e}\u{1b}[31m\0\u{200b}";

/// Puts the text everywhere where any text may be.
fn with_everywhere<T: Serialize + DeserializeOwned>(value: &T, text: &str) -> (T, usize) {
    let mut json = serde_json::to_value(value).unwrap();
    let mut paths = Vec::new();
    leaves(&json, String::new(), &mut paths);
    let mut changed = 0;
    for path in paths {
        let leaf = json.pointer_mut(&path).unwrap();
        let before = std::mem::replace(leaf, Value::from(text));
        if serde_json::from_value::<T>(json.clone()).is_err() {
            *json.pointer_mut(&path).unwrap() = before;
        } else {
            changed += 1;
        }
    }
    (serde_json::from_value(json).unwrap(), changed)
}

fn leaves(value: &Value, path: String, found: &mut Vec<String>) {
    match value {
        Value::String(_) => found.push(path),
        Value::Array(items) => {
            for (position, item) in items.iter().enumerate() {
                leaves(item, format!("{path}/{position}"), found);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                leaves(member, format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
            }
        }
        _ => {}
    }
}

#[track_caller]
fn acts_on_nobody(text: &str) {
    let acting = |c: &char| (c.is_control() && !"\n\t".contains(*c)) || "\u{202e}\u{200b}".contains(*c);
    assert_eq!(text.chars().find(acting), None);
}

#[track_caller]
fn is_safe_page(page: &str, scripts: usize) {
    acts_on_nobody(page);
    assert_eq!(page.matches("<script").count(), scripts);
    assert_eq!(page.matches("</script").count(), scripts);
    assert_eq!(page.matches("<style").count(), 1);
    assert!(!page.contains("<img"));
    assert!(!page.contains("href=\"javascript"));
}

/// A line without what is code in it: what stands between runs of as many backticks.
fn outside_code(line: &str) -> String {
    let mut outside = String::new();
    let mut rest = line;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].chars().take_while(|c| *c == '`').count();
        let (before, after) = (&rest[..start], &rest[start + ticks..]);
        outside.push_str(before);
        if before.ends_with('\\') {
            rest = after;
            continue;
        }
        let mut end = None;
        let mut at = 0;
        while let Some(next) = after[at..].find('`') {
            let run = after[at + next..].chars().take_while(|c| *c == '`').count();
            if run == ticks {
                end = Some(at + next + run);
                break;
            }
            at += next + run;
        }
        rest = end.map_or(after, |end| &after[end..]);
    }
    outside + rest
}

#[test]
fn names_messages_and_logs_cannot_act_on_a_reader() {
    for name in ["held-back", "failed", "booted", "oops"] {
        let (report, changed) = with_everywhere(&report(name), HOSTILE);
        assert!(changed > 40, "{changed}");
        is_safe_page(&report.html(), 0);
        is_safe_page(
            &summary::html(std::slice::from_ref(&report), &|_| Some("javascript:alert(1)".to_owned())),
            0,
        );
        for text in [report.markdown(), summary::markdown(std::slice::from_ref(&report))] {
            acts_on_nobody(&text);
            let mut fenced = None;
            for line in text.lines() {
                let ticks = line.len() - line.trim_start_matches('`').len();
                match fenced {
                    None if ticks >= 3 => fenced = Some(ticks),
                    Some(open) if ticks >= open && line.len() == ticks => fenced = None,
                    Some(_) => {}
                    None => {
                        let outside = outside_code(line);
                        assert!(!outside.contains("<script") && !outside.contains("<img"), "{line}");
                    }
                }
            }
            assert_eq!(fenced, None);
        }
        let commands = annotations(&report);
        acts_on_nobody(&commands);
        assert!(commands.lines().all(|line| line.starts_with("::error ") || line.starts_with("::warning ")));
        assert_eq!(
            commands.lines().count(),
            report.first_errors.len()
                + report.held_back.len()
                + report.warnings.len()
                + report.problems.len()
        );
    }
    let (coverage, changed) = with_everywhere(&coverage(), HOSTILE);
    assert!(changed > 10, "{changed}");
    is_safe_page(&coverage.html(), 1);
    acts_on_nobody(&coverage.markdown());
}

/// The values of an attribute.
fn attributes<'p>(page: &'p str, name: &str) -> Vec<&'p str> {
    page.split(&format!(" {name}=\"")).skip(1).map(|rest| rest.split('"').next().unwrap()).collect()
}

#[test]
fn a_page_asks_for_nothing_else_and_its_links_lead_somewhere() {
    let runs = [report("held-back"), report("failed")];
    for page in [
        report("booted").html(),
        report("oops").html(),
        runs[0].html(),
        runs[1].html(),
        summary::html(&runs, &|_| None),
        coverage().html(),
    ] {
        for name in ["src", "style", "onclick", "srcset"] {
            assert_eq!(attributes(&page, name), Vec::<&str>::new());
        }
        assert!(!page.contains("@import") && !page.contains("url(") && !page.contains("<link"));
        assert!(page.contains(
            "http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-"
        ));
        let ids = attributes(&page, "id");
        let unique: BTreeSet<&str> = ids.iter().copied().collect();
        assert_eq!(ids.len(), unique.len(), "{ids:?}");
        for link in attributes(&page, "href") {
            if let Some(id) = link.strip_prefix('#') {
                assert!(unique.contains(id), "{link}");
            }
        }
        for label in ["aria-labelledby", "aria-describedby", "for"] {
            for id in attributes(&page, label) {
                assert!(unique.contains(id), "{label} {id}");
            }
        }
        assert!(page.len() < 40_000, "{} bytes", page.len());
    }
}

#[test]
fn a_run_of_any_size_has_a_summary_that_a_ci_system_takes() {
    let mut report = report("failed");
    let row = report.components[2].clone();
    let error = report.first_errors[0].clone();
    report.components.extend(std::iter::repeat_n(row, 2000));
    report.first_errors.extend(std::iter::repeat_n(error, 500));
    report.warnings = vec!["w".repeat(10_000); 500];
    assert!(report.markdown().len() < 512 << 10);
    let many = vec![report; 8];
    let text = summary::markdown(&many);
    assert!(text.len() < 1 << 20, "{}", text.len());
    assert!(text.contains("left out: this is as long as it may be"), "{}", &text[text.len() - 200..]);
}
