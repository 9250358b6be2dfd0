use std::time::Duration;

use drivetrain_host::{Bind, CancellationToken, Host, Job, LocalSandbox, SandboxOptions, SandboxSpec};
use drivetrain_model::{Architecture, Sha256Digest};

use super::*;
use crate::jobserver::JobServer;
use crate::{BuildOptions, Directories, TargetKernel, Toolchain};

const RELEASE: &str = "6.1.0-1-test";

struct Bench {
    directory: tempfile::TempDir,
    host: LocalSandbox,
    tools: Tools,
    request: BuildRequest,
}

impl Bench {
    async fn new(options: BuildOptions) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8Path::from_path(directory.path()).unwrap().to_owned();
        let host = LocalSandbox::new(SandboxOptions::new(path.join("sandbox"))).await.unwrap();
        let devel = path.join("devel");
        fs::create_dir_all(devel.join("include/generated")).unwrap();
        write_autoconf(&devel, "one", "");
        for name in ["work", "probes", "slots", "ccache"] {
            host.create_work_directory(&path.join(name)).await.unwrap();
        }
        let request = BuildRequest {
            kernel: TargetKernel {
                release: KernelRelease::parse(RELEASE).unwrap(),
                arch: Architecture::parse("x86_64").unwrap(),
                devel,
                devel_checksum: Sha256Digest::of(b"").into(),
                devel_provides: Vec::new(),
            },
            components: Vec::new(),
            options,
            directories: Directories {
                work: path.join("work"),
                components: path.join("components"),
                ccache: path.join("ccache"),
                logs: path.join("logs"),
            },
            toolchain: Toolchain {
                digest: Sha256Digest::of(b"tools"),
                description: String::new(),
                kernel_module_package: true,
            },
            root: drivetrain_host::RootFs::Host,
            vendor_tool: None,
        };
        let tools = Tools::write(&request, Utf8Path::new("/"), &path).unwrap();
        Self { directory, host, tools, request }
    }

    fn path(&self, name: &str) -> Utf8PathBuf {
        Utf8Path::from_path(self.directory.path()).unwrap().join(name)
    }

    /// Runs a script with the wrappers first in `PATH`; returns its output.
    async fn run(&self, script: &str) -> String {
        let mut sandbox = SandboxSpec {
            binds: vec![
                Bind::writable(self.path("work"), "/job"),
                Bind::writable(self.path("probes"), inside::PROBES),
                Bind::writable(self.path("slots"), inside::SLOTS),
                Bind::writable(self.path("ccache"), inside::CCACHE),
                Bind::read_only(self.tools.directory(), inside::TOOLS),
                Bind::read_only(&self.request.kernel.devel, format!("/usr/src/kernels/{RELEASE}")),
            ],
            ..SandboxSpec::default()
        };
        sandbox.symlinks.push(drivetrain_host::Symlink {
            link: "/usr/src/kernels/current".into(),
            target: RELEASE.into(),
        });
        sandbox.environment.insert("DRIVETRAIN_PROBES".to_owned(), inside::PROBES.to_owned());
        sandbox.environment.insert("DRIVETRAIN_SLOTS".to_owned(), format!("{}/slots", inside::SLOTS));
        for (name, value) in self.tools.environment(&self.request, Debuginfo::Drop) {
            sandbox.environment.insert(name.to_owned(), value);
        }
        let job = Job {
            sandbox,
            program: "/bin/sh".to_owned(),
            arguments: vec!["-c".to_owned(), script.to_owned()],
            directory: "/job".into(),
            log: None,
            append: false,
            deadline: Some(Duration::from_secs(60)),
        };
        let mut output = String::new();
        let mut sink = |line: &str| {
            output.push_str(line);
            output.push('\n');
        };
        self.host.run(&job, &mut sink, &CancellationToken::new()).await.unwrap();
        output
    }
}

fn write_autoconf(devel: &Utf8Path, salt: &str, more: &str) {
    let text = format!("#define CONFIG_BUILD_SALT \"{salt}\"\n#define CONFIG_X 1\n{more}");
    fs::write(devel.join("include/generated/autoconf.h"), text).unwrap();
}

/// Puts a word into what is remembered, so that it shows when an answer comes from memory.
const MARK: &str = "for f in /drivetrain/probes/*/*/said; do echo REMEMBERED >>$f; done\n";

#[tokio::test]
async fn probes_are_remembered_by_what_they_read() {
    let bench = Bench::new(BuildOptions::default()).await;
    let probe = format!(
        "gcc -I/usr/src/kernels/{RELEASE}/include -include generated/autoconf.h -I. -c conftest.c -o conftest.o; \
         echo exit $?\n"
    );
    bench.run("echo 'int f(void) { return g(1); }' >conftest.c; echo 'int g(void);' >h.h; sed -i '1i #include <h.h>' conftest.c").await;
    let first = bench.run(&probe).await;
    assert!(first.contains("too many arguments") && first.contains("exit 1"), "{first}");
    assert!(!first.contains("include guards") && !first.contains(". "), "{first}");
    let second = bench.run(&format!("{MARK}{probe}")).await;
    assert_eq!(second, first.replace("exit 1", "REMEMBERED\nexit 1"));

    // The kernel's name is no part of it; its configuration is.
    write_autoconf(&bench.request.kernel.devel, "two", "");
    fs::remove_dir_all(bench.tools.directory()).unwrap();
    Tools::write(&bench.request, Utf8Path::new("/"), &bench.path("")).unwrap();
    assert!(bench.run(&probe).await.contains("REMEMBERED"));
    write_autoconf(&bench.request.kernel.devel, "two", "#define CONFIG_Y 1\n");
    fs::remove_dir_all(bench.tools.directory()).unwrap();
    Tools::write(&bench.request, Utf8Path::new("/"), &bench.path("")).unwrap();
    assert_eq!(bench.run(&probe).await, first);

    // A header that was read says otherwise: the answer changes, and is remembered too.
    let passes = bench.run(&format!("echo 'int g(int);' >h.h; {probe}")).await;
    assert_eq!(passes, "exit 0\n");
    let again = bench.run(&format!("{MARK}rm conftest.o; {probe} test -s conftest.o && echo object")).await;
    assert_eq!(again, "REMEMBERED\nexit 0\nobject\n");
    // A missing header may turn up: not remembered.
    let missing = bench.run(&format!("sed -i 's/h.h/i.h/' conftest.c; {probe}")).await;
    assert!(missing.contains("exit 1"), "{missing}");
    assert!(!bench.run(&format!("{MARK}{probe}")).await.contains("REMEMBERED"));
}

#[tokio::test]
async fn a_comment_in_a_generated_header_costs_no_compilation() {
    let bench = Bench::new(BuildOptions::default()).await;
    if !bench.tools.ccache {
        return;
    }
    let compile = format!(
        "printf '/* Written for %s. */\n\n#define HAVE_X %s\n' $COMMENT $VALUE >config.h; echo 'int x = HAVE_X;' >a.c
         gcc -Wp,-MMD,a.d -I/usr/src/kernels/{RELEASE}/include -include /job/config.h -c -o a.o a.c
         ccache --print-stats | grep -E '^(direct_cache_hit|cache_miss).' | cut -f2 | tr '\\n' ' '"
    );
    let run = |comment: &str, value: &str| {
        let script = format!(
            "COMMENT={comment}; VALUE={value}; DRIVETRAIN_TOP=/job; export DRIVETRAIN_TOP\n{compile}"
        );
        async { bench.run(&{ script }).await.trim().to_owned() }
    };
    // Misses, then hits.
    assert_eq!(run("one", "1").await, "1 0");
    assert_eq!(run("two", "1").await, "1 1");
    assert_eq!(run("two", "2").await, "2 1");
    assert_eq!(run("one", "1").await, "2 2");
}

#[tokio::test]
async fn code_that_names_the_kernel_is_not_shared() {
    let bench = Bench::new(BuildOptions::default()).await;
    if !bench.tools.ccache {
        return;
    }
    let compile = "export DRIVETRAIN_TOP=/job; mkdir -p tmp BUILD; cd BUILD; make -v >/dev/null
         cd /usr/src/kernels/current
         gcc -Wp,-MMD,/job/a.d -I./include -include ./include/generated/autoconf.h -c -o /job/a.o /job/BUILD/a.c
         strings /job/a.o | grep -E '^(salt-one|salt-two|none)$'
         ccache --print-stats | grep -E '^(direct_cache_hit|cache_miss).' | cut -f2 | tr '\\n' ' '";
    bench.run("mkdir -p BUILD; echo 'const char x[] = \"none\";' >BUILD/a.c").await;
    assert_eq!(bench.run(compile).await.trim(), "none\n1 0");
    for (salt, hits) in [("salt-two", "none\n1 1"), ("salt-one", "none\n1 2")] {
        write_autoconf(&bench.request.kernel.devel, salt, "");
        assert_eq!(bench.run(compile).await.trim(), hits);
    }
    bench.run("rm -r tmp; echo 'const char x[] = CONFIG_BUILD_SALT;' >BUILD/a.c").await;
    for (salt, found) in
        [("salt-one", "salt-one\n2 2"), ("salt-two", "salt-two\n3 2"), ("salt-one", "salt-one\n3 3")]
    {
        write_autoconf(&bench.request.kernel.devel, salt, "");
        assert_eq!(bench.run(compile).await.trim(), found);
    }
}

#[tokio::test]
async fn probes_are_asked_again_when_memory_is_distrusted() {
    let bench = Bench::new(BuildOptions { probe_cache: false, ..BuildOptions::default() }).await;
    bench.run("echo 'int f(void) { return g }' >conftest.c; gcc -c conftest.c -o conftest.o; ls").await;
    assert_eq!(fs::read_dir(bench.path("probes")).unwrap().count(), 0);
}

#[tokio::test]
async fn make_works_within_the_pool() {
    let bench = Bench::new(BuildOptions::default()).await;
    let _server = JobServer::create(&bench.path("slots"), 3).unwrap();
    bench
        .run("printf 'all: a b\\n\\t+@$(MAKE) -s sub\\nsub:\\n\\t@echo \"$(MAKEFLAGS)\"\\na b:\\n\\t@sleep 0.1; echo $@\\n' >Makefile")
        .await;
    let output = bench.run("make -j 16 -s all; make -j16 -s sub; make -s -j sub").await;
    assert!(!output.contains("-j16") && !output.contains("warning"), "{output}");
    assert_eq!(output.matches("--jobserver-auth=8,8").count(), 3, "{output}");
    // All the bytes are back.
    let bytes = bench.run("timeout 1 cat /drivetrain/slots/slots | wc -c").await;
    assert_eq!(bytes.trim(), "3");
}

#[tokio::test]
async fn a_slot_for_each_component_and_none_lost() {
    let directory = tempfile::tempdir().unwrap();
    let server = JobServer::create(Utf8Path::from_path(directory.path()).unwrap(), 2).unwrap();
    let first = server.acquire().await.unwrap();
    let _second = server.acquire().await.unwrap();
    let third = tokio::time::timeout(Duration::from_millis(50), server.acquire()).await;
    assert!(third.is_err(), "there are only two");
    drop(first);
    tokio::time::timeout(Duration::from_secs(5), server.acquire()).await.unwrap().unwrap();
}

#[test]
fn debugging_information_is_dropped_only_when_nothing_is_made_of_it() {
    let script = compiler_script(&KernelRelease::parse(RELEASE).unwrap(), true, true);
    assert!(script.starts_with("#!/bin/sh\n"));
    assert!(script.contains("exec /usr/bin/ccache"));
    assert!(!compiler_script(&KernelRelease::parse(RELEASE).unwrap(), false, false).contains("ccache"));
}
