//! A site whose builder is a container of the train's system, reached over SSH.

use camino::Utf8PathBuf;
use drivetrain_lab::container::{self, Container};

use super::Site;
use super::server::Server;

/// Where everything of drivetrain's is in the container.
pub const PLACE: &str = "/var/lib/drivetrain-builder";

pub struct Boxed {
    // Ends before the site looks for processes that were left behind.
    pub container: Container,
    pub site: Site,
    _train: Server,
}

impl Boxed {
    /// With these entries of `builder.prepare`. It has this host's kernel, and its root file system is a directory of
    /// this host: it is neither grown nor booted.
    pub fn new(prepare: &str) -> Option<Self> {
        let root = container::of_tests()?;
        let mut site = Site::fetched()?;
        let directory = Utf8PathBuf::from_path_buf(site.path("container")).unwrap();
        std::fs::create_dir(&directory).unwrap();
        let container = Container::start(&root, &directory).unwrap();
        let www = site.lab.directory.join("www");
        let train = Server::of(&www);
        let section = format!(
            "  kind: ssh\n  ssh: {{host: box, config: {}}}\n  machine: {{urls: {{\"file://{}\": \"{}\"}}}}\n  prepare: \
             {{grow: false, boot: false, {prepare}}}",
            container.ssh_config("box").unwrap(),
            www.display(),
            train.url()
        );
        site.configure(|settings| settings.builder = Some(section));
        Some(Self { container, site, _train: train })
    }
}
