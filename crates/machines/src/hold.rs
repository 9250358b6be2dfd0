//! One run at a time on a host that is there and is prepared: a reboot would take the machine from under another.

use std::time::Duration;

use camino::Utf8Path;
use drivetrain_host::{CancellationToken, Ending, Machine, Script};
use drivetrain_model::RunId;

use crate::{Lease, MachineError, Result};

/// Takes the host where nobody has it, or where who has it is in `FORGET`. Notes are written beside and linked into
/// place, so that of two who come at once one has it.
const HOLD: &str = r#"mkdir -p "$PLACE"
note=$PLACE/holder
if [ -e "$note" ]; then
	read -r run until owner <"$note" || :
	if [ "$run" != "$RUN" ] && [ "$run" != "$FORGET" ] && [ "${until:-0}" -gt "$(date +%s)" ]; then
		echo "$run ${until:-0} ${owner:-somebody}"
		exit 10
	fi
	rm -f "$note"
fi
echo "$RUN $UNTIL $OWNER" >"$note.$RUN"
if ! ln "$note.$RUN" "$note"; then
	rm -f "$note.$RUN"
	cat "$note"
	exit 10
fi
rm -f "$note.$RUN""#;

const LET_GO: &str = r#"note=$PLACE/holder
[ ! -e "$note" ] || ! read -r run rest <"$note" || [ "$run" != "$RUN" ] || rm -f "$note""#;

const PATIENCE: Duration = Duration::from_secs(60);

/// Takes a host for the run of a lease, until that expires. `is_alive` says of runs of this host whether they go on,
/// and nothing of others: who was killed is not waited for.
///
/// # Errors
/// Where another run has it: which, whose, and until when.
pub async fn hold(
    machine: &dyn Machine,
    place: &Utf8Path,
    lease: &Lease,
    is_alive: &(dyn Fn(&RunId) -> Option<bool> + Send + Sync),
    cancel: &CancellationToken,
) -> Result<()> {
    let Err(holder) = try_to(machine, place, lease, "", cancel).await? else { return Ok(()) };
    let run = holder.split(' ').next().and_then(|run| RunId::parse(run).ok());
    let is_dead = run.as_ref().and_then(is_alive) == Some(false);
    let holder = match run {
        Some(run) if is_dead => match try_to(machine, place, lease, run.as_str(), cancel).await? {
            Ok(()) => return Ok(()),
            Err(holder) => holder,
        },
        _ => holder,
    };
    Err(MachineError::Held { machine: machine.name().to_owned(), holder: in_words(&holder) })
}

/// Lets a host go that a run has taken.
///
/// # Errors
/// Where the host cannot be told.
pub async fn let_go(machine: &dyn Machine, place: &Utf8Path, lease: &Lease) -> Result<()> {
    let script = script(LET_GO, place, lease, "");
    let mut sink = |_: &str| {};
    machine.run(&script, &mut sink, &CancellationToken::new()).await?;
    Ok(())
}

/// The inner error is who has it.
async fn try_to(
    machine: &dyn Machine,
    place: &Utf8Path,
    lease: &Lease,
    forget: &str,
    cancel: &CancellationToken,
) -> Result<Result<(), String>> {
    let script = script(HOLD, place, lease, forget);
    let mut lines = Vec::new();
    let mut sink = |line: &str| lines.push(line.to_owned());
    let finished = machine.run(&script, &mut sink, cancel).await?;
    match finished.ending {
        Ending::Exited(0) => Ok(Ok(())),
        Ending::Exited(10) => Ok(Err(lines.pop().unwrap_or_default())),
        Ending::Cancelled => Err(MachineError::Cancelled),
        ending => Err(MachineError::Provider {
            provider: machine.name().to_owned(),
            doing: format!("note in {place} whose it is"),
            why: format!("it {ending}: {}", lines.join("; ")),
        }),
    }
}

fn script(text: &str, place: &Utf8Path, lease: &Lease, forget: &str) -> Script {
    let mut script = Script::new(text);
    let variables = [
        ("PLACE", place.to_string()),
        ("RUN", lease.run.to_string()),
        ("UNTIL", lease.expires.as_second().to_string()),
        ("OWNER", lease.owner.clone()),
        ("FORGET", forget.to_owned()),
    ];
    script.environment = variables.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    script.deadline = Some(PATIENCE);
    script
}

fn in_words(holder: &str) -> String {
    let mut words = holder.splitn(3, ' ');
    let (run, until, owner) = (words.next(), words.next(), words.next());
    let until = until
        .and_then(|text| text.parse().ok())
        .and_then(|second| jiff::Timestamp::from_second(second).ok())
        .map_or_else(|| "some time".to_owned(), |time| time.strftime("%Y-%m-%d %H:%MZ").to_string());
    format!("the run {} of {}, until {until} at most", run.unwrap_or("?"), owner.unwrap_or("somebody"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_it_is_said_in_words() {
        assert_eq!(
            in_words("20261127T140000.123Z-abcd 1795800000 jo@ci 3"),
            "the run 20261127T140000.123Z-abcd of jo@ci 3, until 2026-11-27 17:20Z at most"
        );
        assert_eq!(in_words(""), "the run  of somebody, until some time at most");
    }
}
