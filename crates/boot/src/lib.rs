//! The boot test: what packages install, booted before anybody else does.
//!
//! * [`install`] installs packages into a root, with rpm and their scripts, or unpacks them where that cannot be.
//! * [`boot`] boots the kernel that is installed there under QEMU, with an initramfs that holds the modules in question,
//!   all that they need, and drivetrain itself as the first process; and says what became of each module.
//! * [`guest`] is that process.
//!
//! All but QEMU is this host's: it has the packages, makes the initramfs, and judges. QEMU runs here, or on a machine
//! ([`EmulatorThere`]), which gets a kernel and an initramfs and gives back what the guest said.
//!
//! Which file a module is loaded from is what depmod says of the tree, as on any node, so that overrides in `depmod.d`
//! and the order of `updates`, `extra` and the kernel's own directory decide; and what the kernel then says of the loaded
//! module is compared with the file.
//!
//! What comes out of a guest is hostile: it is bounded, and read as data.

mod cpio;
mod error;
mod facts;
pub mod guest;
mod image;
mod initramfs;
mod install;
mod kernel;
mod modules;
mod options;
mod program;
mod protocol;
mod qemu;
mod rdma;
mod run;
mod signer;
mod text;
mod there;
pub mod uefi;
mod verdict;

pub use error::BootError;
pub use facts::read_file as read_console;
pub use image::GeneratedImage;
pub use install::{Installed, InstalledTree, install};
pub use options::{BootOptions, Emulator, Firmware};
pub use qemu::require_qemu;
pub use run::{BootRequest, WantedModule, boot};
pub use there::EmulatorThere;
pub use verdict::{BootVerdict, BootedModule, Counter, Ending, FunctionalCheck, Step, summary_of_check};
