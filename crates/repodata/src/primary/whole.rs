//! All of `primary.xml`, on several threads: one cuts the packages out of the stream, others parse them.

use std::io::Read;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use drivetrain_model::Package;

use super::{DOCUMENT, Summary, parse_package};
use crate::elements::Elements;
use crate::{Error, Limits, Result};

/// How many bytes of packages go to a parser at a time.
const BATCH: usize = 256 << 10;
/// How many batches may wait, at either side of the parsers.
const WAITING: usize = 8;

/// Packages as they stand in the document, each with the place where it begins.
#[derive(Default)]
struct Cut {
    text: Vec<u8>,
    /// Where each begins in the document, and where it ends in `text`.
    packages: Vec<(u64, usize)>,
}

/// Parsed packages, or what is wrong with the one at a place of the document.
type Parsed = std::result::Result<Vec<Package>, (u64, Error)>;

/// Reads `primary.xml` (decompressed), and hands over all its packages, in no order. `parsers` threads parse, one more
/// cuts, and the sink is called on this one.
///
/// # Errors
/// With the first thing that is wrong, as far as was read.
pub fn read_whole_primary(
    reader: impl Read + Send,
    limits: &Limits,
    parsers: usize,
    mut sink: impl FnMut(Package),
) -> Result<Summary> {
    let (to_parsers, cuts) = sync_channel::<Cut>(WAITING);
    let (to_sink, parsed) = sync_channel::<Parsed>(WAITING);
    let cuts = Arc::new(Mutex::new(cuts));
    thread::scope(|scope| {
        let cutting = scope.spawn(move || cut(reader, limits, &to_parsers));
        for _ in 0..parsers.max(1) {
            let (cuts, to_sink) = (Arc::clone(&cuts), to_sink.clone());
            scope.spawn(move || parse(&cuts, limits, &to_sink));
        }
        // When the parsers are gone nobody waits for them: neither the cutter nor the loop below.
        drop((cuts, to_sink));
        let mut first: Option<(u64, Error)> = None;
        for parsed in parsed {
            match parsed {
                Ok(packages) => packages.into_iter().for_each(&mut sink),
                Err(found) if first.as_ref().is_none_or(|(place, _)| found.0 < *place) => first = Some(found),
                Err(_) => {}
            }
        }
        let summary = cutting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        match first {
            Some((_, error)) => Err(error),
            None => summary,
        }
    })
}

/// Cuts, until the document ends or nobody wants more.
fn cut(reader: impl Read, limits: &Limits, to: &SyncSender<Cut>) -> Result<Summary> {
    let mut elements = Elements::open(reader, DOCUMENT, "metadata", limits)?;
    let mut batch = Cut::default();
    let mut stopped = false;
    while let Some(range) = elements.next()? {
        let offset = elements.offset_of(&range);
        batch.text.extend_from_slice(elements.text(range));
        batch.packages.push((offset, batch.text.len()));
        if batch.text.len() >= BATCH && to.send(std::mem::take(&mut batch)).is_err() {
            stopped = true;
            break;
        }
    }
    stopped |= to.send(batch).is_err();
    let (declared, packages) = (elements.declared, elements.seen);
    Ok(Summary { declared, packages, taken: packages, stopped })
}

/// Parses what comes, up to the first package that is wrong.
fn parse(from: &Mutex<Receiver<Cut>>, limits: &Limits, to: &SyncSender<Parsed>) {
    loop {
        // Held while waiting: the others would wait for the same.
        let received = from.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(cut) = received else { return };
        let parsed = parse_batch(&cut, limits);
        let is_wrong = parsed.is_err();
        if to.send(parsed).is_err() || is_wrong {
            return;
        }
    }
}

fn parse_batch(cut: &Cut, limits: &Limits) -> Parsed {
    let mut begin = 0;
    cut.packages
        .iter()
        .map(|&(offset, end)| {
            let text = &cut.text[begin..end];
            begin = end;
            parse_package(text, offset, limits).map_err(|error| (offset, error))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read_primary;
    use std::ops::ControlFlow;

    fn document(packages: usize) -> String {
        let mut text = String::from(
            "<metadata xmlns=\"http://linux.duke.edu/metadata/common\" xmlns:rpm=\"http://linux.duke.edu/metadata/rpm\">",
        );
        for number in 0..packages {
            text.push_str(&format!(
                "<package type=\"rpm\"><name>p{number}</name><arch>noarch</arch><version epoch=\"0\" ver=\"1\" \
                 rel=\"1\"/><checksum type=\"sha256\">{number:064x}</checksum><size package=\"1\"/><location \
                 href=\"p{number}.rpm\"/><format><rpm:requires><rpm:entry name=\"{}\"/></rpm:requires></format></package>",
                "x".repeat(200)
            ));
        }
        text + "</metadata>"
    }

    fn whole(text: &str) -> Result<Vec<Package>> {
        let mut packages = Vec::new();
        let summary =
            read_whole_primary(text.as_bytes(), &Limits::default(), 3, |package| packages.push(package))?;
        assert_eq!(summary.packages, packages.len() as u64);
        packages.sort_by(|a, b| a.checksum.hex.cmp(&b.checksum.hex));
        Ok(packages)
    }

    #[test]
    fn all_threads_together_read_what_one_reads() {
        let text = document(5000);
        let mut one = Vec::new();
        let sink = |package| {
            one.push(package);
            ControlFlow::Continue(())
        };
        read_primary(text.as_bytes(), &Limits::default(), |_, _| true, sink).unwrap();
        assert_eq!(whole(&text).unwrap(), one);
    }

    #[test]
    fn the_first_wrong_package_is_told_and_nothing_waits_for_ever() {
        let wrong = |text: String, number: usize| {
            text.replace(&format!("href=\"p{number}.rpm\""), &format!("href=\"../p{number}.rpm\""))
        };
        let text = wrong(wrong(document(9000), 20), 8990);
        let error = whole(&text).unwrap_err().to_string();
        assert!(error.contains("../p20.rpm"), "{error}");
        assert!(whole(&document(9000)[..1_000_000]).is_err());
    }
}
