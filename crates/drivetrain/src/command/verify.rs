//! `drivetrain verify`

use drivetrain_fetch::Source;
use drivetrain_host::CancellationToken;
use drivetrain_model::ExitCode;

use crate::cli::{Allowed, Global, VerifyArgs};
use crate::command::state_path;
use crate::context::Context;
use crate::failure::{Failure, Result};
use crate::pipeline::until_signal;
use crate::reporter::Reporter;
use crate::stage::read_small;
use crate::state::StateDirectory;
use crate::verification::{Wanted, verify_at};
use crate::{repository_at, view};

/// Keys are a few kilobytes.
const MAX_KEY: u64 = 1 << 20;

/// Looks at a published repository.
pub async fn run(args: &VerifyArgs, global: &Global) -> Result<ExitCode> {
    // Its standard output is the answer.
    let reporter = Reporter::new(view::choose(false, global.quiet || global.json));
    let cancel = CancellationToken::new();
    let context = Context::open(StateDirectory::open(state_path(global))?, reporter.clone(), cancel.clone())?;
    let verifying = async {
        let wanted = wanted(&context, args).await?;
        verify_at(&context, source(&args.repository)?, wanted).await
    };
    let verified = until_signal(&cancel, context.unless_cancelled(verifying)).await;
    reporter.close();
    let verification = verified?;
    if global.json {
        view::print_json(&verification);
    } else {
        view::print(&view::verify::verification(&verification));
    }
    Ok(verification.exit_code())
}

fn source(text: &str) -> Result<Source> {
    repository_at::source_of(text)?.ok_or_else(|| {
        Failure::new(ExitCode::Usage, format!("{text} is neither a URL nor a directory with a repository"))
            .next("name the URL that consumers have in their .repo file")
    })
}

async fn wanted(context: &Context, args: &VerifyArgs) -> Result<Wanted> {
    let mut keys = Vec::new();
    for key in &args.keys {
        keys.push(read_key(context, key).await?);
    }
    Ok(Wanted {
        keys,
        kernel: args.kernel.clone(),
        against: args.against.clone(),
        allow_unsigned: args.allow.contains(&Allowed::Unsigned),
        allow_unstated: args.allow.contains(&Allowed::Unstated),
    })
}

async fn read_key(context: &Context, key: &str) -> Result<Vec<u8>> {
    if key.contains("://") {
        let source = Source::parse(key).map_err(|error| Failure::of(ExitCode::Usage, &error))?;
        let got = context.cache.get(&source, MAX_KEY).await;
        return got.map(|cached| cached.bytes).map_err(|error| Failure::of(ExitCode::Input, &error));
    }
    read_small(key.into(), MAX_KEY)
        .map_err(|error| Failure::because(ExitCode::Usage, format!("the key {key} cannot be read"), &error))
}
