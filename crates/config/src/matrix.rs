//! `matrix`: several cells from one file.
//!
//! Each axis is a key of the file with the values that it takes in turn; a cell has one value of each. A mapping is laid
//! over what the file says there, so that the axis `train` needs no more than what differs; everything else takes its
//! place. The cells are trees like the file's own, and each is read by the same readers: what is wrong with a value is
//! told where it stands.

use std::rc::Rc;

use drivetrain_model::KernelPolicy;

use crate::Config;
use crate::fields::ROOT;
use crate::problems::{Problems, alternatives, quote};
use crate::tree::{Entry, Node, Place, Value};

/// The key of the section.
pub(crate) const MATRIX: &str = "matrix";
/// The key of what is left out.
const EXCLUDE: &str = "exclude";
/// The sections whose keys may be axes.
const SECTIONS: &[&str] = &["train", "driver", "builder", "prove", "publish", "consumers"];
/// More than a site has, and as many as are still read in an instant.
const MAX_CELLS: usize = 256;

/// What is built and published as one: a configuration, and what tells it from the others of its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfiguredCell {
    /// `train/driver/kernel/arch`, with the policy where the kernel is not named.
    pub name: String,
    /// The configuration.
    pub config: Config,
}

impl ConfiguredCell {
    /// With the name that follows from the configuration.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let kernel = match &config.train.kernel {
            KernelPolicy::Latest => "latest".to_owned(),
            KernelPolicy::NewestBuildable => "newest-buildable".to_owned(),
            KernelPolicy::AllInTrain => "all-in-train".to_owned(),
            KernelPolicy::Exact(release) => release.to_string(),
            KernelPolicy::Ceiling(release) => format!("up-to-{release}"),
        };
        let name = format!("{}/{}/{kernel}/{}", config.train.name, config.driver.version, config.train.arch);
        Self { name, config }
    }
}

/// An axis: the keys that lead to its place, and its values.
struct Axis<'n> {
    path: String,
    values: &'n [Rc<Node>],
}

/// The tree of each cell; the file's own, without the section, where there is none. What the command line sets (`set`, as
/// keys with dots) is no axis any more.
pub(crate) fn expand(root: &Rc<Node>, set: &[&str], problems: &mut Problems<'_>) -> Vec<Rc<Node>> {
    let Value::Mapping(entries) = &root.value else { return vec![Rc::clone(root)] };
    let Some(section) = entries.iter().find(|entry| entry.key == MATRIX) else {
        return vec![Rc::clone(root)];
    };
    let rest = entries.iter().filter(|entry| entry.key != MATRIX).cloned().collect();
    let base = Node::new(root.place.clone(), Value::Mapping(rest));
    let Value::Mapping(keys) = &section.value.value else {
        let help =
            "write `driver.version: [3.2.1, 3.2.3]` below it, a line for each key that takes several values";
        problems.add(&section.key_place, "matrix must be a mapping of axes", Some(help.to_owned()));
        return Vec::new();
    };
    let axes: Vec<Axis<'_>> =
        keys.iter().filter(|entry| entry.key != EXCLUDE).filter_map(|entry| axis(entry, problems)).collect();
    let axes: Vec<Axis<'_>> =
        axes.into_iter().filter(|axis| !set.iter().any(|set| covers(set, &axis.path))).collect();
    let count = axes.iter().try_fold(1usize, |count, axis| count.checked_mul(axis.values.len()));
    if count.is_none_or(|count| count > MAX_CELLS) {
        let message = format!("matrix has more than {MAX_CELLS} cells");
        problems.add(&section.key_place, message, Some("write several configurations".to_owned()));
        return Vec::new();
    }
    let mut cells = vec![Rc::new(base)];
    for axis in &axes {
        cells = cells
            .iter()
            .flat_map(|cell| axis.values.iter().map(|value| laid_over(cell, axis, value)))
            .collect();
    }
    let excluded = keys
        .iter()
        .find(|entry| entry.key == EXCLUDE)
        .map_or_else(Vec::new, |entry| exclusions(entry, problems));
    for exclusion in &excluded {
        let before = cells.len();
        cells.retain(|cell| !exclusion.is_met_by(cell));
        if cells.len() == before {
            let message = "no cell of the matrix is like this";
            problems.add(exclusion.place, message, Some("correct it, or take it out".to_owned()));
        }
    }
    if cells.is_empty() {
        problems.add(&section.key_place, "matrix leaves no cell: all are excluded", None);
    }
    cells
}

/// Whether what is set takes the whole of an axis.
fn covers(set: &str, axis: &str) -> bool {
    axis == set || axis.strip_prefix(set).is_some_and(|rest| rest.starts_with('.'))
}

fn axis<'n>(entry: &'n Entry, problems: &mut Problems<'_>) -> Option<Axis<'n>> {
    let section = entry.key.split('.').next().unwrap_or_default();
    if !SECTIONS.contains(&section) || entry.key.split('.').any(str::is_empty) {
        let message = format!("{} is no key of {ROOT} that could take several values", quote(&entry.key));
        let help =
            format!("an axis begins with {}, such as driver.version", alternatives(SECTIONS.iter().copied()));
        problems.add(&entry.key_place, message, Some(help));
        return None;
    }
    match &entry.value.value {
        Value::Sequence(values) if !values.is_empty() => Some(Axis { path: entry.key.clone(), values }),
        _ => {
            let message = format!("matrix.{} must be a list of the values that it takes in turn", entry.key);
            problems.add(&entry.key_place, message, None);
            None
        }
    }
}

fn laid_over(cell: &Rc<Node>, axis: &Axis<'_>, value: &Rc<Node>) -> Rc<Node> {
    let keys: Vec<&str> = axis.path.split('.').collect();
    Rc::new(with(cell, &keys, value))
}

/// A tree with a value laid over what stands where the keys lead.
fn with(node: &Node, keys: &[&str], value: &Rc<Node>) -> Node {
    let Some((key, rest)) = keys.split_first() else { return merged(node, value) };
    let mut entries = match &node.value {
        Value::Mapping(entries) => entries.clone(),
        // What is no mapping is replaced by one, and the reader of the section says what is missing in it.
        _ => Vec::new(),
    };
    let nothing = || Node::new(value.place.clone(), Value::Null);
    match entries.iter_mut().find(|entry| entry.key == *key) {
        Some(entry) => entry.value = Rc::new(with(&entry.value, rest, value)),
        None => entries.push(Entry {
            key: (*key).to_owned(),
            key_place: value.place.clone(),
            value: Rc::new(with(&nothing(), rest, value)),
        }),
    }
    Node::new(node.place.clone(), Value::Mapping(entries))
}

/// A mapping with another laid over it, key by key; what is no mapping takes the place of what was there.
fn merged(under: &Node, over: &Rc<Node>) -> Node {
    let (Value::Mapping(below), Value::Mapping(above)) = (&under.value, &over.value) else {
        return Node::clone(over);
    };
    let mut entries = below.clone();
    for entry in above {
        match entries.iter_mut().find(|known| known.key == entry.key) {
            Some(known) => {
                known.value = Rc::new(merged(&known.value, &entry.value));
                known.key_place = entry.key_place.clone();
            }
            None => entries.push(entry.clone()),
        }
    }
    Node::new(over.place.clone(), Value::Mapping(entries))
}

/// What a cell looks like that is left out: keys with dots, and the text that each has.
struct Exclusion<'n> {
    place: &'n Place,
    conditions: Vec<(&'n str, &'n str)>,
}

impl Exclusion<'_> {
    fn is_met_by(&self, cell: &Node) -> bool {
        self.conditions.iter().all(|(path, wanted)| text_at(cell, path) == Some(*wanted))
    }
}

fn exclusions<'n>(entry: &'n Entry, problems: &mut Problems<'_>) -> Vec<Exclusion<'n>> {
    let what = "matrix.exclude must be a list of cells, each as {train.name: …, driver.version: …}";
    let Value::Sequence(items) = &entry.value.value else {
        problems.add(&entry.key_place, what, None);
        return Vec::new();
    };
    items
        .iter()
        .filter_map(|item| {
            let conditions = match &item.value {
                Value::Mapping(entries) if !entries.is_empty() => entries
                    .iter()
                    .map(|entry| match &entry.value.value {
                        Value::Scalar { text, .. } => Some((entry.key.as_str(), text.as_str())),
                        _ => None,
                    })
                    .collect::<Option<Vec<_>>>(),
                _ => None,
            };
            if conditions.is_none() {
                problems.add(&item.place, what, None);
            }
            Some(Exclusion { place: &item.place, conditions: conditions? })
        })
        .collect()
}

/// The text that stands where keys lead.
fn text_at<'n>(node: &'n Node, path: &str) -> Option<&'n str> {
    let mut node = node;
    for key in path.split('.') {
        let Value::Mapping(entries) = &node.value else { return None };
        node = &entries.iter().find(|entry| entry.key == key)?.value;
    }
    match &node.value {
        Value::Scalar { text, .. } => Some(text),
        _ => None,
    }
}

/// The name that two cells have.
pub(crate) fn twice(cells: &[ConfiguredCell]) -> Option<&str> {
    let mut names: Vec<&str> = cells.iter().map(|cell| cell.name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0])
}
