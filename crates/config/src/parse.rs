//! From text to [`Config`].

use camino::Utf8Path;

use crate::fields::{Fields, Key, ROOT, key};
use crate::overrides::{self, Lines};
use crate::problems::Problems;
use crate::site::{self, SiteReader};
use crate::snippet::Source;
use crate::tree::{self, Place};
use crate::{Config, ConfigError, ConfiguredCell, builder, consumers, driver, matrix, prove, publish, train};

/// The longest text that is read: a thousand times what a real configuration has.
pub const MAX_BYTES: usize = 1024 * 1024;

const KEYS: &[Key] = &[
    key("train", "the release train, whose kernel the modules are built for"),
    key("driver", "the driver stack that is built"),
    key("builder", "where the build's commands run"),
    key("prove", "what is proven beyond symbols before anything is published"),
    key("publish", "where the driver repository goes"),
    key("consumers", "what the machines that install from it see"),
    key(matrix::MATRIX, "keys that take several values: a cell for each combination"),
];

/// What every section needs beside its node.
pub(crate) struct Context<'a> {
    pub(crate) env: &'a dyn Fn(&str) -> Option<String>,
    pub(crate) base_dir: &'a Utf8Path,
}

/// Reads the configuration of one cell.
///
/// `file_name` is what errors call the file. `env` looks up an environment variable; it is asked for nothing
/// but the names in `${…}` of credentials. `base_dir` is the directory of the file, absolute: relative paths
/// start there. Nothing else is read, so the same arguments give the same answer.
///
/// # Errors
/// All mistakes of the file, as far as one does not hide another; and a `matrix` of more cells than one.
pub fn parse(
    text: &str,
    file_name: &str,
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Utf8Path,
) -> Result<Config, ConfigError> {
    parse_with(text, file_name, &[], env, base_dir)
}

/// Reads the configuration of one cell, of which some values are given elsewhere: see [`parse_cells`].
///
/// # Errors
/// As [`parse`].
pub fn parse_with(
    text: &str,
    file_name: &str,
    overrides: &[String],
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Utf8Path,
) -> Result<Config, ConfigError> {
    let mut cells = parse_cells(text, file_name, overrides, env, base_dir)?;
    match (cells.pop(), cells.is_empty()) {
        (Some(cell), true) => Ok(cell.config),
        _ => Err(ConfigError::of_file(file_name, "this has several cells, and one is asked for", None)),
    }
}

/// Reads a configuration: one for each cell of its `matrix`, in order, or one where it has none. Some values may be given
/// elsewhere, each as `KEY=VALUE`: `driver.version=3.2.1`. They take the place of the file's, and of a whole axis of the
/// matrix. A value is taken as it stands, or as YAML where it begins with `[`, `{`, `"` or `'`.
///
/// # Errors
/// As [`parse`]; a mistake in such a value is told with `--set` and not with a line of the file. Two cells that would be
/// published to the same place are one.
pub fn parse_cells(
    text: &str,
    file_name: &str,
    overrides: &[String],
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Utf8Path,
) -> Result<Vec<ConfiguredCell>, ConfigError> {
    parse_site(text, file_name, overrides, env, base_dir, &site::no_reader)
}

/// As [`parse_cells`], with what reads a site's configuration where `train.kayobe` names one.
///
/// # Errors
/// As [`parse_cells`]; and where the site's configuration cannot be read.
pub fn parse_site(
    text: &str,
    file_name: &str,
    overrides: &[String],
    env: &dyn Fn(&str) -> Option<String>,
    base_dir: &Utf8Path,
    reader: &SiteReader<'_>,
) -> Result<Vec<ConfiguredCell>, ConfigError> {
    let context = Context { env, base_dir };
    if text.len() > MAX_BYTES {
        let message =
            format!("the file has {} bytes, and a configuration has at most {MAX_BYTES}", text.len());
        return Err(ConfigError::of_file(file_name, message, None));
    }
    if !base_dir.is_absolute() {
        let message = format!("the directory {base_dir:?} that relative paths start from is not absolute");
        return Err(ConfigError::of_file(file_name, message, None));
    }
    let root = match tree::read(text) {
        Ok(Some(root)) => root,
        Ok(None) => {
            return Err(ConfigError::of_file(
                file_name,
                "the file is empty",
                Some("`drivetrain init` writes one to start from"),
            ));
        }
        Err(error) => {
            let source = Source::of_text(text);
            let mut problems = Problems::new(&source);
            let help = error.help.map(str::to_owned);
            match error.place {
                Some(place) => problems.add(&place, error.message, help),
                None => problems.add_for_file(error.message, help),
            }
            return problems.finish(file_name, None);
        }
    };
    let lines = Lines::after(text, overrides);
    // With the overrides in it, so that what they set is hidden where it is a secret.
    let (changed, refused) = overrides::apply(&root, overrides, &lines);
    let source = Source::of_trees(&lines.text, &[&root, &changed]).with_overrides_from(lines.start);
    let mut problems = Problems::new(&source);
    refused.tell(&mut problems);
    let set: Vec<&str> = overrides.iter().filter_map(|given| Some(given.split_once('=')?.0)).collect();
    let mut cells = Vec::new();
    for root in matrix::expand(&changed, &set, &mut problems) {
        let (root, _) = overrides::apply(&root, overrides, &lines);
        let start = Place { line: 1, column: 1, bytes: 0..0 };
        let Some(site) = site::enrich(&root, &context, reader, &mut problems) else {
            cells.push(None);
            continue;
        };
        let env = |name: &str| site.secret(name).or_else(|| env(name));
        let context = Context { env: &env, base_dir };
        let config = Fields::read(&site.root, ROOT, &start, KEYS, &mut problems)
            .and_then(|fields| sections(&fields, &context, &mut problems));
        cells.push(config.map(|mut config| {
            site.note(&mut config);
            ConfiguredCell::new(config)
        }));
    }
    let cells: Option<Vec<ConfiguredCell>> = cells.into_iter().collect();
    if let Some(twice) = cells.as_deref().and_then(matrix::twice) {
        let help = "give the trains names of their own, or leave one of the cells out with matrix.exclude";
        problems.add_for_file(format!("two cells are {twice}"), Some(help.to_owned()));
    }
    problems.finish(file_name, cells)
}

fn sections(fields: &Fields<'_>, context: &Context<'_>, problems: &mut Problems<'_>) -> Option<Config> {
    // Every section is read before any is given up, so that all mistakes are told.
    let train = fields.require("train", problems).and_then(|field| train::read(&field, context, problems));
    let driver = fields.require("driver", problems).and_then(|field| {
        let train = train.as_ref();
        driver::read(&field, train, context, problems)
    });
    let builder = builder::read(fields.get("builder").as_ref(), context, problems);
    if let (Some(driver), Some(builder)) = (&driver, &builder) {
        driver::check_builder(fields.get("driver").as_ref(), driver, builder, problems);
    }
    let publish =
        fields.require("publish", problems).and_then(|field| publish::read(&field, context, problems));
    let prove = prove::read(fields.get("prove").as_ref(), problems);
    if let (Some(prove), Some(builder)) = (&prove, &builder) {
        prove::check(fields.get("prove").as_ref(), prove, builder, problems);
    }
    let consumers =
        consumers::read(fields.get("consumers").as_ref(), train.as_ref(), driver.as_ref(), problems);
    Some(Config {
        train: train?,
        driver: driver?,
        builder: builder?,
        prove: prove?,
        publish: publish?,
        consumers: consumers?,
    })
}
