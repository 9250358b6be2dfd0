//! `drivetrain promote`

use drivetrain_config::{ChannelName, Config};
use drivetrain_model::ExitCode;
use drivetrain_publish::{Listed, Promoted, Promotion, Served, Target};
use serde_json::json;

use crate::cli::{Global, Promote};
use crate::command::served::{channel, channel_of, is_lockstep, is_meant};
use crate::command::state_path;
use crate::context::load_stack;
use crate::failure::{Failure, Result};
use crate::pipeline::rolled_back;
use crate::publisher::{Publisher, failed};
use crate::stage::lockstep;
use crate::stage::publish::{address, change, consumers};
use crate::view;

/// Serves in one channel what is served in another.
pub fn run(args: &Promote, global: &Global) -> Result<ExitCode> {
    let config = load_stack(global)?;
    let (from, to) = channels(&config, args)?;
    let publisher = Publisher::new(&state_path(global), None);
    if publisher.existing(&config)?.is_none() {
        return Err(
            Failure::new(ExitCode::Publish, "nothing has been published yet").next("`drivetrain run`")
        );
    }
    // With the key, where what it serves is signed.
    let target = publisher.made(&config)?;
    let all = target.list().map_err(|error| failed(&error))?;
    let sources = choose(&config, args, &from, &all)?;
    let (sources, left) = with_lockstep(&config, args, &from, &all, sources)?;
    let promotions = promotions(&config, &sources, &to)?;
    if !args.undo_rollback {
        require_wanted(&*target, &sources, &promotions)?;
    }
    if args.dry_run {
        return rehearse(&all, &sources, &promotions, global);
    }
    let done = target.promote(&promotions, &change(&args.why)).map_err(|error| failed(&error))?;
    if global.json {
        let list: Vec<_> = done
            .iter()
            .map(|one| {
                json!({
                    "path": one.path, "from": one.previous, "to": one.version, "unchanged": one.unchanged,
                    "url": one.url,
                })
            })
            .collect();
        view::print_json(&list);
    } else {
        view::print(&format!("{}{}", told(&done, &to), left.unwrap_or_default()));
    }
    Ok(ExitCode::Success)
}

fn told(done: &[Promoted], to: &ChannelName) -> String {
    let mut text = String::new();
    for one in done {
        let before = one.previous.map_or("nothing".to_owned(), |version| format!("version {version}"));
        text.push_str(&match one.unchanged {
            true => format!("{}\n  serves version {} already\n", one.url, one.version),
            false => format!("{}\n  served {before}, serves version {} now\n", one.url, one.version),
        });
    }
    let changed = done.iter().filter(|one| !one.unchanged).count();
    text.push_str(&match changed {
        0 => format!("Nothing to do: {to} serves all of it.\n"),
        _ => format!(
            "{} changed in {to}, together.\n",
            if changed == 1 { "1 repository".to_owned() } else { format!("{changed} repositories") }
        ),
    });
    text
}

/// From which channel to which.
fn channels(config: &Config, args: &Promote) -> Result<(ChannelName, ChannelName)> {
    let all = &config.publish.channels;
    if all.len() < 2 {
        return Err(Failure::new(ExitCode::Usage, "publish.channels names no two channels").next(
            "configure them, in the order in which a version goes through them: [development, release]",
        ));
    }
    let place = |name: &ChannelName| all.iter().position(|known| known == name).unwrap_or_default();
    let from = args.from.as_deref().map(|name| channel(config, name)).transpose()?;
    let to = args.to.as_deref().map(|name| channel(config, name)).transpose()?;
    let (from, to) = match (from, to) {
        (Some(from), Some(to)) => (from, to),
        (Some(from), None) => {
            let to = all.get(place(&from) + 1).cloned();
            let to =
                to.ok_or_else(|| Failure::new(ExitCode::Usage, format!("there is no channel after {from}")))?;
            (from, to)
        }
        (None, Some(to)) => {
            let from = place(&to).checked_sub(1).map(|before| all[before].clone());
            let from = from.ok_or_else(|| {
                Failure::new(ExitCode::Usage, format!("there is no channel before {to}"))
                    .next("name one with --from")
            })?;
            (from, to)
        }
        (None, None) => (all[0].clone(), all[1].clone()),
    };
    if from == to {
        return Err(Failure::new(
            ExitCode::Usage,
            format!("{from} is both the channel to take from and to take to"),
        ));
    }
    Ok((from, to))
}

/// What is served in a channel, of the kernels that are meant.
fn choose(config: &Config, args: &Promote, from: &ChannelName, all: &[Listed]) -> Result<Vec<Served>> {
    let there: Vec<&Listed> = all
        .iter()
        .filter(|listed| is_meant(config, &listed.served) && channel_of(config, &listed.served) == Some(from))
        .collect();
    // What is not as it was left must not be taken further.
    if let Some(problem) = there.iter().find_map(|listed| listed.problem.as_ref()) {
        return Err(failed(problem));
    }
    let kernel = |served: &Served| served.record.as_ref().map(|record| record.cell.kernel.clone());
    let known: Vec<_> = there.iter().filter_map(|listed| kernel(&listed.served)).collect();
    if let Some(missing) = args.kernels.iter().find(|wanted| !known.contains(wanted)) {
        let list: Vec<String> = known.iter().map(ToString::to_string).collect();
        let failure = Failure::new(ExitCode::Publish, format!("{from} serves nothing for {missing}"));
        return Err(failure.next(if list.is_empty() {
            "`drivetrain status` lists what is served".to_owned()
        } else {
            format!("there are: {}", list.join(", "))
        }));
    }
    let wanted = |served: &Served| {
        args.kernels.is_empty() || kernel(served).is_some_and(|kernel| args.kernels.contains(&kernel))
    };
    let chosen: Vec<Served> = there.into_iter().map(|listed| listed.served.clone()).filter(wanted).collect();
    if chosen.is_empty() {
        return Err(Failure::new(
            ExitCode::Publish,
            format!("{from} serves nothing for this train and driver"),
        )
        .next("`drivetrain run` publishes to the first channel; `drivetrain status` lists what is served"));
    }
    Ok(chosen)
}

/// Those that hold kernels and drivers together as well, where all kernels are meant. Of some kernels alone it cannot be
/// made here, and taken as it is it would bring the others along: that is said.
fn with_lockstep(
    config: &Config,
    args: &Promote,
    from: &ChannelName,
    all: &[Listed],
    mut sources: Vec<Served>,
) -> Result<(Vec<Served>, Option<String>)> {
    let there: Vec<&Listed> = all
        .iter()
        .filter(|listed| {
            is_lockstep(config, &listed.served) && channel_of(config, &listed.served) == Some(from)
        })
        .collect();
    if there.is_empty() {
        return Ok((sources, None));
    }
    if !args.kernels.is_empty() {
        let left = "The repository that holds kernels and drivers together was left as it is: it is promoted with all kernels.\n";
        return Ok((sources, Some(left.to_owned())));
    }
    if let Some(problem) = there.iter().find_map(|listed| listed.problem.as_ref()) {
        return Err(failed(problem));
    }
    sources.extend(there.into_iter().map(|listed| listed.served.clone()));
    Ok((sources, None))
}

fn promotions(config: &Config, sources: &[Served], to: &ChannelName) -> Result<Vec<Promotion>> {
    let records = sources.iter().filter_map(|served| Some((served, served.record.as_ref()?)));
    records
        .map(|(served, record)| {
            let meant = match &record.lockstep {
                None => None,
                Some(_) => lockstep::address(config, &record.cell, Some(to))?,
            };
            let to = meant.map_or_else(|| address(config, &record.cell, Some(to)), Ok)?;
            Ok(Promotion { from: served.path.clone(), to, consumers: consumers(config) })
        })
        .collect()
}

/// Refuses what somebody went back from in that channel.
fn require_wanted(target: &dyn Target, sources: &[Served], promotions: &[Promotion]) -> Result<()> {
    for (source, promotion) in sources.iter().zip(promotions) {
        let Some(record) = &source.record else { continue };
        let held = target.held_back(&promotion.to.path, record.lock).map_err(|error| failed(&error))?;
        if let Some(entry) = held {
            return Err(rolled_back(&promotion.to.path, &entry));
        }
    }
    Ok(())
}

/// Says what would be done.
fn rehearse(
    all: &[Listed],
    sources: &[Served],
    promotions: &[Promotion],
    global: &Global,
) -> Result<ExitCode> {
    let mut list = Vec::new();
    let mut text = String::new();
    for (source, promotion) in sources.iter().zip(promotions) {
        let there = all.iter().find(|listed| listed.served.path == promotion.to.path);
        let before = there.and_then(|listed| listed.served.version);
        let version = source.version.unwrap_or_default();
        let words = before.map_or("nothing".to_owned(), |version| format!("version {version}"));
        text.push_str(&format!("{}\n  serves {words}; would serve version {version}\n", promotion.to.path));
        list.push(json!({ "path": promotion.to.path, "from": before, "to": version, "dry_run": true }));
    }
    if global.json {
        view::print_json(&list);
    } else {
        view::print(&format!("{text}Nothing was changed.\n"));
    }
    Ok(ExitCode::Success)
}
