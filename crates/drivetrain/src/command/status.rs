//! `drivetrain status`

use std::fmt::Write as _;

use drivetrain_config::Config;
use drivetrain_model::{Cell, ExitCode, KernelRelease, RunId, Sha256Digest};
use drivetrain_publish::{Depth, Listed, Lockstep, PublishError, Target, Verdicts, repo_file};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{Global, Status};
use crate::command::served::{channel, channel_of, in_channel, is_meant};
use crate::command::state_path;
use crate::context::{load_any, load_stack};
use crate::failure::{Failure, Result};
use crate::publisher::{Publisher, failed, target_words};
use crate::stage::publish::consumers;
use crate::view;
use crate::view::words::count;

/// One repository, as `--json` has it.
#[derive(Debug, Serialize)]
struct Row {
    path: String,
    url: String,
    channel: Option<String>,
    #[serde(flatten)]
    cell: Option<Cell>,
    name: Option<String>,
    version: Option<u64>,
    since: Option<Timestamp>,
    run: Option<RunId>,
    lock: Option<Sha256Digest>,
    packages: Option<usize>,
    proof: Option<Verdicts>,
    /// The fingerprint of the key that its packages are signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_by: Option<String>,
    /// That of the key that its metadata are signed with.
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata_signed_by: Option<String>,
    /// What holds kernels and drivers together there.
    #[serde(skip_serializing_if = "Option::is_none")]
    lockstep: Option<Lockstep>,
    kept: Vec<u64>,
    /// Who made the last change, and why.
    changed_by: Option<String>,
    why: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
}

/// Says what is served where.
pub fn run(args: &Status, global: &Global) -> Result<ExitCode> {
    let config = if args.repo_file { load_stack(global)? } else { load_any(global)? };
    let channel = args.channel.as_deref().map(|name| channel(&config, name)).transpose()?;
    let publisher = Publisher::new(&state_path(global), None);
    let target = publisher.existing(&config)?;
    let all = match &target {
        Some(target) => target.list().map_err(|error| failed(&error))?,
        None => Vec::new(),
    };
    let all = in_channel(&config, all, channel.as_ref());
    if args.repo_file {
        return print_repo_file(&config, &all);
    }
    let rows = all.iter().map(|listed| row(&config, target.as_deref(), listed, args.verify));
    let rows = rows.collect::<Result<Vec<Row>>>()?;
    if global.json {
        view::print_json(&rows);
    } else {
        view::print(&table(&rows, &target_words(&config)));
    }
    let sound = rows.iter().all(|row| row.problem.is_none());
    Ok(if sound { ExitCode::Success } else { ExitCode::Publish })
}

fn row(config: &Config, target: Option<&dyn Target>, listed: &Listed, verify: bool) -> Result<Row> {
    let served = &listed.served;
    let record = served.record.as_ref();
    let mut problem = listed.problem.as_ref().map(one_line);
    let mut verified = None;
    let mut last = None;
    if let Some(target) = target {
        last = target.history(&served.path).map_err(|error| failed(&error))?.pop();
        if verify && problem.is_none() && served.version.is_some() {
            problem = target.check(&served.path, Depth::Packages).err().map(|error| one_line(&error));
            verified = Some(problem.is_none());
        }
    }
    Ok(Row {
        path: served.path.to_string(),
        url: served.url.clone(),
        channel: channel_of(config, served).map(ToString::to_string),
        cell: record.map(|record| record.cell.clone()),
        name: record.map(|record| record.driver_name.clone()),
        version: served.version,
        since: served.since,
        run: record.map(|record| record.run.clone()),
        lock: record.map(|record| record.lock),
        packages: record.map(|record| record.packages),
        proof: record.and_then(|record| record.verdicts),
        signed_by: record.and_then(|record| record.signed_by.clone()),
        metadata_signed_by: record.and_then(|record| record.metadata_signed_by.clone()),
        lockstep: record.and_then(|record| record.lockstep.clone()),
        kept: served.versions.iter().map(|version| version.version).collect(),
        changed_by: last.as_ref().map(|entry| entry.by.clone()),
        why: last.map(|entry| entry.why),
        verified,
        problem,
    })
}

fn one_line(error: &PublishError) -> String {
    Failure::of(ExitCode::Publish, error).one_line()
}

/// Of each train a paragraph, of each repository a few lines.
fn table(rows: &[Row], target: &str) -> String {
    let mut text = format!("{target}\n");
    if rows.is_empty() {
        text.push_str("  serves nothing\n");
    }
    for row in rows {
        // Writing to a string cannot fail.
        let channel = row.channel.as_ref().map(|channel| format!("{channel}: ")).unwrap_or_default();
        let _ = match (&row.cell, &row.name) {
            (Some(cell), Some(name)) if row.lockstep.is_some() => {
                let lockstep = row.lockstep.iter();
                let kernels =
                    lockstep.clone().flat_map(|lockstep| &lockstep.kernels).map(KernelRelease::as_str);
                writeln!(
                    text,
                    "\n{channel}{name} {} with its kernels ({}), {}, {}\n  package  {}",
                    cell.driver,
                    kernels.collect::<Vec<_>>().join(", "),
                    cell.train,
                    cell.arch,
                    lockstep.map(|lockstep| lockstep.package.as_str()).collect::<String>()
                )
            }
            (Some(cell), Some(name)) => writeln!(
                text,
                "\n{channel}{name} {} for kernel {}, {}, {}",
                cell.driver, cell.kernel, cell.train, cell.arch
            ),
            _ => writeln!(text, "\n{channel}{}", row.path),
        };
        if let Some(problem) = &row.problem {
            let _ = writeln!(text, "  problem  {problem}");
        }
        let (Some(version), Some(since)) = (row.version, row.since) else {
            let _ = writeln!(text, "  serves   nothing that drivetrain published");
            continue;
        };
        let _ = writeln!(
            text,
            "  serves   version {version} since {}, {}",
            since.strftime("%Y-%m-%d %H:%M:%SZ"),
            count(row.packages.unwrap_or(0), "package")
        );
        if let (Some(by), Some(why)) = (&row.changed_by, &row.why) {
            let _ = writeln!(text, "  changed  by {by}: {why}");
        }
        let _ = writeln!(text, "  proven   {}", proof(row));
        if let Some(signed) = signed(row) {
            let _ = writeln!(text, "  signed   {signed}");
        }
        let _ = writeln!(text, "  url      {}", row.url);
    }
    text
}

fn signed(row: &Row) -> Option<String> {
    match (&row.signed_by, &row.metadata_signed_by) {
        (None, None) => None,
        (Some(key), Some(other)) if key == other => Some(format!("by the key {key}")),
        (Some(key), Some(other)) => Some(format!("packages by the key {key}, metadata by {other}")),
        (Some(key), None) => Some(format!("packages by the key {key}, metadata by nobody")),
        (None, Some(key)) => Some(format!("metadata by the key {key}, packages by nobody")),
    }
}

fn booted(proof: &Verdicts) -> String {
    let Some(booted) = &proof.booted else { return "; not booted".to_owned() };
    let works = if booted.functional { " and works" } else { "" };
    match booted.problems {
        0 => format!("; the kernel was booted with {}{works}", count(booted.modules, "module")),
        problems => format!("; the kernel was booted, and there were {}", count(problems, "problem")),
    }
}

fn proof(row: &Row) -> String {
    let by = row.run.as_ref().map(|run| format!(" (run {run})")).unwrap_or_default();
    let read_back = if row.verified == Some(true) { "; every package was read back" } else { "" };
    match &row.proof {
        Some(proof) => format!(
            "{} with {} fit the kernel, {} with {} of the train{}{by}{read_back}",
            count(proof.modules, "module"),
            count(proof.symbols, "symbol"),
            if proof.installed == 1 {
                "1 package installs".to_owned()
            } else {
                format!("{} packages install", proof.installed)
            },
            proof.from_train,
            booted(proof)
        ),
        None if row.lockstep.is_some() => format!("as the repositories of its kernels are{by}{read_back}"),
        None => format!("how is not recorded{by}{read_back}"),
    }
}

/// The `.repo` file of everything that is meant.
fn print_repo_file(config: &Config, all: &[Listed]) -> Result<ExitCode> {
    let mut text = String::new();
    for listed in all.iter().filter(|listed| is_meant(config, &listed.served)) {
        if let (Some(record), Some(_)) = (&listed.served.record, listed.served.version) {
            text.push_str(&repo_file(record, &consumers(config), &listed.served.url));
        }
    }
    if text.is_empty() {
        return Err(Failure::new(ExitCode::Publish, "nothing is served for this train and driver")
            .next("`drivetrain status` lists what is"));
    }
    view::print(&text);
    Ok(ExitCode::Success)
}
