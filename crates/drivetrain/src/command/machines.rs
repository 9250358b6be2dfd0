//! `drivetrain machines` and `drivetrain gc`

use std::fmt::Write as _;
use std::sync::Arc;

use drivetrain_config::Config;
use drivetrain_machines::{Entry, Found, LeaseBook, Provider, give_back, reap};
use drivetrain_model::{ExitCode, RunId};
use jiff::Timestamp;
use serde::Serialize;

use crate::cli::{GcArgs, Global};
use crate::command::state_path;
use crate::context::load_any;
use crate::failure::{Failure, Result};
use crate::provider;
use crate::run_lock;
use crate::stage::machine::of_machine;
use crate::state::StateDirectory;
use crate::view;
use crate::view::words::count;

/// One machine, as `--json` has it.
#[derive(Debug, Serialize)]
struct Row {
    lease: String,
    run: String,
    owner: String,
    made: Timestamp,
    expires: Timestamp,
    state: &'static str,
    resources: Vec<String>,
    /// The command to get in, where this state directory has the key.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh: Option<String>,
}

/// What there is to be known beside the provider's answers.
struct Here {
    book: LeaseBook,
    /// What the book has.
    entries: Vec<Entry>,
    state: StateDirectory,
    now: Timestamp,
}

impl Here {
    fn of(global: &Global) -> Self {
        let state = StateDirectory::existing(state_path(global));
        let book = LeaseBook::new(state.leases());
        Self { entries: book.entries(), book, state, now: Timestamp::now() }
    }

    fn is_alive(&self, run: &RunId) -> bool {
        run_lock::process_of(&self.state.run(run)).is_some()
    }

    fn row(&self, found: &Found) -> Row {
        let lease = &found.lease;
        let entry = self.entries.iter().find(|entry| entry.lease.id == lease.id);
        let state = match entry {
            _ if lease.is_expired(self.now) => "expired",
            Some(entry) if entry.kept => "kept",
            Some(entry) if self.is_alive(&entry.lease.run) => "in use",
            Some(_) => "left behind",
            None => "another's",
        };
        Row {
            lease: lease.id.to_string(),
            run: lease.run.to_string(),
            owner: entry.map_or_else(|| lease.owner.clone(), |entry| entry.lease.owner.clone()),
            made: entry.map_or(lease.made, |entry| entry.lease.made),
            expires: lease.expires,
            state,
            resources: found.resources.iter().map(ToString::to_string).collect(),
            ssh: entry.and_then(|entry| entry.ssh.clone()),
        }
    }
}

/// Lists what there is.
pub async fn list(global: &Global) -> Result<ExitCode> {
    let config = load_any(global)?;
    let provider = required(&config)?;
    let here = Here::of(global);
    let found = provider.list().await.map_err(|error| of_machine(&error))?;
    let rows: Vec<Row> = found.iter().map(|found| here.row(found)).collect();
    if global.json {
        view::print_json(&rows);
    } else {
        view::print(&text(&rows, &provider.name(), here.now));
    }
    Ok(ExitCode::Success)
}

fn text(rows: &[Row], provider: &str, now: Timestamp) -> String {
    if rows.is_empty() {
        return format!("There are no machines of drivetrain's: {provider}.\n");
    }
    let mut text = format!("{} of drivetrain's: {provider}\n", count(rows.len(), "machine"));
    for row in rows {
        let age = now.duration_since(row.made).as_secs().max(0) / 60;
        let until = row.expires.strftime("%Y-%m-%d %H:%MZ");
        // Writing to a string does not fail.
        let _ =
            writeln!(text, "{}  {}, {age} min old, until {until}, for {}", row.lease, row.state, row.owner);
        let _ = writeln!(text, "  run {}", row.run);
        for resource in &row.resources {
            let _ = writeln!(text, "  {resource}");
        }
        if let Some(ssh) = &row.ssh {
            let _ = writeln!(text, "  {ssh}");
        }
    }
    text
}

/// Removes what nobody needs, or one that is named.
pub async fn gc(args: &GcArgs, global: &Global) -> Result<ExitCode> {
    let config = load_any(global)?;
    let provider = required(&config)?;
    let here = Here::of(global);
    if let Some(lease) = &args.lease {
        let destroyed =
            give_back(provider.as_ref(), &here.book, lease).await.map_err(|error| of_machine(&error))?;
        let resources = destroyed.in_words();
        return Ok(told(global, &[(lease.to_string(), "it was named", Ok(resources))]));
    }
    let alive = |run: &RunId| here.is_alive(run);
    if args.dry_run {
        return dry(global, provider.as_ref(), &here).await;
    }
    let reaped =
        reap(provider.as_ref(), &here.book, here.now, &alive).await.map_err(|error| of_machine(&error))?;
    let told_of: Vec<_> = reaped
        .into_iter()
        .map(|reaped| {
            let result = match reaped.result {
                Ok(destroyed) => Ok(destroyed.in_words()),
                Err(error) => Err(error.to_string()),
            };
            (reaped.lease.id.to_string(), reaped.why, result)
        })
        .collect();
    Ok(told(global, &told_of))
}

async fn dry(global: &Global, provider: &dyn Provider, here: &Here) -> Result<ExitCode> {
    let found = provider.list().await.map_err(|error| of_machine(&error))?;
    let rows: Vec<Row> = found.iter().map(|found| here.row(found)).collect();
    let would: Vec<Row> =
        rows.into_iter().filter(|row| ["expired", "left behind"].contains(&row.state)).collect();
    if global.json {
        view::print_json(&would);
    } else if would.is_empty() {
        view::print("Nothing would be removed.\n");
    } else {
        view::print(&format!("Would be removed:\n{}", text(&would, &provider.name(), here.now)));
    }
    Ok(ExitCode::Success)
}

/// A lease, why it goes, and what was removed or why it was not.
type Told = (String, &'static str, Result<Vec<String>, String>);

/// Says what was removed. What could not be is a failure, after all else was done.
fn told(global: &Global, all: &[Told]) -> ExitCode {
    let failed = all.iter().any(|(_, _, result)| result.is_err());
    if global.json {
        let rows: Vec<_> = all
            .iter()
            .map(|(lease, why, result)| {
                serde_json::json!({
                    "lease": lease,
                    "why": why,
                    "removed": result.as_ref().ok(),
                    "error": result.as_ref().err(),
                })
            })
            .collect();
        view::print_json(&rows);
    } else if all.is_empty() {
        view::print("There is nothing that nobody needs.\n");
    } else {
        let mut text = String::new();
        for (lease, why, result) in all {
            let _ = match result {
                Ok(removed) if removed.is_empty() => writeln!(text, "{lease}: {why}: nothing was left of it"),
                Ok(removed) => writeln!(text, "{lease}: {why}: removed {}", removed.join(", ")),
                Err(error) => writeln!(text, "{lease}: {why}: {error}"),
            };
        }
        view::print(&text);
    }
    if failed { ExitCode::Machine } else { ExitCode::Success }
}

fn required(config: &Config) -> Result<Arc<dyn Provider>> {
    provider::provider(config)?.ok_or_else(|| {
        Failure::new(ExitCode::Usage, "the configuration's builder is no machine that drivetrain makes")
            .next("name a configuration with `builder: {kind: qemu}` or `{kind: openstack}` by --config")
    })
}
