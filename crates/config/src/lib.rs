//! The configuration of drivetrain: one YAML file, read into checked types, or refused with file, line,
//! column, the line itself and what to write instead.
//!
//! [`parse`] is a pure function: it is handed the text, the environment and the directory that relative
//! paths start from, and reads nothing. It works in two steps. `tree` turns YAML into nodes that know
//! where they stand and keep every scalar as it was written, so that version `1.10` stays `1.10` and is
//! never the number 1.1. Then one small module per section turns nodes into the types of `settings` and
//! goes on after a mistake, so that a file's mistakes are told all at once.

mod builder;
mod channel;
mod consumers;
mod driver;
mod effective;
mod error;
mod fields;
mod kayobe;
mod layout;
mod location;
mod matrix;
mod module_signing;
mod overrides;
mod parse;
mod patches;
mod placeholders;
mod problems;
mod prove;
mod publish;
mod report;
mod secret;
mod settings;
mod site;
mod snippet;
mod template;
mod train;
mod tree;

pub use channel::ChannelName;
pub use effective::Effective;
pub use error::{ConfigError, ConfigProblem};
pub use kayobe::{HostConfigure, Kayobe, KayobeGroup, VaultPassword};
pub use layout::{Layout, LockstepPath};
pub use location::Location;
pub use matrix::ConfiguredCell;
pub use parse::{MAX_BYTES, parse, parse_cells, parse_site, parse_with};
pub use placeholders::Template;
pub use secret::Secret;
pub use settings::{
    BootOn, BootTest, BuildRoot, Builder, BuilderKind, Components, Config, Consumers, Credentials, Debuginfo,
    Driver, DriverName, DriverPatch, ExtraSource, HeaderCondition, HeaderTest, Jobs, Lockstep,
    MachineSettings, ModuleHash, ModuleSigner, OpenStackServer, Prepare, Prove, Publish, PublishDirectory,
    PublishPulp, PublishSign, PublishTarget, PulpCredentials, QemuMachine, Repository, Reuse, SignBy,
    SshHost, Train, Userspace, VendorTool, VendorVisibility, Verify,
};
pub use site::{KayobeTrain, Secretive, SiteReader, SiteValue, SiteValues, TrainOrigin};
pub use template::config_template;
