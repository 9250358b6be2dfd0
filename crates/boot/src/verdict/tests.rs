use super::*;

fn module(name: &str, ours: bool) -> BootedModule {
    BootedModule {
        ours,
        package: ours.then(|| "kmod-x".to_owned()),
        srcversion: Some("AAAA".to_owned()),
        ..BootedModule::untold(name, &format!("extra/{name}.ko"))
    }
}

fn judged(how: How, checks: bool, facts: Vec<Fact>, console: &str) -> BootVerdict {
    let before = Before {
        kernel: KernelRelease::parse("6.1.0").unwrap(),
        installed: Installed::ByRpm,
        memory: 512,
        timeout: Duration::from_secs(30),
        step_timeout: Duration::from_secs(6),
        modules: vec![module("dep", false), module("own", true)],
        checks,
        image: None,
        warnings: Vec::new(),
        problems: Vec::new(),
    };
    let ran = Ran { how, elapsed: Duration::from_secs(3), acceleration: Acceleration::Emulated, on: None };
    judge(before, &ran, facts, console.as_bytes())
}

fn booted() -> Fact {
    Fact::Booted { release: "6.1.0".to_owned(), uptime_ms: 2000, sig_enforce: Some(false), memory_kib: 1 }
}

fn loading(module: &str) -> Fact {
    Fact::Loading { module: module.to_owned() }
}

fn loaded(module: &str, srcversion: &str) -> Fact {
    Fact::Loaded {
        module: module.to_owned(),
        ms: 5,
        srcversion: Some(srcversion.to_owned()),
        build_id: None,
        taint: Some("OE".to_owned()),
        said: Vec::new(),
    }
}

fn finished() -> Fact {
    Fact::Finished { uptime_ms: 2500, tainted: 12288, said: Vec::new() }
}

#[test]
fn a_boot_is_well_where_every_module_is_loaded_and_the_agent_came_to_its_end() {
    let facts = vec![
        booted(),
        loading("dep"),
        Fact::Refused {
            module: "dep".to_owned(),
            ms: 1,
            error: "File exists (os error 17)".to_owned(),
            said: vec![],
        },
        loading("own"),
        loaded("own", "AAAA"),
        finished(),
    ];
    let verdict = judged(How::Off, false, facts, "");
    assert_eq!(verdict.problems, Vec::<String>::new());
    assert_eq!(verdict.ending, Ending::Finished);
    assert_eq!(verdict.modules[0].result, ModuleResult::AlreadyThere);
    assert_eq!((verdict.ours().count(), verdict.tainted), (1, Some(12288)));
}

#[test]
fn a_twin_that_was_loaded_in_place_of_ours_is_a_problem() {
    let facts = vec![booted(), loaded("dep", "AAAA"), loaded("own", "BBBB"), finished()];
    let verdict = judged(How::Off, false, facts, "");
    assert_eq!(
        verdict.problems,
        ["own: what the kernel loaded has the srcversion BBBB, and extra/own.ko has AAAA"]
    );
}

#[test]
fn a_machine_that_goes_down_says_with_which_module_and_in_the_consoles_words() {
    let console = "[    1.0] drivetrain: loading own\r\n[    1.1] BUG: kernel NULL pointer dereference\r\n\
                   [    1.2] Kernel panic - not syncing: Fatal exception\r\n";
    let facts = vec![booted(), loaded("dep", "AAAA"), loading("own")];
    let verdict = judged(How::Off, false, facts.clone(), console);
    assert_eq!(
        verdict.problems,
        [
            "own: it breaks the kernel, the whole machine went down (BUG: kernel NULL pointer dereference; Kernel panic \
             - not syncing: Fatal exception)",
            "the machine went down: its console says \"Kernel panic - not syncing: Fatal exception\""
        ]
    );
    let verdict = judged(How::Deadline, false, facts, "[    1.0] drivetrain: loading own\r\n");
    assert_eq!(
        verdict.problems,
        [
            "own: it hangs: not loaded after 30 s",
            "the machine was not done within 30 s, and was killed: raise prove.timeout where it is only slow"
        ]
    );
}

#[test]
fn a_kernel_that_never_comes_up_says_why() {
    let verdict = judged(
        How::Off,
        false,
        vec![],
        "[    0.1] Kernel panic - not syncing: System is deadlocked on memory\r\n",
    );
    assert_eq!(
        verdict.problems,
        [
            "the kernel 6.1.0 went down before it came up: its console says \"Kernel panic - not syncing: System is \
             deadlocked on memory\"",
            "512 MiB of memory are too little (Kernel panic - not syncing: System is deadlocked on memory): raise \
             prove.memory"
        ]
    );
    let verdict = judged(How::Deadline, false, vec![], "");
    assert_eq!(
        verdict.problems,
        ["the kernel 6.1.0 did not come up within 30 s: it said nothing on its console"]
    );
}

#[test]
fn a_check_that_counts_nothing_or_was_not_made_is_a_problem() {
    let well = || vec![booted(), loaded("dep", "AAAA"), loaded("own", "AAAA")];
    let step = |ok| Fact::Step { step: "it sends".to_owned(), ok, ms: 1, said: vec!["why".to_owned()] };
    let counter = |after| Fact::Counter { counter: "sent_pkts".to_owned(), before: 3, after };
    let problems = |facts: Vec<Fact>| {
        let facts = well().into_iter().chain(facts).chain([finished()]).collect();
        judged(How::Off, true, facts, "").problems
    };
    assert_eq!(problems(vec![step(true), counter(9)]), Vec::<String>::new());
    let name = "RDMA over Ethernet in software";
    assert_eq!(
        problems(vec![step(true), counter(3)]),
        [format!("{name}: messages went, and sent_pkts counted nothing")]
    );
    assert_eq!(problems(vec![step(false)]), [format!("{name}: not so: it sends (why)")]);
    assert_eq!(problems(vec![]), [format!("{name}: it was not tried")]);
}
