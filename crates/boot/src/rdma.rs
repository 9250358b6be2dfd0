//! What the functional check takes of an installed system.

use camino::Utf8Path;

use crate::BootError;
use crate::program::{Files, System, library_path};
use crate::protocol::GuestCheck;

/// The module that the check is made with, and the one for the device below it.
pub(crate) const RXE: &str = "rdma_rxe";
pub(crate) const DUMMY: &str = "dummy";
/// What rdma_rxe asks the kernel's cryptography for by name, once it has a device. On a node, modprobe finds it then.
pub(crate) const CRC32: &str = "crc32_generic";
/// What userspace asks the kernel by.
pub(crate) const UVERBS: &str = "ib_uverbs";

const IP: [&str; 4] = ["/usr/sbin/ip", "/sbin/ip", "/usr/bin/ip", "/bin/ip"];
const PINGPONG: [&str; 1] = ["/usr/bin/ibv_rc_pingpong"];
/// Where libibverbs looks for which providers there are.
const PROVIDERS: &str = "/etc/libibverbs.d";
/// Where the providers themselves are.
const PLUGINS: [&str; 5] = [
    "/usr/lib64/libibverbs",
    "/lib64/libibverbs",
    "/usr/lib/x86_64-linux-gnu/libibverbs",
    "/usr/lib/aarch64-linux-gnu/libibverbs",
    "/usr/lib/libibverbs",
];

/// The programs of the check with all that they need, or which of it is not installed.
pub(crate) fn find(root: &Utf8Path) -> Result<Result<(GuestCheck, Files), String>, BootError> {
    let system = System(root);
    let (ip, pingpong) = match (system.first(&IP), system.first(&PINGPONG)) {
        (Some(ip), Some(pingpong)) => (ip, pingpong),
        (None, _) => return Ok(Err("ip (iproute)".to_owned())),
        (_, None) => return Ok(Err("ibv_rc_pingpong (libibverbs-utils)".to_owned())),
    };
    let mut files = Files::new();
    for program in [ip, pingpong] {
        system.add(program, &mut files)?;
    }
    let Some(plugin) = provider(system) else {
        return Ok(Err("the provider of rxe (libibverbs)".to_owned()));
    };
    system.add(&plugin, &mut files)?;
    let library_path = library_path(&files);
    for name in names(system, PROVIDERS).filter(|name| name.starts_with("rxe")) {
        let path = format!("{PROVIDERS}/{name}");
        files.insert(path.clone(), system.read(&path)?);
    }
    let check = GuestCheck { ip: ip.to_owned(), pingpong: pingpong.to_owned(), library_path };
    Ok(Ok((check, files)))
}

fn provider(system: System<'_>) -> Option<String> {
    PLUGINS.iter().find_map(|directory| {
        let is_rxe = |name: &String| name.starts_with("librxe-") && name.contains(".so");
        let name = names(system, directory).find(is_rxe)?;
        Some(format!("{directory}/{name}"))
    })
}

fn names<'d>(system: System<'d>, directory: &str) -> impl Iterator<Item = String> + use<'d> {
    let entries = system.0.join(&directory[1..]).read_dir_utf8();
    entries.into_iter().flatten().flatten().take(1000).map(|entry| entry.file_name().to_owned())
}
