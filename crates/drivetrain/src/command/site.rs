//! `drivetrain site`

use std::collections::{BTreeMap, BTreeSet};

use camino::Utf8Path;
use drivetrain_config::Config;
use drivetrain_host::CancellationToken;
use drivetrain_model::{Cell, ExitCode, HeldBack, KernelChoice, KernelPolicy, KernelRelease, PlannedKernel};
use drivetrain_publish::{Listed, Target};
use drivetrain_report::{Change, Coverage, Entry, InTrain, Lack, Place, Proven, Train};
use fs_err as fs;
use jiff::Timestamp;
use serde_json::json;

use crate::cli::{Global, SiteArgs};
use crate::command::served::channel_of;
use crate::context::{Context, load_cells};
use crate::failure::{Failure, Result};
use crate::publisher::{failed, target_words};
use crate::stage::blocking;
use crate::stage::held_back;
use crate::stage::plan;
use crate::stage::report::write_aside;
use crate::view;

/// Each kernel without a driver takes a plan to find out why. These are the newest; nodes are not on older ones.
const MAX_KERNELS_LOOKED_INTO: usize = 20;

/// Writes the coverage page. What cannot be found out is on it; the page of a train that cannot be read tells of what is
/// served all the same, and the command then ends as a plan would.
pub async fn run(args: SiteArgs, global: &Global) -> Result<ExitCode> {
    let configs: Vec<Config> = load_cells(global)?.into_iter().map(|cell| cell.config).collect();
    let context = Context::quiet(global, CancellationToken::new())?;
    let mut coverage = nothing_yet();
    let mut targets = BTreeSet::new();
    for config in &configs {
        // Cells are published to one target, mostly.
        if targets.insert(target_words(config)) {
            add_served(&context, config, &mut coverage).await?;
        }
    }
    coverage.target = targets.into_iter().collect::<Vec<_>>().join(", ");
    let damaged = |entry: &Entry| entry.places.iter().any(|place| place.problem.is_some());
    let sound = coverage.problems.is_empty() && !coverage.entries.iter().any(damaged);
    let mut code = if sound { ExitCode::Success } else { ExitCode::Publish };
    for config in configs.iter().filter(|_| !args.no_train) {
        match kernels(&context, config).await {
            Ok(kernels) => {
                code = kernels.problem.as_ref().map_or(code, |failure| failure.code);
                add_train(&context, config, &mut coverage, kernels).await;
            }
            Err(failure) => {
                code = failure.code;
                let train = &config.train.name;
                coverage.problems.push(format!("what train {train} has: {}", failure.one_line()));
            }
        }
    }
    note_channels(&mut coverage);
    coverage.sort();
    coverage.problems.dedup();
    write(&args.directory, &coverage).map_err(|error| unwritable(&args.directory, &error))?;
    conclude(&args.directory, &coverage, global);
    Ok(code)
}

fn unwritable(directory: &Utf8Path, error: &std::io::Error) -> Failure {
    Failure::because(ExitCode::Failure, format!("the coverage page cannot be written to {directory}"), error)
        .next("name a directory that you can write to")
}

/// The page comes last: where it is new, what it links to is as well.
fn write(directory: &Utf8Path, coverage: &Coverage) -> std::io::Result<()> {
    fs::create_dir_all(directory)?;
    write_aside(&directory.join("coverage.json"), coverage.json()?.as_bytes())?;
    write_aside(&directory.join("coverage.md"), coverage.markdown().as_bytes())?;
    write_aside(&directory.join("index.html"), coverage.html().as_bytes())
}

fn conclude(directory: &Utf8Path, coverage: &Coverage, global: &Global) {
    if global.json {
        view::print_json(
            &json!({ "directory": directory, "headline": coverage.headline(), "problems": coverage.problems }),
        );
        return;
    }
    for problem in &coverage.problems {
        view::note(&format!("not known: {problem}"));
    }
    if !global.quiet {
        view::print(&format!(
            "{}.\nWritten: {directory}/index.html, coverage.json, coverage.md\n",
            coverage.headline()
        ));
    }
}

fn nothing_yet() -> Coverage {
    Coverage {
        format: Coverage::FORMAT,
        made: Timestamp::now(),
        drivetrain: env!("CARGO_PKG_VERSION").to_owned(),
        target: String::new(),
        channels: Vec::new(),
        trains: Vec::new(),
        entries: Vec::new(),
        problems: Vec::new(),
    }
}

/// Adds all that a target serves, whatever configuration it is of.
async fn add_served(context: &Context, config: &Config, coverage: &mut Coverage) -> Result<()> {
    for channel in config.publish.channels.iter().map(ToString::to_string) {
        if !coverage.channels.contains(&channel) {
            coverage.channels.push(channel);
        }
    }
    let Some(target) = context.publisher.existing(config)? else { return Ok(()) };
    let config = config.clone();
    let places = blocking(move || {
        let all = target.list().map_err(|error| failed(&error))?;
        // What holds kernels and drivers together is of no kernel, and covers none that has no repository of its own.
        let of_kernels = all
            .iter()
            .filter(|listed| listed.served.record.as_ref().is_none_or(|record| record.lockstep.is_none()));
        of_kernels.map(|listed| place(&config, &*target, listed)).collect::<Result<Vec<_>>>()
    });
    let mut cells: BTreeMap<(Cell, String), Vec<Place>> = BTreeMap::new();
    for (cell, place) in places.await?? {
        match cell {
            Some(cell) => cells.entry(cell).or_default().push(place),
            None => {
                let problem = place.problem.unwrap_or_else(|| "nothing that drivetrain published".to_owned());
                coverage.problems.push(format!("{}: {problem}", place.path));
            }
        }
    }
    coverage
        .entries
        .extend(cells.into_iter().map(|((cell, driver_name), places)| entry(cell, driver_name, places)));
    Ok(())
}

fn entry(cell: Cell, driver_name: String, places: Vec<Place>) -> Entry {
    Entry { cell, driver_name, in_train: None, places, lack: None, not_in: Vec::new() }
}

/// A repository of the target's, with what it was made for, where that can be told.
fn place(config: &Config, target: &dyn Target, listed: &Listed) -> Result<(Option<(Cell, String)>, Place)> {
    let served = &listed.served;
    let record = served.record.as_ref();
    let last = target.history(&served.path).map_err(|error| failed(&error))?.pop();
    let place = Place {
        channel: channel_of(config, served).map(ToString::to_string),
        path: served.path.to_string(),
        url: served.url.clone(),
        version: served.version,
        since: served.since,
        packages: record.map(|record| record.packages),
        run: record.map(|record| record.run.clone()),
        lock: record.map(|record| record.lock),
        proven: record.and_then(|record| record.verdicts).map(|verdicts| Proven {
            modules: verdicts.modules,
            symbols: verdicts.symbols,
            installed: verdicts.installed,
            from_train: verdicts.from_train,
        }),
        changed: last.map(|entry| Change { by: entry.by, why: entry.why }),
        kept: served.versions.iter().map(|version| version.version).collect(),
        problem: listed.problem.as_ref().map(|error| Failure::of(ExitCode::Publish, error).one_line()),
    };
    Ok((record.map(|record| (record.cell.clone(), record.driver_name.clone())), place))
}

/// The kernels of the train, newest first, with those that are known not to be built for; also where none of them can be
/// planned for.
async fn kernels(context: &Context, config: &Config) -> Result<Kernels> {
    let all = config.train.kernel == KernelPolicy::AllInTrain;
    let mut config = config.clone();
    if all {
        // One plan is of one kernel.
        config.train.kernel = KernelPolicy::Latest;
    }
    match plan::make(context, &config).await {
        Ok(planned) => {
            let PlannedKernel { mut considered, held_back, .. } = planned.plan.kernel;
            for choice in considered.iter_mut().filter(|choice| all && choice.devel.is_some()) {
                (choice.chosen, choice.why) = (true, "all of the train are meant".to_owned());
            }
            Ok(Kernels { considered, held_back, problem: None })
        }
        Err(failure) if !failure.considered.is_empty() => {
            let considered = failure.considered.clone();
            Ok(Kernels { considered, held_back: Vec::new(), problem: Some(failure) })
        }
        Err(failure) => Err(failure),
    }
}

struct Kernels {
    considered: Vec<KernelChoice>,
    held_back: Vec<HeldBack>,
    /// Why there is no plan.
    problem: Option<Failure>,
}

/// Adds what the train has: to what is served, or as what is missing, and why.
async fn add_train(context: &Context, config: &Config, coverage: &mut Coverage, kernels: Kernels) {
    note_train(config, coverage, kernels.considered.len());
    let problem = kernels.problem.as_ref();
    coverage
        .problems
        .extend(problem.map(|failure| format!("what the next run would do: {}", failure.one_line())));
    let mut looked_into = 0;
    // Those that are newer than the one that is built for would be meant, did the driver build for them.
    let chosen = kernels.considered.iter().position(|choice| choice.chosen).unwrap_or(0);
    let passed_over = |newer: usize| config.train.kernel == KernelPolicy::NewestBuildable && newer < chosen;
    for (newer, choice) in kernels.considered.iter().enumerate() {
        let in_train = InTrain {
            newer,
            repository: choice.repository.clone(),
            why: choice.why.clone(),
            meant: choice.chosen || newer == chosen || passed_over(newer),
        };
        let cell = config.cell(choice.release.clone());
        let name = config.driver.name.as_str();
        let known = coverage.entries.iter_mut().find(|entry| entry.cell == cell && entry.driver_name == name);
        if let Some(known) = known {
            // Another cell of a matrix may mean it.
            if in_train.meant || known.in_train.is_none() {
                known.in_train = Some(in_train);
            }
            if known.lack.is_some() || known.places.iter().any(|place| place.version.is_some()) {
                continue;
            }
        } else {
            coverage
                .entries
                .push(Entry { in_train: Some(in_train), ..entry(cell.clone(), name.to_owned(), Vec::new()) });
        }
        let lack = if choice.devel.is_none() {
            Lack::NoKernelDevel
        } else if let Some(held) = kernels.held_back.iter().find(|held| held.release == choice.release) {
            Lack::DoesNotBuild { held: Box::new(held.clone()) }
        } else if looked_into == MAX_KERNELS_LOOKED_INTO {
            Lack::NotLookedInto
        } else {
            looked_into += 1;
            lack_of(context, config, &choice.release, &kernels.considered).await
        };
        if let Some(entry) =
            coverage.entries.iter_mut().find(|entry| entry.cell == cell && entry.driver_name == name)
        {
            entry.lack = Some(lack);
        }
    }
}

/// Says that the kernels of a train were looked up, and which of them are meant.
fn note_train(config: &Config, coverage: &mut Coverage, kernels: usize) {
    let train = Train {
        train: config.train.name.clone(),
        arch: config.train.arch.clone(),
        driver_name: config.driver.name.to_string(),
        driver: config.driver.version.clone(),
        policy: config.train.kernel.to_string(),
        kernels,
    };
    let same = |known: &&mut Train| Train { policy: train.policy.clone(), ..(**known).clone() } == train;
    match coverage.trains.iter_mut().find(same) {
        Some(known) => known.policy = format!("{}, {}", known.policy, train.policy),
        None => coverage.trains.push(train),
    }
}

/// Why there is no driver for a kernel: whether a plan for it comes upon a component that is known not to build.
async fn lack_of(
    context: &Context,
    config: &Config,
    release: &KernelRelease,
    considered: &[KernelChoice],
) -> Lack {
    let mut config = config.clone();
    config.train.kernel = KernelPolicy::Exact(release.clone());
    match plan::make(context, &config).await {
        Err(failure) => Lack::CannotBePlanned { why: failure.one_line() },
        Ok(mut planned) => match held_back::known(context, &planned.plan) {
            None => Lack::NeverBuilt,
            Some(held) => {
                planned.plan.kernel.considered = considered.to_vec();
                planned.plan.kernel.held_back = vec![held.clone()];
                // What it is without is worth a try, and no more.
                if let Ok(advisories) = planned.repositories.advisories(context, &config, plan::KERNELS).await
                {
                    held_back::sort_advisories(&mut planned.plan, &advisories);
                }
                let held = planned.plan.kernel.held_back.pop().unwrap_or(held);
                Lack::DoesNotBuild { held: Box::new(held) }
            }
        },
    }
}

/// Which channels do not serve what others do.
fn note_channels(coverage: &mut Coverage) {
    let channels = coverage.channels.clone();
    for entry in &mut coverage.entries {
        let serves = |channel: &String| {
            let here = entry.places.iter().find(|place| place.channel.as_ref() == Some(channel));
            here.is_some_and(|place| place.version.is_some())
        };
        let without: Vec<String> = channels.iter().filter(|channel| !serves(channel)).cloned().collect();
        // Those that are in none of them have another layout, and those that are in none at all are missing.
        if without.len() < channels.len() {
            entry.not_in = without;
        }
    }
}
