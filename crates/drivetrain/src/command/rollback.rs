//! `drivetrain rollback`

use drivetrain_config::Config;
use drivetrain_model::ExitCode;
use drivetrain_publish::{Listed, Served, Target as _};
use serde_json::json;

use crate::cli::{Global, Rollback};
use crate::context::load_config;
use crate::failure::{Failure, Result};
use crate::stage::plan::repository_path;
use crate::stage::publish::{change, existing_target};
use crate::view;

/// Serves an earlier version again.
pub fn run(args: &Rollback, global: &Global) -> Result<ExitCode> {
    let config = load_config(&global.config)?;
    let Some(target) = existing_target(&config)? else {
        return Err(
            Failure::new(ExitCode::Publish, "nothing has been published yet").next("`drivetrain run`")
        );
    };
    let all = target.list().map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    let served = choose(&config, args, all)?;
    if args.dry_run {
        return rehearse(&served, args, global);
    }
    let done = target
        .rollback(&served.path, args.to, &change(&args.why))
        .map_err(|error| Failure::of(ExitCode::Publish, &error))?;
    if global.json {
        view::print_json(
            &json!({ "path": served.path, "from": done.from, "to": done.to, "url": served.url }),
        );
    } else {
        view::print(&format!(
            "{}\nserved version {}, serves version {} now. Consumers see it with their next `dnf --refresh`; what \
             they installed stays until `dnf distro-sync`. No run publishes version {} again unless --undo-rollback \
             says so.\n",
            served.url, done.from, done.to, done.from
        ));
    }
    Ok(ExitCode::Success)
}

/// Says what would be done.
fn rehearse(served: &Served, args: &Rollback, global: &Global) -> Result<ExitCode> {
    let kept: Vec<u64> = served.versions.iter().map(|version| version.version).collect();
    let list = kept.iter().map(u64::to_string).collect::<Vec<_>>().join(", ");
    if let Some(to) = args.to.filter(|to| !kept.contains(to)) {
        return Err(Failure::new(ExitCode::Publish, format!("{} has no version {to}", served.path))
            .next(format!("kept are: {list}")));
    }
    if global.json {
        view::print_json(&json!({
            "path": served.path, "from": served.version, "to": args.to, "kept": kept, "url": served.url, "dry_run": true,
        }));
        return Ok(ExitCode::Success);
    }
    let from = served.version.map_or("nothing".to_owned(), |version| format!("version {version}"));
    let to = args.to.map_or("the one that was served before".to_owned(), |to| format!("version {to}"));
    view::print(&format!(
        "{} serves {from}; would serve {to}. Kept are: {list}. Nothing was changed.\n",
        served.path
    ));
    Ok(ExitCode::Success)
}

/// The repository of the kernel that is named, where it is damaged: it cannot say whose it is, but its path does,
/// and going back is what helps.
fn damaged(config: &Config, args: &Rollback, all: &[Listed]) -> Result<Option<Served>> {
    let Some(kernel) = &args.kernel else { return Ok(None) };
    let path = repository_path(config, &config.cell(kernel.clone()))?;
    let found = all.iter().find(|listed| listed.problem.is_some() && listed.served.path == path);
    Ok(found.map(|listed| listed.served.clone()))
}

/// The repository that is meant, of those of this train, driver and architecture.
fn choose(config: &Config, args: &Rollback, all: Vec<Listed>) -> Result<Served> {
    if let Some(named) = damaged(config, args, &all)? {
        return Ok(named);
    }
    let mut fitting: Vec<Served> = all
        .into_iter()
        .map(|listed| listed.served)
        .filter(|served| {
            served.manifest.as_ref().is_some_and(|manifest| {
                let cell = &manifest.cell;
                cell.train == config.train.name
                    && cell.driver == config.driver.version
                    && cell.arch == config.train.arch
                    && manifest.driver_name == config.driver.name.as_str()
            })
        })
        .collect();
    let kernels: Vec<String> = fitting
        .iter()
        .filter_map(|served| served.manifest.as_ref().map(|manifest| manifest.cell.kernel.to_string()))
        .collect();
    if let Some(kernel) = &args.kernel {
        fitting.retain(|served| {
            served.manifest.as_ref().is_some_and(|manifest| manifest.cell.kernel == *kernel)
        });
    }
    match (fitting.len(), fitting.pop()) {
        (1, Some(served)) => Ok(served),
        (0, _) => Err(Failure::new(
            ExitCode::Publish,
            match &args.kernel {
                Some(kernel) => format!("nothing is served for {kernel}"),
                None => "nothing is served for this train and driver".to_owned(),
            },
        )
        .next(if kernels.is_empty() {
            "`drivetrain show` lists what is".to_owned()
        } else {
            format!("there are: {}", kernels.join(", "))
        })),
        _ => Err(Failure::new(ExitCode::Usage, "several kernels' repositories are served: which is meant?")
            .next(format!("name one of: {}", kernels.join(", ")))),
    }
}
