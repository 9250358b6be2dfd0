use super::*;

/// The log, and what must be made of it: kind, place, words of the message, line of the log.
const TABLE: &[(&str, &str, DiagnosisKind, &str, &str, usize)] = &[
    (
        "a compiler's error, among what follows from it",
        "Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.1\n+ make -j2\n  CC [M]  /build/b/BUILD/b-1.0/broken.o\n\
         /build/b/BUILD/b-1.0/broken.c: In function 'broken_init':\n\
         /build/b/BUILD/b-1.0/broken.c:9:19: error: 'struct net_device' has no member named 'x'\n\
         /build/b/BUILD/b-1.0/broken.c:11:1: error: control reaches end\n\
         make[2]: *** [scripts/Makefile.build:250: /build/b/BUILD/b-1.0/broken.o] Error 1\n\
         error: Bad exit status from /var/tmp/rpm-tmp.1 (%build)\n",
        DiagnosisKind::Compiler,
        "b-1.0/broken.c:9:",
        "has no member named 'x'",
        5,
    ),
    (
        "a missing header",
        "drivers/x.c:3:10: fatal error: linux/nowhere.h: No such file or directory\ncompilation terminated.\n",
        DiagnosisKind::Compiler,
        "drivers/x.c:3:",
        "linux/nowhere.h: No such file",
        1,
    ),
    (
        "modpost",
        "  MODPOST /build/x/Module.symvers\n\
         ERROR: modpost: \"hello_world\" [/build/u/BUILD/u-1/u.ko] undefined!\n\
         make[1]: *** [scripts/Makefile.modpost:126: /build/u/Module.symvers] Error 1\n",
        DiagnosisKind::Modpost,
        "u-1/u.ko:",
        "\"hello_world\"",
        2,
    ),
    (
        "modpost's other complaint",
        "ERROR: modpost: GPL-incompatible module x.ko uses GPL-only symbol 'y'\n",
        DiagnosisKind::Modpost,
        "",
        "GPL-incompatible",
        1,
    ),
    (
        "a kernel before 5.9",
        "ERROR: \"ib_register\" [/x/iser.ko] undefined!\n",
        DiagnosisKind::Modpost,
        "/x/iser.ko:",
        "ib_register",
        1,
    ),
    (
        "probes of configure fail, and are not it",
        "+ ./configure\nchecking for a thing...\nconftest.c:5:1: error: unknown type name 'x'\nno\n\
         checking for another... no\n/build/z/foo.c:1:1: error: a probe under another name\n+ make\n\
         /build/z/real.c:7:2: error: this is it\n",
        DiagnosisKind::Compiler,
        "/build/z/real.c:7:",
        "this is it",
        8,
    ),
    (
        "configure gives up",
        "checking for gcc... no\nconfigure: error: no acceptable C compiler found in $PATH\n\
         error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n",
        DiagnosisKind::Configure,
        "",
        "no acceptable C compiler",
        2,
    ),
    (
        "the network",
        "+ curl -fsS https://example.org/x\ncurl: (6) Could not resolve host: example.org\n\
         error: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n",
        DiagnosisKind::Network,
        "",
        "Could not resolve host",
        2,
    ),
    (
        "git has no network either",
        "fatal: unable to access 'https://example.org/': Could not resolve host: example.org\n",
        DiagnosisKind::Network,
        "",
        "unable to access",
        1,
    ),
    (
        "a missing tool",
        "/var/tmp/rpm-tmp.abc: line 33: bison: command not found\n\
         error: Bad exit status from /var/tmp/rpm-tmp.abc (%build)\n",
        DiagnosisKind::Script,
        "",
        "bison: command not found",
        1,
    ),
    (
        "build dependencies",
        "error: Failed build dependencies:\n\tlibfoo-devel is needed by x-1.0-1.x86_64\n",
        DiagnosisKind::Rpm,
        "",
        "libfoo-devel is needed",
        2,
    ),
    (
        "unpackaged files",
        "RPM build errors:\nerror: Installed (but unpackaged) file(s) found:\n   /usr/x\n",
        DiagnosisKind::Rpm,
        "",
        "unpackaged",
        2,
    ),
    (
        "make alone",
        "make: *** No rule to make target 'kernel'.  Stop.\nerror: Bad exit status from x (%build)\n",
        DiagnosisKind::Make,
        "",
        "No rule to make target 'kernel'",
        1,
    ),
    (
        "make's own error call, with its place",
        "Makefile:12: *** KVERSION is not set.  Stop.\n",
        DiagnosisKind::Make,
        "Makefile:12:",
        "KVERSION is not set",
        1,
    ),
    (
        "the linker",
        "ld: cannot find -lfoo: No such file or directory\ncollect2: error: ld returned 1 exit status\n",
        DiagnosisKind::Linker,
        "",
        "cannot find -lfoo",
        1,
    ),
    (
        "an undefined reference",
        "main.o: in function `f':\nmain.c:(.text+0x5): undefined reference to `g'\n",
        DiagnosisKind::Linker,
        "main.c:",
        "undefined reference to `g'",
        2,
    ),
    (
        "the assembler",
        "/tmp/cc1.s: Assembler messages:\n/tmp/cc1.s:33: Error: no such instruction: `foo'\n",
        DiagnosisKind::Compiler,
        "/tmp/cc1.s:33:",
        "no such instruction",
        2,
    ),
    (
        "an option that this compiler has not got",
        "gcc: error: unrecognized command-line option '-mrecord-mcount'\n",
        DiagnosisKind::Compiler,
        "",
        "unrecognized command-line option",
        1,
    ),
    (
        "a full disk beats everything that it caused",
        "a.c:1:1: error: expected ';'\n/tmp/ccX.s: No space left on device\n",
        DiagnosisKind::DiskFull,
        "",
        "No space left",
        2,
    ),
    (
        "out of memory",
        "gcc: fatal error: Killed signal terminated program cc1\ncompilation terminated.\n",
        DiagnosisKind::CompilerDied,
        "",
        "Killed signal",
        1,
    ),
    (
        "a warning is no error",
        "x.c:1:1: warning: error: not\nlast words\n",
        DiagnosisKind::Unknown,
        "",
        "last words",
        2,
    ),
    (
        "only rpmbuild's last word",
        "error: Bad exit status from x (%install)\n",
        DiagnosisKind::Rpm,
        "",
        "Bad exit status",
        1,
    ),
    ("nothing", "", DiagnosisKind::Unknown, "", "the log is empty", 0),
];

#[test]
fn the_first_real_error_is_found() {
    for (what, log, kind, place, message, log_line) in TABLE {
        let diagnosis = triage(log);
        assert_eq!(diagnosis.kind, *kind, "{what}: {diagnosis:?}");
        assert!(diagnosis.to_string().starts_with(place), "{what}: {diagnosis:?}");
        assert!(diagnosis.message.contains(message), "{what}: {diagnosis:?}");
        assert_eq!(diagnosis.log_line, *log_line, "{what}: {diagnosis:?}");
    }
}

#[test]
fn no_log_makes_it_panic() {
    for log in ["::: error: ", ": error: ", "*** ", "ERROR: modpost: [", "é: error: ü", "error: ", "ld: "] {
        let _diagnosis = triage(log);
    }
}
