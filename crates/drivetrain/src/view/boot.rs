//! A boot test as a table.

use std::fmt::Write as _;

use drivetrain_boot::{BootVerdict, BootedModule, summary_of_check};

use super::words::{count, duration};

const HEADINGS: [&str; 5] = ["module", "from", "srcversion", "signer", "result"];

/// The verdict for people: a line for each module, ours and those that they need.
pub fn boot(verdict: &BootVerdict) -> String {
    let mut rows = vec![HEADINGS.map(str::to_owned)];
    rows.extend(verdict.modules.iter().map(row));
    let widths: [usize; 5] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    let loaded = verdict.ours().filter(|module| module.result.is_good()).count();
    let _ = writeln!(
        text,
        "\nbooted: {} by {} in {}; {loaded} of {} loaded",
        verdict.kernel,
        verdict.by(),
        duration(verdict.ms),
        count(verdict.ours().count(), "module")
    );
    let _ = writeln!(text, "packages: {}", verdict.installed.in_words());
    if let Some(check) = &verdict.functional {
        let _ = writeln!(text, "checked: {}", summary_of_check(check));
    }
    for (word, lines) in [("warning", &verdict.warnings), ("problem", &verdict.problems)] {
        for line in lines {
            let _ = writeln!(text, "{word}: {line}");
        }
    }
    text
}

fn row(module: &BootedModule) -> [String; 5] {
    let or_none = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    let from = if module.ours { module.path.clone() } else { format!("{} (needed)", module.path) };
    let srcversion = module.loaded_srcversion.as_ref().or(module.srcversion.as_ref()).cloned();
    [
        module.name.clone(),
        from,
        or_none(&srcversion),
        module.signer.clone().unwrap_or_else(|| "nobody".to_owned()),
        module.result.in_words(),
    ]
}

#[cfg(test)]
mod tests {
    use drivetrain_boot::{Counter, Ending, FunctionalCheck, Installed, Step};
    use drivetrain_host::Acceleration;
    use drivetrain_model::KernelRelease;
    use drivetrain_model::ModuleResult;

    use super::*;

    fn module(name: &str, ours: bool, result: ModuleResult) -> BootedModule {
        BootedModule {
            name: name.to_owned(),
            ours,
            package: None,
            path: if ours { format!("extra/{name}.ko") } else { format!("kernel/{name}.ko.xz") },
            result,
            ms: Some(5),
            srcversion: ours.then(|| "533BB7E5866E52F63B9ACCB".to_owned()),
            loaded_srcversion: None,
            build_id: None,
            loaded_build_id: None,
            signer: (!ours).then(|| "The distribution".to_owned()),
            taint: None,
            said: Vec::new(),
        }
    }

    #[test]
    fn a_table_says_of_each_module_where_it_came_from_and_what_became_of_it() {
        let refused = ModuleResult::Refused { error: "Exec format error (os error 8)".to_owned() };
        let verdict = BootVerdict {
            kernel: KernelRelease::parse("5.14.0-427.el9.x86_64").unwrap(),
            installed: Installed::ByRpm,
            acceleration: Acceleration::Emulated,
            on: Some("builder-3".to_owned()),
            memory: 2048,
            ms: 8123,
            booted_ms: Some(2500),
            sig_enforce: Some(false),
            ending: Ending::Finished,
            tainted: Some(12288),
            modules: vec![
                module("udp_tunnel", false, ModuleResult::Loaded),
                module("rdma_rxe", true, ModuleResult::Loaded),
                module("mlx5_core", true, refused),
            ],
            functional: Some(FunctionalCheck {
                name: "RDMA over Ethernet in software".to_owned(),
                steps: vec![Step { step: "it is up".to_owned(), ok: true, ms: 3, said: Vec::new() }],
                counters: vec![Counter { counter: "sent_pkts".to_owned(), before: 0, after: 2069 }],
            }),
            image: None,
            warnings: vec!["while rdma_rxe was loaded the kernel says: WARNING: CPU: 0".to_owned()],
            problems: vec!["mlx5_core: the kernel refuses it: Exec format error (os error 8)".to_owned()],
        };
        insta::assert_snapshot!(boot(&verdict), @r"
        module      from                              srcversion               signer            result
        udp_tunnel  kernel/udp_tunnel.ko.xz (needed)  -                        The distribution  loaded
        rdma_rxe    extra/rdma_rxe.ko                 533BB7E5866E52F63B9ACCB  nobody            loaded
        mlx5_core   extra/mlx5_core.ko                533BB7E5866E52F63B9ACCB  nobody            refused: Exec format error (os error 8)

        booted: 5.14.0-427.el9.x86_64 by emulation on builder-3 in 8.1 s; 1 of 2 modules loaded
        packages: installed by rpm, with their scripts
        checked: RDMA over Ethernet in software: 1 of 1 steps; sent_pkts from 0 to 2069
        warning: while rdma_rxe was loaded the kernel says: WARNING: CPU: 0
        problem: mlx5_core: the kernel refuses it: Exec format error (os error 8)
        ");
    }
}
