//! One function over many items, on as many threads as there are processors.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;

/// The results in the order of the items, or the error of the first item that has one: items are begun in
/// their order, and after an error no more are begun.
pub(crate) fn map<T: Send, R: Send, E: Send>(
    items: Vec<T>,
    most_threads: usize,
    work: impl Fn(T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let processors = thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let threads = processors.min(most_threads).min(items.len());
    if threads <= 1 {
        return items.into_iter().map(work).collect();
    }
    let queue = Mutex::new(items.into_iter().enumerate());
    let failed = AtomicBool::new(false);
    let worker = || {
        let mut done = Vec::new();
        while !failed.load(Ordering::Relaxed) {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((at, item)) = next else { break };
            let result = work(item);
            failed.fetch_or(result.is_err(), Ordering::Relaxed);
            done.push((at, result));
        }
        done
    };
    let mut done = thread::scope(|scope| {
        let others: Vec<_> = (1..threads).map(|_| scope.spawn(worker)).collect();
        let mut done = worker();
        for other in others {
            done.extend(other.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        }
        done
    });
    done.sort_unstable_by_key(|&(at, _)| at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_keep_the_order_of_the_items() {
        let doubled = map((0..1000).collect(), 8, |number| Ok::<_, ()>(number * 2)).unwrap();
        assert_eq!(doubled, (0..1000).map(|number| number * 2).collect::<Vec<_>>());
        assert_eq!(map(Vec::<u8>::new(), 8, Ok::<_, ()>).unwrap(), Vec::<u8>::new());
    }

    #[test]
    fn the_first_error_is_the_one_that_is_told() {
        for _ in 0..100 {
            let fail = |number| if number >= 3 { Err(number) } else { Ok(()) };
            assert_eq!(map((0..50).collect(), 8, fail), Err(3));
        }
    }
}
