//! What a target serves, and which of it a configuration means.

use drivetrain_config::{ChannelName, Config};
use drivetrain_model::ExitCode;
use drivetrain_publish::{Listed, Served};

use crate::failure::{Failure, Result};
use crate::stage::lockstep;
use crate::stage::publish::address;
use crate::view::sentence::alternatives;

/// The channel of a name, which has to be configured.
pub fn channel(config: &Config, name: &str) -> Result<ChannelName> {
    let channels = &config.publish.channels;
    channels.iter().find(|channel| channel.as_str() == name).cloned().ok_or_else(|| {
        let failure = Failure::new(ExitCode::Usage, format!("there is no channel {name}"));
        failure.next(if channels.is_empty() {
            "publish.channels has none".to_owned()
        } else {
            format!("publish.channels has {}", alternatives(channels.iter().map(ChannelName::as_str)))
        })
    })
}

/// The channel that a repository is in, by its path. Without channels, and for paths of another layout, there is none.
pub fn channel_of<'c>(config: &'c Config, served: &Served) -> Option<&'c ChannelName> {
    let record = served.record.as_ref()?;
    let here = |channel: &&ChannelName| {
        let address = match &record.lockstep {
            None => address(config, &record.cell, Some(channel)).ok(),
            Some(_) => lockstep::address(config, &record.cell, Some(channel)).ok().flatten(),
        };
        address.is_some_and(|address| address.path == served.path)
    };
    config.publish.channels.iter().find(here)
}

/// Whether a repository is of a kernel for the configuration's train and driver, whatever the kernel and architecture.
pub fn is_meant(config: &Config, served: &Served) -> bool {
    is_of_stack(config, served) && served.record.as_ref().is_some_and(|record| record.lockstep.is_none())
}

/// Whether a repository holds kernels and drivers together, for the configuration's train and driver.
pub fn is_lockstep(config: &Config, served: &Served) -> bool {
    is_of_stack(config, served) && served.record.as_ref().is_some_and(|record| record.lockstep.is_some())
}

fn is_of_stack(config: &Config, served: &Served) -> bool {
    served.record.as_ref().is_some_and(|record| {
        record.cell.train == config.train.name
            && record.cell.driver == config.driver.version
            && record.driver_name == config.driver.name.as_str()
    })
}

/// Those of a channel; all of them where none is given.
pub fn in_channel(config: &Config, all: Vec<Listed>, channel: Option<&ChannelName>) -> Vec<Listed> {
    let wanted = |listed: &Listed| channel.is_none() || channel_of(config, &listed.served) == channel;
    all.into_iter().filter(wanted).collect()
}
