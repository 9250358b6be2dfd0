"""What dnf would install into an empty root: one question a line of standard input, one answer a line of output.

A question: {"repositories": [{"id", "path", "priority"}], "wants": [name], "from": id, "weak": bool,
             "exclude": {id: [nevra]}, "arch": "x86_64"}
With "keep": true the repositories are read once for all questions about them, and instead of "exclude" there may be
"only": {id: [nevra]}, all that is to be had of a repository.
An answer:  {"install": [[id, nevra]]} or {"problems": [text]}
"""

import json
import sys
import tempfile

import dnf
import dnf.exceptions
import dnf.selector
import hawkey


kept = {}


def answer(question, root):
    if question.get("keep"):
        return answer_again(question, root)
    base = load(question, root)
    for selector in selectors(base, question):
        base._goal.install(select=selector)
    try:
        base.resolve()
    except dnf.exceptions.DepsolveError as error:
        return {"problems": str(error).splitlines()}
    packages = base.transaction.install_set
    return {"install": sorted([package.reponame, nevra(package)] for package in packages)}


def answer_again(question, root):
    key = json.dumps(question["repositories"])
    if key not in kept:
        kept[key] = load(question, root)
    base = kept[key]
    base.sack.reset_excludes()
    for repository, only in question.get("only", {}).items():
        all_of_it = base.sack.query().filter(reponame=repository)
        base.sack.add_excludes(all_of_it.difference(all_of_it.filter(nevra=only)))
    goal = hawkey.Goal(base.sack)
    for selector in selectors(base, question):
        goal.install(select=selector)
    if not goal.run(ignore_weak_deps=not question["weak"]):
        return {"problems": [problem for rule in goal.problem_rules() for problem in rule]}
    return {"install": sorted([package.reponame, nevra(package)] for package in goal.list_installs())}


def load(question, root):
    base = dnf.Base()
    conf = base.conf
    conf.installroot = root + "/root"
    conf.cachedir = root + "/cache"
    conf.persistdir = root + "/persist"
    conf.logdir = root + "/log"
    conf.reposdir = []
    conf.varsdir = []
    conf.plugins = False
    conf.best = True
    conf.install_weak_deps = question["weak"]
    conf.module_platform_id = "platform:el9"
    conf.substitutions["arch"] = question["arch"]
    conf.substitutions["basearch"] = question["arch"]
    conf.substitutions["releasever"] = "9"
    for repository in question["repositories"]:
        base.repos.add_new_repo(
            repository["id"], conf, baseurl=["file://" + repository["path"]],
            priority=repository["priority"], gpgcheck=False, excludepkgs=question.get("exclude", {}).get(repository["id"], []))
    base.fill_sack(load_system_repo=False)
    return base


def selectors(base, question):
    for want in question["wants"]:
        found = base.sack.query().filter(name=want, reponame=question["from"])
        # As `multilib_policy=best` has it: an older architecture only where there is no other.
        found = found.filter(arch=[question["arch"], "noarch"]) or found
        selector = dnf.selector.Selector(base.sack)
        selector.set(pkg=found)
        yield selector


def nevra(package):
    evr = package.evr
    return f"{package.name}-{evr}.{package.arch}"


def main():
    with tempfile.TemporaryDirectory() as root:
        import os
        for directory in ["root", "cache", "persist", "log"]:
            os.mkdir(f"{root}/{directory}")
        import shutil
        for line in sys.stdin:
            try:
                result = answer(json.loads(line), root)
            except Exception as error:  # noqa: BLE001: whatever it is, the test has to hear of it
                result = {"failed": f"{type(error).__name__}: {error}"}
            print(json.dumps(result), flush=True)
            shutil.rmtree(f"{root}/cache", ignore_errors=True)
            os.mkdir(f"{root}/cache")


main()
