//! The variables of a configuration: who defines them, and what they come to, evaluated when they are asked for.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use camino::Utf8Path;
use serde::Serialize;

use crate::layers::{self, Layers};
use crate::template::{self, Scope};
use crate::vault::{self, Password};
use crate::yaml::{self, Data, Node};
use crate::{KayobeError, Place, Value};

/// So many variables lead to one value at most.
const MAX_STACK: usize = 60;
/// So many evaluations take place at most.
const MAX_EVALUATIONS: usize = 20_000;
/// So many steps of a chain are kept.
const MAX_CHAIN: usize = 60;
/// So much is encrypted in one configuration at most: each takes its time to open.
const MAX_VAULTS: usize = 200;

/// Where a value stands: a variable, or an element of one, and the line of its definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Origin {
    /// The variable, with dots before elements.
    pub variable: String,
    /// Its definition.
    #[serde(flatten)]
    pub place: Place,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.variable, self.place)
    }
}

/// A value, and how it came about.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// What it comes to.
    pub value: Value,
    /// Where it stands.
    pub origin: Origin,
    /// The variables that took part, in the order in which they were reached.
    pub chain: Vec<Origin>,
    /// Whether something encrypted, or something of the environment, took part.
    pub secret: bool,
    /// How it is written, where that is a scalar without quotes.
    pub written: Option<String>,
}

/// All variables of a configuration.
pub struct Variables<'a> {
    definitions: BTreeMap<String, Definition>,
    given: BTreeMap<String, Value>,
    password: Option<Password>,
    environment: &'a dyn Fn(&str) -> Option<String>,
    state: RefCell<State>,
}

struct Definition {
    place: Place,
    node: Rc<Node>,
    /// Whether its whole file is encrypted.
    secret: bool,
}

#[derive(Default)]
struct State {
    stack: Vec<Frame>,
    cache: HashMap<String, Cached>,
    evaluations: usize,
    vaults: usize,
}

struct Frame {
    origin: Origin,
    chain: Vec<Origin>,
    secret: bool,
}

#[derive(Clone)]
struct Cached {
    value: Value,
    chain: Vec<Origin>,
    secret: bool,
}

impl fmt::Debug for Variables<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Variables({})", self.definitions.len())
    }
}

impl<'a> Variables<'a> {
    /// Reads a configuration's files. `given` is what Kayobe and Ansible know by themselves.
    ///
    /// # Errors
    /// Where a file cannot be read, is not what it should be, or does not open.
    pub fn read(
        layers: &Layers,
        password: Option<Password>,
        environment: &'a dyn Fn(&str) -> Option<String>,
        given: BTreeMap<String, Value>,
    ) -> Result<Self, KayobeError> {
        let mut variables = Self::empty(password, environment, given);
        for path in layers.files()? {
            let name = layers.name(&path);
            let count = variables.add(&name, &layers::read(&path)?)?;
            // Extra variables have to be some; those of groups need not.
            if count == 0 && !layers::is_of_a_group(&path) {
                let message = "the file defines nothing, and Ansible refuses such a file: was it cut? Where it is meant \
                               so, `workaround_ansible_issue_8743: yes` is what others write into it";
                return Err(KayobeError::Malformed {
                    place: Place::new(&name, 1),
                    message: message.to_owned(),
                });
            }
        }
        Ok(variables)
    }

    /// No variables, to which files are added.
    pub fn empty(
        password: Option<Password>,
        environment: &'a dyn Fn(&str) -> Option<String>,
        given: BTreeMap<String, Value>,
    ) -> Self {
        Self { definitions: BTreeMap::new(), given, password, environment, state: RefCell::default() }
    }

    /// Adds a file, which has the last word on what it defines, and says how much that is.
    ///
    /// # Errors
    /// Where it is not what it should be, or does not open.
    pub fn add(&mut self, file: &Utf8Path, text: &str) -> Result<usize, KayobeError> {
        let sealed = vault::is_vault(text);
        let opened = if sealed { Some(self.open(text, "the file", Place::new(file, 1))?) } else { None };
        let entries = yaml::read(opened.as_deref().unwrap_or(text), file)?;
        let count = entries.len();
        for (name, line, node) in entries {
            // A line of what was encrypted is no line of the file.
            let place = Place::new(file, if sealed { 0 } else { line });
            self.definitions.insert(name, Definition { place, node, secret: sealed });
        }
        Ok(count)
    }

    fn open(&self, text: &str, what: &str, place: Place) -> Result<String, KayobeError> {
        let what = what.to_owned();
        let Some(password) = &self.password else { return Err(KayobeError::Sealed { place, what }) };
        let mut state = self.state.borrow_mut();
        state.vaults += 1;
        if state.vaults > MAX_VAULTS {
            return Err(KayobeError::TooMuch {
                path: place.file,
                limit: MAX_VAULTS,
                what: "encrypted values",
            });
        }
        vault::open(text, password).map_err(|why| KayobeError::Vault { place, what, why })
    }

    /// Whether somebody defines a variable.
    #[must_use]
    pub fn is_defined(&self, name: &str) -> bool {
        self.definitions.contains_key(name)
    }

    /// The names that are defined.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.definitions.keys().map(String::as_str)
    }

    /// The names of what a variable has: keys of a mapping, places of a list. Its elements are not evaluated for it,
    /// where it is not itself a template.
    ///
    /// # Errors
    /// Where it is a template that cannot be evaluated.
    pub fn elements(&self, name: &str) -> Result<Vec<String>, KayobeError> {
        let Some(definition) = self.definitions.get(name) else { return Ok(Vec::new()) };
        match &definition.node.data {
            Data::Map(entries) => Ok(entries.iter().map(|(key, ..)| key.clone()).collect()),
            Data::List(items) => Ok((0..items.len()).map(|index| index.to_string()).collect()),
            _ => Ok(match self.resolve(&[name])?.map(|resolved| resolved.value) {
                Some(Value::Map(entries)) => entries.into_iter().map(|(key, _)| key).collect(),
                Some(Value::List(items)) => (0..items.len()).map(|index| index.to_string()).collect(),
                _ => Vec::new(),
            }),
        }
    }

    /// What a variable comes to, or an element of one; `None` where it is not there. Of a mapping that is written out
    /// nothing but the element is evaluated.
    ///
    /// # Errors
    /// Where it cannot be evaluated.
    pub fn resolve(&self, path: &[&str]) -> Result<Option<Resolved>, KayobeError> {
        let Some((name, mut rest)) = path.split_first() else { return Ok(None) };
        let Some(definition) = self.definitions.get(*name) else { return Ok(None) };
        let mut node = &definition.node;
        let mut line = definition.place.line;
        while let Some((key, after)) = rest.split_first() {
            let inner = match &node.data {
                Data::Map(entries) => {
                    entries.iter().find(|(known, ..)| known == key).map(|(_, line, node)| (*line, node))
                }
                Data::List(items) => {
                    key.parse::<usize>().ok().and_then(|index| items.get(index)).map(|item| (item.line, item))
                }
                _ => break,
            };
            let Some((at, inner)) = inner else { return Ok(None) };
            node = inner;
            line = if definition.secret { 0 } else { at };
            rest = after;
        }
        let origin = Origin { variable: path.join("."), place: Place::new(&definition.place.file, line) };
        let written = match &node.data {
            Data::Plain(_, written) => Some(written.clone()),
            _ => None,
        };
        let (value, frame) = self.within(origin, definition.secret, || {
            let value = self.node(node)?;
            Ok(rest.iter().try_fold(value, |value, key| match &value {
                Value::List(items) => key.parse::<usize>().ok().and_then(|index| items.get(index)).cloned(),
                value => value.get(key).cloned(),
            }))
        })?;
        Ok(value.map(|value| Resolved {
            value,
            origin: frame.origin,
            chain: frame.chain,
            secret: frame.secret,
            written,
        }))
    }

    /// Evaluates something as a variable's, noting what takes part.
    fn within<T>(
        &self,
        origin: Origin,
        secret: bool,
        evaluate: impl FnOnce() -> Result<T, KayobeError>,
    ) -> Result<(T, Frame), KayobeError> {
        {
            let mut state = self.state.borrow_mut();
            state.evaluations += 1;
            if state.stack.len() >= MAX_STACK || state.evaluations > MAX_EVALUATIONS {
                let chain = state.stack.iter().map(|frame| frame.origin.clone()).take(5).collect();
                let why = "too many variables lead to it".to_owned();
                return Err(KayobeError::Evaluate { origin, why, chain });
            }
            state.stack.push(Frame { origin, chain: Vec::new(), secret });
        }
        let result = evaluate();
        let frame = self.state.borrow_mut().stack.pop();
        match (result, frame) {
            (Ok(value), Some(frame)) => Ok((value, frame)),
            (Err(error), _) => Err(error),
            (Ok(_), None) => Err(KayobeError::Cycle { chain: Vec::new() }),
        }
    }

    fn node(&self, node: &Node) -> Result<Value, KayobeError> {
        let value = self.any_node(node)?;
        if value.weight() > yaml::MAX_BYTES {
            return Err(self.refuse(format!("it makes more than {} bytes", yaml::MAX_BYTES)));
        }
        Ok(value)
    }

    fn any_node(&self, node: &Node) -> Result<Value, KayobeError> {
        match &node.data {
            Data::Plain(value, _) => Ok(value.clone()),
            Data::Unsafe(text) => Ok(Value::Text(text.clone())),
            Data::Text(text) if template::is_template(text) => template::render(text, self),
            Data::Text(text) => Ok(Value::Text(text.clone())),
            Data::Vault(text) => {
                let Some(origin) = self.top() else { return Ok(Value::None) };
                let text = self.open(text, &origin.variable, origin.place)?;
                if let Some(frame) = self.state.borrow_mut().stack.last_mut() {
                    frame.secret = true;
                }
                Ok(Value::Text(text))
            }
            Data::List(items) => {
                items.iter().map(|item| self.node(item)).collect::<Result<_, _>>().map(Value::List)
            }
            Data::Map(entries) => entries
                .iter()
                .map(|(key, _, node)| Ok((key.clone(), self.node(node)?)))
                .collect::<Result<_, _>>()
                .map(Value::Map),
        }
    }

    fn top(&self) -> Option<Origin> {
        self.state.borrow().stack.last().map(|frame| frame.origin.clone())
    }

    /// Who asks, and what led there.
    fn asking(&self) -> (Origin, Vec<Origin>) {
        let state = self.state.borrow();
        let mut chain: Vec<Origin> = state.stack.iter().map(|frame| frame.origin.clone()).collect();
        let origin = chain
            .pop()
            .unwrap_or_else(|| Origin { variable: String::new(), place: Place::new(Utf8Path::new(""), 0) });
        (origin, chain)
    }

    /// Notes that a variable took part in the one that is evaluated.
    fn note(&self, origin: Origin, cached: &Cached) {
        if let Some(frame) = self.state.borrow_mut().stack.last_mut() {
            for step in std::iter::once(&origin).chain(&cached.chain) {
                if frame.chain.len() < MAX_CHAIN && !frame.chain.contains(step) {
                    frame.chain.push(step.clone());
                }
            }
            frame.secret |= cached.secret;
        }
    }

    fn cycle(&self, name: &str) -> Option<KayobeError> {
        let state = self.state.borrow();
        // The outermost may be an element of the variable, which is something else.
        let start = state.stack.iter().position(|frame| frame.origin.variable == name)?;
        let chain = state.stack[start..].iter().map(|frame| frame.origin.clone()).collect();
        Some(KayobeError::Cycle { chain })
    }
}

impl Scope for Variables<'_> {
    fn variable(&self, name: &str) -> Result<Value, KayobeError> {
        let Some(definition) = self.definitions.get(name) else {
            return match (self.given.get(name), name) {
                (Some(value), _) => Ok(value.clone()),
                (None, "groups" | "hostvars" | "inventory_hostname" | "group_names" | "play_hosts") => {
                    Err(self.refuse(format!("it asks for `{name}`, and the inventory's hosts are not read")))
                }
                (None, _) => Err(self.undefined(name.to_owned())),
            };
        };
        let origin = Origin { variable: name.to_owned(), place: definition.place.clone() };
        let cached = self.state.borrow().cache.get(name).cloned();
        if let Some(cached) = cached {
            self.note(origin, &cached);
            return Ok(cached.value);
        }
        if let Some(error) = self.cycle(name) {
            return Err(error);
        }
        // One whose template needs what is not defined is as good as not defined itself, for who only names it.
        let (value, frame) = self
            .within(origin.clone(), definition.secret, || self.node(&definition.node))
            .map_err(KayobeError::unused)?;
        let cached = Cached { value: value.clone(), chain: frame.chain, secret: frame.secret };
        self.note(origin, &cached);
        self.state.borrow_mut().cache.insert(name.to_owned(), cached);
        Ok(value)
    }

    fn environment(&self, name: &str) -> String {
        if let Some(frame) = self.state.borrow_mut().stack.last_mut() {
            frame.secret = true;
        }
        (self.environment)(name).unwrap_or_default()
    }

    fn refuse(&self, why: String) -> KayobeError {
        let (origin, chain) = self.asking();
        KayobeError::Evaluate { origin, why, chain }
    }

    fn undefined(&self, name: String) -> KayobeError {
        let (origin, chain) = self.asking();
        KayobeError::Undefined { origin, name, chain, used: false }
    }
}
