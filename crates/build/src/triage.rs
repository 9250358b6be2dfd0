//! Finds, in the log of a failed build, the line that a person would look for.
//!
//! The end of a log says only that something failed. What failed is the first error of a compiler, of modpost
//! or of the linker, unless it came from a configure script that asks questions by failing to compile.

use std::fmt;

/// What kind of failure a log shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DiagnosisKind {
    /// A compiler's or assembler's error.
    Compiler,
    /// modpost: a symbol that neither the kernel nor another component exports, or may not be used.
    Modpost,
    /// The linker's error.
    Linker,
    /// The compiler itself died: a fault of its own, or out of memory.
    CompilerDied,
    /// A configure script gave up.
    Configure,
    /// Something tried to reach the network.
    Network,
    /// A command of the spec file's scripts is not there, or a file that they want.
    Script,
    /// make gave up and nothing above says why.
    Make,
    /// rpmbuild's own complaint: a missing dependency, a file that `%files` lists and nobody made.
    Rpm,
    /// A patch of the site's own does not apply to the source.
    Patch,
    /// The disk is full.
    DiskFull,
    /// None of these; the last line is all there is.
    Unknown,
}

/// What went wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnosis {
    /// The kind of failure.
    pub kind: DiagnosisKind,
    /// The source file, relative to the directory that builds happen in, where it can be told.
    pub file: Option<String>,
    /// The line in that file.
    pub line: Option<u32>,
    /// What the tool said.
    pub message: String,
    /// The line of the log, counted from 1; 0 where the log is empty.
    pub log_line: usize,
}

impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(file) = &self.file {
            write!(f, "{file}:")?;
            if let Some(line) = self.line {
                write!(f, "{line}:")?;
            }
            f.write_str(" ")?;
        }
        f.write_str(&self.message)
    }
}

/// Reads a log and says what went wrong. Always has an answer: for an empty log, that it is empty.
#[must_use]
pub fn triage(log: &str) -> Diagnosis {
    let mut configuring = false;
    let mut best: Option<(u8, Diagnosis)> = None;
    let mut last = None;
    let mut dependencies_follow = false;
    let mut patch = PatchWords::default();
    for (number, line) in log.lines().enumerate() {
        let line = line.trim_end();
        configuring = still_configuring(configuring, line);
        if line.trim().is_empty() {
            continue;
        }
        last = Some((number, line));
        patch.hear(line);
        let found = if let Some(said) = patch.verdict(line) {
            Some(Found::new(DiagnosisKind::Patch, said))
        } else if dependencies_follow {
            Some(Found::new(DiagnosisKind::Rpm, format!("missing build dependency: {}", line.trim())))
        } else {
            look_at(line)
        };
        dependencies_follow = line.starts_with("error: Failed build dependencies:");
        let Some(found) = found else { continue };
        if dependencies_follow {
            continue;
        }
        let rank = rank(&found, configuring);
        if best.as_ref().is_none_or(|(known, _)| rank < *known) {
            best = Some((rank, found.at(number + 1)));
        }
    }
    if let Some((_, diagnosis)) = best {
        return diagnosis;
    }
    let (number, message) = last.map_or((0, "the log is empty"), |(number, line)| (number + 1, line));
    Found::new(DiagnosisKind::Unknown, message.trim()).at(number)
}

/// What `patch` said of the patch that it is at.
#[derive(Default)]
struct PatchWords {
    file: String,
    said: Vec<String>,
    in_the_source_already: bool,
}

impl PatchWords {
    fn hear(&mut self, line: &str) {
        if let Some(file) = line.strip_prefix("patching file ") {
            self.file = file.to_owned();
        } else if line.starts_with("can't find file to patch") {
            self.said.push("the source has no such file".to_owned());
        } else if line.contains("previously applied) patch detected") {
            self.in_the_source_already = true;
        } else if line.starts_with("Hunk #") && line.contains("FAILED at") {
            let hunk = line.split(" -- ").next().unwrap_or(line);
            self.said.push(format!("{}: {hunk}", self.file));
        } else if line.starts_with("patch: **** ") {
            self.said.push(line.trim_start_matches("patch: **** ").to_owned());
        }
    }

    /// The sentence that a patch ends the build with, where this line is the one that says so.
    fn verdict(&self, line: &str) -> Option<String> {
        let name = line.strip_prefix("drivetrain: ")?.strip_suffix(" does not apply")?;
        if self.in_the_source_already {
            return Some(format!("the patch {name} is in the source already: take it out of driver.patches"));
        }
        let said: Vec<&str> = self.said.iter().take(3).map(String::as_str).collect();
        let said = if said.is_empty() { String::new() } else { format!(": {}", said.join("; ")) };
        Some(format!("the patch {name} does not apply to the source{said}"))
    }
}

/// Lower is nearer to the cause. Of two lines with one rank the first counts.
fn rank(found: &Found, configuring: bool) -> u8 {
    let probe = configuring || found.file.as_deref().is_some_and(is_probe);
    match found.kind {
        DiagnosisKind::DiskFull | DiagnosisKind::Patch => 0,
        DiagnosisKind::Compiler | DiagnosisKind::Modpost | DiagnosisKind::Linker if probe => 7,
        DiagnosisKind::CompilerDied => 1,
        DiagnosisKind::Compiler | DiagnosisKind::Modpost | DiagnosisKind::Linker => 1,
        DiagnosisKind::Network => 2,
        DiagnosisKind::Configure => 3,
        DiagnosisKind::Script if configuring => 7,
        DiagnosisKind::Script => 4,
        DiagnosisKind::Make => 5,
        DiagnosisKind::Rpm if found.message.starts_with("Bad exit status") => 8,
        DiagnosisKind::Rpm => 4,
        DiagnosisKind::Unknown => 9,
    }
}

/// A configure script announces each question with `checking`; make, and rpm's own traces, end it.
fn still_configuring(configuring: bool, line: &str) -> bool {
    if line.starts_with("checking ") || line.starts_with("+ ./configure") {
        return true;
    }
    let ended = line.starts_with("make")
        || line.starts_with("+ ")
        || line.starts_with("Executing(")
        || line.starts_with("configure: error:")
        || line.starts_with("config.status:")
        || line.trim_start().starts_with("CC ");
    configuring && !ended
}

/// Files that exist only to find out whether they compile.
fn is_probe(file: &str) -> bool {
    file.rsplit('/').next().is_some_and(|name| name.starts_with("conftest"))
        || file.contains("/build_probes/")
        || file.ends_with("confdefs.h")
}

struct Found {
    kind: DiagnosisKind,
    file: Option<String>,
    line: Option<u32>,
    message: String,
}

impl Found {
    fn new(kind: DiagnosisKind, message: impl Into<String>) -> Self {
        Self { kind, file: None, line: None, message: message.into() }
    }

    fn at(self, log_line: usize) -> Diagnosis {
        Diagnosis {
            kind: self.kind,
            file: self.file.map(|file| shorten(&file)),
            line: self.line,
            message: self.message.chars().take(500).collect(),
            log_line,
        }
    }
}

/// The part of a path that the component's author would know.
fn shorten(file: &str) -> String {
    match file.split_once("/BUILD/") {
        Some((_, inside)) => inside.to_owned(),
        None => file.strip_prefix("./").unwrap_or(file).to_owned(),
    }
}

const NETWORK: &[&str] = &[
    "Could not resolve host",
    "Could not resolve proxy",
    "Network is unreachable",
    "Temporary failure in name resolution",
    "Temporary failure resolving",
    "unable to resolve host address",
    "Name or service not known",
    "Couldn't connect to server",
    "bad address '",
];

fn look_at(line: &str) -> Option<Found> {
    use DiagnosisKind::{CompilerDied, Configure, DiskFull, Network, Script};
    // rpm's traces repeat the commands of scripts, which may mention anything.
    if line.starts_with("+ ") {
        return None;
    }
    if line.contains("No space left on device") || line.contains("Disk quota exceeded") {
        return Some(Found::new(DiskFull, line.trim()));
    }
    if NETWORK.iter().any(|text| line.contains(text)) {
        return Some(Found::new(Network, line.trim()));
    }
    if line.contains("internal compiler error") || line.contains("fatal error: Killed signal terminated") {
        return Some(Found::new(CompilerDied, line.trim()));
    }
    if let Some(message) = line.strip_prefix("configure: error: ") {
        return Some(Found::new(Configure, message));
    }
    modpost(line).or_else(|| linker(line)).or_else(|| compiler(line)).or_else(|| make(line)).or_else(|| {
        if line.contains(": command not found")
            || (line.contains(": not found") && line.contains("sh: "))
            || (line.contains(": line ") && line.contains("No such file or directory"))
        {
            return Some(Found::new(Script, line.trim()));
        }
        rpm(line)
    })
}

/// `drivers/x.c:12:5: error: text`, `x.c:12: fatal error: text`, `x.s:3: Error: text`, `cc1: error: text`.
fn compiler(line: &str) -> Option<Found> {
    let (place, message) = [": error: ", ": fatal error: ", ": Error: "]
        .iter()
        .filter_map(|marker| line.split_once(marker))
        .min_by_key(|(place, _)| place.len())?;
    let place = place.trim();
    // "gcc: error: unrecognized option", "cc1: error: …"
    let tool = place.rsplit('/').next().unwrap_or(place);
    let is_tool = ["cc1", "cc", "as", "cc1plus"].contains(&tool)
        || tool.starts_with("gcc")
        || tool.ends_with("-gcc")
        || tool.contains("-gcc-");
    if is_tool {
        return Some(Found::new(DiagnosisKind::Compiler, message));
    }
    let (file, line) = place_of(place)?;
    Some(Found { file: Some(file), line: Some(line), ..Found::new(DiagnosisKind::Compiler, message) })
}

/// `path:line` or `path:line:column`.
fn place_of(place: &str) -> Option<(String, u32)> {
    let (head, last) = place.rsplit_once(':')?;
    let last: u32 = last.parse().ok()?;
    let (file, line) = match head.rsplit_once(':') {
        Some((file, line)) => match line.parse() {
            Ok(line) => (file, line),
            Err(_) => (head, last),
        },
        None => (head, last),
    };
    let plausible = !file.is_empty() && !file.contains(char::is_whitespace);
    plausible.then(|| (file.to_owned(), line))
}

/// `ERROR: modpost: "symbol" [path/module.ko] undefined!` and its other complaints.
fn modpost(line: &str) -> Option<Found> {
    let line = line.trim();
    let message = line.strip_prefix("ERROR: modpost: ").or_else(|| {
        // Before 5.9: `ERROR: "symbol" [module.ko] undefined!`
        line.strip_prefix("ERROR: ").filter(|rest| rest.ends_with("undefined!"))
    })?;
    let file = message
        .split_once('[')
        .and_then(|(_, rest)| rest.split_once(']'))
        .map(|(file, _)| file.to_owned())
        .filter(|file| file.ends_with(".ko"));
    Some(Found { file, ..Found::new(DiagnosisKind::Modpost, message) })
}

fn linker(line: &str) -> Option<Found> {
    for marker in ["undefined reference to ", "multiple definition of "] {
        if let Some(position) = line.find(marker) {
            let file = line[..position].split(':').next().map(str::trim).filter(|f| f.contains('.'));
            return Some(Found {
                file: file.map(str::to_owned),
                ..Found::new(DiagnosisKind::Linker, &line[position..])
            });
        }
    }
    let (tool, message) = line.split_once(": ")?;
    let tool = tool.trim().rsplit('/').next()?;
    let is_linker = matches!(tool, "ld" | "ld.bfd" | "ld.lld" | "collect2") || tool.ends_with("-ld");
    let complains = ["cannot find", "error", "unrecognised", "unrecognized", "failed", "cannot open"]
        .iter()
        .any(|word| message.contains(word));
    (is_linker && complains).then(|| Found::new(DiagnosisKind::Linker, message))
}

/// `make[2]: *** No rule to make target 'x'.  Stop.`
fn make(line: &str) -> Option<Found> {
    let (before, message) = line.split_once("*** ")?;
    let by_make = before.starts_with("make") || before.contains(": make") || before.contains("akefile:");
    let (file, line_number) = match place_of(
        before.trim_end().trim_end_matches('.').trim_end_matches(": ").trim_end_matches(':'),
    ) {
        Some((file, line)) if !before.starts_with("make[") => (Some(file), Some(line)),
        _ => (None, None),
    };
    (by_make || file.is_some()).then(|| Found {
        file,
        line: line_number,
        ..Found::new(DiagnosisKind::Make, message.trim())
    })
}

fn rpm(line: &str) -> Option<Found> {
    let message = line.strip_prefix("error: ")?;
    Some(Found::new(DiagnosisKind::Rpm, message.trim()))
}

#[cfg(test)]
mod tests;
