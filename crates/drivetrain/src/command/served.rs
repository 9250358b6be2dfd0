//! What a target serves, and which of it a configuration means.

use drivetrain_config::{ChannelName, Config};
use drivetrain_model::ExitCode;
use drivetrain_publish::{Listed, Served};

use crate::failure::{Failure, Result};
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
    let cell = &served.record.as_ref()?.cell;
    let here = |channel: &&ChannelName| {
        address(config, cell, Some(channel)).is_ok_and(|address| address.path == served.path)
    };
    config.publish.channels.iter().find(here)
}

/// Whether a repository is of the configuration's train and driver, whatever its kernel and architecture.
pub fn is_meant(config: &Config, served: &Served) -> bool {
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
