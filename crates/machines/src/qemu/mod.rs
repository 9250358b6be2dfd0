//! Machines under QEMU on this host.
//!
//! A machine is a directory below [`QemuOptions::directory`], named by its lease, and a process whose name has the
//! lease in it. The directory is made first, with the lease in it, and removed last. Where its files were lost, the
//! process is still found by its arguments.
//!
//! What makes the machine ours (the key to log in with, the key that it shows) goes in by two ways at once, and an
//! image takes the one that it knows: a NoCloud seed for images with cloud-init, and systemd's credentials over
//! SMBIOS (since systemd 252) for those without.

mod files;
mod process;
mod seed;

use std::process::Stdio;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use drivetrain_host::{Acceleration, BoxFuture, CancellationToken};
use fs_err as fs;
use tokio::process::Command;
use tokio::sync::OnceCell;

use crate::key::make_private;
use crate::{Destroyed, Found, Lease, LeaseId, Login, MachineError, Made, Order, Provider, Resource, Result};
use files::Places;

/// How long a process may take to be gone after it was killed.
const KILL_PATIENCE: Duration = Duration::from_secs(20);
/// How often a port is looked for that nobody has taken by the time that QEMU wants it.
const PORTS: u32 = 5;
/// How much of the console is worth showing.
const CONSOLE: usize = 8 << 10;

/// What a machine is made of.
#[derive(Debug, Clone)]
pub struct QemuOptions {
    /// The disk image that machines begin from, raw or qcow2. It is not written to.
    pub image: Utf8PathBuf,
    /// Memory, in MiB.
    pub memory: u32,
    /// Processors.
    pub cpus: u32,
    /// The size of the disk in GiB; absent for the image's own.
    pub disk: Option<u32>,
    /// The user that the key is put in for. systemd's credentials do so for `root` alone.
    pub user: String,
    /// Firmware for images that boot by UEFI: a single file, or the code of one that has its variables beside it;
    /// absent for the BIOS.
    pub firmware: Option<Utf8PathBuf>,
    /// Where machines are. Not below the state directory: machines are to be found when that is lost.
    pub directory: Utf8PathBuf,
}

/// Makes machines with QEMU.
#[derive(Debug)]
pub struct Qemu {
    options: QemuOptions,
    program: &'static str,
    acceleration: OnceCell<Acceleration>,
}

impl Qemu {
    /// For this host's own architecture.
    #[must_use]
    pub fn new(options: QemuOptions) -> Self {
        let program = match std::env::consts::ARCH {
            "aarch64" => "qemu-system-aarch64",
            _ => "qemu-system-x86_64",
        };
        Self { options, program, acceleration: OnceCell::new() }
    }

    fn provider(&self) -> String {
        format!("QEMU on this host, in {}", self.options.directory)
    }

    async fn acceleration(&self) -> Acceleration {
        let program = self.program;
        let look = async move {
            let probing =
                tokio::task::spawn_blocking(move || Acceleration::probe(std::process::Command::new(program)));
            probing.await.unwrap_or(Acceleration::Emulated)
        };
        *self.acceleration.get_or_init(|| look).await
    }

    fn places(&self, lease: &LeaseId) -> Places {
        Places::of(&self.options.directory, lease)
    }

    async fn look(&self) -> Result<Vec<String>> {
        let options = &self.options;
        let version = self.ask(&[self.program, "--version"], "qemu-kvm (Debian: qemu-system-x86)").await?;
        let image = Image::of(self, &options.image).await?;
        if let Some(file) = &options.firmware {
            require_file("builder.qemu.firmware", file)?;
        }
        make_private(&options.directory)?;
        let version = version.lines().next().unwrap_or_default().to_owned();
        let how = match self.acceleration().await {
            Acceleration::Kvm => "KVM",
            Acceleration::Emulated => "emulated: there is no KVM here, so expect it to be slow",
        };
        Ok(vec![
            format!("{version}, {how}"),
            format!("image {} ({}, {} GiB)", options.image, image.format, image.size.div_ceil(1 << 30)),
            format!("{} processors, {} MiB of memory", options.cpus, options.memory),
        ])
    }

    async fn start(&self, order: &Order, notice: &(dyn Fn(&str) + Send + Sync)) -> Result<Made> {
        let places = self.places(&order.lease.id);
        places.write_lease(&order.lease)?;
        let image = Image::of(self, &self.options.image).await?;
        self.make_disk(&places, &image).await?;
        seed::write(&places.seed(), order, &self.options.user)?;
        for (path, credential) in places.credentials().iter().zip(seed::credentials(&order.identity)) {
            files::write_private(path, credential.as_bytes())?;
        }
        self.copy_variables(&places)?;
        let acceleration = self.acceleration().await;
        if acceleration == Acceleration::Emulated {
            notice("there is no KVM here: the machine is emulated, and slow");
        }
        for _ in 0..PORTS {
            let port = free_port()?;
            let started = self.launch(order, &places, port, acceleration).await?;
            match started {
                Ok(()) => return Ok(self.made(order, &places, port)),
                Err(said) if said.contains("Could not set up host forwarding") => {}
                Err(said) => {
                    return Err(self.failed("start the machine", said));
                }
            }
        }
        Err(self.failed("start the machine", "no free port stayed free".to_owned()))
    }

    fn made(&self, order: &Order, places: &Places, port: u16) -> Made {
        let login = Login { address: "127.0.0.1".to_owned(), port, user: self.options.user.clone() };
        Made { login, resources: self.resources(&order.lease.id, places) }
    }

    async fn make_disk(&self, places: &Places, image: &Image) -> Result<()> {
        let backing =
            fs::canonicalize(&self.options.image).map_err(MachineError::file("read", &self.options.image))?;
        let backing = backing.to_string_lossy().into_owned();
        let disk = places.disk();
        let size = self.options.disk.map(|size| format!("{size}G"));
        let mut arguments = vec![
            "qemu-img",
            "create",
            "-q",
            "-f",
            "qcow2",
            "-F",
            &image.format,
            "-b",
            &backing,
            disk.as_str(),
        ];
        arguments.extend(size.as_deref());
        self.ask(&arguments, "qemu-img (Debian: qemu-utils)").await.map(drop)
    }

    /// UEFI's variables are the machine's own: which entry boots is written to them.
    fn copy_variables(&self, places: &Places) -> Result<()> {
        let Some(variables) = self.options.firmware.as_deref().and_then(variables_of) else { return Ok(()) };
        fs::copy(&variables, places.variables()).map(drop).map_err(MachineError::file("copy", &variables))
    }

    /// Starts the process. What it says where it does not start is the inner error.
    async fn launch(
        &self,
        order: &Order,
        places: &Places,
        port: u16,
        acceleration: Acceleration,
    ) -> Result<Result<(), String>> {
        let mut command = Command::new(self.program);
        command.args(acceleration.arguments());
        command.args(self.arguments(order, places, port)).stdin(Stdio::null());
        let output =
            command.output().await.map_err(|error| self.failed("start the machine", error.to_string()))?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        Ok(Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn arguments(&self, order: &Order, places: &Places, port: u16) -> Vec<String> {
        let options = &self.options;
        let mut arguments: Vec<String> = [
            "-name",
            &process::name_of(&order.lease),
            "-smp",
            &options.cpus.to_string(),
            "-m",
            &options.memory.to_string(),
            "-nodefaults",
            "-display",
            "none",
            "-serial",
            &format!("file:{}", places.console()),
            "-drive",
            &format!("file={},if=virtio,format=qcow2,cache=unsafe,discard=unmap", places.disk()),
            "-drive",
            &format!("file={},if=virtio,format=raw,readonly=on", places.seed()),
            "-netdev",
            &format!("user,id=net,hostfwd=tcp:127.0.0.1:{port}-:22"),
            "-device",
            // Nothing boots from it, and its option ROM costs a second.
            "virtio-net-pci,netdev=net,romfile=",
            "-device",
            "virtio-rng-pci",
            "-daemonize",
            "-pidfile",
            places.pid().as_str(),
        ]
        .map(str::to_owned)
        .into();
        // From files: arguments are for everybody to read.
        arguments.extend(
            places
                .credentials()
                .iter()
                .flat_map(|path| ["-smbios".to_owned(), format!("type=11,path={path}")]),
        );
        if let Some(firmware) = &options.firmware {
            arguments.extend(firmware_arguments(firmware, places));
        }
        arguments
    }

    async fn ask(&self, words: &[&str], package: &str) -> Result<String> {
        let (program, arguments) = words.split_first().unwrap_or((&"", &[]));
        let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().await;
        let output = output.map_err(|error| MachineError::Configuration {
            what: (*program).to_owned(),
            why: error.to_string(),
            next: format!("install the package {package}"),
        })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        Err(self.failed(&words.join(" "), String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }

    fn failed(&self, doing: &str, why: String) -> MachineError {
        MachineError::Provider { provider: self.provider(), doing: doing.to_owned(), why }
    }

    fn resources(&self, lease: &LeaseId, places: &Places) -> Vec<Resource> {
        let mut resources: Vec<Resource> = process::of(&self.options.directory, lease)
            .map(|id| Resource {
                kind: "process",
                id: id.to_string(),
                name: format!("{} of {lease}", self.program),
            })
            .collect();
        if places.directory().exists() {
            let name = places.directory().to_string();
            resources.push(Resource { kind: "directory", id: lease.to_string(), name });
        }
        resources
    }

    fn find(&self) -> Result<Vec<Found>> {
        let mut leases = files::leases(&self.options.directory)?;
        for lease in process::leases(&self.options.directory) {
            if !leases.iter().any(|known| known.id == lease.id) {
                leases.push(lease);
            }
        }
        let found = leases
            .into_iter()
            .map(|lease| Found { resources: self.resources(&lease.id, &self.places(&lease.id)), lease });
        Ok(found.collect())
    }

    async fn remove(&self, lease: &LeaseId) -> Result<Destroyed> {
        let places = self.places(lease);
        let resources = self.resources(lease, &places);
        let started = std::time::Instant::now();
        while process::kill(&self.options.directory, lease) > 0 {
            if started.elapsed() > KILL_PATIENCE {
                return Err(MachineError::Remains {
                    lease: lease.to_string(),
                    resource: "its process".to_owned(),
                    why: "it was killed and is still there".to_owned(),
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        places.remove()?;
        Ok(Destroyed { resources })
    }

    /// The lease that is noted for an id; for tests of what is noted.
    #[must_use]
    pub fn noted(&self, lease: &LeaseId) -> Option<Lease> {
        self.places(lease).lease()
    }
}

impl Provider for Qemu {
    fn name(&self) -> String {
        self.provider()
    }

    fn check(&self) -> BoxFuture<'_, Result<Vec<String>>> {
        Box::pin(self.look())
    }

    fn image(&self) -> BoxFuture<'_, Result<String>> {
        let path = self.options.image.clone();
        let digest = move || {
            let mut hasher = sha2::Sha256::default();
            std::io::copy(&mut fs::File::open(&path)?, &mut hasher)?;
            Ok(hex::encode(sha2::Digest::finalize(hasher)))
        };
        let failed = MachineError::file("read", &self.options.image);
        Box::pin(async move {
            let read = tokio::task::spawn_blocking(digest).await;
            read.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())).map_err(failed)
        })
    }

    fn make<'a>(
        &'a self,
        order: &'a Order,
        notice: &'a (dyn Fn(&str) + Send + Sync),
        _cancel: &'a CancellationToken,
    ) -> BoxFuture<'a, Result<Made>> {
        Box::pin(self.start(order, notice))
    }

    fn list(&self) -> BoxFuture<'_, Result<Vec<Found>>> {
        Box::pin(async move { self.find() })
    }

    fn destroy<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<Destroyed>> {
        Box::pin(self.remove(lease))
    }

    fn console<'a>(&'a self, lease: &'a LeaseId) -> BoxFuture<'a, Result<String>> {
        Box::pin(async move {
            let path = self.places(lease).console();
            let bytes = fs::read(&path).map_err(MachineError::file("read", &path))?;
            Ok(String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(CONSOLE)..]).into_owned())
        })
    }
}

/// What `qemu-img info` says of an image.
struct Image {
    format: String,
    /// In bytes, as the machine sees it.
    size: u64,
}

impl Image {
    async fn of(qemu: &Qemu, path: &Utf8Path) -> Result<Self> {
        require_file("builder.qemu.image", path)?;
        // Shared: a machine that was made of it may be running.
        let words = ["qemu-img", "info", "--force-share", "--output=json", path.as_str()];
        let text = qemu.ask(&words, "qemu-img (Debian: qemu-utils)").await?;
        let info: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let format = info.get("format").and_then(serde_json::Value::as_str);
        let size = info.get("virtual-size").and_then(serde_json::Value::as_u64);
        match (format, size) {
            (Some(format @ ("raw" | "qcow2")), Some(size)) => Ok(Self { format: format.to_owned(), size }),
            _ => Err(MachineError::Configuration {
                what: format!("builder.qemu.image {path}"),
                why: "it is neither a raw nor a qcow2 image".to_owned(),
                next: "convert it with `qemu-img convert -O qcow2`".to_owned(),
            }),
        }
    }
}

fn require_file(key: &str, path: &Utf8Path) -> Result<()> {
    match fs::File::open(path) {
        Ok(_) => Ok(()),
        Err(error) => Err(MachineError::Configuration {
            what: format!("{key} {path}"),
            why: error.to_string(),
            next: "name a file that is there, as an absolute path or one beside the configuration".to_owned(),
        }),
    }
}

/// A port that nobody listens at. Somebody may by the time that it is used.
fn free_port() -> Result<u16> {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .map_err(MachineError::file("listen at", "127.0.0.1"))
}

/// The file of UEFI variables that goes with a file of code: `OVMF_CODE.fd` has `OVMF_VARS.fd` beside it.
fn variables_of(firmware: &Utf8Path) -> Option<Utf8PathBuf> {
    let name = firmware.file_name()?;
    let variables = firmware.with_file_name(name.replace("CODE", "VARS"));
    (variables != *firmware && variables.is_file()).then_some(variables)
}

fn firmware_arguments(firmware: &Utf8Path, places: &Places) -> Vec<String> {
    if variables_of(firmware).is_none() {
        return vec!["-bios".to_owned(), firmware.to_string()];
    }
    let drives = [
        format!("if=pflash,format=raw,unit=0,readonly=on,file={firmware}"),
        format!("if=pflash,format=raw,unit=1,file={}", places.variables()),
    ];
    drives.into_iter().flat_map(|drive| ["-drive".to_owned(), drive]).collect()
}
