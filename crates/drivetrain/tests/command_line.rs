//! The command line itself: help, first steps, completions, manual pages.

#![allow(clippy::unwrap_used, reason = "a test ends where something fails")]

mod common;

use std::process::Command;

use common::consumer::has;
use common::{Site, bare, finish, names};
use insta::assert_snapshot;
use tempfile::TempDir;

const COMMANDS: [&str; 10] =
    ["init", "plan", "build", "push", "run", "check", "rollback", "show", "completions", "man"];

fn empty() -> TempDir {
    tempfile::Builder::new().prefix("drivetrain-empty-").tempdir().unwrap()
}

fn run(directory: &TempDir, arguments: &[&str]) -> common::Output {
    let mut command = bare(directory.path());
    command.args(["--state", "state"]).args(arguments);
    finish(&mut command)
}

#[test]
fn every_command_explains_itself_with_examples() {
    let directory = empty();
    for command in COMMANDS {
        for help in ["--help", "-h"] {
            let output = run(&directory, &[command, help]).succeeds();
            assert!(output.stdout.contains("Example"), "{command} {help}:\n{}", output.stdout);
            assert!(
                output.stdout.contains(&format!("  drivetrain {command}")),
                "{command}:\n{}",
                output.stdout
            );
            let widest = output.stdout.lines().map(|line| line.chars().count()).max().unwrap();
            assert!(widest <= 120, "{command} {help}: a line of {widest}");
        }
    }
    assert_eq!(names(directory.path()), Vec::<String>::new(), "help makes nothing");
}

#[test]
fn the_help_lists_all_commands_and_exit_codes() {
    let directory = empty();
    let help = run(&directory, &["--help"]).succeeds().stdout;
    for command in COMMANDS {
        assert!(
            help.lines().any(|line| line.trim_start().starts_with(&format!("{command} "))),
            "{command}:\n{help}"
        );
    }
    for (code, meaning) in drivetrain_model::ExitCode::ALL {
        let line = format!("{:>3}  {meaning}", u8::from(*code));
        assert!(help.contains(&line), "{line}:\n{help}");
    }
    run(&directory, &["--version"]).succeeds().says(env!("CARGO_PKG_VERSION"));
}

#[test]
fn a_wrong_command_line_ends_with_code_2_and_says_what_was_meant() {
    let directory = empty();
    for (arguments, expected) in [
        (&["paln"][..], "plan"),
        (&["run", "--kep-going"], "--keep-going"),
        (&["run", "--jobs", "0"], "--jobs"),
        (&["plan", "--locked", "--no-lock"], "cannot be used with"),
        (&["show", "--log", "iser"], "RUN"),
        (&["show", "latest", "--log", "../x"], "../x"),
        (&["check", "x.rpm"], "--kernel"),
        (&[], "Usage"),
    ] {
        run(&directory, arguments).ends_with(2).says(expected);
    }
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn init_writes_a_configuration_that_reads_and_refuses_to_write_over_one() {
    let directory = empty();
    run(&directory, &["init"]).succeeds().says("drivetrain plan");
    let file = directory.path().join("drivetrain.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let base = camino::Utf8Path::from_path(directory.path()).unwrap();
    drivetrain_config::parse(&text, "drivetrain.yaml", &|_| None, base).unwrap();
    assert_eq!(run(&directory, &["init", "--stdout"]).succeeds().stdout, text);

    std::fs::write(&file, "mine\n").unwrap();
    run(&directory, &["init"]).ends_with(2).says("is there already").says("--force");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "mine\n");
    run(&directory, &["init", "other.yaml"]).succeeds();
    run(&directory, &["init", "--force"]).succeeds();
    assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
    run(&directory, &["init", "nowhere/drivetrain.yaml"]).ends_with(2).says("nowhere/drivetrain.yaml");
}

#[test]
fn init_writes_where_config_points_and_to_one_place_only() {
    let directory = empty();
    run(&directory, &["init", "-c", "site.yaml"])
        .succeeds()
        .says("site.yaml written")
        .says("--config site.yaml");
    assert_eq!(names(directory.path()), ["site.yaml"]);
    run(&directory, &["--config", "site.yaml", "init"]).ends_with(2).says("site.yaml is there already");
    run(&directory, &["init", "-c", "a.yaml", "b.yaml"]).ends_with(2).says("a.yaml").says("b.yaml");
    run(&directory, &["init", "-c", "a.yaml", "a.yaml"]).succeeds();
    for (arguments, written) in [(&["init"][..], "named.yaml"), (&["init", "other.yaml"], "other.yaml")] {
        let mut command = bare(directory.path());
        command.env("DRIVETRAIN_CONFIG", "named.yaml").args(arguments);
        finish(&mut command).succeeds().says(&format!("{written} written"));
    }
    assert_eq!(names(directory.path()), ["a.yaml", "named.yaml", "other.yaml", "site.yaml"]);
    run(&directory, &["init", "--help"]).succeeds().says("the file that --config names");
}

#[test]
fn a_missing_configuration_is_told_with_the_way_to_one() {
    let directory = empty();
    let output = run(&directory, &["plan"]).ends_with(2);
    assert_snapshot!(output.stderr, @r"
    error: the configuration drivetrain.yaml cannot be read
      - failed to open file `drivetrain.yaml`: No such file or directory (os error 2)
    next: name the file with --config FILE, or write a commented one with `drivetrain init`
    ");
    assert_eq!(names(directory.path()), Vec::<String>::new());
}

#[test]
fn a_misspelt_key_is_shown_with_its_line_and_what_was_meant() {
    let directory = empty();
    run(&directory, &["init"]).succeeds();
    let file = directory.path().join("drivetrain.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    let line = text.lines().position(|line| line == "  arch: x86_64").unwrap() + 1;
    std::fs::write(&file, text.replace("\n  arch: x86_64\n", "\n  arhc: x86_64\n")).unwrap();
    for command in ["plan", "build", "run", "push", "rollback", "show"] {
        let output = run(&directory, &[command]).ends_with(2);
        output.says(&format!("drivetrain.yaml:{line}:3")).says("did you mean \"arch\"?");
    }
    let output = run(&directory, &["plan"]).ends_with(2);
    assert_snapshot!(output.stderr.replace(&format!("{line}"), "LINE"), @r#"
    error: drivetrain.yaml:LINE:3: unknown key "arhc" in train; did you mean "arch"?
      LINE |   arhc: x86_64
         |   ^^^^
    "#);
    let json = run(&directory, &["plan", "--json"]).ends_with(2).json();
    assert_eq!(json["error"]["code"], 2);
    assert_eq!(names(directory.path()), ["drivetrain.yaml"], "nothing was started");
}

#[test]
fn completions_are_scripts_that_their_shells_read() {
    let directory = empty();
    for (shell, check) in [
        ("bash", &["bash", "-n"][..]),
        ("zsh", &["zsh", "-n"]),
        ("fish", &["fish", "--no-execute"]),
        ("elvish", &[]),
        ("powershell", &[]),
    ] {
        let script = run(&directory, &["completions", shell]).succeeds().stdout;
        assert!(script.contains("keep-going"), "{shell}");
        let file = directory.path().join(shell);
        std::fs::write(&file, script).unwrap();
        if let [tool, option @ ..] = check
            && has(tool)
        {
            let output = Command::new(tool).args(option).arg(&file).output().unwrap();
            assert!(output.status.success(), "{shell}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
    run(&directory, &["completions", "cmd"]).ends_with(2).says("bash");
}

#[test]
fn bash_completes_commands_and_options() {
    if !has("bash") {
        return;
    }
    let directory = empty();
    let script = run(&directory, &["completions", "bash"]).succeeds().stdout;
    std::fs::write(directory.path().join("script"), script).unwrap();
    let complete = |words: &str, at: usize| {
        let ask = format!(
            "source ./script; COMP_WORDS=({words}); COMP_CWORD={at}; \
             _drivetrain drivetrain \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[$(({at} - 1))]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let output = Command::new("bash").args(["-c", &ask]).current_dir(directory.path()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(complete("drivetrain ro", 1).trim(), "rollback");
    assert_eq!(complete("drivetrain run --keep-", 2).trim(), "--keep-going");
}

#[test]
fn there_is_a_manual_page_for_each_command_that_man_shows_without_a_warning() {
    let directory = empty();
    run(&directory, &["man", "pages"]).succeeds();
    let pages = names(&directory.path().join("pages"));
    assert!(pages.contains(&"drivetrain.1".to_owned()), "{pages:?}");
    for command in COMMANDS {
        assert!(pages.contains(&format!("drivetrain-{command}.1")), "{command}: {pages:?}");
    }
    let overview = std::fs::read_to_string(directory.path().join("pages/drivetrain.1")).unwrap();
    assert!(overview.contains("Exit codes"), "the codes are in drivetrain(1), as --help says");
    if !has("man") {
        return;
    }
    for page in pages {
        let output = Command::new("man")
            .args(["--warnings", "--encoding=UTF-8", "--local-file"])
            .arg(directory.path().join("pages").join(&page))
            .envs([("LC_ALL", "C.UTF-8"), ("MANROFFSEQ", ""), ("MANWIDTH", "80")])
            .output()
            .unwrap();
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && warnings.trim().is_empty(), "{page}: {warnings}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("SYNOPSIS"), "{page}");
    }
}

#[test]
fn the_environment_names_configuration_and_state() {
    let Some(site) = Site::new() else { return };
    let mut command = bare(&site.path(""));
    let moved = site.path("elsewhere.yaml");
    std::fs::rename(site.config(), &moved).unwrap();
    command
        .env("DRIVETRAIN_CONFIG", &moved)
        .env("DRIVETRAIN_STATE", site.path("there"))
        .args(["plan", "--no-lock"]);
    finish(&mut command).succeeds();
    assert!(site.path("there").is_dir());
    assert!(!site.state().exists());
}

#[test]
fn others_cannot_read_the_state_directory() {
    use std::os::unix::fs::PermissionsExt as _;
    let Some(site) = Site::new() else { return };
    site.run(&["plan", "--no-lock"]).succeeds();
    let mode = std::fs::metadata(site.state()).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode & 0o007, 0, "{mode:o}: build logs and journals tell about a site");
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named_with_the_option() {
    let Some(site) = Site::new() else { return };
    std::fs::write(site.state(), "a file\n").unwrap();
    let output = site.run(&["run"]);
    assert_eq!(output.code, Some(1), "{output:?}");
    output.says(site.state().to_str().unwrap()).says("--state DIR");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let directory = empty();
    let script = format!("'{}' init --stdout | head -n 1", common::BINARY);
    let output = Command::new("bash")
        .args(["-o", "pipefail", "-c", &script])
        .current_dir(directory.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn output_that_cannot_be_written_is_an_error_and_no_success() {
    let directory = empty();
    for arguments in [
        &["init", "--stdout"][..],
        &["init"],
        &["--help"],
        &["run", "--help"],
        &["--version"],
        &["show"],
        &["show", "--json"],
        &["completions", "bash"],
    ] {
        let mut command = bare(directory.path());
        command.args(["--state", "state"]).args(arguments);
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
        assert!(stderr.starts_with("error: standard output cannot be written\n"), "{arguments:?}: {stderr}");
        assert!(stderr.contains("No space left on device"), "{arguments:?}: {stderr}");
    }
    // What failed already says so too, and keeps its code.
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = bare(directory.path())
        .args(["plan", "--json", "--config", "nowhere.yaml"])
        .stdout(full)
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("nowhere.yaml") && stderr.contains("No space left on device"), "{stderr}");
}

#[test]
fn plain_lines_and_quiet_runs_have_no_colours() {
    let Some(site) = Site::built() else { return };
    let run = site.run(&["run"]).succeeds();
    assert!(!run.stderr.contains('\u{1b}') && !run.stdout.contains('\u{1b}'), "{run:?}");
    assert!(run.stderr.contains("2 modules proven"), "{run:?}");
    let quiet = site.run(&["run", "--quiet"]).succeeds();
    assert_eq!(quiet.stderr, "");
}
