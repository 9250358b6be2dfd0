//! Bytes to lines, with a bound on what one line may cost.

use crate::LineSink;

/// Longest line handed on. Compilers called with a thousand files, and builds that print binary junk, exist.
const MAX_LINE: usize = 8 * 1024;

/// Collects bytes until a line is whole.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter {
    pending: Vec<u8>,
}

impl LineSplitter {
    /// Takes the next bytes and hands every finished line to the sink.
    pub(crate) fn push(&mut self, bytes: &[u8], sink: &mut dyn LineSink) {
        for piece in bytes.split_inclusive(|&b| b == b'\n') {
            let (text, ended) = match piece.strip_suffix(b"\n") {
                Some(text) => (text, true),
                None => (piece, false),
            };
            let room = MAX_LINE.saturating_sub(self.pending.len());
            self.pending.extend_from_slice(&text[..text.len().min(room)]);
            if ended {
                self.flush(sink);
            }
        }
    }

    /// Hands on what is left when the output has ended without a line end.
    pub(crate) fn finish(&mut self, sink: &mut dyn LineSink) {
        if !self.pending.is_empty() {
            self.flush(sink);
        }
    }

    fn flush(&mut self, sink: &mut dyn LineSink) {
        // A progress meter overwrites its line with carriage returns: the last state is what counts.
        let line = self.pending.strip_suffix(b"\r").unwrap_or(&self.pending);
        let line = line.rsplit(|&b| b == b'\r').next().unwrap_or(line);
        sink.line(&String::from_utf8_lossy(line));
        self.pending.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let mut lines = Vec::new();
        let mut sink = |line: &str| lines.push(line.to_owned());
        let mut splitter = LineSplitter::default();
        for chunk in chunks {
            splitter.push(chunk, &mut sink);
        }
        splitter.finish(&mut sink);
        lines
    }

    #[test]
    fn lines_come_out_whole_however_the_bytes_arrive() {
        assert_eq!(split(&[b"a\nb", b"c\n\nd"]), ["a", "bc", "", "d"]);
        assert_eq!(split(&[b"10%\r50%\r100%\r\n"]), ["100%"]);
        assert_eq!(split(&[b"caf\xe9\n"]), ["caf\u{fffd}"]);
        assert_eq!(split(&[]), [] as [&str; 0]);
    }

    #[test]
    fn an_endless_line_is_cut() {
        let chunk = vec![b'x'; 100_000];
        let lines = split(&[&chunk, &chunk, b"\nnext\n"]);
        assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [MAX_LINE, 4]);
    }
}
