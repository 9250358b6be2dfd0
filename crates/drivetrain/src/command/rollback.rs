//! `drivetrain rollback`

use drivetrain_config::{ChannelName, Config};
use drivetrain_model::{ExitCode, KernelRelease};
use drivetrain_publish::{Listed, Served};
use serde_json::json;

use crate::cli::{Global, Rollback};
use crate::command::served::{channel, channel_of, in_channel, is_lockstep, is_meant};
use crate::command::state_path;
use crate::context::load_stack;
use crate::failure::{Failure, Result};
use crate::publisher::{Publisher, failed};
use crate::stage::publish::{address, change};
use crate::view;

/// Serves an earlier version again.
pub fn run(args: &Rollback, global: &Global) -> Result<ExitCode> {
    let config = load_stack(global)?;
    let channel = args.channel.as_deref().map(|name| channel(&config, name)).transpose()?;
    let publisher = Publisher::new(&state_path(global), None);
    let Some(target) = publisher.existing(&config)? else {
        return Err(
            Failure::new(ExitCode::Publish, "nothing has been published yet").next("`drivetrain run`")
        );
    };
    let all = target.list().map_err(|error| failed(&error))?;
    let served = choose(&config, args, channel.as_ref(), all)?;
    if args.dry_run {
        return rehearse(&served, args, global);
    }
    let done = target.rollback(&served.path, args.to, &change(&args.why)).map_err(|error| failed(&error))?;
    if global.json {
        view::print_json(
            &json!({ "path": served.path, "from": done.from, "to": done.to, "url": served.url }),
        );
    } else {
        let besides = if config.publish.lockstep.is_some() && !args.lockstep { BESIDES } else { "" };
        view::print(&format!(
            "{}\nserved version {}, serves version {} now. Consumers see it with their next `dnf --refresh`; what \
             they installed stays until `dnf distro-sync`. No run publishes version {} again unless --undo-rollback \
             says so.\n{besides}",
            served.url, done.from, done.to, done.from
        ));
    }
    Ok(ExitCode::Success)
}

/// What serves the same packages besides.
const BESIDES: &str = "The repository that holds kernels and drivers together is as it was: `drivetrain rollback --lockstep` \
                       takes it back as well, and the next run makes it of what is served then.\n";

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
fn damaged(
    config: &Config,
    args: &Rollback,
    channel: Option<&ChannelName>,
    all: &[Listed],
) -> Result<Option<Served>> {
    let Some(kernel) = &args.kernel else { return Ok(None) };
    let channel = channel.or(config.publish.channels.first());
    let path = address(config, &config.cell(kernel.clone()), channel)?.path;
    let found = all.iter().find(|listed| listed.problem.is_some() && listed.served.path == path);
    Ok(found.map(|listed| listed.served.clone()))
}

/// The repository that is meant, of those of this train, driver and architecture.
fn choose(
    config: &Config,
    args: &Rollback,
    channel: Option<&ChannelName>,
    all: Vec<Listed>,
) -> Result<Served> {
    if let Some(named) = damaged(config, args, channel, &all)? {
        return Ok(named);
    }
    let here =
        |served: &Served| served.record.as_ref().is_some_and(|record| record.cell.arch == config.train.arch);
    let mut fitting: Vec<Served> = in_channel(config, all, channel)
        .into_iter()
        .map(|listed| listed.served)
        .filter(|served| if args.lockstep { is_lockstep(config, served) } else { is_meant(config, served) })
        .filter(here)
        .collect();
    let kernels = kernels(&fitting);
    if let Some(kernel) = &args.kernel {
        fitting.retain(|served| served.record.as_ref().is_some_and(|record| record.cell.kernel == *kernel));
    }
    let channels: Vec<&str> =
        fitting.iter().filter_map(|served| channel_of(config, served)).map(ChannelName::as_str).collect();
    let one_kernel = fitting.iter().all(|served| kernel_of(served) == kernel_of(&fitting[0]));
    match (fitting.len(), one_kernel) {
        (1, _) => Ok(fitting.remove(0)),
        (0, _) => Err(Failure::new(
            ExitCode::Publish,
            match &args.kernel {
                Some(kernel) => format!("nothing is served for {kernel}"),
                None => "nothing is served for this train and driver".to_owned(),
            },
        )
        .next(if kernels.is_empty() {
            "`drivetrain status` lists what is".to_owned()
        } else {
            format!("there are: {}", kernels.join(", "))
        })),
        (_, true) => Err(Failure::new(ExitCode::Usage, "several channels serve it: which is meant?")
            .next(format!("name one with --channel: {}", channels.join(", ")))),
        _ => Err(Failure::new(ExitCode::Usage, "several kernels' repositories are served: which is meant?")
            .next(format!("name one of: {}", kernels.join(", ")))),
    }
}

fn kernel_of(served: &Served) -> Option<&KernelRelease> {
    served.record.as_ref().map(|record| &record.cell.kernel)
}

/// The kernels of repositories, each once.
fn kernels(served: &[Served]) -> Vec<String> {
    let mut kernels: Vec<String> = served.iter().filter_map(kernel_of).map(ToString::to_string).collect();
    kernels.sort();
    kernels.dedup();
    kernels
}
