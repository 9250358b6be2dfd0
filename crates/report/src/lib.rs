//! What a run did and what a target serves, for people: pages, Markdown, JSON, and annotations for a CI system.
//!
//! A [`Report`] is made from what a run leaves behind ([`Evidence`]: its journal, its plan, its verdicts) and from nothing
//! else, so that the same run has the same report at any time. [`summary`] puts several of them on one page. A [`Coverage`]
//! says for which kernels, trains and drivers a target serves something, and what it lacks. Nothing here reads a file, asks
//! the time or prints.
//!
//! Names, messages and logs come from elsewhere. They are escaped by the templates; and what would act on a reader or on a
//! terminal (control characters, marks that turn the direction of writing) is written out, in the whole of every document.

mod annotations;
mod boot;
mod coverage;
mod excerpt;
mod first_error;
mod gather;
mod html;
mod install;
mod markdown;
mod record;
mod report;
pub mod summary;
mod text;
mod timeline;
pub mod words;

pub use annotations::annotations;
pub use boot::{Boot, BootedModule, Check, CheckStep, Initramfs, planned_boot};
pub use coverage::{Change, Coverage, Entry, InTrain, Lack, Place, Proven, Train};
pub use excerpt::{Excerpt, excerpt};
pub use first_error::FirstError;
pub use gather::{Evidence, LogFile};
pub use report::{
    ComponentRow, Exit, HeldBackKernel, Installation, Outcome, Proof, ProvenModule, Published, Report,
    Userspace,
};
pub use timeline::{Ended, Span, SpanKind, Timeline};
