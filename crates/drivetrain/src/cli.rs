//! The command line.

use std::num::NonZeroUsize;

use camino::Utf8PathBuf;
use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;
use drivetrain_model::{ComponentName, ExitCode, KernelRelease, RunId};

/// From a new kernel in a release train to a tested driver repository that the fleet installs from.
///
/// drivetrain reads a configuration (see `drivetrain init`), chooses a kernel of the release train, rebuilds the
/// driver's source RPMs against exactly that kernel in a sandbox, proves symbol by symbol that every module
/// loads, and publishes the result as a YUM repository in one atomic step.
#[derive(Debug, Parser)]
#[command(name = "drivetrain", version, max_term_width = 110, propagate_version = true)]
#[command(
    after_help = "Begin with `drivetrain init`, then look at `drivetrain plan`, then `drivetrain run`.\n\
                        Exit codes are listed by `drivetrain --help` and in drivetrain(1)."
)]
#[command(after_long_help = after_long_help())]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
    /// What all commands take.
    #[command(flatten)]
    pub global: Global,
}

/// The configuration file where none is named.
pub const DEFAULT_CONFIG: &str = "drivetrain.yaml";

/// Options of all commands.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The configuration file.
    #[arg(
        long,
        short,
        global = true,
        value_name = "FILE",
        env = "DRIVETRAIN_CONFIG",
        default_value = DEFAULT_CONFIG
    )]
    #[arg(value_hint = ValueHint::FilePath)]
    pub config: Utf8PathBuf,
    /// Take this value in place of the configuration's, such as driver.version=3.2.1 or
    /// train.kernel=newest-buildable; may be repeated. A value that begins with a bracket, a brace or a quotation mark
    /// is read as YAML.
    #[arg(long, global = true, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Of a configuration with a matrix, mean these cells: TRAIN/DRIVER/KERNEL/ARCH, where * stands for any text. May be
    /// repeated.
    #[arg(long, global = true, value_name = "PATTERN")]
    pub cell: Vec<glob::Pattern>,
    /// Where caches, logs and the records of runs are kept [default: /var/lib/drivetrain for root, otherwise
    /// ~/.local/state/drivetrain].
    #[arg(long, global = true, value_name = "DIR", env = "DRIVETRAIN_STATE", value_hint = ValueHint::DirPath)]
    pub state: Option<Utf8PathBuf>,
    /// Print JSON on standard output: results as one object, progress as one event a line.
    #[arg(long, global = true)]
    pub json: bool,
    /// Do not show progress.
    #[arg(long, short, global = true)]
    pub quiet: bool,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented configuration to start from.
    Init(Init),
    /// Show what would be built and published, and why; change nothing.
    Plan(PlanArgs),
    /// Say which packages something needs, which of them the train has, and why.
    Closure(ClosureArgs),
    /// Build the components and prove that every module loads; publish nothing.
    Build(BuildArgs),
    /// Boot the kernel under QEMU with what was built, and load every module; publish nothing.
    Prove(ProveArgs),
    /// Publish what was built and proven.
    Push(PushArgs),
    /// Plan, build, prove and publish.
    Run(RunArgs),
    /// Say whether a kernel would load the modules in these files.
    Check(Check),
    /// Say what differs between two driver repositories: which packages, and which symbols of which modules.
    Diff(DiffArgs),
    /// Verify a published repository from end to end: signatures, checksums, what it says of itself, and its modules.
    Verify(VerifyArgs),
    /// Serve in the next channel what is served in this one.
    Promote(Promote),
    /// Serve an earlier version of a repository again.
    Rollback(Rollback),
    /// Say what is served where: for which train, kernel and driver, since when, and how it was proven.
    Status(Status),
    /// Make a key for kernel modules, or have them signed on a host that has no network.
    Sign(SignArgs),
    /// List the machines that drivetrain made to build on, with their age, and how to get in.
    Machines(MachinesArgs),
    /// Remove the machines that nobody needs any more.
    Gc(GcArgs),
    /// List runs and repositories, or show the evidence of a run.
    Show(Show),
    /// Write the coverage page: what is served for which train, kernel and driver, how it was proven, and what is missing.
    Site(SiteArgs),
    /// Print a completion script for a shell.
    Completions(Completions),
    /// Write the manual pages.
    Man(Man),
    /// What a builder runs.
    #[command(subcommand, hide = true)]
    Worker(Worker),
}

/// `drivetrain init`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  drivetrain init\n  drivetrain init --config /etc/drivetrain/site.yaml\n  drivetrain init --stdout | less"
)]
pub struct Init {
    /// Where to write it [default: the file that --config names].
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<Utf8PathBuf>,
    /// Print it instead.
    #[arg(long)]
    pub stdout: bool,
    /// Write over a file that is there.
    #[arg(long)]
    pub force: bool,
}

/// How a lock file is used.
#[derive(Debug, Clone, Args)]
pub struct LockArgs {
    /// Refuse if anything differs from the lock file: another kernel, a changed package, other tools.
    #[arg(long)]
    pub locked: bool,
    /// The lock file [default: beside the configuration, with the ending .lock].
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub lock: Option<Utf8PathBuf>,
}

/// `drivetrain plan`
#[derive(Debug, Args)]
#[command(
    after_help = "Writes the lock file: every input by name, URL, size and checksum. Commit it, and let\n\
                        `--locked` refuse whatever has changed since.\n\n\
                        Examples:\n  drivetrain plan\n  drivetrain plan --locked\n  drivetrain plan --json | jq .kernel.release\n  \
                        drivetrain plan --explain"
)]
pub struct PlanArgs {
    #[command(flatten)]
    pub lock: LockArgs,
    /// Do not write the lock file.
    #[arg(long, conflicts_with = "locked")]
    pub no_lock: bool,
    /// Say for each value that was read from a Kayobe configuration (train.kayobe) which file and line it comes from.
    #[arg(long)]
    pub explain: bool,
}

/// `drivetrain closure`
#[derive(Debug, Args)]
#[command(
    after_help = "Changes nothing. Ends with code 3 where the packages cannot be installed, and says by which chain.\n\n\
                        Examples:\n  drivetrain closure\n  drivetrain closure doca-ofed-userspace mlnx-tools --tree\n  \
                        drivetrain closure 'libibverbs >= 2510' --why libnl3\n  drivetrain closure perftest --json"
)]
pub struct ClosureArgs {
    /// Package names, capabilities with or without a version, or paths [default: driver.userspace.packages of the
    /// configuration].
    #[arg(value_name = "PACKAGE")]
    pub packages: Vec<String>,
    /// Say why a package is needed: all chains from what is wanted to it.
    #[arg(long, value_name = "NAME", conflicts_with = "tree")]
    pub why: Option<String>,
    /// Show the packages below those that need them.
    #[arg(long)]
    pub tree: bool,
}

/// What a build takes.
#[derive(Debug, Clone, Args)]
pub struct Building {
    /// Go on with the components that do not need one that failed.
    #[arg(long, short)]
    pub keep_going: bool,
    /// How many processes compile at once, all components together [default: builder.jobs].
    #[arg(long, short, value_name = "N")]
    pub jobs: Option<NonZeroUsize>,
    /// Try again what did not build before from the same inputs; for `kernel: newest-buildable`, which passes over the
    /// kernels that it is known of.
    #[arg(long)]
    pub retry: bool,
    /// Leave the machine that was made to build on if the run fails, until its lease ends; `drivetrain machines` says
    /// how to get in.
    #[arg(long)]
    pub keep: bool,
}

/// How several cells are gone about.
#[derive(Debug, Clone, Args)]
pub struct Several {
    /// How many cells of a matrix are worked on at once. They share the compile slots of --jobs [default: two where
    /// this host builds or a cloud has the machines, otherwise one].
    #[arg(long, value_name = "N")]
    pub at_once: Option<NonZeroUsize>,
    /// Write what became of it to this file too: a page where it ends in .html, JSON where it ends in .json, and
    /// otherwise Markdown after what is in it already, as the summary of a CI job takes it.
    #[arg(long, value_name = "FILE", env = "DRIVETRAIN_SUMMARY", value_hint = ValueHint::FilePath)]
    pub summary: Option<Utf8PathBuf>,
}

/// Waiting for another run.
#[derive(Debug, Clone, Args)]
pub struct Waiting {
    /// End with code 8 if another run is working on this cell, instead of waiting for it.
    #[arg(long)]
    pub no_wait: bool,
}

/// What a publication takes.
#[derive(Debug, Clone, Args)]
pub struct Publishing {
    /// Publish also what somebody has rolled back and nobody has replaced since.
    #[arg(long)]
    pub undo_rollback: bool,
    /// Publish also packages that take the place of others of the same name and version, with other bytes. Nodes that
    /// have the others do not notice. A Pulp server is asked; in a directory both stay.
    #[arg(long)]
    pub replace: bool,
}

/// `drivetrain build`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  drivetrain build --keep-going\n  drivetrain build --locked --jobs 16")]
pub struct BuildArgs {
    #[command(flatten)]
    pub lock: LockArgs,
    #[command(flatten)]
    pub building: Building,
    #[command(flatten)]
    pub several: Several,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `drivetrain prove`
#[derive(Debug, Args)]
#[command(
    after_help = "Builds nothing: a component that `drivetrain build` has not finished is an error. Ends with code 6 where a\n\
                        module does not load. `prove.boot` of the configuration makes `run` and `push` do the same.\n\n\
                        Examples:\n  drivetrain prove\n  drivetrain prove --json\n  drivetrain prove --set prove.timeout=15m\n  drivetrain prove --set prove.on=machine     on the builder"
)]
pub struct ProveArgs {
    #[command(flatten)]
    pub lock: LockArgs,
    #[command(flatten)]
    pub waiting: Waiting,
}

/// `drivetrain push`
#[derive(Debug, Args)]
#[command(
    after_help = "Builds nothing: a component that `drivetrain build` has not finished is an error.\n\n\
                        Examples:\n  drivetrain push --why 'CVE-2026-1234'"
)]
pub struct PushArgs {
    #[command(flatten)]
    pub lock: LockArgs,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub publishing: Publishing,
    /// Why, for the repository's history.
    #[arg(long, default_value = "drivetrain push")]
    pub why: String,
}

/// `drivetrain run`
#[derive(Debug, Args)]
#[command(
    after_help = "A run that was killed is gone on with by the next: what was fetched and built is kept.\n\n\
                        Examples:\n  drivetrain run\n  drivetrain run --locked --json\n  drivetrain run --keep-going --jobs 8"
)]
pub struct RunArgs {
    #[command(flatten)]
    pub lock: LockArgs,
    #[command(flatten)]
    pub building: Building,
    #[command(flatten)]
    pub several: Several,
    #[command(flatten)]
    pub waiting: Waiting,
    #[command(flatten)]
    pub publishing: Publishing,
    /// Why, for the repository's history.
    #[arg(long, default_value = "drivetrain run")]
    pub why: String,
}

/// `drivetrain sign`
#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true))]
#[command(
    after_help = "A run signs modules by itself where driver.module_signing names a key, a token or a command. With `exchange:\n\
                        true` it says what is missing: --export writes that to a file, --offline signs it where the key is, and\n\
                        --import takes the signatures in. No key leaves its host.\n\n\
                        Examples:\n  drivetrain sign --new-key /etc/drivetrain/keys --name 'Site module signing'\n  \
                        drivetrain sign --export request.json\n  \
                        drivetrain sign --offline request.json --certificate module-signing.pem --key module-signing.key -o response.json\n  \
                        drivetrain sign --import response.json"
)]
pub struct SignArgs {
    /// Make a key and its certificate in this directory.
    #[arg(long, value_name = "DIR", group = "what", requires = "name", value_hint = ValueHint::DirPath)]
    pub new_key: Option<Utf8PathBuf>,
    /// The name on the certificate, as modinfo and mokutil show it.
    #[arg(long, value_name = "NAME", requires = "new_key")]
    pub name: Option<String>,
    /// For how many days the certificate is valid.
    #[arg(long, value_name = "N", default_value_t = 3650, requires = "new_key")]
    pub days: u32,
    /// The size of the key: 2048, 3072 or 4096.
    #[arg(long, value_name = "N", default_value_t = 4096, requires = "new_key")]
    pub bits: usize,
    /// Write what is to be signed to this file.
    #[arg(long, value_name = "FILE", group = "what", value_hint = ValueHint::FilePath)]
    pub export: Option<Utf8PathBuf>,
    /// Sign what this file asks for. Needs no configuration and no network.
    #[arg(long, value_name = "REQUEST", group = "what", requires_all = ["certificate", "key", "output"], value_hint = ValueHint::FilePath)]
    pub offline: Option<Utf8PathBuf>,
    /// Take in what was signed.
    #[arg(long, value_name = "FILE", group = "what", value_hint = ValueHint::FilePath)]
    pub import: Option<Utf8PathBuf>,
    /// The certificate, for --offline.
    #[arg(long, value_name = "FILE", requires = "offline", value_hint = ValueHint::FilePath)]
    pub certificate: Option<Utf8PathBuf>,
    /// The private key, for --offline.
    #[arg(long, value_name = "FILE", requires = "offline", value_hint = ValueHint::FilePath)]
    pub key: Option<Utf8PathBuf>,
    /// Where the signatures go, for --offline.
    #[arg(long, short, value_name = "FILE", requires = "offline", value_hint = ValueHint::FilePath)]
    pub output: Option<Utf8PathBuf>,
    /// The environment variable that has the key's passphrase.
    #[arg(long, value_name = "NAME")]
    pub passphrase_from: Option<String>,
}

/// `drivetrain machines`
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the provider that the configuration names, and finds what has drivetrain's marks, whoever made it.\n\n\
                        Examples:\n  drivetrain machines\n  drivetrain machines --json"
)]
pub struct MachinesArgs {}

/// `drivetrain gc`
#[derive(Debug, Args)]
#[command(
    after_help = "Removes what has expired, whoever made it and whatever became of who did, and what was made for runs of this\n\
                        state directory that have ended. What does not have drivetrain's marks is never touched. For a timer.\n\n\
                        Examples:\n  drivetrain gc\n  drivetrain gc --dry-run\n  drivetrain gc --lease dt-0123456789ab"
)]
pub struct GcArgs {
    /// Remove the machine of this lease, whether anybody needs it or not.
    #[arg(long, value_name = "LEASE")]
    pub lease: Option<drivetrain_machines::LeaseId>,
    /// Say what would be removed, and remove nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

/// `drivetrain worker`
#[derive(Debug, Subcommand)]
pub enum Worker {
    /// Say what compiles here.
    Probe {
        /// Where everything of drivetrain's is.
        #[arg(long)]
        directory: Utf8PathBuf,
    },
    /// Build what a request asks for.
    Build {
        /// Where everything of drivetrain's is.
        #[arg(long)]
        directory: Utf8PathBuf,
        /// The request.
        request: Utf8PathBuf,
    },
    /// Unpack an archive to its place.
    Unpack {
        /// The archive.
        archive: Utf8PathBuf,
        /// The place.
        place: Utf8PathBuf,
    },
}

/// `drivetrain check`
#[derive(Debug, Args)]
#[command(
    after_help = "Needs no configuration. Ends with code 6 if something would not load, and with 4 if a file cannot be\n\
                        read or is damaged.\n\n\
                        With --signing it says what driver.module_signing and publish.sign of the configuration would sign\n\
                        with, makes a signature with each of the keys, and ends with code 2 where one is not good. A signing\n\
                        command is run for that, a token logged in to.\n\n\
                        Examples:\n  \
                        drivetrain check kmod-*.rpm --kernel kernel-devel-5.14.0-427.el9_4.x86_64.rpm\n  \
                        drivetrain check mlx5_core.ko ib_core.ko --kernel /usr/src/kernels/5.14.0-427.el9_4.x86_64\n  \
                        drivetrain check ./driver-repo --kernel Module.symvers --release 5.14.0-427.el9_4.x86_64\n  \
                        drivetrain check --signing"
)]
pub struct Check {
    /// RPMs, modules (.ko, .ko.xz, …), or directories of them. All together are judged as one set.
    #[arg(required_unless_present = "signing", value_name = "FILE", value_hint = ValueHint::AnyPath)]
    pub files: Vec<Utf8PathBuf>,
    /// The kernel: its kernel-devel or kernel-core RPM, a directory (/usr/src/kernels/RELEASE,
    /// /lib/modules/RELEASE), or a Module.symvers.
    #[arg(
        long,
        short = 'K',
        value_name = "FILE|DIR",
        value_hint = ValueHint::AnyPath,
        required_unless_present = "signing"
    )]
    pub kernel: Option<Utf8PathBuf>,
    /// The kernel's release, where --kernel does not tell it.
    #[arg(long, value_name = "RELEASE")]
    pub release: Option<KernelRelease>,
    /// Let modules through that were built for another release and fit this kernel symbol by symbol, as the
    /// kernel itself does with weak-modules. How many that are, and for which release they were built, is printed;
    /// no run publishes such modules.
    #[arg(long)]
    pub any_release: bool,
    /// Tell of every module, not only of those that do not load.
    #[arg(long, short)]
    pub verbose: bool,
    /// Try the keys that the configuration signs modules and packages with, instead of judging modules.
    #[arg(long, conflicts_with_all = ["files", "kernel", "release", "any_release", "verbose"])]
    pub signing: bool,
}

/// `drivetrain diff`
#[derive(Debug, Args)]
#[command(
    after_help = "The modules of one name are compared by what the kernel's loader looks at (what they say of themselves, the\n\
                        symbols that they need and offer, with their CRCs) and by the bytes of all other sections. Needs no\n\
                        configuration. The exit code is 0 whether anything differs or not.\n\n\
                        Examples:\n  \
                        drivetrain diff https://ark/rocky-9.6/3.2.0/K1/x86_64/ https://ark/rocky-9.6/3.2.0/K2/x86_64/\n  \
                        drivetrain diff ./before ./after --verbose\n  \
                        drivetrain diff kmod-x-1.rpm kmod-x-2.rpm"
)]
pub struct DiffArgs {
    /// A repository's URL or directory, or RPMs and modules: a file, or a directory of them.
    #[arg(value_name = "BEFORE", value_hint = ValueHint::AnyPath)]
    pub before: String,
    /// What it is compared with.
    #[arg(value_name = "AFTER", value_hint = ValueHint::AnyPath)]
    pub after: String,
    /// Name every symbol, and both values of what differs.
    #[arg(long, short)]
    pub verbose: bool,
}

/// `drivetrain verify`
#[derive(Debug, Args)]
#[command(
    after_help = "Every byte of metadata and packages is fetched and compared with its checksum; the signatures over repomd.xml,\n\
                        the packages and the statement are verified; the statement, the evidence and the bill of materials are\n\
                        compared with the packages; and every module is looked at. Needs no configuration and no key of the site's:\n\
                        without --key the keys that the repository serves are used, which says that it is of one piece and not whose\n\
                        it is. Ends with code 4 where a checksum, a signature or the statement is not as it should be, and with 6\n\
                        where a module is not for the kernel.\n\n\
                        Examples:\n  \
                        drivetrain verify https://ark/rocky-9.6/3.2.0/K1/x86_64/ --key RPM-GPG-KEY-site\n  \
                        drivetrain verify ./served --allow unsigned\n  \
                        drivetrain verify https://ark/… --key site.asc --against kernel-devel-K1.rpm"
)]
pub struct VerifyArgs {
    /// The repository: the URL that consumers have in their .repo file, or its directory.
    #[arg(value_name = "URL", value_hint = ValueHint::AnyPath)]
    pub repository: String,
    /// A key that is trusted: a file or URL with armored public keys. May be given several times.
    #[arg(long = "key", value_name = "FILE|URL", value_hint = ValueHint::AnyPath)]
    pub keys: Vec<String>,
    /// The kernel that there have to be modules for.
    #[arg(long, value_name = "RELEASE")]
    pub kernel: Option<KernelRelease>,
    /// Judge every symbol anew against a kernel: its kernel-devel or kernel-core RPM, a directory, or a Module.symvers.
    #[arg(long, value_name = "FILE|DIR", value_hint = ValueHint::AnyPath)]
    pub against: Option<Utf8PathBuf>,
    /// What may be missing. May be given several times.
    #[arg(long, value_name = "WHAT", value_enum)]
    pub allow: Vec<Allowed>,
}

/// What a repository may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Allowed {
    /// Signatures over metadata, packages and the statement.
    Unsigned,
    /// The statement of what it was made of.
    Unstated,
}

/// `drivetrain promote`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is built or copied: the channel serves the same publication. All repositories that are meant\n\
                        change together, or none of them does. Channels are in publish.channels.\n\n\
                        Examples:\n  drivetrain promote\n  drivetrain promote --from testing --to release --why 'passed acceptance'\n  \
                        drivetrain promote 5.14.0-427.31.1.el9_4.x86_64 --dry-run"
)]
pub struct Promote {
    /// The kernels whose repositories are meant [default: all of the train and driver, of all architectures].
    pub kernels: Vec<KernelRelease>,
    /// The channel to take from [default: the one before --to, or the first].
    #[arg(long, value_name = "CHANNEL")]
    pub from: Option<String>,
    /// The channel to take to [default: the one after --from].
    #[arg(long, value_name = "CHANNEL")]
    pub to: Option<String>,
    /// Why, for the repository's history.
    #[arg(long, default_value = "drivetrain promote")]
    pub why: String,
    /// Promote also what somebody has rolled back in that channel.
    #[arg(long)]
    pub undo_rollback: bool,
    /// Say what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

/// `drivetrain status`
#[derive(Debug, Args)]
#[command(after_help = "Ends with code 7 where something is not as drivetrain left it.\n\n\
                        Examples:\n  drivetrain status\n  drivetrain status --verify\n  drivetrain status --json | jq '.[].url'\n  \
                        drivetrain status --repo-file > /etc/yum.repos.d/drivetrain.repo")]
pub struct Status {
    /// Read every package back through the URL that consumers use, and compare its checksum.
    #[arg(long)]
    pub verify: bool,
    /// Print the `.repo` file for consumers, of everything that is served for the configuration's train and driver.
    #[arg(long, conflicts_with = "verify")]
    pub repo_file: bool,
    /// Of this channel only.
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<String>,
}

/// `drivetrain rollback`
#[derive(Debug, Args)]
#[command(
    after_help = "Nothing is deleted: the version that was served stays, and `drivetrain rollback --to` returns to it.\n\
                        `drivetrain run` and `drivetrain push` do not publish the same again unless --undo-rollback says so.\n\n\
                        Examples:\n  drivetrain rollback\n  drivetrain rollback 5.14.0-427.31.1.el9_4.x86_64 --to 3 --why 'ib_core regression'"
)]
pub struct Rollback {
    /// The kernel whose repository is meant; needed where the configuration's train has several.
    pub kernel: Option<KernelRelease>,
    /// The repository that holds kernels and drivers together is meant.
    #[arg(long, conflicts_with = "kernel")]
    pub lockstep: bool,
    /// The version to serve [default: the one that was served before].
    #[arg(long, value_name = "VERSION")]
    pub to: Option<u64>,
    /// The channel; needed where several serve the kernel's repository.
    #[arg(long, value_name = "CHANNEL")]
    pub channel: Option<String>,
    /// Why, for the repository's history.
    #[arg(long, default_value = "drivetrain rollback")]
    pub why: String,
    /// Say what would be done, and do nothing.
    #[arg(long, short = 'n')]
    pub dry_run: bool,
}

/// `drivetrain show`
#[derive(Debug, Args)]
#[command(
    after_help = "Each run leaves its report in its directory, as report.html, report.md and report.json; these print it for any run.\n\n\
                        Examples:\n  drivetrain show\n  drivetrain show latest\n  drivetrain show 20261124T031500Z-k3x9 --log iser\n  \
                        drivetrain show latest --html > report.html\n  drivetrain show latest --markdown >> \"$GITHUB_STEP_SUMMARY\"\n  \
                        drivetrain show latest --annotations"
)]
pub struct Show {
    /// The run; `latest` for the last one. Without it, all runs and all repositories are listed, or the report of the last
    /// run is printed.
    pub run: Option<String>,
    /// Print the run's report as a page.
    #[arg(long, group = "as")]
    pub html: bool,
    /// Print the run's report as Markdown, as the summary of a CI job takes it.
    #[arg(long, group = "as")]
    pub markdown: bool,
    /// Print first errors, kernels that are held back, and warnings as workflow commands of GitHub Actions.
    #[arg(long, group = "as")]
    pub annotations: bool,
    /// Print the log of a component.
    #[arg(long, value_name = "COMPONENT", requires = "run", group = "as")]
    pub log: Option<ComponentName>,
    /// Print the journal: every event of the run.
    #[arg(long, requires = "run", group = "as")]
    pub journal: bool,
}

/// `drivetrain site`
#[derive(Debug, Args)]
#[command(
    after_help = "Reads the publication target, the train's repositories, and what is known not to build. Writes index.html,\n\
                        which needs no other file and no script, coverage.json and coverage.md. For a timer, and a web server.\n\n\
                        Examples:\n  drivetrain site /srv/www/drivers\n  drivetrain site public --no-train"
)]
pub struct SiteArgs {
    /// The directory to write to; made where it is missing.
    #[arg(value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub directory: Utf8PathBuf,
    /// Do not read the train's repositories: say what is served, and not what is missing.
    #[arg(long)]
    pub no_train: bool,
}

/// `drivetrain completions`
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  drivetrain completions bash > /usr/share/bash-completion/completions/drivetrain"
)]
pub struct Completions {
    /// The shell.
    pub shell: Shell,
}

/// `drivetrain man`
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  drivetrain man /usr/share/man/man1")]
pub struct Man {
    /// The directory to write them to.
    #[arg(value_hint = ValueHint::DirPath)]
    pub directory: Utf8PathBuf,
}

fn after_long_help() -> String {
    let mut text = String::from("Exit codes:\n");
    for (code, meaning) in ExitCode::ALL {
        text.push_str(&format!("  {:>3}  {meaning}\n", u8::from(*code)));
    }
    text.push_str(
        "\nExamples:\n  drivetrain init && $EDITOR drivetrain.yaml\n  drivetrain plan\n  drivetrain run\n  \
         drivetrain show latest",
    );
    text
}

/// The run that `show` means.
pub fn parse_run(text: &str) -> Result<Option<RunId>, drivetrain_model::NameError> {
    if text == "latest" { Ok(None) } else { RunId::parse(text).map(Some) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }
}
